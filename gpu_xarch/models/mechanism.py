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
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from sklearn.base import BaseEstimator, RegressorMixin

from gpu_xarch.models.sheets import Sheet, sheets_of
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpu_xarch.models.problem import Problem

    Floats = NDArray[np.float64]

__all__ = [
    "LIMITS",
    "PARAMETERS",
    "Kernel",
    "Mechanism",
    "Outcome",
    "carry_over",
    "describe",
    "offset_of",
    "weights_of",
]


class Parameter(NamedTuple):
    """A constant of the mechanism: where it starts, and how far (in one standard deviation) it may move."""

    name: str
    start: float
    spread: float
    meaning: str


#: set on the suites SDK and Rodinia of the GTX 950 and the GTX 1080 Ti; logarithms unless the meaning says otherwise
PARAMETERS = (
    Parameter("sharpness", float(np.log(2.5)), 0.3, "p above: how little two limits near each other add up"),
    Parameter(
        "old_memory", float(np.log(0.88)), 0.05, "share of the peak bandwidth that streams reach, source"
    ),
    Parameter("new_memory", float(np.log(0.75)), 0.1, "the same on the destination"),
    Parameter("block_warps", float(np.log(5.0)), 0.4, "warps of a block where the profile does not tell"),
    Parameter("relief", float(np.log(2.5)), 0.3, "how much faster a kernel can get that was bound elsewhere"),
    Parameter("l2_share", -0.3, 0.4, "footprint over L2 at which half of the traffic is kept"),
    Parameter("l2_steepness", float(np.log(2.5)), 0.4, "how suddenly traffic goes as the footprint shrinks"),
    Parameter("l2_rest", -1.2, 1.0, "logit of the share of traffic that stays in any case"),
    Parameter("launch", float(np.log(1.8e-6)), 0.2, "seconds of a launch in which nothing is issued"),
    Parameter("latency", 0.0, 0.1, "wait of a warp in cycles, destination over source"),
    Parameter("reuse", 0.15, 0.1, "power of the L2 miss share in the footprint (no logarithm)"),
    Parameter(
        "start_up", float(np.log(400.0)), 0.5, "cycles of a multiprocessor before its warps are under way"
    ),
    Parameter("clock_wait", 1.0, 0.4, "share of a memory wait that is seconds, not cycles (no logarithm)"),
    Parameter("overlap", 0.8, 0.1, "power of the warps resident in the rate of waiting warps (no logarithm)"),
    Parameter("l2_speed", float(np.log(3.0)), 0.3, "bandwidth of the L2 over that of the memory"),
)
#: names of the limits, in the order of `Outcome.limit`
LIMITS = ("latency", "issue", "memory", "L2", "launch")
#: metrics that are shares or rates, and so mean the same for a large and a small kernel
CARRIED = (
    *("stall_memory_dependency", "stall_exec_dependency", "stall_sync", "stall_not_selected"),
    *("stall_memory_throttle", "warp_execution_efficiency", "inst_replay_overhead", "sm_efficiency"),
    *("eligible_warps_per_cycle", "shared_load_throughput", "gld_throughput", "dram_write_throughput"),
)
#: what keeps logarithms of a footprint, and of a throughput over the peak, finite
LEAST_BYTES, LEAST_SHARE = 1e4, 1e-3
SECTOR_BYTES = 32.0
WARP_THREADS = 32.0
#: of a multiprocessor, from Kepler on
REGISTERS = 65536.0
#: a grid of no more than so many times what is resident was held at once: no limit of the multiprocessor shows
ONE_WAVE = 1.2
#: a kernel shorter than this cannot be timed
SHORTEST_S = 1e-6
#: share of waits for memory where no stall reasons were profiled
USUAL_WAIT = 0.1
#: at most this share of a short kernel's cycles is start-up
MOST_START_UP = 0.5
#: share of the median below which a throughput, and anything else, is next to nothing to a fit
SMALL_RATE, SMALL = 0.2, 0.02
#: errors of the logarithm beyond this count by their size, below by their square
STIFF_ERROR = 0.1
#: spreads that a parameter may move from its start, rows that a fit looks at, and its rounds at most
MOST_SPREADS, FIT_ROWS, FIT_ROUNDS = 4.0, 1500, 40


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


