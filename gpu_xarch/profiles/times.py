"""Times of a program's launches joined to its counters: the mean over the launches that the counters stand for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from gpu_xarch.tables.records import Problem
from gpu_xarch.tables.runs import JOINED, concat, join_texts, metric_columns

__all__ = ["LAUNCH", "TIMES", "join_times"]

#: how a launch was made: the same for a trace and for counters of one run
LAUNCH = frozenset(f"{name}_{axis}" for name in ("grid", "block") for axis in "xyz") | {
    "registers_per_thread",
    "shared_static",
    "shared_dynamic",
}
#: a row with no other metrics is a time alone, without counters
TIMES = LAUNCH | {"duration"}
_KEY = ("device", "application", "kernel", "input", "simulated")
_SAME = 1e-9  # relative: two means of the same launches


def join_times(table: pa.Table) -> tuple[pa.Table, list[Problem]]:
    """Give rows of counters over all launches the mean time of those launches, where a trace has exactly them.

    Rows of the trace that were joined are part of the counters' row from then on. Launches that are profiled one by
    one stay rows of their own.

    Parameters
    ----------
    table : pyarrow.Table
        A table of runs.

    Returns
    -------
    table : pyarrow.Table
        The joined table.
    problems : list of Problem
        Counters of another number of launches than the trace has.
    """
    if "duration" not in table.column_names:
        return table, []
    traced, counted = _rows(table)
    updates: dict[int, dict[str, object]] = {}
    gone: set[int] = set()
    problems = []
    for key in traced.keys() & counted.keys():
        boards = {row["device_name"] for row in counted[key]}
        unclaimed = [launch for launch in traced[key] if launch["device_name"] not in boards]
        for row in counted[key]:
            # of several boards of one kind, the board of the counters where both tools name it
            mine = [launch for launch in traced[key] if launch["device_name"] == row["device_name"]]
            launches = mine or unclaimed
            if not launches:
                continue
            number = row["invocations"]
            if not _complete([launch["launch"] for launch in launches], number):
                if row["duration"] is None:
                    times = len({launch["launch"] for launch in launches})
                    message = (
                        f"{row['kernel'][:60]}: counters of {number} launches, times of {times}; not joined"
                    )
                    problems.append(Problem(str(row["file"]), int(row["line"]), "note", message))
                continue
            mean = float(np.mean([launch["duration"] for launch in launches]))
            if row["duration"] is not None and abs(row["duration"] - mean) > _SAME * mean:
                continue
            updates[row["place"]] = _joined(row, launches, mean)
            gone.update(launch["place"] for launch in launches)
    if not updates:
        return table, problems
    changed = sorted(updates)
    rows = table.take(pa.array(changed)).to_pylist()
    rows = [row | updates[place] for place, row in zip(changed, rows, strict=True)]
    rest = table.filter(
        pa.array([place not in gone and place not in updates for place in range(table.num_rows)])
    )
    return concat([rest, pa.Table.from_pylist(rows, schema=table.schema)]), problems


def _rows(
    table: pa.Table,
) -> tuple[Mapping[tuple[object, ...], list[dict]], Mapping[tuple[object, ...], list[dict]]]:  # type: ignore[type-arg]
    """Return the launches of traces, and the rows of counters over all launches, by what they belong to."""
    names = metric_columns(table.column_names)
    counters = np.zeros(table.num_rows, dtype=bool)
    for name in set(names) - TIMES:
        counters |= table.column(name).is_valid().to_numpy()
    launch = table.column("launch").is_valid().to_numpy()
    timed = table.column("duration").is_valid().to_numpy()
    places = np.flatnonzero((launch & timed & ~counters) | (~launch & counters))
    wanted = [
        *_KEY,
        "device_name",
        "launch",
        "invocations",
        "line",
        *JOINED,
        *(name for name in names if name in TIMES),
    ]
    rows = table.select(wanted).take(pa.array(places)).to_pylist()
    traced: dict[tuple[object, ...], list[dict]] = defaultdict(list)  # type: ignore[type-arg]
    counted: dict[tuple[object, ...], list[dict]] = defaultdict(list)  # type: ignore[type-arg]
    for place, row in zip(places.tolist(), rows, strict=True):
        row["place"] = place
        (counted if row["launch"] is None else traced)[tuple(row[name] for name in _KEY)].append(row)
    return traced, counted


def _complete(launches: Iterable[int], number: int) -> bool:
    """Tell whether these are all of so many launches, once or the same number of times each.

    Examples
    --------
    >>> _complete([0, 1, 2, 0, 1, 2], 3), _complete([0, 1], 3), _complete([0, 0, 1], 2)
    (True, False, False)
    """
    counts = Counter(launches)
    return set(counts) == set(range(number)) and len(set(counts.values())) == 1


def _joined(row: Mapping[str, object], launches: list[dict], mean: float) -> dict[str, object]:  # type: ignore[type-arg]
    update: dict[str, object] = {"duration": mean}
    for name in LAUNCH & row.keys():
        values = {launch[name] for launch in launches}
        if row[name] is None and len(values) == 1:
            update[name] = values.pop()
    for name in ("file", "file_sha256", "command"):
        update[name] = join_texts(row[name], *(launch[name] for launch in launches))
    return update
