"""nvprof's metrics out of the state of the simulated multiprocessors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpu_xarch.metrics import published
from gpu_xarch.specs import GpuSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Columns = dict[str, Floats]

__all__ = ["metrics_of"]

_SECTOR = 32


def metrics_of(gpu: GpuSpec, schedulers: int, w: Mapping[str, Floats], s: Mapping[str, Floats]) -> Columns:
    """Return the 116 published metrics and the duration.

    Parameters
    ----------
    gpu : GpuSpec
        The device.
    schedulers : int
        Warp schedulers of a multiprocessor.
    w, s : mapping of str to ndarray, shape (n_runs,)
        The work of the kernels and the state that the model computed from it.
    """
    k = _Kernels(gpu, schedulers, w, s)
    m: Columns = {"duration": k.time}
    for fill in (_issue, _mix, _global_memory, _local_memory, _shared_memory, _beyond, _units, _stalls):
        fill(k, m)
    return {name: m[name] for name in ("duration", *published())}


@dataclass(frozen=True)
class _Kernels:
    """What the metrics are computed from; arrays of shape (n_runs,)."""

    gpu: GpuSpec
    schedulers: int
    w: Mapping[str, Floats]
    s: Mapping[str, Floats]

    @property
    def time(self) -> Floats:
        """Run time, s."""
        return self.s["time"]

    @property
    def busy(self) -> Floats:
        """Cycles of all multiprocessors that work."""
        return self.s["active_sms"] * self.s["cycles"] * self.s["balance"]

    @property
    def threads(self) -> Floats:
        """Active threads of a warp."""
        return 32.0 * self.w["active"]

    @property
    def memory(self) -> Floats:
        """Warp instructions that load or store."""
        s = self.s
        return s["loads"] + s["stores"] + s["shared_loads"] + s["shared_stores"] + s["atomics"]

    def rate(self, count: Floats, size: float = _SECTOR) -> Floats:
        """Bytes a second, of transactions of a size."""
        return count * size / self.time


def _level(fraction: Floats, floor: int = 0) -> Floats:
    """Utilisation as nvprof's level from 0 to 10."""
    return np.clip(np.ceil(10 * fraction), floor, 10)


def _per(count: Floats, requests: Floats, value: Floats) -> Floats:
    """`value` where there were requests, else 0."""
    return np.where(requests > 0, value, 0.0) + 0 * count


def _issue(k: _Kernels, m: Columns) -> None:
    """Instructions executed and issued, and what keeps the schedulers busy."""
    m["ipc"] = k.s["executed"] / k.busy
    m["issued_ipc"] = k.s["issued"] / k.busy
    m["issue_slots"] = np.round(k.s["issued"] * (0.93 if k.gpu.issue_width > k.schedulers else 1.0))
    m["issue_slot_utilization"] = np.minimum(m["issue_slots"] / (k.busy * k.schedulers), 1.0)
    m["inst_executed"], m["inst_issued"] = np.round(k.s["executed"]), np.round(k.s["issued"])
    m["inst_per_warp"] = k.s["executed"] / k.s["warps"]
    m["inst_replay_overhead"] = k.s["replay"]
    m["branch_efficiency"] = k.w["uniform"]
    m["warp_execution_efficiency"] = k.w["active"]
    m["warp_nonpred_execution_efficiency"] = k.w["active"] * (0.985 - 0.05 * (1 - k.w["uniform"]))
    m["cf_executed"] = np.round(k.s["control"] + k.s["barriers"])
    m["cf_issued"] = np.round(m["cf_executed"] * (1 + k.s["replay"]))
    m["ldst_executed"] = np.round(k.memory)
    m["ldst_issued"] = np.round(k.memory * (1 + 4 * k.s["replay"]))
    m["sm_efficiency"] = (
        k.s["active_sms"] / k.gpu.sms * k.s["balance"] * k.s["cycles"] / (k.s["cycles"] + 1500.0)
    )
    m["achieved_occupancy"] = np.clip(k.s["resident"] / k.gpu.warps * (0.5 + 0.5 * k.s["balance"]), 0, 1)
    m["eligible_warps_per_cycle"] = m["ipc"] * (1.0 + 0.06 * k.s["resident"] * k.s["parts_issue"])


