"""Distance to the nearest training structure between Coulomb matrices, the published uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.features import FrameRows, check_composition, composition, import_dscribe
from ase_proxima.types import Frame, Prediction
from ase_proxima.uncertainty.nearest import NearestRow, spread

__all__ = ["CoulombDistance"]


class CoulombDistance:
    r"""Distance to the nearest training structure, between Coulomb matrices.

    The distance between structures with feature rows :math:`x` and :math:`y` is

    .. math:: u = \sqrt{\frac{1}{n} \sum_{i=1}^n \left(\frac{x_i - y_i}{s_i}\right)^2}

    over the `n` pairs of atoms: 1 means that the elements differ, in the root mean square, by one standard
    deviation :math:`s_i` of the training structures.  A threshold of 0.3, as published, thus asks for a
    training structure within a third of the spread that the simulation has shown so far, at any
    temperature and for any molecule.

    The rows of the matrix are sorted by their norm, so that the numbering of like atoms does not matter.
    Where two norms cross, the sorted matrix jumps: structures may then seem further apart than they are,
    never closer.  (The eigenvalues would be smooth, but five of them cannot tell apart the structures of
    methane, which has nine internal coordinates.)

    Parameters
    ----------
    window
        Only the latest `window` training structures count; None for all.
    floor
        Least scale, as a share of the root mean square of the elements.  It stands in for the standard
        deviation when there is one structure only, or when an element has not varied yet.

    Notes
    -----
    The scales are the standard deviations over the window at the last `fit`, and stay as they are while
    frames are added by `extend`, so a distance means the same from one call to the next.

    References
    ----------
    Zamora et al., ICS 2021, doi:10.1145/3447818.3460370; Rupp et al., Phys. Rev. Lett. 108, 058301 (2012).

    Examples
    --------
    >>> from ase.build import molecule
    >>> water = molecule("H2O")
    >>> distance = CoulombDistance()
    >>> distance.fit([Frame(water, {})])
    >>> distance.measure(water, Prediction({}))
    0.0
    >>> stretched = water.copy()
    >>> stretched.set_distance(0, 1, 1.0)
    >>> 0.5 < distance.measure(stretched, Prediction({})) < 5
    True
    """

    def __init__(self, window: int | None = None, *, floor: float = 0.01) -> None:
        if window is not None and not window >= 1:
            raise InputError(f"window must be at least 1 or None, got {window}: give a number of frames")
        if not floor > 0:
            raise InputError(f"floor must be positive, got {floor}: the default is 0.01")
        self.window = window
        self.floor = floor
        self._numbers: tuple[int, ...] = ()
        self._matrix: Any = None
        self._rows = FrameRows(self._features)
        self._nearest = NearestRow(window)

    def fit(self, frames: Sequence[Frame]) -> None:
        """Take the training frames of a new model version and fix the scale of each feature.

        Raises
        ------
        InputError
            If there is no frame, a structure is periodic, or the composition differs between frames.
        """
        if not frames:
            raise InputError("the Coulomb distance needs at least one frame, got none")
        self._set_numbers(composition(frames[0].x))
        self._rows.update(frames)
        window = self._rows.values[-self.window :] if self.window else self._rows.values
        scale = spread(window, self.floor * float(np.sqrt(np.mean(window**2))))
        self._nearest.fit(self._rows.values, center=window.mean(axis=0), scale=scale)

    def extend(self, frames: Sequence[Frame]) -> None:
        """Add frames; the scales stay as they are."""
        if not len(self._nearest):
            self.fit(frames)
            return
        self._rows.append(frames)
        self._nearest.extend(self._rows.values[len(self._nearest) :])

    def measure(self, x: Any, prediction: Prediction) -> float:  # noqa: ARG002
        """Distance of `x` to the nearest training structure; NaN before the first `fit`.

        Raises
        ------
        InputError
            If `x` is periodic or of another composition.
        """
        return self._nearest.measure(self._features(x)) if len(self._nearest) else float("nan")

    def _set_numbers(self, numbers: tuple[int, ...]) -> None:
        if numbers == self._numbers:
            return
        self._numbers = numbers
        self._matrix = import_dscribe().CoulombMatrix(n_atoms_max=len(numbers), permutation="sorted_l2")
        self._triangle = np.triu_indices(len(numbers), k=1)
        self._rows = FrameRows(self._features)

    def _features(self, atoms: Any) -> np.ndarray:
        if atoms.pbc.any():
            raise InputError(
                "the Coulomb distance knows nothing of periodic images, got a periodic structure: "
                'use uncertainty="auto" or atoms.pbc = False'
            )
        check_composition(atoms, self._numbers, "the Coulomb distance")
        n = len(self._numbers)
        if n == 1:
            return np.zeros(1)
        # The diagonal holds 0.5 Z^2.4, which no geometry can change.
        matrix: np.ndarray = self._matrix.create(atoms).reshape(n, n)
        return matrix[self._triangle]
