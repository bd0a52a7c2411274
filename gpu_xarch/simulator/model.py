"""An analytic model of a GPU that runs a kernel, for a first try of the tools without any data.

Nothing that comes out of it was measured. The model follows the usual bounds (Hong and Kim 2009,
doi:10.1145/1555754.1555775; Williams et al. 2009, doi:10.1145/1498765.1498785):

1. Occupancy: resident blocks of a multiprocessor from the limits on warps, blocks, registers and shared
   memory; a grid that does not fill the GPU leaves multiprocessors idle.
2. Caches: a load hits in the first level with its reuse times 1 - exp(-capacity / working set of the resident
   blocks), in the second level likewise with the whole footprint; the first touch goes to memory.
3. Cycles of an active multiprocessor, each as if it alone were the limit: issue slots, FP32, FP64, special
   and load/store lanes, shared memory, second-level cache, device memory, and latency hiding (the latencies
   of all instructions of a warp, divided by those in flight, times warps over resident warps).
4. The bounds join as a norm of order 4, which is above the largest; a launch costs 1,500 cycles on top.

Numbers by architecture (latencies, second-level bandwidth) are rounded from published microbenchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpu_xarch.errors import InputError
from gpu_xarch.simulator.kernels import KERNELS, KernelModel
from gpu_xarch.simulator.metrics import metrics_of
from gpu_xarch.specs import GpuSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[np.float64]]  # of each run: what is asked of the GPU, and what comes of it

__all__ = ["MODEL_VERSION", "RunPlan", "plan_runs", "simulate"]

MODEL_VERSION = "1"
_SECTOR = 32
_INSTRUCTIONS = (
    *(
        "add",
        "mul",
        "fma",
        "special",
        "dadd",
        "dmul",
        "dfma",
        "integer",
        "control",
        "convert",
        "misc",
        "exchange",
    ),
    *("loads", "stores", "shared_loads", "shared_stores", "barriers", "atomics"),
)
_BOUNDS = ("issue", "fp32", "fp64", "special", "lsu", "l2", "atomic", "dram", "latency")
_LAUNCH_CYCLES = 1500.0
_DRAM_EFFICIENCY = 0.86


@dataclass(frozen=True)
class Traits:
    """What the data sheets do not tell: cycles and bytes per cycle by architecture."""

    schedulers: int
    dependent: float  # latency of an arithmetic instruction, cycles
    l1_latency: float
    l2_latency: float
    dram_latency: float
    l2_ratio: float  # second-level bandwidth over that of the device memory
    caches_loads: float  # share of the first-level cache that global loads may use


_TRAITS = {
    "Kepler": Traits(4, 9.0, 35.0, 220.0, 440.0, 2.2, 0.05),
    "Maxwell": Traits(4, 6.0, 82.0, 210.0, 370.0, 2.6, 0.3),
    "Pascal": Traits(4, 6.0, 82.0, 220.0, 430.0, 2.4, 0.3),
    "Volta": Traits(4, 4.0, 28.0, 193.0, 400.0, 2.6, 0.8),
    "Turing": Traits(4, 4.0, 32.0, 190.0, 420.0, 2.8, 0.7),
    "Ampere": Traits(4, 4.0, 33.0, 200.0, 450.0, 3.0, 0.8),
    "Ada": Traits(4, 4.0, 33.0, 260.0, 480.0, 5.0, 0.7),
    "Hopper": Traits(4, 4.0, 33.0, 260.0, 480.0, 2.2, 0.8),
}


@dataclass(frozen=True)
class RunPlan:
    """Runs to simulate: for each the index of its kernel in `KERNELS` and its input size.

    Parameters
    ----------
    kernel : ndarray of int, shape (n_runs,)
    size : ndarray of int, shape (n_runs,)
    """

    kernel: NDArray[np.int64]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kernel)


def plan_runs(runs: int, applications: Sequence[str] | None = None) -> RunPlan:
    """Choose input sizes, evenly in their logarithm, so that the table gets `runs` rows.

    Raises
    ------
    InputError
        If an application is unknown, or fewer runs are asked for than there are kernels, or more than sizes.

    Examples
    --------
    >>> len(plan_runs(1000))
    1000
    """
    known = {model.application for model in KERNELS}
    unknown = sorted(set(applications or ()) - known)
    if unknown:
        raise InputError(f"unknown application {unknown[0]!r}: there are {', '.join(sorted(known))}")
    chosen = [i for i, model in enumerate(KERNELS) if not applications or model.application in applications]
    if runs < len(chosen):
        raise InputError(f"at least {len(chosen)} runs are needed, one for each kernel, got {runs}")
    shares = np.array([KERNELS[i].share for i in chosen])
    room = np.array([_candidates(KERNELS[i]) for i in chosen])
    counts = np.maximum(1, np.floor(shares / shares.sum() * runs)).astype(np.int64)
    counts = np.minimum(counts, room)
    while (left := runs - int(counts.sum())) != 0:
        free = np.flatnonzero(counts < room if left > 0 else counts > 1)
        if not len(free):
            raise InputError(f"only {int(room.sum())} different runs can be made, got {runs}")
        order = free[np.argsort(-shares[free], kind="stable")]
        for place in order[: abs(left)]:
            counts[place] += 1 if left > 0 else -1
        if left > 0:
            extra = np.floor(shares[free] / shares[free].sum() * (runs - int(counts.sum()))).astype(np.int64)
            counts[free] = np.minimum(counts[free] + np.maximum(extra, 0), room[free])
    kernels, sizes = [], []
    for index, count in zip(chosen, counts, strict=True):
        kernels.append(np.full(count, index))
        sizes.append(_sizes(KERNELS[index], int(count)))
    return RunPlan(np.concatenate(kernels), np.concatenate(sizes))


def _candidates(model: KernelModel) -> int:
    low, high = model.sizes
    return int(high // model.step) - int(-(-low // model.step)) + 1


def _sizes(model: KernelModel, count: int) -> NDArray[np.int64]:
    low, high = int(-(-model.sizes[0] // model.step)), int(model.sizes[1] // model.step)
    found: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    points = count
    while len(found) < count:
        found = np.unique(np.round(np.geomspace(low, high, points)).astype(np.int64))
        points = int(points * 1.3) + 1
    keep = np.unique(np.round(np.linspace(0, len(found) - 1, count)).astype(np.int64))
    return found[keep] * model.step


def _columns(plan: RunPlan) -> dict[str, NDArray[np.float64]]:
    names = [name for name, kind in KernelModel.__annotations__.items() if kind in ("float", "int", "bool")]
    table = {
        name: np.array([float(getattr(model, name)) for model in KERNELS])[plan.kernel] for name in names
    }
    size = plan.size.astype(float)
    for name in ("threads", "footprint", "loop"):
        pairs = np.array([getattr(model, name) for model in KERNELS])[plan.kernel]
        table[name] = pairs[:, 0] * size ** pairs[:, 1]
    table["loop"] = np.maximum(table["loop"], 1.0)
    table["threads"] = np.maximum(np.ceil(table["threads"]), table["block"])
    return table


def simulate(
    gpu: GpuSpec, plan: RunPlan, *, noise: float = 0.01, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Run the model.

    Parameters
    ----------
    gpu : GpuSpec
        The device.
    plan : RunPlan
        What to run.
    noise : float
        Standard deviation of the logarithm of the run time, as repeated measurements show.
    seed : int
        Of the noise.

    Returns
    -------
    dict of str to ndarray, shape (n_runs,)
        The 116 published metrics in SI units, and "duration" in seconds.

    Raises
    ------
    InputError
        If the noise is negative or the architecture has no constants here.
    """
    if not noise >= 0:
        raise InputError(f"the noise must be 0 or more, got {noise}")
    if gpu.architecture not in _TRAITS:
        raise InputError(f"no model constants for the architecture {gpu.architecture}")
    traits = _TRAITS[gpu.architecture]
    w = _columns(plan)
    s: State = {}
    _occupy(gpu, w, s)
    _count_instructions(plan, w, s)
    _move_memory(gpu, traits, w, s)
    schedulers = _bound_cycles(gpu, traits, w, s)
    rng = np.random.default_rng([seed, int(float(gpu.compute_capability) * 10), gpu.sms])
    jitter = np.exp(rng.normal(0.0, noise, len(plan))) if noise else np.ones(len(plan))
    _take_time(gpu, jitter, s)
    return metrics_of(gpu, schedulers, w, s)


