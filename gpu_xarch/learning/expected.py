"""How far off a prediction is likely to be, learnt from the errors on groups left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_xarch.errors import InputError
from gpu_xarch.learning.domain import ROWS, FeatureSpace, matrix, mean_distance, spread_evenly, to_others

__all__ = ["ExpectedError"]

Floats = NDArray[np.float64]

# What halving and doubling each of these does on suites left out stands in
# benchmarks/results/xarch_intervals_sensitivity.csv: the score of intervals (width, and 20 times what lies outside;
# Gneiting and Raftery 2007, doi:10.1198/016214506000001437) moves from 1.70 to between 1.63 and 1.84, the rank
# correlation of typical and true errors from 0.47 to between 0.43 and 0.48.
#: trees that learn errors, rows of a leaf, share of the features at a split, and folds of groups
_TREES, _LEAF, _SHARE, _FOLDS = 200, 5, 0.33, 5
#: training rows in the mean distance of a row to them, and the least distance that is usual, which keeps ratios finite
_NEIGHBOURS, _LEAST_DISTANCE = 3, 1e-6
#: share of the median error that every prediction may be off by
_FLOOR = 1.0
#: of a typical error: least distance over the usual one that counts, least doubt, and an error that is as good as none
_NEAREST, _LEAST_DOUBT, _NO_ERROR = 0.5, 0.02, 0.02


@dataclass(frozen=True)
class ExpectedError:
    """How far off a prediction is likely to be, learnt from the errors on groups left out.

    Trees tell where in the features errors were large; they do not extrapolate, so that a row farther from the training
    rows than these usually are from those of other groups is expected to be off by as many times more. That is the mean
    error, by which intervals are wide or narrow. Trees and distances go by `domain.ROWS` training rows at most, as
    many of each group as can be had, so that the cost does not grow with them.

    A typical error, which tells rows apart, also follows how much the model itself doubts a row: the root of what
    the trees expect times that doubt, times the distance, in proportion to the training rows.

    Parameters
    ----------
    space : FeatureSpace
    trees : sklearn estimator
        Expects the absolute error of the logarithm.
    reference : ndarray, shape (n_reference, n_features)
        Training rows in that space.
    usual : float
        Median distance of training rows to those of other groups.
    known, known_typical : ndarray, shape (n_rows,)
        What is expected at the training rows by trees that had not seen their group: mean and typical error.
    floor : float
        Added to what is expected.
    level : float
        What a typical error is in proportion to.
    """

    space: FeatureSpace
    trees: Any
    reference: Floats
    usual: float
    known: Floats
    known_typical: Floats
    floor: float
    level: float

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        errors: ArrayLike,
        groups: ArrayLike,
        *,
        doubt: ArrayLike | None = None,
        seed: int = 0,
    ) -> ExpectedError:
        """Learn from rows.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_features)
        errors : array_like, shape (n_rows,)
            Absolute errors of the logarithm.
        groups : array_like, shape (n_rows,)
        doubt : array_like, shape (n_rows,), optional
            How uncertain the model says that it is of each row, in the logarithm.
        seed : int
            Of the trees.

        Raises
        ------
        InputError
            If shapes differ or a value is not finite.

        Examples
        --------
        >>> X = np.repeat(np.linspace(0, 1, 40), 3)[:, None]
        >>> learnt = ExpectedError.fit(X, X[:, 0] > 0.5, np.repeat(np.arange(40), 3))
        >>> bool(learnt.expected([[0.9]])[0] > 3 * learnt.expected([[0.1]])[0])
        True
        """
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.model_selection import GroupKFold

        rows, wrong = matrix(X), np.asarray(errors, dtype=np.float64)
        if wrong.shape != (len(rows),) or not np.isfinite(wrong).all():
            raise InputError(f"errors must be finite, one a row of X, got {wrong.shape} for {len(rows)} rows")
        names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
        space = FeatureSpace.fit(rows)
        placed = space.transform(rows)
        trees = ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, max_features=_SHARE, random_state=seed)
        kept = spread_evenly(codes, ROWS, np.random.default_rng(seed))
        usual, told, far = np.inf, np.full(len(rows), float(wrong.mean())), np.ones(len(rows))
        if len(names) > 1:
            apart = to_others(placed, placed[kept], codes, kept, _NEIGHBOURS)
            usual = max(float(np.median(apart)), _LEAST_DISTANCE)
            far = apart / usual
            for others, fold in GroupKFold(min(_FOLDS, len(names))).split(placed, groups=codes):
                learnt = np.intersect1d(others, kept)
                told[fold] = trees.fit(placed[learnt], wrong[learnt]).predict(placed[fold])
        typical = _typical(told, far, doubt)
        ratios = np.log((wrong + _NO_ERROR) / typical)
        level = float(np.exp(np.average(ratios, weights=(1.0 / np.bincount(codes))[codes])))
        return cls(
            space,
            trees.fit(placed[kept], wrong[kept]),
            placed[kept],
            usual,
            told * np.maximum(far, 1.0),
            level * typical,
            _FLOOR * float(np.median(wrong)) + 1e-3,
            level,
        )

    def expected(self, X: ArrayLike) -> Floats:
        """Return the mean absolute error of the logarithm that is expected, shape (n_rows,)."""
        told, far = self._parts(X)
        expected: Floats = told * np.maximum(far, 1.0)
        return expected

    def typical(self, X: ArrayLike, doubt: ArrayLike | None = None) -> Floats:
        """Return the typical absolute error of the logarithm, shape (n_rows,); `doubt` as it was fitted."""
        return self.level * _typical(*self._parts(X), doubt)

    def _parts(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """Return what the trees expect, and distances over the usual one, each of shape (n_rows,)."""
        placed = self.space.transform(X)
        return self.trees.predict(placed), mean_distance(placed, self.reference, _NEIGHBOURS) / self.usual


def _typical(told: Floats, far: Floats, doubt: ArrayLike | None) -> Floats:
    """Return what a typical error is in proportion to, shape (n_rows,)."""
    learnt = told + _LEAST_DOUBT
    unsure = learnt if doubt is None else np.asarray(doubt, dtype=np.float64) + _LEAST_DOUBT
    typical: Floats = np.sqrt(learnt * unsure) * np.maximum(far, _NEAREST)
    return typical
