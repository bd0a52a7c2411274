"""A Gaussian process with a length scale an input, exact for few values and on inducing inputs for many."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

__all__ = ["ProcessRegressor"]

OPTIMISED = 400
"""Values, drawn by a fixed seed, by which the kernel is optimised: each step costs their cube."""
JITTER = 1e-8
"""Added to the inducing inputs' covariance in units of the amplitude, for the factorisation."""


class ProcessRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian process with a Matérn 5/2 kernel, one length scale an input.

    The kernel is optimised on at most 400 of the values. Above `most` values the process is that of the deterministic
    training conditional approximation: exact at inducing inputs, its variance elsewhere with what they do not explain.

    Parameters
    ----------
    most : int
        Number of values up to which the process is exact; a fit costs its cube.
    n_inducing : int
        Number of inducing inputs beyond that, drawn among those given.
    random_state : int
        Seed of the draws.

    References
    ----------
    Quiñonero-Candela and Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005), section 5.

    Examples
    --------
    >>> X = np.random.default_rng(0).uniform(-2, 2, (40, 2))
    >>> model = ProcessRegressor().fit(X, np.sin(X[:, 0]))
    >>> bool(abs(model.predict(np.array([[0.5, 1.0]])).item() - np.sin(0.5)) < 0.01)
    True
    """

    def __init__(self, most: int = 2000, n_inducing: int = 400, random_state: int = 0) -> None:
        self.most = most
        self.n_inducing = n_inducing
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ProcessRegressor:
        """Fit to inputs (n, n_inputs) and values (n,) or (n, n_values)."""
        X, y = np.asarray(X, float), np.asarray(y, float)
        order = np.random.default_rng(self.random_state).permutation(len(X))
        kernel = ConstantKernel(1.0, (1e-3, 1e4)) * Matern(np.ones(X.shape[1]), (1e-2, 1e2), nu=2.5)
        kernel += WhiteKernel(1e-6, (1e-10, 1e-1))
        some = order[:OPTIMISED]
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=self.random_state)
        with warnings.catch_warnings():  # a length at its upper bound is that of an input that says nothing
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(X[some], y[some])
        self.kernel_ = process.kernel_
        self.process_ = process if len(X) <= self.most else None
        if self.process_ is None:
            self._fit_inducing(X, y, X[order[: self.n_inducing]])
        elif len(X) > OPTIMISED:
            self.process_ = GaussianProcessRegressor(self.kernel_, optimizer=None, normalize_y=True).fit(X, y)
        return self

    def _fit_inducing(self, X: np.ndarray, y: np.ndarray, inducing: np.ndarray) -> None:
        self.smooth_, noise = self.kernel_.k1, self.kernel_.k2.noise_level
        self.inducing_ = inducing
        covariance = self.smooth_(inducing)
        covariance[np.diag_indices_from(covariance)] *= 1.0 + JITTER
        self.root_ = cholesky(covariance, lower=True)
        self.mean_, scale = y.mean(axis=0), y.std(axis=0)
        self.scale_ = np.where(scale > 0.0, scale, 1.0)
        features = self._features(X)
        precision = features @ features.T / noise
        precision[np.diag_indices_from(precision)] += 1.0
        self.posterior_ = cholesky(precision, lower=True)
        moment = solve_triangular(
            self.posterior_, features @ ((y - self.mean_) / self.scale_) / noise, lower=True
        )
        self.weights_ = solve_triangular(self.posterior_, moment, lower=True, trans="T")

    def _features(self, X: np.ndarray) -> np.ndarray:
        """Whitened covariances with the inducing inputs, (n_inducing, n)."""
        found: np.ndarray = solve_triangular(self.root_, self.smooth_(self.inducing_, X), lower=True)
        return found

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Values at inputs (n, n_inputs), with their standard deviations where asked for."""
        X = np.asarray(X, float)
        if self.process_ is not None:
            return self.process_.predict(X, return_std=return_std)
        features = self._features(X)
        values = self.mean_ + self.scale_ * (features.T @ self.weights_)
        if not return_std:
            return values
        unexplained = np.maximum(self.kernel_.diag(X) - np.square(features).sum(axis=0), 0.0)
        spread = np.square(solve_triangular(self.posterior_, features, lower=True)).sum(axis=0)
        std = np.sqrt(unexplained + spread)
        return values, (std * self.scale_ if values.ndim == 1 else std[:, None] * self.scale_)
