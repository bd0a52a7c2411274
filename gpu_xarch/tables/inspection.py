"""What a table of runs holds, and what in it cannot be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from gpu_xarch.metrics import registry
from gpu_xarch.specs import GpuSpec, gpus
from gpu_xarch.tables.limits import device_limits, limits, peak_limits
from gpu_xarch.tables.runs import KEY, metric_columns

__all__ = ["describe", "impossible", "outliers", "possible", "refused"]

_LEAST_SPREAD = 0.3  # decades: a metric that hardly varies has no outliers within a factor of 1000


def impossible(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the values that no device can have.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs.

    Returns
    -------
    list of dict
        "metric", "why", "runs" (number), "worst" (value), "limit", "example" (file:line), by metric and
        device.
    """
    found = []
    for device, part in frame.groupby("device", sort=True):
        spec = gpus().get(str(device))
        for name in metric_columns(frame.columns):
            for why, limit in _limits(name, spec):
                low = limit == 0.0
                bad = part[part[name] < 0.0] if low else part[part[name] > limit]
                if len(bad):
                    worst = bad[name].min() if low else bad[name].max()
                    example = bad.loc[bad[name] == worst].iloc[0]
                    found.append(
                        {
                            "device": device,
                            "metric": name,
                            "why": why,
                            "runs": len(bad),
                            "worst": float(worst),
                            "limit": limit,
                            "example": f"{example['file']}:{example['line']}",
                        }
                    )
    return found


def _limits(name: str, spec: GpuSpec | None) -> Iterable[tuple[str, float]]:
    if name not in registry():
        return
    yield "below zero", 0.0
    of_device = (device_limits(spec.name) | peak_limits(spec)) if spec is not None else {}
    why, limit = of_device.get(name, limits(name))
    if limit < float("inf"):
        yield why, limit


def outliers(frame: pd.DataFrame, *, most: int = 10) -> list[dict[str, Any]]:
    """Return the values that lie farthest from the rest of their metric on their device.

    The distance is in median absolute deviations (at least 0.3 decades) of the logarithm of positive values;
    only distances above 10 in groups of 20 values or more are given, the farthest first.
    """
    found = []
    for device, part in frame.groupby("device", sort=True):
        for name in metric_columns(frame.columns):
            values = part[name].to_numpy(dtype=float)
            index = np.flatnonzero(values > 0)
            if len(index) < 20:
                continue
            logs = np.log10(values[index])
            centre = float(np.median(logs))
            spread = max(float(np.median(np.abs(logs - centre))), _LEAST_SPREAD)
            distance = np.abs(logs - centre) / spread
            for place in np.flatnonzero(distance > 10):
                row = part.iloc[int(index[place])]
                found.append(
                    {
                        "device": device,
                        "metric": name,
                        "value": float(row[name]),
                        "median": 10**centre,
                        "distance": float(distance[place]),
                        "application": row["application"],
                        "kernel": row["kernel"],
                        "example": f"{row['file']}:{row['line']}",
                    }
                )
    found.sort(key=lambda item: -item["distance"])
    return found[:most]


def refused(frame: pd.DataFrame, side: str = "") -> dict[str, int]:
    """Return how many values of which metric were left out at ingest because no device can have them.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs, or of pairs.
    side : str
        Of pairs: "source." or "dest.".
    """
    rows = frame[side + "refused"].dropna() if side + "refused" in frame else ()
    named = Counter(name for names in rows for name in str(names).split(";") if name)
    return dict(named.most_common())


def possible(values: pd.DataFrame, devices: Iterable[str]) -> pd.DataFrame:
    """Return metrics without the values that no device can have: negative, infinite, or above what the device allows.

    `ingest` leaves such values out; a table that came another way, or was edited, may hold them.

    Parameters
    ----------
    values : pandas.DataFrame
        Metrics under their canonical names, shape (n_runs, n_metrics).
    devices : iterable of str, length n_runs
        The GPU of each run.

    Examples
    --------
    >>> possible(pd.DataFrame({"ipc": [2.0, -1.0, 2000.0]}), ["P100"] * 3)["ipc"].tolist()
    [2.0, nan, nan]
    """
    devices = list(devices)
    most = {one: device_limits(one) for one in set(devices)}
    found = values.astype(float)
    for name in found.columns:
        column = found[name].to_numpy()
        can_be = np.isfinite(column)
        if name in registry():
            greatest = np.array([most[one].get(name, limits(name))[1] for one in devices])
            can_be &= (column >= 0) & (column <= greatest)
        found[name] = np.where(can_be, column, np.nan)
    return found


def describe(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a summary of a table of runs.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs, as `load_runs` gives it.

    Returns
    -------
    dict
        "runs", "simulated", "devices" (runs, applications, kernels, metrics of each), "tools", "metrics",
        "missing" (metric to number of runs without it, for metrics that some runs have), "unknown_metrics",
        "repeated" (keys with more than one run, and runs beyond the first), "refused", "impossible", "outliers".
    """
    names = metric_columns(frame.columns)
    units = frame.attrs.get("units", {})
    present = frame[names].notna()
    counts = present.sum()
    devices = []
    for device, part in frame.groupby("device", sort=True):
        devices.append(
            {
                "device": device,
                "known": str(device) in gpus(),
                "runs": len(part),
                "simulated": int(part["simulated"].sum()),
                "applications": int(part["application"].nunique()),
                "kernels": int(part[["application", "kernel"]].drop_duplicates().shape[0]),
                "metrics": int(part[names].notna().any().sum()),
                "launches": int(part["launch"].notna().sum()),
            }
        )
    repeated = frame.duplicated([*KEY, "simulated", "tool"], keep="first")
    repeated_keys = frame.loc[repeated, list(KEY)].drop_duplicates()
    return {
        "runs": len(frame),
        "simulated": int(frame["simulated"].sum()),
        "files": len({file for files in frame["file"].unique() for file in str(files).split(";")}),
        "devices": devices,
        "tools": {str(tool): int(n) for tool, n in frame["tool"].value_counts().items()},
        "applications": {
            str(name): int(n) for name, n in frame["application"].value_counts().sort_index().items()
        },
        "metrics": len(names),
        "missing": {name: int(len(frame) - counts[name]) for name in names if counts[name] < len(frame)},
        "unknown_metrics": [n for n in names if n not in registry() and not n.startswith("event.")],
        "units": {name: units.get(name, "unknown") for name in names},
        "repeated": {"keys": len(repeated_keys), "runs": int(repeated.sum())},
        "refused": refused(frame),
        "impossible": impossible(frame),
        "outliers": outliers(frame),
    }
