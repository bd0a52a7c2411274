"""Metric registry, data sheets and kernel names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import canonical_name, evaluate_ncu, find_metric, ncu_names, published, registry
from gpu_xarch.specs import canonical_device, find_gpu, gpus
from gpu_xarch.tables.kernel_names import base_name, demangle, normalise_kernel

UNITS = {
    "count", "ratio", "fraction", "level", "bytes", "bytes/s", "s", "1/s", "1/cycle", "cycles", "warps", "label",
}  # fmt: skip


def test_names_aliases_and_labels_are_unambiguous() -> None:
    names = list(registry())
    aliases = [alias for metric in registry().values() for alias in metric.aliases]
    labels = [label for metric in registry().values() for label in metric.labels]
    assert len(names) == len(set(names)) >= 175
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(names)
    assert len(labels) == len(set(labels))
    assert {metric.unit for metric in registry().values()} <= UNITS
    assert all(metric.description for metric in registry().values())


def test_every_published_metric_has_nvprof_labels() -> None:
    assert len(published()) == 116
    assert all(registry()[name].labels for name in published())


def test_per_partition_ipc_is_a_quarter() -> None:
    assert evaluate_ncu({"smsp__inst_executed.avg.per_cycle_active": 0.6})["ipc"] == pytest.approx(2.4)
    both = {"smsp__inst_executed.avg.per_cycle_active": 0.6, "sm__inst_executed.avg.per_cycle_active": 2.5}
    assert evaluate_ncu(both)["ipc"] == 2.5


def test_sums_and_factors_of_expressions() -> None:
    dp = "smsp__sass_thread_inst_executed_op_d{}_pred_on.sum"
    got = evaluate_ncu({dp.format("add"): 1.0, dp.format("mul"): 2.0, dp.format("fma"): 10.0})
    assert got["flop_count_dp"] == 23.0
    assert (
        evaluate_ncu({"dram__throughput.avg.pct_of_peak_sustained_elapsed": 0.5})["dram_utilization"] == 5.0
    )
    assert (
        evaluate_ncu({"smsp__thread_inst_executed_per_inst_executed.ratio": 16.0})[
            "warp_execution_efficiency"
        ]
        == 0.5
    )
    assert "flop_count_dp" not in evaluate_ncu({dp.format("add"): 1.0})


def test_counters_have_the_form_of_nsight_compute() -> None:
    import re

    form = re.compile(
        r"(?:smsp|sm|l1tex|lts|dram|gpu|gpc|launch|nvltx|nvlrx|pcie)__[a-z0-9_]+(?:\.[a-z0-9_]+)*"
    )
    assert all(form.fullmatch(name) for name in ncu_names())
    assert len(ncu_names()) > 120


def test_find_metric_by_any_name() -> None:
    for name in ("ipc", "executed_ipc", "Executed IPC", "sm__inst_executed.avg.per_cycle_active"):
        assert find_metric(name).name == "ipc"
    with pytest.raises(InputError, match=r"did you mean .*ipc"):
        find_metric("icp")
    assert canonical_name("issued_ipc") == "issued_ipc"


def test_published_gpus_are_there_with_sources() -> None:
    for name, sms, bandwidth in (
        ("K40", 15, 288e9),
        ("M60", 16, 160e9),
        ("P100", 56, 732e9),
        ("V100", 80, 900e9),
    ):
        spec = find_gpu(name)
        assert (spec.sms, spec.bandwidth) == (sms, bandwidth)
    assert find_gpu("H200").bandwidth == 4.8e12
    for spec in gpus().values():
        assert len(spec.source) > 10
        assert 1e11 < spec.bandwidth < 1e13
        assert spec.base_hz <= spec.boost_hz
        assert 1e11 < spec.peak_fp32 < 1e14 * 1.1


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("GeForce GTX 950 (0)", "GTX 950"),
        ("GeForce GTX 1080 Ti (1)", "GTX 1080 Ti"),
        ("Tesla-P100", "P100"),
        ("TitanX", "GTX TITAN X"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("p100", "P100"),
        ("gtx950", "GTX 950"),
        ("GTX950", "GTX 950"),
        ("nvidia-geforce-gtx-950", "GTX 950"),
        ("1080ti", "GTX 1080 Ti"),
        ("1080", "GTX 1080"),
        ("rtx-3090", "RTX 3090"),
        ("RTX_4090", "RTX 4090"),
        ("geforcertx2080ti", "RTX 2080 Ti"),
        ("tesla_k40c", "K40"),
        ("TeslaP100-PCIE-16GB", "P100"),
        ("Tesla P40-24GB", "P40"),
        ("a100-80gb", "A100 80GB"),
        ("a10080gb", "A100 80GB"),
        ("h100-pcie", "H100 PCIe"),
        ("gtx-titan-x", "GTX TITAN X"),
        # not those that only look alike: two generations are called TITAN X, laptops have a 950M
        ("TITAN X (Pascal)", "TITAN X Pascal"),
        ("TITAN X", "TITAN X"),
        ("GeForce GTX 950M", "GTX 950M"),
        ("rtx 1080 ti", "rtx 1080 ti"),
        ("3090 Ti", "RTX 3090 Ti"),
        ("NVIDIA GeForce RTX 4070 SUPER (0)", "RTX 4070 SUPER"),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "RTX 4070 Laptop GPU"),
        ("GeForce GTX 1060 3GB", "GTX 1060 3GB"),
        ("Tesla P100-PCIE-12GB", "P100 12GB"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA A100-SXM4-40GB (0)", "A100 40GB"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100-SXM4-40GB MIG 1g.5gb"),
        ("NVIDIA A100-SXM-64GB", "A100-SXM-64GB"),
        ("NVIDIA GH200 144G HBM3e", "GH200 144G HBM3e"),
        ("Brand New 9000 (0)", "Brand New 9000"),
    ],
)
def test_devices_are_known_under_their_many_names(device: str, name: str) -> None:
    assert canonical_device(device) == name


def test_unknown_gpu_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean .*P100"):
        find_gpu("P10")
    with pytest.raises(InputError) as raised:
        find_gpu("nvidia geforce gtx1070ti")
    assert str(raised.value) == (
        "no data-sheet facts for the GPU 'nvidia geforce gtx1070ti': did you mean "
        "GTX 1080 Ti, GTX 1050 Ti, GTX 1070? `xarch gpus --add FILE` adds your own"
    )


def test_every_known_gpu_is_found_in_any_spelling() -> None:
    for name in gpus():
        for spelling in (name.lower(), name.upper(), name.replace(" ", ""), name.replace(" ", "-")):
            for prefix in ("", "NVIDIA ", "NVIDIA GeForce ", "Tesla-", "tesla"):
                assert find_gpu(prefix + spelling).name == name


def test_mangled_names_are_read() -> None:
    assert demangle("_Z9vectorAddPKfS0_Pfi") == "vectorAdd(float const*, float const*, float*, int)"
    assert normalise_kernel("_Z9vectorAddPKfS0_Pfi") == normalise_kernel(
        "vectorAdd(float const *, float const *, float*, int)"
    )
    assert demangle("_Z9") == "_Z9"


@given(st.text(max_size=80))
def test_any_name_is_normalised_once_and_for_all(name: str) -> None:
    once = normalise_kernel(name)
    assert normalise_kernel(once).replace(" ", "") == normalise_kernel(normalise_kernel(once)).replace(
        " ", ""
    )
    assert base_name(once) is not None


@pytest.mark.shared_data
def test_the_published_list_is_the_one_on_file(shared_data: Path) -> None:
    lines = (shared_data / "thesis_metrics.txt").read_text().splitlines()
    assert set(published()) == {line for line in lines if line and not line.startswith("#")}
