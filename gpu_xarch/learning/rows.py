"""From a table to rows that a model learns from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.metrics.relations import reveals
from gpu_xarch.models import ANY, Problem
from gpu_xarch.models.sheets import sheet_columns
from gpu_xarch.specs import gpus
from gpu_xarch.tables.inspection import possible, refused
from gpu_xarch.tables.memory_bound import THRESHOLD
from gpu_xarch.tables.pairs import DEST, SOURCE, pair_values, paired_metrics

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "MIN_PAIRS",
    "TrainingData",
    "add_sheets",
    "run_values",
    "suite_of",
    "train_subset",
    "training_data",
]

#: fewer pairs than this are refused
MIN_PAIRS = 20
#: share of the rows that may lack a metric: their gaps are filled in; a metric with more of them is left out
MOST_GAPS = 0.1
#: what the mechanism cannot do without: rows that lack it teach nothing
_ESSENTIAL = ("ipc", "inst_executed")


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
        "application", "kernel", "suite" (of programs, "" where it is not known), "gpus" (SOURCE -> DEST of a pair, else
        the one) and "place" (file and line) of every row.
    simulated : int
        Rows that a model made.
    left_out : dict of str to str
        Metrics that are not used, and why.
    dropped : int
        Rows without the target, on either GPU, or without what describes a kernel.
    refused : int
        Values of these rows that were left out, at ingest or here, because no device can have them.
    imputed : dict of str to int
        Gaps by metric that were filled in by the median of the other rows.
    """

    problem: Problem
    X: pd.DataFrame
    y: Floats
    keys: pd.DataFrame
    simulated: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    dropped: int = 0
    refused: int = 0
    imputed: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: Any) -> TrainingData:
        """Return some of the rows."""
        return replace(self, X=self.X.iloc[index], y=self.y[index], keys=self.keys.iloc[index])


#: suites of benchmark programs, and what their folders and files are called
_SUITES = {
    "SDK": r"sdk|samples",
    "Rodinia": "rodinia",
    "PolyBench": "poly",
    "Parboil": "parboil",
    "SHOC": "shoc",
}


def suite_of(path: str) -> str:
    """Return the suite of programs that a path names, "" where it names none.

    Examples
    --------
    >>> suite_of("profiles/rodinia30/lud_metrics.csv"), suite_of("mine/run.csv")
    ('Rodinia', '')
    """
    return next((name for name, words in _SUITES.items() if re.search(words, path, re.IGNORECASE)), "")


def train_subset(data: TrainingData, metrics: Sequence[str]) -> TrainingData:
    """Return the same rows with some of their metrics alone."""
    return replace(data, X=data.X[list(metrics)])


def training_data(
    table: pd.DataFrame, problem: Problem, *, metrics: Sequence[str] | None = None
) -> TrainingData:
    """Take rows for a problem out of a pair table, or out of a table of runs for a same-GPU problem.

    For a problem of any pair of GPUs the data sheets of both are added to the metrics of each row.

    Metrics that more than a tenth of the rows lack, or that are constant, are left out and listed. Fewer gaps, such as
    values that were refused at ingest, are filled in by the median of the other rows and counted; rows that lack the
    target's old value, IPC or instructions are left out. For the same GPU what gives the target away is taken out
    (`gpu_xarch.metrics.relations`).

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
        If the table is of other GPUs, lacks the target or a metric, has fewer than 20 rows for it, or the target is 0
        in all of them.
    """
    import numpy as np

    is_pairs = SOURCE + "device" in table.columns
    rows = _rows_of(table, problem, is_pairs)
    measured = pair_values(rows) if is_pairs else run_values(rows)
    values = possible(measured, rows[SOURCE + "device" if is_pairs else "device"])
    y, y_refused = _answers(rows, values, problem, is_pairs)
    n_possible = values.notna().to_numpy().sum()
    known = np.isfinite(y) & _complete(values, problem, metrics)
    if known.sum() < MIN_PAIRS:
        what, where = (
            ("runs", problem.dest) if problem.same_gpu else ("pairs", f"{problem.source} and {problem.dest}")
        )
        raise InputError(
            f"{int(known.sum())} {what} have {_learned(problem)} on {where}, at least {MIN_PAIRS} are needed: "
            "profile more"
        )
    if not problem.classifies and not (y[known] > 0).any():
        raise InputError(
            f"{problem.target} is 0 on {problem.dest} in all {int(known.sum())} rows: there is nothing to learn"
        )
    values, gone = _choose_metrics(values[known], problem, metrics)
    imputed = {str(name): int(count) for name, count in values.isna().sum().items() if count}
    values = values.fillna(values.median())
    values = (
        add_sheets(values, problem, rows[SOURCE + "device"][known], rows[DEST + "device"][known])
        if is_pairs
        else values
    )
    simulated = rows[SOURCE + "simulated"] | rows[DEST + "simulated"] if is_pairs else rows["simulated"]
    return TrainingData(
        problem,
        values.astype(float).reset_index(drop=True),
        y[known],
        _keys(rows, SOURCE if is_pairs else "")[known].reset_index(drop=True),
        int(simulated.to_numpy(bool)[known].sum()),
        gone,
        int((~known).sum()),
        sum(sum(refused(rows, side).values()) for side in ((SOURCE, DEST) if is_pairs else ("",)))
        + int(measured.notna().to_numpy().sum() - n_possible)
        + y_refused,
        imputed,
    )


