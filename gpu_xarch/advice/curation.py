"""Which runs to profile on the target GPU: pool-based active learning with a random forest.

The pool holds the metrics of every run on the source GPU. A batch of runs is chosen, profiled on the target, and
added to the training set; a forest fitted on it says where the next batch is to come from. `query` chooses one
batch, `curate` goes on until the training set has the wanted size, and `expected_gain` says before any profiling
what a batch should bring. `gpu_xarch.advice.learning_curves` compares the training sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_xarch.advice.forest_variance import forest_std, forest_variance
from gpu_xarch.errors import InputError
from gpu_xarch.learning.domain import FeatureSpace

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

__all__ = [
    "STRATEGIES",
    "Gain",
    "acquisition_forest",
    "curate",
    "expected_gain",
    "first_batch",
    "query",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
STRATEGIES = ("variance", "diversity", "density", "random")
_BATCH = 250
_FEWEST = 20
_REFERENCE = 2000
_BLOCK = 1000


def acquisition_forest(
    *, seed: int = 0, n_trees: int = 100, n_jobs: int | None = None
) -> RandomForestRegressor:
    """Return the forest whose variance says what to profile next, not fitted.

    It looks at the root of the number of metrics at each split. On 116 metrics that takes a third of the time of
    a third of them, at the same error.
    """
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_trees, max_features="sqrt", random_state=seed, n_jobs=n_jobs)


def query(
    strategy: str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int = _BATCH,
    forest: RandomForestRegressor | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> tuple[Indices, Floats]:
    """Choose the runs to profile next.

    Parameters
    ----------
    strategy : str
        - "variance": the runs of the largest jackknife variance (`forest_variance`).
        - "diversity": one run after the other, each the farthest from all that are chosen (k-center).
        - "density": the variance times how close other runs of the pool are, so that it does not go to strays.
        - "random": picks at random, to compare with.
    X : array_like, shape (n_samples, n_features)
        Metrics of every run on the source GPU.
    y : array_like, shape (n_samples,)
        The metric on the target GPU, NaN where it is not known: these are the candidates.
    batch_size : int
        Runs to choose; if fewer candidates are left, all of them.
    forest : RandomForestRegressor, optional
        Fitted on the known rows; else an `acquisition_forest` is fitted.
    seed : int
        Of the forest, of ties and of random picks.
    n_jobs : int, optional
        Threads of the forest.

    Returns
    -------
    indices : ndarray of int, shape (batch_size,)
        Rows of `X`, best first.
    utilities : ndarray, shape (n_samples,)
        What the strategy thought of each candidate when it was picked, or at the end if it was not; NaN for
        known rows. As in scikit-activeml, larger is better.

    Raises
    ------
    InputError
        If the strategy is unknown, shapes differ, nothing is left to choose, or too little is known to fit a forest.

    References
    ----------
    Wager, Hastie, Efron, JMLR 15 (2014) 1625 (variance); Sener, Savarese, ICLR 2018, and Yu, Kim, IJCAI 2010
    (diversity); Settles, Craven, EMNLP 2008, Eq. 12 (density).

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0]])
    >>> query("diversity", X, [1.0, np.nan, np.nan, np.nan], batch_size=1)[0]
    array([3])
    """
    rows, known, labels = _check(strategy, X, y, batch_size)
    rng = np.random.default_rng(seed)
    candidates = np.flatnonzero(~known)
    n = min(batch_size, len(candidates))
    utilities = np.full(len(rows), np.nan)
    if strategy == "random":
        utilities[candidates] = rng.random(len(candidates))
    elif strategy == "diversity":
        return _farthest(rows, known, n, utilities, rng)
    else:
        if forest is None:
            if known.sum() < 2:
                raise InputError(f"{strategy} needs at least two known rows, there are {known.sum()}")
            forest = acquisition_forest(seed=seed, n_jobs=n_jobs).fit(rows[known], labels[known])
        found = forest_variance(forest, rows[candidates], n_jobs=n_jobs)
        if strategy == "density":
            found = np.maximum(found, 0.0) * _density(rows, candidates, rng)
        utilities[candidates] = found
    ties = rng.permutation(len(candidates))
    best = ties[np.argsort(-utilities[candidates[ties]], kind="stable")[:n]]
    return candidates[best], utilities


def _check(
    strategy: str, X: ArrayLike, y: ArrayLike, batch_size: int
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {strategy!r}: there are {', '.join(STRATEGIES)}")
    rows, labels = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or labels.shape != (len(rows),):
        raise InputError(
            f"X must have shape (n_samples, n_features) and y (n_samples,), got {rows.shape} and {labels.shape}"
        )
    if not np.isfinite(rows).all():
        raise InputError("X must be finite: leave out metrics that some runs lack, or impute them")
    if batch_size < 1:
        raise InputError(f"the batch must have at least one run, got {batch_size}")
    known = ~np.isnan(labels)
    if known.all():
        raise InputError("every run is known on the target already: there is nothing to choose from")
    return rows, known, labels


def _nearest_known(points: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return squared distances of points to the nearest known row."""
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    norms = np.einsum("ij,ij->i", points, points)
    for start in range(0, len(known), _BLOCK):
        block = known[start : start + _BLOCK]
        squares = norms[:, None] - 2 * points @ block.T + np.einsum("ij,ij->i", block, block)
        np.minimum(nearest, squares.min(axis=1), out=nearest)
    return np.maximum(nearest, 0)


