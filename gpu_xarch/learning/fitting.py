"""Fit a model on rows, and predict rows by models that have not seen their group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.learning.splits import groups_of, held_out_split, split
from gpu_xarch.models import Model
from gpu_xarch.models.auto import Auto
from gpu_xarch.models.forest import BoundClassifier
from gpu_xarch.models.nas import Nas
from gpu_xarch.progress import OnStep, part_of, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["fit_model", "held_out_predictions"]


def fit_model(model: Model, data: TrainingData, on_step: OnStep = silent) -> Model:
    """Fit a model; where it makes folds of its own, they keep applications or kernels together."""
    if isinstance(model, Auto):
        applications = groups_of(data, "application")
        enough = len(set(applications)) >= Auto.FOLDS
        return model.fit(data.X, data.y, applications if enough else groups_of(data, "kernel"))
    if isinstance(model, BoundClassifier):
        return model.fit(data.X, data.y, list(data.keys["application"]))
    if isinstance(model, Nas):
        return model.fit(data.X, data.y, on_step=on_step)
    fitted: Model = model.fit(data.X, data.y)
    return fitted


def held_out_predictions(
    data: TrainingData,
    build: Callable[[], Model],
    *,
    folds: int = 5,
    seed: int = 0,
    on_step: OnStep = silent,
) -> Floats:
    """Predict each row by a model that has not seen its application (or kernel, where there is one application).

    Returns
    -------
    ndarray, shape (n_rows,)
    """
    import numpy as np

    how = held_out_split(data)
    predicted = np.full(len(data), np.nan)
    parts = list(split(data, how, folds, seed))
    for done, (train_rows, test_rows) in enumerate(parts):
        model = fit_model(build(), data.rows(train_rows), part_of(on_step, done, 1, len(parts)))
        predicted[test_rows] = model.predict(data.X.iloc[test_rows])
        on_step(done + 1, len(parts))
    return predicted
