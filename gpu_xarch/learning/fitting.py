"""Fit a model on rows, and predict rows by models that have not seen their group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.learning.splits import groups_of, held_out_split, split
from gpu_xarch.models import Model
from gpu_xarch.progress import OnStep, part_of, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["fit_model", "held_out_predictions"]


#: fewer applications than this are told apart by kernels
FEW_APPLICATIONS = 5


def fit_model(model: Model, data: TrainingData, on_step: OnStep = silent) -> Model:
    """Fit a model; where it makes folds of its own, they keep applications together, or kernels of few applications."""
    applications = groups_of(data, "application")
    enough = len(set(applications)) >= FEW_APPLICATIONS
    groups = applications if enough else groups_of(data, "kernel")
    fitted: Model = model.fit(data.X, data.y, groups=groups, on_step=on_step)
    return fitted


def held_out_predictions(
    data: TrainingData,
    build: Callable[[], Model],
    *,
    how: str | None = None,
    folds: int = 5,
    seed: int = 0,
    on_step: OnStep = silent,
) -> Floats:
    """Predict each row by a model that has not seen its application (or kernel, where there is one application).

    With `how` it is another kind of group that the model has not seen.

    Returns
    -------
    ndarray, shape (n_rows,)
    """
    import numpy as np

    how = how or held_out_split(data)
    predicted = np.full(len(data), np.nan)
    parts = list(split(data, how, folds, seed))
    for done, (train_rows, test_rows) in enumerate(parts):
        model = fit_model(build(), data.rows(train_rows), part_of(on_step, done, 1, len(parts)))
        predicted[test_rows] = model.predict(data.X.iloc[test_rows])
        on_step(done + 1, len(parts))
    return predicted
