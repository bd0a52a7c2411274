"""Files that are no tables of nvprof or Nsight, called what they are, with the command whose output is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Foreign", "of_bytes", "of_line"]


@dataclass(frozen=True)
class Foreign:
    """What a file is, and what to do; ``{file}`` stands for its name."""

    what: str
    advice: str

    def message(self, file: str) -> str:
        """Return one line for this file."""
        return f"{self.what}: {self.advice.format(file=Path(file).name)}"


_NCU_REPORT = Foreign(
    "a report of Nsight Compute",
    "print it with `ncu --import {file} --csv --page raw`, and ingest what that prints",
)
_NSYS_REPORT = Foreign(
    "a report of Nsight Systems",
    "print it with `nsys stats --report cuda_gpu_kern_sum --format csv {file}`, and ingest what that prints",
)
_NVPROF_REPORT = Foreign(
    "a profile that nvprof exported",
    "print it with `nvprof --import-profile {file} --csv --print-gpu-trace`, and ingest what that prints",
)
_NCU_TEXT = Foreign(
    "a text page of Nsight Compute", "run `ncu --csv`, or `ncu --import REPORT --csv --page raw`"
)
_NVPROF_TEXT = Foreign("a text table of nvprof", "run `nvprof --csv` with the same options")
_NSYS_TEXT = Foreign(
    "a text table of Nsight Systems", "run `nsys stats --report cuda_gpu_kern_sum --format csv REPORT`"
)
_NSYS_LAUNCHES = Foreign(
    "a report of Nsight Systems on launches and queues (cuda_kern_exec_sum)",
    "print times by kernel with `nsys stats --report cuda_gpu_kern_sum --format csv REPORT`",
)
_NSYS_RANGES = Foreign(
    "a report of Nsight Systems on NVTX ranges",
    "print times by kernel with `nsys stats --report cuda_gpu_kern_sum --format csv REPORT`",
)
_NCU_SUMMARY = Foreign(
    "a page of Nsight Compute that sums launches up (--print-summary)",
    "print each launch with `ncu --import REPORT --csv --page raw`",
)
_SPREADSHEET = Foreign(
    "a profile that a spreadsheet saved, with semicolons between its columns",
    "give the file as the profiler wrote it, since a spreadsheet may have changed its numbers too",
)
_SAVED_AGAIN = Foreign(
    "a profile that another program saved again, without the quotes of the profiler",
    "give the file as the profiler wrote it, since the other program may have changed its numbers too",
)
_NO_ID = Foreign(
    "a table of Nsight Compute's metrics without the ID of each launch",
    "run `ncu --csv`, or `ncu --import REPORT --csv --page raw`, and give the whole of what that prints",
)
_PACKED = Foreign(
    "a packed file or an archive", "unpack {file}, and ingest the files in it (gzip alone is read as it is)"
)
_ROCPROF = Foreign(
    "output of AMD's rocprof",
    "`xarch ingest --format table --map MAP.json` reads it through a map of its columns",
)
#: suffixes of names, in lower case
_SUFFIXES = {
    ".ncu-rep": _NCU_REPORT,
    ".nsight-cuprof-report": _NCU_REPORT,
    ".nsys-rep": _NSYS_REPORT,
    ".qdrep": _NSYS_REPORT,
    ".nvvp": _NVPROF_REPORT,
    ".nvprof": _NVPROF_REPORT,
}
_HEAD = 16
#: first bytes of zip (a workbook of a spreadsheet too), bzip2, xz, Zstandard and 7z
_PACKERS = (b"PK\3\4", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
#: first bytes: those of reports stand in NVIDIA's "Report File Format", those of SQLite in its "Database File Format"
_REPORT, _SQLITE = b"NVR\0", b"SQLite format 3\0"
_LINES = (
    (
        re.compile(
            r'"?Index"?,"?KernelName"?,|"?Kind"?,"?Agent_Id"?,|"?Name"?,"?Calls"?,"?TotalDurationNs"?,|'
            r'"?Correlation_Id"?,"?Dispatch_Id"?,'
        ),
        _ROCPROF,
    ),
    (re.compile(r'"(?:Process ID|Kernel Name)",.*"Invocations",.*"Average"'), _NCU_SUMMARY),
    (re.compile(r",?ID,.*\bKernel Name,|,?Device,Kernel,Invocations,(?:Metric|Event) Name,"), _SAVED_AGAIN),
    (re.compile(r'(?:"[^"]*",)*"Metric Name","Metric Unit","Metric Value"'), _NO_ID),
    (re.compile(r'"?(?:ID|Device|Start|Time \(%\))"?;"?[A-Z]'), _SPREADSHEET),
    (re.compile(r"\s+Section: [A-Z]|\s+Metric Name\s+Metric Unit\s+(?:Metric Value|Minimum)"), _NCU_TEXT),
    (
        re.compile(r"\s*Invocations\s+(?:Metric|Event) Name\b|\s*(?:Type\s+)?Time\(%\)\s+Time\s+Calls\s"),
        _NVPROF_TEXT,
    ),
    (re.compile(r"\s*Start\s+Duration\s+Grid Size\s"), _NVPROF_TEXT),
    (re.compile(r"(?:PID,TID,DevId,)?Count,QCount,"), _NSYS_LAUNCHES),
    (re.compile(r"NVTX Range,|Time \(%\),Total Time .*,Style,Range"), _NSYS_RANGES),
    (re.compile(r"\s*Time \(%\)\s+Total Time \(\S+\)\s+Instances\s"), _NSYS_TEXT),
)


def of_bytes(path: Path) -> Foreign | None:
    """Return what a file is by its suffix and its first bytes, None where they say nothing."""
    known = _SUFFIXES.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if head.startswith(_PACKERS) or path.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        return _PACKED
    binary = bytes((0,)) in head
    if head.startswith(_REPORT):
        return known or _NCU_REPORT
    if head == _SQLITE:
        return known or (_NSYS_REPORT if path.suffix.lower() == ".sqlite" else _NVPROF_REPORT)
    return known if binary else None


def of_line(text: str) -> Foreign | None:
    """Return what a file is by one of its lines, None where that says nothing."""
    for pattern, found in _LINES:
        if pattern.match(text):
            return found
    return None
