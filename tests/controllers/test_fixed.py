"""Controllers that never change their mind: a constant threshold, and none."""

import math

import pytest

from ase_proxima.controllers.baseline import BaselineController
from ase_proxima.controllers.fixed import FixedController, FixedState
from ase_proxima.types import Observation, Verdict


def seen(error, uncertainty=0.1):
    return Observation(uncertainty, False, error, 1.0, 1)


@pytest.mark.parametrize(
    ("uncertainty", "trusts"), [(0.0, True), (0.299, True), (0.3, False), (0.4, False), (math.nan, False)]
)
def test_what_lies_below_the_constant_is_trusted_and_not_audited(uncertainty, trusts):
    controller = FixedController(0.3)
    verdict = controller.decide(controller.init(), uncertainty)
    assert verdict == Verdict(trusts, 0.0 if trusts else 1.0, 0.3)


def test_a_threshold_of_zero_trusts_nothing():
    controller = FixedController(0.0)
    assert not controller.decide(controller.init(), 0.0).trusts


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_an_impossible_constant_is_refused(threshold):
    with pytest.raises(ValueError, match="must not be negative"):
        FixedController(threshold)


def test_the_mean_of_the_errors_seen_is_reported():
    controller = FixedController(0.3)
    state = controller.init()
    assert state == FixedState(0, pytest.approx(math.nan, nan_ok=True))
    assert math.isnan(controller.report(state)["error_estimate"])
    means = []
    for error in (2.0, None, 3.0, math.nan, math.inf, 10.0):
        state = controller.observe(state, seen(error))
        means.append(controller.report(state)["error_estimate"])
    assert means == [2.0, 2.0, 2.5, 2.5, 2.5, 5.0]
    assert state.n_errors == 3
    report = controller.report(state)
    assert math.isnan(report["error_upper"])
    assert math.isnan(report["error_estimate_se"])
    assert report["notes"] == ()


def test_neither_says_that_it_holds_a_bound_that_it_does_not_know():
    assert FixedController.holds_bound is False


@pytest.mark.parametrize("uncertainty", [0.0, 5.0, math.nan])
def test_the_baseline_asks_the_target_every_time(uncertainty):
    controller = BaselineController()
    state = controller.init()
    assert controller.decide(state, uncertainty) == Verdict(False, 1.0, 0.0)
    assert controller.observe(state, seen(1.0)) == state
    assert controller.report(state) == {
        "error_estimate": 0.0,
        "error_estimate_se": 0.0,
        "error_upper": 0.0,
        "notes": (),
    }
