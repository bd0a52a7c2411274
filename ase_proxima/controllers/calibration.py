"""The error as a function of the uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ratio", "fit_line", "fit_ratio", "largest_threshold", "rank_correlation"]

NEAREST = 10
"""Observations that always count in full where the ratio is wanted."""
PRIOR_WEIGHTS = (1.0, 4.0)
"""Observations that a prior is worth: the fewer, the sooner errors above it count; the more, the later those below."""
PRIOR_SPREAD = 0.5
"""Standard error of a prior, in units of itself."""


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
    z: float = 1.0,
) -> Ratio:
    """Estimate `error / uncertainty` from observed pairs, those at small uncertainty first.

    Parameters
    ----------
    pairs : sequence of (uncertainty, error)
        Latest observations.
    reference : float
        Uncertainty up to which the ratio is wanted. A pair above it counts as one at the reference with the same
        ratio; and less, the further up it lies, but for the `NEAREST` smallest (a Gaussian of width 1 in the
        logarithm). NaN or 0 to weigh all alike.
    weights : sequence of float, optional
        What each pair counts, by default 1.
    prior : float or None
        Ratio to expect before any observation, known to half of itself; None to know nothing.  It counts as each of
        `PRIOR_WEIGHTS` observations, and the larger estimate is taken: it holds a favourable start back for long, an
        unfavourable one hardly.
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
    >>> fit_ratio([], reference=math.nan, prior=1.0).upper
    1.5
    """
    local = reference > 0
    full = reference
    if local and pairs:
        full = max(reference, sorted(u for u, _ in pairs)[min(NEAREST, len(pairs)) - 1])
    weighted = []
    for (u, e), weight in zip(pairs, weights or [1.0] * len(pairs), strict=True):
        above = math.log(u / full) if local and u > full else 0.0
        scale = reference / u if local and u > reference else 1.0
        weighted.append((weight * math.exp(-0.5 * above * above), u * scale, e * scale))
    if prior is None:
        return _ratio(weighted, 0.0, 0.0, z)
    estimates = [_ratio(weighted, prior, weight, z) for weight in PRIOR_WEIGHTS]
    return Ratio(max(r.mean for r in estimates), max(r.upper for r in estimates))


def _ratio(
    weighted: Sequence[tuple[float, float, float]], prior: float, prior_weight: float, z: float
) -> Ratio:
    """Ratio from (weight, uncertainty, error), the prior being worth `prior_weight` of them."""
    sum_u = math.fsum(w * u for w, u, _ in weighted)
    mean_u = sum_u / math.fsum(w for w, _, _ in weighted) if sum_u > 0 else 1.0
    prior_mass = prior_weight * mean_u
    mass = sum_u + prior_mass
    if not mass > 0:
        return Ratio(math.nan, math.nan)
    mean = (math.fsum(w * e for w, _, e in weighted) + prior * prior_mass) / mass
    spread = math.fsum((w * (e - mean * u)) ** 2 for w, u, e in weighted)
    spread += (PRIOR_SPREAD * prior * prior_mass) ** 2
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
