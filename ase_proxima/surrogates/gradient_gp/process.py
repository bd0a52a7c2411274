"""The Gaussian process of one molecule's energy: stored labels, their factor, and predictions."""

from __future__ import annotations

import numpy as np

from ase_proxima.surrogates.gradient_gp.hyperparameters import Labels, Prior
from ase_proxima.surrogates.gradient_gp.kernels import (
    covariance_blocks,
    internal_basis,
    inverse_distances,
    matern52,
)
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.gradient_gp.stored import StoredFrames
from ase_proxima.surrogates.one_thread import one_thread

__all__ = ["GradientProcess"]


class GradientProcess(StoredFrames):
    """Gaussian process on the energy of one molecule, given length scales.

    Frames are added one by one with `append`; `contract` then makes it ready to predict.

    Parameters
    ----------
    molecule : Molecule
    prior : Prior
        With the length scales of the molecule's own kinds of pairs.
    lengths : (g,) array
        Length scales, 1/Å.
    capacity : int
        Largest number of frames.

    Attributes
    ----------
    size : int
        Number of frames.
    amplitude : float
        Prior variance of the energy, eV²; set by `contract`.
    """

    def __init__(self, molecule: Molecule, prior: Prior, lengths: np.ndarray, capacity: int) -> None:
        super().__init__(molecule, 1.0 / lengths[molecule.groups], capacity)
        self.amplitude = prior.amplitude(lengths)
        self._prior, self._lengths = prior, lengths
        self._values = np.empty((capacity, 1 + molecule.n_internal))

    def append(self, labels: Labels) -> None:
        """Extend the factor by one frame.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the covariance is not positive definite even with 1e8 times the noise.
        """
        n = self.size
        known, cross, corner = self._place(labels)
        self._values[n] = labels.values
        noise = self._prior.noise(self._directions[n])[known]
        self._factor.extend_noisy(cross, corner, noise)
        self.size = n + 1

    def contract(self) -> None:
        """Find amplitude and weights, and contract what `predict` needs."""
        n = self.size
        known = self._known[:n]
        z = self._factor.solve_lower(self._values[:n][known])
        self.amplitude = self._prior.posterior_amplitude(self._lengths, z)
        weights = np.zeros(known.shape)
        self._dual = self._factor.solve_upper(z)
        weights[known] = self._dual
        self._all_known = bool(known.all())
        q = self._q[:n]
        gradient_weights = np.einsum("nmd,nm->nd", self._directions[:n], weights[:, 1:])
        self._weights = weights[:, 0].copy()
        self._stacked = np.vstack([q, gradient_weights])
        self._squares = np.einsum("nd,nd->n", q, q)
        self._projections = np.einsum("nd,nd->n", q, gradient_weights)

    def predict(self, positions: np.ndarray) -> tuple[float, np.ndarray, float]:
        """Predict energy and forces, and the posterior standard deviation of the energy.

        Parameters
        ----------
        positions : (n_atoms, 3) array
            Positions, Å.

        Returns
        -------
        energy : float
            eV, from the offset of the labels.
        forces : (n_atoms, 3) array
            eV/Å.
        std : float
            Standard deviation of the energy, eV.  All are NaN where two atoms coincide.
        """
        molecule = self._molecule
        n, p = self.size, len(molecule.images)
        q_stored, basis = self._q[:n], self._directions[:n]
        vectors = positions[molecule.first] - positions[molecule.second]
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if not squares.min() > 0.0:
            return np.nan, np.full(positions.shape, np.nan), np.nan
        inverse = 1.0 / np.sqrt(squares)
        q = inverse * self._scale
        q -= self._centre
        images = q[molecule.images]

        # Distances and projections on the stored gradient weights in one matrix product, (2n, p).
        products = self._stacked @ images.T
        squared = products[:n]
        squared *= -2.0
        squared += self._squares[:, None]
        squared += q @ q
        k, g, h = matern52(squared)
        along = products[n:]
        along -= self._projections[:, None]
        k_sum = k.sum(axis=1)
        energy = float(self._weights @ k_sum + np.vdot(g, along)) / p

        h *= along
        h += self._weights[:, None] * g
        slopes = h.T @ q_stored
        slopes -= h.sum(axis=0)[:, None] * images
        slopes += g.T @ self._stacked[n:]
        slope = slopes.ravel()[self._gather].sum(axis=0)
        slope *= self._scale / p
        slope *= inverse**3
        forces = molecule.incidence @ (slope[:, None] * vectors)

        covariance = np.empty((n, 1 + molecule.n_internal))
        covariance[:, 0] = k_sum
        shifts = g @ images
        shifts -= g.sum(axis=1)[:, None] * q_stored
        covariance[:, 1:] = np.matmul(basis, shifts[:, :, None])[:, :, 0]
        labelled = covariance.ravel() if self._all_known else covariance[self._known[:n]]
        half = self._factor.solve_lower(labelled)
        offsets = images - q
        own = matern52(np.einsum("pd,pd->p", offsets, offsets))[0].sum()
        variance = max(own / p - (half @ half) / p**2, self._prior.energy_noise)
        return energy, forces, float(np.sqrt(self.amplitude * variance))

    @one_thread
    def predict_with_force_std(self, positions: np.ndarray) -> tuple[float, np.ndarray, float, np.ndarray]:
        """Predict energy and forces, and the posterior standard deviations of both.

        All four follow from the covariance of the labels with the energy and its derivatives here, so
        that nothing is worked out twice.

        Parameters
        ----------
        positions : (n_atoms, 3) array
            Positions, Å.

        Returns
        -------
        energy : float
            eV, from the offset of the labels.
        forces : (n_atoms, 3) array
            eV/Å.
        std : float
            Standard deviation of the energy, eV.
        force_std : (n_atoms, 3) array
            Standard deviations of the force components, eV/Å.  All are NaN where two atoms coincide.
        """
        molecule, n = self._molecule, self.size
        vectors = positions[molecule.first] - positions[molecule.second]
        if not np.einsum("ij,ij->i", vectors, vectors).min() > 0.0:
            nothing = np.full(positions.shape, np.nan)
            return np.nan, nothing, np.nan, nothing
        descriptor, jacobian = inverse_distances(positions, (molecule.first, molecule.second))
        directions = internal_basis(jacobian, molecule.n_internal)
        q = descriptor * self._scale - self._centre
        basis = (jacobian @ directions).T * self._scale
        images = q[molecule.images], basis[:, molecule.images].swapaxes(0, 1)
        blocks = covariance_blocks(self._q[:n], self._directions[:n], *images)
        cross = blocks[self._known[:n]]
        expected = self._dual @ cross
        half = self._factor.solve_lower(cross).T
        own = covariance_blocks(q[None], basis[None], *images)[0]
        own -= half @ half.T
        variance = np.einsum("im,mk,ik->i", directions, own[1:, 1:], directions)
        variance = self.amplitude * np.maximum(variance, self._prior.noise(basis)[1])
        energy_variance = self.amplitude * max(own[0, 0], self._prior.energy_noise)
        forces = -(directions @ expected[1:]).reshape(positions.shape)
        return (
            float(expected[0]),
            forces,
            float(np.sqrt(energy_variance)),
            np.sqrt(variance).reshape(positions.shape),
        )
