"""nvprof's aggregate tables: ``--csv --metrics`` and ``--csv --events``."""

from __future__ import annotations

import csv
import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

from gpu_xarch.metrics import canonical_name, label_names, registry
from gpu_xarch.profiles.readers.messages import Context
from gpu_xarch.profiles.readers.rows import device_fault, is_kernel, is_title, name_fault
from gpu_xarch.tables.records import Problem, Run
from gpu_xarch.units import parse_nvprof, unit_class

__all__ = ["AGGREGATE_HEADER", "EVENTS_HEADER", "AggregateSection", "event_column", "is_event", "metric_key"]

AGGREGATE_HEADER = '"Device","Kernel","Invocations","Metric Name"'
EVENTS_HEADER = '"Device","Kernel","Invocations","Event Name"'
_VALUE = r'("[^"]*"|[^",]*)'
_ROW = re.compile(r'"([^"]*)","([^"]*)",(\d{1,12}),"([^"]*)","([^"]*)",' + ",".join([_VALUE] * 3), re.ASCII)
_EVENT_ROW = re.compile(r'"([^"]*)","([^"]*)",(\d{1,12}),"([^"]*)",' + ",".join([_VALUE] * 4), re.ASCII)
# percentages carry "%", but this one share is printed as a plain number
_PLAIN_FRACTIONS = frozenset({"achieved_occupancy"})
# nvprof cuts the Avg of a throughput down to a multiple of 10^6 bytes/s: real files show 870.704651MB/s
# (913e6 B/s) beside Min = Max = 871.550521MB/s, and 0 beside 688.702148KB/s
_MEAN_STEP = 1e6
# hardware events that `nvprof --query-events` lists on Kepler to Volta; in a table by launch they stand beside metrics
_EVENT = re.compile(
    r"active_(?:cycles|warps|ctas)(?:_(?:pm|sys))?|elapsed_cycles_(?:sm|pm|sys)|(?:warps|threads|sm_cta)_launched|"
    r"(?:not_predicated_off_)?thread_inst_executed(?:_\d)?|inst_issued\d|inst_executed_\w+_(?:pipe|ops)_?s?\d*|"
    r"branch|divergent_branch|g(?:ld|st)_inst_\d+bit|(?:global|local|shared|generic)_(?:load|store)|"
    r"shared_(?:ld|st)_(?:bank_conflict|transactions)|shared_atom(?:_cas)?|global_atom_cas|(?:atom|gred)_count|"
    r"atom_cas_count|(?:global|local)_(?:ld|st)_mem_divergence_replays|uncached_global_load_transaction|"
    r"(?:fb|l2)_subp\d_\w+|(?:tex|rocache)\d?_\w+_(?:sector_)?(?:queries|misses)|tex\d_bank_conflicts|l1_\w+|"
    r"prof_trigger_\d\d|pcie_[rt]x_active_pulse"
)
_OPEN_RUNS = 64  # rows of two processes that write to one file come mixed
Output = Sequence[Run | Problem]
_NOTHING: Output = ()


@lru_cache(maxsize=8192)
def metric_key(name: str, label: str = "") -> tuple[str, frozenset[str] | None]:
    """Return the column for a metric and the unit classes its values may have (None: not known).

    Raises
    ------
    ValueError
        If the label belongs to another metric than the name.
    """
    if not is_title(name):
        raise ValueError(f"the metric name {name[:40]!r} is not one")
    known = canonical_name(name)
    owners = label_names(label) if label else frozenset()
    if owners and known not in owners:
        if known is None and len(owners) == 1:
            raise ValueError(
                f"the description {label!r} belongs to {next(iter(owners))}, not to {name[:60]!r}"
            )
        if known is not None:
            raise ValueError(f"the description {label!r} does not belong to {name[:60]!r}")
    if known is None:
        return name, None
    if known in _PLAIN_FRACTIONS:
        return known, frozenset({"plain"})
    return known, unit_class(registry()[known].unit)


def is_event(name: str) -> bool:
    """Tell whether nvprof knows a hardware event of that name.

    Examples
    --------
    >>> is_event("active_cycles"), is_event("ipc")
    (True, False)
    """
    return _EVENT.fullmatch(name) is not None


