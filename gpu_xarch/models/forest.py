"""The published forest, and the classifier of runs that become bound by memory bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold

from gpu_xarch.models.problem import Problem
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["BoundClassifier", "Forest"]


class Forest(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Random forest on the metrics as they are, with the published 100 trees.

    Parameters
    ----------
    problem : Problem
    n_estimators, max_features, min_samples_leaf :
        As in `sklearn.ensemble.RandomForestRegressor`.
    seed, n_jobs : int
    """

    def __init__(
        self,
        problem: Problem,
        *,
        n_estimators: int = 100,
        max_features: float = 1.0,
        min_samples_leaf: int = 1,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.problem = problem
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.seed = seed
        self.n_jobs = n_jobs

    def fit(self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent) -> Forest:
        """Grow the trees."""
        self.estimator_ = RandomForestRegressor(
            self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            random_state=self.seed,
            n_jobs=self.n_jobs,
        ).fit(X.to_numpy(float), y)
        on_step(1, 1)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions, shape (n_runs,)."""
        predicted: Floats = self.estimator_.predict(X.to_numpy(float))
        return predicted


class BoundClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Forest with grid search and class weights whose probabilities are calibrated.

    The grid is searched, and the sigmoid of Platt fitted, on folds of the training rows; folds keep groups
    together where they are given.

    Parameters
    ----------
    problem : Problem
    n_estimators : int
        Trees.
    folds : int
        Folds of grid search and calibration.
    seed, n_jobs : int
    """

    GRID = {"max_features": ["sqrt", 0.3], "min_samples_leaf": [1, 4]}  # noqa: RUF012

    def __init__(
        self, problem: Problem, *, n_estimators: int = 100, folds: int = 3, seed: int = 0, n_jobs: int = 1
    ) -> None:
        self.problem = problem
        self.n_estimators = n_estimators
        self.folds = folds
        self.seed = seed
        self.n_jobs = n_jobs

    def fit(
        self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent
    ) -> BoundClassifier:
        """Search the grid, grow and calibrate the forest; a single class is predicted as it is."""
        self.classes_ = np.array([0.0, 1.0])
        self.estimator_: Any = None
        self.chosen_: dict[str, Any] = {}
        labels = y.astype(int)
        values = X.to_numpy(float)
        if len(np.unique(labels)) < 2:
            self.constant_ = float(labels[0])
            return self
        folds = _folds(labels, groups, self.folds, self.seed)
        forest = RandomForestClassifier(
            self.n_estimators, class_weight="balanced", random_state=self.seed, n_jobs=self.n_jobs
        )
        if len(folds) < 2:
            self.estimator_ = forest.fit(values, labels)
            return self
        search = GridSearchCV(forest, self.GRID, scoring="balanced_accuracy", cv=folds, refit=False)
        search.fit(values, labels)
        self.chosen_ = dict(search.best_params_)
        forest.set_params(**self.chosen_)
        self.estimator_ = CalibratedClassifierCV(forest, method="sigmoid", cv=folds, ensemble=False)
        self.estimator_.fit(values, labels)
        on_step(1, 1)
        return self

    def predict_probability(self, X: pd.DataFrame) -> Floats:
        """Return the probability of being bound, shape (n_runs,)."""
        if self.estimator_ is None:
            return np.full(len(X), self.constant_)
        probability: Floats = self.estimator_.predict_proba(X.to_numpy(float))[:, 1]
        return probability

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return 1 where the run will be bound by memory, else 0, shape (n_runs,)."""
        label: Floats = (self.predict_probability(X) > 0.5).astype(float)
        return label


def _folds(labels: Any, groups: Any, wanted: int, seed: int) -> list[tuple[Any, Any]]:
    """Return folds whose training and test parts hold both classes."""
    smallest = int(np.bincount(labels).min())
    for n in range(min(wanted, smallest), 1, -1):
        if groups is None:
            parts = list(StratifiedKFold(n, shuffle=True, random_state=seed).split(labels, labels))
        else:
            if len(set(groups)) < n:
                continue
            splitter = StratifiedGroupKFold(n, shuffle=True, random_state=seed)
            parts = list(splitter.split(labels, labels, list(groups)))
        if all(len(np.unique(labels[part])) == 2 for pair in parts for part in pair):
            return parts
    return []
