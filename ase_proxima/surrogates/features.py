"""One row of features a frame, kept in an array that grows without copying every time."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase.symbols import Symbols

from ase_proxima.errors import InputError
from ase_proxima.types import Frame
from ase_proxima.types.identity import same_frame

__all__ = ["FrameRows", "check_composition", "composition", "continues", "import_dscribe"]


def composition(atoms: Any) -> tuple[int, ...]:
    """Return the sorted atomic numbers of `atoms`.

    Examples
    --------
    >>> from ase.build import molecule
    >>> composition(molecule("H2O"))
    (1, 1, 8)
    """
    return tuple(sorted(int(z) for z in atoms.numbers))


def check_composition(atoms: Any, expected: tuple[int, ...], who: str) -> None:
    """Complain if `atoms` is not made of the `expected` atoms.

    Raises
    ------
    InputError
        If the atomic numbers differ.
    """
    got = composition(atoms)
    if got != expected:
        raise InputError(
            f"{who} was trained on {_formula(expected)}, got {_formula(got)}: "
            "use one surrogate for each composition"
        )


def continues(known: Sequence[Frame], frames: Sequence[Frame]) -> bool:
    """Whether the list `frames` starts with the frames `known`.

    Frames that are not the same objects, as after reading a run directory again, are compared by what
    they hold.

    Examples
    --------
    >>> first, second = Frame("a", {}, 0), Frame("b", {}, 1)
    >>> continues([first], [first, second]), continues([second], [first, second])
    (True, False)
    """
    if len(frames) < len(known):
        return False
    return all(map(same_frame, known, frames[: len(known)]))


def import_dscribe() -> Any:
    """Return the module `dscribe.descriptors`, imported on the first call since that takes seconds.

    Its source has invalid escape sequences, about which Python warns once, when it compiles the package.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", SyntaxWarning)
        return importlib.import_module("dscribe.descriptors")


class FrameRows:
    """The feature rows of a growing list of frames.

    Parameters
    ----------
    compute
        Function that gives the row, shape (n_features,), of one input.

    Examples
    --------
    >>> import numpy as np
    >>> rows = FrameRows(lambda x: np.array([x, x * x]))
    >>> rows.update([Frame(2.0, {}), Frame(3.0, {})])
    >>> rows.values.tolist()
    [[2.0, 4.0], [3.0, 9.0]]
    """

    def __init__(self, compute: Callable[[Any], np.ndarray]) -> None:
        self._compute = compute
        self._frames: list[Frame] = []
        self._buffer = np.empty((0, 0))

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def values(self) -> np.ndarray:
        """The rows, shape (n_frames, n_features); a view that the next `append` may outdate."""
        return self._buffer[: len(self._frames)]

    def update(self, frames: Sequence[Frame]) -> None:
        """Hold the rows of exactly `frames`; those that are here already are not computed again."""
        if not continues(self._frames, frames):
            self._frames = []
            self._buffer = np.empty((0, 0))
        self.append(frames[len(self._frames) :])

    def append(self, frames: Sequence[Frame]) -> None:
        """Add the rows of `frames`."""
        for frame in frames:
            row = np.asarray(self._compute(frame.x), dtype=float)
            n = len(self._frames)
            if n == len(self._buffer):
                grown = np.empty((max(16, 2 * n), len(row)))
                grown[:n] = self._buffer[:n] if n else 0.0
                self._buffer = grown
            self._buffer[n] = row
            self._frames.append(frame)


def _formula(numbers: tuple[int, ...]) -> str:
    return str(Symbols(numbers).get_chemical_formula("hill"))
