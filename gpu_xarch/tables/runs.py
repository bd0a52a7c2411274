"""The table of runs: one row a (device, application, kernel, input, launch or aggregate), in SI units.

On disk it is one Parquet file. Every column carries its unit in the schema; every row says which file and
line it came from. A file is known again by its content, a row by what it says, so adding the same files twice
adds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import derive, units
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.applications import Naming
from gpu_xarch.tables.kernel_names import normalise_kernel
from gpu_xarch.tables.records import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DESCRIPTORS",
    "KEY",
    "TableBuilder",
    "from_frame",
    "load_runs",
    "metric_columns",
    "read_arrow",
    "table_units",
    "write_arrow",
    "write_runs",
]

#: columns that say which run a row is
KEY = ("device", "application", "kernel", "input", "launch", "invocations")
#: every column that is no metric, with its Arrow type
DESCRIPTORS: dict[str, str] = {
    "device": "string",
    "application": "string",
    "kernel": "string",
    "input": "string",
    "launch": "int64",
    "invocations": "int64",
    "simulated": "bool",
    "device_name": "string",
    "kernel_name": "string",
    "command": "string",
    "launch_id": "string",
    "tool": "string",
    "tool_version": "string",
    "reader_version": "string",
    "file": "string",
    "file_sha256": "string",
    "line": "int64",
    "run_id": "string",
}
_FORMAT = "1"
_BATCH = 2000


def reader_version() -> str:
    """Return the version of this package, which is kept with every row."""
    try:
        return version("ase-proxima")
    except PackageNotFoundError:
        return "unknown"


def _schema(metrics: Iterable[str], unknown: dict[str, str]) -> pa.Schema:
    fields = [pa.field(name, pa.type_for_alias(kind)) for name, kind in DESCRIPTORS.items()]
    for name, unit in units(metrics).items():
        told = unknown.get(name, unit) if unit == "unknown" else unit
        fields.append(pa.field(name, pa.float64(), metadata={"unit": told}))
    return pa.schema(fields, metadata={"gpu_xarch.format": _FORMAT})


class TableBuilder:
    """Collect runs into Arrow tables, a batch at a time, so that they take little memory.

    Parameters
    ----------
    naming : Naming
        How applications and inputs are found.
    """

    def __init__(self, naming: Naming | None = None) -> None:
        self.naming = naming or Naming()
        self.reader_version = reader_version()
        self._rows: list[dict[str, Any]] = []
        self._values: list[dict[str, float]] = []
        self._unknown: dict[str, str] = {}
        self._tables: list[pa.Table] = []
        self._file = ""
        self._sha256 = ""
        self._told: dict[str, str] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._ordinals: dict[bytes, int] = {}
        self._orders: dict[tuple[str, ...], tuple[list[str], bytes]] = {}
        self.n_runs = 0

    def start_file(self, path: Path, sha256: str) -> None:
        """Set the file that the next runs come from."""
        self._file, self._sha256 = str(path), sha256
        self._told = self.naming.of_file(path)
        self._names.clear()
        self._ordinals.clear()

    def add(self, run: Run) -> None:
        """Add a run of the current file."""
        if run.command not in self._names:
            self._names[run.command] = self.naming.name(self._file, run.command)
        application, arguments = self._names[run.command]
        values = run.values | derive(run.values)
        device = self._told.get("device") or run.device or self.naming.device or run.fallback_device
        row: dict[str, Any] = {
            "device": canonical_device(device),
            "application": run.application or application,
            "kernel": normalise_kernel(run.kernel),
            "input": run.input if run.input is not None else arguments,
            "launch": run.launch,
            "invocations": run.invocations,
            "simulated": run.simulated,
            "device_name": device,
            "kernel_name": run.kernel,
            "command": run.command,
            "launch_id": run.launch_id,
            "tool": run.tool,
            "tool_version": run.tool_version,
            "reader_version": self.reader_version,
            "file": self._file,
            "file_sha256": self._sha256,
            "line": run.line,
        }
        row["run_id"] = self._identity(row, values)
        for name, unit in run.unknown_units.items():
            self._unknown.setdefault(name, unit)
        self._rows.append(row)
        self._values.append(values)
        self.n_runs += 1
        if len(self._rows) >= _BATCH:
            self._flush()

    def _identity(self, row: dict[str, Any], values: dict[str, float]) -> str:
        """Return a digest of what the run says; equal runs of one file differ by their ordinal."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr([row[name] for name in (*KEY, "simulated")]).encode())
        key = tuple(values)
        if key not in self._orders:
            self._orders[key] = sorted(values), "\0".join(sorted(values)).encode()
        names, joined = self._orders[key]
        digest.update(joined)
        digest.update(struct.pack(f"<{len(names)}d", *(values[name] for name in names)))
        seen = self._ordinals.get(digest.digest(), 0)
        self._ordinals[digest.digest()] = seen + 1
        if seen:
            digest.update(str(seen).encode())
        return digest.hexdigest()

    def _flush(self) -> None:
        if not self._rows:
            return
        names: dict[str, None] = {}
        for values in self._values:
            names.update(dict.fromkeys(values))
        schema = _schema(names, self._unknown)
        columns = [
            pa.array([row[name] for row in self._rows], type=pa.type_for_alias(kind))
            for name, kind in DESCRIPTORS.items()
        ]
        columns += [
            pa.array([values.get(name) for values in self._values], type=pa.float64()) for name in names
        ]
        self._tables.append(pa.Table.from_arrays(columns, schema=schema))
        self._rows, self._values = [], []

    def build(self) -> pa.Table:
        """Return all runs added so far."""
        self._flush()
        return concat(self._tables) if self._tables else _schema((), {}).empty_table()


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Join tables of runs; a metric that one of them lacks is missing there."""
    fields: dict[str, pa.Field] = {}
    for table in tables:
        for field in table.schema:
            fields.setdefault(field.name, field)
    schema = pa.schema(list(fields.values()), metadata={"gpu_xarch.format": _FORMAT})
    wide = []
    for table in tables:
        columns = [
            table.column(field.name)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        ]
        wide.append(pa.Table.from_arrays(columns, schema=schema))
    return pa.concat_tables(wide).combine_chunks()


def write_arrow(table: pa.Table, path: Path) -> None:
    """Write a table of runs; the file is replaced as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write the table {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def why_not_parquet(error: Exception) -> str:
    """Say in a few words why Arrow could not read a file."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, ValueError):  # ArrowInvalid
        return "it is no Parquet file, or a damaged one"
    return str(error).splitlines()[0][:200]


def read_arrow(path: Path) -> pa.Table:
    """Read a table of runs as Arrow.

    Raises
    ------
    InputError
        If the file is missing, no Parquet, or no table of runs.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"cannot read the table {path}: {why_not_parquet(error)}; `xarch ingest` writes one"
        ) from error
    missing = [name for name in DESCRIPTORS if name not in table.column_names]
    if missing or (table.schema.metadata or {}).get(b"gpu_xarch.format") != _FORMAT.encode():
        raise InputError(
            f"{path} is no table of runs written by `xarch ingest`, it lacks {missing or 'the format mark'}"
        )
    return table


