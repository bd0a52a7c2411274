"""Means of correlated chains."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from ase_proxima.apps.statistics import autocorrelation_time, mean_of_chain, sampled_means


def ar1(phi, n, seed):
    """A stationary chain of mean 0, variance 1 and integrated autocorrelation time (1 + phi) / (1 - phi)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n) * math.sqrt(1 - phi * phi)
    start = rng.normal()
    return lfilter([1.0], [1.0, -phi], noise, zi=[phi * start])[0]


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.98])
def test_the_time_of_an_autoregressive_chain_is_found(phi):
    tau = (1 + phi) / (1 - phi)
    found = [autocorrelation_time(ar1(phi, 40_000, seed)) for seed in range(5)]
    assert np.mean(found) == pytest.approx(tau, rel=0.12)


@pytest.mark.parametrize("phi", [0.0, 0.7, 0.95])
def test_error_bars_cover_the_true_mean(phi):
    results = [mean_of_chain(ar1(phi, 8000, seed)) for seed in range(300)]
    inside = np.mean([abs(result.mean) < 2 * result.error for result in results])
    assert 0.92 < inside < 0.985
    assert results[0].n_independent == pytest.approx(8000 / results[0].tau)


def test_the_error_of_independent_samples_is_the_textbook_s():
    x = np.random.default_rng(0).normal(size=10_000)
    result = mean_of_chain(x)
    assert result.error == pytest.approx(x.std(ddof=1) * math.sqrt(result.tau / 10_000), rel=1e-3)
    assert result.tau == pytest.approx(1.0, abs=0.1)


def test_a_chain_too_short_for_its_correlation_has_no_reliable_error_bar():
    assert not mean_of_chain(ar1(0.99, 500, 1)).reliable
    assert mean_of_chain(ar1(0.5, 5000, 1)).reliable


@pytest.mark.parametrize("chain", [[2.0] * 50, [0.0] * 10])
def test_a_chain_that_stands_still_has_no_error_bar(chain):
    result = mean_of_chain(chain)
    assert result.mean == chain[0]
    assert math.isnan(result.error)
    assert result.tau == math.inf


def test_one_sample_and_none():
    assert mean_of_chain([3.0]).mean == 3.0
    assert math.isnan(mean_of_chain([]).mean)
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        autocorrelation_time(np.ones((2, 2)))


def test_times_of_short_chains_by_hand():
    """Alternating values have negative correlations, so that the time is one; a slow square wave has a long one."""
    assert autocorrelation_time([1.0, 3.0] * 50) == 1.0
    wave = np.repeat([0.0, 1.0, 0.0, 1.0], 4)
    x = wave - 0.5
    rho = np.array([np.dot(x[: len(x) - k], x[k:]) for k in range(len(x))]) / np.dot(x, x)
    taus = 2 * np.cumsum(rho) - 1
    window = next(k for k in range(len(x)) if k >= taus[k])
    assert autocorrelation_time(wave, c=1.0) == pytest.approx(taus[window])
    assert autocorrelation_time(wave, c=1.0) == 1.75
    first = next(k for k in range(len(x)) if k >= 5 * taus[k])
    assert autocorrelation_time(wave) == pytest.approx(max(taus[first], 1.0))


def test_a_window_as_wide_as_the_chain_says_one_and_one_of_no_width_too():
    ramp = np.arange(12.0)
    assert autocorrelation_time(ramp, c=1e9) == 1.0
    assert autocorrelation_time(ramp, c=0.0) == 1.0
    assert autocorrelation_time(ramp, c=0.5) > 2.0


def test_the_window_is_five_times_as_wide_as_the_time_unless_told_otherwise():
    chain = ar1(0.9, 400, seed=3)
    wide, usual, narrow = (autocorrelation_time(chain, c=c) for c in (6.0, 5.0, 4.0))
    assert autocorrelation_time(chain) == usual
    assert usual not in (wide, narrow)


def test_two_samples_are_a_chain_and_one_is_none():
    assert autocorrelation_time([0.0, 1.0]) == 1.0
    for wrong, shape in (([1.0], r"\(1,\)"), (1.0, r"\(\)")):
        with pytest.raises(ValueError, match=f"at least 2, got {shape}"):
            autocorrelation_time(wrong)


def test_the_mean_by_hand():
    result = mean_of_chain([1.0, 3.0] * 50)
    assert (result.mean, result.tau, result.n_independent, result.reliable) == (2.0, 1.0, 100.0, True)
    assert result.error == pytest.approx(math.sqrt(1.0 / 99))
    nineteen = mean_of_chain([1.0, 3.0] * 9 + [1.0])
    assert (nineteen.n_independent, nineteen.reliable) == (19.0, False)
    twenty = mean_of_chain([1.0, 3.0] * 10)
    assert (twenty.n_independent, twenty.reliable) == (20.0, True)
    pair = mean_of_chain([1.0, 3.0])
    assert (pair.mean, pair.error, pair.n_independent) == (2.0, 1.0, 2.0)


def test_of_one_sample_no_error_is_known():
    one, none = mean_of_chain([3.0]), mean_of_chain([])
    assert (one.mean, one.n_independent, one.reliable) == (3.0, 1.0, False)
    assert (none.n_independent, none.reliable) == (0.0, False)
    assert math.isnan(one.error)
    assert math.isnan(one.tau)


def test_what_is_said_of_a_sampled_molecule():
    energy, gyration = mean_of_chain([1.0, 3.0] * 50), mean_of_chain([2.0, 2.5] * 5)
    assert sampled_means(energy, gyration) == {
        "energy": 2.0,
        "energy_error": energy.error,
        "radius_of_gyration": 2.25,
        "radius_of_gyration_error": gyration.error,
        "autocorrelation_time": gyration.tau,
        "reliable_error_bars": False,
    }
