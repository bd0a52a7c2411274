"""The melting point from how runs ended, and the choice of the next temperature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.dynamics.melting_fit import (
    Outcome,
    fit_melting,
    liquid_probability,
    next_temperatures,
    share_interval,
    transition_width,
)
from ase_proxima.errors import InputError

RANGE = (400.0, 1300.0)


def outcomes_of(temperatures, melting, heat, seed):
    rng = np.random.default_rng(seed)
    return [Outcome(T, float(rng.random() < liquid_probability(T, melting, heat))) for T in temperatures]


@given(st.floats(300, 3000), st.floats(300, 3000), st.floats(1, 500))
def test_the_probability_rises_through_a_half_at_the_melting_point(T, melting, heat):
    p = liquid_probability(T, melting, heat)
    assert (p >= 0.5) == (melting <= T) or abs(p - 0.5) < 1e-9
    assert liquid_probability(melting, melting, heat) == 0.5


@given(st.floats(300, 3000), st.floats(10, 500))
def test_the_width_is_that_between_ten_and_ninety_per_cent(melting, heat):
    width = transition_width(melting, heat)
    if width < 0.05 * melting:
        p = liquid_probability(np.array([melting - width / 2, melting + width / 2]), melting, heat)
        assert p == pytest.approx([0.1, 0.9], abs=0.005)


@given(st.integers(1, 200), st.floats(0, 1))
def test_a_share_lies_in_its_interval(n, share):
    k = round(share * n)
    low, high = share_interval(n, k)
    assert 0 <= low <= k / n <= high <= 1
    assert high - low < 1.96 / np.sqrt(n)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held, errors, flat_errors = 0, [], []
    for seed in range(20):
        melting, heat = 830.0 + 2.0 * seed, 20.0
        outcomes: list[Outcome] = []
        for i in range(16):
            (T,) = next_temperatures(outcomes, *RANGE, heat, step_K=5.0)
            outcomes += outcomes_of([T], melting, heat, 100 * seed + i)
        fit = fit_melting(outcomes, *RANGE, heat)
        held += fit.interval_K[0] <= melting <= fit.interval_K[1]
        errors.append(fit.temperature_K - melting)
        flat_errors.append(fit_melting(outcomes, *RANGE).temperature_K - melting)
    assert held >= 17
    assert np.sqrt(np.mean(np.square(errors))) < 8.0
    assert abs(np.mean(errors)) < 4.0
    assert np.median(np.abs(flat_errors)) < 25.0


def test_temperatures_bracket_bisect_and_then_stay_in_the_transition():
    outcomes: list[Outcome] = []
    tried = []
    for _ in range(12):
        (T,) = next_temperatures(outcomes, *RANGE, 40.0, step_K=5.0)
        tried.append(T)
        outcomes.append(Outcome(T, float(T > 832)))
    assert tried[0] == 850.0
    assert min(tried) < 832 < max(tried)
    assert max(abs(T - 832) for T in tried[-4:]) < 15
    assert all(T % 5 == 0 for T in tried)


def test_runs_side_by_side_share_the_range_out_and_then_the_transition():
    assert next_temperatures([], *RANGE, 40.0, step_K=5.0, n=2) == [700.0, 1000.0]
    outcomes = [Outcome(T, float(T > 832)) for T in (700.0, 810.0, 820.0, 840.0, 850.0, 1000.0)]
    chosen = next_temperatures(outcomes, *RANGE, 40.0, step_K=5.0, n=4)
    assert max(abs(T - 832) for T in chosen) < 15


def test_an_undecided_run_pulls_towards_its_temperature_only_a_little():
    sure = fit_melting([Outcome(800.0, 0.0), Outcome(900.0, 1.0)], *RANGE, 20.0)
    more = fit_melting([Outcome(800.0, 0.0), Outcome(900.0, 1.0), Outcome(880.0, 0.5)], *RANGE, 20.0)
    assert sure.temperature_K < more.temperature_K < 880
    assert more.std_K < sure.std_K


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], *RANGE, 20.0), "at least one finished run"),
        (([Outcome(800.0, 1.0)], 900.0, 800.0, 20.0), "range above 0 K"),
        (([Outcome(800.0, 1.0)], *RANGE, -1.0), "heat of fusion must be positive"),
    ],
)
def test_what_cannot_be_fitted_is_told(arguments, message):
    with pytest.raises(InputError, match=message):
        fit_melting(*arguments)
