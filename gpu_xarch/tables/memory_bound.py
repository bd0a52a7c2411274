"""Which runs are bound by the bandwidth of the device memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.specs import canonical_device, find_gpu, gpus

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["THRESHOLD", "label_runs"]

#: share of the peak bandwidth above which the published study calls a run memory-bound
THRESHOLD = 0.75


def label_runs(
    frame: pd.DataFrame, *, threshold: float = THRESHOLD, peaks: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Add "bandwidth_fraction" and "memory_bound" to a table of runs.

    A run is memory-bound where (dram_read_throughput + dram_write_throughput) / peak > threshold.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs.
    threshold : float
        Share of the peak, above 0 and at most 1.
    peaks : mapping of str to float, optional
        Peak bandwidth in bytes/s by device; the others are taken from the data sheets. Runs of a device without either
        are not labelled.

    Returns
    -------
    pandas.DataFrame
        A copy with the two columns; NaN where the throughput was not measured or the peak is not known.

    Raises
    ------
    InputError
        If the threshold is out of range, no run has the throughput, no peak is known, or one is not positive.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"device": ["P100", "P100"], "dram_throughput": [600e9, 100e9]})
    >>> label_runs(runs)["memory_bound"].tolist()
    [1.0, 0.0]
    """
    if not 0 < threshold <= 1:
        raise InputError(f"the threshold must be above 0 and at most 1, got {threshold}")
    if "dram_throughput" not in frame.columns or not frame["dram_throughput"].notna().any():
        raise InputError("no run has dram_throughput: profile dram_read_throughput and dram_write_throughput")
    told = dict(peaks or {})
    by_device = {}
    for device in frame["device"].unique():
        spec = gpus().get(canonical_device(str(device)))
        peak = told.pop(str(device), spec.bandwidth if spec is not None else None)
        if peak is None:
            continue
        if not peak > 0:
            raise InputError(f"the peak of {device} must be above 0 bytes/s, got {peak}")
        by_device[device] = peak
    if told:
        raise InputError(f"a peak was given for {', '.join(told)}, of which the table has no runs")
    if not by_device:
        find_gpu(str(frame["device"].iloc[0]))  # says what to do
    labelled = frame.copy()
    fraction = frame["dram_throughput"] / frame["device"].map(by_device).astype(float)
    labelled["bandwidth_fraction"] = fraction
    labelled["memory_bound"] = (fraction > threshold).astype(float).where(fraction.notna())
    units = dict(frame.attrs.get("units", {}))
    labelled.attrs["units"] = units | {"bandwidth_fraction": "fraction", "memory_bound": "label"}
    return labelled
