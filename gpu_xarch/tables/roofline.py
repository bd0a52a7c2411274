"""The roofline of a GPU and where kernels lie below it.

A kernel that does I operations for each byte of device memory can do at most min(peak, I x bandwidth) operations a
second (Williams et al. 2009, doi:10.1145/1498765.1498785).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpu_xarch.errors import InputError
from gpu_xarch.specs import GpuSpec, find_gpu, gpus
from gpu_xarch.tables.run_time import run_time

__all__ = ["PRECISIONS", "roofline_figure", "roofline_points"]

#: metric with the number of operations
PRECISIONS = {"single": "flop_count_sp", "double": "flop_count_dp"}
_NAMED = 6  # kernels that the figure names
#: where a number stands beside its point, in points: in turn, so that those of near points stay apart
_BESIDE = ((3, 3), (-9, 3), (3, -9), (-9, -9))
_MARGIN = 3.0  # of the axes beyond the points and the ridge


def _roof(spec: GpuSpec, precision: str) -> float:
    return spec.peak_fp32 if precision == "single" else spec.peak_fp64


def roofline_points(
    frame: pd.DataFrame, *, gpu: str | None = None, precision: str = "single"
) -> pd.DataFrame:
    """Return where each run lies.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs.
    gpu : str, optional
        Runs of this GPU alone.
    precision : str
        "single" or "double".

    Returns
    -------
    pandas.DataFrame
        One row a run with operations, traffic, a time and a data sheet: "device", "application", "kernel", "input",
        "time" (s, of all launches), "intensity" (operations a byte), "rate" (operations/s), "roof" (operations/s that
        its intensity allows), "share" (rate / roof) and "bound" ("memory" or "compute"), the longest first.

    Raises
    ------
    InputError
        If the precision is another one, or no run has what is needed.
    """
    if precision not in PRECISIONS:
        raise InputError(f"the precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if gpu is not None:
        frame = frame[frame["device"] == find_gpu(gpu).name]
    count = PRECISIONS[precision]
    needed = [name for name in (count, "dram_throughput") if name not in frame]
    if frame.empty or needed:
        raise InputError(
            f"no run{f' of {gpu}' if gpu else ''} has {', '.join(needed or [count])}: profile it"
        )
    time = run_time(frame)
    flops, moved = frame[count].to_numpy(float), frame["dram_throughput"].to_numpy(float) * time
    table = frame[["device", "application", "kernel", "input"]].copy()
    table["time"] = time * frame["invocations"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        table["intensity"], table["rate"] = flops / moved, flops / time
    sheets = {name: gpus()[name] for name in frame["device"].unique() if name in gpus()}
    table = table[(flops > 0) & (moved > 0) & table["device"].isin(list(sheets)).to_numpy()]
    if table.empty:
        raise InputError(
            f"no run has operations of {precision} precision, traffic, a time and a data sheet of its GPU"
        )
    peak = table["device"].map({name: _roof(spec, precision) for name, spec in sheets.items()}).astype(float)
    width = table["device"].map({name: spec.bandwidth for name, spec in sheets.items()}).astype(float)
    table["roof"] = np.minimum(peak, table["intensity"] * width)
    table["share"] = table["rate"] / table["roof"]
    table["bound"] = np.where(table["intensity"] * width < peak, "memory", "compute")
    return table.sort_values("time", ascending=False, kind="stable").reset_index(drop=True)


def roofline_figure(points: pd.DataFrame, *, precision: str = "single") -> Figure:
    """Draw runs below the roofs of their GPUs; the longest kernels are named.

    Parameters
    ----------
    points : pandas.DataFrame
        From `roofline_points`.
    precision : str
        That of the points.
    """
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    devices = list(dict.fromkeys(points["device"]))
    sheets = [gpus()[device] for device in devices]
    ridges = [_roof(spec, precision) / spec.bandwidth for spec in sheets]
    low = min(points["intensity"].min(), *ridges) / _MARGIN
    high = max(points["intensity"].max(), *ridges) * _MARGIN
    line = np.geomspace(low, high, 200)
    for number, (device, spec) in enumerate(zip(devices, sheets, strict=True)):
        colour = f"C{number}"
        mine = points[points["device"] == device]
        roof = np.minimum(_roof(spec, precision), line * spec.bandwidth)
        axes.plot(line, roof, color=colour, label=f"{device}, peak")
        axes.plot(
            mine["intensity"],
            mine["rate"],
            "o",
            color=colour,
            alpha=0.55,
            ms=4.5,
            mew=0,
            label=f"{device}, runs",
        )
    _name_longest(axes, points)
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_xlabel("operations for each byte of device memory")
    axes.set_ylabel(f"operations a second, {precision} precision")
    axes.legend(loc="lower right")
    axes.grid(visible=True, which="major", alpha=0.3)
    return figure


def _name_longest(axes, points: pd.DataFrame) -> None:  # type: ignore[no-untyped-def]
    """Number the points of the longest kernels, each once, and write their names above the roof."""
    longest = points.drop_duplicates("kernel").head(_NAMED)
    names = []
    for number, (_, row) in enumerate(longest.iterrows(), start=1):
        at = (row["intensity"], row["rate"])
        beside = _BESIDE[number % len(_BESIDE)]
        axes.annotate(str(number), at, xytext=beside, textcoords="offset points", fontsize=8, weight="bold")
        names.append(f"{number}  {str(row['kernel']).partition('(')[0].partition('<')[0][:28]}")
    box = {"facecolor": "white", "edgecolor": "0.8", "boxstyle": "round"}
    axes.text(
        0.02, 0.97, "longest\n" + "\n".join(names), transform=axes.transAxes, fontsize=8, va="top", bbox=box
    )
