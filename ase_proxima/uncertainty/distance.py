"""Distance to the nearest training input of a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.features import FrameRows
from ase_proxima.types import Frame, Prediction
from ase_proxima.uncertainty.nearest import NearestRow, spread

__all__ = ["InputDistance"]


class InputDistance:
    """Distance to the nearest training input, each number in standard deviations of the training inputs.

    Parameters
    ----------
    window
        Only the latest `window` training inputs count; None for all.
    floor
        Least scale of a number, as a share of its root mean square.  It stands in for the standard deviation
        of what has not varied yet.

    Examples
    --------
    >>> distance = InputDistance()
    >>> distance.fit([Frame(np.array([0.0, 10.0]), {}), Frame(np.array([2.0, 30.0]), {})])
    >>> distance.measure(np.array([1.0, 20.0]), Prediction({}))
    1.0
    """

    def __init__(self, window: int | None = None, *, floor: float = 0.01) -> None:
        if window is not None and not window >= 1:
            raise InputError(f"window must be at least 1 or None, got {window}: give a number of inputs")
        if not floor > 0:
            raise InputError(f"floor must be positive, got {floor}: the default is 0.01")
        self.window = window
        self.floor = floor
        self._rows = FrameRows(np.ravel)
        self._nearest = NearestRow(window)

    def fit(self, frames: Sequence[Frame]) -> None:
        """Take the inputs of a new model version and fix the scale of each number."""
        if not frames:
            raise InputError("the distance needs at least one input, got none")
        self._rows.update(frames)
        window = self._rows.values[-self.window :] if self.window else self._rows.values
        scale = spread(window, self.floor * np.sqrt(np.mean(window**2, axis=0)))
        self._nearest.fit(self._rows.values, center=window.mean(axis=0), scale=scale)

    def extend(self, frames: Sequence[Frame]) -> None:
        """Add inputs; the scales stay as they are."""
        if not len(self._nearest):
            self.fit(frames)
            return
        self._rows.append(frames)
        self._nearest.extend(self._rows.values[len(self._nearest) :])

    def measure(self, x: Any, prediction: Prediction) -> float:  # noqa: ARG002
        """Distance of `x` to the nearest training input; NaN before the first `fit`."""
        return self._nearest.measure(np.ravel(x))
