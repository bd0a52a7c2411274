"""Bayesian linear regression on labels of several kinds, from normal equations that grow in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cholesky, lapack

__all__ = ["Hyperparameters", "NormalEquations", "Posterior", "log_evidence", "maximise_evidence", "solve"]


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
    """Precisions (inverse variances) of the prior of the weights and of the noise of each kind of label."""

    prior: float
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


def solve(sums: Mapping[str, NormalEquations], hyper: Hyperparameters) -> Posterior:
    r"""Posterior of the weights.

    With rows :math:`X_k`, labels :math:`y_k`, noise precisions :math:`\beta_k` and prior precision
    :math:`\alpha`, the inverse covariance is :math:`\alpha 1 + \sum_k \beta_k X_k^T X_k` and the mean the
    covariance times :math:`\sum_k \beta_k X_k^T y_k`.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning (2006), Eqs. 3.53 and 3.54.

    Examples
    --------
    >>> sums = {"energy": NormalEquations.empty(1).plus(np.array([[1.0], [1.0]]), np.array([2.0, 4.0]))}
    >>> posterior = solve(sums, Hyperparameters(1.0, {"energy": 2.0}))
    >>> posterior.mean.item(), posterior.variance(np.eye(1)).item()
    (2.4, 0.2)
    """
    n_features = len(next(iter(sums.values())).moment)
    precision = np.zeros((n_features, n_features))
    moment = np.zeros(n_features)
    for kind, part in sums.items():
        precision += hyper.noise[kind] * part.gram
        moment += hyper.noise[kind] * part.moment
    diagonal = np.arange(n_features)
    # Rounding in the sums can push small eigenvalues below zero.
    precision[diagonal, diagonal] += hyper.prior + 1e-14 * precision[diagonal, diagonal].max()
    factor = cholesky(precision, lower=True, check_finite=False)
    root = np.ascontiguousarray(lapack.dtrtri(factor, lower=1)[0])
    return Posterior(root.T @ (root @ moment), root, 2.0 * float(np.log(np.diag(factor)).sum()))


def log_evidence(sums: Mapping[str, NormalEquations], hyper: Hyperparameters) -> float:
    """Logarithm of the probability density of all labels, the weights integrated out.

    References
    ----------
    Bishop (2006), Eq. 3.86.
    """
    posterior = solve(sums, hyper)
    value = len(posterior.mean) * np.log(hyper.prior) - hyper.prior * float(posterior.mean @ posterior.mean)
    for kind, part in sums.items():
        noise = hyper.noise[kind]
        value += part.count * np.log(noise / (2.0 * np.pi)) - noise * part.residual(posterior.mean)
    return 0.5 * float(value - posterior.log_det_precision)


def maximise_evidence(
    sums: Mapping[str, NormalEquations],
    start: Hyperparameters,
    *,
    expected: Hyperparameters,
    strength: float = 1.0,
    max_iter: int = 30,
    tolerance: float = 0.02,
) -> Hyperparameters:
    r"""Hyperparameters of the highest evidence, by MacKay's fixed-point iteration.

    .. math:: \alpha = \frac{\gamma + a}{|w|^2 + a/\alpha_0},\quad
              \beta_k = \frac{n_k - \gamma_k + a}{r_k + a/\beta_{k0}},\quad
              \gamma_k = \beta_k\, \mathrm{tr}(\Sigma X_k^T X_k),\quad \gamma = \sum_k \gamma_k

    where `a` observations' worth of belief (`strength`) is laid in the `expected` precisions, so that labels
    that say nothing (the forces on a perfect crystal) leave the hyperparameters where they are expected.

    References
    ----------
    MacKay, Neural Comput. 4, 415 (1992), Eqs. 4.8 to 4.10, with Gamma hyperpriors.
    """
    hyper = start
    diagonal = np.arange(len(next(iter(sums.values())).moment))
    for _ in range(max_iter):
        posterior = solve(sums, hyper)
        # Lower triangle of root.T @ root; its upper one counts by doubling what is off the diagonal.
        covariance = 2.0 * np.tril(lapack.dlauum(posterior.root, lower=1)[0])
        covariance[diagonal, diagonal] *= 0.5
        total, noise = 0.0, {}
        for kind, part in sums.items():
            fitted = min(hyper.noise[kind] * float(np.sum(covariance * part.gram)), part.count)
            total += fitted
            noise[kind] = (part.count - fitted + strength) / (
                part.residual(posterior.mean) + strength / expected.noise[kind]
            )
        square = float(posterior.mean @ posterior.mean)
        updated = Hyperparameters((total + strength) / (square + strength / expected.prior), noise)
        change = max(
            abs(np.log(updated.prior / hyper.prior)),
            *(abs(np.log(updated.noise[kind] / hyper.noise[kind])) for kind in sums),
        )
        hyper = updated
        if change < tolerance:
            break
    return hyper