def load_runs(path: Path | str) -> pd.DataFrame:
    """Read a table of runs.

    Returns
    -------
    pandas.DataFrame
        One row a run: the columns of `DESCRIPTORS`, then one float column a metric, NaN where it was not
        measured. ``frame.attrs["units"]`` holds the units.

    Raises
    ------
    InputError
        If the file is missing or no table of runs.
    """
    return to_frame(read_arrow(Path(path)))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Turn an Arrow table of runs into a data frame with its units."""
    frame: pd.DataFrame = table.to_pandas()
    frame["launch"] = frame["launch"].astype("Int64")
    frame["invocations"] = frame["invocations"].astype("Int64")
    for name, kind in DESCRIPTORS.items():
        if kind == "string":
            frame[name] = frame[name].astype("string")
    frame.attrs["units"] = table_units(table)
    return frame


def from_frame(frame: pd.DataFrame) -> pa.Table:
    """Turn a data frame of runs back into the Arrow table that `write_arrow` takes."""
    schema = _schema(metric_columns(frame.columns), frame.attrs.get("units", {}))
    return pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)


def write_runs(frame: pd.DataFrame, path: Path | str) -> None:
    """Write a data frame of runs; the file is replaced as a whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    write_arrow(from_frame(frame), Path(path))


def table_units(table: pa.Table) -> dict[str, str]:
    """Return the unit of every metric column of an Arrow table of runs."""
    found = {}
    for field in table.schema:
        if field.name not in DESCRIPTORS:
            found[field.name] = (field.metadata or {}).get(b"unit", b"unknown").decode()
    return found


def metric_columns(columns: Iterable[str]) -> list[str]:
    """Return the names that are metrics.

    Examples
    --------
    >>> metric_columns(["device", "ipc", "file"])
    ['ipc']
    """
    return [name for name in columns if name not in DESCRIPTORS]


def known_files(table: pa.Table) -> set[str]:
    """Return the digests of all files that a table was made of."""
    return {
        one
        for joined in table.column("file_sha256").unique().to_pylist()
        for one in (joined or "").split(";")
    }
