"""What is held and what is watched: error bounds with their parts, and errors that are only counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from ase_proxima.metrics import METRIC_PROPERTIES, measure_error
from ase_proxima.protocols import Controller, ErrorMetric, Uncertainty
from ase_proxima.types import ErrorsSeen, Prediction, Results

__all__ = ["Criterion", "SeenErrors", "Watch", "count_error", "summarise_errors"]

VANISHING = 1e-7
"""Forces (eV/Å) and stresses (eV/Å³) below this are zero by symmetry: ten times what rounding leaves of sums over
hundreds of atoms, and a thousandth of what any bound asks for."""

LATEST = 101
"""Errors of which the median is taken; an odd number."""


@dataclass(frozen=True)
class Watch:
    """An error that is measured wherever target and surrogate both gave the property.

    Attributes
    ----------
    name
        Name of the error metric.
    metric
        `metric(target_results, surrogate_results) -> float`.
    """

    name: str
    metric: ErrorMetric

    @property
    def property(self) -> str | None:
        """The property that the metric compares; None for a metric of the user's own, which may compare anything."""
        return METRIC_PROPERTIES.get(self.name)

    def applies(self, results: Results) -> bool:
        """Whether results have what the metric compares: a cluster has no stress."""
        return self.property is None or self.property in results

    def vanishes(self, results: Results) -> bool:
        """Whether what the metric compares is zero by symmetry, so that agreement on it says nothing.

        Examples
        --------
        >>> Watch("force_max", max).vanishes({"forces": np.zeros((2, 3))})
        True
        """
        if self.property not in ("forces", "stress") or self.property not in results:
            return False
        return bool(np.abs(results[self.property]).max() < VANISHING)

    def measure(self, x: Any, target: Results, surrogate: Results) -> float | None:
        """Error between two results at `x`; None where it is no evidence: one has none, or both vanish by symmetry."""
        if not (self.applies(target) and self.applies(surrogate)):
            return None
        if self.vanishes(target) and self.vanishes(surrogate):
            return None
        error = measure_error(self.name, self.metric, target, surrogate)
        return error / len(x) if self.name == "energy_per_atom" else error


@dataclass(frozen=True)
class Criterion(Watch):
    """One error bound: how the error is measured, foreseen and controlled.

    Attributes
    ----------
    uncertainty, controller
        The parts that serve this bound.
    bound
        The mean error allowed, in the unit of the metric; NaN where only the controller knows it.
    implied
        Whether it follows from another bound, and not from the user's own words.
    covers
        Properties that the surrogate may answer on this criterion's word, beside the one that the metric compares.
    """

    uncertainty: Uncertainty
    controller: Controller
    bound: float = math.nan
    implied: bool = False
    covers: tuple[str, ...] = ()

    def foresee(self, x: Any, prediction: Prediction) -> float | None:
        """Uncertainty at `x`; None where the criterion does not apply.

        A bound that is only implied does not apply either where the surrogate gives no deviation to go by: its property
        is then covered by nothing.
        """
        if not self.applies(prediction.results):
            return None
        uncertainty = self.uncertainty.measure(x, prediction)
        return None if self.implied and math.isnan(uncertainty) else uncertainty


@dataclass(frozen=True, slots=True)
class SeenErrors:
    """Errors of one metric seen so far.

    Attributes
    ----------
    n
        How many.
    total, largest
        Their sum and the largest of them.
    latest
        The latest of them, `LATEST` at most.
    """

    n: int = 0
    total: float = 0.0
    largest: float = 0.0
    latest: tuple[float, ...] = ()


def count_error(seen: SeenErrors, error: float | None) -> SeenErrors:
    """Add an error that is finite.

    Examples
    --------
    >>> count_error(SeenErrors(1, 0.1, 0.1, (0.1,)), 0.3)
    SeenErrors(n=2, total=0.4, largest=0.3, latest=(0.1, 0.3))
    """
    if error is None or not math.isfinite(error):
        return seen
    return replace(
        seen,
        n=seen.n + 1,
        total=seen.total + error,
        largest=max(seen.largest, error),
        latest=(*seen.latest[1 - LATEST :], error),
    )


def summarise_errors(seen: SeenErrors) -> ErrorsSeen:
    """Number, median, mean and largest of the errors of a metric, of which there must be one at least.

    Examples
    --------
    >>> summarise_errors(SeenErrors(2, 0.4, 0.3, (0.1, 0.3)))
    ErrorsSeen(n=2, median=0.2, mean=0.2, largest=0.3)
    """
    return ErrorsSeen(seen.n, median(seen.latest), seen.total / seen.n, seen.largest)
