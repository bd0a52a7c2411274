"""From files in the wild to the table on disk; one bad file never stops the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import registry
from gpu_xarch.profiles.readers import Problem, Run, read_runs
from gpu_xarch.profiles.readers.source import fingerprint
from gpu_xarch.tables.applications import Naming
from gpu_xarch.tables.runs import (
    KEY,
    TableBuilder,
    concat,
    known_files,
    metric_columns,
    read_arrow,
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
    reader: Reader = read_runs,
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
        What reads one file.
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
        _read_file(path, named, sha256, builder, reader, report)
    table = builder.build()
    report.new = table.num_rows
    if table.num_rows:
        _add(old, table, out, report)
    elif old is None and not report.failed:
        raise InputError(f"none of the {len(files)} files is a profile of nvprof or Nsight Compute")
    return report


def _read_file(
    path: Path, named: bool, sha256: str, builder: TableBuilder, reader: Reader, report: IngestReport
) -> None:
    builder.start_file(path, sha256)
    known = registry()
    before = report.runs
    kept = 0
    for item in reader(path):
        if isinstance(item, Run):
            builder.add(item)
            report.runs += 1
            for name in item.values:
                if name not in known:
                    report.unknown[name] += 1
        elif item.fatal:
            if item.kind == "not-a-profile" and not named:
                report.skipped += 1
            else:
                report.failed.append(item)
        else:
            report.n_problems += 1
            kept += 1
            if kept <= _PROBLEMS_A_FILE:
                report.problems.append(item)
    if report.runs > before:
        report.read += 1


def _add(old: pa.Table | None, new: pa.Table, out: Path, report: IngestReport) -> None:
    held: set[str] = set(old.column("run_id").to_pylist()) if old is not None else set()
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
    merged = merge_passes(table)
    report.merged = table.num_rows - merged.num_rows
    order = pc.sort_indices(
        merged,
        sort_keys=[
            (name, "ascending") for name in ("device", "application", "kernel", "input", "launch", "run_id")
        ],
    )
    write_arrow(merged.take(order), out)


def merge_passes(table: pa.Table) -> pa.Table:
    """Join rows of one key that measured different metrics, as when a metric set is profiled in several goes.

    Rows of one key with a metric in common are repetitions and stay apart. Rows from one file stay apart too.
    """
    columns = [table.column(name).to_pylist() for name in (*KEY, "simulated", "tool")]
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
        unions = _unions([row for _, row in members], names)
        if len(unions) < len(members):
            gone.update(index for index, _ in members)
            replaced.extend(unions)
    if not gone:
        return table
    rest = table.filter(pa.array([index not in gone for index in range(table.num_rows)]))
    return concat([rest, pa.Table.from_pylist(replaced, schema=table.schema)])


def _unions(rows: Iterable[dict[str, object]], names: Sequence[str]) -> list[dict[str, object]]:
    result: list[tuple[dict[str, object], set[str], set[str]]] = []
    for row in rows:
        has = {name for name in names if row[name] is not None}
        sources = set(str(row["file_sha256"]).split(";"))
        for target, present, files in result:
            if not has & present and not sources & files:
                target.update({name: row[name] for name in has})
                for name in ("file", "file_sha256", "command"):
                    if row[name] != target[name]:
                        target[name] = f"{target[name]};{row[name]}"
                present |= has
                files |= sources
                break
        else:
            result.append((dict(row), has, sources))
    return [row for row, _, _ in result]
