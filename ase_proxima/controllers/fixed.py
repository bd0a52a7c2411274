"""A threshold that the user sets once: today's common practice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ase_proxima.types import Observation, Verdict

__all__ = ["FixedController", "FixedState"]


@dataclass(frozen=True, slots=True)
class FixedState:
    """Running mean of the errors seen."""

    n_errors: int = 0
    mean_error: float = math.nan


@dataclass(frozen=True)
class FixedController:
    """Trust the surrogate wherever the uncertainty lies below a constant.

    Parameters
    ----------
    fixed_threshold : float
        The constant, in the unit of the uncertainty.

    Examples
    --------
    >>> controller = FixedController(fixed_threshold=0.3)
    >>> [controller.decide(controller.init(), u).trusts for u in (0.2, float("nan"))]
    [True, False]
    """

    fixed_threshold: float

    holds_bound = False
    """The threshold stands for all that the user asks for: no error is held to a bound."""

    def __post_init__(self) -> None:
        if not self.fixed_threshold >= 0:
            raise ValueError(f"fixed_threshold must not be negative, got {self.fixed_threshold}")

    def init(self) -> FixedState:
        """State before the first call."""
        return FixedState()

    def decide(self, state: FixedState, uncertainty: float) -> Verdict:  # noqa: ARG002
        """Trust what lies below the constant, and never look at it again."""
        trusts = uncertainty < self.fixed_threshold
        return Verdict(trusts, 0.0 if trusts else 1.0, self.fixed_threshold)

    def observe(self, state: FixedState, observation: Observation) -> FixedState:
        """State after a call."""
        if observation.error is None or not math.isfinite(observation.error):
            return state
        n = state.n_errors + 1
        previous = state.mean_error if state.n_errors else observation.error
        return FixedState(n, previous + (observation.error - previous) / n)

    def report(self, state: FixedState) -> dict[str, Any]:
        """Mean of the errors seen on flagged calls."""
        return {
            "error_estimate": state.mean_error,
            "error_estimate_se": math.nan,
            "error_upper": math.nan,
            "notes": (),
        }
