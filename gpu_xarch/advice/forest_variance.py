"""Variance of a random forest's prediction by the infinitesimal jackknife.

Plain NumPy on top of a fitted scikit-learn forest (Wager, Hastie and Efron, JMLR 15, 1625, 2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_xarch.errors import InputError

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

__all__ = ["forest_std", "forest_variance", "in_bag_counts", "tree_predictions"]

_CHUNK = 10_000
Floats = NDArray[np.float64]


def in_bag_counts(forest: RandomForestRegressor) -> NDArray[np.uint16]:
    """Return how often each training row is in the bag of each tree.

    scikit-learn does not keep the counts; its public property `estimators_samples_` draws them again from the
    random states of the trees. Every tree holds the number of rows it saw, which is compared: should a later
    version draw in another way, or the forest have been grown on several data sets (`warm_start`), this fails
    instead of returning the wrong counts.

    Returns
    -------
    ndarray of uint16, shape (n_samples, n_trees)

    Raises
    ------
    InputError
        If the forest is not fitted, has no bootstrap, or its counts cannot be drawn again.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> forest = RandomForestRegressor(3, random_state=0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
    >>> in_bag_counts(forest).sum(axis=0)
    array([3, 3, 3], dtype=uint64)
    """
    trees = getattr(forest, "estimators_", None)
    if trees is None:
        raise InputError("the forest is not fitted: call fit(X, y) first")
    if not getattr(forest, "bootstrap", False):
        raise InputError("the forest was fitted with bootstrap=False, the jackknife needs bootstrap=True")
    drawn = forest.estimators_samples_
    n_samples = int(forest._n_samples)
    counts = np.empty((n_samples, len(trees)), dtype=np.uint16)
    for number, (tree, rows) in enumerate(zip(trees, drawn, strict=True)):
        counts[:, number] = np.bincount(rows, minlength=n_samples)
        seen = int(tree.tree_.n_node_samples[0])
        if np.count_nonzero(counts[:, number]) != seen:
            raise InputError(
                f"tree {number} saw {seen} rows, its random state draws"
                f" {np.count_nonzero(counts[:, number])}: fit the forest in one go, without warm_start,"
                " and with the scikit-learn that loads it"
            )
    return counts


def tree_predictions(
    forest: RandomForestRegressor, X: ArrayLike, *, n_jobs: int | None = None
) -> NDArray[np.float64]:
    """Return what each tree predicts, shape (n_points, n_trees).

    Parameters
    ----------
    forest : RandomForestRegressor
        Fitted, with one output.
    X : array_like, shape (n_points, n_features)
    n_jobs : int, optional
        Threads; the trees release the interpreter while they predict.

    Raises
    ------
    InputError
        If the forest is not fitted or has several outputs, or `X` does not fit it.
    """
    trees = getattr(forest, "estimators_", None)
    if trees is None:
        raise InputError("the forest is not fitted: call fit(X, y) first")
    if forest.n_outputs_ != 1:
        raise InputError(f"the forest has {forest.n_outputs_} outputs: fit one forest for each target")
    points = np.ascontiguousarray(X, dtype=np.float32)  # what trees work in, converted once for all of them
    if points.ndim != 2 or points.shape[1] != forest.n_features_in_:
        raise InputError(
            f"X must have shape (n_points, {forest.n_features_in_}), got {points.shape}: pass one row a point"
        )
    found = np.empty((len(points), len(trees)))

    def fill(number: int) -> None:
        found[:, number] = trees[number].tree_.predict(points).reshape(len(points))

    if n_jobs is None or n_jobs == 1:
        for number in range(len(trees)):
            fill(number)
    else:
        from joblib import Parallel, delayed

        Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(fill)(i) for i in range(len(trees)))
    return found


def forest_variance(
    forest: RandomForestRegressor,
    X: ArrayLike,
    *,
    corrected: bool = True,
    n_jobs: int | None = None,
    counts: NDArray[np.integer[Any]] | None = None,
) -> Floats:
    r"""Return the infinitesimal-jackknife variance of a forest's predictions.

    With N_ib the in-bag count of training row i in tree b, t_b the prediction of tree b, and B trees,

    .. math:: V = \sum_i \operatorname{Cov}_b(N_{ib}, t_b)^2 - \frac{n}{B^2} v \sum_b (t_b - \bar t)^2,

    where the second term removes the noise that a finite number of trees adds, and v is the variance of the
    in-bag counts over the trees, averaged over the rows (1 for an infinite forest). The sum over training rows is the
    quadratic form of the B x B matrix of the counts' products, so no array of n_samples x n_points is made:
    10,000 points, 100 trees and 22,603 rows take some 50 MB beside the forest.

    Parameters
    ----------
    forest : RandomForestRegressor
        Fitted with bootstrap.
    X : array_like, shape (n_points, n_features)
    corrected : bool
        Subtract the noise of the finite number of trees. The result can then be negative, which says no more
        than "small against the noise"; `forest_std` cuts it at 0.
    n_jobs : int, optional
        Threads for the trees.
    counts : ndarray of int, shape (n_samples, n_trees), optional
        `in_bag_counts(forest)`, where the caller has them.

    Returns
    -------
    ndarray, shape (n_points,)
        In the unit of the target, squared.

    Raises
    ------
    InputError
        As `in_bag_counts` and `tree_predictions`.

    References
    ----------
    Wager, Hastie, Efron, JMLR 15 (2014) 1625, Eqs. 5 and 7; the factor v as in the package forestci.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> forest = RandomForestRegressor(200, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(forest_variance(forest, [[0.99]])[0] > forest_variance(forest, [[0.05]])[0])
    True
    """
    bags = (in_bag_counts(forest) if counts is None else np.asarray(counts)).astype(np.float64)
    n_samples, n_trees = bags.shape
    if n_trees != len(forest.estimators_):
        raise InputError(f"counts must have {len(forest.estimators_)} columns, one a tree, got {n_trees}")
    # predictions are centred below, so centring the counts changes nothing but the rounding
    bags -= bags.mean(axis=1, keepdims=True)
    products = bags.T @ bags
    spread = float(np.trace(products)) / (n_samples * n_trees)
    del bags
    points = np.asarray(X)
    variance = np.empty(len(points))
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        centred = tree_predictions(forest, points[part], n_jobs=n_jobs)
        centred -= centred.mean(axis=1, keepdims=True)
        variance[part] = np.einsum("pb,pb->p", centred @ products, centred) / n_trees**2
        if corrected:
            noise = np.einsum("pb,pb->p", centred, centred) / n_trees
            variance[part] -= n_samples * spread * noise / n_trees
    return variance


def forest_std(forest: RandomForestRegressor, X: ArrayLike, *, n_jobs: int | None = None) -> Floats:
    """Return the square root of `forest_variance`, in the unit of the target; 0 where that is negative."""
    return np.sqrt(np.maximum(forest_variance(forest, X, n_jobs=n_jobs), 0.0))
