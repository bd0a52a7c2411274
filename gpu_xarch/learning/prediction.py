"""Predictions of a trained model for a table, with intervals and a flag where it has nothing to go by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.learning.conformal import GroupConformal
from gpu_xarch.learning.domain import Domain
from gpu_xarch.learning.expected import ExpectedError
from gpu_xarch.learning.outlook import outlook
from gpu_xarch.learning.training import Trained, doubt_of, inputs_of, predict, source_values
from gpu_xarch.models import ANY
from gpu_xarch.models.sheets import is_sheet_column
from gpu_xarch.progress import OnStep, silent
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.pairs import SOURCE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["TOLERANCE", "expected_error", "flags", "intervals", "predict_table"]

#: error up to which a model is said to predict, and how many times the median error of groups left out an error must
#: exceed as well to be told apart: of 0.15 to 0.4 and of 0 to 2 those that told large from small errors best on SDK and
#: Rodinia, each left out; labels are wrong or not, so that the limit of their errors hardly matters
TOLERANCE, APART = 0.25, 1.25
#: groups left out from which on something can be told
LEAST_GROUPS = 4
#: power of the factors of an interval where metrics were imputed, and a logarithm beyond which all is infinite
IMPUTED_WIDTH, MOST_LOG = 2.0, 700.0


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
        One row a run: what ran, "predicted" in the target's unit, what that means (`outlook`), for labels
        "probability", for numbers "low" and "high", "out_of_domain". `frame.attrs["proven"]` says whether any run can
        be inside the domain, `frame.attrs["without_old"]` how many are left out for want of the target's old value,
        `frame.attrs["new_gpus"]` which GPUs a model of all pairs has not learnt from.
    imputed : dict of str to int
        Values filled in, by metric.

    Raises
    ------
    InputError
        If the model is for other GPUs, the table lacks metrics, or the level is out of range.
    """
    import numpy as np
    import pandas as pd

    if not 0 < level < 1:
        raise InputError(f"the level must be between 0 and 1, got {level}")
    problem = trained.problem
    if dest is not None and problem.dest not in (ANY, canonical_device(dest)):
        raise InputError(
            f"the model was trained for {problem.dest}, got {canonical_device(dest)}: train one for it"
        )
    if problem.source == ANY and dest is None:
        raise InputError("the model is of all pairs of GPUs: name the one to predict with --dest")
    told = canonical_device(dest) if dest is not None else None
    rows, values, imputed = source_values(table, trained, dest=told, impute=impute)
    prefix = SOURCE if SOURCE + "device" in table.columns else ""
    frame = pd.DataFrame(_named(rows, prefix))
    frame["simulated"] = rows[prefix + "simulated"].to_numpy(bool)
    frame["source"] = rows[prefix + "device"].to_numpy()
    frame["dest"], frame["target"] = told or problem.dest, problem.target
    frame["predicted"] = predict(trained, values)
    frame = frame.join(
        outlook(trained, rows, prefix, str(frame["dest"].iloc[0]), frame["predicted"].to_numpy())
    )
    on_step(1, 3)
    filled = _filled(rows, prefix, trained) if imputed else np.zeros(len(rows), dtype=bool)
    predicted = frame["predicted"].to_numpy()
    hard = None
    if problem.classifies:
        frame["probability"] = trained.model.predict_probability(values)  # type: ignore[attr-defined]
    else:
        hard = expected_error(trained)
        low, high = intervals(trained, predicted, level, values, hard)
        base = predicted + trained.offset
        # factors to both ends, to a power: an imputed row is less sure than any that was calibrated on
        wide = np.where(filled, IMPUTED_WIDTH, 1.0)
        with np.errstate(over="ignore"):  # an end beyond every number is infinite
            down, up = (
                ((end + trained.offset) / base) ** wide * base - trained.offset for end in (low, high)
            )
        frame["low"], frame["high"] = np.maximum(down, 0.0), np.minimum(up, problem.cap_of(values))
    on_step(2, 3)
    far, proven = flags(trained, values, hard)
    frame["out_of_domain"] = far | filled
    frame.attrs["proven"] = proven
    here = table[prefix + "device"].isin(rows[prefix + "device"].unique())
    frame.attrs["without_old"] = int(here.sum()) - len(rows)
    frame.attrs["new_gpus"] = _new_gpus(trained, values, frame)
    frame.attrs["groups_needed"] = math.ceil(round(level / (1.0 - level), 9))
    on_step(3, 3)
    return frame, imputed


def _named(rows: pd.DataFrame, prefix: str) -> dict[str, Any]:
    """Return what tells a run from others, as far as the table has it."""
    told = {}
    for name in ("run_id", "application", "kernel", "input", "launch", "invocations"):
        column = next((one for one in (name, prefix + name) if one in rows), None)
        if column is not None:
            told[name] = rows[column].to_numpy()
    return told