def _complete(values: pd.DataFrame, problem: Problem, metrics: Sequence[str] | None) -> NDArray[np.bool_]:
    """Return which rows have the target's old value, and what describes a kernel where few rows lack it."""
    import numpy as np

    taken = values.columns if metrics is None else [one for one in metrics if one in values.columns]
    complete: NDArray[np.bool_] = np.ones(len(values), dtype=bool)
    if problem.same_gpu:
        return complete
    for name in {_learned(problem), *_ESSENTIAL}.intersection(taken):
        has = values[name].notna().to_numpy(bool)
        if name == _learned(problem) or not (~has).mean() > MOST_GAPS:
            complete &= has
    return complete


def add_sheets(
    values: pd.DataFrame, problem: Problem, sources: Iterable[str], dests: Iterable[str]
) -> pd.DataFrame:
    """Return metrics with the data sheets of each row's GPUs where the problem is of any pair, else as they are.

    Raises
    ------
    InputError
        If a GPU has no data sheet.
    """
    if problem.source != ANY:
        return values
    found = values.reset_index(drop=True)
    for side, devices in (("source", list(sources)), ("dest", list(dests))):
        unknown = sorted({one for one in devices if one not in gpus()})
        if unknown:
            raise InputError(
                f"one model of all pairs needs data sheets, there is none of {', '.join(unknown)}: "
                "`xarch gpus --add FILE` adds your own"
            )
        found = found.join(sheet_columns(side, devices))
    return found


def _label(throughput: Floats, problem: Problem) -> Floats:
    import numpy as np

    dest = problem.spec("dest")
    if dest is None:
        raise InputError(
            f"memory_bound needs the peak bandwidth of {problem.dest}: `xarch gpus` lists those known"
        )
    label: Floats = np.where(throughput / dest.bandwidth > THRESHOLD, 1.0, 0.0)
    return np.where(np.isnan(throughput), np.nan, label)


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
        if device == ANY:
            continue
        match = (table[column] == device).to_numpy(bool)
        if not match.any():
            there = ", ".join(sorted(map(str, table[column].unique()))) or "none"
            raise InputError(f"the table has no {column} {device!r}, it has {there}")
        here &= match
    return table[here]


def _answers(
    rows: pd.DataFrame, values: pd.DataFrame, problem: Problem, is_pairs: bool
) -> tuple[Floats, int]:
    """Target of each row, NaN where it was not measured or cannot be, and how many cannot; `values` are the metrics."""
    import numpy as np

    side = "" if not is_pairs else SOURCE if problem.same_gpu else DEST
    column = side + _learned(problem)
    if column not in rows.columns:
        has = paired_metrics(rows, DEST) if is_pairs else list(values.columns)
        raise InputError(f"the table has no {column} to learn from, it has {', '.join(has[:8])}, ...")
    measured = rows[[column]].set_axis([_learned(problem)], axis=1)
    new = possible(measured, rows[side + "device"])[_learned(problem)].to_numpy()
    n_refused = int(measured.notna().to_numpy().sum() - np.isfinite(new).sum())
    return (_label(new, problem) if problem.classifies else new), n_refused


def _choose_metrics(
    values: pd.DataFrame, problem: Problem, metrics: Sequence[str] | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Metrics to learn from, with few gaps, and why others are left out."""
    gone: dict[str, str] = {}
    if problem.same_gpu:
        told = reveals(problem.target, values.columns)
        gone = {one: "gives the target away" for one in values.columns if one in told}
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
            if values[one].isna().mean() > MOST_GAPS:
                gone[one] = f"missing in {int(values[one].isna().sum())} rows"
            elif values[one].nunique() < 2 and one != _learned(problem):
                gone[one] = "the same in every row"
        values = values.drop(columns=list(gone))
    gaps = [one for one in values.columns if values[one].isna().mean() > MOST_GAPS]
    if gaps:
        raise InputError(f"some rows lack {', '.join(gaps)}: leave them out of --metrics, or profile them")
    if values.shape[1] == 0:
        raise InputError("no metric is present in most rows: profile the same metrics for all runs")
    return values, gone


def _keys(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """What each row is, and where it stands."""
    import pandas as pd

    places = zip(rows[prefix + "file"], rows[prefix + "line"], strict=True)
    return pd.DataFrame(
        {
            "application": rows["application"].astype(str).to_numpy(),
            "kernel": rows["kernel"].astype(str).to_numpy(),
            "suite": list(rows["suite"].astype(str))
            if "suite" in rows
            else [suite_of(str(file)) for file in rows[prefix + "file"]],
            "gpus": list(rows[SOURCE + "device"] + " -> " + rows[DEST + "device"])
            if prefix
            else list(rows["device"]),
            "place": [f"{file}:{line}" for file, line in places],
        }
    )


def run_values(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the measured metrics of a table of runs, shape (n_runs, n_metrics), those alone that some run has."""
    from gpu_xarch.tables.runs import metric_columns

    names = [one for one in metric_columns(runs.columns) if runs[one].notna().any()]
    return runs[[one for one in names if one not in ("bandwidth_fraction", "memory_bound")]]
