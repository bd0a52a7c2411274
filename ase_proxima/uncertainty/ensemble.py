"""Uncertainty from the disagreement of the members of a committee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.metrics import METRIC_PROPERTIES
from ase_proxima.types import Frame, Prediction

__all__ = ["EnsembleUncertainty"]


class EnsembleUncertainty:
    r"""The largest standard deviation over the members, of the property that an error metric compares.

    For forces it is the usual model deviation, the largest over the atoms `i` of

    .. math:: u_i = \sqrt{\frac{1}{K} \sum_{k=1}^K |F_{ik} - \bar F_i|^2}

    with `K` members; for stresses the largest component; for an energy its standard deviation, divided by the number
    of atoms where the metric is.

    It ranks the errors. How large an error goes with it depends on the members and on their training, so that
    it has no ratio that is known beforehand: the controller learns it from the errors that it sees.

    Parameters
    ----------
    metric : str
        Name of the error metric.

    Raises
    ------
    InputError
        If there is no such metric.

    References
    ----------
    Zhang, Lin, Wang, Car, E, Phys. Rev. Mater. 3, 023804 (2019), doi:10.1103/PhysRevMaterials.3.023804, Eq. 4.

    Examples
    --------
    >>> std = {"forces": np.array([[0.0, 0.3, 0.4], [0.1, 0.1, 0.0]])}
    >>> EnsembleUncertainty("force_mae").measure(None, Prediction({}, std))
    0.5
    """

    def __init__(self, metric: str) -> None:
        if metric not in METRIC_PROPERTIES:
            raise InputError(
                f"metric must be one of {', '.join(METRIC_PROPERTIES)}, got {metric!r}: choose one of them"
            )
        self.metric = metric

    def fit(self, frames: Sequence[Frame]) -> None:
        """Do nothing: the members set the scale."""

    def extend(self, frames: Sequence[Frame]) -> None:
        """Do nothing: the members set the scale."""

    def measure(self, x: Any, prediction: Prediction) -> float:
        """Uncertainty of `prediction`; NaN if it has no standard deviation of that property."""
        name = METRIC_PROPERTIES[self.metric]
        std = prediction.std.get(name)
        if std is None:
            return float("nan")
        if name == "forces":
            return float(np.linalg.norm(std, axis=1).max())
        return float(np.max(std)) / (len(x) if self.metric == "energy_per_atom" else 1)
