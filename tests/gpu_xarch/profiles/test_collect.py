"""The collector, against recorded command lines and programs that stand in for the profilers."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from gpu_xarch.errors import CollectError, InputError
from gpu_xarch.metrics import published
from gpu_xarch.profiles.collect import (
    choose_tool,
    collect,
    detect_gpu,
    metric_set,
    ncu_counters,
    plan_collection,
    times_plan,
)
from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.tables.runs import load_runs


def fake(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_command_line_of_nvprof() -> None:
    plan = plan_collection(
        ["./app", "a b"], Path("p.csv"), metrics=["ipc", "duration"], capability="6.0", kernels="gemm"
    )
    assert plan.shell == "nvprof --csv --log-file p.csv --devices 0 --kernels gemm --metrics ipc ./app 'a b'"
    assert plan.missing == ("duration",)


def test_command_line_of_nsight_compute() -> None:
    plan = plan_collection(
        ["./app"],
        Path("p.csv"),
        metrics=["dram_read_throughput", "cf_fu_utilization"],
        capability="9.0",
        launches=3,
    )
    assert plan.shell == (
        "ncu --csv --page raw --print-units base --log-file p.csv --force-overwrite --devices 0 --metrics "
        "dram__bytes_read.sum.per_second,gpu__time_duration.sum,device__attribute_display_name --launch-count 3 ./app"
    )
    assert plan.missing == ("cf_fu_utilization",)


def test_no_counter_is_asked_for_twice() -> None:
    counters, missing = ncu_counters(published())
    assert len(counters) == len(set(counters)) < 116
    assert len(missing) == 19
    # l2 reads need the atomics' counters only because the atomics are asked for too
    assert ncu_counters(["l2_read_transactions"])[0] == ["lts__t_sectors_op_read.sum"]


@pytest.mark.parametrize(
    ("capability", "tool"), [("3.5", "nvprof"), ("7.0", "nvprof"), ("7.5", "ncu"), ("10.0", "ncu")]
)
def test_tool_by_compute_capability(capability: str, tool: str) -> None:
    assert choose_tool(capability) == tool


def test_impossible_requests_are_refused() -> None:
    for options, match in (
        ({"application": []}, "no program"),
        ({"tool": "nvprof", "capability": "8.0"}, "use --tool ncu"),
        ({"tool": "ncu", "capability": "6.0"}, "use --tool nvprof"),
        ({"metrics": ["cf_fu_utilization"]}, "none of the metrics"),
        ({"capability": "6.0", "metrics": ["duration"]}, "none of the metrics"),
        ({"capability": "6.0", "launches": 3}, "leave --launches out"),
        ({"capability": "new"}, "compute capability"),
    ):
        base: dict[str, Any] = {"application": ["./a"], "metrics": ["ipc"], "capability": "9.0"} | options
        application = base.pop("application")
        with pytest.raises(InputError, match=match):
            plan_collection(application, Path("p.csv"), **base)
    with pytest.raises(InputError, match="no metrics"):
        metric_set(",")


def test_the_driver_names_the_gpu(tools: Path) -> None:
    with pytest.raises(CollectError, match="nvidia-smi is not on the PATH"):
        detect_gpu()
    fake(tools, "nvidia-smi", 'echo "NVIDIA H100 80GB HBM3, 9.0"\n')
    assert detect_gpu() == ("NVIDIA H100 80GB HBM3", "9.0")
    fake(tools, "nvidia-smi", 'echo "No devices were found" >&2; exit 6\n')
    with pytest.raises(CollectError, match="No devices were found"):
        detect_gpu()


RAW = r"""
while [ "$1" != --log-file ]; do shift; done
cat > "$2" <<'CSV'
==PROF== Connected to process 9 (/tmp/app)
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC","sm__inst_executed.avg.per_cycle_active"
"","","","","","","","","","","","inst/cycle"
"0","9","app","h","saxpy(int)","1","7","(256, 1, 1)","(4, 1, 1)","0","9.0","1.25"
CSV
"""  # noqa: E501


def test_what_is_collected_can_be_ingested(tools: Path, tmp_path: Path) -> None:
    fake(tools, "ncu", RAW)
    out = tmp_path / "deep" / "p.csv"
    plan = plan_collection(
        ["./app", "-n", "5"], out, metrics=["ipc"], capability="9.0", device="NVIDIA H100 80GB HBM3"
    )
    collect(plan)
    ingest([out], tmp_path / "runs.parquet")
    row = load_runs(tmp_path / "runs.parquet").iloc[0]
    assert (row["device"], row["application"], row["input"], row["ipc"]) == ("H100", "app", "-n 5", 1.25)


def test_failures_of_the_profiler_are_told(tools: Path, tmp_path: Path) -> None:
    plan = plan_collection(["./app"], tmp_path / "p.csv", metrics=["ipc"], capability="9.0")
    with pytest.raises(CollectError, match="ncu is not on the PATH; the command would be: ncu --csv"):
        collect(plan)
    fake(
        tools,
        "ncu",
        'while [ "$1" != --log-file ]; do shift; done\necho "==ERROR== ERR_NVGPUCTRPERM" > "$2"; exit 1\n',
    )
    with pytest.raises(CollectError, match="ERR_NVGPUCTRPERM"):
        collect(plan)
    fake(tools, "ncu", "exit 0\n")
    plan.out.unlink()
    with pytest.raises(CollectError, match="wrote nothing"):
        collect(plan)


NVPROF = r"""
for word in "$@"; do [ "$word" = --print-gpu-trace ] && trace=1; done
while [ "$1" != --log-file ]; do shift; done
echo "==3== NVPROF is profiling process 3, command: ./app -n 5" > "$2"
if [ -n "$trace" ]; then cat >> "$2" <<'CSV'
"Start","Duration","Device","Context","Stream","Name"
ms,us,,,,
1.5,12.5,"Tesla P100-PCIE-16GB (0)","1","7","saxpy(int) [3]"
CSV
else cat >> "$2" <<'CSV'
"Device","Kernel","Invocations","Metric Name","Metric Description","Min","Max","Avg"
"Tesla P100-PCIE-16GB (0)","saxpy(int)",1,"ipc","Executed IPC",1.25,1.25,1.25
CSV
fi
"""


def test_a_second_run_of_nvprof_gives_the_times(tools: Path, tmp_path: Path) -> None:
    fake(tools, "nvprof", NVPROF)
    plan = plan_collection(["./app", "-n", "5"], tmp_path / "p.csv", metrics=["ipc"], capability="6.0")
    second = times_plan(plan)
    assert second is not None
    assert second.out == tmp_path / "p_trace.csv"
    for one in (plan, second):
        collect(one)
    ingest([plan.out, second.out], tmp_path / "runs.parquet")
    frame = load_runs(tmp_path / "runs.parquet")
    assert frame[["ipc", "duration"]].to_numpy().tolist() == [[1.25, pytest.approx(12.5e-6)]]
    assert times_plan(plan_collection(["./a"], tmp_path / "p.csv", metrics=["ipc"], capability="9.0")) is None
