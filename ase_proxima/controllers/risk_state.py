"""What the risk controller remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ase_proxima.controllers.confidence import MeanError

__all__ = ["Outliers", "RiskState", "Seen"]


Seen = tuple[float, float, int, float]
"""One error that was seen: the uncertainty; the error, up to `cap` times the larger of the bound and what was
expected; the version of the surrogate that predicted; the distance from the
inputs that the target had answered, infinite where they are of another kind, NaN where not known."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """Errors above the cap.

    Attributes
    ----------
    n
        How many there were.
    largest, call
        The largest of them, and the number of its call, from 0.
    """

    n: int = 0
    largest: float = 0.0
    call: int = 0


@dataclass(frozen=True, slots=True)
class RiskState:
    """State of the risk controller.

    Attributes
    ----------
    threshold
        Current threshold.
    ratio, ratio_upper
        Error per unit of uncertainty, and its upper estimate.
    n_calls
        Calls so far.
    seen
        Latest errors that were seen.
    recent
        Uncertainties of the latest calls.
    typical
        Mean of `recent` below the threshold.
    afar
        Running mean of the distance of trusted calls from the inputs that the target had answered; 0 where not known.
    trusted
        Estimated errors of the trusted calls, without bias.
    spent
        Their sum as the threshold is steered by: as it is, but for errors above the cap (see `RiskController`).
    reach
        The largest finite distance at which an error was seen.
    calm
        Trusted calls since the last surprise.
    outliers
        Errors above the cap.
    alarm
        Whether the uncertainty does not rank the errors, and nothing is trusted therefore.
    """

    threshold: float
    ratio: float
    ratio_upper: float
    n_calls: int = 0
    seen: tuple[Seen, ...] = ()
    recent: tuple[float, ...] = ()
    typical: float = 0.0
    afar: float = 0.0
    reach: float = 0.0
    trusted: MeanError = field(default_factory=MeanError)
    spent: float = 0.0
    calm: int = 0
    outliers: Outliers = field(default_factory=Outliers)
    alarm: bool = False
