"""Unbiased estimates and limits that hold at all times at once."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.controllers.confidence import MeanError, observe_error, upper_limit

calls = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0.05, 1.0)), min_size=1, max_size=7)


@given(calls=calls, cap=st.floats(0.5, 4))
def test_the_estimate_is_unbiased_over_all_outcomes_of_the_audits(calls, cap):
    expected = 0.0
    for seen in product((False, True), repeat=len(calls)):
        weight, state = 1.0, MeanError()
        for audited, (predicted, error, p) in zip(seen, calls, strict=True):
            weight *= p if audited else 1 - p
            state = observe_error(state, predicted, error if audited else None, p, cap)
        expected += weight * state.mean
    assert expected == pytest.approx(np.mean([min(error, cap) for _, error, _ in calls]), abs=1e-9)


@given(error=st.floats(0, 2), cap=st.floats(0.1, 3))
def test_an_error_that_was_foreseen_adds_no_variation(error, cap):
    state = observe_error(MeanError(), error, error, 0.1, cap)
    assert state.variation == pytest.approx(0.0, abs=1e-12)
    assert state.mean == pytest.approx(min(error, cap))


@pytest.mark.parametrize("error", [math.nan, math.inf, 1e300])
def test_an_error_beyond_the_cap_counts_as_the_cap(error):
    assert observe_error(MeanError(), 0.0, error, 1.0, cap=2.0).mean == 2.0


def smooth(rng, n):
    return np.minimum(0.02 * rng.lognormal(0, 1.0, n), 1.0)


def ragged(rng, n):
    return np.minimum(0.02 * rng.lognormal(0, 3.0, n), 1.0)


def rare(rng, n):
    """Nothing, but for one error in 30 that is the largest there can be."""
    return np.where(rng.random(n) < 1 / 30, 1.0, 0.0)


@pytest.mark.parametrize(
    ("p", "foresight", "draw"),
    [(0.1, 0.0, smooth), (0.1, 1.0, smooth), (0.3, 0.5, ragged), (1.0, 0.0, smooth), (0.02, 0.0, rare)],
)
@pytest.mark.parametrize("knows_least", [True, False])
def test_the_limit_covers_the_truth_at_all_times_in_95_of_100_runs(p, foresight, draw, knows_least):
    rng = np.random.default_rng(7)
    n_runs, n_calls, cap, least = 200, 1000, 1.0, p if knows_least else 0.0
    violated = 0
    for _ in range(n_runs):
        errors, audited = draw(rng, n_calls), rng.random(n_calls) < p
        predicted = foresight * 0.02
        state, true_sum = MeanError(), 0.0
        for n, (error, seen) in enumerate(zip(errors.tolist(), audited.tolist(), strict=True), start=1):
            state = observe_error(state, predicted, error if seen else None, p, cap, least=least)
            true_sum += error
            if n % 20 == 0 and true_sum / n > upper_limit(state, cap=cap, least=least):
                violated += 1
                break
    assert violated <= 0.05 * n_runs


def test_the_limit_approaches_the_mean():
    state = MeanError()
    rng = np.random.default_rng(3)
    limits = []
    for n in range(1, 20_001):
        error = 0.1 * rng.random()
        state = observe_error(state, 0.05, error if rng.random() < 0.5 else None, 0.5, 0.1)
        if n in (200, 2000, 20_000):
            limits.append(upper_limit(state, cap=0.1))
    assert limits[0] > limits[1] > limits[2]
    assert 0.05 < limits[2] < 0.053


@given(total=st.floats(0, 100), variation=st.floats(0, 1e4), n=st.integers(1, 10_000), p=st.floats(1e-3, 1.0))
def test_the_limit_lies_above_the_mean_and_below_the_cap_or_is_not_known(total, variation, n, p):
    state = MeanError(n, total, variation, probability_min=p)
    limit = upper_limit(state, cap=2.0)
    assert math.isnan(limit) or state.mean <= limit < 2.0


def test_smaller_probabilities_of_audits_raise_the_limit():
    limits = [
        upper_limit(MeanError(20_000, 100.0, 50.0, probability_min=p), cap=1.0)
        for p in (1.0, 0.1, 0.01, 0.004)
    ]
    assert limits == sorted(limits)
    assert limits[0] < 0.3 * limits[-1]


def test_the_smallest_probability_so_far_is_kept():
    state = MeanError()
    for p in (0.5, 0.01, 0.3):
        state = observe_error(state, 0.1, None, p, cap=1.0)
    assert state.probability_min == 0.01


def test_the_limit_is_known_within_a_run_of_usual_length():
    """3,000 calls with errors near the bound and a hundredth of them audited; the cap is five times the bound."""
    rng = np.random.default_rng(0)
    state = MeanError()
    for _ in range(3000):
        error = 0.1 * abs(rng.normal())
        state = observe_error(state, 0.08, error if rng.random() < 0.01 else None, 0.01, cap=0.5)
    assert 0.08 < upper_limit(state, cap=0.5) < 0.35


def test_the_standard_error_is_the_spread_of_the_estimate_over_runs():
    estimates, errors = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        state = MeanError()
        for _ in range(200):
            error = abs(rng.normal())
            state = observe_error(state, 0.8, error if rng.random() < 0.2 else None, 0.2, cap=10.0)
        estimates.append(state.mean)
        errors.append(state.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.15)
    assert state.n_seen == pytest.approx(40, abs=20)


def test_estimate_and_standard_error_follow_the_unit_of_the_errors():
    states = []
    for unit in (1.0, 1e-3):
        state = MeanError()
        for error in (0.4, None, 0.9, None, 0.1):
            known = None if error is None else unit * error
            state = observe_error(state, 0.5 * unit, known, 0.5, cap=10.0 * unit)
        states.append(state)
    assert states[1].estimate == pytest.approx(1e-3 * states[0].estimate)
    assert states[1].standard_error == pytest.approx(1e-3 * states[0].standard_error)
    assert states[0].standard_error > 0


def test_the_sums_are_those_of_two_calls_done_by_hand():
    state = MeanError()
    assert state == MeanError(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 1.0)
    state = observe_error(state, 0.2, 0.5, 0.5, cap=1.0)
    assert state == MeanError(1, 0.8, pytest.approx(0.36), 0.2, 1.0, 0.4, pytest.approx(0.18), 1, 0.5)
    state = observe_error(state, 0.3, 0.1, 0.25, cap=1.0)
    total, variation, variance = 0.8 + 0.3 - 0.8, 0.36 + 0.64, 0.18 + 0.75 * 0.64
    assert state == MeanError(2, *map(pytest.approx, (total, variation, 0.5, 1.4, 1.6, variance)), 2, 0.25)
    # the audits stood for 1.6 where 0.5 was predicted: they are scaled down to it
    assert state.estimate == pytest.approx((0.5 + (1.4 - 1.6) * 0.5 / 1.6) / 2)


@pytest.mark.parametrize("least", [0.0, 0.15])
def test_at_the_limit_the_mean_of_the_supermartingales_is_the_inverse_of_the_risk(least):
    state = MeanError(n=500, total=20.0, variation=3.0, probability_min=0.2, lost=4.0)
    cap, largest = 0.4, 2.0
    limit = 500 * upper_limit(state, cap=cap, least=least)
    capital = math.exp(0.9 * least * limit / cap - 4.0) if least else 0.0
    for j in range(1, 23):
        theta = math.sqrt(0.5) ** j / cap
        if theta * largest < 1:
            psi = -math.log(1 - theta * largest) - theta * largest
            capital += math.exp(theta * (limit - 20.0) - psi * 3.0 / largest**2) / 22
    assert 0.5 * capital == pytest.approx(20.0, rel=1e-6)


def test_a_few_small_errors_at_rare_audits_say_that_most_calls_are_not_at_the_cap():
    """3,000 calls audited with a probability of 0.002, errors of a hundredth of the cap in the six that were seen."""
    state, blind = MeanError(), MeanError()
    for k in range(3000):
        error = 0.01 if k % 500 == 0 else None
        state = observe_error(state, 0.01, error, 0.002, cap=1.0, least=0.002)
        blind = observe_error(blind, 0.01, error, 0.002, cap=1.0)
    assert state.lost == pytest.approx(-6 * 0.01 * math.log(0.1))
    # all of it is the bet's: the other half of the weight says nothing yet
    assert upper_limit(state, cap=1.0, least=0.002) == pytest.approx(
        (math.log(40) + state.lost) / 5.4, rel=0.03
    )
    assert math.isnan(upper_limit(blind, cap=1.0))


def test_a_probability_below_the_least_ends_the_bet():
    state = observe_error(MeanError(n=10_000), 0.0, 0.5, 0.01, cap=1.0, least=0.5)
    assert state.lost == math.inf
    assert upper_limit(state, cap=1.0, least=0.5) == upper_limit(state, cap=1.0)


def test_a_mean_below_zero_counts_as_zero_and_a_limit_at_the_cap_is_not_known():
    at_zero = upper_limit(MeanError(n=2**20, total=0.0), cap=1.0)
    assert upper_limit(MeanError(n=2**20, total=-5.0), cap=1.0) == at_zero < 1e-4
    below_cap = MeanError(n=2**20, total=2**20 * (1.0 - at_zero))
    assert math.isnan(upper_limit(below_cap, cap=1.0))


def test_nothing_is_known_before_the_first_call():
    assert math.isnan(upper_limit(MeanError(), cap=1.0))
    assert math.isnan(MeanError().mean)
    assert math.isnan(MeanError().estimate)


def test_errors_that_were_all_seen_leave_no_standard_error_by_chance():
    state = observe_error(MeanError(), 0.1, 0.3, 1.0, cap=1.0)
    assert math.isnan(state.standard_error)


def test_without_audits_there_is_no_limit():
    assert math.isnan(upper_limit(MeanError(100, 1.0, 0.0, probability_min=0.0), cap=5.0))
