"""What a prediction means for a launch: time, IPC and memory throughput on the other GPU, and what limits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.learning.rows import add_sheets, run_values
from gpu_xarch.models.kernel import LIMITS
from gpu_xarch.models.mechanism import Mechanism
from gpu_xarch.models.sheets import sheets_of
from gpu_xarch.tables.memory_bound import THRESHOLD
from gpu_xarch.tables.pairs import pair_values

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from gpu_xarch.learning.training import Trained

    Floats = NDArray[np.float64]

__all__ = ["TOTALS", "outlook", "total_times"]

#: what times can be summed by
TOTALS = ("kernel", "application")
#: a mechanism that is more than this factor off the prediction is not stretched to it
MOST_STRETCH = 1e3


def outlook(trained: Trained, rows: pd.DataFrame, prefix: str, dest: str, predicted: Floats) -> pd.DataFrame:
    """Return what launches do on the destination, by the mechanism of the model, brought in line with the prediction.

    Of time, IPC, throughput and label the one that the model predicts is its prediction. A predicted time or IPC moves
    the others: a launch that takes twice as long as the mechanism says has half of its IPC and of its throughput.

    Parameters
    ----------
    trained : Trained
    rows : pandas.DataFrame
        The runs of the source, from `source_values`.
    prefix : str
        Of their columns: "source." in a table of pairs, "" in one of runs.
    dest : str
        The GPU that is predicted.
    predicted : ndarray, shape (n_rows,)
        In SI units.

    Returns
    -------
    pandas.DataFrame
        "old_time" and "time" (s of a launch), "ipc", "dram_throughput" (bytes/s), "bandwidth_fraction" of the peak,
        "memory_bound" (1 where that is above 0.75) and "limit" (one of `LIMITS`): no columns where a data sheet, the
        IPC or the instructions are missing, or where one GPU alone is asked for; gaps where one row lacks them.
    """
    import numpy as np
    import pandas as pd

    problem = trained.problem
    nothing = pd.DataFrame(index=range(len(rows)))
    if problem.same_gpu:
        return nothing
    metrics = (pair_values(rows, prefix) if prefix else run_values(rows)).astype(float).reset_index(drop=True)
    metrics = add_sheets(metrics, problem, rows[prefix + "device"], [dest] * len(rows))
    mechanism = _mechanism_of(trained)
    outcome, sheets = mechanism.outcome(metrics), sheets_of(problem.source, problem.dest, metrics)
    if outcome is None or sheets is None:
        return nothing
    told = {"duration": predicted / outcome.time_s, "ipc": outcome.ipc / np.maximum(predicted, 1e-12)}
    stretch = np.clip(told.get(problem.target, np.ones(len(rows))), 1.0 / MOST_STRETCH, MOST_STRETCH)
    kernel = mechanism.kernel(metrics)
    time, ipc = outcome.time_s * stretch, outcome.ipc / stretch
    throughput = np.minimum(kernel.memory_bytes * outcome.traffic / time, sheets[1].bandwidth)
    if problem.target == "dram_throughput":
        throughput = predicted
    known = metrics[["ipc", "inst_executed"]].notna().all(axis=1).to_numpy()
    moves = known & ("dram_throughput" in metrics and metrics["dram_throughput"].notna().to_numpy())
    share = np.where(moves, throughput / sheets[1].bandwidth, np.nan)
    bound = np.where(moves, np.where(share > THRESHOLD, 1.0, 0.0), np.nan)
    columns = {
        "old_time": np.where(known, kernel.time_s, np.nan),
        "time": np.where(known, time, np.nan),
        "ipc": np.where(known, np.minimum(ipc, sheets[1].issue_width), np.nan),
        "dram_throughput": np.where(moves, throughput, np.nan),
        "bandwidth_fraction": share,
        "memory_bound": predicted if problem.classifies else bound,
        "limit": np.where(known, np.array(LIMITS)[outcome.limit], ""),
    }
    return pd.DataFrame(columns)


def _mechanism_of(trained: Trained) -> Mechanism:
    """Return the mechanism that a model holds, else one with the constants that it starts from."""
    if isinstance(trained.model, Mechanism):
        return trained.model
    held = getattr(trained.model, "mechanism_", None)
    return held if isinstance(held, Mechanism) else Mechanism(trained.problem).at_start()


def total_times(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the time of all launches on both GPUs, by application or by kernel, the longest first.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `predict_table`: each run counts by its invocations.
    by : str
        One of `TOTALS`.

    Returns
    -------
    pandas.DataFrame
        "launches", "old_time" and "time" (s), "speedup" (old over new) and "limit", the one that binds for the largest
        part of the new time.

    Raises
    ------
    InputError
        If times cannot be told, or are to be summed by something else.
    """
    import numpy as np

    if by not in TOTALS:
        raise InputError(f"times are summed by {' or '.join(TOTALS)}, got {by!r}")
    if "time" not in frame or frame["time"].isna().all():
        raise InputError("no time can be told: runs need ipc and inst_executed, both GPUs a data sheet")
    keys = ["application"] if by == "application" else ["application", "kernel"]
    told = frame[frame["time"].notna()]
    count = told["invocations"].to_numpy(float) if "invocations" in told else np.ones(len(told))
    told = told.assign(old_time=told["old_time"] * count, time=told["time"] * count, launches=count)
    totals = told.groupby(keys, sort=False)[["launches", "old_time", "time"]].sum()
    totals["launches"] = totals["launches"].astype(int)
    totals["speedup"] = totals["old_time"] / totals["time"]
    by_limit = told.groupby([*keys, "limit"], sort=False)["time"].sum().reset_index()
    longest = by_limit.sort_values("time", ascending=False).drop_duplicates(keys).set_index(keys)["limit"]
    found: pd.DataFrame = totals.join(longest).sort_values("time", ascending=False).reset_index()
    return found
