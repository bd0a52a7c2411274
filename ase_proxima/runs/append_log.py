"""CSV files that grow by a row at a time, and of which a kill may cut the last line."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, get_type_hints

from ase_proxima.errors import RunDirectoryError
from ase_proxima.runs.sealed import not_as_written

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AppendLog", "cut_rows", "read_records", "read_rows", "read_steps", "whole_lines"]

Record = TypeVar("Record")

SEAL = "seal"
"""Last column: a fingerprint of the row and of the seal before it, the first row's also of the names of the columns, so
that nothing can change without a word."""
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, csv.Error)
"""What reading a file that is no such log may raise."""


class AppendLog:
    """Rows of named values in a CSV file; the line that a kill cut is removed when the file is opened again.

    Parameters
    ----------
    path : Path
        The file; it is made with the first row.
    fields : sequence of str
        Names of the columns.  By default those of the file, or of the first row where there is no file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "log.csv"
    ...     with AppendLog(path) as log:
    ...         log.append({"step": 0, "energy": -1.5})
    ...     _ = path.write_text(path.read_text() + "1,-1.")
    ...     with AppendLog(path) as log:
    ...         log.append({"step": 1, "energy": -1.25})
    ...     read_rows(path)
    [{'step': '0', 'energy': '-1.5'}, {'step': '1', 'energy': '-1.25'}]
    """

    def __init__(self, path: Path, fields: Sequence[str] = ()) -> None:
        self.path = path
        self._fields = list(fields)
        self._seal = ""
        self._file: IO[bytes] | None = None

    def append(self, row: Any) -> None:
        """Write a row, a mapping or a dataclass; on return it survives the end of the process.

        Raises
        ------
        FileNotFoundError
            If the file was moved or deleted since the row before, so that nobody would find what is written.
        """
        values = row if isinstance(row, Mapping) else asdict(row)
        if self._file is None:
            self._file = self._open(values)
        elif os.stat(self.path).st_ino != os.fstat(self._file.fileno()).st_ino:
            raise FileNotFoundError(errno.ENOENT, "another file has taken its place", str(self.path))
        text = ",".join(_text(values[name]) for name in self._fields)
        self._seal = _seal_after(self._seal, text)
        _write_line(self._file, f"{text},{self._seal}")

    def _open(self, fields: Iterable[str]) -> IO[bytes]:
        whole = whole_lines(self.path)
        lines = whole.decode(errors="replace").splitlines()
        header = next(csv.reader(lines[:1]), [])
        self._fields = header[:-1] or self._fields or list(fields)
        names = ",".join([*self._fields, SEAL])
        self._seal = lines[-1].rpartition(",")[2] if len(lines) > 1 else _seal_after("", names)
        file = self.path.open("ab", buffering=0)
        file.truncate(len(whole))
        if not header:
            _write_line(file, names)
        return file

    def sync(self) -> None:
        """Bring all rows to the disk, beyond the reach of a power cut."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; the next row opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def whole_lines(path: Path) -> bytes:
    """Content of a file without the line that a kill cut; nothing where there is no file."""
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def read_rows(path: Path, *, sealed: bool = True) -> list[dict[str, str]]:
    """Rows of a log without their seals, and without the line that a kill cut; none where there is no file.

    Parameters
    ----------
    sealed
        Whether each row has a seal; a file without them, of which the whole is sealed elsewhere, is read as it is.

    Raises
    ------
    RunDirectoryError
        If the file cannot be read, or a row has changed since it was written.
    """
    try:
        lines = whole_lines(path).decode().splitlines()
        rows, seal = list(csv.DictReader(lines)), _seal_after("", lines[0] if lines else "")
        for number, (line, row) in enumerate(zip(lines[1:], rows, strict=True)) if sealed else ():
            seal = _seal_after(seal, line.rpartition(",")[0])
            if row.pop(SEAL) != seal:
                raise not_as_written(path, f"row {number} has changed")
        return rows
    except RunDirectoryError:
        raise
    except (OSError, *DAMAGE) as error:
        raise RunDirectoryError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def read_steps(path: str | Path) -> list[dict[str, str]]:
    """Rows of a run directory's steps.csv, without the line that a kill may have cut.

    Raises
    ------
    RunDirectoryError
        If there is none.
    """
    steps = Path(path) / "steps.csv"
    if not steps.exists():
        raise RunDirectoryError(f"{path} has no steps.csv: it is not a run directory, or made no call")
    return read_rows(steps)


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Rows of a log as dataclasses `kind`, whose fields are numbers, flags and words.

    Raises
    ------
    RunDirectoryError
        If the file cannot be read, or a row is no such record.
    """
    types = get_type_hints(kind)
    rows = read_rows(path)
    try:
        return [kind(**{name: _value(row[name], types[name]) for name in types}) for row in rows]
    except DAMAGE as error:
        raise RunDirectoryError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def cut_rows(path: Path, n_rows: int) -> None:
    """Leave the first `n_rows` rows of a log; do nothing where there is no file."""
    if path.exists():
        lines = whole_lines(path).splitlines(keepends=True)
        with path.open("r+b") as file:
            file.truncate(sum(map(len, lines[: n_rows + 1])))


def _write_line(file: IO[bytes], text: str) -> None:
    """Write a line past all buffers: what fails is not tried again when the file is closed."""
    line = (text + "\n").encode()
    while line:
        line = line[file.write(line) :]


def _seal_after(seal: str, text: str) -> str:
    """Seal of a row that follows one with `seal`."""
    return hashlib.blake2b(f"{seal} {text}".encode(), digest_size=6).hexdigest()


def _text(value: Any) -> str:
    """Text of a value: nothing for None, 0 or 1 for a flag, all digits of a number.

    Examples
    --------
    >>> [_text(value) for value in (None, True, 0.1, "ara", 3)]
    ['', '1', '0.1', 'ara', '3']
    """
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _value(text: str, kind: Any) -> Any:
    if kind is bool:
        return {"1": True, "0": False}[text]
    return kind(text)
