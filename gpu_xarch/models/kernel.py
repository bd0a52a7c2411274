"""One description of a kernel, and what it comes to on another GPU.

The equation and its sources stand in `gpu_xarch.models.mechanism`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from gpu_xarch.models.sheets import Sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["LIMITS", "PARAMETERS", "Kernel", "Outcome", "carry_over", "describe"]


class Parameter(NamedTuple):
    """A constant of the mechanism: where it starts, and how far (in one standard deviation) it may move."""

    name: str
    start: float
    spread: float
    meaning: str


#: set on SDK and Rodinia (GTX 950 to GTX 1080 Ti), and on K20, K40 and P100 among each other; logarithms unless the
#: meaning says otherwise
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
    Parameter("l2_rest", -1.2, 0.4, "logit of the share of traffic that stays in any case"),
    Parameter("launch", float(np.log(1.8e-6)), 0.2, "seconds of a launch in which nothing is issued"),
    Parameter("latency", 0.0, 0.1, "wait of a warp in cycles, destination over source"),
    Parameter("reuse", 0.15, 0.1, "power of the L2 miss share in the footprint (no logarithm)"),
    Parameter(
        "start_up", float(np.log(400.0)), 0.5, "cycles of a multiprocessor before its warps are under way"
    ),
    Parameter("clock_wait", 1.0, 0.4, "share of a memory wait that is seconds, not cycles (no logarithm)"),
    Parameter(
        "overlap", 0.8, 0.05, "power of many warps resident in the rate of waiting warps (no logarithm)"
    ),
    Parameter(
        "units", float(np.log(0.5)), 0.2, "share of the issue at which half of what is left is a unit's limit"
    ),
    Parameter("units_steepness", float(np.log(4.0)), 0.3, "how suddenly units bind instead of waits"),
    Parameter("l2_speed", float(np.log(3.0)), 0.3, "bandwidth of the L2 over that of the memory"),
)
#: names of the limits, in the order of `Outcome.limit`
LIMITS = ("latency", "compute", "DRAM", "L2", "launch")
SECTOR_BYTES = 32.0
WARP_THREADS = 32.0
#: of a multiprocessor, from Kepler on
REGISTERS = 65536.0
#: share of a rate that a limit takes at least, and of the instructions in double, so that limits stay finite
LEAST_LIMIT, LEAST_DOUBLES = 1e-9, 1e-6
#: wait for memory in cycles, over that on the source, at least
LEAST_WAIT = 0.1
#: a grid of no more than so many times what is resident was held at once: no limit of the multiprocessor shows
ONE_WAVE = 1.2
#: a kernel shorter than this cannot be timed
SHORTEST_S = 1e-6
#: bytes of a load of a warp, and seconds until the second-level cache answers it (some 220 cycles of a K40; between
#: 0.15 and 0.4e-6 the median error of IPC on three Teslas goes from 15.9 to 14.3 %, with 13.1 at this value): they
#: tell the share of waits that are for memory where no stall reasons were profiled
LOAD_BYTES, LOAD_S = 128.0, 0.25e-6
#: up to about so many warps of a multiprocessor, one a scheduler, none stands in the way of another
FEW_WARPS = 4.0
#: at most this share of a short kernel's cycles is start-up
MOST_START_UP = 0.5
#: conversions of a double instruction, by the same units, at most; and in code of both precisions where they were not
#: profiled. On a GTX 950 backprop and hotspot of Rodinia make 1.3 and 1.2 (float with constants in double), kernels of
#: SDK in double alone 0.01 and less; with them the units are 72 to 98 % busy in all five kernels that use them, without
#: them 31 to 97
MOST_CONVERSIONS, MIXED_CONVERSIONS = 2.0, 1.2


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
    doubles : ndarray
        Share of the instructions that the double-precision units serve; NaN where the profile does not tell.
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
    doubles: Floats


def describe(values: pd.DataFrame, source: Sheet) -> Kernel | None:
    """Describe launches by the metrics of the source; None where IPC or instructions were not profiled."""
    if not {"inst_executed", "ipc"} <= set(values.columns):
        return None
    n_rows = len(values)

    def get(name: str, default: float) -> Floats:
        if name not in values.columns:
            return np.full(n_rows, default)
        column = values[name].to_numpy(float)
        return np.where(np.isnan(column), default, column)

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
    resident = np.clip(get("achieved_occupancy", 0.5) * source.warps, 0.5, source.warps)
    loads = np.maximum(moved, memory) / (LOAD_BYTES * instructions)
    told = ~np.isnan(get("stall_memory_dependency", np.nan))
    waits = np.where(told, waits, loads * LOAD_S * source.boost_hz * ipc / resident)
    return Kernel(
        instructions,
        warps,
        np.ceil(threads / WARP_THREADS),
        REGISTERS / (np.maximum(get("registers_per_thread", np.nan), 1.0) * WARP_THREADS),
        ipc,
        resident,
        time,
        memory,
        np.maximum(moved, memory),
        np.clip(waits, 0.0, 1.0),
        _doubles(values) / (WARP_THREADS * instructions),
    )


def _doubles(values: pd.DataFrame) -> Floats:
    """Return the instructions of all threads that need a double-precision unit, NaN where unknown, shape (n_rows,)."""

    def get(name: str) -> Floats:
        return values[name].to_numpy(float) if name in values.columns else np.full(len(values), np.nan)

    own, conversions, single = get("inst_fp_64"), get("inst_bit_convert"), get("inst_fp_32")
    assumed = np.where(single > 0, MIXED_CONVERSIONS * own, 0.0)
    busy: Floats = own + np.minimum(
        np.where(np.isnan(conversions), assumed, conversions), MOST_CONVERSIONS * own
    )
    return busy


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
    old_issue, new_issue = (
        np.minimum(one.schedulers, one.fp32_lanes / WARP_THREADS) for one in (source, dest)
    )
    # lanes serve a warp in several cycles; what is not known of doubles is no limit
    old_double, new_double = (
        one.fp64_lanes / WARP_THREADS / np.fmax(kernel.doubles, LEAST_DOUBLES) for one in (source, dest)
    )
    rest = (
        1.0
        - old_memory**p
        - old_l2**p
        - (steady / old_issue) ** p
        - np.minimum(steady / old_double, 1.0) ** p
    )
    rest = np.maximum(rest, np.exp(-p * told["relief"]))
    # part of it is a unit that the instructions keep busy, the more the nearer they are to the full issue
    by_units = _logistic(np.exp(told["units_steepness"]) * (np.log(steady / old_issue) - told["units"]))
    units = steady * np.maximum(rest * by_units, LEAST_LIMIT) ** (-1.0 / p) * new_issue / old_issue
    latency = steady * np.maximum(rest * (1.0 - by_units), LEAST_LIMIT) ** (-1.0 / p)
    # a wait for memory is partly seconds, any other as many cycles as a dependent instruction takes
    longer = np.maximum(1.0 + told["clock_wait"] * (dest.boost_hz / source.boost_hz - 1.0), LEAST_WAIT)
    wait = (1.0 - kernel.waits) * dest.wait_cycles / source.wait_cycles + kernel.waits * longer
    # few warps do not hinder each other, many do
    crowd = (FEW_WARPS + resident) / (FEW_WARPS + kernel.resident)
    latency = (
        latency
        * (resident / kernel.resident * crowd ** (told["overlap"] - 1.0))
        * np.exp(told["latency"])
        / wait
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
            (new_issue**-p + units**-p + new_double**-p) ** (-1.0 / p),
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
