"""Frames of a run directory, read without disturbing the run that may still be writing to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.db

from ase_proxima.errors import RunDirectoryError
from ase_proxima.runs.append_log import DAMAGE
from ase_proxima.types import Frame
from ase_proxima.types.identity import ELECTRONIC_INFO

__all__ = ["electronic_info", "frame_of", "read_frames"]


def electronic_info(electrons: Mapping[str, Any]) -> dict[str, Any]:
    """Charge, spin and multiplicity, which the database does not keep, from an electronic state that was saved."""
    return {name: electrons[name] for name in ELECTRONIC_INFO if name in electrons}


def frame_of(row: Any, info: Mapping[str, Any], step: int) -> Frame:
    """Frame in a row of an ASE database, with what the database does not keep of its `atoms.info`."""
    atoms = row.toatoms()
    results = dict(atoms.calc.results)
    atoms.calc = None
    atoms.info = dict(info)
    return Frame(atoms, results, step)


def _target_of(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((path / "state.json").read_text())["target"])
    except (OSError, ValueError, LookupError, TypeError):  # frames alone can be read too
        return {}


def read_frames(path: str | Path) -> list[Frame]:
    """Frames of a run directory, in the order of the calls, finished or not.

    Raises
    ------
    RunDirectoryError
        If there is no database, or it is damaged.
    """
    file = Path(path) / "frames.db"
    if not file.exists():
        raise RunDirectoryError(f"{path} has no frames.db: it is not a run directory")
    frames = []
    info = electronic_info(_target_of(Path(path)).get("electronic_state", {}))
    try:
        with ase.db.connect(file) as database:
            for row in database.select(sort="id"):
                frames.append(frame_of(row, info, row.step))
    except (sqlite3.Error, *DAMAGE) as error:
        raise RunDirectoryError(f"{file} is damaged: {type(error).__name__}: {error}") from error
    return frames
