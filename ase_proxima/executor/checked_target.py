"""The target of a run: tried again where it fails, and known to be the one that the run began with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ase_proxima.errors import InputError, RunDirectoryError, TargetError
from ase_proxima.executor.criteria import Criterion
from ase_proxima.protocols import FrameStore
from ase_proxima.types import Frame, Results
from ase_proxima.types.words import is_plural

__all__ = ["CheckedTarget"]

REPEATED_WITHIN = 0.5
"""Share of an error bound by which a target may differ from itself when a run is resumed: iterative solvers that start
elsewhere do, by far less than a bound that makes sense for them."""


@dataclass
class CheckedTarget:
    """Results of a target that are finite.

    Attributes
    ----------
    target, store, retries
        See `Executor`.
    timed
        Gives a context that takes the time of what comes to an end in it.
    unverified
        What the target has still to repeat before the surrogate may answer in its place.
    """

    target: Callable[[Any], Results]
    store: FrameStore
    retries: int
    timed: Callable[[str], AbstractContextManager[None]]
    unverified: Frame | None = None

    def run(self, x: Any, step: int) -> Results:
        """Results at `x`; from the store where they were paid for already.

        Raises
        ------
        TargetError
            If it fails, or returns what is not finite, after all retries.
        """
        known = self.store.known(step, x)
        return self._ask(x, step) if known is None else known

    def _ask(self, x: Any, step: int) -> Results:
        cause: BaseException | None = None
        with self.timed("time_target"):
            for _ in range(self.retries + 1):
                try:
                    results = self.target(x)
                except (InputError, NotImplementedError):
                    raise
                except (
                    Exception,
                    SystemExit,
                ) as error:  # foreign code: whatever it raises, the input is saved
                    cause, problem = error, " ".join(f"{type(error).__name__}: {error}".split())
                    continue
                wrong = [name for name, value in results.items() if not np.isfinite(value).all()]
                if not wrong:
                    return results
                cause, problem = None, f"{', '.join(wrong)} not finite"
            place = self.store.save_failed(step, x)
            raise TargetError(
                f"the target failed at call {step}, {self.retries + 1} times ({problem}): "
                f"the structure is in {place}"
            ) from cause

    def verify(self, criteria: Sequence[Criterion], step: int) -> None:
        """Let it repeat a frame of the process before, if it has not yet.

        Raises
        ------
        RunDirectoryError
            If it gives something else by more than a share of an error bound.
        """
        frame = self.unverified
        if frame is None:
            return
        results = self._ask(frame.x, step)
        for criterion in criteria:
            error = criterion.measure(frame.x, frame.results, results)
            if error is not None and error > REPEATED_WITHIN * criterion.bound:
                what = criterion.property or "answer"
                other = "other" if is_plural(what) else "another"
                raise RunDirectoryError(
                    f"the target gives {other} {what} than the run has stored for call {frame.step}, off by "
                    f"{error:.3g} (allowed: {REPEATED_WITHIN * criterion.bound:.3g}): resume with the same target, or "
                    "choose another run directory"
                )
        self.unverified = None
