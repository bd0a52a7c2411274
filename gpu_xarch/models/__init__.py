"""Models that predict a metric on another GPU; `make_model` builds one by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gpu_xarch.errors import InputError
from gpu_xarch.models.problem import ANY, Problem, make_problem
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "ANY",
    "BASELINES",
    "GRIDS",
    "MODELS",
    "Model",
    "Problem",
    "baselines_of",
    "make_model",
    "make_problem",
    "resolve",
]

#: names that learn nothing
BASELINES = ("old", "scaled", "roofline", "mean")
MODELS = (*BASELINES, "mechanism", "forest", "boosting", "mlp", "nas", "auto")
#: hyper-parameters that the nested choice tries; the first is the default
GRIDS: dict[str, tuple[dict[str, Any], ...]] = {
    "forest": ({}, {"max_features": 0.33}, {"min_samples_leaf": 3}),
    "boosting": ({}, {"max_iter": 300}, {"min_samples_leaf": 10}),
    "auto": ({}, {"belief": 0.0}, {"belief": 1.0}, {"stiffness": 20.0}),
}


class Model(Protocol):
    """What every model does, as a scikit-learn estimator: learn from metrics of the source, predict the target.

    `groups` are the applications or kernels of the rows, for folds that a model makes of its own; `on_step` is told
    how far a long fit is, and its end.
    """

    def fit(
        self,
        X: pd.DataFrame,
        y: NDArray[np.float64],
        *,
        groups: Sequence[str] | None = None,
        on_step: OnStep = silent,
    ) -> Any:
        """Learn from runs, X of shape (n_runs, n_metrics), y of shape (n_runs,)."""

    def predict(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return predictions, shape (n_runs,)."""


def baselines_of(problem: Problem) -> tuple[str, ...]:
    """Return the baselines that make sense for a problem.

    Examples
    --------
    >>> baselines_of(make_problem("ipc", "P100"))
    ('mean',)
    """
    if problem.same_gpu:
        return ("mean",)
    if problem.source == problem.dest == ANY:
        return ("old", "scaled")
    if problem.spec("source") is None or problem.spec("dest") is None:
        return ("old",)
    return ("old", "roofline") if problem.classifies else ("old", "scaled", "roofline")


def resolve(name: str, problem: Problem) -> str:
    """Return the model that a name stands for: the default is the forest where there is one GPU alone.

    Examples
    --------
    >>> resolve("auto", make_problem("ipc", "P100"))
    'forest'
    """
    return "forest" if name == "auto" and problem.same_gpu else name


def make_model(name: str, problem: Problem, *, seed: int = 0, n_jobs: int = 1, **options: Any) -> Model:
    """Build a model that is not fitted yet.

    Parameters
    ----------
    name : str
        One of `MODELS`; "auto" is the default of the package: the classifier for a label, the forest on one GPU.
    problem : Problem
        What is predicted.
    seed, n_jobs : int
        Of the random generator, of the parallel jobs.
    **options
        Hyper-parameters of that model.

    Raises
    ------
    InputError
        If the model is unknown or does not fit the problem.
    """
    from gpu_xarch.models import auto, baselines, forest, mechanism, mlp

    if name in BASELINES:
        simple: dict[str, Callable[[Problem], Model]] = {
            "old": baselines.OldIsNew,
            "scaled": baselines.DataSheetScaled,
            "roofline": baselines.Roofline,
            "mean": baselines.MeanValue,
        }
        if problem.same_gpu and name != "mean":
            raise InputError(f"the baseline {name!r} needs two GPUs, got {problem.source} alone: use 'mean'")
        return simple[name](problem)
    if problem.classifies:
        if name not in ("auto", "forest"):
            raise InputError(f"memory_bound is a label: the model must be auto or forest, got {name!r}")
        return forest.BoundClassifier(problem, seed=seed, n_jobs=n_jobs, **options)
    name = resolve(name, problem)
    if name == "forest":
        return forest.Forest(problem, seed=seed, n_jobs=n_jobs, **options)
    if name == "boosting":
        return auto.Boosting(problem, seed=seed, **options)
    if name == "mechanism":
        return mechanism.Mechanism(problem, **options)
    if name == "auto":
        return auto.Auto(problem, seed=seed, n_jobs=n_jobs, **options)
    if name == "mlp":
        return mlp.Mlp(problem, seed=seed, **options)
    if name == "nas":
        from gpu_xarch.models import nas

        return nas.Nas(problem, seed=seed, n_jobs=n_jobs, **options)
    raise InputError(f"unknown model {name!r}: choose one of {', '.join(MODELS)}")