def _occupy(gpu: GpuSpec, w: State, s: State) -> None:
    """Blocks that are resident, multiprocessors that work, and how evenly."""
    warps_block = np.ceil(w["block"] / 32)
    registers = np.ceil(w["registers"] / 8) * 8 * warps_block * 32
    shared_limit = np.where(
        w["shared_bytes"] > 0, np.floor(gpu.shared / np.maximum(w["shared_bytes"], 1)), gpu.blocks
    )
    resident_blocks = np.minimum.reduce(
        [
            np.floor(gpu.warps / warps_block),
            np.full(len(warps_block), float(gpu.blocks)),
            np.floor(gpu.registers / registers),
            shared_limit,
        ]
    )
    resident_blocks = np.maximum(resident_blocks, 1.0)
    blocks = np.ceil(w["threads"] / w["block"])
    active_sms = np.minimum(blocks, gpu.sms)
    blocks_sm = np.ceil(blocks / gpu.sms)
    waves = np.ceil(blocks_sm / resident_blocks)
    balance = blocks / (waves * resident_blocks * gpu.sms)
    s["blocks"], s["warps"] = blocks, blocks * warps_block
    s["balance"] = np.clip(
        np.where(blocks < gpu.sms, 1.0, np.maximum(balance, blocks / (blocks_sm * gpu.sms))), 0.05, 1
    )
    s["active_sms"] = active_sms
    s["resident_blocks"] = resident_blocks
    s["resident"] = np.minimum(resident_blocks, blocks / active_sms) * warps_block


