"""From a table to rows that a model learns from, and a trained model with all that it needs to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.models import Model, Problem, make_model
from gpu_xarch.models.auto import offset_of
from gpu_xarch.models.features import aliases_of
from gpu_xarch.progress import OnStep, part_of, silent
from gpu_xarch.tables.memory_bound import THRESHOLD
from gpu_xarch.tables.pairs import DEST, SOURCE, pair_values, paired_metrics

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "MIN_PAIRS",
    "Trained",
    "TrainingData",
    "predict",
    "source_values",
    "train",
    "train_subset",
    "training_data",
]

#: fewer pairs than this are refused
MIN_PAIRS = 20


@dataclass(frozen=True)
class TrainingData:
    """Rows to learn from.

    Parameters
    ----------
    problem : Problem
    X : pandas.DataFrame
        Metrics of the source, shape (n_rows, n_metrics), without gaps.
    y : ndarray, shape (n_rows,)
        The target on the destination.
    keys : pandas.DataFrame
        "application", "kernel" and "place" (file and line) of every row.
    simulated : int
        Rows that a model made.
    left_out : dict of str to str
        Metrics that are not used, and why.
    dropped : int
        Rows without the target.
    """

    problem: Problem
    X: pd.DataFrame
    y: Floats
    keys: pd.DataFrame
    simulated: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: Any) -> TrainingData:
        """Return some of the rows."""
        return replace(self, X=self.X.iloc[index], y=self.y[index], keys=self.keys.iloc[index])


def train_subset(data: TrainingData, metrics: Sequence[str]) -> TrainingData:
    """Return the same rows with some of their metrics alone."""
    return replace(data, X=data.X[list(metrics)])


def _label(throughput: Floats, problem: Problem) -> Floats:
    import numpy as np

    dest = problem.spec("dest")
    if dest is None:
        raise InputError(
            f"memory_bound needs the peak bandwidth of {problem.dest}: `xarch gpus` lists those known"
        )
    label: Floats = np.where(throughput / dest.bandwidth > THRESHOLD, 1.0, 0.0)
    return np.where(np.isnan(throughput), np.nan, label)


def training_data(
    table: pd.DataFrame, problem: Problem, *, metrics: Sequence[str] | None = None
) -> TrainingData:
    """Take rows for a problem out of a pair table, or out of a table of runs for a same-GPU problem.

    Metrics that are missing in some rows, or constant, are left out and listed. For the same GPU the target
    and its aliases are taken out.

    Parameters
    ----------
    table : pandas.DataFrame
        From `load_pairs` or `load_runs`.
    problem : Problem
    metrics : sequence of str, optional
        Learn from these alone.

    Raises
    ------
    InputError
        If the table is of other GPUs, lacks the target or a metric, or has fewer than 20 rows for it.
    """
    import numpy as np

    is_pairs = SOURCE + "device" in table.columns
    rows = _rows_of(table, problem, is_pairs)
    values = pair_values(rows) if is_pairs else _run_values(rows)
    y = _answers(rows, values, problem, is_pairs)
    known = np.isfinite(y)
    if known.sum() < MIN_PAIRS:
        what = "runs" if problem.same_gpu else "pairs"
        raise InputError(
            f"{int(known.sum())} {what} have {_learned(problem)} on {problem.dest}, at least {MIN_PAIRS} are needed: "
            "profile more"
        )
    values, gone = _choose_metrics(values[known], problem, metrics)
    simulated = rows[SOURCE + "simulated"] | rows[DEST + "simulated"] if is_pairs else rows["simulated"]
    return TrainingData(
        problem,
        values.astype(float).reset_index(drop=True),
        y[known],
        _keys(rows, SOURCE if is_pairs else "")[known].reset_index(drop=True),
        int(simulated.to_numpy(bool)[known].sum()),
        gone,
        int((~known).sum()),
    )


def _learned(problem: Problem) -> str:
    """Name of the metric from which the answers come."""
    return "dram_throughput" if problem.classifies else problem.target


def _rows_of(table: pd.DataFrame, problem: Problem, is_pairs: bool) -> pd.DataFrame:
    """Rows of the problem's GPUs."""
    import numpy as np

    if not is_pairs and not problem.same_gpu:
        raise InputError(
            f"{problem.source} -> {problem.dest} needs a table of pairs: `xarch pair` writes one"
        )
    sides = [(SOURCE + "device" if is_pairs else "device", problem.source)]
    if not problem.same_gpu:
        sides.append((DEST + "device", problem.dest))
    here = np.ones(len(table), dtype=bool)
    for column, device in sides:
        match = (table[column] == device).to_numpy(bool)
        if not match.any():
            there = ", ".join(sorted(map(str, table[column].unique()))) or "none"
            raise InputError(f"the table has no {column} {device!r}, it has {there}")
        here &= match
    return table[here]


def _answers(rows: pd.DataFrame, values: pd.DataFrame, problem: Problem, is_pairs: bool) -> Floats:
    """Target of each row, NaN where it was not measured; `values` are the metrics that there are."""
    side = "" if not is_pairs else SOURCE if problem.same_gpu else DEST
    column = side + _learned(problem)
    if column not in rows.columns:
        has = paired_metrics(rows, DEST) if is_pairs else list(values.columns)
        raise InputError(f"the table has no {column} to learn from, it has {', '.join(has[:8])}, ...")
    new = rows[column].to_numpy(float)
    return _label(new, problem) if problem.classifies else new


