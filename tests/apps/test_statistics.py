"""Means of correlated chains."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from ase_proxima.apps.statistics import autocorrelation_time, mean_of_chain


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
