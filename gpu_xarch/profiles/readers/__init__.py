"""Readers of profiler output: one file in, runs and problems out, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from gpu_xarch.errors import InputError
from gpu_xarch.profiles.readers.foreign import of_bytes
from gpu_xarch.profiles.readers.messages import MESSAGE, Context
from gpu_xarch.profiles.readers.ncu import NcuSection, is_ncu
from gpu_xarch.profiles.readers.nsys import NsysSection, is_nsys
from gpu_xarch.profiles.readers.nvprof import AGGREGATE_HEADER, EVENTS_HEADER, AggregateSection
from gpu_xarch.profiles.readers.nvprof_trace import SummarySection, TraceSection, is_summary, is_trace
from gpu_xarch.profiles.readers.rows import IgnoredSection, is_ignored, split_row
from gpu_xarch.profiles.readers.separators import DECIMALS, Separators
from gpu_xarch.profiles.readers.source import DamagedFileError, open_lines
from gpu_xarch.tables.records import FAILURES, Problem, Run

__all__ = ["FAILURES", "Problem", "Run", "read_runs"]

_TORN = "a row is broken by a message of the profiler; left out"
_FOREIGN_LINES = 200_000  # lines of a file without any sign of a profiler, before it is given up


class Section(Protocol):
    """One table inside a file."""

    def wants(self, text: str) -> bool:
        """Tell whether a line without any quote belongs to the table."""

    def row(self, number: int, text: str, ended: bool) -> Sequence[Run | Problem] | None:
        """Take a line; return what it completed, or None if it is no row of the table."""

    def finish(self) -> Sequence[Run | Problem]:
        """Return what is still open at the end of the table."""


def _section(text: str, context: Context) -> Section | None:
    """Return the reader for the table whose header line this is."""
    if AGGREGATE_HEADER in text:
        return AggregateSection(context)
    if EVENTS_HEADER in text:
        return AggregateSection(context, events=True)
    columns = split_row(text)
    if columns is None:
        return None
    if is_ncu(columns):
        return NcuSection(context, columns)
    if is_trace(columns):
        return TraceSection(context, columns)
    if is_nsys(columns):
        return NsysSection(context, columns)
    if is_summary(columns):
        return SummarySection(context, columns)
    if is_ignored(columns):
        context.ignored = True
        return IgnoredSection()
    return None


_HEADER_START = re.compile(r'"(?:Device|Start|ID|Type|Time\(%\)|Time)"')
_HEADER_STARTS = (
    *('"Device"', '"Start"', '"ID"', '"Type"', '"Time(%)"', '"Time"'),
    *("Time (%),", "Time(%),", "Start (", "Total ("),
)


def _header(text: str) -> int:
    """Return where a header can start in a line, -1 for nowhere."""
    if text.startswith(_HEADER_STARTS):
        return 0
    if text.startswith('"') or '"' not in text:
        return -1
    found = _HEADER_START.search(text)
    return found.start() if found else -1


def read_runs(path: str | Path, *, decimal: str | None = None) -> Iterator[Run | Problem]:
    """Read one file of nvprof or Nsight Compute, found out by its content.

    Parameters
    ----------
    path : path
        Plain or gzip, UTF-8 or UTF-16, with anything else in between.
    decimal : str, optional
        The mark before decimals in Nsight Compute's numbers, "." or ","; found out from the file unless given.

    Raises
    ------
    InputError
        If `decimal` is another mark.

    Yields
    ------
    Run or Problem
        In the order of the file. A file without any run ends in one fatal `Problem` that says why. Memory
        use does not grow with the file.
    """
    if decimal is not None and decimal not in DECIMALS:
        raise InputError(f"the mark before decimals must be . or , got {decimal!r}")
    foreign = of_bytes(Path(path))
    if foreign is not None:
        yield Problem(str(path), 0, "other-format", foreign.message(str(path)), fatal=True)
        return
    context = Context(str(path), separators=Separators(decimal) if decimal else None)
    section: Section | None = None
    runs = 0
    torn: tuple[int, str] | None = None
    last = 0
    try:
        for number, line in open_lines(Path(path)):
            last = number
            text = line.rstrip("\r\n")
            if context.ranked:
                text = context.without_rank(text)
            ended = line.endswith("\n")
            if "==" in text and (found := MESSAGE.search(text)):
                context.read(number, text[found.start() :])
                before = text[: found.start()]
                if before.startswith('"') and section is not None:
                    # a message in the middle of a row: the row goes on after it
                    if torn is not None:
                        yield Problem(context.file, torn[0], "row", _TORN)
                    torn = (number, before)
                continue
            start = _header(text)
            if (
                start < 0
                and torn is None
                and '"' not in text
                and not (section is not None and section.wants(text))
            ):
                context.read(number, text)
                if section is None and not context.is_profile and number > _FOREIGN_LINES:
                    break
                continue
            if start > 0:
                context.learn_rank(text[:start])
            if start >= 0 and (new := _section(text[start:], context)):
                if section is not None:
                    for item in section.finish():
                        runs += isinstance(item, Run)
                        yield item
                if torn is not None:
                    yield Problem(context.file, torn[0], "row", _TORN)
                section, torn = new, None
                context.is_profile = True
                continue
            if section is None:
                context.read(number, text)
                continue
            items = None
            if torn is not None:
                items = section.row(torn[0], torn[1] + text, ended)
                if items and any(isinstance(item, Problem) and item.kind == "row" for item in items):
                    yield Problem(context.file, torn[0], "row", _TORN)
                    items = section.row(number, text, ended)
                torn = None
            else:
                items = section.row(number, text, ended)
            if items is None:
                context.read(number, text)
                continue
            for item in items:
                runs += isinstance(item, Run)
                yield item
    except DamagedFileError as error:
        if section is None and runs == 0:
            yield Problem(context.file, error.line, "unreadable", str(error), fatal=True)
            return
        yield Problem(context.file, error.line, "truncated", str(error))
    if torn is not None:
        yield Problem(context.file, torn[0], "row", _TORN)
    if section is not None:
        for item in section.finish():
            runs += isinstance(item, Run)
            yield item
    yield from _verdict(context, runs, last, section is not None)


def _verdict(context: Context, runs: int, last: int, had_table: bool) -> Iterator[Problem]:
    """Say why a file gave nothing, that its program failed, or that its numbers can be read two ways."""
    if context.unreadable:
        yield _two_ways(context, fatal=not runs)
        if not runs:
            return
    if runs:
        for kind, number, line in context.reasons:
            if kind == "crash":
                yield Problem(
                    context.file, number, "note", f"the program or the profiler reported an error: {line}"
                )
                return
        return
    order = ("permission", "no-kernels", "unsupported", "crash")
    for wanted in order:
        for kind, number, line in context.reasons:
            if kind == wanted:
                yield Problem(context.file, number, kind, _REASON_TEXT[kind].format(line=line), fatal=True)
                return
    if last and context.foreign is not None:
        yield Problem(context.file, 0, "other-format", context.foreign.message(context.file), fatal=True)
    elif last == 0:
        yield Problem(context.file, 0, "no-metrics", "the file is empty", fatal=True)
    elif context.ignored:
        message = "no table of kernels in it, but of copies, calls or sensors"
        yield Problem(context.file, last, "no-kernels", message, fatal=True)
    elif had_table:
        yield Problem(context.file, last, "no-metrics", "a table without any readable row", fatal=True)
    elif context.is_profile:
        yield Problem(
            context.file,
            last,
            "no-metrics",
            "a profiler's output without a table: was it run with --csv?",
            fatal=True,
        )
    else:
        yield Problem(
            context.file, 0, "not-a-profile", "no table of nvprof or Nsight Compute in it", fatal=True
        )


def _two_ways(context: Context, *, fatal: bool) -> Problem:
    line, text = context.first_unreadable
    why = context.separators.why if context.separators else ""
    return Problem(
        context.file,
        line,
        "ambiguous",
        f"{context.unreadable} numbers such as {text[:30]} have marks that may stand before decimals or between "
        f"thousands, and {why}; left out: give --decimal . or --decimal ,",
        fatal,
    )


_REASON_TEXT = {
    "permission": "the user was not allowed to read the counters (ERR_NVGPUCTRPERM): run the profiler as "
    "root or let the driver admit all users (NVreg_RestrictProfilingToAdminUsers=0): {line}",
    "no-kernels": "no kernels were profiled: the program launched none, or a filter left all out: {line}",
    "unsupported": "the profiler does not support this device: {line}",
    "crash": "the program or the profiler failed before any metric was printed: {line}",
}
