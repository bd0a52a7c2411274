"""The table of runs: one row a (device, application, kernel, input, launch or aggregate), in SI units.

On disk it is one Parquet file. Every column carries its unit in the schema; every row says which file and
line it came from. A file is known again by its content, a row by what it says, so adding the same files twice
adds nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import DERIVED_FROM, derive, units

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DESCRIPTORS",
    "JOINED",
    "KEY",
    "from_frame",
    "load_runs",
    "metric_columns",
    "read_arrow",
    "run_schema",
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
    "refused": "string",
}
_FORMAT = "2"
#: columns of joined rows that keep what each of them said, with ";" in between
JOINED = ("file", "file_sha256", "command", "run_id", "refused", "tool")


def run_schema(metrics: Iterable[str], unknown: dict[str, str]) -> pa.Schema:
    """Return the schema of a table with these metrics; `unknown` are the units of those not registered."""
    fields = [pa.field(name, pa.type_for_alias(kind)) for name, kind in DESCRIPTORS.items()]
    for name, unit in units(metrics).items():
        told = unknown.get(name, unit) if unit == "unknown" else unit
        fields.append(pa.field(name, pa.float64(), metadata={"unit": told}))
    return pa.schema(fields, metadata={"gpu_xarch.format": _FORMAT})


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


def join_texts(*texts: object) -> str:
    """Return texts that may be joined themselves as one, each part once.

    Examples
    --------
    >>> join_texts("a.csv;b.csv", "b.csv", "")
    'a.csv;b.csv'
    """
    parts = (part for text in texts for part in str(text).split(";"))
    return ";".join(dict.fromkeys(filter(None, parts)))


def with_derived(table: pa.Table) -> pa.Table:
    """Add what follows from the metrics of each row, where rows were joined since it was last done."""
    needed = [name for name in DERIVED_FROM if name in table.column_names]
    found = derive({name: table.column(name).to_numpy().astype(float) for name in needed})
    for name, values in found.items():
        field = run_schema([name], {}).field(name)
        column = pa.array(values, type=pa.float64(), from_pandas=True)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), field, column)
        else:
            table = table.append_column(field, column)
    return table


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
    marks = table.schema.metadata or {}
    mark = marks.get(b"gpu_xarch.format")
    if mark is None:
        why = "holds pairs of runs" if b"gpu_xarch.pairs" in marks else "lacks the format mark"
        raise InputError(f"{path} is no table of runs written by `xarch ingest`: it {why}")
    missing = [name for name in DESCRIPTORS if name not in table.column_names]
    if mark != _FORMAT.encode() or missing:
        raise InputError(
            f"the table {path} was written by another version: make it again with `xarch ingest`"
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
    schema = run_schema(metric_columns(frame.columns), frame.attrs.get("units", {}))
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
    return _parts(table, "file_sha256")


def ids_of(table: pa.Table) -> set[str]:
    """Return the identities of all runs that a table holds, joined ones too."""
    return _parts(table, "run_id")


def _parts(table: pa.Table, name: str) -> set[str]:
    return {one for joined in table.column(name).unique().to_pylist() for one in (joined or "").split(";")}