def event_column(name: str) -> str:
    """Return the column of an event, which never shares a name with a metric."""
    return f"event.{name}"


class AggregateSection:
    """Rows of one metric or event each; a run is the rows that share device, kernel and invocations."""

    def __init__(self, context: Context, events: bool = False) -> None:
        self.context = context
        self.events = events
        self.row_pattern = _EVENT_ROW if events else _ROW
        self.open: OrderedDict[tuple[str, str, str], Run] = OrderedDict()
        self.dropped: dict[tuple[str, str, str], set[str]] = {}
        self.numbers = context.numbers
        self.columns: set[str] = set()  # of all runs of the table
        self.last_key: tuple[str, str, str] | None = None
        self.last_run: Run | None = None
        self.prefix = "\n"  # what the rows of the last run begin with; no line begins with this

    def wants(self, text: str) -> bool:  # noqa: ARG002
        """Tell whether a line without quotes belongs to the table: none does."""
        return False

    def row(self, number: int, text: str, ended: bool) -> Output | None:
        """Take one line; return what it completed, or None if it is no row of this table."""
        if text.startswith(self.prefix):
            # the usual case by far: one more metric of the run before
            parts = text[len(self.prefix) :].split('"')
            if len(parts) == 4 and parts[1] == "," and not self.events:
                values = parts[3].split(",")
                if len(values) == 4 and not values[0] and self.last_key and self.last_run:
                    _, low, high, mean = values
                    return self._cell(
                        number, self.last_key, self.last_run, parts[0], parts[2], low, high, mean, "", ended
                    )
        match = self.row_pattern.fullmatch(text)
        if match is None:
            return self._odd_row(number, text)
        if self.events:
            device, kernel, invocations, name, low, high, mean, total = match.groups()
            label = ""
        else:
            device, kernel, invocations, name, label, low, high, mean = match.groups()
            total = ""
        key = (device, kernel, invocations)
        if fault := device_fault(device):
            return [self._problem(number, "row", f"{fault}; row left out")]
        if not invocations.strip("0"):
            return [self._problem(number, "row", "a kernel with 0 invocations has no metrics; row left out")]
        if not is_kernel(kernel):
            return _NOTHING
        if fault := name_fault(kernel):
            return [self._problem(number, "row", f"{fault}: {kernel[:60]}; row left out")]
        run, finished = self._run(key, number)
        return [*finished, *self._cell(number, key, run, name, label, low, high, mean, total, ended)]

    def _cell(
        self,
        number: int,
        key: tuple[str, str, str],
        run: Run,
        name: str,
        label: str,
        low: str,
        high: str,
        mean: str,
        total: str,
        ended: bool,
    ) -> Output:
        """Put one value into its run."""
        try:
            column, classes = self._column(name, label)
        except ValueError as error:
            return [self._problem(number, "row", f"{error}; row left out")]
        try:
            if low == high == mean and not total:
                found = self.numbers.get(mean)
                value, unit = self._number(mean) if found is None else found
            else:
                value, unit = self._value(low, high, mean, total, run.invocations, ended)
            if classes is None:
                before = run.unknown_units.setdefault(column, unit)
                if before != unit:
                    raise ValueError(f"{mean[:40]!r} has the unit {unit}, the rows before {before}")
            elif unit not in classes:
                raise ValueError(
                    f"{mean[:40]!r} is a value of unit {unit}, {column} has {', '.join(sorted(classes))}"
                )
        except ValueError as error:
            kind = "overflow" if "OVERFLOW" in mean else "number"
            return [self._problem(number, kind, f"{name} of {key[1][:60]}: {error}; value left out")]
        present = run.values.get(column)
        if present is None:
            if self.dropped and column in self.dropped.get(key, ()):
                return _NOTHING
            run.values[column] = value
        elif present != value:
            del run.values[column]
            self.dropped.setdefault(key, set()).add(column)
            message = f"{column} of {key[1][:60]} is {value!r} here and {present!r} before; neither is kept"
            return [self._problem(number, "conflict", message)]
        return _NOTHING

    def _column(self, name: str, label: str) -> tuple[str, frozenset[str] | None]:
        if self.events:
            if not is_title(name):
                raise ValueError(f"the event name {name[:40]!r} is not one")
            return event_column(name), frozenset({"plain"})
        return metric_key(name, label)

    def _value(
        self, low: str, high: str, mean: str, total: str, invocations: int, ended: bool
    ) -> tuple[float, str]:
        if low == high == mean and (not total or (invocations == 1 and total == mean)):
            return self._number(mean)
        if not ended:
            raise ValueError("the last line has no line end and may be cut")
        values = [self._number(text) for text in (low, mean, high)]
        least, middle, most = (value for value, _ in values)
        unit = values[1][1]
        if len({kind for _, kind in values}) > 1:
            raise ValueError(f"Min, Max and Avg ({low[:20]}, {high[:20]}, {mean[:20]}) have different units")
        steps = {"level": 1.0, "bytes/s": _MEAN_STEP}  # levels are rounded one by one
        slack = 1e-5 * abs(most) + steps.get(unit, 1e-5)
        if not least - slack <= middle <= most + slack:
            raise ValueError(f"Avg {mean[:20]} is not between Min {low[:20]} and Max {high[:20]}")
        if invocations == 1 and (low != high or unit != "bytes/s"):
            raise ValueError(
                f"Min {low[:20]}, Max {high[:20]} and Avg {mean[:20]} of a single invocation differ"
            )
        if total:
            whole = self._number(total)[0]
            if abs(whole - middle * invocations) > invocations + 1e-6 * abs(whole):
                raise ValueError(f"Total {total[:20]} is not Avg {mean[:20]} times {invocations} invocations")
        # the mean lies between the extremes: the nearer one is closer to it than a cut Avg outside of them
        return min(max(middle, least), most), unit

    def _number(self, text: str) -> tuple[float, str]:
        try:
            return self.numbers[text]
        except KeyError:
            result = parse_nvprof(text.strip('"'))
            if len(self.numbers) < 4096:
                self.numbers[text] = result
            return result

    def _run(self, key: tuple[str, str, str], number: int) -> tuple[Run, Output]:
        finished: Output = _NOTHING
        run = self.open.get(key)
        if run is None:
            run = Run(
                device=key[0],
                kernel=key[1],
                invocations=int(key[2]),
                launch=None,
                line=number,
                tool="nvprof",
                command=self.context.command,
                simulated=self.context.simulated,
            )
            self.open[key] = run
            if len(self.open) > _OPEN_RUNS:
                finished = self._close(*self.open.popitem(last=False))
        else:
            self.open.move_to_end(key)
        self.last_key, self.last_run = key, run
        self.prefix = f'"{key[0]}","{key[1]}",{key[2]},"'
        return run, finished

    def _close(self, key: tuple[str, str, str], run: Run) -> list[Run | Problem]:
        dropped = self.dropped.pop(key, set())
        if not run.values:
            return []
        has = run.values.keys() | dropped
        self.columns |= has
        if len(has) < len(self.columns):
            message = f"{run.kernel[:60]} has {len(has)} of {len(self.columns)} metrics of this table"
            return [run, self._problem(run.line, "incomplete", message)]
        return [run]

    def finish(self) -> Output:
        """Return the runs still open."""
        done: list[Run | Problem] = []
        # a run that lost rows may stand before those that show it
        self.columns.update(*(run.values for run in self.open.values()), *self.dropped.values())
        for key, run in self.open.items():
            done.extend(self._close(key, run))
        self.open.clear()
        self.last_key = self.last_run = None
        self.prefix = "\n"
        return done

    def _odd_row(self, number: int, text: str) -> Output | None:
        start = text.find('"')
        if start > 0 and self.row_pattern.fullmatch(text, start):
            # the program's unfinished line in front
            return self.row(number, text[start:], True)
        try:
            fields = next(csv.reader([text], strict=True))
        except (csv.Error, StopIteration):
            fields = []
        if start < 0 or (len(fields) < 4 and not text.startswith('"')):
            return None
        message = f"not a row of {8} fields as the table's header says ({len(fields)} found); row left out"
        return [self._problem(number, "row", message)]

    def _problem(self, number: int, kind: str, message: str) -> Problem:
        return Problem(self.context.file, number, kind, message)
