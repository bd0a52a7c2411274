"""A running mean of audited errors, and an upper limit of it that holds at all times at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["MeanError", "observe_error", "steady_total", "upper_limit"]

THETAS = tuple(0.5 ** (0.5 * j) for j in range(1, 23))
"""Fixed grid of theta, in units of 1 / cap: from 0.7, for errors all seen, to what audits of 0.0005 allow."""
NEAR = 0.9
"""Bet on few audits, in units of their smallest probability. With 0.8 and 0.95 the limit in the stream `calm` of
benchmarks/streams.py is 10 % higher and 4 % lower; the nearer to 1, the more one large error raises it."""
STEPS = 50
"""Most steps of Newton's method, which converges from above in four to eight."""


@dataclass(frozen=True, slots=True)
class MeanError:
    """Sums over the calls counted so far; errors in the unit of the metric, capped.

    Attributes
    ----------
    n
        Number of calls.
    total
        Sum of the estimated errors.
    variation
        Sum of the squared deviations of the estimates from what was predicted before each call.
    expected
        Sum of the predicted errors.
    seen_error, seen_expected
        Sums of the errors that were seen, and of what had been predicted there, over their probabilities.
    variance
        Estimated variance of `total`.
    n_seen
        Number of errors that were seen.
    probability_min
        Smallest probability so far with which an error was to be seen.
    lost
        What the errors seen cost a bet that there are none (see `upper_limit`).
    """

    n: int = 0
    total: float = 0.0
    variation: float = 0.0
    expected: float = 0.0
    seen_error: float = 0.0
    seen_expected: float = 0.0
    variance: float = 0.0
    n_seen: int = 0
    probability_min: float = 1.0
    lost: float = 0.0

    @property
    def mean(self) -> float:
        """Mean error estimated without bias (difference estimator); NaN before the first call."""
        return self.total / self.n if self.n else math.nan

    @property
    def estimate(self) -> float:
        """Mean error as it is reported: `mean`, but never below zero; NaN before the first call."""
        if self.n == 0:
            return math.nan
        return float(steady_total(self.expected, self.seen_expected, self.seen_error)) / self.n

    @property
    def standard_error(self) -> float:
        """Standard error of the estimate; NaN before the first error was seen by chance."""
        return math.sqrt(self.variance) / self.n if self.variance > 0 else math.nan


