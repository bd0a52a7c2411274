"""From files in the wild to the table on disk; one bad file never stops the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import registry
from gpu_xarch.profiles.readers import Problem, Run, read_runs
from gpu_xarch.profiles.readers.source import fingerprint
from gpu_xarch.profiles.times import LAUNCH, TIMES, join_times
from gpu_xarch.tables.applications import Naming
from gpu_xarch.tables.builder import TableBuilder
from gpu_xarch.tables.runs import (
    JOINED,
    KEY,
    concat,
    ids_of,
    join_texts,
    known_files,
    metric_columns,
    read_arrow,
    with_derived,
    write_arrow,
)

__all__ = ["IngestReport", "find_profiles", "ingest"]

_PROBLEMS_A_FILE = 100
Reader = Callable[[Path], Iterator["Run | Problem"]]


@dataclass
class IngestReport:
    """What an ingestion did.

    Parameters
    ----------
    files : int
        Files looked at.
    read, already, skipped : int
        Files that gave runs; that the table held before; found in a folder and no profile.
    failed : list of Problem
        One for each file that should have given runs and did not.
    problems : list of Problem
        Everything else that was left out, at most 100 a file.
    runs, new, duplicate : int
        Runs read, added, and left out because the table holds the same run already.
    merged : int
        Rows that were joined into one because they hold different metrics of the same run.
    unknown : dict
        Metrics that the registry does not know, with the number of runs that have them.
    refused : int
        Values left out because no device can have them; the column `refused` of the table names their metrics.
    kept : dict
        Problems of each file, those beyond the first 100 counted too.
    """

    files: int = 0
    read: int = 0
    already: int = 0
    skipped: int = 0
    failed: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    runs: int = 0
    new: int = 0
    duplicate: int = 0
    merged: int = 0
    n_problems: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    kept: Counter[str] = field(default_factory=Counter)

    def note(self, problems: list[Problem]) -> None:
        """Take problems over, so many of each file and all of them counted; the list is empty afterwards."""
        for problem in problems:
            self.n_problems += 1
            self.refused += problem.kind == "impossible"
            self.kept[problem.file] += 1
            if self.kept[problem.file] <= _PROBLEMS_A_FILE:
                self.problems.append(problem)
        problems.clear()


def find_profiles(paths: Iterable[Path | str]) -> list[tuple[Path, bool]]:
    """Return (file, named by the user) for all files; folders are searched, hidden names left out.

    Raises
    ------
    InputError
        If a path does not exist or nothing is found.
    """
    found: dict[Path, bool] = {}
    for path in map(Path, paths):
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
                    found.setdefault(file, False)
        elif path.exists():
            found[path] = True
        else:
            raise InputError(f"no such file or folder: {path}")
    if not found:
        raise InputError(f"no files in {', '.join(map(str, paths))}: give files or folders with profiles")
    return list(found.items())


def ingest(
    paths: Path | str | Iterable[Path | str],
    out: Path | str,
    *,
    naming: Naming | None = None,
    reader: Reader | None = None,
    decimal: str | None = None,
    on_file: Callable[[Path, int, int], None] | None = None,
) -> IngestReport:
    """Read profiles and add them to the table at `out`.

    Parameters
    ----------
    paths : path or iterable of path
        Files and folders.
    out : path
        The table; made if it does not exist.
    naming : Naming, optional
        How applications and inputs are found.
    reader : callable, optional
        What reads one file; `read_runs` unless given.
    decimal : str, optional
        The mark before decimals in Nsight Compute's numbers, "." or ","; found out from each file unless given.
    on_file : callable, optional
        Called with (file, index, number of files) before each file.

    Raises
    ------
    InputError
        If nothing is found, or `out` exists and is no table of runs.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    out = Path(out)
    files = find_profiles(paths)
    files = [(path, named) for path, named in files if path.resolve() != out.resolve()]
    old = read_arrow(out) if out.exists() else None
    known = known_files(old) if old is not None else set()
    read = partial(read_runs, decimal=decimal) if reader is None else reader
    builder = TableBuilder(naming)
    report = IngestReport(files=len(files))
    for index, (path, named) in enumerate(files):
        if on_file is not None:
            on_file(path, index, len(files))
        try:
            sha256 = fingerprint(path)
        except OSError as error:
            report.failed.append(
                Problem(str(path), 0, "unreadable", f"cannot be read: {error.strerror}", True)
            )
            continue
        if sha256 in known:
            report.already += 1
            continue
        known.add(sha256)
        _read_file(path, named, sha256, builder, read, report)
        report.note(builder.problems)
    table = builder.build()
    report.note(builder.problems)
    report.new = table.num_rows
    if table.num_rows:
        _add(old, table, out, report)
    elif old is None and not report.failed:
        told = "".join(f"; {one.file}: {one.message}" for one in report.problems[:1])
        raise InputError(f"no profile of nvprof or Nsight in {', '.join(map(str, paths))}{told}")
    return report


