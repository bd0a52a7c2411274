"""Features that carry over between kernels: logarithms, rates per instruction, and bounds of the other GPU.

Counts and throughputs span many decades, so their logarithm is taken. Rates per executed instruction tell what a
kernel does rather than how large its input was. With a destination, a few physical features say what the
data sheets imply: how long the traffic and the instructions would take there, how far the grid fills it,
how its second-level cache compares with the footprint (roofline: Williams et al. 2009,
doi:10.1145/1498765.1498785).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_xarch.metrics import registry
from gpu_xarch.specs import GpuSpec
from gpu_xarch.tables.run_time import run_time

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["LAUNCH_S", "make_features"]

LAUNCH_S = 3e-6  # a launch takes a few microseconds, however small the grid


def _unit(name: str) -> str:
    known = registry()
    return known[name].unit if name in known else "count"


def make_features(
    values: pd.DataFrame, *, source: GpuSpec | None = None, dest: GpuSpec | None = None
) -> pd.DataFrame:
    """Turn metrics into features; no statistics of the table are used, so rows stay independent.

    Parameters
    ----------
    values : pandas.DataFrame
        Metrics of the source GPU under their canonical names, SI units, shape (n_runs, n_metrics), no NaN.
    source, dest : GpuSpec, optional
        With both, the physical features are added as far as their metrics are there.

    Returns
    -------
    pandas.DataFrame
        Shape (n_runs, n_features), finite.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"inst_executed": [99.0], "ldst_issued": [99.0], "sm_efficiency": [0.5]})
    >>> make_features(runs).round(3).to_dict("records")
    [{'inst_executed': 4.605, 'ldst_issued': 4.605, 'sm_efficiency': 0.5, 'ldst_issued/inst': 0.688}]
    """
    import numpy as np
    import pandas as pd

    columns: dict[str, Floats] = {}
    for name in values.columns:
        column = values[name].to_numpy(float)
        long_tailed = _unit(name) in ("count", "bytes", "bytes/s", "s", "unknown")
        columns[name] = np.log1p(np.maximum(column, 0.0)) if long_tailed else column
    if "inst_executed" in values.columns:
        executed = values["inst_executed"].to_numpy(float) + 1.0
        for name in values.columns:
            if name != "inst_executed" and _unit(name) == "count":
                rate = values[name].to_numpy(float) / executed
                columns[f"{name}/inst"] = np.log1p(np.maximum(rate, 0.0))
    if source is not None:
        for name in values.columns:
            if _unit(name) == "bytes/s":
                columns[f"{name}/peak"] = values[name].to_numpy(float) / source.bandwidth
        if dest is not None:
            columns |= _physical(values, source, dest)
    return pd.DataFrame(columns, index=values.index)


def _physical(values: pd.DataFrame, source: GpuSpec, dest: GpuSpec) -> dict[str, Floats]:
    import numpy as np

    def get(name: str) -> Floats | None:
        return values[name].to_numpy(float) if name in values.columns else None

    found: dict[str, Floats] = {}
    executed, per_warp, ipc = get("inst_executed"), get("inst_per_warp"), get("ipc")
    lanes_ratio = (source.sms * source.boost_hz) / (dest.sms * dest.boost_hz)
    if executed is not None and per_warp is not None:
        warps = executed / np.maximum(per_warp, 1.0)
        for side, spec in (("source", source), ("dest", dest)):
            waves = warps / (spec.sms * spec.warps)
            found[f"log waves {side}"] = np.log(waves + 1e-3)
            found[f"fill {side}"] = np.minimum(waves, 1.0)
            found[f"tail {side}"] = waves / np.maximum(np.ceil(waves), 1.0)
        found["fill ratio"] = np.log((found["fill dest"] + 1e-3) / (found["fill source"] + 1e-3))
    time = _time(values, source)
    if time is None:
        return found
    found["log time"] = np.log(time)
    compute = time * lanes_ratio
    found["log launch share"] = np.log(LAUNCH_S / compute)
    slowest = np.maximum(compute, LAUNCH_S)
    throughput = get("dram_throughput")
    if throughput is not None:
        memory = throughput * time / dest.bandwidth
        found["log memory over compute"] = np.log((memory + 1e-12) / compute)
        found["log footprint over L2"] = np.log((throughput * time + 1.0) / dest.l2)
        found["log footprint over old L2"] = np.log((throughput * time + 1.0) / source.l2)
        slowest = np.maximum(slowest, memory)
    found["log roofline"] = np.log(compute / slowest)
    if ipc is not None:
        found["log cycles idle"] = np.log1p(source.issue_width / np.maximum(ipc, 1e-3))
    return found


def _time(values: pd.DataFrame, source: GpuSpec) -> Floats | None:
    """Seconds of a launch on the source: measured, or traffic over throughput, or instructions over IPC."""
    import numpy as np

    time = run_time(values)
    if {"inst_executed", "ipc"} <= set(values.columns):
        clocks = values["inst_executed"].to_numpy(float) / np.maximum(values["ipc"].to_numpy(float), 1e-3)
        time = np.where(np.isfinite(time), time, clocks / (source.sms * source.boost_hz))
    if not np.isfinite(time).any():
        return None
    return np.clip(np.nan_to_num(time, nan=float(np.nanmedian(time))), 1e-8, None)
