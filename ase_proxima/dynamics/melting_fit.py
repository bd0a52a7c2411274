"""A melting point from runs that ended solid or liquid, and which temperature to run next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import kB
from numpy.typing import NDArray
from scipy.special import betaincinv, expit

from ase_proxima.errors import InputError

__all__ = [
    "MeltingFit",
    "Outcome",
    "fit_melting",
    "liquid_probability",
    "next_temperatures",
    "share_interval",
    "transition_width",
]

# Of the fit.
HEAT_SPREAD = 1.0
"""Standard deviation of the logarithm of the slope about the heat of fusion: their relation is a model. The slope of
119 runs of 216 atoms of aluminium, pooled over eight preparations, was 0.15 of it (measured), as a thin layer that
fluctuates vanishes whatever the temperature; 0.3 gave one preparation of 20 runs 932 ± 7 K beside 883 ± 4."""
HEAT_RANGE = (0.5, 2000.0)
"""Slopes that are thought of, in eV: from less than the heat of fusion of 13 atoms to that of 20,000."""
N_TEMPERATURES, N_HEATS = 401, 81
"""Points of the grid; half as many move no melting point of `benchmarks/melting.py` by a kelvin."""
CANDIDATES = 41
"""Temperatures that are weighed up for the next run."""
LEVEL = 0.95
"""Of the intervals."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    temperature_K
    liquid
        1 for a liquid, 0 for a solid; the liquid fraction of a run that did not decide.
    """

    temperature_K: float  # noqa: N815  K is the unit
    liquid: float


@dataclass(frozen=True, slots=True)
class MeltingFit:
    """A melting point with what is known of it.

    Attributes
    ----------
    temperature_K, std_K
        Mean and standard deviation.
    interval_K
        Central interval of 95 %.
    heat
        Median of the slope, the heat of fusion of the cell, in eV.
    width_K
        Temperatures between 10 and 90 % liquid at that slope.
    """

    temperature_K: float  # noqa: N815
    std_K: float  # noqa: N815
    interval_K: tuple[float, float]  # noqa: N815
    heat: float
    width_K: float  # noqa: N815


def liquid_probability(
    temperature_K: NDArray[np.float64] | float, melting_K: float, heat: float
) -> NDArray[np.float64]:
    """Probability that a cell ends liquid, `1 / (1 + exp(g (Tm - T) / (2 kB T Tm)))`.

    Half the cell is liquid at the start: freezing or melting changes the free energy by half of `g (Tm - T) / Tm`, each
    way.

    Parameters
    ----------
    temperature_K, melting_K
        Of the run, and the melting point.
    heat
        Heat of fusion `g` of the whole cell, in eV.

    References
    ----------
    Hong and van de Walle, J. Chem. Phys. 139, 094114 (2013), doi:10.1063/1.4819792.

    Examples
    --------
    >>> float(liquid_probability(900.0, 900.0, 20.0))
    0.5
    """
    temperature = np.asarray(temperature_K, float)
    share: NDArray[np.float64] = expit(
        heat * (temperature - melting_K) / (2.0 * kB * temperature * melting_K)
    )
    return share


def transition_width(melting_K: float, heat: float) -> float:
    """Temperatures, in K, between 10 and 90 % liquid.

    Examples
    --------
    >>> round(transition_width(830.0, 40.0), 1)
    13.0
    """
    return float(2.0 * math.log(9.0) * 2.0 * kB * melting_K**2 / heat)


def share_interval(n: int, k: float) -> tuple[float, float]:
    """Interval of 95 % of a share of which `k` of `n` were seen, after Jeffreys.

    Examples
    --------
    >>> low, high = share_interval(20, 3)
    >>> round(low, 2), round(high, 2)
    (0.04, 0.35)
    """
    tail = (1.0 - LEVEL) / 2.0
    low = 0.0 if k <= 0 else float(betaincinv(k + 0.5, n - k + 0.5, tail))
    high = 1.0 if k >= n else float(betaincinv(k + 0.5, n - k + 0.5, 1.0 - tail))
    return low, high


class _Grid:
    """Posterior over melting point and slope, on a grid."""

    def __init__(self, low_K: float, high_K: float, heat: float | None) -> None:
        if not 0 < low_K < high_K:
            raise InputError(f"the melting point must lie in a range above 0 K, got {low_K} to {high_K}")
        if heat is not None and not heat > 0:
            raise InputError(f"the heat of fusion must be positive, got {heat}: check the two phases")
        self.melting = np.linspace(low_K, high_K, N_TEMPERATURES)[:, None]
        self.heats = np.geomspace(*HEAT_RANGE, N_HEATS)[None, :]
        self.log = np.zeros((N_TEMPERATURES, N_HEATS))
        if heat is not None:
            self.log -= 0.5 * (np.log(self.heats / heat) / HEAT_SPREAD) ** 2

    def probability(self, temperature_K: float) -> NDArray[np.float64]:
        """Probability of a liquid at every point."""
        slope = self.heats * (temperature_K - self.melting) / (2.0 * kB * temperature_K * self.melting)
        share: NDArray[np.float64] = expit(slope)
        return share

    def observe(self, outcome: Outcome) -> None:
        p = np.clip(self.probability(outcome.temperature_K), 1e-300, 1.0 - 1e-16)
        self.log += outcome.liquid * np.log(p) + (1.0 - outcome.liquid) * np.log1p(-p)

    @property
    def weights(self) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = np.exp(self.log - self.log.max())
        weights /= weights.sum()
        return weights


def _moments(melting: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and variance of the melting point."""
    margin = weights.sum(axis=1)
    values = melting[:, 0]
    mean = float(margin @ values)
    return mean, float(margin @ (values - mean) ** 2)


