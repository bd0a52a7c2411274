"""Replays take a controller through what a run knows, and no further."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima import InputError
from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.reports.comparison_plots import plot_replay
from ase_proxima.reports.replay import replay_controller, replay_run, replay_table
from ase_proxima.runs.run_data import read_run

PAIRS = st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=30)


def test_the_counts_and_means_are_those_of_the_known_calls(write_run):
    result = replay_run(read_run(write_run()), ["fixed:0.5", "baseline"])
    assert result["n_known"] == 2
    run, fixed, baseline = result["controllers"]
    assert (run["n_trusted"], run["n_flagged"]) == (1, 1)
    assert (fixed["n_trusted"], fixed["n_flagged"], fixed["n_audited"]) == (1, 1, 0)
    assert fixed["mean_error_trusted"] == pytest.approx(0.002)
    assert fixed["mean_error_all"] == pytest.approx(0.001)
    assert fixed["thresholds"] == [0.5, 0.5]
    assert baseline["n_trusted"] == 0
    assert replay_table(result).row_count == 3
    assert len(plot_replay(result).axes) == 2


@given(PAIRS)
def test_the_published_law_replays_its_own_run(pairs):
    uncertainties, errors = zip(*pairs, strict=True)
    controller = LinearController(0.01)
    rng = np.random.default_rng(0)
    replay = replay_controller(controller, uncertainties, errors, [1] * len(pairs), rng)
    assert replay.thresholds[0] == controller.threshold_init
    assert (replay.trusted == (np.array(uncertainties) < replay.thresholds)).all()
    assert not replay.audited.any()


@given(PAIRS, st.integers(0, 5))
def test_a_replay_repeats_from_its_seed(pairs, seed):
    uncertainties, errors = zip(*pairs, strict=True)
    controller = RiskController(0.05, audit_rate=0.5, prior_ratio=1.0)
    first, second = (
        replay_controller(controller, uncertainties, errors, [1] * len(pairs), np.random.default_rng(seed))
        for _ in range(2)
    )
    assert first.thresholds.tolist() == second.thresholds.tolist()
    assert first.audited.tolist() == second.audited.tolist()
    assert not (first.audited & ~first.trusted).any()


def test_a_trusted_call_without_an_audit_teaches_nothing():
    controller = LinearController(0.01, threshold_init=1.0)
    rng = np.random.default_rng(0)
    replay = replay_controller(controller, [0.5, 0.5], [9.0, 9.0], [1, 1], rng)
    assert replay.thresholds.tolist() == [1.0, 1.0]


def test_a_call_farther_by_half_than_what_was_seen_is_audited_in_a_replay_too():
    controller = RiskController(0.05, audit_rate=1e-12, prior_ratio=1.0)
    last = {}
    for distance in (1.4, 1.6, math.nan):
        calls = [0.02] * 40, [0.02] * 40, [1] * 40, np.random.default_rng(0)
        last[distance] = replay_controller(controller, *calls, [1.0] * 39 + [distance]).audited[-1]
    assert list(last.values()) == [False, True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controllers": ["magic"]}, "unknown controller 'magic'"),
        ({"controllers": ["risk"], "error_bound": -1.0}, "error_bound must be a positive number"),
        ({"controllers": ["risk"], "error_bound": float("nan")}, "error_bound must be a positive number"),
        ({"controllers": ["risk"], "metric": "stress"}, "no error metric 'stress'"),
        ({"controllers": ["risk"], "audit_rate": 2.0}, "audit_rate"),
    ],
)
def test_bad_input_is_named(write_run, options, message):
    with pytest.raises(InputError, match=message):
        replay_run(read_run(write_run()), **options)


@pytest.mark.parametrize(("uncertainty", "warm"), [("auto", True), ("coulomb", False)])
def test_the_default_controller_starts_as_it_did_in_the_run(write_run, uncertainty, warm):
    run = read_run(write_run(surrogate="auto", uncertainty=uncertainty, error_bound=0.5))
    risk = replay_run(run, ["risk"])["controllers"][1]
    expected = RiskController(0.5, prior_ratio=1.0 if warm else None)
    assert risk["thresholds"][0] == expected.decide(expected.init(), 0.0).threshold
    assert (risk["thresholds"][0] > 0) == warm


def test_a_run_that_saw_no_error_cannot_be_replayed(write_run):
    calls = [(float("nan"), float("nan"), "", "target", 1.0)]
    with pytest.raises(InputError, match="saw no errors"):
        replay_run(read_run(write_run(calls=calls)), ["risk"])
