"""What the wide tables of all tools share: fields of a line, and what is no kernel."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from gpu_xarch.tables.records import Problem, Run

__all__ = ["IgnoredSection", "device_fault", "is_ignored", "is_kernel", "is_title", "name_fault", "split_row"]

#: clocks, temperature, power and fan of --system-profiling
_SENSOR = re.compile(
    r"(?:SM Clock|Memory Clock|Temperature|Power|Fan)\b.*\((?:MHz|C|mW|W|%|rpm)\)", re.IGNORECASE
)
_DEVICE = re.compile(r".* \(\d+\)", re.ASCII)


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


def device_fault(device: str) -> str:
    """Return why a text cannot be a device as nvprof prints it, empty where it can.

    Examples
    --------
    >>> device_fault("GeForce GTX 950 (0)"), device_fault("196")
    ('', "the device '196' has no number in parentheses")
    """
    return "" if _DEVICE.fullmatch(device) else f"the device {device[:60]!r} has no number in parentheses"


def name_fault(name: str) -> str:
    """Return why a text cannot be the whole name of a kernel, empty where it can.

    Examples
    --------
    >>> name_fault("void scale<float>(float*, int)"), name_fault("saxpy")
    ('', '')
    >>> name_fault("scale<float>(float*, int"), name_fault("196")
    ("the kernel's name has brackets that do not match", "the kernel's name has no letter")
    """
    if name.count("(") != name.count(")"):
        return "the kernel's name has brackets that do not match"
    return "" if any(map(str.isalpha, name)) else "the kernel's name has no letter"


def is_title(name: str) -> bool:
    r"""Tell whether a text can be the name of a metric: a quote or a mark of control in it are of a damaged header.

    Examples
    --------
    >>> [is_title(name) for name in ("ipc", 'Duration"', "ip\x00c", "")]
    [True, False, False, False]
    """
    return bool(name) and name.isprintable() and '"' not in name


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
