"""The default: the mechanism, half of what trees and a support vector machine make of its errors, and a judge.

`Boosting` beside it learns log(new / old) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from gpu_xarch.models.features import make_features
from gpu_xarch.models.mechanism import Mechanism, offset_of, weights_of
from gpu_xarch.models.sheets import is_sheet_column
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpu_xarch.models.problem import Problem

    Floats = NDArray[np.float64]

__all__ = ["Auto", "Boosting", "offset_of"]


#: folds of the judge; rows beyond which it and the machine, whose cost grows with the square, look at some alone
FOLDS, LARGE = 5, 1000
#: groups that the errors everywhere count for beside those nearby; how near that is, over the usual distance between
#: groups; error of a rival over the best at which it is left out. With 1 or 3 groups and a reach of 0.7 or 1 the mean
#: error of IPC on SDK and Rodinia, applications left out, stays within half a percent; on PolyBench, whose programs are
#: variants of each other, it is 0.048 (1 and 0.7) to 0.063 (3 and 1)
PRIOR_GROUPS, REACH, SPOILS = 1, 0.7, 1.5
#: errors of the logarithm that are believed of the members before groups left out are seen, and groups that this counts
#: for; about those on SDK, Rodinia and three Teslas. A larger error than `MOST_ERROR` says no more than that one
BELIEVED, BELIEF_GROUPS, MOST_ERROR = (0.2, 0.35, 0.5, 0.2), 3, 1.0
#: share of the data sheets' ratio in the logarithm, the mechanism's the rest, on a GPU without training rows: with 0,
#: 0.1, 0.2 and 0.3 the median error of IPC on a K20, K40 or P100 never seen is 14.2, 14.9, 16.2 and 18.4 %, that of the
#: throughput 33.6, 33.1, 30.7 and 28.3 %, and the mean error of IPC 0.193, 0.185, 0.179 and 0.174
STRANGE = 0.15
#: largest correction, a factor of e squared; tube and kernel width of the machine; neighbours of a distance
MOST_LEFT, TUBE, GAMMA, NEIGHBOURS = 2.0, 0.05, 0.01, 3


class Boosting(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Gradient boosting of small trees on the absolute error of log((new + e) / (old + e)).

    `e` is a thousandth of the median of the new values. Without an old value (same GPU) the logarithm of the
    value itself is learnt.

    Parameters
    ----------
    problem : Problem
    max_iter, max_leaf_nodes, min_samples_leaf, learning_rate :
        As in `sklearn.ensemble.HistGradientBoostingRegressor`.
    seed : int
    """

    def __init__(
        self,
        problem: Problem,
        *,
        max_iter: int = 150,
        max_leaf_nodes: int = 8,
        min_samples_leaf: int = 5,
        learning_rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.problem = problem
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.learning_rate = learning_rate
        self.seed = seed

    def _old(self, X: pd.DataFrame) -> Floats:
        return np.ones(len(X)) if self.problem.same_gpu else self.problem.old(X)

    def fit(
        self, X: pd.DataFrame, y: Floats, *, groups: Sequence[str] | None = None, on_step: OnStep = silent
    ) -> Boosting:
        """Learn from the runs of both GPUs; `groups` does not matter here."""
        self.offset_ = offset_of(y)
        ratio = np.log((np.maximum(y, 0.0) + self.offset_) / (self._old(X) + self.offset_))
        self.estimator_ = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            learning_rate=self.learning_rate,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        ).fit(features_of(self.problem, X).to_numpy(float), ratio)
        on_step(1, 1)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions within what is possible, shape (n_runs,)."""
        ratio = self.estimator_.predict(features_of(self.problem, X).to_numpy(float))
        new = np.exp(ratio) * (self._old(X) + self.offset_) - self.offset_
        clipped: Floats = np.clip(new, 0.0, self.problem.cap_of(X))
        return clipped


def features_of(problem: Problem, X: pd.DataFrame) -> pd.DataFrame:
    """Return features of a pair of GPUs; of several, those that are the source's alone and the data sheets."""
    metrics = X[[name for name in X.columns if not is_sheet_column(name)]]
    dest = None if problem.same_gpu else problem.spec("dest")
    found = make_features(metrics, source=problem.spec("source"), dest=dest)
    sheets = {name: np.log(X[name]) for name in X.columns if is_sheet_column(name)}
    return found.assign(**sheets)


