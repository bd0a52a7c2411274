"""Runs, one after the other, into a table: named, checked, with where each is from."""

from __future__ import annotations

import hashlib
import struct
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gpu_xarch.metrics import derive, registry
from gpu_xarch.specs import canonical_device, gpus
from gpu_xarch.tables.applications import Naming
from gpu_xarch.tables.kernel_names import normalise_kernel
from gpu_xarch.tables.limits import OF_DEVICE, device_limits, limits
from gpu_xarch.tables.records import Problem, Run
from gpu_xarch.tables.runs import DESCRIPTORS, KEY, concat, run_schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TableBuilder"]

_BATCH = 2000


def reader_version() -> str:
    """Return the version of this package, which is kept with every row."""
    try:
        return version("ase-proxima")
    except PackageNotFoundError:
        return "unknown"


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
        #: what was seen since somebody last took it away
        self.problems: list[Problem] = []
        self._overruled: set[tuple[str, str]] = set()

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
        values = run.values
        device = self._device(run)
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
            "refused": "",
        }
        row["run_id"] = self._identity(row, values)
        for name, unit in run.unknown_units.items():
            self._unknown.setdefault(name, unit)
        self._rows.append(row)
        self._values.append(values)
        self.n_runs += 1
        if len(self._rows) >= _BATCH:
            self._flush()

    def _device(self, run: Run) -> str:
        """Return what the device is called: the compute capability in a row overrules a name that has another."""
        device = self._told.get("device") or run.device or self.naming.device or run.fallback_device
        spec = gpus().get(canonical_device(device))
        if not run.capability or spec is None or spec.compute_capability == run.capability:
            return device
        seen = run.device or f"CC {run.capability}"
        if (device, seen) not in self._overruled:
            self._overruled.add((device, seen))
            message = (
                f"the rows are of compute capability {run.capability}, {device} has {spec.compute_capability}: "
                f"kept as runs of {seen}"
            )
            self.problems.append(Problem(self._file, run.line, "device", message))
        return seen

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
        metrics = {name: self._possible(name) for name in names}
        metrics |= derive(metrics)
        schema = run_schema(metrics, self._unknown)
        columns = [
            pa.array([row[name] for row in self._rows], type=pa.type_for_alias(kind))
            for name, kind in DESCRIPTORS.items()
        ]
        columns += [pa.array(values, type=pa.float64(), from_pandas=True) for values in metrics.values()]
        self._tables.append(pa.Table.from_arrays(columns, schema=schema))
        self._rows, self._values = [], []

    def _possible(self, name: str) -> NDArray[np.float64]:
        """Return a metric's values of the batch, NaN for those that cannot be, which are reported."""
        values = np.array([row.get(name, np.nan) for row in self._values], dtype=float)
        if name not in registry():
            return values
        why, limit = limits(name)
        by_device: dict[str, tuple[str, float]] = {}
        most: float | NDArray[np.float64] = limit
        if name in OF_DEVICE:
            devices = [row["device"] for row in self._rows]
            by_device = {one: device_limits(one).get(name, (why, limit)) for one in set(devices)}
            most = np.array([by_device[one][1] for one in devices])
        for place in np.flatnonzero((values < 0.0) | (values > most)).tolist():
            reason, _ = by_device.get(self._rows[place]["device"], (why, limit))
            self._refuse(place, name, values[place], "below zero" if values[place] < 0.0 else reason)
            values[place] = np.nan
        return values

    def _refuse(self, place: int, name: str, value: float, why: str) -> None:
        row = self._rows[place]
        row["refused"] = ";".join(filter(None, (row["refused"], name)))
        message = f"{name} of {row['kernel'][:60]} is {value:.6g}, {why}; value left out"
        self.problems.append(Problem(row["file"], row["line"], "impossible", message))

    def build(self) -> pa.Table:
        """Return all runs added so far."""
        self._flush()
        return concat(self._tables) if self._tables else run_schema((), {}).empty_table()
