"""Predictions of a trained model for a table, with intervals and a flag where it has nothing to go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.pairing import SOURCE
from gpu_xarch.specs import canonical_device
from gpu_xarch.training import Trained, predict, source_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["predict_table"]


def predict_table(
    trained: Trained, table: pd.DataFrame, *, dest: str | None = None, impute: bool = False, level: float = 0.9
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Predict every run of the model's source in a table.

    Parameters
    ----------
    trained : Trained
    table : pandas.DataFrame
        Runs, or pairs of which the source side is taken.
    dest : str, optional
        The GPU that the caller expects; checked.
    impute : bool
        Fill gaps by the median of the training rows instead of refusing them.
    level : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    frame : pandas.DataFrame
        One row a run: what ran, "predicted" in the target's unit, for labels "probability", "low" and "high"
        for numbers, "out_of_domain".
    imputed : dict of str to int
        Values filled in, by metric.

    Raises
    ------
    InputError
        If the model is for other GPUs, the table lacks metrics, or the level is out of range.
    """
    import pandas as pd

    from gpu_xarch.models.forest import BoundClassifier

    if not 0 < level < 1:
        raise InputError(f"the level must be between 0 and 1, got {level}")
    problem = trained.problem
    if dest is not None and canonical_device(dest) != problem.dest:
        raise InputError(f"the model was trained for {problem.dest}, got {canonical_device(dest)}: train one for it")
    rows, values, imputed = source_values(table, trained, impute=impute)
    prefix = SOURCE if SOURCE + "device" in table.columns else ""
    columns = {name: rows[name].to_numpy() for name in ("application", "kernel", "input") if name in rows}
    frame = pd.DataFrame(columns)
    frame["simulated"] = rows[prefix + "simulated"].to_numpy(bool)
    frame["source"], frame["dest"], frame["target"] = problem.source, problem.dest, problem.target
    frame["predicted"] = predict(trained, values)
    if isinstance(trained.model, BoundClassifier):
        frame["probability"] = trained.model.predict_probability(values)
    frame["out_of_domain"] = False
    return frame, imputed
