"""One set of frames for many walkers: an ASE database that all of them write to and learn from.

SQLite serves the walkers of one host, PostgreSQL those of many. Each walker keeps a copy of what it learned, in its
order, in its own run directory, from which it resumes whatever has become of the others.
"""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.runs.frames import electronic_info, frame_of
from ase_proxima.types import Frame
from ase_proxima.types.identity import checksum, electronic_state

__all__ = ["FOREIGN", "SharedFrames", "is_server"]

FOREIGN = -1
"""Step of a frame that another walker paid for: it is no call of this one."""
BUSY_MS = 60_000
"""How long to wait for another walker's write to SQLite, which takes milliseconds."""
FILE_ERRORS = (OSError, sqlite3.Error)
BEGINNING = 7_165_226
"""Key of the lock, within PostgreSQL, under which the tables are made; any number that others do not use."""


def is_server(place: str) -> bool:
    """Whether a database is on a server, and no file.

    Examples
    --------
    >>> is_server("postgresql://node1/methane"), is_server("shared.db")
    (True, False)
    """
    return place.startswith(("postgresql://", "postgres://"))


class SharedFrames:
    """The database, as one walker sees it.

    Parameters
    ----------
    place
        File of SQLite, made where there is none, or address of a PostgreSQL database.
    writer
        Word that tells the frames of this walker from those of all others.
    kind
        What walkers must have in common to share: JSON values. The first one writes it down.
    read_to
        Number of the last row that this walker has learned.

    Raises
    ------
    InputError
        If the database cannot be reached, or is that of other walkers.
    """

    def __init__(self, place: str, writer: str, kind: Mapping[str, Any], read_to: int = 0) -> None:
        self.place, self.writer, self.read_to = place, writer, read_to
        self._server = is_server(place)
        self._seen: int | None = None
        self._errors: tuple[type[Exception], ...] = _errors_of_server(place) if self._server else FILE_ERRORS
        try:
            self._database = self._connect()
            self._join(dict(kind))
        except self._errors as error:
            raise InputError(
                f"the frames of other walkers cannot be reached in {place}: {_line(error)}"
            ) from error

    def _connect(self) -> Any:
        if self._server:
            database = ase.db.connect(self.place)
        else:
            path = Path(self.place)
            if not path.exists():
                _make(path)
            database = ase.db.connect(path, type="db", use_lock_file=False)
        database.__enter__()
        if self._server:
            database.connection.con.autocommit = True  # a look leaves no transaction open
            cursor = database.connection.cursor()
            cursor.execute("SELECT pg_advisory_lock(?)", (BEGINNING,))
            database._initialize(database.connection)
            cursor.execute("SELECT pg_advisory_unlock(?)", (BEGINNING,))
        else:
            database.connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        return database

    def _join(self, kind: dict[str, Any]) -> None:
        """Write down what all walkers have in common, or compare with what the first one wrote."""
        kind = json.loads(json.dumps(kind))
        with self._writing():
            connection = self._database.connection
            cursor = connection.cursor()
            cursor.execute("SELECT value FROM information WHERE name='proxima'")
            found = cursor.fetchone()
            if found is None:
                cursor.execute("INSERT INTO information VALUES (?, ?)", ("proxima", json.dumps(kind)))
                return
        for name, value in json.loads(found[0]).items():
            if kind.get(name) != value:
                raise InputError(
                    f"{self.place} is shared by walkers with {name} {value}, this one has {kind.get(name)}: "
                    "share another database"
                )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, which waits for those of others: rows are numbered in the order in which they appear."""
        connection = self._database.connection
        cursor = connection.cursor()
        cursor.execute("BEGIN" if self._server else "BEGIN IMMEDIATE")
        try:
            if self._server:
                cursor.execute("LOCK TABLE systems IN EXCLUSIVE MODE")
            yield
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise

    def add(self, frame: Frame) -> None:
        """Give a frame to the others; one that was given before is not given again."""
        with self._telling(), self._writing():
            if self._database.count(writer=self.writer, step=frame.step):
                return
            self._database.write(
                with_results(frame),
                key_value_pairs={"writer": self.writer, "step": frame.step, "checksum": checksum(frame)},
                data={"electrons": electronic_state(frame.x)},
            )

    def news(self, x: Atoms) -> list[tuple[int, Frame]]:
        """Frames of other walkers since the last look, each with the number of its row.

        Raises
        ------
        RunDirectoryError
            If one is not as it was written, or is of other atoms or another electronic state than `x`.
        """
        with self._telling():
            if not self._changed():
                return []
            rows = list(self._database.select(f"id>{self.read_to}", sort="id"))
        found = []
        for row in rows:
            self.read_to = row.id
            if row.writer != self.writer:
                found.append((row.id, self._frame_of(row, x)))
        return found

    def _changed(self) -> bool:
        """Whether there may be a new row, at the price of one look: 2 µs in SQLite, a round trip to a server."""
        cursor = self._database.connection.cursor()
        if self._server:
            cursor.execute("SELECT last_value FROM systems_id_seq")
            return int(cursor.fetchone()[0]) > self.read_to
        cursor.execute("PRAGMA data_version")  # of SQLite: changes with each commit of another connection
        before, self._seen = self._seen, int(cursor.fetchone()[0])
        return before != self._seen

    def _frame_of(self, row: Any, x: Atoms) -> Frame:
        frame = frame_of(row, electronic_info(row.data.get("electrons", {})), FOREIGN)
        atoms = frame.x
        if checksum(frame) != row.checksum:
            raise RunDirectoryError(
                f"{self.place}: row {row.id} is not as it was written: share another database"
            )
        if sorted(atoms.numbers) != sorted(x.numbers) or electronic_state(atoms) != electronic_state(x):
            raise RunDirectoryError(
                f"{self.place} has frames of {atoms.get_chemical_formula()} in the state {electronic_state(atoms)}, "
                f"this walker has {x.get_chemical_formula()} in {electronic_state(x)}: share another database"
            )
        return frame

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise RunDirectoryError(
                f"the frames of other walkers in {self.place} cannot be used ({_line(error)}): mend it, then resume"
            ) from error

    def close(self) -> None:
        """Release the connection."""
        self._database.connection.close()
        self._database.connection = None


def _errors_of_server(place: str) -> tuple[type[Exception], ...]:
    try:
        import ase_db_backends  # noqa: F401  ASE asks it for PostgreSQL
        import psycopg2
    except ImportError as error:
        raise InputError(f"{place} needs ASE's back ends: pip install 'ase-proxima[postgresql]'") from error
    return (*FILE_ERRORS, psycopg2.Error)


def with_results(frame: Frame) -> Atoms:
    """Structure of a frame with its results, as ASE writes it."""
    atoms = frame.x.copy()
    atoms.calc = SinglePointCalculator(atoms, **frame.results)
    return atoms


def _make(path: Path) -> None:
    """Make an empty database under another name, and give it its own unless another walker was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    try:
        with ase.db.connect(new, type="db", use_lock_file=False) as database:
            database.count()
            # Readers and a writer do not wait for each other; the file keeps it, and only here nobody else has it open.
            database.connection.execute("PRAGMA journal_mode=WAL")
        try:
            os.link(new, path)
        except FileExistsError:
            return
    finally:
        new.unlink(missing_ok=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
