"""Bayesian linear regression on labels of several kinds, from normal equations that grow in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular

__all__ = [
    "Hyperparameters",
    "LabelledRows",
    "NormalEquations",
    "Posterior",
    "log_evidence",
    "maximise_evidence",
    "solve",
]

JITTERS = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6)
"""Shares of the largest diagonal element that are added to a matrix, one after the other until it can be factorised."""
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
    factor
        Lower triangular; `factor @ factor.T` is the inverse covariance, shape (n_features, n_features).
    """

    mean: np.ndarray
    factor: np.ndarray

    @property
    def log_det_precision(self) -> float:
        """Logarithm of the determinant of the inverse covariance."""
        return 2.0 * float(np.log(np.diag(self.factor)).sum())

    def variance(self, X: np.ndarray) -> np.ndarray:
        """Variance of `X @ weights`, shape (n,), without noise."""
        projected = solve_triangular(self.factor, X.T, lower=True, check_finite=False)
        variances: np.ndarray = np.square(projected).sum(axis=0)
        return variances

    def samples(self, n: int, seed: int) -> np.ndarray:
        """Deviations of `n` draws of the weights from the mean, shape (n_features, n)."""
        draws = np.random.default_rng(seed).normal(size=(len(self.mean), n))
        deviations: np.ndarray = solve_triangular(
            self.factor, draws, lower=True, trans="T", check_finite=False
        )
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
    precision[diagonal, diagonal] += hyper.prior[block]
    factor = _factorise(precision)
    return Posterior(cho_solve((factor, True), moment, check_finite=False), factor)


