"""Tables of runs and of pairs as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import units
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.pairs import DEST, SOURCE, paired_metrics
from gpu_xarch.tables.runs import metric_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["export_csv"]


def export_csv(
    frame: pd.DataFrame,
    *,
    metrics: Sequence[str] | None = None,
    gpu: str | None = None,
    with_units: bool = False,
) -> tuple[str, int]:
    """Return a table as CSV, with a header, numbers in SI units with all their digits, gaps empty.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `load_runs` or `load_pairs`.
    metrics : sequence of str, optional
        These metrics alone, of pairs those of both sides; what each run is always comes along.
    gpu : str, optional
        Rows of this GPU alone, of pairs those with it on either side.
    with_units : bool
        Write the unit of a metric behind its name: ``duration [s]``.

    Returns
    -------
    text : str
    rows : int

    Raises
    ------
    InputError
        If a metric is not in the table.
    """
    is_pairs = SOURCE + "device" in frame.columns
    sides = (SOURCE, DEST) if is_pairs else ("",)
    named = (
        {side + name: name for side in sides for name in paired_metrics(frame, side)}
        if is_pairs
        else {name: name for name in metric_columns(frame.columns)}
    )
    if metrics is not None:
        missing = [name for name in metrics if name not in named.values()]
        if missing:
            raise InputError(f"not in the table: {', '.join(missing)}; `xarch info` names what is missing")
        frame = frame[[name for name in frame.columns if named.get(name, metrics[0]) in metrics]]
    if gpu is not None:
        device = canonical_device(gpu)
        frame = frame[(frame[[side + "device" for side in sides]] == device).any(axis=1)]
    if with_units:
        unit = frame.attrs.get("units", {}) | {
            k: v for k, v in units(named.values()).items() if v != "unknown"
        }
        frame = frame.rename(
            columns={column: f"{column} [{unit.get(name, 'unknown')}]" for column, name in named.items()}
        )
    return frame.to_csv(index=False), len(frame)
