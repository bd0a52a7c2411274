"""Lines of a profile, whatever it was packed and encoded in."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MAX_LINE", "DamagedFileError", "fingerprint", "open_lines"]

#: longest line that is read; kernel names of template libraries reach some 10,000 characters
MAX_LINE = 1 << 20


class DamagedFileError(Exception):
    """The file cannot be read on from some line; `line` is the last one that was read."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, by which a file is known again under any name."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if head[1:64:2].count(0) > 16:  # PowerShell's ">" writes UTF-16
        return "utf-16-le"
    if head[0:64:2].count(0) > 16:
        return "utf-16-be"
    return "utf-8-sig"


def open_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (line number from 1, text with its line end) of a plain or gzip file.

    UTF-8 with or without a byte order mark and UTF-16 are recognised; bytes that do not fit become escapes
    such as ``\xff``, which no number parser takes. Memory does not grow with the file.

    Raises
    ------
    DamagedFileError
        If the file cannot be opened, unpacked or read on, or holds a line longer than `MAX_LINE`.
    """
    number = 0
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            raw = io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file
            encoding = _encoding(raw.peek(64)[:64])
            text = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", newline="\n")
            while line := text.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE and not line.endswith("\n"):
                    raise DamagedFileError(
                        number, f"a line of more than {MAX_LINE} characters: not a profiler's text"
                    )
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFileError(
            number, f"the compressed file is cut or damaged ({error}); nothing after it is read"
        ) from error
    except UnicodeError as error:
        raise DamagedFileError(number, f"the text cannot be decoded ({error})") from error
    except OSError as error:
        raise DamagedFileError(number, f"cannot be read: {error.strerror or error}") from error
