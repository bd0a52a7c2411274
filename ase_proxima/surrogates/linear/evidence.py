"""Bayesian linear regression on labels of several kinds, from normal equations that grow in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cholesky, lapack

__all__ = ["Hyperparameters", "NormalEquations", "Posterior", "log_evidence", "maximise_evidence", "solve"]

PROBES = 32
"""Draws that estimate how many parameters the labels of each kind fix; their sum is known exactly."""


@dataclass(frozen=True, slots=True)
class NormalEquations:
    """What regression needs to know of the labels of one kind: sums over its rows.

    Attributes
    ----------
    gram
        Sum of the outer products of the feature rows, shape (n_features, n_features).
    moment
        Sum of the rows times their labels, shape (n_features,).
    square
        Sum of the squared labels.
    count
        Number of independent rows.
    """

    gram: np.ndarray
    moment: np.ndarray
    square: float = 0.0
    count: float = 0.0

    @classmethod
    def empty(cls, n_features: int) -> NormalEquations:
        """No rows yet."""
        return cls(np.zeros((n_features, n_features)), np.zeros(n_features))

    def plus(self, X: np.ndarray, y: np.ndarray, weight: float = 1.0) -> NormalEquations:
        """Add rows `X`, shape (n, n_features), with labels `y`, shape (n,); reuses the memory of `self`.

        Each row counts as `weight` independent ones.

        Examples
        --------
        >>> sums = NormalEquations.empty(1).plus(np.array([[1.0], [2.0]]), np.array([3.0, 5.0]))
        >>> sums.gram.item(), sums.moment.item(), sums.square, sums.count
        (5.0, 13.0, 34.0, 2.0)
        """
        self.gram[...] += weight * (X.T @ X)
        self.moment[...] += weight * (X.T @ y)
        return replace(self, square=self.square + weight * float(y @ y), count=self.count + weight * len(y))

    def residual(self, weights: np.ndarray) -> float:
        """Sum of the squared residuals of the rows, not below the rounding error of this formula."""
        value = self.square - 2.0 * weights @ self.moment + weights @ self.gram @ weights
        return max(float(value), 1e-14 * self.square)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Precisions (inverse variances) of the prior of the weights and of the noise of each kind of label.

    Attributes
    ----------
    prior
        One a block of weights, shape (n_blocks,).
    noise
        One a kind of label.
    """

    prior: np.ndarray
    noise: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Posterior:
    """Normal distribution of the weights.

    Attributes
    ----------
    mean
        Shape (n_features,).
    root
        Lower triangular; `root.T @ root` is the covariance, shape (n_features, n_features).
    log_det_precision
        Logarithm of the determinant of the inverse covariance.
    """

    mean: np.ndarray
    root: np.ndarray
    log_det_precision: float

    def variance(self, X: np.ndarray) -> np.ndarray:
        """Variance of `X @ weights`, shape (n,), without noise."""
        projected: np.ndarray = X @ self.root.T
        variances: np.ndarray = np.square(projected).sum(axis=1)
        return variances

    def samples(self, n: int, seed: int) -> np.ndarray:
        """Deviations of `n` draws of the weights from the mean, shape (n_features, n)."""
        draws = np.random.default_rng(seed).normal(size=(len(self.mean), n))
        deviations: np.ndarray = self.root.T @ draws
        return deviations


def solve(sums: Mapping[str, NormalEquations], hyper: Hyperparameters, block: np.ndarray) -> Posterior:
    r"""Posterior of the weights.

    With rows :math:`X_k`, labels :math:`y_k`, noise precisions :math:`\beta_k` and prior precisions
    :math:`\alpha`, one a block, the inverse covariance is :math:`\mathrm{diag}(\alpha) + \sum_k \beta_k X_k^T X_k`
    and the mean the covariance times :math:`\sum_k \beta_k X_k^T y_k`.

    Parameters
    ----------
    block
        Number of the block of each weight, shape (n_features,).

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning (2006), Eqs. 3.53 and 3.54.

    Examples
    --------
    >>> sums = {"energy": NormalEquations.empty(1).plus(np.array([[1.0], [1.0]]), np.array([2.0, 4.0]))}
    >>> posterior = solve(sums, Hyperparameters(np.ones(1), {"energy": 2.0}), np.zeros(1, dtype=int))
    >>> posterior.mean.item(), posterior.variance(np.eye(1)).item()
    (2.4, 0.2)
    """
    n_features = len(block)
    precision = np.zeros((n_features, n_features))
    moment = np.zeros(n_features)
    for kind, part in sums.items():
        precision += hyper.noise[kind] * part.gram
        moment += hyper.noise[kind] * part.moment
    diagonal = np.arange(n_features)
    # Rounding in the sums can push small eigenvalues below zero.
    precision[diagonal, diagonal] += hyper.prior[block] + 1e-14 * precision[diagonal, diagonal].max()
    factor = cholesky(precision, lower=True, overwrite_a=True, check_finite=False)
    log_det = 2.0 * float(np.log(np.diag(factor)).sum())
    root = np.ascontiguousarray(lapack.dtrtri(factor, lower=1, overwrite_c=1)[0])
    return Posterior(root.T @ (root @ moment), root, log_det)


