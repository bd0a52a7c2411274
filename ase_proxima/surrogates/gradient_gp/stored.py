"""The frames that a process on inverse distances holds, and the covariance of a new one with them."""

from __future__ import annotations

import numpy as np

from ase_proxima.surrogates.gradient_gp.cholesky import GrowingCholesky
from ase_proxima.surrogates.gradient_gp.hyperparameters import Labels
from ase_proxima.surrogates.gradient_gp.kernels import covariance_blocks
from ase_proxima.surrogates.gradient_gp.molecule import Molecule

__all__ = ["StoredFrames"]


class StoredFrames:
    """Inverse distances of frames, their derivatives, which labels are known, and the factor of their covariance.

    Parameters
    ----------
    molecule : Molecule
    scale : (d,) array
        Inverse length scales of the pairs, Å.
    capacity : int
        Largest number of frames.

    Attributes
    ----------
    size : int
        Number of frames.
    """

    def __init__(self, molecule: Molecule, scale: np.ndarray, capacity: int) -> None:
        p, d = molecule.images.shape
        m = molecule.n_internal
        self.size = 0
        self._molecule, self._scale = molecule, scale
        self._gather = np.arange(p)[:, None] * d + np.argsort(molecule.images, axis=1)
        self._factor = GrowingCholesky()
        self._q = np.empty((capacity, d))
        self._directions = np.empty((capacity, m, d))
        self._known = np.empty((capacity, 1 + m), dtype=bool)

    @property
    def descriptors(self) -> np.ndarray:
        """Inverse distances of the frames in units of the length scales, from a common centre, (n, d)."""
        return self._q[: self.size]

    def _put(self, labels: Labels) -> None:
        """Put a frame behind the others, where it counts once `size` does."""
        n = self.size
        if not n:
            # Small numbers keep the differences in `predict` accurate; every permutation keeps this centre.
            self._centre = (labels.q * self._scale)[self._molecule.images].mean(axis=0)
        self._q[n] = labels.q * self._scale - self._centre
        self._directions[n] = labels.basis * self._scale
        self._known[n] = np.isfinite(labels.values)

    def _place(self, labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put a frame behind the others, and see how it varies with them.

        Returns
        -------
        known : (1 + m,) array of bool
            Which of its labels are known.
        cross, corner : arrays
            Covariances of these with the labels before and among themselves, in a process of unit amplitude.
        """
        self._put(labels)
        images, n = self._molecule.images, self.size
        q, directions, known = self._q[n], self._directions[n], self._known[n]
        blocks = covariance_blocks(
            self._q[: n + 1], self._directions[: n + 1], q[images], directions[:, images].swapaxes(0, 1)
        )
        return known, blocks[:n][self._known[:n]][:, known], blocks[n][np.ix_(known, known)]
