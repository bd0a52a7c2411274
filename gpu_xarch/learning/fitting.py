"""Fit a model on rows, and predict rows by models that have not seen their group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.learning.splits import groups_of, held_out_split, split
from gpu_xarch.models import Model
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["fit_groups", "fit_model", "held_out_predictions"]


#: fewer applications than this are told apart by kernels
FEW_APPLICATIONS = 5


def fit_groups(data: TrainingData) -> list[str]:
    """Return what folds of a model's own keep together: applications, or kernels of few applications."""
    applications = groups_of(data, "application")
    enough = len(set(applications)) >= FEW_APPLICATIONS
    return applications if enough else groups_of(data, "kernel")


def fit_model(model: Model, data: TrainingData, on_step: OnStep = silent) -> Model:
    """Fit a model; where it makes folds of its own, they keep the groups of `fit_groups` together."""
    fitted: Model = model.fit(data.X, data.y, groups=fit_groups(data), on_step=on_step)
    return fitted


def held_out_predictions(
    data: TrainingData,
    model: Model,
    *,
    how: str | None = None,
    folds: int = 5,
    seed: int = 0,
    on_step: OnStep = silent,
) -> Floats:
    """Predict each row by a copy of a model that has not seen its application.

    Where there is one application alone it is the row's kernel; with `how` it is that kind of group.

    Returns
    -------
    ndarray, shape (n_rows,)
    """
    from sklearn.model_selection import cross_val_predict

    parts = list(split(data, how or held_out_split(data), folds, seed))
    n_done = 0

    def told(done: float, total: float) -> None:
        nonlocal n_done
        on_step(n_done + done / total, len(parts))
        n_done += done >= total

    params = {"groups": fit_groups(data), "on_step": told}
    predicted: Floats = cross_val_predict(model, data.X, data.y, cv=parts, params=params)
    on_step(len(parts), len(parts))
    return predicted
