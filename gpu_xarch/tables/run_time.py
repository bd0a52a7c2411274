"""How long a launch took: as measured, or as any count and its rate tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["run_time"]

_SECTOR = 32.0  # bytes of a transaction
_TIMED = ("l2_read", "l2_write", "dram_read", "dram_write")


def run_time(frame: pd.DataFrame) -> Floats:
    """Return the seconds of a launch, shape (n_runs,): as measured, else by a count and its rate; NaN for neither.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"l2_read_transactions": [1e6, 0.0], "l2_read_throughput": [32e9, 0.0]})
    >>> run_time(runs).tolist()
    [0.001, nan]
    """
    time = frame["duration"].to_numpy(float).copy() if "duration" in frame else np.full(len(frame), np.nan)
    for name in _TIMED:
        count, rate = f"{name}_transactions", f"{name}_throughput"
        if count in frame and rate in frame:
            moved, speed = frame[count].to_numpy(float) * _SECTOR, frame[rate].to_numpy(float)
            known = np.isnan(time) & (moved > 0) & (speed > 0)
            time[known] = moved[known] / speed[known]
    return time
