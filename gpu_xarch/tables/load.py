"""Open a Parquet file that may be a table of runs or of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from gpu_xarch.errors import InputError
from gpu_xarch.tables.pairs import load_pairs
from gpu_xarch.tables.runs import load_runs, why_not_parquet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_table"]


def load_table(path: Path | str) -> pd.DataFrame:
    """Read a table of pairs or of runs, whichever the file is.

    Raises
    ------
    InputError
        If it is neither.
    """
    try:
        marks = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"cannot read the table {path}: {why_not_parquet(error)}; `xarch ingest` and `xarch pair` write tables"
        ) from error
    if b"gpu_xarch.pairs" in marks:
        return load_pairs(path)
    if b"gpu_xarch.format" in marks:
        return load_runs(path)
    raise InputError(f"{path} is no table of runs or pairs: `xarch ingest` and `xarch pair` write them")