def _count_instructions(plan: RunPlan, w: State, s: State) -> None:
    """Warp instructions of the launch, by kind and in all, and those issued again."""
    for name in _INSTRUCTIONS:
        s[name] = w[name] * w["loop"] * s["warps"]
    is_half = np.array([model.application == "haxpy" for model in KERNELS])[plan.kernel]
    s["half_fma"] = w["special"] * 0.0 + np.where(is_half, s["warps"], 0.0)
    s["executed"] = np.asarray(sum(s[name] for name in (*_INSTRUCTIONS, "half_fma")))
    shared = s["shared_loads"] + s["shared_stores"]
    s["replay"] = 0.002 + 0.03 * (w["conflicts"] - 1) * shared / s["executed"]
    s["issued"] = s["executed"] * (1 + s["replay"])


def _move_memory(gpu: GpuSpec, traits: Traits, w: State, s: State) -> None:
    """Sectors that move between the caches and the device memory."""
    scale = 32.0 / 128.0 if gpu.architecture == "Kepler" else 1.0
    s["load_transactions"] = s["loads"] * w["load_sectors"] * max(scale, 0.5)
    s["store_transactions"] = s["stores"] * w["store_sectors"]
    compulsory = np.minimum(w["footprint"] / _SECTOR * 0.7, s["load_transactions"])
    resident = np.clip(s["resident_blocks"] * s["active_sms"] / s["blocks"], 0, 1)
    per_sm = w["footprint"] * resident / s["active_sms"]
    l1 = gpu.l1 * traits.caches_loads
    s["l1_hit"] = w["local_reuse"] * (1 - np.exp(-l1 / np.maximum(per_sm, 64.0)))
    s["l2_reads"] = s["load_transactions"] * (1 - s["l1_hit"])
    s["l2_writes"] = s["store_transactions"]
    fits = 1 - np.exp(-1.2 * gpu.l2 / np.maximum(w["footprint"], 1024.0))
    far = np.clip(w["far_reuse"] * (0.8 + 0.2 * fits) + (1 - w["far_reuse"]) * 0.15 * fits, 0, 0.995)
    far = np.maximum(far, np.clip(1 - compulsory / np.maximum(s["l2_reads"], 1.0), 0, 1) * fits * 0.98)
    s["l2_hit"] = far
    s["dram_reads"] = s["l2_reads"] * (1 - far)
    s["dram_writes"] = s["l2_writes"] * (1 - 0.55 * fits)


