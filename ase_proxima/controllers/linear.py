"""The published control law: a threshold moved along a linear fit of error against uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ase_proxima.controllers.calibration import fit_line
from ase_proxima.types import Observation, Verdict

__all__ = ["LinearController", "LinearState", "update_threshold"]

OSCILLATION_UPDATES = 20
OSCILLATION_SHARE = 0.8


def update_threshold(
    threshold: float, error: float, error_bound: float, alpha: float, max_step: float = 0.1
) -> float:
    """Move the threshold so that the mean error approaches its bound.

    Parameters
    ----------
    threshold : float
        Current threshold, in the unit of the uncertainty.
    error, error_bound : float
        Observed mean and allowed error, in the unit of the error metric.
    alpha : float
        Slope of error against uncertainty; must be positive.
    max_step : float
        Largest change, in the unit of the uncertainty.

    Raises
    ------
    ValueError
        If `alpha` is not positive.

    References
    ----------
    Zamora et al., ICS 2021, doi:10.1145/3447818.3460370

    Examples
    --------
    >>> update_threshold(0.5, error=0.12, error_bound=0.1, alpha=0.5)
    0.46
    >>> update_threshold(0.5, error=0.2, error_bound=0.1, alpha=0.5)
    0.4
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}: pass the slope of error against uncertainty")
    step = (error - error_bound) / alpha
    return threshold - min(max(step, -max_step), max_step)


@dataclass(frozen=True, slots=True)
class LinearState:
    """State of the published law: threshold, slope, and the latest observed pairs."""

    threshold: float
    alpha: float = math.nan
    uncertainties: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    last_step: float = 0.0
    alternations: tuple[int, ...] = ()


@dataclass(frozen=True)
class LinearController:
    """Steer the threshold with the errors seen on the calls that the surrogate was not trusted with.

    Kept for comparison: it sees no error on the calls that it trusts, so its mean is biased, and once
    nothing is flagged any more it hears nothing.

    Parameters
    ----------
    error_bound : float
        The mean error to hold, in the unit of the error metric.
    window : int
        Number N of latest observations in the mean and in the fit.
    max_step : float
        Largest change of the threshold in one update.
    threshold_min, threshold_max : float
        Limits of the threshold.
    threshold_init : float
        Threshold before the first update.

    Notes
    -----
    While the fitted slope is not positive, or not defined, the ratio of the mean error to the mean uncertainty
    stands in for it, so that the direction of the update is always right.
    """

    error_bound: float
    window: int = 50
    max_step: float = 0.1
    threshold_min: float = 0.0
    threshold_max: float = math.inf
    threshold_init: float = 0.0

    def __post_init__(self) -> None:
        if not self.error_bound > 0:
            raise ValueError(f"error_bound must be positive, got {self.error_bound}")
        if not self.window >= 2:
            raise ValueError(f"window must be at least 2, got {self.window}")
        if not self.max_step > 0:
            raise ValueError(f"max_step must be positive, got {self.max_step}")
        if not 0 <= self.threshold_min <= self.threshold_init <= self.threshold_max:
            raise ValueError(
                "thresholds must satisfy 0 <= threshold_min <= threshold_init <= threshold_max, got "
                f"{self.threshold_min}, {self.threshold_init}, {self.threshold_max}"
            )

    def init(self) -> LinearState:
        """State before the first call."""
        return LinearState(threshold=self.threshold_init)

    def decide(self, state: LinearState, uncertainty: float) -> Verdict:
        """Trust what lies below the threshold; the published method does not look at trusted calls."""
        trusts = uncertainty < state.threshold
        return Verdict(trusts, 0.0 if trusts else 1.0, state.threshold, state.alpha)

    def observe(self, state: LinearState, observation: Observation) -> LinearState:
        """State after a call; unchanged where no error was seen."""
        error, uncertainty = observation.error, observation.uncertainty
        if error is None or not math.isfinite(error) or not math.isfinite(uncertainty):
            return state
        uncertainties = (*state.uncertainties, uncertainty)[-self.window :]
        errors = (*state.errors, error)[-self.window :]
        alpha, _ = fit_line(uncertainties, errors)
        if not alpha > 0:
            mean_u = sum(uncertainties)
            alpha = sum(errors) / mean_u if mean_u > 0 else math.nan
        if not alpha > 0:
            return replace(state, uncertainties=uncertainties, errors=errors)
        moved = update_threshold(
            state.threshold, sum(errors) / len(errors), self.error_bound, alpha, self.max_step
        )
        threshold = min(max(moved, self.threshold_min), self.threshold_max)
        step = threshold - state.threshold
        turned = int(step * state.last_step < 0)
        return LinearState(
            threshold=threshold,
            alpha=alpha,
            uncertainties=uncertainties,
            errors=errors,
            last_step=step if step != 0 else state.last_step,
            alternations=(*state.alternations, turned)[-OSCILLATION_UPDATES:],
        )

    def report(self, state: LinearState) -> dict[str, Any]:
        """Slope, mean of the errors in the window (seen on flagged calls only), and oscillation."""
        estimate = sum(state.errors) / len(state.errors) if state.errors else math.nan
        notes: tuple[str, ...] = ()
        turns = sum(state.alternations)
        if turns >= OSCILLATION_SHARE * OSCILLATION_UPDATES:
            notes = (f"the threshold oscillates: {turns} turns in the last {OSCILLATION_UPDATES} updates",)
        return {
            "error_estimate": estimate,
            "error_estimate_se": math.nan,
            "error_upper": math.nan,
            "notes": notes,
        }
