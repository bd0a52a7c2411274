"""Files that grow, with a seal: what was written so far can be told from what another hand has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ase_proxima.errors import RunDirectoryError
from ase_proxima.runs.folder import writing

__all__ = ["SealedFile", "gone", "not_as_written", "seal_of"]


def not_as_written(path: Path, problem: str) -> RunDirectoryError:
    """Error for a file of a run that was edited, or is another run's.

    Examples
    --------
    >>> print(not_as_written(Path("md.csv"), "a row differs"))
    md.csv is not what this run wrote: a row differs; take the files from a copy, or begin a new run
    """
    return RunDirectoryError(
        f"{path} is not what this run wrote: {problem}; take the files from a copy, or begin a new run"
    )


def gone(path: Path) -> RunDirectoryError:
    """Error for a file of a run that is not there any more.

    Examples
    --------
    >>> print(gone(Path("frames.db")))
    frames.db is gone: take the files from a copy, or begin a new run
    """
    return RunDirectoryError(f"{path} is gone: take the files from a copy, or begin a new run")


def seal_of(data: Mapping[str, Any]) -> str:
    """Fingerprint of JSON values, the same before they are written and after they are read.

    Examples
    --------
    >>> seal_of({"a": (1, 0.1)}) == seal_of({"a": [1, 0.1]}) != seal_of({"a": [1, 0.2]})
    True
    """
    return hashlib.blake2b(json.dumps(data).encode(), digest_size=16).hexdigest()


class SealedFile:
    """A file that is appended to; its seal, kept elsewhere, holds its length and a fingerprint of all its bytes.

    Parameters
    ----------
    path : Path
    seal : str, optional
        What `seal` was when the run last knew the file; what was written after that is cut off. None begins an empty
        file.

    Raises
    ------
    RunDirectoryError
        If the file is gone, shorter than the seal says, or has other bytes.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = SealedFile(Path(folder) / "rows.csv")
    ...     file.write("step 0;")
    ...     seal = file.seal
    ...     file.write("step 1;")
    ...     file.close()
    ...     SealedFile(file.path, seal).close()
    ...     file.path.read_text()
    'step 0;'
    """

    def __init__(self, path: Path, seal: str | None = None) -> None:
        self.path = path
        self._digest = hashlib.blake2b(digest_size=16)
        self._length = 0
        if seal is not None:
            self._check(seal)
        path.touch()
        self._file: IO[bytes] = path.open("r+b")
        self._file.truncate(self._length)
        self._file.seek(self._length)

    def _check(self, seal: str) -> None:
        length, _, digest = seal.partition(" ")
        if not self.path.exists():
            raise gone(self.path)
        content = self.path.read_bytes()[: int(length)]
        if len(content) < int(length):
            raise RunDirectoryError(f"{self.path} is shorter than the run left it: it was cut")
        self._length = len(content)
        self._digest.update(content)
        if self._digest.hexdigest() != digest:
            raise not_as_written(self.path, "some of its bytes are others")

    @property
    def seal(self) -> str:
        """Length and fingerprint of what was written."""
        return f"{self._length} {self._digest.hexdigest()}"

    def write(self, text: str) -> None:
        """Add text; on return it survives the end of the process."""
        content = text.encode()
        with writing(self.path):
            self._file.write(content)
            self._file.flush()
        self._length += len(content)
        self._digest.update(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
