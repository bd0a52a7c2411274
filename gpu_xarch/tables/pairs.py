"""Join the runs of two GPUs by what they ran, never by position.

A pair table has the key columns as the source spells them, ``source.<column>`` and ``dest.<column>`` for
device, run_id, file, line, simulated and refused, and ``source.<metric>`` and ``dest.<metric>`` for every
metric that one of the paired runs has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gpu_xarch.errors import InputError
from gpu_xarch.specs import ANY, canonical_device
from gpu_xarch.tables.applications import application_key, snap_inputs
from gpu_xarch.tables.kernel_names import base_name
from gpu_xarch.tables.runs import metric_columns, why_not_parquet, write_arrow

__all__ = [
    "DEFAULT_ON",
    "DEST",
    "REPEATS",
    "SOURCE",
    "Pairing",
    "load_pairs",
    "pair_runs",
    "pair_values",
    "paired_metrics",
    "write_pairs",
]

SOURCE, DEST = "source.", "dest."
DEFAULT_ON = ("application", "kernel", "input", "launch", "invocations")
REPEATS = ("refuse", "mean", "median", "first")
_KEPT = ("device", "run_id", "file", "line", "simulated", "refused")
_TOGETHER = "all launches together"
_FORMAT, _VERSION = b"gpu_xarch.pairs", b"2"


@dataclass(frozen=True)
class Pairing:
    """The outcome of a join.

    Parameters
    ----------
    source, dest : str
        Names of the GPUs.
    on : tuple of str
        The columns joined on.
    pairs : pandas.DataFrame
        One row a pair.
    unmatched : list of dict
        Runs of either side without a partner: "side", the key columns, "why", "example" (file:line).
    ambiguous : list of dict
        Keys that several runs of a side share: the key columns, "source_runs", "dest_runs", "example".
    """

    source: str
    dest: str
    on: tuple[str, ...]
    pairs: pd.DataFrame
    unmatched: list[dict[str, Any]]
    ambiguous: list[dict[str, Any]]

    def reasons(self) -> dict[str, int]:
        """Count the unmatched runs by side and the column that kept them apart."""
        return dict(Counter(f"{item['side']}: {item['column']}" for item in self.unmatched))

    @property
    def means_meet_singles(self) -> bool:
        """Whether runs stay apart as one side has means over launches and the other single launches."""
        return any(_TOGETHER in item["why"] for item in self.unmatched)

    def hint(self) -> str:
        """Return what to join on where the columns joined on keep all runs apart; empty where nothing shows it."""
        if len(self.pairs):
            return ""
        apart = {item["column"] for item in self.unmatched}
        means = self.means_meet_singles
        without = ("launch", "invocations") if means else ("input",) if "input" in apart else ()
        rest = f"--on {','.join(name for name in self.on if name not in without)}"
        if means:
            return (
                f": means over launches do not meet single launches; {rest} and the mean of repeats join them"
            )
        return f": many differ in the input alone; {rest} leaves it out" if without else ""


def _text(value: object) -> Hashable:
    if value is None or value is pd.NA or value != value:
        return None
    return value if isinstance(value, str) else float(value)  # type: ignore[arg-type]


def _keys(frame: pd.DataFrame, on: Sequence[str]) -> list[tuple[Hashable, ...]]:
    columns: list[list[Hashable]] = []
    for name in on:
        if name == "application":
            columns.append([application_key(str(value)) for value in frame[name]])
        elif name == "kernel_base":
            columns.append([base_name(str(value)) for value in frame["kernel"]])
        else:
            columns.append([_text(value) for value in frame[name]])
    return list(zip(*columns, strict=True))


def _one_each(frame: pd.DataFrame, on: Sequence[str], repeats: str) -> pd.DataFrame:
    """Return a frame in which repeated runs of a key are one row, if asked for."""
    if repeats == "refuse" or frame.empty:
        return frame
    places: dict[tuple[Hashable, ...], list[int]] = defaultdict(list)
    for index, key in enumerate(_keys(frame, on)):
        places[key].append(index)
    first = frame.iloc[[indices[0] for indices in places.values()]].copy()
    if repeats != "first":
        group = np.empty(len(frame), dtype=int)
        for number, indices in enumerate(places.values()):
            group[indices] = number
        names = metric_columns(frame.columns)
        grouped = frame[names].groupby(group)
        values = grouped.mean() if repeats == "mean" else grouped.median()
        first[names] = values.to_numpy()
    return first


def pair_runs(
    frame: pd.DataFrame,
    *,
    source: str,
    dest: str,
    on: Sequence[str] = DEFAULT_ON,
    tolerance: float | None = None,
    repeats: str = "refuse",
) -> Pairing:
    """Join the runs of two GPUs.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs.
    source, dest : str
        GPU names as in the column "device", or in any spelling that `canonical_device` knows; "any" for each GPU of the
        table with each other one.
    on : sequence of str
        Columns that must agree; "kernel_base" stands for the kernel's name without template and parameters.
    tolerance : float, optional
        Relative difference up to which numbers inside "input" agree; the text around them must be the same.
    repeats : str
        What to do with several runs of one key on one GPU: "refuse" (report them as ambiguous), or take their
        "mean", "median" or "first".

    Raises
    ------
    InputError
        If a GPU has no runs, a column does not exist, or an option is out of range.
    """
    source, dest = canonical_device(source), canonical_device(dest)
    if ANY in (source, dest):
        return _pair_any(frame, source, dest, on, tolerance, repeats)
    _check(frame, source, dest, on, tolerance, repeats)
    left = _one_each(frame[frame["device"] == source], on, repeats).reset_index(drop=True)
    right = _one_each(frame[frame["device"] == dest], on, repeats).reset_index(drop=True)
    left_keys, right_keys = _keys(left, on), _keys(right, on)
    if tolerance is not None:
        left_keys, right_keys = snap_inputs(left_keys, right_keys, list(on).index("input"), tolerance)
    sides: list[dict[tuple[Hashable, ...], list[int]]] = []
    for keys in (left_keys, right_keys):
        places: dict[tuple[Hashable, ...], list[int]] = defaultdict(list)
        for index, key in enumerate(keys):
            places[key].append(index)
        sides.append(places)
    matched: list[tuple[int, int]] = []
    ambiguous = []
    for key, ours in sides[0].items():
        theirs = sides[1].get(key)
        if not theirs:
            continue
        if len(ours) == 1 and len(theirs) == 1:
            matched.append((ours[0], theirs[0]))
        else:
            row = left.iloc[ours[0]]
            ambiguous.append(
                {name: _shown(row, name) for name in on}
                | {
                    "source_runs": len(ours),
                    "dest_runs": len(theirs),
                    "example": f"{row['file']}:{row['line']}",
                }
            )
    unmatched = [
        *_unmatched("source", left, left_keys, right_keys, on, dest),
        *_unmatched("dest", right, right_keys, left_keys, on, source),
    ]
    return Pairing(source, dest, tuple(on), _table(left, right, matched, on), unmatched, ambiguous)


def _pair_any(
    frame: pd.DataFrame, source: str, dest: str, on: Sequence[str], tolerance: float | None, repeats: str
) -> Pairing:
    """Join the runs of each GPU with those of each other one, where "any" stands for a GPU."""
    devices = sorted(map(str, frame["device"].unique()))
    found = [
        pair_runs(frame, source=one, dest=other, on=on, tolerance=tolerance, repeats=repeats)
        for one in (devices if source == ANY else [source])
        for other in (devices if dest == ANY else [dest])
        if one != other
    ]
    if not found:
        raise InputError(f"pairs are of two GPUs, the table has {', '.join(devices) or 'no runs'}")
    pairs = pd.concat([one.pairs for one in found], ignore_index=True)
    pairs.attrs["units"] = dict(frame.attrs.get("units", {}))
    return Pairing(
        source,
        dest,
        tuple(on),
        pairs,
        [item for one in found for item in one.unmatched],
        [item for one in found for item in one.ambiguous],
    )


def _check(
    frame: pd.DataFrame, source: str, dest: str, on: Sequence[str], tolerance: float | None, repeats: str
) -> None:
    devices = [str(name) for name in sorted(frame["device"].unique())]
    for name in (source, dest):
        if name not in devices:
            raise InputError(f"no runs of the GPU {name!r} in the table, it has {', '.join(devices)}")
    if source == dest:
        raise InputError(f"source and dest are both {source}: name two GPUs")
    for name in on:
        if name != "kernel_base" and name not in frame.columns:
            raise InputError(
                f"cannot join on {name!r}: no such column; usual are {', '.join(DEFAULT_ON)}, kernel_base"
            )
    if not on or len(set(on)) != len(on):
        raise InputError(f"the columns to join on must be some and different, got {list(on)}")
    if repeats not in REPEATS:
        raise InputError(f"repeats must be one of {', '.join(REPEATS)}, got {repeats!r}")
    if tolerance is not None:
        if not 0 <= tolerance < 1:
            raise InputError(f"the tolerance must be from 0 to below 1, got {tolerance}")
        if "input" not in on:
            raise InputError("a tolerance is for numbers in the input, but input is not joined on")


def _shown(row: pd.Series, name: str) -> Any:
    if name == "kernel_base":
        return base_name(str(row["kernel"]))
    return _whole(_text(row[name]))


def _whole(value: Hashable) -> Hashable:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unmatched(
    side: str,
    frame: pd.DataFrame,
    keys: list[tuple[Hashable, ...]],
    others: list[tuple[Hashable, ...]],
    on: Sequence[str],
    device: str,
) -> list[dict[str, Any]]:
    there = dict.fromkeys(others)
    prefixes = [{key[: depth + 1] for key in there} for depth in range(len(on))]
    known: list[dict[tuple[Hashable, ...], Hashable]] = [{} for _ in on]
    for key in there:
        for depth in range(len(on)):
            known[depth].setdefault(key[:depth], key[depth])
    found = []
    for index, key in enumerate(keys):
        if key in there:
            continue
        depth = next(depth for depth in range(len(on)) if key[: depth + 1] not in prefixes[depth])
        row = frame.iloc[index]
        name = on[depth]
        if name in ("application", "kernel", "kernel_base"):
            why = f"no such {name} on {device}"
        else:
            here, other = _shown(row, name), _whole(known[depth].get(key[:depth]))
            if name == "launch" and None in (here, other):
                words = (_TOGETHER, "single launches")
                why = f"{words[here is not None]} here, {words[here is None]} on {device}"
            else:
                why = f"{name} is {here!r} here, {other!r} on {device}"
        found.append(
            {"side": side, **{column: _shown(row, column) for column in on}, "why": why}
            | {"example": f"{row['file']}:{row['line']}", "column": name}
        )
    return found


def _table(
    left: pd.DataFrame, right: pd.DataFrame, matched: list[tuple[int, int]], on: Sequence[str]
) -> pd.DataFrame:
    ours = left.iloc[[one for one, _ in matched]].reset_index(drop=True)
    theirs = right.iloc[[two for _, two in matched]].reset_index(drop=True)
    columns: dict[str, pd.Series] = {}
    for name in on:
        columns[name] = ours["kernel"].map(base_name) if name == "kernel_base" else ours[name]
    for name in ("application", "kernel"):
        columns.setdefault(name, ours[name])
    for prefix, part in ((SOURCE, ours), (DEST, theirs)):
        for name in _KEPT:
            if name in part:
                columns[prefix + name] = part[name]
        for name in metric_columns(part.columns):
            if part[name].notna().any():
                columns[prefix + name] = part[name]
    table = pd.DataFrame(columns)
    table.attrs["units"] = dict(left.attrs.get("units", {}))
    return table


def paired_metrics(pairs: pd.DataFrame, side: str = SOURCE) -> list[str]:
    """Return the metrics that a side of a pair table has."""
    kept = {side + name for name in _KEPT}
    return [name[len(side) :] for name in pairs.columns if name.startswith(side) and name not in kept]


def pair_values(
    pairs: pd.DataFrame, side: str = SOURCE, metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the metric values of a side, shape (n_pairs, n_metrics), under their canonical names.

    Raises
    ------
    InputError
        If a metric is not in the table.
    """
    has = paired_metrics(pairs, side)
    wanted = has if metrics is None else list(metrics)
    missing = [name for name in wanted if name not in has]
    if missing:
        some = ", ".join(has[:5])
        raise InputError(
            f"the pairs have no {side}{missing[0]}: {len(has)} metrics are there, such as {some}"
        )
    values = pairs[[side + name for name in wanted]].copy()
    values.columns = wanted
    return values


def write_pairs(pairing: Pairing, path: Path | str) -> None:
    """Write a pair table as Parquet; the file is replaced as a whole or not at all."""
    table = pa.Table.from_pandas(pairing.pairs, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FORMAT: _VERSION})
    write_arrow(table, Path(path))


def load_pairs(path: Path | str) -> pd.DataFrame:
    """Read a pair table.

    Raises
    ------
    InputError
        If the file is missing or was not written by `write_pairs`.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"cannot read the pairs {path}: {why_not_parquet(error)}; `xarch pair` writes them"
        ) from error
    mark = (table.schema.metadata or {}).get(_FORMAT)
    if mark is None:
        raise InputError(f"{path} is no table of pairs: `xarch pair` writes one")
    if mark != _VERSION:
        raise InputError(
            f"the pairs {path} were written by another version: write them again with `xarch pair`"
        )
    pairs: pd.DataFrame = table.to_pandas()
    return pairs
