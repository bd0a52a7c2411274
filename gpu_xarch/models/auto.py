"""The default: learn how the value changes, not the value, and never leave what is physically possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpu_xarch.features import make_features
from gpu_xarch.models.problem import Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Auto", "Boosting", "RatioModel"]


class RatioModel:
    """Learns log((new + e) / (old + e)) on features that carry over, and caps the result.

    `e` is a thousandth of the median of the new values: it keeps runs without traffic finite. Without an old
    value (same GPU) the logarithm of the value itself is learnt.

    Parameters
    ----------
    problem : Problem
    seed, n_jobs : int
    """

    def __init__(self, problem: Problem, *, seed: int = 0, n_jobs: int = 1) -> None:
        self.problem = problem
        self.seed, self.n_jobs = seed, n_jobs
        self.offset = float("nan")
        self.estimator: Any = None

    def regressor(self) -> Any:
        """Return an estimator that is not fitted yet."""
        raise NotImplementedError

    def features(self, X: pd.DataFrame) -> Floats:
        """Return the features, shape (n_runs, n_features)."""
        return self.feature_frame(X).to_numpy(float)

    def feature_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the features with their names."""
        dest = None if self.problem.same_gpu else self.problem.spec("dest")
        return make_features(X, source=self.problem.spec("source"), dest=dest)

    def _old(self, X: pd.DataFrame) -> Floats:
        import numpy as np

        return np.ones(len(X)) if self.problem.same_gpu else self.problem.old(X)

    def fit(self, X: pd.DataFrame, y: Floats) -> RatioModel:
        """Learn from the runs of both GPUs."""
        import numpy as np

        positive = y[y > 0]
        self.offset = 1e-3 * float(np.median(positive)) if len(positive) else 1.0
        log_ratio = np.log((np.maximum(y, 0.0) + self.offset) / (self._old(X) + self.offset))
        self.estimator = self.regressor().fit(self.features(X), log_ratio)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions within [0, cap], shape (n_runs,)."""
        import numpy as np

        log_ratio = self.estimator.predict(self.features(X))
        new = np.exp(log_ratio) * (self._old(X) + self.offset) - self.offset
        clipped: Floats = np.clip(new, 0.0, self.problem.cap)
        return clipped


class Boosting(RatioModel):
    """Gradient boosting of small trees on the absolute error of the logarithm.

    Parameters
    ----------
    problem : Problem
    max_iter, max_leaf_nodes, min_samples_leaf, learning_rate :
        As in `sklearn.ensemble.HistGradientBoostingRegressor`.
    seed, n_jobs : int
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
        n_jobs: int = 1,
    ) -> None:
        super().__init__(problem, seed=seed, n_jobs=n_jobs)
        self.max_iter, self.max_leaf_nodes = max_iter, max_leaf_nodes
        self.min_samples_leaf, self.learning_rate = min_samples_leaf, learning_rate

    def regressor(self) -> Any:
        """Return the boosted trees."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            learning_rate=self.learning_rate,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )


class Auto(RatioModel):
    """Extremely randomised trees on the ratio (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1).

    Splits at random cut points average over many nearly equal features, which helps on new applications.

    Parameters
    ----------
    problem : Problem
    n_estimators, max_features, min_samples_leaf :
        As in `sklearn.ensemble.ExtraTreesRegressor`.
    seed, n_jobs : int
    """

    def __init__(
        self,
        problem: Problem,
        *,
        n_estimators: int = 200,
        max_features: float = 1.0,
        min_samples_leaf: int = 1,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> None:
        super().__init__(problem, seed=seed, n_jobs=n_jobs)
        self.n_estimators, self.max_features = n_estimators, max_features
        self.min_samples_leaf = min_samples_leaf

    def regressor(self) -> Any:
        """Return the forest."""
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(
            self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            random_state=self.seed,
            n_jobs=self.n_jobs,
        )
