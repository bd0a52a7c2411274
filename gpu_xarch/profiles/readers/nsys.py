"""Nsight Systems' ``nsys stats --format csv``: how long kernels took, in sum or by launch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from gpu_xarch.profiles.readers.messages import Context
from gpu_xarch.profiles.readers.rows import is_kernel, split_row
from gpu_xarch.tables.records import Problem, Run
from gpu_xarch.units import parse_nvprof

__all__ = ["NsysSection", "is_nsys"]

#: what the columns of a time are called, in the order of the checks: old releases spell the latter three out
_SUM = ("Total Time", "Avg", "Min", "Max")
_OLD = {"Average": "Avg", "Minimum": "Min", "Maximum": "Max"}
_LAUNCH = {
    "GrdX": "grid_x",
    "GrdY": "grid_y",
    "GrdZ": "grid_z",
    "BlkX": "block_x",
    "BlkY": "block_y",
    "BlkZ": "block_z",
    "Reg/Trd": "registers_per_thread",
}
#: sizes of a launch in one column, in the sums by kernel and grid
_SIZES = (("GridXYZ", "grid"), ("BlockXYZ", "block"))
#: the category of kernels in the sums of all that a GPU did
_KERNELS = "CUDA_KERNEL"
_TITLE = re.compile(r"(.*?) ?\((\S+)\)")
_UNITS = {"ns": "ns", "us": "us", "μs": "us", "µs": "us", "ms": "ms", "s": "s"}
_CALLS = re.compile(r"[1-9]\d{0,11}", re.ASCII)
_MEAN_DIGIT = 0.1  # Avg is printed with one decimal, in older releases with none
Output = Sequence[Run | Problem]


def is_nsys(columns: Sequence[str]) -> bool:
    """Tell whether these are columns of the sums by kernel or operation, or of the trace of the GPU."""
    names = {_split(title)[0] for title in columns}
    return ({*_SUM, "Instances"} <= names and ("Name" in names or {"Category", "Operation"} <= names)) or {
        "Start",
        "Duration",
        "Strm",
        "Name",
    } <= names


def _split(title: str) -> tuple[str, str]:
    """Return the name of a column and its unit."""
    match = _TITLE.fullmatch(title)
    name, unit = (match[1], match[2]) if match else (title, "")
    return _OLD.get(name, name), unit


class NsysSection:
    """A table with one row a kernel, or a launch, and no other sign of a profiler around it."""

    def __init__(self, context: Context, columns: Sequence[str]) -> None:
        self.context = context
        self.index = {}
        self.units = {}
        for place, title in enumerate(columns):
            name, unit = _split(title)
            self.index[name], self.units[name] = place, unit
        self.n_columns = len(columns)
        self.trace = "Strm" in self.index
        self.name = self.index["Name"] if "Name" in self.index else self.index["Operation"]
        self.launches: Counter[tuple[str, str]] = Counter()

    def wants(self, text: str) -> bool:
        """Tell whether a line without any quote belongs to the table."""
        return text.count(",") >= self.n_columns - 1

    def row(self, number: int, text: str, ended: bool) -> Output | None:
        """Take a line; return what it completed, or None if it is no row of the table."""
        fields = split_row(text)
        if fields is None or len(fields) != self.n_columns:
            if text.count(",") < self.n_columns // 2:
                return None
            count = "quotes that do not match" if fields is None else f"{len(fields)} fields"
            message = f"{count} where the header has {self.n_columns} fields; row left out"
            return [self._problem(number, "row", message)]
        if not ended and not text.endswith('"'):
            message = "the last line has no line end and may be cut; row left out"
            return [self._problem(number, "truncated", message)]
        kernel = fields[self.name]
        if not is_kernel(kernel) or ("Category" in self.index and fields[self.index["Category"]] != _KERNELS):
            return ()
        try:
            return [self._launch(number, kernel, fields) if self.trace else self._sum(number, kernel, fields)]
        except ValueError as error:
            return [self._problem(number, "number", f"{error}; row left out")]

    def _seconds(self, name: str, text: str) -> float:
        # old releases name the unit of the sum alone
        unit = self.units[name] or self.units.get("Total Time", "")
        if unit not in _UNITS:
            raise ValueError(f"the unit {unit[:20]!r} of {name} is not known")
        return parse_nvprof(text + _UNITS[unit])[0]

    def _run(self, number: int, kernel: str, invocations: int, device: str) -> Run:
        run = Run(device, kernel, invocations, None, number, "nsys", self.context.command)
        run.simulated = self.context.simulated
        run.fallback_device = "unknown"
        return run

    def _sum(self, number: int, kernel: str, fields: Sequence[str]) -> Run:
        total, mean, low, high = (self._seconds(name, fields[self.index[name]]) for name in _SUM)
        calls = fields[self.index["Instances"]]
        if not _CALLS.fullmatch(calls):
            raise ValueError(f"Instances is {calls[:20]!r}, not a number of launches")
        step = self._seconds("Avg", str(_MEAN_DIGIT if "." in fields[self.index["Avg"]] else 1))
        if not low - step <= mean <= high + step or abs(total - int(calls) * mean) > int(calls) * step:
            raise ValueError("Total Time, Instances, Avg, Min and Max do not agree")
        run = self._run(number, kernel, int(calls), "")
        run.values["duration"] = mean
        for title, name in _SIZES:
            sizes = fields[self.index[title]].split() if title in self.index else []
            if len(sizes) == len("xyz"):
                run.values |= {
                    f"{name}_{axis}": parse_nvprof(size)[0] for axis, size in zip("xyz", sizes, strict=True)
                }
        return run

    def _launch(self, number: int, kernel: str, fields: Sequence[str]) -> Run:
        device = fields[self.index["Device"]] if "Device" in self.index else ""
        run = self._run(number, kernel, 1, device)
        run.values["duration"] = self._seconds("Duration", fields[self.index["Duration"]])
        for name, metric in _LAUNCH.items():
            if fields[self.index[name]] if name in self.index else "":
                run.values[metric] = parse_nvprof(fields[self.index[name]])[0]
        run.launch = self.launches[device, kernel]
        self.launches[device, kernel] += 1
        run.launch_id = fields[self.index["CorrId"]] if "CorrId" in self.index else ""
        return run

    def finish(self) -> Output:
        """Return nothing: each row is complete in itself."""
        return ()

    def _problem(self, number: int, kind: str, message: str) -> Problem:
        return Problem(self.context.file, number, kind, message)
