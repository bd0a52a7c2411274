"""A run that keeps nothing on disk, and what is written of an input on which a target failed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from ase_proxima.protocols import Surrogate
from ase_proxima.types import Frame, Results

__all__ = ["MemoryStore", "write_failed"]


class MemoryStore:
    """Frames in memory, nothing on disk but an input on which the target failed.

    Examples
    --------
    >>> store = MemoryStore()
    >>> store.append(Frame(0.5, {"value": 1.0}), {})
    >>> len(store.frames)
    1
    """

    owner: tuple[int, int] | None = None

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def known(self, step: int, x: Any) -> Results | None:  # noqa: ARG002
        """Return None: nothing is left from an earlier process."""
        return None

    def foreign(self, x: Any) -> list[Frame]:  # noqa: ARG002
        """Return nothing: there are no other walkers."""
        return []

    is_managed = False

    def published(self, taken: int) -> None:
        """Return nothing: nobody trains beside this process."""

    def append(self, frame: Frame, record: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Add a frame."""
        self.frames.append(frame)

    def log(self, row: Mapping[str, Any]) -> None:
        """Keep no row."""

    def save_model(self, version: int, surrogate: Surrogate) -> None:
        """Keep no model."""

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Keep no state."""

    def save_failed(self, step: int, x: Any) -> str:
        """Write an input on which the target failed to a new temporary folder."""
        return write_failed(Path(tempfile.mkdtemp(prefix="proxima-failed-")), step, x)


def write_failed(folder: Path, step: int, x: Any) -> str:
    """Write an input on which the target failed at a call, and return where."""
    earlier = len(list(folder.glob(f"call-{step:06d}*")))  # tries of the same call with other inputs
    place = folder / f"call-{step:06d}{f'-{earlier + 1}' if earlier else ''}"
    if isinstance(x, Atoms):
        place = place.with_suffix(".xyz")
        ase.io.write(place, x, format="extxyz")
    else:
        place = place.with_suffix(".npy")
        np.save(place, np.asarray(x))
    return str(place)
