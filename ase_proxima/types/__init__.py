"""The values that pass between the parts: plain, frozen and free of behaviour.  `identity` tells inputs apart."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Decision", "ErrorsSeen", "Frame", "Observation", "Prediction", "Results", "Stats", "Verdict"]

Results = Mapping[str, Any]
"""What a target or a surrogate gives for one input: ASE property names to eV, eV/Å, eV/Å³ values."""


class Decision(enum.Enum):
    """Who answered a call."""

    TARGET = "target"
    """Flagged: the target ran, because the surrogate was absent or not trusted."""
    SURROGATE = "surrogate"
    """Trusted: the surrogate answered."""
    AUDIT = "audit"
    """Trusted, but the target ran as well and answered, so that the error was seen; with blending, they share the
    answer."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One input with what the target gave for it.

    Attributes
    ----------
    x
        The input: `ase.Atoms` for calculators, the argument array for decorated functions.
    results
        The target's results, in eV, eV/Å and eV/Å³ for calculators.
    step
        The number of the call, from 0, at which the target ran; -1 for a frame that another walker paid for.
    """

    x: Any
    results: Results
    step: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """A surrogate's answer.

    Attributes
    ----------
    results
        The predicted results, in the target's units.
    std
        Standard deviations of the same names and shapes, where the surrogate knows them.
    """

    results: Results
    std: Results = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a controller decides about one call, and what that rests on.

    Attributes
    ----------
    trusts
        Whether the surrogate may answer.
    audit_probability
        Probability with which the target runs: 1 where the surrogate is not trusted.
    threshold
        Uncertainty below which the surrogate is trusted.
    alpha
        Error per unit of uncertainty; NaN where unknown.
    reach
        Distance from the inputs that the target has answered beyond which a trusted call is audited in any case.
    """

    trusts: bool
    audit_probability: float
    threshold: float
    alpha: float = math.nan
    reach: float = math.inf


@dataclass(frozen=True, slots=True)
class Observation:
    """What a controller learns from one call.

    Attributes
    ----------
    uncertainty
        The uncertainty at the input; NaN where there was none.
    trusted
        Whether the surrogate was trusted, audited calls included.
    error
        Distance between surrogate and target, in the unit of the error metric; None where the target
        did not run or there was no prediction.
    probability
        The probability with which the error was seen: 1 on a flagged call, the audit rate on a trusted one.
    model_version
        The version of the surrogate that predicted; 0 before the first training.
    distance
        How far the input lies from those that the target has answered, in any unit; infinite where they are of another
        kind, NaN where it is not known. An error seen nearer to them than most calls are is worth less as evidence.
    """

    uncertainty: float
    trusted: bool
    error: float | None
    probability: float
    model_version: int
    distance: float = math.nan


@dataclass(frozen=True, slots=True)
class ErrorsSeen:
    """Errors of one metric, seen wherever target and surrogate both gave the property; in its unit.

    Attributes
    ----------
    n
        How many.
    median
        Of the latest 101.
    mean, largest
        Of all.
    """

    n: int
    median: float
    mean: float
    largest: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Where the calls and the time went.  Times in seconds, errors in the unit of the error metric.

    Attributes
    ----------
    n_calls, n_target, n_audit, n_surrogate
        All calls, and how many were flagged, audited and answered by the surrogate; the latter three add
        up to the first.
    time_target, time_surrogate, time_uncertainty, time_training, time_decision
        Time spent in target runs, predictions, uncertainties, training, and everything else that the wrapping
        costs.
    error_estimate, error_estimate_se, error_upper
        Estimated mean error over the calls that `bound_over` names, its standard error (NaN before an error was seen by
        chance), and its upper confidence limit (NaN as long as the errors seen allow none); one value a metric, by
        name, where there are several bounds.
    threshold
        Current threshold, in the unit of the uncertainty; likewise.
    model_version
        Number of trainings or updates so far.
    n_frames, n_foreign
        Number of stored target results, and how many of them other walkers paid for.
    n_switches
        Ramps between target and surrogate, up or down, drops at once included; 0 without blending.
    switch_work
        What the switches have added to the energy, in eV, without the work of forces: `K + E - switch_work` is
        conserved in NVE dynamics. NaN without blending.
    speedup_present, speedup_long_run
        Projected from measured times, over asking the target on every call: with the target running on the
        share of calls on which it does at present, and once only audits ask it; NaN until measured.
    errors_seen
        Errors of every property that target and surrogate both gave, by the name of the metric: on flagged calls
        as much as on audits, so that they are larger than those of the trusted calls.
    notes
        What the controller has to report: detected oscillation, alarms; that the target is cheaper than the
        surrogate, or that nothing is trusted and what errors were seen.
    """

    n_calls: int = 0
    n_target: int = 0
    n_audit: int = 0
    n_surrogate: int = 0
    time_target: float = 0.0
    time_surrogate: float = 0.0
    time_uncertainty: float = 0.0
    time_training: float = 0.0
    time_decision: float = 0.0
    error_estimate: float | dict[str, float] = float("nan")
    error_estimate_se: float | dict[str, float] = float("nan")
    error_upper: float | dict[str, float] = float("nan")
    threshold: float | dict[str, float] = float("nan")
    model_version: int = 0
    n_frames: int = 0
    n_foreign: int = 0
    n_switches: int = 0
    switch_work: float = float("nan")
    speedup_present: float = float("nan")
    speedup_long_run: float = float("nan")
    errors_seen: dict[str, ErrorsSeen] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_target_runs(self) -> int:
        """How often the target ran: flagged calls and audits."""
        return self.n_target + self.n_audit

    @property
    def share_trusted(self) -> float:
        """Share of the calls on which the surrogate was trusted, audits included; NaN before the first."""
        return (self.n_surrogate + self.n_audit) / self.n_calls if self.n_calls else float("nan")
