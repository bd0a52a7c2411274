"""The loop that answers calls from the surrogate where it may be trusted, else from the target."""

from ase_proxima.executor.criteria import Criterion, Watch
from ase_proxima.executor.guard import Guard
from ase_proxima.executor.loop import Executor

__all__ = ["Criterion", "Executor", "Guard", "Watch"]
