"""Never trust: the target answers every call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ase_proxima.types import Observation, Verdict

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
    >>> controller.decide(controller.init(), 0.0).trusts
    False
    """

    def init(self) -> BaselineState:
        """State before the first call."""
        return BaselineState()

    def decide(self, state: BaselineState, uncertainty: float) -> Verdict:  # noqa: ARG002
        """Trust nothing, at a threshold of 0."""
        return Verdict(trusts=False, audit_probability=1.0, threshold=0.0)

    def observe(self, state: BaselineState, observation: Observation) -> BaselineState:  # noqa: ARG002
        """Return the state as it is."""
        return state

    def report(self, state: BaselineState) -> dict[str, Any]:  # noqa: ARG002
        """Return an error of zero: no surrogate ever answered."""
        return {"error_estimate": 0.0, "error_estimate_se": 0.0, "error_upper": 0.0, "notes": ()}
