"""The nearest of many stored rows, in features that are scaled once per model version."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NearestRow", "spread"]

Rows = NDArray[np.float64]


class NearestRow:
    """Root mean square distance, in units of the features' scales, to the nearest stored row.

    Rows are kept in an array that grows without copying every time, so that a distance to 10,000 of them is
    one matrix product.

    Parameters
    ----------
    window : int or None
        Only the latest `window` rows count; None for all.

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0], [4.0, 0.0]])
    >>> nearest = NearestRow()
    >>> nearest.fit(rows, center=np.zeros(2), scale=np.ones(2))
    >>> nearest.measure(np.array([1.0, 1.0]))
    1.0
    >>> nearest.extend(np.array([[1.0, 1.0]]))
    >>> nearest.measure(np.array([1.0, 1.0]))
    0.0
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self._center = self._scale = np.zeros(0)
        self._scaled = np.empty((0, 0))
        self._norms = np.empty(0)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def fit(self, rows: Rows, *, center: Rows, scale: Rows) -> None:
        """Store `rows` (n, n_features), at the scales (n_features,) that hold until the next call."""
        self._center = center
        self._scale = scale * np.sqrt(rows.shape[1])
        self._n = 0
        self._norms = np.empty(0)
        self.extend(rows)

    def extend(self, rows: Rows) -> None:
        """Add rows (n, n_features)."""
        total = self._n + len(rows)
        if total > len(self._norms):
            scaled = np.empty((max(16, 2 * total), rows.shape[1]))
            norms = np.empty(len(scaled))
            if self._n:
                scaled[: self._n] = self._scaled[: self._n]
                norms[: self._n] = self._norms[: self._n]
            self._scaled, self._norms = scaled, norms
        new = (rows - self._center) / self._scale
        self._scaled[self._n : total] = new
        self._norms[self._n : total] = np.einsum("ij,ij->i", new, new)
        self._n = total

    def measure(self, row: Rows) -> float:
        """Distance of `row` (n_features,) to the nearest; NaN before the first `fit`."""
        if not self._n:
            return float("nan")
        first = max(0, self._n - self.window) if self.window else 0
        scaled = (row - self._center) / self._scale
        stored = self._scaled[first : self._n]
        # |a - b|² = |a|² - 2 a.b + |b|² needs one pass over the stored rows; the smallest is then computed
        # again without the cancellation.
        nearest = int(np.argmin(self._norms[first : self._n] - 2.0 * (stored @ scaled)))
        return float(np.linalg.norm(stored[nearest] - scaled))


def spread(rows: Rows, floor: Rows | float) -> Rows:
    """Standard deviation of each column of `rows` (n, n_features), `floor` at least and never zero.

    Examples
    --------
    >>> spread(np.array([[0.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), floor=np.array([0.0, 0.5, 0.0])).tolist()
    [1.0, 0.5, 1.0]
    """
    scale = np.maximum(rows.std(axis=0), floor)
    scale[scale == 0.0] = 1.0
    return scale
