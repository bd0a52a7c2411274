"""No surrogate, for runs that measure what the target alone costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase_proxima.types import Frame, Prediction

__all__ = ["NoSurrogate"]


class NoSurrogate:
    """Never has enough frames to be fitted, so it costs nothing.

    Examples
    --------
    >>> NoSurrogate().min_frames > 1e9
    True
    """

    incremental = False
    min_frames = sys.maxsize
    properties: tuple[str, ...] = ("energy", "forces", "stress", "value")

    def fit(self, frames: Sequence[Frame]) -> None:
        """Raise, as there is nothing to fit."""
        raise NotImplementedError(f"there is no surrogate to fit to {len(frames)} frames")

    def predict(self, x: Any) -> Prediction:
        """Raise, as there is nothing to predict with."""
        raise NotImplementedError(f"there is no surrogate to predict {type(x).__name__} with")

    def save(self, folder: Path) -> None:
        """Write nothing."""

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Read nothing."""


class NoUncertainty:
    """Goes with `NoSurrogate`: knows nothing."""

    def fit(self, frames: Sequence[Frame]) -> None:
        """Take no notice."""

    def extend(self, frames: Sequence[Frame]) -> None:
        """Take no notice."""

    def measure(self, x: Any, prediction: Prediction) -> float:  # noqa: ARG002
        """Return NaN."""
        return float("nan")
