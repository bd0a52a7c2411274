"""What the default controller does with errors: each of its parts has a test that fails without it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ase_proxima.controllers.confidence import LAMBDAS, MeanError, upper_limit
from ase_proxima.controllers.risk import RiskController
from ase_proxima.types import Observation

BOUND = 0.1


def play(controller, calls, rng, state=None):
    """Take a controller through calls (uncertainty, error, version); return the state and who was trusted unseen."""
    state = controller.init() if state is None else state
    unseen = []
    for u, e, version in calls:
        verdict = controller.decide(state, u)
        seen = rng.random() < verdict.audit_probability
        if not seen:
            unseen.append(e)
        state = controller.observe(
            state, Observation(u, verdict.trusts, e if seen else None, verdict.audit_probability, version)
        )
    return state, np.array(unseen)


def proportional(rng, n, ratio=1.0, scale=0.15, version=1):
    """Calls whose error is `ratio` times the uncertainty, to the last bit."""
    return [(u, ratio * u, version) for u in (scale * rng.lognormal(0, 0.5, n)).tolist()]


def settled(scale=0.15):
    """Return a controller and its state after a thousand calls whose errors equal their uncertainties."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    rng = np.random.default_rng(0)
    state, _ = play(controller, proportional(rng, 1000, scale=scale), rng)
    return controller, state


def audited(state, controller, u, e, probability):
    """State after one audited call."""
    return controller.observe(state, Observation(u, True, e, probability, state.model_version))


def test_the_mean_error_stays_at_its_margin_below_the_bound():
    """Errors known to the last bit leave nothing but the margin between the mean error and the bound."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        controller = RiskController(BOUND, prior_ratio=1.0)
        _, errors = play(controller, proportional(rng, 4000), rng)
        assert 0.65 * BOUND < errors.mean() < 0.85 * BOUND


def test_an_audited_error_counts_one_over_its_probability():
    controller, state = settled()
    u = 0.3 * state.threshold
    excess = {}
    for p in (1.0, 0.5, 0.1):
        hit = audited(state, controller, u, 3 * state.ratio * u, p)
        calm = audited(state, controller, u, state.ratio * u, p)
        excess[p] = (hit.spent - calm.spent, hit.trusted.total - calm.trusted.total)
    for p in (0.5, 0.1):
        assert excess[p] == pytest.approx((excess[1.0][0] / p, excess[1.0][1] / p))


def test_a_debt_lowers_the_threshold_and_its_payment_raises_it_again():
    controller, state = settled(scale=0.05)
    even = controller.margin * BOUND * state.trusted.n
    state = replace(state, spent=even)
    debt = replace(state, spent=even + 75 * BOUND)
    rng = np.random.default_rng(1)
    paid, _ = play(controller, proportional(rng, 10, scale=0.05), np.random.default_rng(2), debt)
    free, _ = play(
        controller, proportional(np.random.default_rng(1), 10, scale=0.05), np.random.default_rng(2), state
    )
    assert controller.decide(paid, 0.0).threshold < 0.7 * controller.decide(free, 0.0).threshold
    later, _ = play(controller, proportional(rng, 1000, scale=0.05), rng, paid)
    assert controller.decide(later, 0.0).threshold > 0.9 * controller.decide(free, 0.0).threshold


def test_an_uncertainty_that_ranks_nothing_raises_the_alarm_and_ends_the_trust():
    rng = np.random.default_rng(0)
    controller = RiskController(BOUND, prior_ratio=1.0)
    calls = [(u, 3 * BOUND, 1) for u in (0.1 * rng.lognormal(0, 0.5, 400)).tolist()]
    state, _ = play(controller, calls, rng)
    assert controller.decide(state, 1e-12).trusts is False
    (note,) = controller.report(state)["notes"]
    assert note == "the uncertainty does not rank the errors: nothing is trusted"


def test_errors_below_the_bound_that_ranks_nothing_raise_no_alarm():
    rng = np.random.default_rng(0)
    controller = RiskController(BOUND, prior_ratio=1.0)
    calls = [(u, 0.3 * BOUND, 1) for u in (0.1 * rng.lognormal(0, 0.5, 400)).tolist()]
    state, _ = play(controller, calls, rng)
    assert controller.decide(state, 1e-12).trusts
    assert controller.report(state)["notes"] == ()


def test_a_surprise_brings_more_audits():
    """An error far above the expected one makes the next audits as probable as after a change of the model."""
    controller, state = settled(scale=0.03)
    u = 0.5 * state.threshold
    usual = controller.decide(state, u).audit_probability
    calm = audited(state, controller, u, state.ratio * u, usual)
    surprised = audited(state, controller, u, 4 * state.ratio_upper * u, usual)
    probability = {
        name: controller.decide(s, 0.5 * s.threshold).audit_probability
        for name, s in (("calm", calm), ("surprised", surprised))
    }
    assert probability["calm"] == pytest.approx(usual, rel=0.1)
    assert probability["surprised"] > 3 * usual


def test_a_new_version_of_the_surrogate_brings_more_audits():
    controller, state = settled(scale=0.03)
    u = 0.5 * state.threshold
    usual = controller.decide(state, u).audit_probability
    following = controller.observe(state, Observation(u, True, None, usual, 3 * state.model_version))
    assert controller.decide(following, 0.5 * following.threshold).audit_probability > 2 * usual


def test_errors_of_older_versions_count_less():
    """Twenty errors of version 1 at four times the uncertainty, then as many of version 9 at its half."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    ratios = {}
    for late in (1, 9):
        state = controller.init()
        for ratio, version in [(4.0, 1)] * 20 + [(0.5, late)] * 20:
            state = controller.observe(state, Observation(0.1, False, ratio * 0.1, 1.0, version))
        ratios[late] = state.ratio
    assert ratios[9] < 0.5 * ratios[1]
    assert ratios[9] == pytest.approx(0.5, abs=0.2)


def test_the_limit_pays_for_every_lambda_it_chooses_among():
    """Each lambda holds with probability delta over their number; all of delta for one of them would be too low."""
    state, cap, p, delta = MeanError(n=5000, total=40.0, variation=90.0), 0.5, 0.1, 0.05
    scale = cap / p
    limits = []
    for x in LAMBDAS:
        psi = -math.log1p(-x) - x
        fall_short = (math.log(len(LAMBDAS) / delta) + psi * state.variation / scale**2) / x
        limits.append(state.mean + scale * fall_short / state.n)
    assert len(LAMBDAS) == 20
    assert upper_limit(state, cap=cap, probability_min=p, delta=delta) == pytest.approx(min(limits))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"error_bound": 0.0}, "error_bound must be positive, got 0.0"),
        ({"error_bound": math.nan}, "error_bound must be positive, got nan"),
        ({"audit_rate": -0.1}, "audit_rate must lie between 0 and 1, got -0.1"),
        ({"audit_rate": 1.1}, "audit_rate must lie between 0 and 1, got 1.1"),
        ({"audit_rate": math.nan}, "audit_rate must lie between 0 and 1, got nan"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RiskController(**{"error_bound": BOUND, **settings})
