"""A Cholesky factor that grows."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import dtpsv

__all__ = ["GrowingCholesky"]

ATTEMPTS = 5
"""How often rows are tried, each time with a hundred times the noise."""
BLOCK = 64
"""Columns of the factor that are unpacked at once: with 3,500 labels 57 right-hand sides take a quarter of the time."""


class GrowingCholesky:
    """Upper Cholesky factor U of K = UᵀU, extended in place as K gains rows and columns.

    The columns of U lie one behind the other (packed storage), so that new ones are appended and nothing
    moves; the buffer grows by half when it is full.

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
        self._packed = np.empty(64)

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
        old, n_new = cross.shape
        columns = np.empty((n_new, old + n_new))
        columns[:, :old] = self.solve_lower(cross).T
        head = columns[:, :old]
        columns[:, old:] = cholesky(corner - head @ head.T, lower=True, check_finite=False)
        need = (old + n_new) * (old + n_new + 1) // 2
        if need > len(self._packed):
            grown = np.empty(max(need, 3 * len(self._packed) // 2))
            used = old * (old + 1) // 2
            grown[:used] = self._packed[:used]
            self._packed = grown
        start = old * (old + 1) // 2
        for i in range(n_new):
            length = old + i + 1
            self._packed[start : start + length] = columns[i, :length]
            start += length
        self.size = old + n_new

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
        """Solve Uᵀ x = rhs for a vector, or for the columns of a matrix, for which U is read once for all."""
        if not self.size:
            return np.empty(rhs.shape)
        if rhs.ndim == 1:
            return np.asarray(dtpsv(self.size, self._packed, rhs, trans=1))
        x = np.empty(rhs.shape)
        for begin, end in self._blocks():
            columns = self._columns(begin, end)
            remainder = rhs[begin:end] - columns[:, :begin] @ x[:begin]
            x[begin:end] = solve_triangular(columns[:, begin:], remainder, lower=True, check_finite=False)
        return x

    def solve_upper(self, rhs: np.ndarray) -> np.ndarray:
        """Solve U x = rhs, likewise."""
        if not self.size:
            return np.empty(rhs.shape)
        if rhs.ndim == 1:
            return np.asarray(dtpsv(self.size, self._packed, rhs))
        x = rhs.copy()
        for begin, end in reversed(self._blocks()):
            columns = self._columns(begin, end)
            x[begin:end] = solve_triangular(
                columns[:, begin:], x[begin:end], lower=True, trans="T", check_finite=False
            )
            x[:begin] -= columns[:, :begin].T @ x[begin:end]
        return x

    def _blocks(self) -> list[tuple[int, int]]:
        """First column, and the one after the last, of each block."""
        return [(begin, min(begin + BLOCK, self.size)) for begin in range(0, self.size, BLOCK)]

    def _columns(self, begin: int, end: int) -> np.ndarray:
        """Columns of U as rows, (end - begin, end)."""
        columns = np.zeros((end - begin, end))
        for row, column in enumerate(range(begin, end)):
            start = column * (column + 1) // 2
            columns[row, : column + 1] = self._packed[start : start + column + 1]
        return columns