def log_evidence(sums: Mapping[str, NormalEquations], hyper: Hyperparameters, block: np.ndarray) -> float:
    """Logarithm of the probability density of all labels, the weights integrated out.

    References
    ----------
    Bishop (2006), Eq. 3.86.
    """
    return _log_evidence(sums, hyper, block, solve(sums, hyper, block))


def _log_evidence(
    sums: Mapping[str, NormalEquations], hyper: Hyperparameters, block: np.ndarray, posterior: Posterior
) -> float:
    prior = hyper.prior[block]
    value = float(np.log(prior).sum()) - float(prior @ posterior.mean**2)
    for kind, part in sums.items():
        noise = hyper.noise[kind]
        value += part.count * np.log(noise / (2.0 * np.pi)) - noise * part.residual(posterior.mean)
    return 0.5 * float(value - posterior.log_det_precision)


def maximise_evidence(
    sums: Mapping[str, NormalEquations],
    start: Hyperparameters,
    block: np.ndarray,
    *,
    expected: Hyperparameters,
    fixed: tuple[int, ...] = (),
    strength: float = 1.0,
    prior_strength: float = 1e-3,
    max_iter: int = 30,
    tolerance: float = 0.02,
) -> tuple[Hyperparameters, float]:
    r"""Hyperparameters of the highest evidence, by MacKay's fixed-point iteration, and the logarithm of that evidence.

    .. math:: \alpha_b = \frac{\gamma_b + a}{|w_b|^2 + a/\alpha_{b0}},\quad
              \beta_k = \frac{n_k - \gamma_k + c}{r_k + c/\beta_{k0}},\quad
              \gamma_b = n_b - \alpha_b \mathrm{tr}(\Sigma_{bb}),\quad
              \gamma_k = \beta_k\, \mathrm{tr}(\Sigma X_k^T X_k)

    where `c` (`strength`) and `a` (`prior_strength`) observations' worth of belief are laid in the `expected`
    precisions, so that labels that say nothing (the forces on a perfect crystal) leave them where they are expected.
    A belief of one observation in the priors would keep blocks that explain nothing from being given up.  The traces
    over labels are estimated from draws and scaled to their known sum, that of :math:`\gamma_b`.

    Parameters
    ----------
    fixed
        Blocks whose precision stays.

    References
    ----------
    MacKay, Neural Comput. 4, 415 (1992), Eqs. 4.8 to 4.10, with Gamma hyperpriors.
    """
    hyper, n_blocks = start, len(start.prior)
    free = np.setdiff1d(np.arange(n_blocks), fixed)
    sizes = np.bincount(block, minlength=n_blocks)
    best, highest = hyper, -np.inf
    for _ in range(max_iter):
        posterior = solve(sums, hyper, block)
        evidence = _log_evidence(sums, hyper, block, posterior)
        if evidence > highest:
            best, highest = hyper, evidence
        variance = np.square(posterior.root).sum(axis=0)
        well = sizes - hyper.prior * np.bincount(block, variance, n_blocks)
        well = np.clip(well, 0.0, sizes)
        deviations = posterior.samples(PROBES, seed=0)
        fitted = {
            kind: hyper.noise[kind] * float(np.sum(deviations * (part.gram @ deviations))) / PROBES
            for kind, part in sums.items()
        }
        share = well.sum() / max(sum(fitted.values()), 1e-300)
        noise = {}
        for kind, part in sums.items():
            left = max(part.count - fitted[kind] * share, 0.0)
            noise[kind] = (left + strength) / (
                part.residual(posterior.mean) + strength / expected.noise[kind]
            )
        square = np.bincount(block, posterior.mean**2, n_blocks)
        prior = hyper.prior.copy()
        prior[free] = ((well + prior_strength) / (square + prior_strength / expected.prior))[free]
        updated = Hyperparameters(prior, noise)
        change = max(
            float(np.abs(np.log(prior / hyper.prior)).max(initial=0.0)),
            *(abs(np.log(noise[kind] / hyper.noise[kind])) for kind in sums),
        )
        hyper = updated
        if change < tolerance:
            break
    evidence = log_evidence(sums, hyper, block)
    return (hyper, evidence) if evidence > highest else (best, highest)