@dataclass(frozen=True)
class Kernel:
    """What a launch is, whatever GPU runs it; each of shape (n_rows,).

    Parameters
    ----------
    instructions, warps : ndarray
        Of the launch, by warps.
    block_warps, most_resident : ndarray
        Warps of a block; warps that the registers of a multiprocessor allow. NaN where the profile does not tell.
    ipc : ndarray
        Instructions a cycle and multiprocessor, on the source.
    resident : ndarray
        Warps resident on a multiprocessor that has any, on the source.
    time_s, memory_bytes, l2_bytes : ndarray
        On the source.
    waits : ndarray
        Share of stalls that are waits for memory.
    """

    instructions: Floats
    warps: Floats
    block_warps: Floats
    most_resident: Floats
    ipc: Floats
    resident: Floats
    time_s: Floats
    memory_bytes: Floats
    l2_bytes: Floats
    waits: Floats


def describe(values: pd.DataFrame, source: Sheet) -> Kernel | None:
    """Describe launches by the metrics of the source; None where IPC or instructions were not profiled."""
    if not {"inst_executed", "ipc"} <= set(values.columns):
        return None
    n_rows = len(values)

    def get(name: str, default: float) -> Floats:
        return values[name].to_numpy(float) if name in values.columns else np.full(n_rows, default)

    instructions = np.maximum(get("inst_executed", 1.0), 1.0)
    warps = np.maximum(instructions / np.maximum(get("inst_per_warp", 1.0), 1.0), 1.0)
    threads = get("block_x", np.nan) * get("block_y", 1.0) * get("block_z", 1.0)
    ipc = np.maximum(get("ipc", 1.0), 1e-3)
    moved = SECTOR_BYTES * (get("l2_read_transactions", 0.0) + get("l2_write_transactions", 0.0))
    speed = get("l2_read_throughput", 0.0) + get("l2_write_throughput", 0.0)
    busy = instructions / (ipc * np.maximum(get("sm_efficiency", 1.0), 0.01) * source.sms * source.boost_hz)
    by_traffic = np.divide(moved, speed, out=busy.copy(), where=(moved > 0) & (speed > 0))
    time = get("duration", np.nan)
    time = np.maximum(np.where(time > 0, time, by_traffic), SHORTEST_S)
    memory = np.maximum(get("dram_throughput", 0.0), 0.0) * time
    waits = sum(
        (get(name, 0.0) for name in ("stall_memory_dependency", "stall_memory_throttle", "stall_texture")),
        np.zeros(n_rows),
    )
    if "stall_memory_dependency" not in values.columns:
        waits = np.full(n_rows, USUAL_WAIT)
    return Kernel(
        instructions,
        warps,
        np.ceil(threads / WARP_THREADS),
        REGISTERS / (np.maximum(get("registers_per_thread", np.nan), 1.0) * WARP_THREADS),
        ipc,
        np.clip(get("achieved_occupancy", 0.5) * source.warps, 0.5, source.warps),
        time,
        memory,
        np.maximum(moved, memory),
        np.clip(waits, 0.0, 1.0),
    )


@dataclass(frozen=True)
class Outcome:
    """What a kernel does on the destination, and how near each limit is; each of shape (n_rows,).

    Parameters
    ----------
    ipc, time_s, traffic : ndarray
        Instructions a cycle; seconds; bytes of the device memory over those on the source.
    old_memory, new_memory, old_l2, new_l2 : ndarray
        Share of what the resource can deliver.
    footprint : ndarray
        Bytes that the second-level cache would have to hold.
    resident, old_sms, new_sms, start_up : ndarray
        Warps on a multiprocessor; multiprocessors that work; share of the source's cycles in which warps start.
    busy_s : ndarray
        Seconds without the launch.
    limit : ndarray of int
        The place in `LIMITS` of what binds.
    """

    ipc: Floats
    time_s: Floats
    traffic: Floats
    old_memory: Floats
    new_memory: Floats
    old_l2: Floats
    new_l2: Floats
    footprint: Floats
    resident: Floats
    old_sms: Floats
    new_sms: Floats
    start_up: Floats
    busy_s: Floats
    limit: NDArray[np.intp]


def _logistic(x: Floats | float) -> Floats:
    share: Floats = 1.0 / (1.0 + np.exp(-np.clip(x, -50.0, 50.0)))
    return share