def _choose_metrics(
    values: pd.DataFrame, problem: Problem, metrics: Sequence[str] | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Metrics to learn from, without gaps, and why others are left out."""
    gone: dict[str, str] = {}
    if problem.same_gpu:
        gone = {one: "gives the target away" for one in values.columns if one in aliases_of(problem.target)}
    if metrics is not None:
        missing = [one for one in metrics if one not in values.columns or one in gone]
        if missing:
            why = gone.get(missing[0], "not in the table")
            raise InputError(f"cannot learn from {', '.join(missing)}: {why}")
        values = values[list(metrics)]
    else:
        for one in values.columns:
            if one in gone:
                continue
            if values[one].isna().any():
                gone[one] = f"missing in {int(values[one].isna().sum())} rows"
            elif values[one].nunique() < 2 and one != _learned(problem):
                gone[one] = "the same in every row"
        values = values.drop(columns=list(gone))
    if values.isna().any().any():
        gaps = [one for one in values.columns if values[one].isna().any()]
        raise InputError(f"some rows lack {', '.join(gaps)}: leave them out of --metrics, or profile them")
    if values.shape[1] == 0:
        raise InputError("no metric is present in every row: profile the same metrics for all runs")
    return values, gone


def _keys(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """What each row is, and where it stands."""
    import pandas as pd

    places = zip(rows[prefix + "file"], rows[prefix + "line"], strict=True)
    return pd.DataFrame(
        {
            "application": rows["application"].astype(str).to_numpy(),
            "kernel": rows["kernel"].astype(str).to_numpy(),
            "place": [f"{file}:{line}" for file, line in places],
        }
    )


def _run_values(runs: pd.DataFrame) -> pd.DataFrame:
    from gpu_xarch.tables.runs import metric_columns

    names = [one for one in metric_columns(runs.columns) if runs[one].notna().any()]
    return runs[[one for one in names if one not in ("bandwidth_fraction", "memory_bound")]]


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
    y, held_out : ndarray, shape (n_rows,)
        Target, and predictions of models that had not seen the row's application.
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
    groups: list[str]

    @property
    def offset(self) -> float:
        """What keeps logarithms of the target finite."""
        return offset_of(self.y)


def fit_model(model: Model, data: TrainingData, on_step: OnStep = silent) -> Model:
    """Fit a model; where it makes folds of its own, they keep applications or kernels together."""
    from gpu_xarch.learning.evaluation import groups_of
    from gpu_xarch.models.auto import Auto
    from gpu_xarch.models.forest import BoundClassifier
    from gpu_xarch.models.nas import Nas

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

    from gpu_xarch.learning.evaluation import groups_of, held_out_predictions, held_out_split, score

    problem = data.problem
    build = partial(make_model, name, problem, seed=seed, n_jobs=n_jobs, **options)
    model = fit_model(build(), data, part_of(on_step, 0, 1, 6))
    on_step(1, 6)
    held_out = held_out_predictions(data, build, folds=5, seed=seed, on_step=part_of(on_step, 1, 5, 6))
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
        "rows_without_target": data.dropped,
        "metrics": len(data.X.columns),
        "left_out_metrics": data.left_out,
        "seed": seed,
        "scikit_learn": version("scikit-learn"),
        "held_out_applications": score(data.y, held_out, classifies=problem.classifies),
    }
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
        groups_of(data, held_out_split(data)),
    )


def source_values(
    table: pd.DataFrame, trained: Trained, *, impute: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Take the rows and metrics that a model needs out of a table of runs or pairs.

    Returns
    -------
    rows : pandas.DataFrame
        The rows of the model's source GPU.
    values : pandas.DataFrame
        Their metrics, shape (n_rows, n_metrics), without gaps.
    imputed : dict of str to int
        How many values of which metric were filled in by the median of the training rows.

    Raises
    ------
    InputError
        If the table has no run of the source, was measured on other GPUs, or lacks metrics and `impute` is
        false.
    """
    prefix = SOURCE if SOURCE + "device" in table.columns else ""
    problem = trained.problem
    rows = table[(table[prefix + "device"] == problem.source).to_numpy(bool)]
    if rows.empty:
        has = ", ".join(sorted(map(str, table[prefix + "device"].unique()))) or "no runs"
        raise InputError(
            f"the model predicts {problem.dest} from {problem.source}, the table has {has}: train one for it"
        )
    values = rows.reindex(columns=[prefix + name for name in trained.columns]).astype(float)
    values.columns = trained.columns
    gaps = {str(name): int(count) for name, count in values.isna().sum().items() if count}
    if gaps and not impute:
        named = ", ".join(f"{name} ({count} of {len(rows)} rows)" for name, count in list(gaps.items())[:6])
        more = f" and {len(gaps) - 6} more" if len(gaps) > 6 else ""
        raise InputError(
            f"the runs lack {named}{more}, which the model needs: profile them, or ask for --impute"
        )
    filled = values.fillna(dict(zip(trained.columns, map(float, trained.medians), strict=True)))
    return rows, filled.reset_index(drop=True), gaps


def predict(trained: Trained, values: pd.DataFrame) -> Floats:
    """Return the predictions for metrics from `source_values`, shape (n_rows,)."""
    return trained.model.predict(values)