class Auto(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The default: a mechanism, what is left learnt in the logarithm, and old = new and the data sheets as rivals.

    Extremely randomised trees (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1) and a support vector machine
    learn the logarithm of value over mechanism, from features that mean the same on every GPU. Of their mean
    2 b / (1 + f^4), at most 1, is taken, with b the `belief` and f how far a run is from the training runs, over how
    far those of different groups are from each other: where nothing speaks for a correction there is none. On
    groups left out of the training rows the result competes with the mechanism alone, the data sheets' ratio and
    old = new. The prediction is the mean of the four in the logarithm, weighted by error to the power -`severity`,
    without those that err half as much again as the best. Errors are those everywhere and those nearby, which
    count the more the more groups are near: among variants of one program what is learnt may win, elsewhere the
    mechanism. Few groups move what is believed of the members beforehand (`BELIEVED`) only a little.

    Where one model is of all pairs of GPUs, nothing tells how what is learnt carries over to a GPU that it has never
    seen: there the mechanism goes a little way towards the data sheets, and nothing else has a part.

    Where the mechanism has nothing to go by, trees and machine learn log(value / old) from all metrics. For one GPU
    alone there is no old value: the default is the forest there.

    Parameters
    ----------
    problem : Problem
    belief : float
        Share of the learnt correction that is taken at the usual distance from the training runs, 0 to 1.
    stiffness : float
        As in `Mechanism`.
    severity : float
        How hard a rival that errs more is put down.
    n_estimators : int
        Trees.
    penalty : float
        Of the support vector machine, its C.
    seed, n_jobs : int
    """

    def __init__(
        self,
        problem: Problem,
        *,
        belief: float = 0.5,
        stiffness: float = 4.0,
        severity: float = 4.0,
        n_estimators: int = 200,
        penalty: float = 0.3,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.problem = problem
        self.belief = belief
        self.stiffness = stiffness
        self.severity = severity
        self.n_estimators = n_estimators
        self.penalty = penalty
        self.seed = seed
        self.n_jobs = n_jobs

    def fit(
        self, X: pd.DataFrame, y: Floats, *, groups: Sequence[str] | None = None, on_step: OnStep = silent
    ) -> Auto:
        """Learn from the runs of both GPUs.

        Parameters
        ----------
        X : pandas.DataFrame, shape (n_runs, n_metrics)
        y : ndarray, shape (n_runs,)
        groups : sequence of str, length n_runs, optional
            Application or kernel of each run, to judge by what is predicted of others. Without it, and with
            fewer than two, the rivals take no part.
        """
        self._fit_parts(X, y, groups, self.n_estimators)
        self.gpus_ = np.unique(np.concatenate(_gpus(X)), axis=0)
        self.errors_: Floats | None = None
        if groups is not None and len(set(groups)) > 1:
            self.errors_, self.share_ = self._judge(X, y, np.asarray(groups, dtype=str))
        on_step(1, 1)
        return self

    def _fit_parts(self, X: pd.DataFrame, y: Floats, groups: Sequence[str] | None, n_estimators: int) -> None:
        """Fit the mechanism and the learners of what it leaves."""
        self.mechanism_ = Mechanism(self.problem, stiffness=self.stiffness).fit(X, y, groups=groups)
        self.offset_ = self.mechanism_.offset_
        weights = weights_of(groups, len(y))
        truth = np.log(np.maximum(y, 0.0) + self.offset_)
        left = truth - self._base(X)
        self.carries_ = self.mechanism_.features(X.iloc[:1]) is not None
        if self.carries_:
            left = np.clip(left, -MOST_LEFT, MOST_LEFT)
        values = self.inputs(X)
        self.scaler_ = StandardScaler().fit(values)
        self.trees_ = ExtraTreesRegressor(n_estimators, random_state=self.seed, n_jobs=self.n_jobs)
        self.trees_.fit(values, left, sample_weight=weights)
        few = _evenly(len(y), LARGE)
        self.machine_ = make_pipeline(StandardScaler(), SVR(C=self.penalty, epsilon=TUBE, gamma=GAMMA))
        self.machine_.fit(values[few], left[few], svr__sample_weight=weights[few])
        self.reference_ = self.scaler_.transform(values)[few]
        self.usual_ = _distance_between(
            self.reference_, None if groups is None else np.asarray(groups, str)[few]
        )

    def _base(self, X: pd.DataFrame) -> Floats:
        """Return the logarithm of what is predicted without learning, shape (n_runs,)."""
        based: Floats = np.log(self.mechanism_.predict(X) + self.offset_)
        return based

    def inputs(self, X: pd.DataFrame) -> Floats:
        """Return what trees and machine look at, shape (n_runs, n_inputs)."""
        found = self.mechanism_.features(X) if self.carries_ else None
        return (features_of(self.problem, X) if found is None else found).to_numpy(float)

    def doubt(self, X: pd.DataFrame) -> Floats | None:
        """Return how much the mechanism's predictions change with its constants, or None where it has no part."""
        return self.mechanism_.doubt(X) if self.carries_ else None

    def _far(self, X: pd.DataFrame) -> Floats:
        """Return distances to training rows over those usual between groups, shape (n_runs, n_reference)."""
        far: Floats = cdist(self.scaler_.transform(self.inputs(X)), self.reference_) / self.usual_
        return far

    def _correction(self, X: pd.DataFrame, far: Floats) -> Floats:
        """Return what is taken of the learnt correction, in the logarithm, shape (n_runs,)."""
        values = self.inputs(X)
        left: Floats = 0.5 * (self.trees_.predict(values) + self.machine_.predict(values))
        if self.carries_:
            left = left * np.minimum(2.0 * self.belief / (1.0 + _mean_of_nearest(far) ** 4), 1.0)
        return left

    def _corrected(self, X: pd.DataFrame, far: Floats) -> Floats:
        """Return log(value + offset) with the learnt correction, shape (n_runs,)."""
        corrected: Floats = self._base(X) + self._correction(X, far)
        return corrected

    def _members(self, X: pd.DataFrame, far: Floats) -> Floats:
        """Return log(value + offset) of the corrected mechanism, data sheets, old = new, mechanism; (4, n_runs)."""
        base, old = self._base(X), np.maximum(self.problem.old(X), 0.0)
        rivals = [np.minimum(old * self.problem.scale_of(X), self.problem.cap_of(X)), old]
        return np.array(
            [base + self._correction(X, far), *(np.log(one + self.offset_) for one in rivals), base]
        )

    def _judge(self, X: pd.DataFrame, y: Floats, groups: NDArray[np.str_]) -> tuple[Floats, Floats]:
        """Return errors of the members at the reference rows, from groups left out, and the share of each row."""
        kept = _evenly(len(y), LARGE)
        part, truth, labels = X.iloc[kept], y[kept], groups[kept]
        errors = np.zeros((len(BELIEVED), len(kept)))
        for train, test in GroupKFold(min(FOLDS, len(set(labels)))).split(kept, groups=labels):
            judge = clone(self)
            judge._fit_parts(
                part.iloc[train], truth[train], list(labels[train]), max(self.n_estimators // 4, 1)
            )
            told = np.log(np.maximum(truth[test], 0.0) + judge.offset_)
            left_out = part.iloc[test]
            errors[:, test] = np.minimum(
                np.abs(judge._members(left_out, judge._far(left_out)) - told), MOST_ERROR
            )
        return errors, 1.0 / pd.Series(labels).groupby(labels).transform("size").to_numpy(float)

    def _weights(self, errors: Floats, X: pd.DataFrame, members: Floats, far: Floats) -> Floats:
        """Return weights of the members by their errors nearby and everywhere, shape (4, n_runs)."""
        n_groups = self.share_.sum()
        everywhere = errors @ self.share_ + BELIEF_GROUPS * np.array(BELIEVED)
        everywhere /= n_groups + BELIEF_GROUPS
        near = np.exp(-((far / REACH) ** 2)) * self.share_
        error = errors @ near.T + PRIOR_GROUPS * everywhere[:, None]
        error /= near.sum(axis=1) + PRIOR_GROUPS
        error[1, members[1] == members[2]] = (
            np.inf
        )  # the data sheets say that nothing changes: one rival, not two
        best = error.min(axis=0)
        weights = np.where(error <= SPOILS * best, (error / best) ** -self.severity, 0.0)
        weights /= weights.sum(axis=0)
        sides = [(gpus[:, None] == self.gpus_).all(axis=-1).any(axis=-1) for gpus in _gpus(X)]
        weights[:, ~np.logical_and(*sides)] = np.array([[0.0], [STRANGE], [0.0], [1.0 - STRANGE]])
        return weights

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions within what is possible, shape (n_runs,)."""
        far = self._far(X)
        if self.errors_ is None:
            logs = self._corrected(X, far)
        else:
            members = self._members(X, far)
            logs = (self._weights(self.errors_, X, members, far) * members).sum(axis=0)
        clipped: Floats = np.clip(np.exp(logs) - self.offset_, 0.0, self.problem.cap_of(X))
        return clipped


def _evenly(n_rows: int, most: int) -> NDArray[np.intp]:
    """Return at most so many row numbers, evenly spaced."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.intp))


def _gpus(X: pd.DataFrame) -> list[Floats]:
    """Return what tells the source and the destination of each row from other GPUs; nothing for one pair alone."""
    facts = [[f"{side}.{fact}" for fact in ("sms", "bandwidth")] for side in ("source", "dest")]
    return [X[[name for name in names if name in X.columns]].to_numpy(float) for names in facts]


def _mean_of_nearest(distances: Floats) -> Floats:
    """Return the mean of the smallest distances of each row, shape (n_rows,)."""
    few = min(NEIGHBOURS, distances.shape[1])
    mean: Floats = np.partition(distances, few - 1, axis=1)[:, :few].mean(axis=1)
    return mean


def _distance_between(placed: Floats, groups: NDArray[np.str_] | None) -> float:
    """Return the median distance of a row to the nearest of other groups; of other rows without groups."""
    labels = np.arange(len(placed)).astype(str) if groups is None or len(set(groups)) < 2 else groups
    distances = np.where(labels[:, None] == labels, np.inf, cdist(placed, placed))
    usual = float(np.median(_mean_of_nearest(distances)))
    return usual if 0 < usual < np.inf else 1.0
