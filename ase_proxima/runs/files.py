"""Files and folders that are replaced in one move, and are on the disk by then; versions of a model among them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "fingerprint_of",
    "forget_version",
    "replace_durably",
    "save_version",
    "version_folder",
    "write_json",
]

CHUNK = 2**18
"""Bytes that are read at once where a file is sealed: they stay in the processor's cache."""
KEPT_VERSIONS = 2
"""Versions of a model that stay: the latest, and that before, which a reader or a resume may need."""


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a JSON file in one move, so that a reader finds the old one or the new one, after a power cut too."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(data))
    replace_durably(temporary, path)


def replace_durably(temporary: Path, path: Path) -> None:
    """Move a file, or a folder of files, to its place once all of it is on the disk."""
    for item in sorted(temporary.rglob("*")) if temporary.is_dir() else ():
        _sync(item)
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def version_folder(models: Path, version: int) -> Path:
    """Folder of a version among those of a model."""
    return models / f"{version:06d}"


def save_version(models: Path, version: int, save: Callable[[Path], None]) -> None:
    """Let `save` write a version of a model to a folder, which then takes its place in one move."""
    folder, new = version_folder(models, version), models / "new"
    for stale in (folder, new):
        shutil.rmtree(stale, ignore_errors=True)
    new.mkdir()
    save(new)
    replace_durably(new, folder)


def forget_version(models: Path, latest: int) -> None:
    """Remove the version that nobody can need any more once `latest` is known."""
    shutil.rmtree(version_folder(models, latest - KEPT_VERSIONS), ignore_errors=True)


def fingerprint_of(folder: Path) -> str:
    """Fingerprint of the names and the bytes of the files in a folder and those below it."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as opened:
            digest.update(f"{file.relative_to(folder)} {os.fstat(opened.fileno()).st_size} ".encode())
            # a model may take tens of MB, and is sealed at each frame it learns
            while content := opened.read(CHUNK):
                digest.update(content)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
