"""Files and folders that are replaced in one move, and are on the disk by then."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["replace_durably", "write_json"]


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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
