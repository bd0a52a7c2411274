"""Means of correlated samples and their error bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MeanOfChain", "autocorrelation_time", "mean_of_chain", "sampled_means"]


@dataclass(frozen=True, slots=True)
class MeanOfChain:
    """Mean of a stationary chain.

    Attributes
    ----------
    mean
        Sample mean.
    error
        Its standard error, from the autocorrelation; NaN where the chain does not move.
    reliable
        Whether the chain is at least 20 autocorrelation times long; below that, the time itself and so the
        error are hardly known, and more likely too small.
    tau
        Integrated autocorrelation time, in steps; 1 for independent samples.
    n_independent
        Number of samples over `tau`.
    """

    mean: float
    error: float
    tau: float
    n_independent: float
    reliable: bool


def autocorrelation_time(chain: ArrayLike, c: float = 5.0) -> float:
    """Integrated autocorrelation time `1 + 2 sum_k rho_k`, in steps.

    Parameters
    ----------
    chain : array_like, shape (n,)
    c : float
        The sum ends at the first lag that is at least `c` times the time so far (Sokal's window).

    Returns
    -------
    float
        At least 1; infinity for a chain that does not move.

    References
    ----------
    Sokal, "Monte Carlo Methods in Statistical Mechanics", 1997, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> 0.9 < autocorrelation_time(rng.normal(size=10_000)) < 1.2
    True
    """
    x = np.asarray(chain, float)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"chain must have shape (n,) with n of at least 2, got {x.shape}")
    rho = _autocorrelation(x - x.mean())
    if rho is None:
        return math.inf
    taus = 2.0 * np.cumsum(rho) - 1.0
    # the correlations at all lags add up to nothing, so that the last of these is inside at any c
    window = int(np.argmax(np.arange(len(taus)) >= c * taus))
    return max(float(taus[window]), 1.0)


def _autocorrelation(x: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Normalised autocorrelation at lags 0 to n-1, by a zero-padded transform; None without variance."""
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    covariance = np.fft.irfft(power)[: len(x)]
    if not covariance[0] > 1e-300:
        return None
    return np.asarray(covariance / covariance[0])


def mean_of_chain(chain: ArrayLike) -> MeanOfChain:
    """Mean of a chain with an error bar that knows its autocorrelation.

    Examples
    --------
    >>> result = mean_of_chain(np.tile([1.0, 3.0], 500))
    >>> result.mean
    2.0
    """
    x = np.asarray(chain, float)
    if len(x) < 2:
        return MeanOfChain(float(x.mean()) if len(x) else math.nan, math.nan, math.nan, float(len(x)), False)
    tau = autocorrelation_time(x)
    n_independent = len(x) / tau
    # The variance of n_independent samples, of which one goes into the mean.
    error = math.sqrt(float(x.var()) / (n_independent - 1)) if n_independent > 1 else math.nan
    return MeanOfChain(float(x.mean()), error, tau, n_independent, n_independent >= 20)


def sampled_means(energy: MeanOfChain, gyration: MeanOfChain) -> dict[str, Any]:
    """What a sampled molecule is said to be, by name; the autocorrelation time is that of the radius of gyration.

    Parameters
    ----------
    energy, gyration : MeanOfChain
        Of the energy, eV, and of the radius of gyration, Å.
    """
    return {
        "energy": energy.mean,
        "energy_error": energy.error,
        "radius_of_gyration": gyration.mean,
        "radius_of_gyration_error": gyration.error,
        "autocorrelation_time": gyration.tau,
        "reliable_error_bars": gyration.reliable,
    }