def carry_over(kernel: Kernel, source: Sheet, dest: Sheet, parameters: Floats | None = None) -> Outcome:
    """Return what a kernel does on the destination.

    Parameters
    ----------
    kernel : Kernel
    source, dest : Sheet
    parameters : ndarray, shape (n_parameters,), optional
        In the order of `PARAMETERS`; their start unless given.
    """
    values = [one.start for one in PARAMETERS] if parameters is None else parameters
    told = dict(zip((one.name for one in PARAMETERS), map(float, values), strict=True))
    p = np.exp(told["sharpness"])
    # warps on each multiprocessor that works; a grid that the old GPU could not hold at once is held alike
    old_sms = np.clip(kernel.warps / kernel.resident, 1.0, source.sms)
    block = np.where(np.isnan(kernel.block_warps), np.exp(told["block_warps"]), kernel.block_warps)
    blocks = np.maximum(kernel.warps / np.clip(block, 1.0, np.maximum(kernel.resident, 1.0)), 1.0)
    new_sms = np.minimum(dest.sms, np.maximum(blocks, old_sms))
    most = np.fmin(kernel.most_resident, dest.warps)
    one_wave = kernel.warps <= ONE_WAVE * old_sms * kernel.resident
    held = np.where(one_wave, most, kernel.resident * dest.warps / source.warps)
    resident = np.maximum(np.minimum(held, kernel.warps / new_sms), 0.5)
    # the steady rate on the source, without the time in which its warps start
    cycles = kernel.instructions / (old_sms * kernel.ipc)
    start = np.minimum(np.exp(told["start_up"]), MOST_START_UP * cycles)
    steady = kernel.instructions / (old_sms * (cycles - start))
    # what was left of the source's limits when the others are taken out is the wait of its warps
    old_memory = np.minimum(
        kernel.memory_bytes / kernel.time_s / (np.exp(told["old_memory"]) * source.bandwidth), 0.999
    )
    l2_peak = np.exp(told["l2_speed"])
    old_l2 = np.minimum(
        steady
        * kernel.l2_bytes
        / kernel.instructions
        * old_sms
        * source.boost_hz
        / (l2_peak * source.bandwidth),
        1.0,
    )
    rest = 1.0 - old_memory**p - old_l2**p - (steady / (source.fp32_lanes / WARP_THREADS)) ** p
    latency = steady * np.maximum(rest, np.exp(-p * told["relief"])) ** (-1.0 / p)
    slower = 1.0 + kernel.waits * told["clock_wait"] * (dest.boost_hz / source.boost_hz - 1.0)
    latency = (
        latency
        * (resident / kernel.resident) ** told["overlap"]
        * np.exp(told["latency"])
        / np.maximum(slower, 0.1)
    )
    # the same share of the footprint stays in a cache of the same size: a larger one takes traffic away
    miss = kernel.memory_bytes / np.maximum(kernel.l2_bytes, 1.0)
    footprint = kernel.memory_bytes * miss ** np.clip(told["reuse"], 0.0, 1.0)
    stays = _logistic(told["l2_rest"])
    old_share, new_share = (
        stays
        + (1.0 - stays)
        * _logistic(np.exp(told["l2_steepness"]) * (np.log((footprint + 1.0) / size) - told["l2_share"]))
        for size in (source.l2, dest.l2)
    )
    traffic = new_share / old_share
    moved = np.maximum(kernel.memory_bytes * traffic, 1.0)
    cycle_rate = new_sms * dest.boost_hz
    limits = np.array(
        [
            latency,
            dest.fp32_lanes / WARP_THREADS,
            kernel.instructions * np.exp(told["new_memory"]) * dest.bandwidth / (moved * cycle_rate),
            kernel.instructions * l2_peak * dest.bandwidth / (np.maximum(kernel.l2_bytes, 1.0) * cycle_rate),
        ]
    )
    rate = (limits**-p).sum(axis=0) ** (-1.0 / p)
    new_cycles = kernel.instructions / (new_sms * rate) + start
    launch = np.exp(told["launch"])
    busy = new_cycles / dest.boost_hz
    limit = np.where(launch > busy, len(LIMITS) - 1, limits.argmin(axis=0))
    ipc = kernel.instructions / (new_sms * new_cycles)
    return Outcome(
        ipc,
        busy + launch,
        traffic,
        old_memory,
        np.minimum(ipc / limits[2], 1.5),
        old_l2,
        np.minimum(ipc / limits[3], 1.5),
        footprint,
        resident,
        old_sms,
        new_sms,
        start / cycles,
        busy,
        limit,
    )


class Mechanism(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The mechanism alone, its constants fitted to pairs by least absolute errors of the logarithm.

    Where a data sheet, the IPC or the instructions are missing, and for metrics that it says nothing about, the
    old value is predicted.

    Parameters
    ----------
    problem : Problem
    stiffness : float
        Rows that the start of the constants counts for: with many more of them the pairs decide.
    """

    def __init__(self, problem: Problem, *, stiffness: float = 6.0) -> None:
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
            Application or kernel of each run: none counts by its rows alone.
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
        held = np.sqrt(self.stiffness) * STIFF_ERROR
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