def _read_file(
    path: Path, named: bool, sha256: str, builder: TableBuilder, reader: Reader, report: IngestReport
) -> None:
    builder.start_file(path, sha256)
    known = registry()
    before = report.runs
    for item in reader(path):
        if isinstance(item, Run):
            builder.add(item)
            report.runs += 1
            for name in item.values:
                if name not in known and not name.startswith("event."):
                    report.unknown[name] += 1
        elif item.fatal:
            if item.kind in ("not-a-profile", "other-format") and not named:
                report.skipped += 1
                if item.kind == "other-format":
                    report.note([item])
            else:
                report.failed.append(item)
        else:
            report.note([item])
    if report.runs > before:
        report.read += 1


def _add(old: pa.Table | None, new: pa.Table, out: Path, report: IngestReport) -> None:
    held = ids_of(old) if old is not None else set()
    keep = []
    for run_id in new.column("run_id").to_pylist():
        keep.append(run_id not in held)
        held.add(run_id)
    if not all(keep):
        new = new.filter(pa.array(keep))
    report.duplicate = report.new - new.num_rows
    report.new = new.num_rows
    if not new.num_rows:
        return
    table = concat([old, new]) if old is not None else new
    merged, problems = join_times(merge_passes(table))
    report.note(problems)
    report.merged = table.num_rows - merged.num_rows
    order = pc.sort_indices(
        merged,
        sort_keys=[
            (name, "ascending") for name in ("device", "application", "kernel", "input", "launch", "run_id")
        ],
    )
    write_arrow(merged.take(order), out)


def merge_passes(table: pa.Table) -> pa.Table:
    """Join rows of one key that measured different metrics: events and metrics, or a set profiled in several goes.

    Rows of one key with a metric in common are repetitions and stay apart, but for the sizes of the launch, which a
    trace and counters both have. Counters of different tools stay apart; times of any tool join them.
    """
    columns = [table.column(name).to_pylist() for name in (*KEY, "simulated")]
    places: dict[tuple[object, ...], list[int]] = {}
    for index, key in enumerate(zip(*columns, strict=True)):
        places.setdefault(key, []).append(index)
    groups = [indices for indices in places.values() if len(indices) > 1]
    if not groups:
        return table
    names = metric_columns(table.column_names)
    shared = table.take(pa.array([index for group in groups for index in group]))
    rows = iter(shared.to_pylist())
    gone: set[int] = set()
    replaced: list[dict[str, object]] = []
    for group in groups:
        members = [(index, next(rows)) for index in group]
        # of several boards of one kind, what one of them measured belongs together first
        boards: dict[object, list[dict[str, object]]] = {}
        for _, row in members:
            boards.setdefault(row["device_name"], []).append(row)
        unions = _unions([one for board in boards.values() for one in _unions(board, names)], names)
        if len(unions) < len(members):
            gone.update(index for index, _ in members)
            replaced.extend(unions)
    if not gone:
        return table
    rest = table.filter(pa.array([index not in gone for index in range(table.num_rows)]))
    return with_derived(concat([rest, pa.Table.from_pylist(replaced, schema=table.schema)]))


def _may_join(one: dict[str, object], ones: set[str], other: dict[str, object], others: set[str]) -> bool:
    """Tell whether two rows of one key, with these metrics, are parts of one run."""
    common = ones & others
    if not common <= LAUNCH or any(one[name] != other[name] for name in common):
        return False
    return one["tool"] == other["tool"] or ones <= TIMES or others <= TIMES


def _unions(rows: Iterable[dict[str, object]], names: Sequence[str]) -> list[dict[str, object]]:
    result: list[tuple[dict[str, object], set[str]]] = []
    for row in rows:
        refused = str(row["refused"]).split(";")
        has = {name for name in names if row[name] is not None or name in refused}
        for joined, present in result:
            if _may_join(joined, present, row, has):
                joined.update({name: row[name] for name in has})
                for name in JOINED:
                    joined[name] = join_texts(joined[name], row[name])
                present |= has
                break
        else:
            result.append((dict(row), has))
    return [row for row, _ in result]
