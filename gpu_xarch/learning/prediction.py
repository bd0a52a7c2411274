"""Predictions of a trained model for a table, with intervals and a flag where it has nothing to go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.learning.training import Trained, predict, source_values
from gpu_xarch.progress import OnStep, silent
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.pairs import SOURCE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from gpu_xarch.learning.domain import Domain

    Floats = NDArray[np.float64]

__all__ = ["TOLERANCE", "domain_of", "intervals", "predict_table"]

#: relative error up to which a model is said to predict
TOLERANCE = 0.3


def predict_table(
    trained: Trained,
    table: pd.DataFrame,
    *,
    dest: str | None = None,
    impute: bool = False,
    level: float = 0.9,
    on_step: OnStep = silent,
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
    on_step : callable
        Told how many of three steps are done: predictions, intervals, domain.

    Returns
    -------
    frame : pandas.DataFrame
        One row a run: what ran, "predicted" in the target's unit, for labels "probability", "low" and "high"
        for numbers, "out_of_domain". `frame.attrs["proven"]` says whether any run can be inside the domain.
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
        raise InputError(
            f"the model was trained for {problem.dest}, got {canonical_device(dest)}: train one for it"
        )
    rows, values, imputed = source_values(table, trained, impute=impute)
    prefix = SOURCE if SOURCE + "device" in table.columns else ""
    columns = {name: rows[name].to_numpy() for name in ("application", "kernel", "input") if name in rows}
    frame = pd.DataFrame(columns)
    frame["simulated"] = rows[prefix + "simulated"].to_numpy(bool)
    frame["source"], frame["dest"], frame["target"] = problem.source, problem.dest, problem.target
    frame["predicted"] = predict(trained, values)
    on_step(1, 3)
    if isinstance(trained.model, BoundClassifier):
        frame["probability"] = trained.model.predict_probability(values)
    else:
        frame["low"], frame["high"] = intervals(trained, frame["predicted"].to_numpy(), level)
    on_step(2, 3)
    domain = domain_of(trained)
    frame["out_of_domain"] = domain.flags(values.to_numpy(float))
    frame.attrs["proven"] = domain.threshold >= 0
    on_step(3, 3)
    return frame, imputed


def intervals(trained: Trained, predicted: Floats, level: float) -> tuple[Floats, Floats]:
    """Return conformal intervals for rows of applications that were never seen, within physical limits.

    They are factors where the target is learnt as a ratio: residuals are taken between logarithms, from models
    that had not seen the row's application. With too few applications for the level nothing can be promised,
    and the interval is all that is physically possible.

    Parameters
    ----------
    trained : Trained
    predicted : ndarray, shape (n_rows,)
    level : float
        Coverage, between 0 and 1.
    """
    import numpy as np

    from gpu_xarch.learning.conformal import GroupConformal

    offset = trained.offset
    truth, guess = (np.log(np.maximum(values, 0.0) + offset) for values in (trained.y, trained.held_out))
    conformal = GroupConformal.calibrate(truth, guess, trained.groups, level=level)
    ends = conformal.interval(np.log(np.maximum(predicted, 0.0) + offset))
    low, high = (np.clip(np.exp(end) - offset, 0.0, trained.problem.cap) for end in ends)
    return np.minimum(low, predicted), np.maximum(high, predicted)


def domain_of(trained: Trained) -> Domain:
    """Return the region in which the model has shown, on applications left out, that it predicts.

    Runs are flagged beyond the distance up to which most applications had a median error within 30 %; where that
    was never so, or too few were seen to tell, all of them are (a threshold below 0).
    """
    import numpy as np

    from gpu_xarch.learning.domain import Domain

    if len(set(trained.groups)) < 2:
        return Domain.fit(trained.X)
    scale = np.maximum(np.abs(trained.y), trained.offset) if not trained.problem.classifies else 1.0
    return Domain.fit(
        trained.X,
        groups=trained.groups,
        errors=np.abs(trained.held_out - trained.y) / scale,
        tolerance=TOLERANCE,
    )
