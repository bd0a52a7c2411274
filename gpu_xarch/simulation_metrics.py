"""nvprof's metrics out of the state of the simulated multiprocessors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpu_xarch.metrics import published
from gpu_xarch.specs import GpuSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["metrics_of"]

_SECTOR = 32


def metrics_of(
    gpu: GpuSpec, schedulers: int, w: Mapping[str, NDArray[np.float64]], s: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
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
    import numpy as np

    time, cycles = s["time"], s["cycles"]
    zero = np.zeros_like(time)
    one = np.ones_like(time)
    threads = 32.0 * w["active"]
    m: dict[str, NDArray[np.float64]] = {"duration": time}

    def rate(count: NDArray[np.float64], size: float = _SECTOR) -> NDArray[np.float64]:
        return count * size / time

    def level(fraction: NDArray[np.float64], floor: int = 0) -> NDArray[np.float64]:
        return np.clip(np.ceil(10 * fraction), floor, 10)

    def per(
        count: NDArray[np.float64], requests: NDArray[np.float64], value: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.where(requests > 0, value, 0.0) + 0 * count

    busy = s["active_sms"] * cycles * s["balance"]
    m["ipc"] = s["executed"] / busy
    m["issued_ipc"] = s["issued"] / busy
    m["issue_slots"] = np.round(s["issued"] * (0.93 if gpu.issue_width > schedulers else 1.0))
    m["issue_slot_utilization"] = np.minimum(m["issue_slots"] / (busy * schedulers), 1.0)
    m["inst_executed"], m["inst_issued"] = np.round(s["executed"]), np.round(s["issued"])
    m["inst_per_warp"] = s["executed"] / s["warps"]
    m["inst_replay_overhead"] = s["replay"]
    m["branch_efficiency"] = w["uniform"]
    m["warp_execution_efficiency"] = w["active"]
    m["warp_nonpred_execution_efficiency"] = w["active"] * (0.985 - 0.05 * (1 - w["uniform"]))
    m["cf_executed"] = np.round(s["control"] + s["barriers"])
    m["cf_issued"] = np.round(m["cf_executed"] * (1 + s["replay"]))
    memory = s["loads"] + s["stores"] + s["shared_loads"] + s["shared_stores"] + s["atomics"]
    m["ldst_executed"] = np.round(memory)
    m["ldst_issued"] = np.round(memory * (1 + 4 * s["replay"]))
    m["sm_efficiency"] = s["active_sms"] / gpu.sms * s["balance"] * cycles / (cycles + 1500.0)
    m["achieved_occupancy"] = np.clip(s["resident"] / gpu.warps * (0.5 + 0.5 * s["balance"]), 0, 1)
    m["eligible_warps_per_cycle"] = m["ipc"] * (1.0 + 0.06 * s["resident"] * s["parts_issue"])
    # instruction mix, by thread
    for name, source in (
        ("inst_fp_32", s["add"] + s["mul"] + s["fma"] + s["special"]),
        ("inst_fp_64", s["dadd"] + s["dmul"] + s["dfma"]),
        ("inst_fp_16", s["half_fma"]),
        ("inst_integer", s["integer"]),
        ("inst_bit_convert", s["convert"]),
        ("inst_control", s["control"]),
        ("inst_compute_ld_st", memory),
        ("inst_misc", s["misc"] + s["barriers"]),
        ("inst_inter_thread_communication", s["exchange"]),
        ("flop_count_sp_add", s["add"]),
        ("flop_count_sp_mul", s["mul"]),
        ("flop_count_sp_fma", s["fma"]),
        ("flop_count_sp_special", s["special"]),
        ("flop_count_dp_add", s["dadd"]),
        ("flop_count_dp_mul", s["dmul"]),
        ("flop_count_dp_fma", s["dfma"]),
        ("flop_count_hp_add", zero),
        ("flop_count_hp_mul", zero),
        ("flop_count_hp_fma", 2 * s["half_fma"]),
    ):
        m[name] = np.round(source * threads)
    for kind, peak in (("sp", gpu.peak_fp32), ("dp", gpu.peak_fp64), ("hp", 2 * gpu.peak_fp32)):
        m[f"flop_count_{kind}"] = (
            m[f"flop_count_{kind}_add"] + m[f"flop_count_{kind}_mul"] + 2 * m[f"flop_count_{kind}_fma"]
        )
        m[f"flop_{kind}_efficiency"] = np.minimum(m[f"flop_count_{kind}"] / time / peak, 1.0)
    # global memory
    for name, requests, transactions, sectors in (
        ("gld", s["loads"], s["load_transactions"], w["load_sectors"]),
        ("gst", s["stores"], s["store_transactions"], w["store_sectors"]),
    ):
        m[f"{name}_transactions"] = np.round(transactions)
        m[f"{name}_transactions_per_request"] = np.where(
            requests > 0, transactions / np.maximum(requests, 1e-9), 0.0
        )
        m[f"{name}_throughput"] = rate(transactions)
        m[f"{name}_requested_throughput"] = requests * threads * w["width"] / time
        ideal = threads * w["width"] / _SECTOR
        if name == "gst":
            m["gst_efficiency"] = np.where(
                requests > 0, np.minimum(ideal / np.maximum(sectors, 1e-9), 1.0), 0.0
            )
    m["global_hit_rate"] = s["l1_hit"]
    texture = w["texture"] > 0
    m["tex_cache_hit_rate"] = np.where(texture, s["l1_hit"], 0.98 * s["l1_hit"])
    m["tex_cache_transactions"] = np.round(s["load_transactions"] * 0.5)
    m["tex_cache_throughput"] = rate(s["load_transactions"])
    m["tex_utilization"] = level(s["load_transactions"] / 4 / busy)
    # local memory: none of the kernels spills
    for name in ("load_transactions", "store_transactions", "load_throughput", "store_throughput"):
        m[f"local_{name}"] = zero
    for name in (
        "load_transactions_per_request",
        "store_transactions_per_request",
        "hit_rate",
        "memory_overhead",
    ):
        m[f"local_{name}"] = zero
    # shared memory
    for name, requests in (("load", s["shared_loads"]), ("store", s["shared_stores"])):
        transactions = requests * w["conflicts"]
        m[f"shared_{name}_transactions"] = np.round(transactions)
        m[f"shared_{name}_transactions_per_request"] = per(transactions, requests, w["conflicts"])
        m[f"shared_{name}_throughput"] = rate(transactions, 128)
    used = s["shared_transactions"] > 0
    m["shared_efficiency"] = np.where(used, w["active"] * 0.95 / w["conflicts"], 0.0)
    m["shared_utilization"] = level(s["shared_transactions"] / busy)
    # second-level cache and beyond
    atomics = s["atomics"] * 2
    m["l2_tex_read_transactions"], m["l2_tex_write_transactions"] = (
        np.round(s["l2_reads"]),
        np.round(s["l2_writes"]),
    )
    m["l2_read_transactions"] = np.round(s["l2_reads"] * 1.004 + 24 + atomics)
    m["l2_write_transactions"] = np.round(s["l2_writes"] * 1.002 + 12 + atomics)
    m["l2_atomic_transactions"] = np.round(2 * atomics)
    for name in ("tex_read", "tex_write", "read", "write", "atomic"):
        m[f"l2_{name}_throughput"] = rate(m[f"l2_{name}_transactions"])
    m["l2_tex_read_hit_rate"], m["l2_tex_write_hit_rate"] = s["l2_hit"], 0.9 + 0.1 * s["l2_hit"]
    m["l2_utilization"] = level(s["part_l2"], 1)
    m["atomic_transactions"] = np.round(s["atomics"] * 2)
    m["atomic_transactions_per_request"] = per(atomics, s["atomics"], 2 * one)
    m["dram_read_transactions"], m["dram_write_transactions"] = (
        np.round(s["dram_reads"]),
        np.round(s["dram_writes"]),
    )
    m["dram_read_throughput"], m["dram_write_throughput"] = rate(s["dram_reads"]), rate(s["dram_writes"])
    m["dram_utilization"] = level(s["part_dram"])
    m["sysmem_read_transactions"] = zero
    m["sysmem_write_transactions"] = 5 * one
    m["sysmem_read_throughput"], m["sysmem_write_throughput"] = zero, rate(m["sysmem_write_transactions"])
    m["sysmem_read_utilization"], m["sysmem_write_utilization"], m["sysmem_utilization"] = zero, one, one
    # function units
    m["ldst_fu_utilization"] = level(s["part_lsu"] * 0.5)
    m["cf_fu_utilization"] = level(m["cf_executed"] / busy / schedulers)
    m["special_fu_utilization"] = level(s["part_special"])
    m["single_precision_fu_utilization"] = level(s["part_fp32"])
    m["double_precision_fu_utilization"] = level(s["part_fp64"])
    m["half_precision_fu_utilization"] = level(s["half_fma"] / busy / schedulers)
    # stall reasons: shares of what keeps warps waiting
    weight = {
        "memory_dependency": 0.05 + 2.0 * s["memory_share"],
        "exec_dependency": 0.1 + 0.9 * (1 - s["memory_share"]) / w["parallelism"],
        "sync": 8.0 * s["barriers"] / s["executed"],
        "memory_throttle": 0.6 * s["part_dram"] ** 3 + 0.4 * s["part_lsu"] ** 2,
        "pipe_busy": 0.5 * s["parts_fp"] ** 2,
        "not_selected": 0.6 * s["parts_issue"] ** 2 * m["achieved_occupancy"],
        "inst_fetch": 0.02 + 0.2 / (1 + m["inst_per_warp"] / 50),
        "texture": np.where(texture, 0.4 * s["memory_share"], 0.0),
        "constant_memory_dependency": 0.01 + 0.1 / (1 + m["inst_per_warp"] / 20),
        "other": 0.05 * one,
    }
    total = np.sum(list(weight.values()), axis=0)
    for name, value in weight.items():
        m[f"stall_{name}"] = value / total
    return {name: m[name] for name in ("duration", *published())}
