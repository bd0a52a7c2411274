"""Two runs of the same programs on one GPU, before and after a change: what became faster, and what else changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import registry
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.pairs import DEFAULT_ON, DEST, SOURCE, Pairing, pair_runs, paired_metrics
from gpu_xarch.tables.runs import metric_columns

__all__ = ["Comparison", "compare_runs"]

#: what the two sides are called where runs are joined
BEFORE, AFTER = "before", "after"
#: a change below this is small, whatever the value was: so many hundredths of a share, a level, else of the median
_SMALL_OF_UNIT = {"fraction": 0.05, "level": 1.0}
_SMALL = 0.05


@dataclass(frozen=True)
class Comparison:
    """What became of the runs.

    Parameters
    ----------
    device : str
        The GPU.
    kernels : pandas.DataFrame
        One row a run that both tables have: "application", "kernel", "input", "invocations", "before" and "after"
        (seconds of a launch, NaN where no time was measured) and "speedup".
    changes : pandas.DataFrame
        One row a run and metric: the same key, "metric", "unit", "before", "after", "change" (after / before - 1) and
        "size" (by how many factors of e, small values set aside), the greatest first.
    pairing : Pairing
        How the runs were joined: what is in one table alone.
    """

    device: str
    kernels: pd.DataFrame
    changes: pd.DataFrame
    pairing: Pairing

    @property
    def speedup(self) -> float:
        """Time of all launches before over that after, over the runs with both; NaN without times."""
        timed = self.kernels.dropna(subset=["speedup"])
        weights = timed["invocations"].astype(float)
        after = float((timed["after"] * weights).sum())
        return float((timed["before"] * weights).sum()) / after if after > 0 else float("nan")


def compare_runs(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    gpu: str | None = None,
    on: Sequence[str] = DEFAULT_ON,
    metrics: Sequence[str] | None = None,
) -> Comparison:
    """Compare two tables of runs on one GPU; repeated runs of a table count by their mean.

    Parameters
    ----------
    before, after : pandas.DataFrame
        Tables of runs.
    gpu : str, optional
        The GPU; the one that both tables have unless given.
    on : sequence of str
        Columns that must agree, as for `pair_runs`.
    metrics : sequence of str, optional
        Compare these alone; all that both tables have unless given.

    Raises
    ------
    InputError
        If the tables share no GPU or more than one, no run is in both, or a metric is not.
    """
    shared = sorted(set(before["device"]) & set(after["device"]))
    device = canonical_device(gpu) if gpu is not None else shared[0] if len(shared) == 1 else ""
    if device not in shared:
        there = f"both have {', '.join(shared)}: name one of them" if shared else "they share no GPU"
        raise InputError(f"the tables cannot be compared{f' on {device}' if device else ''}: {there}")
    sides = [
        frame[frame["device"] == device].assign(device=side)
        for frame, side in ((before, BEFORE), (after, AFTER))
    ]
    names = sorted({name for side in sides for name in metric_columns(side.columns)})
    joined = pd.concat([side.reindex(columns=[*side.columns.difference(names), *names]) for side in sides])
    pairing = pair_runs(joined, source=BEFORE, dest=AFTER, on=on, repeats="mean")
    if not len(pairing.pairs):
        raise InputError(f"no run on {device} is in both tables: --on leaves out what may differ")
    both = [name for name in paired_metrics(pairing.pairs) if name in paired_metrics(pairing.pairs, DEST)]
    missing = [name for name in metrics or () if name not in both]
    if missing:
        raise InputError(f"not in both tables: {', '.join(missing)}")
    return Comparison(
        device, _kernels(pairing), _changes(pairing, list(metrics) if metrics else both), pairing
    )


def _keys(pairing: Pairing) -> pd.DataFrame:
    names = [
        name for name in ("application", "kernel", "input", "launch", "invocations") if name in pairing.pairs
    ]
    return pairing.pairs[names].reset_index(drop=True)


def _side(pairing: Pairing, side: str, name: str) -> np.ndarray:
    if side + name not in pairing.pairs:
        return np.full(len(pairing.pairs), np.nan)
    return pairing.pairs[side + name].to_numpy(float)


def _kernels(pairing: Pairing) -> pd.DataFrame:
    table = _keys(pairing)
    if "invocations" not in table:
        table["invocations"] = 1
    table["before"], table["after"] = _side(pairing, SOURCE, "duration"), _side(pairing, DEST, "duration")
    table["speedup"] = table["before"] / table["after"]
    saved = ((table["before"] - table["after"]) * table["invocations"].astype(float)).abs()
    return table.loc[saved.sort_values(ascending=False, na_position="last", kind="stable").index].reset_index(
        drop=True
    )


def _changes(pairing: Pairing, names: Sequence[str]) -> pd.DataFrame:
    parts = []
    for name in names:
        old, new = _side(pairing, SOURCE, name), _side(pairing, DEST, name)
        known = np.isfinite(old) & np.isfinite(new)
        if not known.any():
            continue
        unit = registry()[name].unit if name in registry() else "unknown"
        usual = float(np.median(np.abs(np.concatenate([old[known], new[known]]))))
        small = _SMALL_OF_UNIT.get(unit, _SMALL * usual or 1.0)
        part = _keys(pairing)
        part["metric"], part["unit"] = name, unit
        part["before"], part["after"] = old, new
        part["change"] = np.divide(new, old, out=np.full(len(old), np.nan), where=old != 0) - 1
        part["size"] = np.abs(np.log((np.abs(new) + small) / (np.abs(old) + small)))
        parts.append(part[known])
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table.sort_values("size", ascending=False, kind="stable").reset_index(drop=True)
