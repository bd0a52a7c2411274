"""What is to be predicted: which metric, from which GPU, on which GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import canonical_name, find_metric, registry
from gpu_xarch.models.sheets import sheets_of
from gpu_xarch.specs import ANY, GpuSpec, canonical_device, find_gpu, gpus
from gpu_xarch.tables.memory_bound import THRESHOLD

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["ANY", "MEMORY_BOUND", "Problem", "make_problem"]

MEMORY_BOUND = "memory_bound"


@dataclass(frozen=True)
class Problem:
    """A metric to predict.

    Parameters
    ----------
    target : str
        Canonical metric name, or "memory_bound".
    source, dest : str
        The GPU at hand and the GPU to predict, by their short names; the same for a same-GPU problem.
    """

    target: str
    source: str
    dest: str

    @property
    def same_gpu(self) -> bool:
        """Whether both GPUs are the same one."""
        return self.source == self.dest != ANY

    @property
    def classifies(self) -> bool:
        """Whether a label is predicted, not a number."""
        return self.target == MEMORY_BOUND

    @property
    def unit(self) -> str:
        """Unit of the target."""
        if self.classifies:
            return "label"
        known = registry()
        return known[self.target].unit if self.target in known else "unknown"

    def spec(self, side: str) -> GpuSpec | None:
        """Return the data sheet of "source" or "dest", None for a GPU that is not in the table."""
        name = self.source if side == "source" else self.dest
        return find_gpu(name) if name in gpus() else None

    @property
    def cap(self) -> float:
        """Physical upper limit of the target on the destination; infinite where none is known."""
        dest = self.spec("dest")
        if self.classifies:
            return 1.0
        if self.target in registry() and registry()[self.target].most < float("inf"):
            return registry()[self.target].most
        if dest is not None and self.target in ("ipc", "issued_ipc"):
            return float(dest.issue_width)
        if dest is not None and self.target.startswith("dram_") and self.unit == "bytes/s":
            return dest.bandwidth
        return float("inf")

    def cap_of(self, values: pd.DataFrame) -> Floats | float:
        """Return the physical upper limit of each row, where rows carry the data sheets of their own GPUs."""
        import numpy as np

        if "dest.sms" not in values.columns or self.unit == "fraction" or self.classifies:
            return self.cap
        if self.target in ("ipc", "issued_ipc"):
            return values["dest.issue_width"].to_numpy(float)
        if self.target.startswith("dram_") and self.unit == "bytes/s":
            return values["dest.bandwidth"].to_numpy(float)
        return np.full(len(values), np.inf)

    def scale_of(self, values: pd.DataFrame) -> Floats:
        """Return the data sheets' ratio dest / source for the target of each row; 1 where they say nothing about it.

        IPC is scaled by the root of the lanes of a multiprocessor, half-way (in the logarithm) between a kernel that
        fills them and one that waits; throughputs by peak bandwidth, or by multiprocessors times clock; times by
        lanes times clock.
        """
        import numpy as np

        sheets = sheets_of(self.source, self.dest, values)
        if sheets is None:
            return np.ones(len(values))
        source, dest = sheets
        speed = (dest.sms * dest.boost_hz) / (source.sms * source.boost_hz)
        lanes = dest.fp32_lanes / source.fp32_lanes
        if self.target in ("ipc", "issued_ipc"):
            return np.sqrt(lanes)
        if self.unit == "bytes/s":
            return dest.bandwidth / source.bandwidth if self.target.startswith("dram_") else speed
        return 1.0 / (speed * lanes) if self.unit == "s" else np.ones(len(values))

    def old(self, values: pd.DataFrame) -> Floats:
        """Return the target's value on the source, shape (n_runs,).

        Raises
        ------
        InputError
            If the runs do not have it.
        """
        import numpy as np

        name = "dram_throughput" if self.classifies else self.target
        if name not in values.columns:
            raise InputError(f"old = new needs {name} of {self.source}, which the table does not have")
        column: Floats = values[name].to_numpy(float)
        if not self.classifies:
            return column
        peak = find_gpu(self.source).bandwidth
        label: Floats = np.where(column / peak > THRESHOLD, 1.0, 0.0)
        return label


def make_problem(target: str, source: str, dest: str | None = None) -> Problem:
    """Return the problem for names in any known spelling.

    Raises
    ------
    InputError
        If the metric is unknown, or the peak bandwidth is needed and the GPU is not in the table.

    Examples
    --------
    >>> make_problem("executed_ipc", "Tesla P100", "V100")
    Problem(target='ipc', source='P100', dest='V100')
    >>> make_problem("dram_throughput", "GTX 950", "GTX 1080 Ti").cap
    484400000000.0
    """
    name = target if target == MEMORY_BOUND or target.startswith("event.") else canonical_name(target)
    if name is None:
        name = find_metric(target).name
    left = canonical_device(source)
    right = canonical_device(dest) if dest is not None else left
    if name == MEMORY_BOUND:
        find_gpu(left), find_gpu(right)
    return Problem(name, left, right)
