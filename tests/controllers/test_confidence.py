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


@pytest.mark.parametrize(
    ("p", "foresight", "spread"), [(0.1, 0.0, 1.0), (0.1, 1.0, 1.0), (0.3, 0.5, 3.0), (1.0, 0.0, 1.0)]
)
def test_the_limit_covers_the_truth_at_all_times_in_95_of_100_runs(p, foresight, spread):
    rng = np.random.default_rng(7)
    n_runs, n_calls, cap = 200, 1000, 1.0
    violated = 0
    for _ in range(n_runs):
        errors = np.minimum(0.02 * rng.lognormal(0, spread, n_calls), cap)
        audited = rng.random(n_calls) < p
        predicted = foresight * 0.02
        state, true_sum = MeanError(), 0.0
        for n, (error, seen) in enumerate(zip(errors.tolist(), audited.tolist(), strict=True), start=1):
            state = observe_error(state, predicted, error if seen else None, p, cap)
            true_sum += error
            if n % 20 == 0 and true_sum / n > upper_limit(state, cap=cap, probability_min=p):
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
            limits.append(upper_limit(state, cap=0.1, probability_min=0.5))
    assert limits[0] > limits[1] > limits[2]
    assert 0.05 < limits[2] < 0.053


@given(total=st.floats(0, 100), variation=st.floats(0, 1e4), n=st.integers(1, 10_000))
def test_the_limit_lies_between_the_mean_and_the_cap(total, variation, n):
    state = MeanError(n, total, variation)
    limit = upper_limit(state, cap=2.0, probability_min=0.1)
    assert min(state.mean, 2.0) <= limit <= 2.0


def test_nothing_is_known_before_the_first_call():
    assert math.isnan(upper_limit(MeanError(), cap=1.0, probability_min=0.1))
    assert math.isnan(MeanError().mean)


def test_without_audits_only_the_cap_is_known():
    assert upper_limit(MeanError(100, 1.0, 0.0), cap=5.0, probability_min=0.0) == 5.0
