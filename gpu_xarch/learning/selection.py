"""The smallest set of metrics for an error budget: every further metric costs replays of the kernel.

Metrics are added one at a time, each time the one that lowers the held-out error most (forward selection). To
keep that affordable only the most important ones are tried, as a forest on the ratio sees them. scikit-learn's
SequentialFeatureSelector tells neither the order nor the errors, has no metric that must be in, and no budget at which
to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.learning.fitting import held_out_predictions
from gpu_xarch.learning.rows import TrainingData, train_subset
from gpu_xarch.learning.scores import score
from gpu_xarch.models import make_model
from gpu_xarch.models.auto import offset_of
from gpu_xarch.progress import OnStep, part_of, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Selection", "select_metrics"]


@dataclass(frozen=True)
class Selection:
    """Outcome of a selection.

    Parameters
    ----------
    steps : list of (str, float)
        Metrics in the order of their choice, each with the held-out error of all up to it.
    full : float
        Held-out error with every metric.
    budget : float
        Error that was to be met.
    measure : str
        "median_ape", "mape", "mae", or for labels "error_rate".
    met : bool
        Whether the budget was met.
    """

    steps: list[tuple[str, float]]
    full: float
    budget: float
    measure: str
    met: bool

    @property
    def metrics(self) -> list[str]:
        """The chosen metrics."""
        return [name for name, _ in self.steps]


def select_metrics(
    data: TrainingData,
    *,
    budget: float | None = None,
    measure: str = "median_ape",
    most: int = 9,
    candidates: int = 15,
    model: str = "boosting",
    folds: int = 5,
    seed: int = 0,
    on_metric: Callable[[str, float], None] = lambda _name, _error: None,
    on_step: OnStep = silent,
) -> Selection:
    """Find a small set of metrics whose held-out error is within a budget.

    Parameters
    ----------
    data : TrainingData
    budget : float, optional
        Error to meet, in the unit of the measure; 1.1 times that of all metrics unless given.
    measure : str
        "median_ape", "mape" or "mae"; ignored for labels.
    most : int
        Metrics at most (the published set for throughput has nine).
    candidates : int
        The most important metrics, which are tried.
    model : str
        Name for `make_model`.
    folds, seed : int
        Of the held-out predictions; applications stay together.
    on_metric : callable
        Told every chosen metric and the error with it.
    on_step : callable
        Told how many sets of metrics were tried, of those that may have to be: it may stop early.

    Raises
    ------
    InputError
        If an option is out of range.
    """
    if measure not in ("median_ape", "mape", "mae"):
        raise InputError(f"the measure must be median_ape, mape or mae, got {measure!r}")
    if most < 1 or candidates < 1:
        raise InputError(f"most and candidates must be at least 1, got {most} and {candidates}")
    if budget is not None and not budget > 0:
        raise InputError(f"the error budget must be above 0, got {budget}")
    label = data.problem.classifies
    if label:
        measure, model = "error_rate", "forest"

    # the model of a ratio needs the old value, whatever else is chosen
    old = "dram_throughput" if label else data.problem.target
    chosen = [old] if not data.problem.same_gpu and old in data.X.columns else []
    n_pool = min(candidates, data.X.shape[1] - len(chosen))
    rounds = range(min(most - len(chosen), n_pool))
    total = 1 + len(chosen) + sum(n_pool - number for number in rounds)
    n_tried = 0

    def error(part: TrainingData) -> float:
        nonlocal n_tried
        predicted = held_out_predictions(
            part,
            make_model(model, part.problem, seed=seed),
            folds=folds,
            seed=seed,
            on_step=part_of(on_step, n_tried, 1, total),
        )
        n_tried += 1
        found = score(part.y, predicted, classifies=label)
        return 1.0 - found["accuracy"] if label else found[measure]

    full = error(data)
    goal = budget if budget is not None else 1.1 * full
    steps: list[tuple[str, float]] = []
    if chosen:
        steps.append((old, error(train_subset(data, chosen))))
        on_metric(*steps[-1])
    pool = [name for name in _ranking(data, seed) if name not in chosen][:candidates]
    while pool and len(chosen) < most and not (steps and steps[-1][1] <= goal):
        tried = [(error(train_subset(data, [*chosen, name])), name) for name in pool]
        best, name = min(tried)
        if steps and best >= steps[-1][1] and len(chosen) > 1:
            break
        chosen.append(name)
        pool.remove(name)
        steps.append((name, best))
        on_metric(name, best)
    return Selection(steps, full, goal, measure, bool(steps and steps[-1][1] <= goal))


def _ranking(data: TrainingData, seed: int) -> list[str]:
    """Return all metrics, the most important for the change of the target first."""
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor

    y = data.y
    if not data.problem.same_gpu and not data.problem.classifies:
        small = offset_of(y)
        y = np.log((np.maximum(y, 0.0) + small) / (data.problem.old(data.X) + small))
    values = np.sign(data.X.to_numpy(float)) * np.log1p(np.abs(data.X.to_numpy(float)))
    forest = ExtraTreesRegressor(100, random_state=seed, max_features=0.33).fit(values, y)
    order = np.argsort(-forest.feature_importances_, kind="stable")
    return [str(data.X.columns[i]) for i in order]
