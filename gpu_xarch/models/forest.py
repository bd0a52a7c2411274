"""The published forest, and the classifier of runs that become bound by memory bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpu_xarch.models.problem import Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["BoundClassifier", "Forest"]


class Forest:
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
        self.n_estimators, self.max_features = n_estimators, max_features
        self.min_samples_leaf, self.seed, self.n_jobs = min_samples_leaf, seed, n_jobs
        self.estimator: Any = None

    def fit(self, X: pd.DataFrame, y: Floats) -> Forest:
        """Grow the trees."""
        from sklearn.ensemble import RandomForestRegressor

        self.estimator = RandomForestRegressor(
            self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            random_state=self.seed,
            n_jobs=self.n_jobs,
        ).fit(X.to_numpy(float), y)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions, shape (n_runs,)."""
        predicted: Floats = self.estimator.predict(X.to_numpy(float))
        return predicted


class BoundClassifier:
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
        self.folds, self.seed, self.n_jobs = folds, seed, n_jobs
        self.estimator: Any = None
        self.constant = float("nan")
        self.chosen: dict[str, Any] = {}

    def fit(self, X: pd.DataFrame, y: Floats, groups: Any = None) -> BoundClassifier:
        """Search the grid, grow and calibrate the forest; a single class is predicted as it is."""
        import numpy as np
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import GridSearchCV

        labels = y.astype(int)
        values = X.to_numpy(float)
        if len(np.unique(labels)) < 2:
            self.constant = float(labels[0])
            return self
        folds = _folds(labels, groups, self.folds, self.seed)
        forest = RandomForestClassifier(
            self.n_estimators, class_weight="balanced", random_state=self.seed, n_jobs=self.n_jobs
        )
        if len(folds) < 2:
            self.estimator = forest.fit(values, labels)
            return self
        search = GridSearchCV(forest, self.GRID, scoring="balanced_accuracy", cv=folds, refit=False)
        search.fit(values, labels)
        self.chosen = dict(search.best_params_)
        forest.set_params(**self.chosen)
        self.estimator = CalibratedClassifierCV(forest, method="sigmoid", cv=folds, ensemble=False)
        self.estimator.fit(values, labels)
        return self

    def predict_probability(self, X: pd.DataFrame) -> Floats:
        """Return the probability of being bound, shape (n_runs,)."""
        import numpy as np

        if self.estimator is None:
            return np.full(len(X), self.constant)
        probability: Floats = self.estimator.predict_proba(X.to_numpy(float))[:, 1]
        return probability

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return 1 where the run will be bound by memory, else 0, shape (n_runs,)."""
        label: Floats = (self.predict_probability(X) > 0.5).astype(float)
        return label


def _folds(labels: Any, groups: Any, wanted: int, seed: int) -> list[tuple[Any, Any]]:
    """Return folds whose training and test parts hold both classes."""
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

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
