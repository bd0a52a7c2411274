"""A trained model with all that it needs to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.learning.fitting import fit_model, held_out_predictions
from gpu_xarch.learning.rows import TrainingData, add_sheets
from gpu_xarch.learning.scores import bootstrap, score
from gpu_xarch.learning.splits import groups_of, held_out_split
from gpu_xarch.models import ANY, Model, Problem, make_model, resolve
from gpu_xarch.models.mechanism import SMALL, SMALL_RATE, offset_of
from gpu_xarch.models.sheets import is_sheet_column
from gpu_xarch.progress import OnStep, part_of, silent
from gpu_xarch.tables.inspection import possible
from gpu_xarch.tables.pairs import SOURCE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["HELD_OUT", "Trained", "doubt_of", "inputs_of", "predict", "source_values", "train"]

#: scores of a model card, "held_out_" before each, and what they are of
HELD_OUT = {
    "suite": "suites left out",
    "application": "applications left out",
    "kernel": "kernels of one application left out",
    "random": "rows of one kernel left out, which says nothing of others",
}
#: draws of applications for the interval of a score
DRAWS = 300


@dataclass
class Trained:
    """A fitted model and what it needs to predict and to report.

    Parameters
    ----------
    problem : Problem
    name : str
        Name of the model.
    model : Model
    columns : list of str
        Metrics that it takes, in order.
    medians : ndarray, shape (n_metrics,)
        Medians of the training rows, for imputation when asked for.
    card : dict
        Facts for the model card: rows, applications, seed, versions, scores.
    X : ndarray, shape (n_rows, n_metrics)
        Training rows, to know what is out of their domain.
    y, held_out, suite_held_out : ndarray, shape (n_rows,)
        Target, and predictions of models that had not seen the row's application, and its suite of programs where
        there are several.
    inputs : ndarray, shape (n_rows, n_inputs)
        What the model looks at.
    groups : list of str
        What was left out together: the application of each row, its kernel where there is one application.
    """

    problem: Problem
    name: str
    model: Model
    columns: list[str]
    medians: Floats
    card: dict[str, Any]
    X: Floats
    y: Floats
    held_out: Floats
    suite_held_out: Floats
    inputs: Floats
    groups: list[str]

    @property
    def offset(self) -> float:
        """What keeps logarithms of the target finite; below it a throughput is next to nothing."""
        return offset_of(self.y, SMALL_RATE if self.problem.unit == "bytes/s" else SMALL)

    @property
    def frame(self) -> pd.DataFrame:
        """The training rows under the names of their metrics."""
        import pandas as pd

        return pd.DataFrame(self.X, columns=self.columns)

    @property
    def errors(self) -> Floats:
        """Absolute error of the logarithm of each training row: the larger of application and suite left out."""
        import numpy as np

        truth = np.log(np.maximum(self.y, 0.0) + self.offset)
        guesses = (np.log(np.maximum(one, 0.0) + self.offset) for one in (self.held_out, self.suite_held_out))
        larger: Floats = np.max([np.abs(guess - truth) for guess in guesses], axis=0)
        return larger


def train(
    data: TrainingData,
    name: str = "auto",
    *,
    seed: int = 0,
    n_jobs: int = 1,
    on_step: OnStep = silent,
    **options: Any,
) -> Trained:
    """Fit a model on all rows, and predict each row by a model that has not seen its application.

    `on_step` is told how many of the six fits are done; a search counts its candidates as parts of one.

    Raises
    ------
    InputError
        If the model is unknown or does not fit the problem.
    """
    from importlib.metadata import version

    import numpy as np
    from sklearn.base import clone

    problem = data.problem
    name = resolve(name, problem)
    fresh = make_model(name, problem, seed=seed, n_jobs=n_jobs, **options)
    model = fit_model(clone(fresh), data, part_of(on_step, 0, 1, 6))
    on_step(1, 6)
    held_out = held_out_predictions(data, fresh, folds=5, seed=seed, on_step=part_of(on_step, 1, 4, 6))
    suites = held_out
    if len(set(data.keys["suite"])) > 1 and not problem.classifies:
        suites = held_out_predictions(data, fresh, how="suite", seed=seed)
    on_step(6, 6)
    label, groups, how = problem.classifies, groups_of(data, "application"), held_out_split(data)
    card: dict[str, Any] = {
        "target": problem.target,
        "unit": problem.unit,
        "source": problem.source,
        "dest": problem.dest,
        "model": name,
        "rows": len(data),
        "applications": int(data.keys["application"].nunique()),
        "kernels": int(data.keys["kernel"].nunique()),
        "simulated_rows": data.simulated,
        "refused_values": data.refused,
        "rows_without_target": data.dropped,
        "imputed_values": data.imputed,
        "metrics": len(data.X.columns),
        "left_out_metrics": data.left_out,
        "seed": seed,
        "scikit_learn": version("scikit-learn"),
        f"held_out_{how}": _scored(data.y, held_out, groups, label, seed),
    }
    if suites is not held_out:
        card["held_out_suite"] = _scored(data.y, suites, groups, label, seed)
    return Trained(
        problem,
        name,
        model,
        list(data.X.columns),
        np.median(data.X.to_numpy(float), axis=0),
        card,
        data.X.to_numpy(float),
        data.y,
        held_out,
        suites,
        inputs_of(model, data.X),
        groups_of(data, how),
    )


def _scored(y: Floats, predicted: Floats, groups: list[str], label: bool, seed: int) -> dict[str, float]:
    """Return scores, and the ends of a 90 % interval over applications of the one that is shown first."""
    found, first = score(y, predicted, classifies=label), "accuracy" if label else "median_ape"

    def drawn(rows: NDArray[np.int64]) -> float:
        return score(y[rows], predicted[rows], classifies=label)[first]

    found[f"{first}_low"], found[f"{first}_high"] = bootstrap(drawn, groups, n=DRAWS, seed=seed)
    return found


def source_values(
    table: pd.DataFrame, trained: Trained, *, dest: str | None = None, impute: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Take the rows and metrics that a model needs out of a table of runs or pairs.

    Returns
    -------
    rows : pandas.DataFrame
        The rows of the model's source GPU that have the target's old value.
    values : pandas.DataFrame
        Their metrics, shape (n_rows, n_metrics), without gaps.
    imputed : dict of str to int
        How many values of which metric were filled in by the median of the training rows.

    Raises
    ------
    InputError
        If the table has no run of the source, was measured on other GPUs, or lacks metrics and `impute` is
        false. Values that no device can have are imputed without being asked.
    """
    prefix = SOURCE if SOURCE + "device" in table.columns else ""
    problem = trained.problem
    devices = table[prefix + "device"]
    here = devices == problem.source if problem.source != ANY else devices != dest
    rows = table[here.to_numpy(bool)]
    if rows.empty:
        has = ", ".join(sorted(map(str, table[prefix + "device"].unique()))) or "no runs"
        raise InputError(
            f"the model predicts {problem.dest} from {problem.source}, the table has {has}: train one for it"
        )
    metrics = [name for name in trained.columns if not is_sheet_column(name)]
    measured = rows.reindex(columns=[prefix + name for name in metrics]).set_axis(metrics, axis=1)
    values = possible(measured, rows[prefix + "device"])
    own = "dram_throughput" if problem.classifies else problem.target
    if own in metrics and not problem.same_gpu:
        known = values[own].notna().to_numpy(bool)
        if not known.any():
            has = "a possible" if measured[own].notna().any() else "the"
            raise InputError(
                f"no run has {has} {own}, the old value itself: that is never imputed, profile it"
            )
        rows, values = rows[known], values[known]
    gaps = {str(name): int(count) for name, count in values.isna().sum().items() if count}
    cannot_be = (measured.notna() & values.isna().reindex(measured.index, fill_value=False)).sum()
    asked = {
        name: count
        for name, count in gaps.items()
        if count > _refused_cells(rows, prefix, name) + int(cannot_be[name])
    }
    rows = rows.assign(**{prefix + name: values[name] for name in metrics if prefix + name in rows})
    if asked and not impute:
        named = ", ".join(f"{name} ({count} of {len(rows)} rows)" for name, count in list(asked.items())[:6])
        more = f" and {len(asked) - 6} more" if len(asked) > 6 else ""
        raise InputError(
            f"the runs lack {named}{more}, which the model needs: profile them, or ask for --impute"
        )
    filled = values.fillna(dict(zip(trained.columns, map(float, trained.medians), strict=True)))
    filled = filled.reset_index(drop=True)
    sheets = add_sheets(filled, problem, rows[prefix + "device"], [dest or problem.dest] * len(rows))
    return rows, sheets[trained.columns], gaps


def _refused_cells(rows: pd.DataFrame, prefix: str, name: str) -> int:
    """Return how many of the runs had an impossible value of a metric, which was left out at ingest."""
    if prefix + "refused" not in rows:
        return 0
    return sum(name in str(names).split(";") for names in rows[prefix + "refused"])


def inputs_of(model: Model, X: pd.DataFrame) -> Floats:
    """Return what a model looks at, shape (n_rows, n_inputs): its own features where it tells, else the metrics."""
    own = getattr(model, "inputs", None)
    found: Floats = X.to_numpy(float) if own is None else own(X)
    return found


def doubt_of(model: Model, X: pd.DataFrame) -> Floats | None:
    """Return how uncertain a model says that it is of each row, in the logarithm; None where it does not tell."""
    own = getattr(model, "doubt", None)
    found: Floats | None = None if own is None else own(X)
    return found


def predict(trained: Trained, values: pd.DataFrame) -> Floats:
    """Return the predictions for metrics from `source_values`, shape (n_rows,)."""
    return trained.model.predict(values)
