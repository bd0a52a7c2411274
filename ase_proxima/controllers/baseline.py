"""Never trust: the target answers every call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ase_proxima.types import Observation

__all__ = ["BaselineController", "BaselineState"]


@dataclass(frozen=True, slots=True)
class BaselineState:
    """Nothing to remember."""


@dataclass(frozen=True)
class BaselineController:
    """Runs the target on every call, the run that others are measured against.

    Examples
    --------
    >>> controller = BaselineController()
    >>> controller.trusts(controller.init(), 0.0)
    False
    """

    def init(self) -> BaselineState:
        """State before the first call."""
        return BaselineState()

    def trusts(self, state: BaselineState, uncertainty: float) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def audit_probability(self, state: BaselineState, uncertainty: float) -> float:  # noqa: ARG002
        """Return 0: nothing is trusted, so there is nothing to audit."""
        return 0.0

    def observe(self, state: BaselineState, observation: Observation) -> BaselineState:  # noqa: ARG002
        """Return the state as it is."""
        return state

    def threshold(self, state: BaselineState) -> float:  # noqa: ARG002
        """Return 0."""
        return 0.0

    def alpha(self, state: BaselineState) -> float:  # noqa: ARG002
        """Return NaN: nothing is learned."""
        return math.nan

    def report(self, state: BaselineState) -> dict[str, Any]:  # noqa: ARG002
        """Return an error of zero: no surrogate ever answered."""
        return {"error_estimate": 0.0, "error_upper": 0.0, "notes": ()}
