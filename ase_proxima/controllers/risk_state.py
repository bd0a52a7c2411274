"""What the risk controller remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ase_proxima.controllers.confidence import MeanError

__all__ = ["MAX_WEIGHT", "RiskState"]

MAX_WEIGHT = 20.0
"""Largest weight of an audited error where the threshold is steered by it."""


@dataclass(frozen=True, slots=True)
class RiskState:
    """State of the risk controller.

    Attributes
    ----------
    threshold
        Current threshold.
    pairs
        Latest observed (uncertainty, error, version of the surrogate).
    recent
        Uncertainties of the latest calls.
    ratio, ratio_upper
        Error per unit of uncertainty, and its upper estimate.
    trusted
        Estimated errors of the trusted calls, without bias.
    spent
        Their sum as the threshold is steered by: small audit probabilities weigh no more than `MAX_WEIGHT`, as
        one such error would swamp all others.
    calls_at_version
        Trusted calls since the surrogate last changed much.
    model_version
        Version of the surrogate at the latest call.
    n_capped
        Observed errors above the cap.
    alarm
        Whether the uncertainty does not rank the errors, and nothing is trusted therefore.
    """

    threshold: float
    ratio: float
    ratio_upper: float
    pairs: tuple[tuple[float, float, int], ...] = ()
    recent: tuple[float, ...] = ()
    trusted: MeanError = field(default_factory=MeanError)
    spent: float = 0.0
    calls_at_version: float = 0.0
    model_version: int = 0
    n_capped: int = 0
    alarm: bool = False
