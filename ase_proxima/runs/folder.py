"""The folder of a run as a process takes it: its lock, its database, and what a kill at the beginning has left."""

from __future__ import annotations

import fcntl
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import ase.db

from ase_proxima.errors import RunDirectoryError
from ase_proxima.runs.files import replace_durably

__all__ = ["connect", "discard_unstarted", "is_in_use", "lock", "refuse_other_settings", "writing"]

BEFORE_THE_FIRST_CALL = re.compile(
    r"lock|models|(state|start)\.json|[a-z]+\.json\.tmp|frames\.db(\.new)?(-wal|-shm|-journal|\.lock)?"
)
"""Names of all that is in a run directory by then."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in one line what cannot be written; nothing that was written before is lost."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise RunDirectoryError(
            f"{path} cannot be written ({error}): make room or mend it, then resume the run"
        ) from error


def discard_unstarted(path: Path) -> bool:
    """Empty a run directory in which no call was made, and return whether it is empty now.

    That is what a process leaves that was killed while it began; anything else is left as it is.

    Raises
    ------
    RunDirectoryError
        If another process is about to begin there.
    """
    inside = list(path.iterdir()) if path.is_dir() else [path]
    if not inside:
        return True
    models, state, database = path / "models", path / "state.json", path / "frames.db"
    if not all(BEFORE_THE_FIRST_CALL.fullmatch(item.name) for item in inside):
        return False
    if not models.is_dir() or any(models.iterdir()) or (database.exists() and not state.exists()):
        return False
    try:
        if state.exists() and json.loads(state.read_text())["run"] is not None:
            return False
    except (ValueError, LookupError, TypeError):  # whoever opens it says what is wrong with it
        return False
    with lock(path):
        for file in sorted(set(path.iterdir()) - {models}):
            file.unlink()
        models.rmdir()  # last, so that what a kill leaves of this is as good as before
    return True


def connect(path: Path) -> Any:
    """Open the database, made beforehand under another name where there is none: its tables are there or it is not.

    ASE's own lock file is not used, as it outlives a process that was killed; one that was left is removed.

    Raises
    ------
    RunDirectoryError
        If it is damaged, or cannot be made.
    """
    try:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
        if not path.exists():
            new = path.with_name(path.name + ".new")
            for stale in path.parent.glob(new.name + "*"):
                stale.unlink()
            ase.db.connect(new, type="db", use_lock_file=False).count()
            replace_durably(new, path)
        database = ase.db.connect(path, use_lock_file=False)
        with database:
            # A write-ahead log makes a commit cheap, and still safe from the death of the process.
            database.connection.execute("PRAGMA journal_mode=WAL")
        database.__enter__()
        # Each commit reaches the disk before the checkpoint that counts on it.
        database.connection.execute("PRAGMA synchronous=FULL")
        return database
    except (OSError, sqlite3.Error) as error:
        raise RunDirectoryError(f"{path} is damaged, or the disk is full: {error}") from error


def lock(path: Path) -> IO[str]:
    """Hold the folder for this process, until the file is closed.

    Raises
    ------
    RunDirectoryError
        If another process holds it.
    """
    with writing(path / "lock"):
        file = (path / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise RunDirectoryError(f"{path} is in use by another process: wait for it, or end it") from error
        raise


def is_in_use(path: Path) -> bool:
    """Whether a process has a run directory open."""
    try:
        lock(path).close()
    except RunDirectoryError:
        return True
    return False


def refuse_other_settings(saved: Mapping[str, Any], settings: Mapping[str, Any], run_dir: Path) -> None:
    """Raise a `RunDirectoryError` that names the first of the settings that is not as it was saved."""
    for name, value in settings.items():
        if saved.get(name) != value:
            raise RunDirectoryError(
                f"{run_dir} was made with {name} = {saved.get(name)!r}, now it is {value!r}: "
                "resume with the same settings, or choose another run directory"
            )
