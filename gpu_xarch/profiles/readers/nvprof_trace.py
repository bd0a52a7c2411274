"""nvprof's wide tables: the GPU trace, metrics by launch, and the summary of times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from gpu_xarch.profiles.readers.messages import Context
from gpu_xarch.profiles.readers.nvprof import event_column, is_event, metric_key
from gpu_xarch.profiles.readers.rows import device_fault, is_kernel, name_fault, split_row
from gpu_xarch.tables.records import Problem, Run
from gpu_xarch.units import parse_nvprof

__all__ = ["SummarySection", "TraceSection", "is_summary", "is_trace"]

_LAUNCH = {
    "Grid X": "grid_x",
    "Grid Y": "grid_y",
    "Grid Z": "grid_z",
    "Block X": "block_x",
    "Block Y": "block_y",
    "Block Z": "block_z",
    "Registers Per Thread": "registers_per_thread",
    "Static SMem": "shared_static",
    "Dynamic SMem": "shared_dynamic",
    "Duration": "duration",
}
_OTHER = frozenset(
    (
        "Start",
        "Context",
        "Stream",
        "Size",
        "Throughput",
        "SrcMemType",
        "DstMemType",
        "Device",
        "Name",
        "Kernel",
        "Correlation_ID",
        "Src Dev",
        "Src Ctx",
        "Dst Dev",
        "Dst Ctx",
        "Unified Memory",
        "Virtual Address",
    )
)
_LAUNCH_ID = re.compile(r" \[(\d+)\]$")
_BYTES = frozenset({"bytes"})  # without its unit 1.0625 may be bytes or KB
_KINDS = {"duration": frozenset({"s"}), "shared_static": _BYTES, "shared_dynamic": _BYTES}
Output = Sequence[Run | Problem]


def is_trace(columns: Sequence[str]) -> bool:
    """Tell whether these are the columns of a trace or of metrics by launch."""
    return "Device" in columns and ("Name" in columns or "Kernel" in columns) and "Stream" in columns


def is_summary(columns: Sequence[str]) -> bool:
    """Tell whether these are the columns of the summary of times."""
    return {"Time(%)", "Time", "Calls", "Avg", "Min", "Max", "Name"} <= set(columns)


class _WideSection:
    """A table with a header, a row of units, and one row a launch or kernel."""

    def __init__(self, context: Context, columns: Sequence[str]) -> None:
        self.context = context
        self.columns = list(columns)
        self.units: list[str] = [""] * len(columns)
        self.first = True
        self.has_units = False
        self.name = next(columns.index(name) for name in ("Name", "Kernel") if name in columns)

    def wants(self, text: str) -> bool:
        """Tell whether a line without quotes can be the row of units."""
        return self.first and text.count(",") == len(self.columns) - 1

    def row(self, number: int, text: str, ended: bool) -> Output | None:
        """Take one line; return the run on it, or None if it is no row of this table."""
        fields = split_row(text)
        first, self.first = self.first, False
        if fields is None or len(fields) != len(self.columns):
            start = text.find('"')
            if start < 0 or text.count(",") < len(self.columns) // 2:
                return None
            count = "quotes that do not match" if fields is None else f"{len(fields)} fields"
            return [
                self.problem(
                    number, "row", f"{count} where the header has {len(self.columns)} fields; row left out"
                )
            ]
        if first and not fields[self.name] and not any(map(str.isdigit, "".join(fields))):
            # a unit that is not known spoils the values of its column, and no others
            self.units, self.has_units = fields, True
            return ()
        if not ended and not text.endswith('"'):
            return [
                self.problem(
                    number, "truncated", "the last line has no line end and may be cut; row left out"
                )
            ]
        return self.take(number, fields)

    def take(self, number: int, fields: list[str]) -> Output:
        """Turn the fields of a row into a run."""
        raise NotImplementedError

    def value(self, index: int, text: str) -> tuple[float, str]:
        """Return a field in SI units: with its own unit, or with that of its column."""
        try:
            return parse_nvprof(text)
        except ValueError:
            raise ValueError(
                f"column {self.columns[index][:40]!r}: not a value that nvprof prints: {text[:40]!r}"
            ) from None

    def scaled(self, index: int, text: str) -> tuple[float, str]:
        """Return a field whose unit stands in the row of units, unless it has one of its own."""
        unit = self.units[index]
        return self.value(index, text + unit if unit and re.search(r"[\d.]$", text, re.ASCII) else text)

    def problem(self, number: int, kind: str, message: str) -> Problem:
        """Return a problem at a line of this file."""
        return Problem(self.context.file, number, kind, message)

    def finish(self) -> Output:
        """Return nothing: each row is complete in itself."""
        return ()


class TraceSection(_WideSection):
    """``--print-gpu-trace``: times and launch sizes, and metrics where they were asked for too."""

    def __init__(self, context: Context, columns: Sequence[str]) -> None:
        super().__init__(context, columns)
        self.device = self.columns.index("Device")
        self.launches: Counter[tuple[str, str]] = Counter()

    def take(self, number: int, fields: list[str]) -> Output:
        """Return the run of a launch; copies and fills are no kernels."""
        kernel = fields[self.name]
        if not is_kernel(kernel):
            return ()
        match = _LAUNCH_ID.search(kernel)
        launch_id = match[1] if match else ""
        kernel = kernel[: match.start()] if match else kernel
        if "Correlation_ID" in self.columns and not launch_id:
            launch_id = fields[self.columns.index("Correlation_ID")]
        if fault := device_fault(fields[self.device]) or name_fault(kernel):
            return [self.problem(number, "row", f"{fault}: {kernel[:60]}; row left out")]
        key = (fields[self.device], kernel)
        run = Run(
            device=fields[self.device],
            kernel=kernel,
            invocations=1,
            launch=self.launches[key],
            line=number,
            tool="nvprof",
            command=self.context.command,
            launch_id=launch_id,
            simulated=self.context.simulated,
        )
        self.launches[key] += 1
        problems: list[Run | Problem] = []
        dropped: set[str] = set()
        for index, text in enumerate(fields):
            title = self.columns[index]
            if title in _OTHER or not text:
                continue
            try:
                column, value = self._field(index, title, text, run)
            except ValueError as error:
                kind = "overflow" if "OVERFLOW" in text else "number"
                problems.append(self.problem(number, kind, f"{error}; value left out"))
                continue
            if column in dropped:
                continue
            before = run.values.get(column)
            if before is not None and before != value:
                del run.values[column]
                dropped.add(column)
                message = f"the column {title!r} comes twice as {before!r} and {value!r}; neither is kept"
                problems.append(self.problem(number, "conflict", message))
                continue
            run.values[column] = value
        return [*problems, run] if run.values else problems

    def _field(self, index: int, title: str, text: str, run: Run) -> tuple[str, float]:
        value, unit = self.scaled(index, text)
        if title in _LAUNCH:
            column = _LAUNCH[title]
            classes: frozenset[str] | None = _KINDS.get(column, frozenset({"plain"}))
        else:
            column, classes = metric_key(title)
            if classes is None and is_event(column):
                column, classes = event_column(column), frozenset({"plain"})
        if classes is None:
            if not self.has_units:
                raise ValueError(
                    f"column {title[:40]!r}: the table has no row of units, and none is known for it"
                )
            if run.unknown_units.setdefault(column, unit) != unit:
                raise ValueError(f"column {title[:40]!r} comes in two units")
        elif unit not in classes:
            raise ValueError(
                f"column {title[:40]!r}: {text[:40]!r} is of unit {unit}, not {', '.join(sorted(classes))}"
            )
        return column, value


class SummarySection(_WideSection):
    """nvprof without metrics: how long each kernel took, on which device it does not say."""

    def __init__(self, context: Context, columns: Sequence[str]) -> None:
        super().__init__(context, columns)
        # older versions print the calls of the interface as a second table with the same columns
        self.api_calls = context.api_calls

    def take(self, number: int, fields: list[str]) -> Output:
        """Return the run of a kernel, its duration the mean over all calls."""
        row = dict(zip(self.columns, fields, strict=True))
        if row.get("Type", "GPU activities") != "GPU activities" or not is_kernel(row["Name"]):
            return ()
        if self.api_calls:
            return ()
        try:
            total, low, high, mean = (
                self._seconds(self.columns.index(name), row[name]) for name in ("Time", "Min", "Max", "Avg")
            )
            if not re.fullmatch(r"[1-9]\d{0,11}", row["Calls"], re.ASCII):
                raise ValueError(f"Calls is {row['Calls'][:20]!r}, not a number of calls")
            calls = int(row["Calls"])
            slack = 1e-5 * high + 1e-9
            if (
                not low - slack <= mean <= high + slack
                or abs(total - calls * mean) > 1e-3 * total + calls * 1e-9
            ):
                raise ValueError("Time, Calls, Avg, Min and Max do not agree")
        except ValueError as error:
            return [self.problem(number, "number", f"{error}; row left out")]
        run = Run("", row["Name"], calls, None, number, "nvprof", self.context.command, {"duration": mean})
        run.simulated = self.context.simulated
        run.fallback_device = "unknown"
        return [run]

    def _seconds(self, index: int, text: str) -> float:
        value, unit = self.scaled(index, text)
        if unit != "s":
            raise ValueError(f"{text[:40]!r} is no time")
        return value
