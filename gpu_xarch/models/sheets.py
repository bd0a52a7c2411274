"""The numbers of both data sheets that a prediction needs, one a row: one pair of GPUs, or many at once.

A table of several pairs of GPUs carries these numbers as columns "source.sms", "dest.bandwidth", ... beside the
metrics, so that one model learns from all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpu_xarch.specs import find_gpu, gpus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Sheet", "is_sheet_column", "sheet_columns", "sheets_of"]


@dataclass(frozen=True)
class Sheet:
    """Facts of a GPU as in `gpu_xarch.specs.GpuSpec`, each of shape (n_rows,)."""

    sms: Floats
    fp32_lanes: Floats
    fp64_lanes: Floats
    boost_hz: Floats
    bandwidth: Floats
    l2: Floats
    warps: Floats
    issue_width: Floats
    schedulers: Floats
    wait_cycles: Floats


FACTS = tuple(one.name for one in fields(Sheet))


def is_sheet_column(name: str) -> bool:
    """Tell whether a column is a fact of a data sheet, not a metric.

    Examples
    --------
    >>> is_sheet_column("dest.sms"), is_sheet_column("ipc")
    (True, False)
    """
    side, _, fact = name.partition(".")
    return side in ("source", "dest") and fact in FACTS


def sheet_columns(side: str, devices: Iterable[str]) -> pd.DataFrame:
    """Return the facts of each row's GPU as columns "SIDE.fact"; NaN where it is not in the table.

    Examples
    --------
    >>> sheet_columns("dest", ["P100", "V100"])["dest.sms"].tolist()
    [56.0, 80.0]
    """
    known = gpus()
    rows = [
        [float(getattr(known[one], fact)) if one in known else np.nan for fact in FACTS] for one in devices
    ]
    return pd.DataFrame(rows, columns=[f"{side}.{fact}" for fact in FACTS])


def sheets_of(source: str, dest: str, X: pd.DataFrame) -> tuple[Sheet, Sheet] | None:
    """Return the facts of both GPUs, of each row's own where it carries them; None where one is not known."""
    found = []
    for side, name in (("source", source), ("dest", dest)):
        if f"{side}.{FACTS[0]}" in X.columns:
            facts = {fact: X[f"{side}.{fact}"].to_numpy(float) for fact in FACTS}
        elif name in gpus():
            spec = find_gpu(name)
            facts = {fact: np.full(len(X), float(getattr(spec, fact))) for fact in FACTS}
        else:
            return None
        if not all(np.isfinite(values).all() for values in facts.values()):
            return None
        found.append(Sheet(**facts))
    return found[0], found[1]