def _new_gpus(trained: Trained, values: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """Return the GPUs of the runs whose data sheet no training row has, where rows carry them."""
    sheets = {
        side: [name for name in trained.columns if is_sheet_column(name) and name.startswith(f"{side}.")]
        for side in ("source", "dest")
    }
    if not all(sheets.values()):
        return []
    seen = {tuple(row) for names in sheets.values() for row in trained.frame[names].to_numpy(float)}
    found = {
        str(gpu)
        for side, names in sheets.items()
        for gpu, row in zip(frame[side], values[names].to_numpy(float), strict=True)
        if tuple(row) not in seen
    }
    return sorted(found)


def _filled(rows: pd.DataFrame, prefix: str, trained: Trained) -> NDArray[np.bool_]:
    """Return which rows lacked a metric that the model takes."""
    metrics = [prefix + name for name in trained.columns if not is_sheet_column(name)]
    gaps: NDArray[np.bool_] = rows.reindex(columns=metrics).isna().any(axis=1).to_numpy(bool)
    return gaps


def intervals(
    trained: Trained,
    predicted: Floats,
    level: float,
    values: pd.DataFrame | None = None,
    hard: ExpectedError | None = None,
) -> tuple[Floats, Floats]:
    """Return conformal intervals for rows of applications and suites that were never seen, within what is possible.

    They are factors: residuals are taken between logarithms, from models that had not seen the row's
    application, nor its suite where there are several (the larger of both). With too few applications for
    the level nothing can be promised, and the interval is all that is physically possible.

    Parameters
    ----------
    trained : Trained
    predicted : ndarray, shape (n_rows,)
    level : float
        Coverage, between 0 and 1.
    values : pandas.DataFrame, shape (n_rows, n_metrics), optional
        The runs: intervals are then wide where a large error is expected, and narrow elsewhere.
    hard : ExpectedError, optional
        From `expected_error`, if it is there already.
    """
    import numpy as np

    offset, errors = trained.offset, trained.errors
    if hard is None and values is not None:
        hard = expected_error(trained)
    known = hard.known + hard.floor if hard is not None else None
    conformal = GroupConformal.calibrate(
        np.zeros_like(errors), errors, trained.groups, scale=known, level=level
    )
    here = None
    if hard is not None and values is not None:
        here = hard.expected(inputs_of(trained.model, values)) + hard.floor
    ends = conformal.interval(np.log(np.maximum(predicted, 0.0) + offset), here)
    cap = trained.problem.cap if values is None else trained.problem.cap_of(values)
    low, high = (np.clip(np.exp(np.minimum(end, MOST_LOG)) - offset, 0.0, cap) for end in ends)
    return np.minimum(low, predicted), np.maximum(high, predicted)


def expected_error(trained: Trained) -> ExpectedError:
    """Return how far off the model is likely to be, by what it looks at and its errors on groups left out."""
    doubt = doubt_of(trained.model, trained.frame)
    return ExpectedError.fit(trained.inputs, trained.errors, trained.groups, doubt=doubt)


def flags(
    trained: Trained, values: pd.DataFrame, hard: ExpectedError | None = None
) -> tuple[NDArray[np.bool_], bool]:
    """Return which runs the model has nothing to go by for, and whether there are runs that it has.

    A run is flagged where its typical error is expected to be above the tolerance of 25 %, and above 1.25 times the
    median error on groups left out: errors were large in that part of the features, the mechanism's answer hangs on
    its constants, or the run is far from the training runs. Where the first is so of all training runs, or fewer than
    four groups were left out, none is relied on. A label is flagged beyond the distance up to which most groups left
    out were right.

    Parameters
    ----------
    trained : Trained
    values : pandas.DataFrame, shape (n_rows, n_metrics)
    hard : ExpectedError, optional
        From `expected_error`, if it is there already.
    """
    import numpy as np

    here, n_groups = inputs_of(trained.model, values), len(set(trained.groups))
    if n_groups < 2:
        return Domain.fit(trained.inputs).flags(here), True
    if trained.problem.classifies:
        errors = np.abs(trained.held_out - trained.y)
        domain = Domain.fit(trained.inputs, groups=trained.groups, errors=errors, tolerance=TOLERANCE)
        return domain.flags(here), domain.threshold >= 0
    hard = expected_error(trained) if hard is None else hard
    if n_groups < LEAST_GROUPS or not (hard.known_typical <= TOLERANCE).any():
        return np.ones(len(here), dtype=bool), False
    limit = max(TOLERANCE, APART * float(np.median(trained.errors)))
    return hard.typical(here, doubt_of(trained.model, values)) > limit, True
