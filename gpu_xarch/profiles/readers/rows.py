"""What the wide tables of all tools share: fields of a line, and what is no kernel."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from gpu_xarch.tables.records import Problem, Run

__all__ = ["IgnoredSection", "is_ignored", "is_kernel", "split_row"]

#: clocks, temperature, power and fan of --system-profiling
_SENSOR = re.compile(
    r"(?:SM Clock|Memory Clock|Temperature|Power|Fan)\b.*\((?:MHz|C|mW|W|%|rpm)\)", re.IGNORECASE
)


def split_row(text: str) -> list[str] | None:
    """Return the fields of a CSV line, or None where the quotes do not match."""
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        return None


def is_kernel(name: str) -> bool:
    """Tell whether a row's name is that of a kernel: copies, fills, page faults and sensors are none.

    Examples
    --------
    >>> [is_kernel(name) for name in ("saxpy(int)", "[CUDA memcpy HtoD]", "[Unified Memory GPU page faults]")]
    [True, False, False]
    >>> is_kernel("Temperature (C)"), is_kernel("")
    (False, False)
    """
    return bool(name) and not name.startswith("[") and not _SENSOR.fullmatch(name)


def is_ignored(columns: Sequence[str]) -> bool:
    """Tell whether these are columns of a table without kernels: unified memory, sensors, calls of the interface."""
    names = set(columns)
    return (
        {"Device", "Count", "Avg Size"} <= names
        or {"Count", "Avg", "Min", "Max"} <= names
        or "Num Calls" in names
        or "Operation" in names
    )


class IgnoredSection:
    """A table that holds no kernels: its rows are read over."""

    def wants(self, text: str) -> bool:  # noqa: ARG002
        """Tell whether a line without any quote belongs to the table: it is read over either way."""
        return False

    def row(self, number: int, text: str, ended: bool) -> Sequence[Run | Problem] | None:  # noqa: ARG002
        """Take a line: rows give nothing, all others are no rows."""
        return () if text.startswith('"') else None

    def finish(self) -> Sequence[Run | Problem]:
        """Return nothing."""
        return ()
