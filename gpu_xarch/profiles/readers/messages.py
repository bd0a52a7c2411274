"""What the profilers say around their tables: the command line, warnings, why nothing was measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gpu_xarch.profiles.readers.foreign import Foreign, of_line
from gpu_xarch.profiles.readers.separators import Separators

__all__ = ["MESSAGE", "Context"]

#: start of a profiler's own line; seen glued to the end of an unfinished line of the program's output too
MESSAGE = re.compile(r"={2,8}(?:\d+|PROF|ERROR|WARNING|LOG|XARCH)?={2} ")
_COMMAND = re.compile(r"(?:NVPROF is profiling process \d+, command|Profiling application): ?(.*)")
_CONNECTED = re.compile(r"==PROF== Connected to process (\d+) \((.*)\)")
_TOLD = re.compile(r"==XARCH== (command|device): (.*)")
_SIMULATED = re.compile(r"SIMULATED by xarch")
_PROCESS = re.compile(r"={2}(\d+)={2}")
_RANK = re.compile(r"\s*(?:\[[^\]]*\d[^\]]*\](?:<\w+>)?:?|\d+:)\s*", re.ASCII)
# kind, pattern; the first that fits a line counts
_REASONS = [
    (
        "permission",
        re.compile(r"ERR_NVGPUCTRPERM|does not have permission|insufficient privileges", re.IGNORECASE),
    ),
    ("no-kernels", re.compile(r"No kernels were profiled|No CUDA application was profiled", re.IGNORECASE)),
    (
        "unsupported",
        re.compile(
            r"not supported on (?:this|the|devices)|unsupported (?:device|GPU)|Skipping profiling|"
            r"Unable to profile|no longer supported",
            re.IGNORECASE,
        ),
    ),
    (
        "crash",
        re.compile(
            r"returned (?:an error|non-zero) code|Internal profiling error|received signal \d+|"
            r"Segmentation fault|core dumped|illegal memory access|Aborted\b|terminate called|"
            r"unspecified launch failure",
            re.IGNORECASE,
        ),
    ),
    ("crash", re.compile(r"^={2,8}(?:\d+|ERROR)?={2} (?:Error\b|The application returned)|^==ERROR== ")),
]


@dataclass
class Context:
    """State of a file while it is read: who ran, what went wrong, and numbers seen before."""

    file: str
    command: str = ""
    processes: dict[str, str] = field(default_factory=dict)
    simulated: bool = False
    is_profile: bool = False
    api_calls: bool = False
    told_command: str = ""
    told_device: str = ""
    reasons: list[tuple[str, int, str]] = field(default_factory=list)
    numbers: dict[str, tuple[float, str]] = field(default_factory=dict)
    separators: Separators | None = None
    foreign: Foreign | None = None
    ignored: bool = False
    ranked: bool = False
    unreadable: int = 0
    first_unreadable: tuple[int, str] = (0, "")

    def learn_rank(self, before: str) -> None:
        """Take it from what stands before a header that a launcher of ranks marks every line, `[1,0]<stdout>:`."""
        self.ranked = self.ranked or _RANK.fullmatch(before) is not None

    def without_rank(self, text: str) -> str:
        """Return a line without the mark of its rank, where lines have one."""
        match = _RANK.match(text) if self.ranked else None
        return text[match.end() :] if match else text

    def doubt(self, number: int, text: str) -> None:
        """Count a number that can be read two ways."""
        if not self.unreadable:
            self.first_unreadable = (number, text)
        self.unreadable += 1

    def read(self, number: int, line: str) -> None:
        """Take what matters from a line that is no table row."""
        if match := _TOLD.match(line):
            # `xarch collect` puts down what Nsight Compute does not
            if match[1] == "command":
                self.told_command = self.command = match[2].strip()
            else:
                self.told_device = match[2].strip()
            self.is_profile = True
        elif match := _COMMAND.search(line):
            self.command = match[1].strip()
            self.is_profile = True
        elif match := _CONNECTED.search(line):
            self.processes[match[1]] = match[2]
            self.command = match[2]
            self.is_profile = True
        elif "API calls:" in line or "Profiling result:" in line:
            self.api_calls = "API calls:" in line
        elif _SIMULATED.search(line):
            self.simulated = True
        if _PROCESS.match(line) or line.startswith(("========", "==PROF==", "==ERROR==", "==WARNING==")):
            self.is_profile = True
        elif self.foreign is None:
            self.foreign = of_line(line)
        if len(self.reasons) < 100:
            for kind, pattern in _REASONS:
                if pattern.search(line):
                    self.reasons.append((kind, number, line.strip()[:200]))
                    break
