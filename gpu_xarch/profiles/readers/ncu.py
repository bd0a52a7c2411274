"""Nsight Compute's ``--csv`` output: the details page and the raw page, with old and new sets of columns."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from gpu_xarch.metrics import evaluate_ncu, ncu_names, registry
from gpu_xarch.profiles.readers.messages import Context
from gpu_xarch.profiles.readers.rows import is_title, split_row
from gpu_xarch.profiles.readers.separators import find_separators, told_by
from gpu_xarch.profiles.readers.source import DamagedFileError, open_lines
from gpu_xarch.tables.records import Problem, Run
from gpu_xarch.units import parse_ncu

__all__ = ["DETAILS", "NcuSection", "is_ncu"]

#: what the details page calls a metric, by unit class where one name has two meanings
DETAILS: Mapping[tuple[str, str], str] = {
    (title, kind): name
    for title, kind, name in (
        ("Executed Ipc Active", "plain", "sm__inst_executed.avg.per_cycle_active"),
        ("Issued Ipc Active", "plain", "sm__inst_issued.avg.per_cycle_active"),
        ("Issue Slots Busy", "fraction", "smsp__issue_active.avg.pct_of_peak_sustained_active"),
        ("Executed Instructions", "plain", "smsp__inst_executed.sum"),
        ("Issued Instructions", "plain", "smsp__inst_issued.sum"),
        ("Eligible Warps Per Scheduler", "plain", "smsp__warps_eligible.avg.per_cycle_active"),
        ("Avg. Active Threads Per Warp", "plain", "smsp__thread_inst_executed_per_inst_executed.ratio"),
        (
            "Avg. Not Predicated Off Threads Per Warp",
            "plain",
            "smsp__thread_inst_executed_pred_on_per_inst_executed.ratio",
        ),
        ("Branch Efficiency", "fraction", "smsp__sass_average_branch_targets_threads_uniform.pct"),
        ("Achieved Occupancy", "fraction", "sm__warps_active.avg.pct_of_peak_sustained_active"),
        ("Theoretical Occupancy", "fraction", "sm__maximum_warps_per_active_cycle_pct"),
        ("Memory Throughput", "bytes/s", "dram__bytes.sum.per_second"),
        ("Memory Throughput", "fraction", "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"),
        ("Memory [%]", "fraction", "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SOL Memory", "fraction", "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"),
        ("Compute (SM) Throughput", "fraction", "sm__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SM [%]", "fraction", "sm__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SOL SM", "fraction", "sm__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("DRAM Throughput", "fraction", "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SOL DRAM", "fraction", "dram__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SOL FB", "fraction", "dram__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("L1/TEX Cache Throughput", "fraction", "l1tex__throughput.avg.pct_of_peak_sustained_active"),
        ("SOL L1/TEX Cache", "fraction", "l1tex__throughput.avg.pct_of_peak_sustained_active"),
        ("SOL TEX", "fraction", "l1tex__throughput.avg.pct_of_peak_sustained_active"),
        ("L2 Cache Throughput", "fraction", "lts__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SOL L2 Cache", "fraction", "lts__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("SOL L2", "fraction", "lts__throughput.avg.pct_of_peak_sustained_elapsed"),
        ("L1/TEX Hit Rate", "fraction", "l1tex__t_sector_hit_rate.pct"),
        ("L2 Hit Rate", "fraction", "lts__t_sector_hit_rate.pct"),
        ("Duration", "s", "gpu__time_duration.sum"),
        ("Elapsed Cycles", "plain", "gpc__cycles_elapsed.max"),
        ("SM Active Cycles", "plain", "sm__cycles_active.avg"),
        ("SM Frequency", "1/s", "gpc__cycles_elapsed.avg.per_second"),
        ("DRAM Frequency", "1/s", "dram__cycles_elapsed.avg.per_second"),
        ("Memory Frequency", "1/s", "dram__cycles_elapsed.avg.per_second"),
        ("Registers Per Thread", "plain", "launch__registers_per_thread"),
        ("Static Shared Memory Per Block", "bytes", "launch__shared_mem_per_block_static"),
        ("Dynamic Shared Memory Per Block", "bytes", "launch__shared_mem_per_block_dynamic"),
        ("Waves Per SM", "plain", "launch__waves_per_multiprocessor"),
    )
}
#: the unit classes of each title of the details page
_TITLES = {title: {kind for known, kind in DETAILS if known == title} for title, _ in DETAILS}
_DESCRIPTORS = frozenset(
    (
        *("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Kernel Time", "Context", "Stream"),
        *("Block Size", "Grid Size", "Device", "CC", "Section Name", "Metric Name", "Metric Unit"),
        *("Metric Value", "Rule Name", "Rule Type", "Rule Description", "Estimated Speedup Type"),
        *("Estimated Speedup", "Body Item Label"),
    )
)
_SIZE = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)", re.ASCII)
#: what --print-metric-instances writes behind the value of the whole GPU: `96 (1; 2; 3)`, `96 (0: 1; 1: 2)`
_INSTANCES = re.compile(r" \([\d.,]+(?:[;:][^)]*)?\)$", re.ASCII)
_NEW_ROW = re.compile(r'"\d+","\d+","')
_DEVICE_NAME = "device__attribute_display_name"
_REMEMBERED = 10_000  # launches whose ID is known again
_CONTINUED = 50  # lines that one quoted text may span
_WHOLE = frozenset({"", "byte", "inst", "sector", "request", "warp"})  # units of sums that are not scaled
_NO_METRICS = (
    "device__attribute_",
    "profiler__",
    "nvtx__",
    "thread Domain",
    "Id:",
)  # facts of machine and program
_ABSENT = frozenset({"", "n/a", "N/A", "(!) n/a", "no data"})
Output = Sequence[Run | Problem]


def is_ncu(columns: Sequence[str]) -> bool:
    """Tell whether these are columns of Nsight Compute."""
    return "Kernel Name" in columns and "ID" in columns


def _is_metric(title: str) -> bool:
    """Tell whether a column of the raw page may hold a metric."""
    return title not in _DESCRIPTORS and not title.startswith(_NO_METRICS)


def _numbers(context: Context) -> Iterator[str]:
    """Yield the texts of a file that may be values of metrics, up to where it is damaged."""
    places: list[int] = []
    try:
        for _, line in open_lines(Path(context.file)):
            text = context.without_rank(line.rstrip("\r\n"))
            if not text.startswith('"'):
                continue
            fields = split_row(text)
            if fields is None:
                continue
            if is_ncu(fields):
                value = [fields.index("Metric Value")] if "Metric Value" in fields else []
                places = value or [place for place, title in enumerate(fields) if _is_metric(title)]
            else:
                yield from (_INSTANCES.sub("", fields[place]) for place in places if place < len(fields))
    except DamagedFileError:
        return


@lru_cache(maxsize=4096)
def _classes(name: str) -> frozenset[str]:
    """Return the unit classes that a counter may come in, by its name."""
    if name.endswith("pct") or "pct_of_peak" in name:
        return frozenset({"fraction"})
    if name.startswith("gpu__time_duration"):
        return frozenset({"s"})
    moved = (
        "__bytes" in name or "_bytes." in name or "t_bytes" in name or name.startswith("launch__shared_mem")
    )
    if name.endswith(".per_second"):
        return frozenset({"bytes/s"} if moved else {"1/s"})
    return frozenset({"bytes"} if moved else {"plain"})


def _contradicts(name: str, value: float, unit: str, kind: str) -> str:
    """Return why a value cannot be one of a known counter; empty where it can."""
    wanted = _classes(name)
    if kind not in wanted:
        return f"a value of unit {kind}, the counter has {', '.join(sorted(wanted))}"
    if name.endswith(".sum") and unit in _WHOLE and value != int(value):
        return "the counter has whole numbers"
    return ""


class NcuSection:
    """A table of either page; a run is one launch, that is one ID of a process."""

    def __init__(self, context: Context, columns: Sequence[str]) -> None:
        self.context = context
        self.columns = list(columns)
        self.index = {name: place for place, name in enumerate(columns)}
        self.details = "Metric Name" in self.index and "Metric Value" in self.index
        self.units = [""] * len(columns)
        self.first = True
        self.has_units = False
        self.key: tuple[str, str] | None = None
        self.run: Run | None = None
        self.raw: dict[str, float] = {}
        self.classes: dict[str, str] = {}
        self.dropped: set[str] = set()
        self.launches: Counter[tuple[str, str, str]] = Counter()
        self.seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.buffer: list[str] = []
        self.buffer_line = 0
        if context.separators is None:
            context.separators = find_separators(_numbers(context))
        self.decimal = context.separators.decimal

    def wants(self, text: str) -> bool:  # noqa: ARG002
        """Tell whether a line without quotes belongs here: the middle of a text over several lines."""
        return bool(self.buffer)

    def row(self, number: int, text: str, ended: bool) -> Output | None:
        """Take one line; return what it completed, or None if it is no row of this table."""
        problems: list[Run | Problem] = []
        if self.buffer and (_NEW_ROW.match(text) or len(self.buffer) > _CONTINUED):
            message = "a row whose quotes do not match; left out"
            problems.append(self._problem(self.buffer_line, "row", message))
            self.buffer = []
        if self.buffer or (text.count('"') % 2 and text.startswith('"')):
            if not self.buffer:
                self.buffer_line = number
            self.buffer.append(text)
            if sum(part.count('"') for part in self.buffer) % 2:
                return problems
            number, text, self.buffer = self.buffer_line, "\n".join(self.buffer), []
        fields = split_row(text) or []
        least = self.index["Metric Value"] + 1 if self.details else len(self.columns)
        if not least <= len(fields) <= len(self.columns):
            if not text.startswith('"'):
                return problems or None
            message = f"{len(fields)} fields where the header has {len(self.columns)}; row left out"
            return [*problems, self._problem(number, "row", message)]
        if self.first and not fields[self.index["ID"]]:
            self.units, self.first, self.has_units = fields, False, True
            return problems
        if self.first and not self.details:
            message = "the page has no row of units below its header: its values are left out"
            problems.append(self._problem(number, "unit", message))
        self.first = False
        if not ended and not text.endswith(('"', ",")):
            return [*problems, self._problem(number, "truncated", "the last line is cut; row left out")]
        if not fields[self.index["ID"]].isdigit():
            return [*problems, self._problem(number, "row", "the ID is no number; row left out")]
        return [*problems, *self._take(number, fields)]

    def _get(self, fields: Sequence[str], name: str) -> str:
        place = self.index.get(name)
        return fields[place] if place is not None and place < len(fields) else ""

    def _take(self, number: int, fields: list[str]) -> Output:
        key = (self._get(fields, "Process ID"), self._get(fields, "ID"))
        out: list[Run | Problem] = []
        if key != self.key or not self.details:
            out.extend(self.finish_run())
            self.key = None
            if key in self.seen:
                return [*out, self._problem(number, "row", f"the ID {key[1]} came before; row left out")]
            self.seen[key] = None
            if len(self.seen) > _REMEMBERED:
                self.seen.popitem(last=False)
            self._start(number, key, fields)
        elif self.run is not None and self._get(fields, "Kernel Name") != self.run.kernel:
            return [
                self._problem(
                    number,
                    "row",
                    "the kernel's name is not that of the rows before with this ID; row left out",
                )
            ]
        if self.details:
            name = self._get(fields, "Metric Name")
            if name:
                out.extend(
                    self._metric(
                        number, name, self._get(fields, "Metric Unit"), self._get(fields, "Metric Value")
                    )
                )
            return out
        for place, title in enumerate(self.columns):
            if title == _DEVICE_NAME and self.run is not None and fields[place]:
                self.run.device = fields[place]
            elif self.has_units and _is_metric(title):
                out.extend(self._metric(number, title, self.units[place], fields[place]))
        return out

    def _start(self, number: int, key: tuple[str, str], fields: Sequence[str]) -> None:
        command = (
            self.context.told_command
            or self._get(fields, "Process Name")
            or self.context.processes.get(key[0], "")
            or self.context.command
        )
        kernel = self._get(fields, "Kernel Name")
        counted = (key[0], self._get(fields, "Device"), kernel)
        capability = self._get(fields, "CC").replace(",", ".")  # never in thousands, in no locale
        self.run = Run(
            device=self.context.told_device,
            kernel=kernel,
            invocations=1,
            launch=self.launches[counted],
            line=number,
            tool="ncu",
            command=command,
            launch_id=key[1],
            simulated=self.context.simulated,
            fallback_device=f"CC {capability}" if capability else "unknown",
            capability=capability,
        )
        self.launches[counted] += 1
        for title, name in (("Grid Size", "grid"), ("Block Size", "block")):
            if match := _SIZE.fullmatch(self._get(fields, title)):
                for axis, size in zip("xyz", match.groups(), strict=True):
                    self.run.values[f"{name}_{axis}"] = float(size)
        self.key = key

    def _metric(self, number: int, title: str, unit: str, text: str) -> Output:
        text = _INSTANCES.sub("", text)
        if text.strip() in _ABSENT:
            return ()
        if not is_title(title):
            return [
                self._problem(number, "row", f"the metric name {title[:40]!r} is not one; value left out")
            ]
        if not self.decimal and told_by(text):
            self.context.doubt(number, text)
            return ()
        try:
            value, kind = parse_ncu(text, unit, self.decimal or ".")
        except ValueError as error:
            # names, policies and the like have no unit and are no metrics
            if unit or title in ncu_names() or title in _TITLES or text[:1].isdigit():
                return [self._problem(number, "number", f"{title}: {error}; value left out")]
            return ()
        name = DETAILS.get((title, kind), title) if self.details else title
        wrong = ""
        if name in ncu_names():
            wrong = _contradicts(name, value, unit, kind)
        elif self.details and kind not in _TITLES.get(title, {kind}):
            wrong = f"a value of unit {kind}, {title} has {', '.join(sorted(_TITLES[title]))}"
        if wrong:
            return [
                self._problem(number, "unit", f"{title}: {text[:40]} {unit[:20]}: {wrong}; value left out")
            ]
        if name == title and self.classes.get(name, kind) != kind:
            name = f"{title} [{unit}]"
        if name in self.dropped:
            return ()
        before = self.raw.get(name)
        if before is not None and before != value:
            del self.raw[name]
            self.dropped.add(name)
            message = f"{title} is {value!r} here and {before!r} before; neither is kept"
            return [self._problem(number, "conflict", message)]
        self.raw[name] = value
        self.classes[name] = kind
        return ()

    def finish_run(self) -> Output:
        """Return the run under way, its metrics under canonical names."""
        run, raw = self.run, self.raw
        classes, self.classes, self.raw, self.run, self.dropped = self.classes, {}, {}, None, set()
        if run is None or not raw:
            return ()
        known = evaluate_ncu(raw)
        used = {name for metric in known for terms in registry()[metric].ncu for _, name in terms}
        run.values.update(known)
        for name, value in raw.items():
            if name not in used:
                run.values[name] = value
                run.unknown_units[name] = classes[name]
        return [run]

    def finish(self) -> Output:
        """Return what is open at the end of the table."""
        out: list[Run | Problem] = []
        if self.buffer:
            out.append(self._problem(self.buffer_line, "row", "a row whose quotes do not match; left out"))
            self.buffer = []
        out.extend(self.finish_run())
        self.key = None
        return out

    def _problem(self, number: int, kind: str, message: str) -> Problem:
        return Problem(self.context.file, number, kind, message)
