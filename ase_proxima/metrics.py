"""Error metrics: the distance between what the target and the surrogate give at one input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.protocols import ErrorMetric
from ase_proxima.types import Results

__all__ = [
    "METRIC_PROPERTIES",
    "METRIC_UNITS",
    "find_metric",
    "measure_error",
]

METRIC_PROPERTIES: Mapping[str, str] = {
    "energy": "energy",
    "energy_per_atom": "energy",
    "force_mae": "forces",
    "force_max": "forces",
    "stress": "stress",
    "value": "value",
}
"""The property that each metric compares."""

METRIC_UNITS: Mapping[str, str] = {
    "energy": "eV",
    "energy_per_atom": "eV/atom",
    "force_mae": "eV/Å",
    "force_max": "eV/Å",
    "stress": "eV/Å³",
    "value": "",
}


def _energy(target: Results, surrogate: Results) -> float:
    return abs(float(target["energy"]) - float(surrogate["energy"]))


def _force_mae(target: Results, surrogate: Results) -> float:
    return float(np.abs(np.asarray(target["forces"]) - surrogate["forces"]).mean())


def _force_max(target: Results, surrogate: Results) -> float:
    return float(np.linalg.norm(np.asarray(target["forces"]) - surrogate["forces"], axis=1).max())


def _stress(target: Results, surrogate: Results) -> float:
    return float(np.abs(np.asarray(target["stress"]) - surrogate["stress"]).max())


def _value(target: Results, surrogate: Results) -> float:
    return float(np.abs(np.asarray(target["value"], float) - surrogate["value"]).max())


_METRICS: Mapping[str, ErrorMetric] = {
    "energy": _energy,
    "energy_per_atom": _energy,
    "force_mae": _force_mae,
    "force_max": _force_max,
    "stress": _stress,
    "value": _value,
}


def find_metric(metric: str | ErrorMetric) -> tuple[str, ErrorMetric]:
    """Name and function of an error metric.

    Parameters
    ----------
    metric : str or callable
        `"energy"` |dE|; `"energy_per_atom"`; `"force_mae"` mean |dF| per component; `"force_max"`
        largest |dF_atom|; `"stress"` largest |dstress|, in eV, eV/Å and eV/Å³; `"value"`
        largest |d| of a decorated function; or `callable(target_results, surrogate_results) -> float`.

    Returns
    -------
    name : str
    function : callable
        That of `"energy_per_atom"` gives the error of the whole energy, as results do not tell the number of atoms.

    Raises
    ------
    InputError
        If the name is unknown, or it is neither a name nor a callable.

    Examples
    --------
    >>> name, metric = find_metric("energy")
    >>> metric({"energy": -1.0}, {"energy": -1.5})
    0.5
    """
    if callable(metric):
        name = getattr(metric, "__name__", "error")
        return name if name.isidentifier() else "error", metric
    if not isinstance(metric, str) or metric not in _METRICS:
        raise InputError(f"unknown error metric {metric!r}: use one of {', '.join(_METRICS)}, or a callable")
    return metric, _METRICS[metric]


def measure_error(name: str, metric: ErrorMetric, target: Results, surrogate: Results) -> float:
    """Error between two results by a metric, which may be anybody's function.

    Returns
    -------
    float
        Not negative; NaN or infinity where a result is not finite.

    Raises
    ------
    InputError
        If the metric returns anything else.

    Examples
    --------
    >>> measure_error("energy", _energy, {"energy": -1.0}, {"energy": -1.5})
    0.5
    """
    value: Any = metric(target, surrogate)
    try:
        error = math.nan if isinstance(value, (str, bytes)) else float(value)
        wrong = error < 0 or isinstance(value, (str, bytes))
    except (TypeError, ValueError):
        wrong = True
    if wrong:
        raise InputError(
            f"the error metric {name!r} must return a number that is not negative, got {value!r}: "
            "return how far its two arguments are apart"
        )
    return error
