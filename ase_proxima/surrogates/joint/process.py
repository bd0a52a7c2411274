"""One Gaussian process of two parts: labels and their factor, weights of both parts, predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ase_proxima.surrogates.gradient_gp.hyperparameters import Labels
from ase_proxima.surrogates.gradient_gp.kernels import matern52
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.gradient_gp.stored import StoredFrames
from ase_proxima.surrogates.joint.draws import PriorDraws
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.kernels import LANES, Lanes

__all__ = ["Described", "JointProcess", "Sizes"]

SEED = 0
"""Of the draws."""


@dataclass(frozen=True, eq=False)
class Described:
    """A frame as both parts see it.

    Attributes
    ----------
    labels : Labels
    rows : (1 + m, n_features) array
        Features, and their derivatives along the internal directions.
    """

    labels: Labels
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Sizes:
    """What is believed before any label.

    Attributes
    ----------
    weights : (n_features,) array
        Standard deviations of the weights of the features.
    amplitude
        Variance of the part on inverse distances, eV².
    scale : (d,) array
        Inverse length scales of the pairs, Å.
    energy_noise, force_noise
        Variances of the labels' noise, eV² and (eV/Å)².
    """

    weights: np.ndarray
    amplitude: float
    scale: np.ndarray
    energy_noise: float
    force_noise: float


class JointProcess(StoredFrames):
    """Energy of a molecule as a linear function of features plus a Gaussian process on inverse distances.

    Frames are added one by one with `append`; `contract` then makes it ready to predict, and `recall` does so from what
    it found, but not ready for more frames. The mean and the draws of which deviations are made are lanes that go
    through the same pass: a draw from the posterior is one from the prior, less what the labels say of it.

    Parameters
    ----------
    molecule : Molecule
    basis : Basis
    sizes : Sizes
    capacity : int
        Largest number of frames.

    Attributes
    ----------
    dual, weights : arrays
        Weights of the labels and of the features.

    References
    ----------
    Wilson, Borovitskiy, Terenin, Mostowsky and Deisenroth, Proc. ICML 119, 10292 (2020): draws by Matheron's rule.
    """

    def __init__(self, molecule: Molecule, basis: Basis, sizes: Sizes, capacity: int) -> None:
        super().__init__(molecule, sizes.scale, capacity)
        self._basis, self._sizes = basis, sizes
        self._draws = PriorDraws(molecule.images, n_draws=LANES - 1, seed=SEED)
        self._prior_weights = np.random.default_rng(SEED).normal(size=(basis.n_features, LANES - 1))
        self._rows = np.empty((capacity * (1 + molecule.n_internal), basis.n_features))
        self._values = np.empty((capacity * (1 + molecule.n_internal), LANES))

    def append(self, frame: Described) -> None:
        """Extend the factor by one frame.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the covariance is not positive definite even with 1e8 times the noise.
        """
        sizes, n, labels = self._sizes, self.size, frame.labels
        known, cross, corner = self._place(labels)
        q, directions = self._q[n], self._directions[n]
        old = self._factor.size
        new = slice(old, old + int(known.sum()))
        self._rows[new] = (frame.rows * sizes.weights)[known]
        cross = sizes.amplitude * cross + self._rows[:old] @ self._rows[new].T
        corner = sizes.amplitude * corner + self._rows[new] @ self._rows[new].T
        noise = np.full(len(known), sizes.force_noise)
        noise[0] = sizes.energy_noise
        self._factor.extend_noisy(cross, corner, noise[known])
        self._values[new, 0] = labels.values[known]
        energies, slopes = self._drawn(q)
        drawn = np.vstack([energies, directions @ slopes.T])[known] + self._rows[new] @ self._prior_weights
        drawn += np.sqrt(noise[known])[:, None] * np.random.default_rng([SEED, n]).normal(size=drawn.shape)
        self._values[new, 1:] = drawn
        self.size = n + 1

    def contract(self) -> None:
        """Find the weights of both parts, of the mean and of the draws."""
        rows, values = self._rows[: self._factor.size], self._values[: self._factor.size]
        dual = self._factor.solve_upper(self._factor.solve_lower(values))
        dual[:, 1:] *= -1.0
        weights = rows.T @ dual
        weights[:, 1:] += self._prior_weights
        self._take(dual, weights)

    def recall(self, frames: Iterable[Labels], dual: np.ndarray, weights: np.ndarray) -> None:
        """Put frames into an empty process, and take the weights that `contract` found for them."""
        for labels in frames:
            self._put(labels)
            self.size += 1
        self._take(dual, weights)

    def _take(self, dual: np.ndarray, weights: np.ndarray) -> None:
        """Take the weights of the labels, (n_labels, k), and of the features, (n_features, k), to predict with."""
        n, self.dual, self.weights = self.size, dual, weights
        known = self._known[:n]
        self._lanes: Lanes = self._basis.lanes(weights * self._sizes.weights[:, None])
        full = np.zeros((*known.shape, LANES))
        full[known] = self._sizes.amplitude * dual
        self._energy_weights = full[:, 0].copy()
        gradient_weights = np.matmul(self._directions[:n].transpose(0, 2, 1), full[:, 1:]).swapaxes(1, 2)
        self._gradient_weights = np.ascontiguousarray(gradient_weights)
        self._squares = np.einsum("nd,nd->n", self._q[:n], self._q[:n])
        self._projections = np.einsum("nd,nkd->nk", self._q[:n], self._gradient_weights)

    def predict(self, atoms: Any) -> tuple[float, np.ndarray, float, np.ndarray]:
        """Predict energy and forces, and the posterior standard deviations of both, noise included.

        Returns
        -------
        energy : float
            eV, from the offset of the labels.
        forces : (n_atoms, 3) array
            eV/Å.
        energy_std : float
        force_std : (n_atoms, 3) array
            All are NaN where two atoms coincide.
        """
        molecule, sizes = self._molecule, self._sizes
        vectors = atoms.positions[molecule.first] - atoms.positions[molecule.second]
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if not squares.min() > 0.0:
            nothing = np.full(atoms.positions.shape, np.nan)
            return np.nan, nothing, np.nan, nothing
        energies, forces, _ = self._basis.energies_and_forces(atoms, self._lanes)
        inverse = 1.0 / np.sqrt(squares)
        values, slopes = self._values_and_slopes(inverse * sizes.scale - self._centre)
        energies += values
        pulls = vectors[:, :, None] * (slopes * (sizes.scale * inverse**3)).T[:, None]
        forces += (molecule.incidence @ pulls.reshape(len(pulls), -1)).reshape(forces.shape)
        variance = np.square(forces[:, :, 1:]).mean(axis=2) + sizes.force_noise
        energy_variance = float(np.square(energies[1:]).mean()) + sizes.energy_noise
        return float(energies[0]), forces[:, :, 0].copy(), float(np.sqrt(energy_variance)), np.sqrt(variance)

    def _values_and_slopes(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lanes of the part on inverse distances, (k,), and their derivatives by the descriptor, (k, d)."""
        n, (p, d) = self.size, self._molecule.images.shape
        images, stored, weights = q[self._molecule.images], self._q[:n], self._gradient_weights
        squared = stored @ images.T
        squared *= -2.0
        squared += self._squares[:, None]
        squared += q @ q
        k, g, h = matern52(squared)
        along = (weights.reshape(-1, d) @ images.T).reshape(n, LANES, p)
        along -= self._projections[:, :, None]
        values = (self._energy_weights * k.sum(axis=1)[:, None]).sum(axis=0)
        values += np.einsum("np,nkp->k", g, along)
        along *= h[:, None]
        along += self._energy_weights[:, :, None] * g[:, None]
        slopes = (along.reshape(n, -1).T @ stored).reshape(LANES, p, d)
        slopes -= along.sum(axis=0)[:, :, None] * images
        slopes += (g.T @ weights.reshape(n, -1)).reshape(p, LANES, d).swapaxes(0, 1)
        folded = self._folded(slopes) / p
        values /= p
        drawn, tilts = self._drawn(q)
        values[1:] += drawn
        folded[1:] += tilts
        return values, folded

    def _drawn(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draws from the prior of that part at a descriptor, (k - 1,), and their derivatives, (k - 1, d)."""
        values, slopes = self._draws.at(q[self._molecule.images])
        root = np.sqrt(self._sizes.amplitude)
        return root * values, root * self._folded(slopes)

    def _folded(self, slopes: np.ndarray) -> np.ndarray:
        """Derivatives by the descriptor from those by its images, (lane, p, d)."""
        return np.asarray(slopes.reshape(len(slopes), -1)[:, self._gather].sum(axis=1))
