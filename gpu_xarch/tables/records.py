"""What the readers hand out: runs, and problems with file and line."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["FAILURES", "Problem", "Run"]

#: kinds of a problem that say why a file holds nothing to read
FAILURES = frozenset(
    {
        *("crash", "permission", "no-kernels", "unsupported", "no-metrics"),
        *("not-a-profile", "other-format", "unreadable", "ambiguous"),
    }
)


@dataclass(frozen=True)
class Problem:
    """Something in a file that could not be taken as it stands.

    Parameters
    ----------
    file : str
        The file as it was named.
    line : int
        Line number from 1; 0 where the whole file is meant.
    kind : str
        "row", "number", "unit", "conflict", "overflow", "impossible", "incomplete", "truncated", "note", or one of
        `FAILURES`.
    message : str
        What was wrong and what was done about it.
    fatal : bool
        The file gave no run at all.
    """

    file: str
    line: int
    kind: str
    message: str
    fatal: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


@dataclass
class Run:
    """The metrics of one kernel, over all its launches or for one.

    Parameters
    ----------
    device, kernel : str
        As the profiler prints them; `device` is empty where it prints none.
    invocations : int
        Launches that the values are the mean of; 1 for a single launch.
    launch : int or None
        Which launch of the kernel this is, from 0 in the order of the file; None for the mean over all.
    line : int
        First line of the run in its file.
    tool : str
        "nvprof", "ncu" or "table".
    command : str
        Command line of the profiled program; empty where the file does not tell.
    values : dict
        Metrics by canonical name, or by their own name where the registry has none; SI units.
    unknown_units : dict
        Unit class of each metric that the registry does not know.
    application, input : str or None
        Set where the file itself names them (tables).
    launch_id : str
        The profiler's own number of the launch.
    simulated : bool
        The file says that a model made it.
    fallback_device : str
        What to call the device where neither file nor user names it.
    capability : str
        Compute capability that the file states, such as "8.6"; empty where it states none.
    """

    device: str
    kernel: str
    invocations: int
    launch: int | None
    line: int
    tool: str
    command: str = ""
    values: dict[str, float] = field(default_factory=dict)
    unknown_units: dict[str, str] = field(default_factory=dict)
    application: str | None = None
    input: str | None = None
    launch_id: str = ""
    tool_version: str = ""
    simulated: bool = False
    fallback_device: str = ""
    capability: str = ""
