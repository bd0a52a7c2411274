"""Which application and input a profile belongs to: from a manifest, the path or the command line."""

from __future__ import annotations

import csv
import re
import shlex
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from gpu_xarch.errors import InputError

__all__ = ["Naming", "application_key", "from_command", "from_path", "read_manifest", "snap_inputs"]

_WRAPPERS = {
    "env",
    "time",
    "numactl",
    "taskset",
    "nice",
    "stdbuf",
    "mpirun",
    "mpiexec",
    "srun",
    "timeout",
    "sudo",
}
_NUMBER = re.compile(r"(?<![A-Za-z_\d.])[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_SCRIPTS = re.compile(r"(?:python|bash|sh|perl|Rscript|julia)[\d.]*")
_SUFFIX = re.compile(r"\.(?:exe|out|bin|x|py|sh|pl|jl)$", re.IGNORECASE)
_DECORATION = re.compile(
    r"(?:^|[_.-])(?:cuda_gpu_\w+|gpukernsum|gputrace|metrics?|traces?|events?|profile|nvprof|ncu|nsys)(?=$|[_.-])",
    re.IGNORECASE,
)


def from_command(command: str) -> tuple[str, str]:
    """Split a command line into application and input.

    Examples
    --------
    >>> from_command("./b+tree.out file ../data/mil.txt")
    ('b+tree', 'file ../data/mil.txt')
    >>> from_command("mpirun -np 2 python3 train.py --n 5")
    ('train', '--n 5')
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    while words:
        name = PurePosixPath(words[0].replace("\\", "/")).name
        if "=" in name and not name.startswith("=") and "/" not in words[0]:
            words = words[1:]
        elif name in _WRAPPERS:
            words = words[1:]
            while len(words) > 1 and (words[0].startswith("-") or re.fullmatch(r"[\d.,:-]+[smh]?", words[0])):
                words = words[1:]
        elif _SCRIPTS.fullmatch(name) and len(words) > 1 and not words[1].startswith("-"):
            words = words[1:]
        else:
            return _SUFFIX.sub("", name), " ".join(words[1:])
    return "", ""


def from_path(path: str | Path) -> str:
    """Return an application name out of a file's name, without "metrics", "trace" and the like.

    Examples
    --------
    >>> from_path("gtx950/rodinia30/nw_metrics.csv"), from_path("metrics_poly_2mm.csv.gz")
    ('nw', 'poly_2mm')
    """
    stem = PurePosixPath(str(path).replace("\\", "/")).name
    stem = re.sub(r"(?:\.(?:csv|log|txt|gz))+$", "", stem, flags=re.IGNORECASE)
    return _DECORATION.sub("", stem).strip("_.-") or stem


def application_key(application: str) -> str:
    """Return the spelling by which applications are compared: lower case, without separators and suffix.

    Examples
    --------
    >>> application_key("MC_EstimatePiQ") == application_key("MCEstimatePiQ.exe")
    True
    """
    return re.sub(r"[\s_.-]+", "", _SUFFIX.sub("", application).casefold())


@dataclass(frozen=True)
class Naming:
    """How application, input and device of a file are found; the first that knows wins.

    Parameters
    ----------
    manifest : sequence of mapping
        Rows with "file" (a path, its end, or a pattern with ``*``) and any of "application", "input",
        "device".
    pattern : re.Pattern or None
        Searched in the path; its groups "application", "input" and "device" count.
    device : str
        The device of files that name none (Nsight Compute, nvprof's summary).
    """

    manifest: Sequence[Mapping[str, str]] = ()
    pattern: re.Pattern[str] | None = None
    device: str = ""

    @classmethod
    def of(cls, manifest: Path | None = None, app_from: str | None = None, device: str = "") -> Naming:
        """Build a naming from a manifest file and a regular expression.

        Raises
        ------
        InputError
            If the expression does not compile or names no group "application", or the manifest cannot be
            used.
        """
        pattern = None
        if app_from is not None:
            try:
                pattern = re.compile(app_from)
            except re.error as error:
                raise InputError(f"--app-from is no regular expression: {error}, got {app_from!r}") from error
            if "application" not in pattern.groupindex:
                raise InputError(
                    f"--app-from needs a group (?P<application>...), "
                    f"got {app_from!r}: name the part of the path"
                )
        return cls(read_manifest(manifest) if manifest else (), pattern, device)

    def of_file(self, path: str | Path) -> dict[str, str]:
        """Return what manifest and pattern say about a file: any of "application", "input", "device"."""
        posix = str(path).replace("\\", "/")
        for row in self.manifest:
            want = row["file"]
            if fnmatchcase(posix, want) or fnmatchcase(posix, f"*/{want}"):
                return {key: row[key] for key in ("application", "input", "device") if row.get(key)}
        if self.pattern is not None and (match := self.pattern.search(posix)):
            groups = match.groupdict()
            return {key: groups[key] for key in ("application", "input", "device") if groups.get(key)}
        return {}

    def name(self, path: str | Path, command: str) -> tuple[str, str]:
        """Return (application, input) of a run of `path` whose file names `command`."""
        told = self.of_file(path)
        application, arguments = from_command(command)
        return told.get("application") or application or from_path(path), told.get("input", arguments)


def read_manifest(path: Path) -> tuple[dict[str, str], ...]:
    """Read a manifest: CSV with a column "file" and at least one of "application", "input", "device".

    Raises
    ------
    InputError
        If the file cannot be read or lacks the columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"cannot read the manifest {path}: {error}") from error
    columns = set(rows[0]) if rows else set()
    if "file" not in columns or not columns & {"application", "input", "device"}:
        raise InputError(
            f"the manifest {path} needs the columns file and application (input, device), "
            f"got {sorted(map(str, columns))}"
        )
    return tuple(
        {key: (value or "").strip() for key, value in row.items() if key is not None} for row in rows
    )


def snap_inputs(
    left: list[tuple[Hashable, ...]], right: list[tuple[Hashable, ...]], place: int, tolerance: float
) -> tuple[list[tuple[Hashable, ...]], list[tuple[Hashable, ...]]]:
    """Give inputs that agree within the tolerance the same key, by the connected groups that they form."""
    groups: dict[tuple[Hashable, ...], dict[tuple[float, ...], int]] = defaultdict(dict)
    parents: list[int] = []

    def root(index: int) -> int:
        while parents[index] != index:
            index = parents[index]
        return index

    def split(key: tuple[Hashable, ...]) -> tuple[tuple[Hashable, ...], tuple[float, ...]]:
        text = str(key[place])
        frame = (*key[:place], _NUMBER.sub("#", text), *key[place + 1 :])
        return frame, tuple(float(number) for number in _NUMBER.findall(text))

    for key in (*left, *right):
        rest, numbers = split(key)
        if numbers in groups[rest]:
            continue
        mine = len(parents)
        parents.append(mine)
        for others, index in groups[rest].items():
            near = all(
                abs(a - b) <= tolerance * max(abs(a), abs(b)) for a, b in zip(numbers, others, strict=True)
            )
            if near:
                parents[root(index)] = root(mine)
        groups[rest][numbers] = mine

    def snapped(key: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
        rest, numbers = split(key)
        return (*rest[:place], (rest[place], root(groups[rest][numbers])), *rest[place + 1 :])

    return [snapped(key) for key in left], [snapped(key) for key in right]
