"""Uncertainty from a surrogate that knows its own posterior standard deviations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.types import Frame, Prediction

__all__ = ["PosteriorUncertainty"]


def _largest_atom(std: np.ndarray) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", std, std).max()))


def _largest(std: np.ndarray) -> float:
    return float(np.max(std))


def _mean(std: np.ndarray) -> float:
    return float(np.mean(std))


_SCALARS: Mapping[str, tuple[str, Callable[[Any], float]]] = {
    "energy": ("energy", float),
    "energy_per_atom": ("energy", float),
    "force_mae": ("forces", _mean),
    "force_max": ("forces", _largest_atom),
    "stress": ("stress", _mean),
    "value": ("value", _largest),
}


class PosteriorUncertainty:
    """The standard deviation that belongs to an error metric, in the metric's unit.

    =================  =========================================================
    metric             uncertainty
    =================  =========================================================
    "energy"           standard deviation of the energy, eV
    "energy_per_atom"  the same divided by the number of atoms, eV
    "force_mae"        mean standard deviation of the force components, eV/Å
    "force_max"        largest norm of an atom's three standard deviations, eV/Å
    "stress"           mean standard deviation of the stress components, eV/Å³
    "value"            largest standard deviation of a function's numbers
    =================  =========================================================

    It is NaN, so that nothing is trusted, where the surrogate did not give that standard deviation.

    Parameters
    ----------
    metric : str
        One of the above.

    Raises
    ------
    InputError
        If there is no such metric.

    Examples
    --------
    >>> import numpy as np
    >>> std = {"energy": 0.03, "forces": np.array([[0.0, 0.3, 0.4], [0.1, 0.1, 0.0]])}
    >>> prediction = Prediction({"energy": -1.0}, std)
    >>> PosteriorUncertainty("energy").measure(None, prediction)
    0.03
    >>> PosteriorUncertainty("force_max").measure(None, prediction)
    0.5
    >>> PosteriorUncertainty("stress").measure(None, prediction)
    nan
    """

    prior_ratio = 1.0

    def __init__(self, metric: str) -> None:
        if metric not in _SCALARS:
            raise InputError(
                f"metric must be one of {', '.join(_SCALARS)}, got {metric!r}: choose one of them"
            )
        self.metric = metric
        self._name, self._scalar = _SCALARS[metric]

    def fit(self, frames: Sequence[Frame]) -> None:
        """Do nothing: the surrogate sets the scale."""

    def extend(self, frames: Sequence[Frame]) -> None:
        """Do nothing: the surrogate sets the scale."""

    def measure(self, x: Any, prediction: Prediction) -> float:
        """Uncertainty of `prediction`; NaN if it has no such standard deviation."""
        std = prediction.std.get(self._name)
        if std is None:
            return float("nan")
        value = self._scalar(std)
        return value / len(x) if self.metric == "energy_per_atom" else value