def _farthest(
    rows: Floats, known: NDArray[np.bool_], n: int, utilities: Floats, rng: np.random.Generator
) -> tuple[Indices, Floats]:
    placed = FeatureSpace.fit(rows).transform(rows).astype(np.float32)
    candidates = np.flatnonzero(~known)
    points = placed[candidates]
    # with nothing known the first pick is the row nearest to the middle
    middle = -np.einsum("ij,ij->i", points, points)
    nearest = _nearest_known(points, placed[known]) if known.any() else middle
    chosen = np.empty(n, dtype=np.intp)
    left = np.ones(len(points), dtype=bool)
    for place in range(n):
        ties = np.flatnonzero(left & (nearest == nearest[left].max()))
        pick = int(rng.choice(ties))
        chosen[place] = pick
        left[pick] = False
        utilities[candidates[pick]] = np.sqrt(abs(nearest[pick]))
        if place == 0 and not known.any():
            nearest = np.full(len(points), np.inf, dtype=np.float32)
        difference = points - points[pick]
        np.minimum(nearest, np.einsum("ij,ij->i", difference, difference), out=nearest)
    utilities[candidates[left]] = np.sqrt(nearest[left])
    return candidates[chosen], utilities


def _density(rows: Floats, candidates: Indices, rng: np.random.Generator) -> Floats:
    """Return how close the pool is to each candidate, from 0 to 1: the mean similarity to a draw of it."""
    placed = FeatureSpace.fit(rows).transform(rows).astype(np.float32)
    drawn = placed[rng.permutation(len(rows))[:_REFERENCE]]
    total = np.zeros(len(candidates))
    points = placed[candidates]
    norms = np.einsum("ij,ij->i", points, points)
    for start in range(0, len(drawn), _BLOCK):
        block = drawn[start : start + _BLOCK]
        squares = norms[:, None] - 2 * points @ block.T + np.einsum("ij,ij->i", block, block)
        total += (1.0 / (1.0 + np.sqrt(np.maximum(squares, 0)))).sum(axis=1)
    return total / len(drawn)


