"""Nsight Systems: times of kernels, in sum and by launch."""

from __future__ import annotations

import pytest

from gpu_xarch import ingest, load_runs

SUM = "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name\n"
ROWS = (
    '80.0,4000000,40,100000.0,99990.0,98000,104000,900.0,"relax(float *, int)"\n'
    "20.0,1000100,30,33336.7,33000.0,32000,36000,800.5,plain_kernel\n"
)
TRACE = (
    "Start (ns),Duration (ns),CorrId,GrdX,GrdY,GrdZ,BlkX,BlkY,BlkZ,Reg/Trd,StcSMem (MB),DymSMem (MB),Bytes (MB),"
    "Throughput (MB/s),SrcMemKd,DstMemKd,Device,Ctx,Strm,Name\n"
)


def launch(correlation, duration, name):
    return f"10,{duration},{correlation},8,2,1,64,1,1,32,0.000,0.000,,,,,NVIDIA L4 (0),1,7,{name}\n"


def test_sums_by_kernel(profiles):
    runs, problems = profiles.read(SUM + ROWS)
    assert problems == []
    assert [(run.kernel, run.invocations, run.launch, run.tool) for run in runs] == [
        ("relax(float *, int)", 40, None, "nsys"),
        ("plain_kernel", 30, None, "nsys"),
    ]
    assert [run.values["duration"] for run in runs] == pytest.approx([1e-4, 33336.7e-9], rel=1e-12)


def test_sums_of_all_that_the_gpu_did_give_their_kernels(profiles):
    header = SUM.replace("Name", "Category,Operation")
    runs, problems = profiles.read(
        header
        + '90.0,4000000,40,100000.0,99990.0,98000,104000,900.0,CUDA_KERNEL,"relax(float *, int)"\n'
        + "10.0,400000,4,100000.0,99990.0,98000,104000,900.0,MEMORY_OPER,[CUDA memcpy HtoD]\n"
        + "10.0,400000,4,100000.0,99990.0,98000,104000,900.0,MEMORY_OPER,graph upload\n"
    )
    assert problems == []
    assert [(run.kernel, run.invocations, run.values) for run in runs] == [
        ("relax(float *, int)", 40, {"duration": 1e-4})
    ]


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        (SUM.replace("(ns)", "(us)"), 1e3),
        ("Time(%),Total Time (ns),Instances,Average,Med,Minimum,Maximum,StdDev,Name\n", 1.0),
    ],
)
def test_units_of_the_columns(profiles, header, factor):
    runs, problems = profiles.read(header + ROWS)
    assert problems == []
    assert runs[0].values["duration"] == pytest.approx(1e-4 * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("4000000,40", "4000000,41", "do not agree"),
        ("98000,104000", "98000,99000", "do not agree"),
        ("4000000,40", "4000000,0", "not a number of launches"),
        ("100000.0", "1e5x", "not a value"),
        ("80.0,4000000", "80.0,7,4000000", "10 fields"),
    ],
)
def test_rows_that_contradict_themselves_are_left_out(profiles, old, new, why):
    runs, problems = profiles.read(SUM + ROWS.replace(old, new))
    assert [run.kernel for run in runs] == ["plain_kernel"]
    assert [why in problem.message for problem in problems] == [True]


def test_an_unknown_unit_is_no_number(profiles):
    runs, problems = profiles.read(SUM.replace("(ns)", "(fortnights)") + ROWS)
    assert runs == []
    assert "'fortnights'" in problems[0].message


def test_trace_has_one_run_a_launch_and_no_copies(profiles):
    text = (
        TRACE
        + launch(5, 2100, "relax")
        + launch(6, 900, "[CUDA memcpy Host-to-Device]")
        + launch(7, 2300, "relax")
    )
    runs, problems = profiles.read(text)
    assert problems == []
    assert [(run.launch, run.launch_id, run.device) for run in runs] == [
        (0, "5", "NVIDIA L4 (0)"),
        (1, "7", "NVIDIA L4 (0)"),
    ]
    assert [run.values["duration"] for run in runs] == pytest.approx([2.1e-6, 2.3e-6])
    assert (runs[0].values["grid_x"], runs[0].values["registers_per_thread"]) == (8.0, 32.0)


@pytest.mark.parametrize("cut", range(1, 60))
def test_cut_anywhere_it_loses_but_never_changes_times(profiles, cut):
    text = SUM + ROWS
    truth = {run.kernel: run.values for run in profiles.read(text)[0]}
    for run in profiles.read(text[: len(text) - cut])[0]:
        # a name without quotes cut short has lost its line end, and with it its row
        assert truth[run.kernel] == run.values


def test_calls_of_the_interface_are_no_kernels(profiles):
    api = "Time (%),Total Time (ns),Num Calls,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name\n90.0,10,2,5.0,5.0,5,5,0.0,cudaMalloc\n"  # noqa: E501
    runs, problems = profiles.read(SUM + ROWS + "\n" + api)
    assert (len(runs), problems) == (2, [])
    runs, (problem,) = profiles.read(api)
    assert (runs, problem.kind) == ([], "no-kernels")


def test_the_table_knows_application_and_device_by_file_and_option(profiles, tmp_path):
    from gpu_xarch.tables.applications import Naming

    path = profiles.write(SUM + ROWS, "relax_cuda_gpu_kern_sum.csv")
    ingest(path, tmp_path / "runs.parquet", naming=Naming.of(device="L4"))
    frame = load_runs(tmp_path / "runs.parquet")
    assert set(frame["device"]) == {"L4"}
    assert set(frame["application"]) == {"relax"}


def test_sums_by_grid_keep_the_sizes_of_the_launch(profiles):
    header = SUM.replace("StdDev (ns)", "StdDev (ns),GridXYZ,BlockXYZ")
    row = '80.0,4000000,40,100000.0,99990.0,98000,104000,900.0,   8    2    1, 64    1    1,"relax(float *, int)"\n'
    (run,), problems = profiles.read(header + row)
    assert problems == []
    sizes = {"grid_x": 8, "grid_y": 2, "grid_z": 1, "block_x": 64, "block_y": 1, "block_z": 1}
    assert run.values == pytest.approx({"duration": 1e-4, **sizes})
