"""How far rows are from the training runs, and from which distance on a model has nothing to go by.

`gpu_xarch.learning.expected` tells how far off a prediction is likely to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_xarch.errors import InputError

__all__ = ["ROWS", "Domain", "FeatureSpace", "matrix", "mean_distance", "spread_evenly", "to_others"]

Floats = NDArray[np.float64]
#: training rows that a distance is taken to
ROWS = 4000
_STEPS = 200  # distances that are tried as thresholds
_DOUBT = 0.1  # how likely, at most, groups predicted this often would be if half of all groups could be


@dataclass(frozen=True)
class FeatureSpace:
    """A space in which metrics of very different size can be compared.

    A value x becomes asinh(x / size) with `size` the median of the nonzero magnitudes, which is linear below it
    and logarithmic above (counts range over nine decades), then is centred and divided by its spread. Metrics
    that never vary in training keep a spread of 1, so that a new value there counts.

    Parameters
    ----------
    size, center, spread : ndarray, shape (n_features,)
    """

    size: Floats
    center: Floats
    spread: Floats

    @classmethod
    def fit(cls, X: ArrayLike) -> FeatureSpace:
        """Learn sizes and spreads from training rows, shape (n_rows, n_features).

        Raises
        ------
        InputError
            If `X` has no rows, or a value that is not finite.
        """
        rows = matrix(X)
        magnitude = np.where(rows == 0, np.nan, np.abs(rows))
        used = ~np.isnan(magnitude).all(axis=0)
        size = np.ones(rows.shape[1])
        size[used] = np.nanmedian(magnitude[:, used], axis=0)
        bent = np.arcsinh(rows / size)
        spread = bent.std(axis=0)
        return cls(size, bent.mean(axis=0), np.where(spread > 1e-9, spread, 1.0))

    def transform(self, X: ArrayLike) -> Floats:
        """Return rows in this space, over the root of their number of features, shape (n_rows, n_features)."""
        rows = matrix(X)
        if rows.shape[1] != len(self.size):
            raise InputError(f"X must have {len(self.size)} features, got {rows.shape[1]}")
        placed: Floats = (np.arcsinh(rows / self.size) - self.center) / self.spread
        placed /= np.sqrt(rows.shape[1])
        return placed


def matrix(X: ArrayLike) -> Floats:
    """Return rows as a finite matrix, shape (n_rows, n_features).

    Raises
    ------
    InputError
        If there are no rows, or a value is not finite.
    """
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise InputError(f"X must have shape (n_rows, n_features) with some rows, got {rows.shape}")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise InputError(f"X must be finite, row {row} has {rows[row, column]} in column {column}: impute it")
    return rows


def mean_distance(points: Floats, reference: Floats, neighbours: int) -> Floats:
    """Return the mean distance to the nearest reference rows."""
    from sklearn.neighbors import NearestNeighbors

    wanted = min(neighbours, len(reference))
    search = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(reference)
    distances: Floats = search.kneighbors(points)[0].mean(axis=1)
    return distances


def to_others(
    placed: Floats, reference: Floats, codes: NDArray[np.intp], kept: NDArray[np.intp], neighbours: int
) -> Floats:
    """Return the mean distance of each row to the nearest reference rows of other groups."""
    distances = np.empty(len(placed))
    for code in range(int(codes.max()) + 1):
        mine = codes == code
        distances[mine] = mean_distance(placed[mine], reference[codes[kept] != code], neighbours)
    return distances


@dataclass(frozen=True)
class Domain:
    """The region that training runs cover; rows farther away than the threshold are flagged.

    The distance of a row is the mean over the nearest training runs, root mean square over the features of a
    `FeatureSpace`: 1 is one standard deviation in every metric.

    Parameters
    ----------
    space : FeatureSpace
    reference : ndarray, shape (n_reference, n_features)
        Training runs in that space, at most 4,000 drawn evenly from all groups.
    threshold : float
        Rows with a larger distance are out of the domain; negative if nothing is inside.
    neighbours : int
        Training runs in the mean.
    """

    space: FeatureSpace
    reference: Floats
    threshold: float
    neighbours: int

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        errors: ArrayLike | None = None,
        tolerance: float = 0.3,
        flag_rate: float = 0.05,
        neighbours: int = 3,
        seed: int = 0,
    ) -> Domain:
        """Learn the region and its threshold.

        There are three ways to set the threshold:

        - `X` alone: a share `flag_rate` of rows like those of training is flagged (leave-one-out distances).
        - with `groups`: distances are to runs of other groups, so that `flag_rate` of the rows of a new group like
          those of training are flagged; each group weighs the same.
        - with `groups` and `errors`: the largest distance up to which most groups are predicted, that is, have a
          median error within `tolerance`. Most means that as many would be predicted in one case of ten if a half were
          (a sign test): four of four, or seven of nine. It is a rule and no promise, as many distances are tried. Where
          the model generalises nowhere, or too few groups were seen to tell, every row is flagged.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_features)
            Training rows, finite.
        groups : array_like, shape (n_rows,), optional
            Application or kernel of each row.
        errors : array_like, shape (n_rows,), optional
            Error of each row by a model that had not seen its group, such as the absolute percentage error.
        tolerance : float
            Error that may still be called a prediction, in the unit of `errors`.
        flag_rate : float
            Share of rows like those of training that may be flagged.
        neighbours : int
            Nearest runs whose distance is averaged.
        seed : int
            Of the draw of reference runs.

        Raises
        ------
        InputError
            If there are fewer than two rows or groups, errors without groups, or a number out of range.

        Examples
        --------
        >>> X = np.random.default_rng(0).normal(size=(200, 4))
        >>> domain = Domain.fit(X)
        >>> domain.flags([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]])
        array([False,  True])
        """
        rows = matrix(X)
        if not 0 < flag_rate < 1:
            raise InputError(f"flag_rate must be between 0 and 1, got {flag_rate}")
        if neighbours < 1:
            raise InputError(f"neighbours must be at least 1, got {neighbours}")
        if len(rows) < 2:
            raise InputError(f"a domain needs at least two rows, got {len(rows)}")
        if errors is not None and groups is None:
            raise InputError("errors need groups: pass the application of each row")
        labels = np.arange(len(rows)).astype(str) if groups is None else np.asarray(groups).astype(str)
        if labels.shape != (len(rows),):
            raise InputError(f"groups must have shape ({len(rows)},), got {labels.shape}")
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            raise InputError("a domain by groups needs at least two of them, there is one")
        rng = np.random.default_rng(seed)
        space = FeatureSpace.fit(rows)
        placed = space.transform(rows)
        kept = spread_evenly(codes, ROWS, rng)
        reference = placed[kept]
        distances = np.empty(len(rows))
        if groups is None:
            # the row itself is among the references: ask for one more and take its zero out
            wanted = min(neighbours, len(kept) - 1)
            distances[kept] = mean_distance(reference, reference, wanted + 1) * (wanted + 1) / wanted
            tested = kept
        else:
            distances = to_others(placed, reference, codes, kept, neighbours)
            tested = np.arange(len(rows))
        weights = (1.0 / np.bincount(codes))[codes]
        if errors is None:
            threshold = _weighted_quantile(distances[tested], weights[tested], 1.0 - flag_rate)
        else:
            threshold = _threshold_by_error(distances, errors, codes, tolerance)
        return cls(space, reference, threshold, neighbours)

    def distances(self, X: ArrayLike) -> Floats:
        """Return how far rows are from the training runs, shape (n_rows,)."""
        return mean_distance(self.space.transform(X), self.reference, self.neighbours)

    def flags(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return which rows are out of the domain, shape (n_rows,)."""
        return np.asarray(self.distances(X) > self.threshold)


