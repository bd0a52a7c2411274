"""What the parts of `adversity.py` share: a row a fault, and trials in a process of their own."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["NOBODY", "Row", "in_child", "judged", "row_of", "said_of"]

NOBODY = 65534
"""A user for whom rights count, as they do not for the administrator."""

Row = dict[str, Any]


def said_of(error: BaseException, folder: Path) -> str:
    """What an error says, without the place of the trial and of structures saved beside it."""
    said = f"{type(error).__name__}: {error}".replace(str(folder), "FOLDER")
    return said.replace(tempfile.gettempdir(), "TEMPORARY")


def row_of(part: str, kind: str, where: str, outcome: str, said: str) -> Row:
    """A row of the table; what was said in more than one line is not held."""
    if "\n" in said:
        outcome = "lines"
    return {"part": part, "kind": kind, "where": where, "outcome": outcome, "said": " ".join(said.split())}


def judged(answers: list[Any], expected: list[Any], *, was_told: bool) -> str:
    """Outcome of a run that came to its end."""
    if answers != expected:
        return "silent"
    return "told" if was_told else "exact"


def in_child(trial: Callable[..., Row], *arguments: Any, user: int | None = None) -> Row:
    """Result of a trial in a forked process, by another user where one is given."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            if user is not None and os.getuid() == 0:
                os.setgid(user)
                os.setuid(user)
            row = trial(*arguments)
        except BaseException as error:
            row = row_of("", "", "", "traceback", said_of(error, Path()))
        os.write(writer, json.dumps(row).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        row = json.loads(file.read())
    os.waitpid(child, 0)
    return row
