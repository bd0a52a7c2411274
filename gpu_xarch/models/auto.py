"""The default: learn how the value changes, not the value, and never leave what is physically possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpu_xarch.models.features import make_features
from gpu_xarch.models.problem import Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Auto", "Boosting", "RatioModel", "offset_of"]


def offset_of(y: Floats) -> float:
    """Return a thousandth of the median of the positive values, 1 where there are none.

    Added to values it keeps their logarithms finite, and runs that do next to nothing from dominating them.

    Examples
    --------
    >>> import numpy as np
    >>> offset_of(np.array([0.0, 100.0, 300.0]))
    0.2
    """
    import numpy as np

    positive = y[y > 0]
    return 1e-3 * float(np.median(positive)) if len(positive) else 1.0


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

        self.offset = offset_of(y)
        log_ratio = np.log((np.maximum(y, 0.0) + self.offset) / (self._old(X) + self.offset))
        self.estimator = self.regressor().fit(self.feature_frame(X).to_numpy(float), log_ratio)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions within [0, cap], shape (n_runs,)."""
        import numpy as np

        log_ratio = self.estimator.predict(self.feature_frame(X).to_numpy(float))
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
    """The default: three unlike learners, averaged in the logarithm.

    Two learn log((new + e) / (base + e)), where `base` is the old value slowed down as the roofline says, to
    the power `trust`: memory traffic and launches explain much of the change, and what is left is easier to
    learn and carries over to other kernels. One of them is a forest of extremely randomised trees (Geurts et
    al. 2006, doi:10.1007/s10994-006-6226-1), the other a support vector machine, which can go on where trees
    stay at the last value seen. The third, trees too, learns the root of the value itself as a share of the physical
    limit, for runs whose old value tells little. They err in different places, so that their mean is
    better than each. A member that errs half as much again as the best one on kernels left out of the
    training rows is left out: the root, for instance, on next of kin, where old = new is nearly right.

    They see the metrics of `CARRIED` and the physical features, as far as the table has them; where it has
    fewer than `FEW` of those metrics, all features. Above `LARGE` rows the support vector machine is left out,
    as its cost grows with the square.

    Parameters
    ----------
    problem : Problem
    trust : float
        Exponent of the roofline's slow-down, 0 to 1.
    n_estimators : int
        Trees of each forest.
    penalty : float
        Of the support vector machine, its C.
    seed, n_jobs : int
    """

    CARRIED = (
        *("ipc", "issued_ipc", "sm_efficiency", "achieved_occupancy", "eligible_warps_per_cycle"),
        *("dram_throughput", "l2_read_throughput", "gld_throughput", "shared_load_throughput"),
        *("tex_cache_hit_rate", "warp_execution_efficiency", "inst_replay_overhead", "inst_executed"),
        *("stall_memory_dependency", "stall_exec_dependency", "stall_sync", "stall_not_selected"),
        "stall_memory_throttle",
    )
    FEW = 10
    LARGE = 4000
    FOLDS = 5
    SPOILS = 1.5

    def __init__(
        self,
        problem: Problem,
        *,
        trust: float = 0.5,
        n_estimators: int = 200,
        penalty: float = 1.0,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> None:
        super().__init__(problem, seed=seed, n_jobs=n_jobs)
        self.trust, self.n_estimators = trust, n_estimators
        self.penalty = penalty
        self.ratios: list[Any] = []
        self.direct: Any = None
        self.limit = float("nan")
        self.weights: list[float] = []

    def _inputs(self, X: pd.DataFrame) -> tuple[Floats, Floats]:
        """Return the chosen features, shape (n_runs, n_features), and the bounded old value, shape (n_runs,)."""
        every = self.feature_frame(X)
        return self._carried(every).to_numpy(float), self._bounded(self._old(X), every)

    def _carried(self, every: pd.DataFrame) -> pd.DataFrame:
        """Return the features that carry over."""
        if self.problem.same_gpu:
            return every
        kept = [name for name in every.columns if name in self.CARRIED or " " in name]
        if sum(name in self.CARRIED for name in kept) < self.FEW:
            return every
        own = [self.problem.target] if self.problem.target in every.columns else []
        return every[list(dict.fromkeys([*kept, *own]))]

    def _bounded(self, old: Floats, every: pd.DataFrame) -> Floats:
        """Slow the old value down as the roofline says, where there are two data sheets."""
        import numpy as np

        source, dest = self.problem.spec("source"), self.problem.spec("dest")
        rate = self.problem.unit == "bytes/s"
        if source is None or dest is None or "log roofline" not in every:
            return old
        if not (rate or self.problem.target in ("ipc", "issued_ipc")):
            return old
        change = every["log roofline"].to_numpy()
        if rate:
            change = change + np.log(dest.sms * dest.boost_hz / (source.sms * source.boost_hz))
        bounded: Floats = old * np.exp(self.trust * change)
        return bounded

    def fit(self, X: pd.DataFrame, y: Floats, groups: Sequence[str] | None = None) -> Auto:
        """Learn from the runs of both GPUs.

        Parameters
        ----------
        X : pandas.DataFrame, shape (n_runs, n_metrics)
        y : ndarray, shape (n_runs,)
        groups : sequence of str, length n_runs, optional
            Application or kernel of each run, to judge the members by what they do on others. Without it, and
            with fewer than two, all are kept.
        """
        import numpy as np

        self.offset = offset_of(y)
        new = np.maximum(y, 0.0)
        values, base = self._inputs(X)
        self.limit = self.problem.cap if np.isfinite(self.problem.cap) else float(new.max()) or 1.0
        with_machine = len(new) <= self.LARGE
        self.weights = self._weigh(values, base, new, groups, with_machine)
        self.ratios, self.direct = self._members(values, base, new, self.n_estimators, with_machine)
        return self

    def _members(
        self, values: Floats, base: Floats, new: Floats, n_estimators: int, with_machine: bool
    ) -> tuple[list[Any], Any]:
        """Return fitted learners of the ratio, and that of the value itself."""
        import numpy as np
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        def trees() -> Any:
            return ExtraTreesRegressor(n_estimators, random_state=self.seed, n_jobs=self.n_jobs)

        log_ratio = np.log((new + self.offset) / (base + self.offset))
        ratios = [trees().fit(values, log_ratio)]
        if with_machine:
            machine = make_pipeline(StandardScaler(), SVR(C=self.penalty, epsilon=0.05, gamma=0.02))
            ratios.append(machine.fit(values, log_ratio))
        return ratios, trees().fit(values, np.sqrt(new / self.limit))

    def _logs(self, ratios: list[Any], direct: Any, values: Floats, base: Floats) -> Floats:
        """Return log(value + offset) of every member, shape (n_members, n_runs)."""
        import numpy as np

        logs = [np.log(base + self.offset) + member.predict(values) for member in ratios]
        logs.append(np.log(direct.predict(values) ** 2 * self.limit + self.offset))
        return np.array(logs)

    def _weigh(
        self, values: Floats, base: Floats, new: Floats, groups: Sequence[str] | None, with_machine: bool
    ) -> list[float]:
        """Return the weights of the members, from groups left out; each group counts the same."""
        import numpy as np
        from sklearn.model_selection import GroupKFold

        n_members = 2 + with_machine
        kept = np.sort(np.random.default_rng(self.seed).permutation(len(new))[: self.LARGE])
        labels = np.zeros(len(kept)) if groups is None else np.asarray(groups)[kept]
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            return [1.0 / n_members] * n_members
        values, base, new = values[kept], base[kept], new[kept]
        share = 1.0 / np.bincount(codes)[codes]
        n_estimators = max(self.n_estimators // 4, 1)
        error = np.zeros(n_members)
        for train, test in GroupKFold(min(self.FOLDS, len(names))).split(kept, groups=codes):
            ratios, direct = self._members(values[train], base[train], new[train], n_estimators, with_machine)
            logs = self._logs(ratios, direct, values[test], base[test])
            error += (np.abs(logs - np.log(new[test] + self.offset)) * share[test]).sum(axis=1)
        weights = np.where(error <= self.SPOILS * error.min(), 1.0, 0.0)
        return [float(weight) for weight in weights / weights.sum()]

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions within [0, cap], shape (n_runs,)."""
        import numpy as np

        logs = self._logs(self.ratios, self.direct, *self._inputs(X))
        value = np.exp(np.asarray(self.weights) @ logs) - self.offset
        clipped: Floats = np.clip(value, 0.0, self.problem.cap)
        return clipped
