"""The error as a function of the uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ratio", "fit_line", "fit_ratio", "largest_threshold", "rank_correlation"]

NEAREST = 10
"""Observations that always count in full where the ratio is wanted."""


def fit_line(uncertainties: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Fit `error = alpha * uncertainty + beta` by least squares.

    Parameters
    ----------
    uncertainties, errors : sequence of float, shape (n,)
        Observed pairs; n may be as small as 0.

    Returns
    -------
    alpha, beta : float
        Slope (error unit over uncertainty unit) and intercept; NaN where the uncertainties do not vary.

    Notes
    -----
    The regression is of error on uncertainty.  The inverse of this slope turns an excess of error into a
    change of threshold; the regression the other way round has the slope 1/alpha only if all pairs lie
    on the line.

    Examples
    --------
    >>> fit_line([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    (2.0, 1.0)
    """
    n = len(uncertainties)
    if n != len(errors):
        raise ValueError(f"one error per uncertainty is needed, got {n} and {len(errors)}")
    if n < 2:
        return math.nan, math.nan
    mean_u, mean_e = math.fsum(uncertainties) / n, math.fsum(errors) / n
    variance = math.fsum((u - mean_u) ** 2 for u in uncertainties)
    if not variance > 1e-24 * max(mean_u * mean_u, 1e-300) * n:
        return math.nan, math.nan
    covariance = math.fsum((u - mean_u) * (e - mean_e) for u, e in zip(uncertainties, errors, strict=True))
    alpha = covariance / variance
    return alpha, mean_e - alpha * mean_u


def rank_correlation(uncertainties: Sequence[float], errors: Sequence[float]) -> float:
    """Spearman's rank correlation of two sequences; NaN where one of them does not vary.

    Examples
    --------
    >>> rank_correlation([1.0, 2.0, 3.0], [0.1, 0.5, 0.9])
    1.0
    """
    ranks_u, ranks_e = _ranks(uncertainties), _ranks(errors)
    slope, _ = fit_line(ranks_u, ranks_e)
    inverse, _ = fit_line(ranks_e, ranks_u)
    return math.copysign(math.sqrt(max(slope * inverse, 0.0)), slope)


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 0, ties sharing their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or values[order[end]] != values[order[start]]:
            for position in range(start, end):
                ranks[order[position]] = (start + end - 1) / 2
            start = end
    return ranks


@dataclass(frozen=True, slots=True)
class Ratio:
    """Error per unit of uncertainty.

    Attributes
    ----------
    mean
        Estimated ratio of mean error to mean uncertainty.
    upper
        The estimate plus `z` standard errors.
    """

    mean: float
    upper: float


def fit_ratio(
    pairs: Sequence[tuple[float, float]],
    *,
    reference: float,
    weights: Sequence[float] | None = None,
    prior: float | None = None,
    prior_weight: float = 4.0,
    z: float = 1.0,
) -> Ratio:
    """Estimate `error / uncertainty` from observed pairs, those at small uncertainty first.

    Parameters
    ----------
    pairs : sequence of (uncertainty, error)
        Latest observations.
    reference : float
        Uncertainty up to which the ratio is wanted; pairs above it, and above the `NEAREST` smallest, count less
        the further up they lie (a Gaussian of width 1 in the logarithm).  NaN or 0 to weigh all alike.
    weights : sequence of float, optional
        What each pair counts, by default 1.
    prior : float or None
        Ratio to expect before any observation, worth `prior_weight` of them; None to know nothing.
    z : float
        Standard errors between `mean` and `upper`.

    Returns
    -------
    Ratio
        NaN where there is nothing to go by.

    Examples
    --------
    >>> ratio = fit_ratio([(1.0, 0.5), (2.0, 1.0)], reference=math.nan)
    >>> ratio.mean, ratio.upper
    (0.5, 0.5)
    >>> fit_ratio([], reference=math.nan, prior=1.0, prior_weight=4.0, z=1.0).upper
    1.5
    """
    local = reference > 0
    if local and pairs:
        reference = max(reference, sorted(u for u, _ in pairs)[min(NEAREST, len(pairs)) - 1])
    sum_w = sum_u = sum_e = 0.0
    weighted = []
    for (u, e), weight in zip(pairs, weights or [1.0] * len(pairs), strict=True):
        above = math.log(u / reference) if local and u > reference else 0.0
        w = weight * math.exp(-0.5 * above * above)
        weighted.append((w, u, e))
        sum_w += w
        sum_u += w * u
        sum_e += w * e
    mean_u = sum_u / sum_w if sum_u > 0 else 1.0
    prior_mass = prior_weight * mean_u if prior is not None else 0.0
    mass = sum_u + prior_mass
    if not mass > 0:
        return Ratio(math.nan, math.nan)
    mean = (sum_e + (prior or 0.0) * prior_mass) / mass
    spread = sum((w * (e - mean * u)) ** 2 for w, u, e in weighted)
    spread += prior_weight * ((prior or 0.0) * mean_u) ** 2
    return Ratio(mean, mean + z * math.sqrt(spread) / mass)


def largest_threshold(uncertainties: Sequence[float], allowed_mean: float, spread: float) -> float:
    """Largest threshold below which the mean uncertainty stays within what is allowed.

    Parameters
    ----------
    uncertainties : sequence of float
        Those of recent calls, which stand for the next ones.
    allowed_mean : float
        What the mean of those below the threshold may be.
    spread : float
        The threshold is `spread * allowed_mean` at most.

    Examples
    --------
    >>> largest_threshold([1.0, 2.0, 3.0, 4.0], allowed_mean=2.0, spread=5.0)
    4.0
    >>> largest_threshold([1.0, 1.0, 1.0], allowed_mean=2.0, spread=1.5)
    3.0
    """
    total = 0.0
    for count, u in enumerate(sorted(uncertainties), start=1):
        total += u
        if total > allowed_mean * count:
            return min(spread * allowed_mean, max(u, allowed_mean))
    return spread * allowed_mean