def fit_melting(
    outcomes: Sequence[Outcome], low_K: float, high_K: float, heat: float | None = None
) -> MeltingFit:
    """Fit the melting point to how runs ended.

    Parameters
    ----------
    outcomes
    low_K, high_K
        Range of the melting point, all of it equally likely beforehand.
    heat
        Heat of fusion of the cell, in eV: the slope is then log-normal about it. None takes every order of magnitude
        of the slope for equally likely.

    Raises
    ------
    InputError
        If the range or the heat is not positive, or there is no outcome.

    Examples
    --------
    >>> fit = fit_melting([Outcome(850.0, 0.0), Outcome(890.0, 1.0)], 500.0, 1200.0, heat=17.0)
    >>> round(fit.temperature_K / 10) * 10
    870
    """
    if not outcomes:
        raise InputError("a melting point needs at least one finished run, got none")
    grid = _Grid(low_K, high_K, heat)
    for outcome in outcomes:
        grid.observe(outcome)
    weights = grid.weights
    mean, variance = _moments(grid.melting, weights)
    below = np.cumsum(weights.sum(axis=1))
    tail = (1.0 - LEVEL) / 2.0
    low, high = (float(np.interp(q, below, grid.melting[:, 0])) for q in (tail, 1.0 - tail))
    slope = float(np.exp(np.interp(0.5, np.cumsum(weights.sum(axis=0)), np.log(grid.heats[0]))))
    return MeltingFit(mean, math.sqrt(variance), (low, high), slope, transition_width(mean, slope))


def next_temperatures(
    outcomes: Sequence[Outcome], low_K: float, high_K: float, heat: float, *, step_K: float, n: int = 1
) -> list[float]:
    """Temperatures at which to run next.

    One run goes where it is expected to narrow the melting point most: at first that halves the range; once solid and
    liquid runs lie on both sides, it is near the middle of the transition, again and again. Several runs side by side
    cut what is thought of the melting point into equal parts.

    Parameters
    ----------
    outcomes, low_K, high_K, heat
        See `fit_melting`.
    step_K
        Temperatures are multiples of it, so that runs share them.
    n
        Number of temperatures.

    Examples
    --------
    >>> next_temperatures([], 400.0, 1200.0, 17.0, step_K=5.0)
    [800.0]
    >>> next_temperatures([], 400.0, 1200.0, 17.0, step_K=5.0, n=3)
    [600.0, 800.0, 1000.0]
    """
    grid = _Grid(low_K, high_K, heat)
    for outcome in outcomes:
        grid.observe(outcome)
    weights = grid.weights
    below = np.cumsum(weights.sum(axis=1))

    def quantile(q: float) -> float:
        return float(np.interp(q, below, grid.melting[:, 0]))

    if n > 1:
        return [round(quantile(k / (n + 1)) / step_K) * step_K for k in range(1, n + 1)]
    candidates = np.unique(
        np.round(np.linspace(quantile(0.02), quantile(0.98), CANDIDATES) / step_K) * step_K
    )
    expected = []
    for temperature in candidates:
        p = grid.probability(float(temperature))
        spread = 0.0
        for likelihood in (p, 1.0 - p):
            joint = weights * likelihood
            total = float(joint.sum())
            if total > 0:
                spread += total * _moments(grid.melting, joint / total)[1]
        expected.append(spread)
    return [float(candidates[int(np.argmin(expected))])]