def _mix(k: _Kernels, m: Columns) -> None:
    """Instructions by kind, and floating-point operations, counted by thread."""
    for name, source in (
        ("inst_fp_32", k.s["add"] + k.s["mul"] + k.s["fma"] + k.s["special"]),
        ("inst_fp_64", k.s["dadd"] + k.s["dmul"] + k.s["dfma"]),
        ("inst_fp_16", k.s["half_fma"]),
        ("inst_integer", k.s["integer"]),
        ("inst_bit_convert", k.s["convert"]),
        ("inst_control", k.s["control"]),
        ("inst_compute_ld_st", k.memory),
        ("inst_misc", k.s["misc"] + k.s["barriers"]),
        ("inst_inter_thread_communication", k.s["exchange"]),
        ("flop_count_sp_add", k.s["add"]),
        ("flop_count_sp_mul", k.s["mul"]),
        ("flop_count_sp_fma", k.s["fma"]),
        ("flop_count_sp_special", k.s["special"]),
        ("flop_count_dp_add", k.s["dadd"]),
        ("flop_count_dp_mul", k.s["dmul"]),
        ("flop_count_dp_fma", k.s["dfma"]),
        ("flop_count_hp_add", np.zeros_like(k.time)),
        ("flop_count_hp_mul", np.zeros_like(k.time)),
        ("flop_count_hp_fma", 2 * k.s["half_fma"]),
    ):
        m[name] = np.round(source * k.threads)
    for kind, peak in (("sp", k.gpu.peak_fp32), ("dp", k.gpu.peak_fp64), ("hp", 2 * k.gpu.peak_fp32)):
        m[f"flop_count_{kind}"] = (
            m[f"flop_count_{kind}_add"] + m[f"flop_count_{kind}_mul"] + 2 * m[f"flop_count_{kind}_fma"]
        )
        m[f"flop_{kind}_efficiency"] = np.minimum(m[f"flop_count_{kind}"] / k.time / peak, 1.0)


def _global_memory(k: _Kernels, m: Columns) -> None:
    """Global loads and stores, and the first-level cache."""
    for name, requests, transactions, sectors in (
        ("gld", k.s["loads"], k.s["load_transactions"], k.w["load_sectors"]),
        ("gst", k.s["stores"], k.s["store_transactions"], k.w["store_sectors"]),
    ):
        m[f"{name}_transactions"] = np.round(transactions)
        m[f"{name}_transactions_per_request"] = np.where(
            requests > 0, transactions / np.maximum(requests, 1e-9), 0.0
        )
        m[f"{name}_throughput"] = k.rate(transactions)
        m[f"{name}_requested_throughput"] = requests * k.threads * k.w["width"] / k.time
        ideal = k.threads * k.w["width"] / _SECTOR
        if name == "gst":
            m["gst_efficiency"] = np.where(
                requests > 0, np.minimum(ideal / np.maximum(sectors, 1e-9), 1.0), 0.0
            )
    m["global_hit_rate"] = k.s["l1_hit"]
    texture = k.w["texture"] > 0
    m["tex_cache_hit_rate"] = np.where(texture, k.s["l1_hit"], 0.98 * k.s["l1_hit"])
    m["tex_cache_transactions"] = np.round(k.s["load_transactions"] * 0.5)
    m["tex_cache_throughput"] = k.rate(k.s["load_transactions"])
    m["tex_utilization"] = _level(k.s["load_transactions"] / 4 / k.busy)


def _local_memory(k: _Kernels, m: Columns) -> None:
    """Nothing: none of the kernels spills."""
    for name in ("load_transactions", "store_transactions", "load_throughput", "store_throughput"):
        m[f"local_{name}"] = np.zeros_like(k.time)
    for name in (
        "load_transactions_per_request",
        "store_transactions_per_request",
        "hit_rate",
        "memory_overhead",
    ):
        m[f"local_{name}"] = np.zeros_like(k.time)


def _shared_memory(k: _Kernels, m: Columns) -> None:
    """Shared memory."""
    for name, requests in (("load", k.s["shared_loads"]), ("store", k.s["shared_stores"])):
        transactions = requests * k.w["conflicts"]
        m[f"shared_{name}_transactions"] = np.round(transactions)
        m[f"shared_{name}_transactions_per_request"] = _per(transactions, requests, k.w["conflicts"])
        m[f"shared_{name}_throughput"] = k.rate(transactions, 128)
    used = k.s["shared_transactions"] > 0
    m["shared_efficiency"] = np.where(used, k.w["active"] * 0.95 / k.w["conflicts"], 0.0)
    m["shared_utilization"] = _level(k.s["shared_transactions"] / k.busy)