def first_batch(size: int) -> int:
    """Return how many runs to draw at random before a forest is asked: a third of the set, from 20 to 250.

    The published first batch has 250. On a small pool a forest fitted on a handful of runs misjudges where it
    errs, and the set stays worse than a random one.

    Examples
    --------
    >>> first_batch(6781), first_batch(300), first_batch(31), first_batch(12)
    (250, 100, 20, 12)
    """
    return min(_BATCH, max(_FEWEST, size // 3), size)


def curate(
    X: ArrayLike,
    y: ArrayLike,
    size: int,
    *,
    strategy: str = "variance",
    batch_size: int | None = None,
    initial: int | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Indices:
    """Grow a training set from a pool whose answers are known, batch by batch.

    The forest is fitted from scratch for each batch: the jackknife needs every tree to have drawn from
    the same rows, so trees of earlier batches cannot be kept.

    Parameters
    ----------
    X, y : array_like, shapes (n_pool, n_features) and (n_pool,)
        `y` is looked at for chosen rows only.
    size : int
        Runs to choose.
    strategy : str
        One of `STRATEGIES`.
    batch_size, initial : int, optional
        Runs in a batch, and in the random first one; 250 as published where they fit. On a small pool a tenth of
        `size`, and `first_batch(size)`.
    seed : int
        The first rows depend on it alone, so strategies start from the same ones.
    n_jobs : int, optional
        Threads of the forest.
    on_batch : callable, optional
        Called with the runs chosen so far and `size`.

    Returns
    -------
    ndarray of int, shape (size,)
        Rows in the order in which they were chosen: its beginning is the training set of a smaller size.

    Raises
    ------
    InputError
        As `query`, or if the size is out of range.
    """
    answers = np.asarray(y, dtype=np.float64)
    if not 2 <= size <= len(answers):
        raise InputError(f"the size must be from 2 to the {len(answers)} runs of the pool, got {size}")
    if not np.isfinite(answers).all():
        raise InputError("y must be finite: the pool of `curate` has an answer for every run")
    batch = min(_BATCH, max(size // 10, 1)) if batch_size is None else batch_size
    first = first_batch(size) if initial is None else initial
    if not 2 <= first <= size:
        raise InputError(f"the first batch must have 2 to {size} runs, got {first}")
    shown = np.full(len(answers), np.nan)
    order = np.random.default_rng(seed).permutation(len(answers))[:first]
    number = 0
    while len(order) < size:
        shown[order] = answers[order]
        number += 1
        wanted = min(batch, size - len(order))
        picked, _ = query(strategy, X, shown, batch_size=wanted, seed=seed + 1000 * number, n_jobs=n_jobs)
        order = np.concatenate([order, picked])
        if on_batch is not None:
            on_batch(len(order), size)
    return order


@dataclass(frozen=True)
class Gain:
    """What profiling a batch should bring, before anything is measured.

    Parameters
    ----------
    before, after : float
        Mean standard deviation of the prediction over all candidates, unit of the target: now, and once the
        batch is known.
    random : float
        The same after as many random runs.
    """

    before: float
    after: float
    random: float


def expected_gain(
    X: ArrayLike,
    y: ArrayLike,
    picks: ArrayLike,
    *,
    repeats: int = 5,
    n_trees: int = 100,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Gain:
    """Estimate how far a batch brings the uncertainty of the candidates down.

    The picks get what the forest predicts for them in place of a measurement, a forest is fitted again, and
    the standard deviation of its prediction is averaged over all candidates; the same for random picks; both
    averaged over seeds. Intervals that are proportional to the standard deviation shrink in proportion. A
    measurement that surprises the forest changes more than this says: it is a forecast, not a bound.

    Parameters
    ----------
    X, y : array_like
        As in `query`.
    picks : array_like of int
        Rows to be profiled.
    repeats : int
        Forests to average over.
    n_trees : int
        Trees in each.
    seed : int
        Of the first forest.
    n_jobs : int, optional
        Threads.

    References
    ----------
    Ginsbourger, Le Riche, Carraro, 2010 ("kriging believer"), doi:10.1007/978-3-642-10701-6_6
    """
    rows, known, labels = _check("variance", X, y, 1)
    if known.sum() < 2:
        raise InputError(f"the gain needs at least two known rows, there are {known.sum()}")
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    candidates = np.flatnonzero(~known)
    chosen = np.asarray(picks, dtype=np.intp)
    levels = np.zeros(3)
    for number in range(repeats):
        make = acquisition_forest(seed=seed + number, n_trees=n_trees, n_jobs=n_jobs)
        now = make.fit(rows[known], labels[known])
        levels[0] += forest_std(now, rows[candidates], n_jobs=n_jobs).mean()
        drawn = np.random.default_rng([seed, number]).permutation(candidates)[: len(chosen)]
        for place, batch in ((1, chosen), (2, drawn)):
            more = acquisition_forest(seed=seed + number, n_trees=n_trees, n_jobs=n_jobs)
            train = np.concatenate([np.flatnonzero(known), batch])
            more.fit(rows[train], np.concatenate([labels[known], now.predict(rows[batch])]))
            levels[place] += forest_std(more, rows[candidates], n_jobs=n_jobs).mean()
    before, after, random = (float(level) for level in levels / repeats)
    return Gain(before, after, random)