def spread_evenly(codes: NDArray[np.intp], rows: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose rows, as many of each group as can be had."""
    if len(codes) <= rows:
        return np.arange(len(codes))
    shuffled = rng.permutation(len(codes))
    by_group = shuffled[np.argsort(codes[shuffled], kind="stable")]
    counts = np.bincount(codes)
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_group[np.argsort(rank, kind="stable")[:rows]])


def _weighted_quantile(values: Floats, weights: Floats, level: float) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    place = min(int(np.searchsorted(total, level * total[-1])), len(values) - 1)
    return float(values[order][place])


def _threshold_by_error(
    distances: Floats, errors: ArrayLike, codes: NDArray[np.intp], tolerance: float
) -> float:
    from scipy.stats import binom

    wrong = np.asarray(errors, dtype=np.float64)
    if wrong.shape != distances.shape:
        raise InputError(f"errors must have shape {distances.shape}, got {wrong.shape}: one a row")
    if not np.isfinite(wrong).all():
        raise InputError("errors must be finite")
    if not tolerance > 0:
        raise InputError(f"tolerance must be above 0, got {tolerance}")
    right = np.abs(wrong) <= tolerance
    tried = np.unique(np.quantile(distances, np.linspace(0.0, 1.0, _STEPS), method="inverted_cdf"))
    for distance in tried[::-1]:
        near = distances <= distance
        rows, good = (np.bincount(codes[here]) for here in (near, near & right))
        good = np.pad(good, (0, len(rows) - len(good)))[rows > 0]
        rows = rows[rows > 0]
        predicted = int((2 * good >= rows).sum())
        if binom.sf(predicted - 1, len(rows), 0.5) <= _DOUBT:
            return float(distance)
    return -1.0
