"""A Cholesky factor that grows."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular

__all__ = ["GrowingCholesky"]

ATTEMPTS = 5
"""How often rows are tried, each time with a hundred times the noise."""
PANEL = 64
"""Rows from which a panel of the factor gets no more: few rows at a time are slow to solve with."""


class GrowingCholesky:
    """Upper Cholesky factor U of K = UᵀU, extended as K gains rows and columns.

    The rows of Uᵀ are kept in panels, each in two parts: what stands left of its triangle, and the triangle. New rows
    are a new panel, or join the last one where that has few, and nothing else moves.

    Examples
    --------
    >>> factor = GrowingCholesky()
    >>> factor.extend(np.empty((0, 1)), np.array([[4.0]]))
    >>> factor.extend(np.array([[2.0]]), np.array([[5.0]]))
    >>> factor.solve_lower(np.array([2.0, 3.0]))
    array([1., 1.])
    """

    def __init__(self) -> None:
        self.size = 0
        self._panels: list[tuple[np.ndarray, np.ndarray]] = []

    def extend(self, cross: np.ndarray, corner: np.ndarray) -> None:
        """Add rows and columns.

        Parameters
        ----------
        cross : (size, n_new) array
            Covariance of the old labels with the new.
        corner : (n_new, n_new) array
            Covariance of the new labels.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the extended matrix is not positive definite; the factor is then as it was.
        """
        head = np.ascontiguousarray(self.solve_lower(cross).T)
        triangle = cholesky(corner - head @ head.T, lower=True, check_finite=False)
        self.size += len(triangle)
        if self._panels and len(self._panels[-1][1]) < PANEL:
            left, above = self._panels.pop()
            n = left.shape[1]
            beside = np.zeros((len(above), len(triangle)))
            triangle = np.block([[above, beside], [head[:, n:], triangle]])
            head = np.concatenate([left, head[:, :n]])
        self._panels.append((head, triangle))

    def extend_noisy(self, cross: np.ndarray, corner: np.ndarray, noise: np.ndarray) -> None:
        """Add rows and columns whose labels have `noise`, the variance of each; with more where that is too little.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the matrix is not positive definite even with 1e8 times the noise.
        """
        for attempt in range(ATTEMPTS):
            try:
                self.extend(cross, corner + np.diag(100.0**attempt * noise))
                return
            except np.linalg.LinAlgError:  # nearly a copy of what is known: let it count as less exact
                if attempt == ATTEMPTS - 1:
                    raise

    def solve_lower(self, rhs: np.ndarray) -> np.ndarray:
        """Solve Uᵀ x = rhs for a vector, or for the columns of a matrix."""
        x, begin = np.empty(rhs.shape), 0
        for head, triangle in self._panels:
            end = begin + len(triangle)
            remainder = rhs[begin:end] - head @ x[:begin]
            x[begin:end] = solve_triangular(triangle, remainder, lower=True, check_finite=False)
            begin = end
        return x

    def solve_upper(self, rhs: np.ndarray) -> np.ndarray:
        """Solve U x = rhs, likewise."""
        x, end = rhs.copy(), self.size
        for head, triangle in reversed(self._panels):
            begin = end - len(triangle)
            x[begin:end] = solve_triangular(triangle, x[begin:end], lower=True, trans="T", check_finite=False)
            x[:begin] -= head.T @ x[begin:end]
            end = begin
        return x
