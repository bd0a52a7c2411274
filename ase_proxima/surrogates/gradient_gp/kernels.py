"""Inverse distances and the symmetrised Matern 5/2 covariance of energies and gradients on them."""

from __future__ import annotations

import numpy as np

__all__ = ["covariance_blocks", "internal_basis", "inverse_distances", "matern52"]

SQRT5 = float(np.sqrt(5.0))


def inverse_distances(
    positions: np.ndarray, pairs: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Describe a molecule by the inverse distances of its pairs of atoms.

    Parameters
    ----------
    positions : (n, 3) array
        Positions in Å.
    pairs : pair of (n_pairs,) arrays, optional
        What `np.triu_indices` gives for the atoms, where it is at hand.

    Returns
    -------
    descriptor : (n_pairs,) array
        1/r of the pairs i < j, in `np.triu_indices` order, in 1/Å.
    jacobian : (n_pairs, 3 n) array
        Its derivative with respect to the positions, in 1/Å².

    Examples
    --------
    >>> q, jacobian = inverse_distances(np.array([[0.0, 0, 0], [0, 0, 2]]))
    >>> q
    array([0.5])
    >>> jacobian[0, [2, 5]]
    array([ 0.25, -0.25])
    """
    n_atoms = len(positions)
    first, second = np.triu_indices(n_atoms, 1) if pairs is None else pairs
    vectors = positions[first] - positions[second]
    q = 1.0 / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    slopes = -vectors * (q**3)[:, None]
    jacobian = np.zeros((len(q), n_atoms, 3))
    rows = np.arange(len(q))
    jacobian[rows, first] = slopes
    jacobian[rows, second] = -slopes
    return q, jacobian.reshape(len(q), -1)


def internal_basis(jacobian: np.ndarray, n_internal: int) -> np.ndarray:
    """Find an orthonormal basis of the displacements that change distances.

    Translations and rotations have no covariance with anything, so a gradient projected onto this basis
    tells the Gaussian process all that the full one does, in 3n - 6 numbers instead of 3n.

    Parameters
    ----------
    jacobian : (n_pairs, 3 n) array
        From `inverse_distances`.
    n_internal : int
        Number of basis vectors.

    Returns
    -------
    (3 n, n_internal) array
        Orthonormal columns, by falling influence on the distances.
    """
    return np.asarray(np.linalg.svd(jacobian, full_matrices=False)[2][:n_internal].T)


def matern52(squared_distance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evaluate the Matern 5/2 covariance of unit amplitude and length, and the factors of its derivatives.

    With d = x - x', the covariance is k, its gradient with respect to x' is g d, and the mixed second
    derivative is g I - h d dᵀ.

    Parameters
    ----------
    squared_distance : array
        |d|² in units of the squared length scale; rounding below zero is cut off.

    Returns
    -------
    k, g, h : arrays of the same shape

    References
    ----------
    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), Eq. 4.17.

    Examples
    --------
    >>> [float(value) for value in matern52(np.array(0.0))]
    [1.0, 1.66..., 8.33...]
    """
    s = np.sqrt(np.maximum(squared_distance, 0.0))
    s *= SQRT5
    decay = np.exp(-s)
    g = (s + 1.0) * decay
    k = s * s
    k *= decay
    k *= 1.0 / 3.0
    k += g
    g *= 5.0 / 3.0
    decay *= 25.0 / 3.0
    return k, g, decay


def covariance_blocks(
    q: np.ndarray, basis: np.ndarray, q_images: np.ndarray, basis_images: np.ndarray
) -> np.ndarray:
    """Covariance of the labels of many frames with those of one frame, averaged over its images.

    Parameters
    ----------
    q : (n, d) array
        Descriptors of the frames, in units of the length scale.
    basis : (n, m, d) array
        Derivatives of the descriptors along the m internal directions of each frame.
    q_images : (p, d) array
        Images of the one frame's descriptor under the permutations.
    basis_images : (p, m', d) array
        Images of its derivatives.

    Returns
    -------
    (n, 1 + m, 1 + m') array
        Energy first, then the derivatives along the internal directions.
    """
    n, m, d = basis.shape
    p, m_other = basis_images.shape[:2]
    difference = q[:, None, :] - q_images[None]
    k, g, h = matern52(np.einsum("npd,npd->np", difference, difference))
    # along[n, p, :] = derivative of the one frame's images along its directions, dotted with the difference
    along_other = np.matmul(difference.transpose(1, 0, 2), basis_images.transpose(0, 2, 1)).transpose(1, 0, 2)
    along = np.matmul(difference, basis.transpose(0, 2, 1))
    blocks = np.empty((n, 1 + m, 1 + m_other))
    blocks[:, 0, 0] = k.sum(axis=1)
    blocks[:, 0, 1:] = np.einsum("np,npm->nm", g, along_other)
    blocks[:, 1:, 0] = -np.einsum("np,npm->nm", g, along)
    mixed = (g @ basis_images.transpose(0, 2, 1).reshape(p, -1)).reshape(n, d, m_other)
    blocks[:, 1:, 1:] = basis @ mixed
    blocks[:, 1:, 1:] -= (along * h[:, :, None]).transpose(0, 2, 1) @ along_other
    blocks /= p
    return blocks