def steady_total(expected: Any, seen_expected: Any, seen_error: Any) -> Any:
    """Sum of errors from what was predicted for all of them and what was seen of some; floats or arrays.

    Where the audits stand for less than all predictions, their excess over what was predicted there is
    added (the difference estimator, without bias); where they stand for more, by the luck of the draw, it is
    scaled down to all predictions (the ratio estimator), so that the sum is never negative.

    Parameters
    ----------
    expected
        Sum of the predictions.
    seen_expected, seen_error
        Sums of predictions and errors of the audited calls, over their probabilities.

    Examples
    --------
    >>> float(steady_total(10.0, 4.0, 6.0)), float(steady_total(10.0, 40.0, 20.0))
    (12.0, 5.0)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(np.asarray(seen_expected) > expected, np.divide(expected, seen_expected), 1.0)
    return expected + (seen_error - seen_expected) * scale


def observe_error(
    state: MeanError,
    predicted: float,
    error: float | None,
    probability: float,
    cap: float,
    *,
    least: float = 0.0,
) -> MeanError:
    """Count a call on which the error was seen with a probability fixed before the call.

    The estimate `predicted + seen * (error - predicted) / probability` has the error as its mean, whatever was
    predicted (the difference estimator of survey sampling); a good prediction makes it vary little.

    Parameters
    ----------
    predicted : float
        Error expected before the call.
    error : float or None
        Observed error, None where it was not seen; counted as `cap` where larger or NaN.
    probability : float
        Probability with which the error was to be seen.
    cap : float
        Largest error that is counted.
    least : float
        Smallest probability that there can be, known before the first call; 0 where none is known.

    Examples
    --------
    >>> observe_error(MeanError(), predicted=1.0, error=3.0, probability=0.5, cap=10.0).mean
    5.0
    """
    expected = min(predicted, cap)
    deviation = seen = foreseen = lost = 0.0
    if error is not None:
        counted = error if error < cap else cap  # NaN counts as the cap
        seen, foreseen = counted / probability, expected / probability
        deviation = seen - foreseen
        bet = NEAR * least / probability
        lost = -math.log1p(-bet) * counted / cap if bet < 1 else math.inf
    return MeanError(
        state.n + 1,
        state.total + expected + deviation,
        state.variation + deviation * deviation,
        state.expected + expected,
        state.seen_error + seen,
        state.seen_expected + foreseen,
        state.variance + (1.0 - probability) * deviation * deviation,
        state.n_seen + (error is not None),
        min(state.probability_min, probability),
        state.lost + lost,
    )


def upper_limit(state: MeanError, *, cap: float, delta: float = 0.05, least: float = 0.0) -> float:
    """Limit that the mean (capped) error exceeds at any time with probability `delta` at most.

    The mean of several supermartingales that begin at 1 is one, and exceeds 1 / delta at any time with probability
    delta at most (Ville). Each is a function of the sum E of the true errors, which is unknown; the limit is the sum at
    which their mean is 1 / delta.

    Half of the weight is on an empirical Bernstein bound, uniform in time (Howard, Ramdas, McAuliffe and Sekhon, Annals
    of Statistics 49, 2021), which is sharp where many errors were seen: let D be by how much the estimate of a call
    exceeds its prediction, never more than b = cap / p where the error was to be seen with probability p. For every
    theta with theta b < 1 at all calls so far, `exp(theta (E - total) - psi(theta b) V / b^2)` with
    `psi(x) = -log(1 - x) - x` is a supermartingale, V being the sum of D squared, and b that of the smallest p so far:
    `psi(x) / x^2` grows with x, so that the largest b serves all calls. The thetas are fixed beforehand, in units of
    1 / cap; one is dropped for good once theta b reaches 1.

    The other half is a bet on errors that are hardly ever seen (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024,
    bet in the same way on means): with c below every p, `exp(c E / cap + sum of log(1 - c / p) e / cap)`, the sum over
    the errors e that were seen. For at a call `p (1 - c / p)^(e / cap) + 1 - p <= 1 - c e / cap <= exp(-c e / cap)`,
    the left hand side being convex in e. Without any error E is below `log(2 / delta) cap / c`, whatever was predicted.

    Parameters
    ----------
    state : MeanError
        Sums so far.
    cap : float
        Largest error that is counted.
    delta : float
        Probability of a false limit over the whole run.
    least : float
        As it was given to `observe_error` at every call.

    Returns
    -------
    float
        The limit, never below the estimate; NaN before the first call, and as long as it is not below `cap`, as it says
        nothing then.

    Examples
    --------
    >>> state = MeanError(n=100_000, total=100.0, probability_min=0.1)
    >>> upper_limit(state, cap=0.01)
    0.0010...
    >>> upper_limit(MeanError(n=10, total=0.01, probability_min=0.1), cap=0.01)
    nan
    """
    if not state.n:
        return math.nan
    largest = cap / state.probability_min if state.probability_min > 0 else math.inf
    terms = []
    for theta in THETAS:
        x = theta * largest / cap
        if x < 1:
            variation = (-math.log1p(-x) - x) * state.variation / largest**2
            start = math.log(0.5 / len(THETAS)) - theta * max(state.total, 0.0) / cap - variation
            terms.append((theta / cap, start))
    if least > 0 and NEAR * least < state.probability_min:
        terms.append((NEAR * least / cap, math.log(0.5) - state.lost))
    if not terms:
        return math.nan
    limit = max(_reaches(terms, -math.log(delta)) / state.n, state.mean, state.estimate)
    return limit if limit < cap else math.nan


def _reaches(terms: Sequence[tuple[float, float]], level: float) -> float:
    """Where the logarithm of the sum of exponentials, of lines given by slope and value at 0, reaches a level.

    It is convex, so that Newton's method converges from where the first line alone reaches the level.
    """
    x = min((level - start) / slope for slope, start in terms)
    for _ in range(STEPS):
        exponents = [start + slope * x for slope, start in terms]
        top = max(exponents)
        shares = [math.exp(exponent - top) for exponent in exponents]
        total = math.fsum(shares)
        gap = top + math.log(total) - level
        x -= gap * total / math.fsum(share * slope for share, (slope, _) in zip(shares, terms, strict=True))
        if gap < 1e-9:
            break
    return x
