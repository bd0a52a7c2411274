"""Time, IPC and memory throughput on another GPU from one description of a kernel.

A kernel keeps its instructions, its warps and the bytes that it asks for. What changes with the GPU is how many
warps are resident at a time, how long a warp waits, how fast each resource serves it, and which data stay in the
second-level cache. A multiprocessor issues

    ipc^-p = latency^-p + issue^-p + memory^-p + l2^-p

instructions a cycle, each term the rate at which that limit alone would let it: the least binds, and limits near
each other add up (a smooth form of the roofline, Williams et al. 2009, doi:10.1145/1498765.1498785, with the
latency bound of Volkov's thesis, UCB/EECS-2016-143). From the IPC measured on the GPU at hand the latency term is
solved for; it then moves with the warps resident and with the length of a wait in cycles. The constants of
`PARAMETERS` are fitted to pairs, and held near their start where the pairs say little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from sklearn.base import BaseEstimator, RegressorMixin

from gpu_xarch.errors import InputError
from gpu_xarch.models.kernel import PARAMETERS, Kernel, Outcome, carry_over, describe
from gpu_xarch.models.sheets import Sheet, sheets_of
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpu_xarch.models.problem import Problem

    Floats = NDArray[np.float64]

__all__ = ["Mechanism", "offset_of", "weights_of"]


#: metrics that are shares or rates, and so mean the same for a large and a small kernel
CARRIED = (
    *("stall_memory_dependency", "stall_exec_dependency", "stall_sync", "stall_not_selected"),
    *("stall_memory_throttle", "warp_execution_efficiency", "inst_replay_overhead", "sm_efficiency"),
    *("eligible_warps_per_cycle", "shared_load_throughput", "gld_throughput", "dram_write_throughput"),
)
#: what keeps logarithms of a footprint, and of a throughput over the peak, finite
LEAST_BYTES, LEAST_SHARE = 1e4, 1e-3
#: share of the median below which a throughput, and anything else, is next to nothing to a fit
SMALL_RATE, SMALL = 0.2, 0.02
#: errors of the logarithm beyond this count by their size, below by their square
STIFF_ERROR = 0.1
#: spreads that a parameter may move from its start, rows that a fit looks at, and its rounds at most
MOST_SPREADS, FIT_ROWS, FIT_ROUNDS = 4.0, 1500, 40
#: draws of the constants that tell how sensitive a prediction is to them, and their width in spreads
DRAWS, DRAWN_SPREADS = 40, 2.0


def offset_of(y: Floats, share: float = 1e-3) -> float:
    """Return a share of the median of the positive values, 1 where there are none.

    Added to values it keeps their logarithms finite, and runs that do next to nothing from dominating them.

    Examples
    --------
    >>> offset_of(np.array([0.0, 100.0, 300.0]))
    0.2
    """
    positive = y[y > 0]
    return share * float(np.median(positive)) if len(positive) else 1.0


def weights_of(groups: Sequence[str] | None, n_rows: int) -> Floats:
    """Return weights of the rows, mean 1: one over the root of the size of a row's group.

    Rows of an application are alike, so that a large one does not count by its rows; nor does it count no more than a
    small one.

    Examples
    --------
    >>> weights_of(["a", "a", "a", "a", "b"], 5).round(3).tolist()
    [0.833, 0.833, 0.833, 0.833, 1.667]
    """
    if groups is None:
        return np.ones(n_rows)
    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    weights = np.asarray(np.bincount(codes)[codes], dtype=np.float64) ** -0.5
    mean_one: Floats = weights / weights.mean()
    return mean_one


class Mechanism(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The mechanism alone, its constants fitted to pairs by least absolute errors of the logarithm.

    Where a data sheet, the IPC or the instructions are missing, and for metrics that it says nothing about, the
    old value is predicted.

    Parameters
    ----------
    problem : Problem
    stiffness : float
        Groups of pairs that the start of the constants counts for: with many more of them the pairs decide.
    """

    def __init__(self, problem: Problem, *, stiffness: float = 4.0) -> None:
        self.problem = problem
        self.stiffness = stiffness

    def fit(
        self, X: pd.DataFrame, y: Floats, *, groups: Sequence[str] | None = None, on_step: OnStep = silent
    ) -> Mechanism:
        """Fit the constants.

        Parameters
        ----------
        X : pandas.DataFrame, shape (n_runs, n_metrics)
        y : ndarray, shape (n_runs,)
        groups : sequence of str, length n_runs, optional
            Application or kernel of each run: none counts by its rows alone. Without it each run counts as one.
        """
        start = np.array([one.start for one in PARAMETERS])
        spread = np.array([one.spread for one in PARAMETERS])
        self.parameters_ = start
        self.offset_ = offset_of(y, SMALL_RATE if self.problem.unit == "bytes/s" else SMALL)
        self.problem.old(X.iloc[:0])
        kept = np.unique(np.linspace(0, len(y) - 1, min(FIT_ROWS, len(y))).astype(int))
        part = X.iloc[kept]
        told = self._describe(part)
        if told is None or self.problem.classifies:
            return self
        root = np.sqrt(weights_of(groups, len(y))[kept])
        truth = np.log(np.maximum(y[kept], 0.0) + self.offset_)
        # rows of one group say much the same: it is groups that weigh against the start
        rows_of_a_group = 1.0 if groups is None else len(kept) / len(set(np.asarray(groups, str)[kept]))
        held = np.sqrt(self.stiffness * rows_of_a_group) * STIFF_ERROR
        old, cap = np.maximum(self.problem.old(part), 0.0), self.problem.cap_of(part)

        def residuals(moved: Floats) -> Floats:
            guess = self._values(old, cap, told, carry_over(*told, start + spread * moved))
            return np.concatenate([root * (np.log(guess + self.offset_) - truth), held * moved])

        found = least_squares(
            residuals,
            np.zeros(len(start)),
            bounds=(-MOST_SPREADS, MOST_SPREADS),
            loss="soft_l1",
            f_scale=STIFF_ERROR,
            max_nfev=FIT_ROUNDS,
        )
        self.parameters_ = start + spread * found.x
        return self

    def at_start(self) -> Mechanism:
        """Return the same with the constants that a fit starts from."""
        found = Mechanism(self.problem, stiffness=self.stiffness)
        found.parameters_ = np.array([one.start for one in PARAMETERS])
        return found

    def kernel(self, X: pd.DataFrame) -> Kernel:
        """Return the description of the launches.

        Raises
        ------
        InputError
            If a data sheet, the IPC or the instructions are missing.
        """
        told = self._describe(X)
        if told is None:
            raise InputError(
                "a kernel is described by its ipc and inst_executed and by the data sheets of both GPUs"
            )
        return told[0]

    def _describe(self, X: pd.DataFrame) -> tuple[Kernel, Sheet, Sheet] | None:
        sheets = None if self.problem.same_gpu else sheets_of(self.problem.source, self.problem.dest, X)
        kernel = describe(X, sheets[0]) if sheets is not None else None
        return None if sheets is None or kernel is None else (kernel, *sheets)

    def outcome(self, X: pd.DataFrame) -> Outcome | None:
        """Return what the kernels do on the destination, or None where the mechanism cannot tell."""
        told = self._describe(X)
        return None if told is None else carry_over(*told, self.parameters_)

    def _values(
        self, old: Floats, cap: Floats | float, told: tuple[Kernel, Sheet, Sheet], outcome: Outcome
    ) -> Floats:
        """Return the values that an outcome means for the target, at most what is possible, shape (n_runs,)."""
        kernel, target, unit = told[0], self.problem.target, self.problem.unit
        new = old
        if target in ("ipc", "issued_ipc"):
            new = new * outcome.ipc / kernel.ipc
        elif unit == "s":
            new = outcome.time_s
        elif unit == "bytes/s":
            new = new * kernel.time_s / outcome.time_s
            if target.startswith("dram_"):
                new = new * outcome.traffic
        return np.minimum(new, cap)

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions, shape (n_runs,)."""
        old, told = np.maximum(self.problem.old(X), 0.0), self._describe(X)
        if told is None or self.problem.classifies:
            return old
        return self._values(old, self.problem.cap_of(X), told, carry_over(*told, self.parameters_))

    def doubt(self, X: pd.DataFrame) -> Floats | None:
        """Return how much predictions change with the constants, or None where the mechanism cannot tell.

        Shape (n_rows,): the standard deviation of the logarithm over draws of the constants round the fitted ones.
        """
        told = self._describe(X)
        if told is None or self.problem.classifies:
            return None
        width = DRAWN_SPREADS * np.array([one.spread for one in PARAMETERS])
        moves = width * np.random.default_rng(0).normal(size=(DRAWS, len(width)))
        old, cap = np.maximum(self.problem.old(X), 0.0), self.problem.cap_of(X)
        guesses = [self._values(old, cap, told, carry_over(*told, self.parameters_ + one)) for one in moves]
        spread: Floats = np.log(np.array(guesses) + self.offset_).std(axis=0)
        return spread

    def features(self, X: pd.DataFrame) -> pd.DataFrame | None:
        """Return what the residual may depend on, free of units and of sizes, or None where nothing can be said.

        Shape (n_runs, n_features), finite: how near each limit is on both GPUs, how the grid fills them, what the
        caches hold, and the shares and rates of `CARRIED` that the profiles have.
        """
        told = self._describe(X)
        if told is None:
            return None
        (kernel, source, dest), outcome = told, carry_over(*told, self.parameters_)
        columns = {
            "old memory": outcome.old_memory,
            "new memory": outcome.new_memory,
            "old L2": outcome.old_l2,
            "new L2": outcome.new_l2,
            "traffic": outcome.traffic,
            "miss": kernel.memory_bytes / np.maximum(kernel.l2_bytes, 1.0),
            "waits": kernel.waits,
            "start-up": outcome.start_up,
            "log fill": np.log(outcome.resident / kernel.resident),
            "log resident": np.log(kernel.resident),
            "log old multiprocessors": np.log(outcome.old_sms),
            "log new multiprocessors": np.log(outcome.new_sms),
            "log waves": np.log(kernel.warps / kernel.resident / dest.sms),
            "log footprint": np.log((outcome.footprint + LEAST_BYTES) / dest.l2),
            "log busy": np.log(outcome.busy_s),
            "log old ipc": np.log(kernel.ipc),
            "log new ipc": np.log(outcome.ipc),
            "log throughput": np.log(
                (kernel.memory_bytes / outcome.time_s * outcome.traffic) / dest.bandwidth + LEAST_SHARE
            ),
        }
        for name in CARRIED:
            if name in X.columns:
                column = X[name].to_numpy(float)
                if name.endswith("_throughput"):
                    column = np.log(np.maximum(column, 0.0) / source.bandwidth + LEAST_SHARE)
                columns[name] = np.log(column + 0.01) if name == "eligible_warps_per_cycle" else column
        return pd.DataFrame(columns, index=X.index)
