"""Performance portability of kernels over a set of GPUs, from measured or predicted efficiencies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.specs import canonical_device, find_gpu

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EFFICIENCIES",
    "MISSING",
    "PROBLEM",
    "by_application",
    "efficiencies",
    "performance_portability",
    "portability_table",
    "predicted_runs",
]

EFFICIENCIES = ("bandwidth", "issue", "larger")
MISSING = ("leave-out", "unsupported")
PROBLEM = ("application", "kernel", "input", "launch")


def performance_portability(values: Iterable[float]) -> float:
    """Return the harmonic mean of the efficiencies of one problem, 0 if a platform does not run it.

    Parameters
    ----------
    values : iterable of float
        Efficiency on every platform of the set, 0 to 1; 0 or NaN where the platform does not support the problem.

    Raises
    ------
    InputError
        If there is no platform, or an efficiency is below 0 or infinite.

    References
    ----------
    Pennycook, Sewall, Lee, arXiv:1611.07409 (2016), Eq. 1.

    Examples
    --------
    >>> performance_portability([0.5, 0.25])
    0.3333333333333333
    >>> performance_portability([0.9, 0.0])
    0.0
    """
    found = [float(value) for value in values]
    if not found:
        raise InputError("performance portability needs the efficiency on at least one platform, got none")
    wrong = [value for value in found if value < 0 or math.isinf(value)]
    if wrong:
        raise InputError(f"an efficiency is a share of what the platform can do, got {wrong[0]}")
    if any(value == 0 or math.isnan(value) for value in found):
        return 0.0
    return len(found) / sum(1.0 / value for value in found)


def efficiencies(frame: pd.DataFrame, kind: str = "bandwidth") -> pd.Series:
    """Return the architectural efficiency of every run, NaN where the metrics were not measured.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs with the column "device".
    kind : str
        - "bandwidth": dram_throughput (or the sum of read and write) over the data sheet's peak.
        - "issue": ipc over the instructions that a multiprocessor can issue in a cycle.
        - "larger": the larger of the two, that is how near a run comes to the limit it is nearest to.

    Raises
    ------
    InputError
        If the kind is unknown, a metric is not in the table, or a GPU has no data-sheet facts.
    """
    import pandas as pd

    if kind not in EFFICIENCIES:
        raise InputError(f"unknown efficiency {kind!r}: there are {', '.join(EFFICIENCIES)}")
    specs = {str(name): find_gpu(str(name)) for name in frame["device"].unique()}
    found = []
    if kind in ("bandwidth", "larger"):
        peaks = frame["device"].map({name: spec.bandwidth for name, spec in specs.items()}).astype(float)
        found.append(_throughput(frame) / peaks)
    if kind in ("issue", "larger"):
        _need(frame, "ipc")
        widths = frame["device"].map({name: spec.issue_width for name, spec in specs.items()}).astype(float)
        found.append(frame["ipc"].astype(float) / widths)
    return pd.concat(found, axis=1).max(axis=1, skipna=False).rename("efficiency")


def _need(frame: pd.DataFrame, name: str) -> None:
    if name not in frame.columns:
        raise InputError(f"the table has no {name}: profile it, or choose another efficiency")


def _throughput(frame: pd.DataFrame) -> pd.Series:
    if "dram_throughput" in frame.columns:
        return frame["dram_throughput"].astype(float)
    for name in ("dram_read_throughput", "dram_write_throughput"):
        _need(frame, name)
    return frame["dram_read_throughput"].astype(float) + frame["dram_write_throughput"].astype(float)


def portability_table(
    frame: pd.DataFrame,
    gpus: Sequence[str] = (),
    *,
    kind: str = "bandwidth",
    missing: str = "leave-out",
    on: Sequence[str] = PROBLEM,
) -> pd.DataFrame:
    """Return efficiencies and performance portability of every problem.

    A problem is what agrees in the columns `on`. Several runs of it on one GPU count by their mean.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs; rows that a model predicted can be among them.
    gpus : sequence of str
        The platforms; without names, all of the table.
    kind : str
        See `efficiencies`.
    missing : str
        What a problem without a run on one of the GPUs is: "leave-out" drops it, since a run that is not in the
        table need not be impossible; "unsupported" gives it a portability of 0, as the definition says of
        platforms that do not run it.
    on : sequence of str
        Columns that make runs of several GPUs the same problem; those of the default that the table lacks are
        passed over.

    Returns
    -------
    pandas.DataFrame
        The key columns, one column of efficiencies a GPU, and "portability", the least portable first.
        ``attrs["left_out"]`` counts the problems that were dropped.

    Raises
    ------
    InputError
        If fewer than two GPUs are named or there, one has no runs, a column of `on` is not in the table, or no
        problem is left.
    """
    names = [canonical_device(name) for name in gpus] or sorted(str(n) for n in frame["device"].unique())
    if missing not in MISSING:
        raise InputError(f"missing must be one of {', '.join(MISSING)}, got {missing!r}")
    if len(set(names)) < 2:
        raise InputError(f"portability needs two GPUs or more, got {', '.join(names) or 'none'}")
    have = {str(name) for name in frame["device"].unique()}
    for name in names:
        if name not in have:
            raise InputError(f"no runs of the GPU {name!r} in the table, it has {', '.join(sorted(have))}")
    columns = _problem_columns(frame, on)
    part = frame[frame["device"].isin(names)].copy()
    part["efficiency"] = efficiencies(part, kind)
    unknown = part["efficiency"].isna()
    part = part[~unknown]
    part.attrs.clear()
    problem = part.groupby(columns, dropna=False, sort=False).ngroup().rename("problem")
    wide = part.groupby([problem, "device"])["efficiency"].mean().unstack("device")
    wide = wide.reindex(columns=list(dict.fromkeys(names)))
    complete = wide.notna().all(axis=1)
    left_out = 0
    if missing == "leave-out":
        left_out = int((~complete).sum())
        wide = wide[complete]
    if wide.empty:
        raise InputError(
            f"no problem ran on all of {', '.join(names)}: {left_out} ran on some;{_hint(part, columns, names)}"
        )
    wide["portability"] = [performance_portability(row) for row in wide.to_numpy(dtype=float)]
    keys = part[columns].groupby(problem).head(1).set_index(problem[~problem.duplicated()].to_numpy())
    table = keys.join(wide, how="inner").sort_values("portability", kind="stable").reset_index(drop=True)
    table.attrs["left_out"] = left_out
    table.attrs["unmeasured"] = int(unknown.sum())
    return table


def _problem_columns(frame: pd.DataFrame, on: Sequence[str]) -> list[str]:
    """Columns that tell problems apart."""
    if "application" not in on:
        raise InputError(f"problems are shown by application, which is not among {', '.join(on) or 'none'}")
    wrong = [name for name in on if name not in frame.columns and name not in PROBLEM]
    if wrong:
        raise InputError(
            f"no such column: {', '.join(wrong)}; problems are told apart by {', '.join(PROBLEM)}"
        )
    return [name for name in dict.fromkeys(on) if name in frame.columns]


def _hint(part: pd.DataFrame, columns: Sequence[str], names: Sequence[str]) -> str:
    """Say which column to leave out, if that alone brings problems together."""
    for left in ("input", "launch"):
        rest = [name for name in columns if name != left]
        if left in columns and (part.groupby(rest, dropna=False)["device"].nunique() == len(names)).any():
            return f" many differ in the {left} alone, --on {','.join(rest)} leaves it out"
    return " give equal runs the same application, kernel and input"


def predicted_runs(predictions: pd.DataFrame) -> pd.DataFrame:
    """Turn what `xarch predict` writes into runs of the predicted GPU, for `portability_table`.

    Predictions of several metrics for one run become one row.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Columns application, kernel, input, dest, target (a metric) and predicted (SI units).

    Raises
    ------
    InputError
        If a column is missing, or a run has two predictions of one metric.
    """
    needed = ("application", "kernel", "input", "dest", "target", "predicted")
    lacking = [name for name in needed if name not in predictions.columns]
    if lacking:
        raise InputError(f"predictions need the column {lacking[0]}: `xarch predict --out FILE` writes them")
    part = predictions.fillna({"input": ""})
    on = ["application", "kernel", "input", "dest"]
    repeated = part.duplicated([*on, "target"])
    if repeated.any():
        first = part[repeated].iloc[0]
        raise InputError(
            f"{int(repeated.sum())} predictions are for a run and metric that has one already, such as"
            f" {first['target']} of {first['kernel']} with input {first['input']!r}: keep one of each"
        )
    runs = part.pivot(index=on, columns="target", values="predicted").reset_index()
    runs.columns.name = None
    return runs.rename(columns={"dest": "device"})


def by_application(table: pd.DataFrame, gpus: Sequence[str]) -> list[Mapping[str, object]]:
    """Return, for each application, its problems, the median efficiencies, and the median and least portability."""
    rows: list[Mapping[str, object]] = []
    for name, part in table.groupby("application", sort=True):
        row: dict[str, object] = {"application": str(name), "problems": len(part)}
        for gpu in gpus:
            row[gpu] = float(part[gpu].median()) if part[gpu].notna().any() else math.nan
        row["portability"] = float(part["portability"].median())
        row["least"] = float(part["portability"].min())
        rows.append(row)
    return rows