def _beyond(k: _Kernels, m: Columns) -> None:
    """The second-level cache and what lies beyond."""
    atomics = k.s["atomics"] * 2
    m["l2_tex_read_transactions"], m["l2_tex_write_transactions"] = (
        np.round(k.s["l2_reads"]),
        np.round(k.s["l2_writes"]),
    )
    m["l2_read_transactions"] = np.round(k.s["l2_reads"] * 1.004 + 24 + atomics)
    m["l2_write_transactions"] = np.round(k.s["l2_writes"] * 1.002 + 12 + atomics)
    m["l2_atomic_transactions"] = np.round(2 * atomics)
    for name in ("tex_read", "tex_write", "read", "write", "atomic"):
        m[f"l2_{name}_throughput"] = k.rate(m[f"l2_{name}_transactions"])
    m["l2_tex_read_hit_rate"], m["l2_tex_write_hit_rate"] = k.s["l2_hit"], 0.9 + 0.1 * k.s["l2_hit"]
    m["l2_utilization"] = _level(k.s["part_l2"], 1)
    m["atomic_transactions"] = np.round(k.s["atomics"] * 2)
    m["atomic_transactions_per_request"] = _per(atomics, k.s["atomics"], 2 * np.ones_like(k.time))
    m["dram_read_transactions"], m["dram_write_transactions"] = (
        np.round(k.s["dram_reads"]),
        np.round(k.s["dram_writes"]),
    )
    m["dram_read_throughput"], m["dram_write_throughput"] = (
        k.rate(k.s["dram_reads"]),
        k.rate(k.s["dram_writes"]),
    )
    m["dram_utilization"] = _level(k.s["part_dram"])
    m["sysmem_read_transactions"] = np.zeros_like(k.time)
    m["sysmem_write_transactions"] = 5 * np.ones_like(k.time)
    m["sysmem_read_throughput"], m["sysmem_write_throughput"] = (
        np.zeros_like(k.time),
        k.rate(m["sysmem_write_transactions"]),
    )
    m["sysmem_read_utilization"], m["sysmem_write_utilization"], m["sysmem_utilization"] = (
        np.zeros_like(k.time),
        np.ones_like(k.time),
        np.ones_like(k.time),
    )


def _units(k: _Kernels, m: Columns) -> None:
    """How much the function units are used."""
    m["ldst_fu_utilization"] = _level(k.s["part_lsu"] * 0.5)
    m["cf_fu_utilization"] = _level(m["cf_executed"] / k.busy / k.schedulers)
    m["special_fu_utilization"] = _level(k.s["part_special"])
    m["single_precision_fu_utilization"] = _level(k.s["part_fp32"])
    m["double_precision_fu_utilization"] = _level(k.s["part_fp64"])
    m["half_precision_fu_utilization"] = _level(k.s["half_fma"] / k.busy / k.schedulers)


def _stalls(k: _Kernels, m: Columns) -> None:
    """Stall reasons: shares of what keeps warps waiting."""
    weight = {
        "memory_dependency": 0.05 + 2.0 * k.s["memory_share"],
        "exec_dependency": 0.1 + 0.9 * (1 - k.s["memory_share"]) / k.w["parallelism"],
        "sync": 8.0 * k.s["barriers"] / k.s["executed"],
        "memory_throttle": 0.6 * k.s["part_dram"] ** 3 + 0.4 * k.s["part_lsu"] ** 2,
        "pipe_busy": 0.5 * k.s["parts_fp"] ** 2,
        "not_selected": 0.6 * k.s["parts_issue"] ** 2 * m["achieved_occupancy"],
        "inst_fetch": 0.02 + 0.2 / (1 + m["inst_per_warp"] / 50),
        "texture": np.where(k.w["texture"] > 0, 0.4 * k.s["memory_share"], 0.0),
        "constant_memory_dependency": 0.01 + 0.1 / (1 + m["inst_per_warp"] / 20),
        "other": 0.05 * np.ones_like(k.time),
    }
    total = np.sum(list(weight.values()), axis=0)
    for name, value in weight.items():
        m[f"stall_{name}"] = value / total
