"""Length scales, amplitude and noise of the Gaussian process by marginal likelihood, with a physical prior."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import minimize

from ase_proxima.surrogates.gradient_gp.kernels import covariance_blocks

__all__ = [
    "Labels",
    "Prior",
    "covariance_matrix",
    "negative_log_evidence",
    "optimise_lengths",
    "optimise_noise",
]

NOISE_SCALES = 10.0 ** np.arange(10)
"""How far above rounding the labels' noise may lie: forces of 1e-11 to 1e-2 of their own prior variance."""


@dataclass(frozen=True, slots=True)
class Labels:
    """One frame as the Gaussian process sees it.

    Attributes
    ----------
    q : (d,) array
        Inverse distances, 1/Å.
    basis : (m, d) array
        Their derivatives along the internal directions of the frame, 1/Å².
    values : (1 + m,) array
        Energy, eV, and its derivatives along the internal directions, eV/Å; NaN where not labelled.
    """

    q: np.ndarray
    basis: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before any data.

    Attributes
    ----------
    lengths
        Medians of the length scales, 1/Å: of bonded pairs, second neighbours, and others.
    length_spread
        Standard deviation of their logarithms.
    stiffness
        Square root of the amplitude over the squared length scale (geometric mean of the groups), eV Å²:
        how fast, with the squared change of inverse distances, the energy may depart from what a known point
        says of it.
    weight
        Number of labels that the belief about the amplitude is worth.
    energy_noise, gradient_noise
        Least variance of the labels' noise, as a share of the labels' own prior variance: rounding, which the
        factorisation needs.
    noise_scale
        What the labels' noise is in units of that; found from the labels by `optimise_noise`.
    """

    lengths: tuple[float, ...] = (8.0, 5.0, 5.0)
    length_spread: float = 0.2
    stiffness: float = 30.0
    weight: float = 1.0
    energy_noise: float = 1e-14
    gradient_noise: float = 1e-11
    noise_scale: float = 1.0

    def for_groups(self, groups: Iterable[int]) -> Prior:
        """Restrict the length scales to those of the given groups of pairs."""
        return replace(self, lengths=tuple(self.lengths[group] for group in groups))

    def amplitude(self, lengths: np.ndarray) -> float:
        """Believed variance of the energy, eV²."""
        return float((self.stiffness * np.exp(2.0 * np.mean(np.log(lengths)))) ** 2)

    def posterior_amplitude(self, lengths: np.ndarray, z: np.ndarray) -> float:
        """Mean variance of the energy, eV², given the whitened labels `z`."""
        return float((self.weight * self.amplitude(lengths) + z @ z) / (self.weight + len(z)))

    def noise(self, basis: np.ndarray) -> np.ndarray:
        """Variances of the labels' noise, (..., 1 + m), for scaled derivatives `basis`, (..., m, d)."""
        variances = np.empty((*basis.shape[:-2], 1 + basis.shape[-2]))
        variances[..., 0] = self.energy_noise
        gradient = np.einsum("...md,...md->...m", basis, basis).max(axis=-1)
        variances[..., 1:] = 5.0 / 3.0 * self.gradient_noise * gradient[..., None]
        variances *= self.noise_scale
        return variances


def covariance_matrix(
    frames: Sequence[Labels], scale: np.ndarray, images: np.ndarray, prior: Prior
) -> np.ndarray:
    """Covariance of all labels of `frames` in units of the amplitude, noise included; upper triangle.

    Parameters
    ----------
    frames : sequence of Labels
    scale : (d,) array
        Inverse length scales, Å.
    images : (p, d) integer array
        Permutations of the pairs.
    prior : Prior
        For the noise.

    Returns
    -------
    (n_labels, n_labels) array
        Labels that are NaN are left out.
    """
    q = np.array([frame.q for frame in frames]) * scale
    basis = np.array([frame.basis for frame in frames]) * scale
    n, m, _ = basis.shape
    full = np.zeros((n, 1 + m, n, 1 + m))
    for j in range(n):
        blocks = covariance_blocks(
            q[: j + 1], basis[: j + 1], q[j][images], basis[j][:, images].swapaxes(0, 1)
        )
        full[: j + 1, :, j] = blocks
    matrix = full.reshape(n * (1 + m), -1)
    known = np.isfinite(np.concatenate([frame.values for frame in frames]))
    matrix.flat[:: len(matrix) + 1] += prior.noise(basis).ravel()
    return matrix[np.ix_(known, known)]


def negative_log_evidence(
    log_lengths: np.ndarray, frames: Sequence[Labels], groups: np.ndarray, images: np.ndarray, prior: Prior
) -> float:
    """Minus the logarithm of evidence times prior, the amplitude integrated out, up to a constant.

    Parameters
    ----------
    log_lengths : (n_groups,) array
        Logarithms of the length scales.
    frames : sequence of Labels
    groups : (d,) integer array
        The length scale that each pair of atoms belongs to.
    images : (p, d) integer array
        Permutations of the pairs.
    prior : Prior

    References
    ----------
    Rasmussen and Williams (2006), Eq. 5.8; with an inverse gamma prior on the amplitude the Gaussian becomes
    a Student t.
    """
    lengths = np.exp(log_lengths)
    matrix = covariance_matrix(frames, 1.0 / lengths[groups], images, prior)
    values = np.concatenate([frame.values for frame in frames])
    values = values[np.isfinite(values)]
    try:
        upper = cholesky(matrix, check_finite=False)
    except LinAlgError:
        return float("inf")
    z = solve_triangular(upper, values, trans="T", check_finite=False)
    believed = prior.weight * prior.amplitude(lengths)
    evidence = -np.log(np.diag(upper)).sum() + 0.5 * prior.weight * np.log(believed)
    evidence -= 0.5 * (prior.weight + len(values)) * np.log(believed + z @ z)
    evidence -= 0.5 * np.sum(((log_lengths - np.log(prior.lengths)) / prior.length_spread) ** 2)
    return float(-evidence)


def optimise_lengths(
    start: np.ndarray,
    frames: Sequence[Labels],
    groups: np.ndarray,
    images: np.ndarray,
    prior: Prior,
    *,
    max_evaluations: int = 30,
) -> np.ndarray:
    """Find the length scales of greatest evidence, from `start`.

    Parameters
    ----------
    start : (n_groups,) array
        Length scales to start from, 1/Å.
    frames, groups, images, prior
        As in `negative_log_evidence`.
    max_evaluations : int
        Limit on evaluations of the evidence.

    Returns
    -------
    (n_groups,) array
    """
    simplex = np.log(start) + np.vstack([np.zeros(len(start)), 0.3 * np.eye(len(start))])
    result = minimize(
        negative_log_evidence,
        np.log(start),
        args=(frames, groups, images, prior),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": max_evaluations, "xatol": 0.05, "fatol": 0.1},
    )
    return np.asarray(np.exp(result.x))


def optimise_noise(
    lengths: np.ndarray, frames: Sequence[Labels], groups: np.ndarray, images: np.ndarray, prior: Prior
) -> float:
    """Find the noise of the labels, in units of rounding, of greatest evidence among `NOISE_SCALES`.

    Parameters
    ----------
    lengths : (n_groups,) array
        Length scales, 1/Å.
    frames, groups, images, prior
        As in `negative_log_evidence`.
    """
    costs = [
        negative_log_evidence(np.log(lengths), frames, groups, images, replace(prior, noise_scale=scale))
        for scale in NOISE_SCALES
    ]
    return float(NOISE_SCALES[int(np.argmin(costs))])