def _factorise(matrix: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor of a matrix whose small eigenvalues rounding may have pushed below zero.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite to one part in a million.

    Examples
    --------
    >>> _factorise(np.array([[4.0, 4.0], [4.0, 4.0 - 1e-12]])).round(3).tolist()
    [[2.0, 0.0], [2.0, 0.0]]
    """
    diagonal = np.diag(matrix).copy()
    for jitter in JITTERS:
        np.fill_diagonal(matrix, diagonal + jitter * diagonal.max())
        try:
            factor: np.ndarray = cholesky(matrix, lower=True, check_finite=False)
            return factor
        except np.linalg.LinAlgError as error:
            failure = error
    raise failure


def log_evidence(
    data: Mapping[str, NormalEquations] | LabelledRows, hyper: Hyperparameters, block: np.ndarray
) -> float:
    """Logarithm of the probability density of all labels, the weights integrated out.

    References
    ----------
    Bishop (2006), Eq. 3.86.
    """
    return _view(data, block)(hyper).log_evidence


@dataclass(frozen=True, slots=True)
class _View:
    """What the data say at some hyperparameters.

    Attributes
    ----------
    log_evidence
    fixed
        Number of parameters of each block that the data fix, shape (n_blocks,).
    square
        Sum of the squared weights of each block, shape (n_blocks,).
    left
        Number of labels of each kind less the parameters that they fix.
    residual
        Sum of the squared residuals of each kind.
    """

    log_evidence: float
    fixed: np.ndarray
    square: np.ndarray
    left: Mapping[str, float]
    residual: Mapping[str, float]


class LabelledRows:
    """Rows with their labels, for regression where they are fewer than the features.

    Parameters
    ----------
    rows
        Of each kind: features (n, n_features), labels (n,) and how many independent rows each counts as, (n,).
    block
        Number of the block of each weight.
    covariance
        Of a further part of the model, of unit size, between all rows in their order; it counts as one more block.
    """

    def __init__(
        self,
        rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
        block: np.ndarray,
        covariance: np.ndarray | None = None,
    ) -> None:
        self._kinds = list(rows)
        self._of_kind = np.repeat(np.arange(len(rows)), [len(y) for _, y, _ in rows.values()])
        self._counts = np.array([weight.sum() for _, _, weight in rows.values()])
        root = np.sqrt(np.concatenate([weight for _, _, weight in rows.values()]))
        X = np.concatenate([X for X, _, _ in rows.values()]) * root[:, None]
        self._y = np.concatenate([y for _, y, _ in rows.values()]) * root
        n_blocks, n_rows = int(block.max()) + 1, len(X)
        self._products = np.empty((n_blocks + (covariance is not None), n_rows, n_rows))
        for b in range(n_blocks):
            part = X[:, block == b]
            np.matmul(part, part.T, out=self._products[b])
        if covariance is not None:
            self._products[-1] = root[:, None] * covariance * root

    def view(self, hyper: Hyperparameters) -> _View:
        """What the rows say, from the covariance of their labels."""
        noise = np.array([hyper.noise[kind] for kind in self._kinds])
        covariance = np.tensordot(1.0 / hyper.prior, self._products, 1)
        diagonal = np.arange(len(self._y))
        covariance[diagonal, diagonal] += 1.0 / noise[self._of_kind]
        factor = _factorise(covariance)
        log_det = 2.0 * float(np.log(np.diag(factor)).sum())
        inverse = lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        v = inverse @ self._y
        n_kinds = len(noise)
        number = np.bincount(self._of_kind, minlength=n_kinds)
        left = (
            self._counts - number + np.bincount(self._of_kind, inverse[diagonal, diagonal], n_kinds) / noise
        )
        residual = np.bincount(self._of_kind, v**2, n_kinds) / noise**2
        value = -0.5 * (float(self._y @ v) + log_det + len(v) * np.log(2.0 * np.pi))
        value += 0.5 * float((self._counts - number) @ np.log(noise / (2.0 * np.pi)))
        return _View(
            value,
            np.array([np.vdot(inverse, product) for product in self._products]) / hyper.prior,
            np.array([v @ product @ v for product in self._products]) / hyper.prior**2,
            dict(zip(self._kinds, np.maximum(left, 0.0).tolist(), strict=True)),
            dict(zip(self._kinds, residual.tolist(), strict=True)),
        )


def _view_of_sums(sums: Mapping[str, NormalEquations], hyper: Hyperparameters, block: np.ndarray) -> _View:
    n_blocks = len(hyper.prior)
    posterior = solve(sums, hyper, block)
    sizes = np.bincount(block, minlength=n_blocks)
    root = lapack.dtrtri(posterior.factor, lower=1)[0]
    variance = np.square(root).sum(axis=0)
    fixed = np.clip(sizes - hyper.prior * np.bincount(block, variance, n_blocks), 0.0, sizes)
    deviations = posterior.samples(PROBES, seed=0)
    fitted = {
        kind: hyper.noise[kind] * float(np.sum(deviations * (part.gram @ deviations))) / PROBES
        for kind, part in sums.items()
    }
    share = fixed.sum() / max(sum(fitted.values()), 1e-300)
    prior = hyper.prior[block]
    value = float(np.log(prior).sum()) - float(prior @ posterior.mean**2) - posterior.log_det_precision
    residual = {kind: part.residual(posterior.mean) for kind, part in sums.items()}
    for kind, part in sums.items():
        noise = hyper.noise[kind]
        value += part.count * np.log(noise / (2.0 * np.pi)) - noise * residual[kind]
    return _View(
        0.5 * float(value),
        fixed,
        np.bincount(block, posterior.mean**2, n_blocks),
        {kind: max(part.count - fitted[kind] * share, 0.0) for kind, part in sums.items()},
        residual,
    )


def _view(
    data: Mapping[str, NormalEquations] | LabelledRows, block: np.ndarray
) -> Callable[[Hyperparameters], _View]:
    if isinstance(data, LabelledRows):
        return data.view
    return lambda hyper: _view_of_sums(data, hyper, block)


def maximise_evidence(
    data: Mapping[str, NormalEquations] | LabelledRows,
    start: Hyperparameters,
    block: np.ndarray,
    *,
    expected: Hyperparameters,
    held: tuple[int, ...] = (),
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
    A belief of one observation in the priors would keep blocks that explain nothing from being given up.  For sums, the
    traces over labels are estimated from draws and scaled to their known total, that of :math:`\gamma_b`.

    Parameters
    ----------
    data
        Sums of each kind of label, or the rows themselves.
    held
        Blocks whose precision stays.

    References
    ----------
    MacKay, Neural Comput. 4, 415 (1992), Eqs. 4.8 to 4.10, with Gamma hyperpriors.
    """
    look, hyper = _view(data, block), start
    free = np.setdiff1d(np.arange(len(start.prior)), held)
    best, highest = hyper, -np.inf
    for _ in range(max_iter):
        view = look(hyper)
        if view.log_evidence > highest:
            best, highest = hyper, view.log_evidence
        noise = {
            kind: (view.left[kind] + strength) / (view.residual[kind] + strength / expected.noise[kind])
            for kind in hyper.noise
        }
        prior = hyper.prior.copy()
        updated = (np.maximum(view.fixed, 0.0) + prior_strength) / (
            np.maximum(view.square, 0.0) + prior_strength / expected.prior
        )
        prior[free] = updated[free]
        change = max(
            float(np.abs(np.log(prior / hyper.prior)).max(initial=0.0)),
            *(abs(np.log(noise[kind] / hyper.noise[kind])) for kind in noise),
        )
        hyper = Hyperparameters(prior, noise)
        if change < tolerance:
            break
    value = look(hyper).log_evidence
    return (hyper, value) if value > highest else (best, highest)