def _bound_cycles(gpu: GpuSpec, traits: Traits, w: State, s: State) -> int:
    """Cycles of an active multiprocessor, each as if it alone were the limit; return its schedulers."""
    clock = gpu.boost_hz
    share = 1.0 / (s["active_sms"] * s["balance"])
    dual = 1.25 if gpu.issue_width > traits.schedulers else 1.0
    schedulers = min(traits.schedulers, gpu.issue_width)
    schedulers = 2 if gpu.compute_capability == "6.0" else schedulers
    dual = 1.6 if gpu.compute_capability == "6.0" else dual
    fp32 = s["add"] + s["mul"] + s["fma"] + s["integer"] * 0.8 + s["half_fma"]
    fp64 = s["dadd"] + s["dmul"] + s["dfma"]
    shared = (s["shared_loads"] + s["shared_stores"]) * w["conflicts"]
    load_latency = s["l1_hit"] * traits.l1_latency + (1 - s["l1_hit"]) * (
        s["l2_hit"] * traits.l2_latency + (1 - s["l2_hit"]) * traits.dram_latency
    )
    arithmetic = s["executed"] - s["loads"] - s["shared_loads"]
    waiting = s["loads"] * load_latency / (w["parallelism"] * 1.4)
    chain = (
        arithmetic * traits.dependent
        + s["shared_loads"] * (traits.l1_latency * 0.8 + 2 * (w["conflicts"] - 1))
        + s["barriers"] * 25
    ) / w["parallelism"] + waiting
    bounds = {
        "issue": s["issued"] * share / (schedulers * dual),
        "fp32": fp32 * share * 32 / gpu.fp32_lanes,
        "fp64": fp64 * share * 32 / gpu.fp64_lanes,
        "special": (s["special"] + s["convert"]) * share * 32 / (gpu.fp32_lanes / 4),
        "lsu": (s["loads"] + s["stores"] + shared) * share * 32 / 32,
        "l2": (s["l2_reads"] + s["l2_writes"]) * _SECTOR * clock / (gpu.bandwidth * traits.l2_ratio),
        "atomic": s["atomics"] * 32 * clock / (gpu.bandwidth / 8.0),
        "dram": (s["dram_reads"] + s["dram_writes"]) * _SECTOR * clock / (gpu.bandwidth * _DRAM_EFFICIENCY),
        "latency": chain * share / np.maximum(s["resident"], 1.0),
    }
    s.update({f"bound_{name}": bounds[name] for name in _BOUNDS})
    s["memory_share"] = waiting / chain
    s["shared_transactions"] = shared
    return schedulers


def _take_time(gpu: GpuSpec, jitter: NDArray[np.float64], s: State) -> None:
    """Cycles and run time from the bounds, and what share of the cycles each of them takes."""
    cycles = sum(s[f"bound_{name}"] ** 4 for name in _BOUNDS) ** 0.25 + 200.0
    s["cycles"] = np.asarray(cycles) * jitter
    s["time"] = (s["cycles"] + _LAUNCH_CYCLES) / gpu.boost_hz
    s["parts_issue"] = s["bound_issue"] / s["cycles"]
    s["parts_fp"] = np.maximum(s["bound_fp32"], s["bound_fp64"]) / s["cycles"]
    for name in ("fp32", "fp64", "special", "lsu", "l2"):
        s[f"part_{name}"] = s[f"bound_{name}"] / s["cycles"]
    s["part_dram"] = s["bound_dram"] * _DRAM_EFFICIENCY / s["cycles"]
