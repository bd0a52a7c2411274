"""Every oddity seen in real profiles, in small files."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

SAXPY = "saxpy(int, float, float const *, float*)"
TRACE = (
    '"Start","Duration","Grid X","Grid Y","Grid Z","Block X","Block Y","Block Z","Registers Per Thread",'
    '"Static SMem","Dynamic SMem","Size","Throughput","Device","Context","Stream","Name"'
)
NCU = (
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device",'
    '"CC","Section Name","Metric Name","Metric Unit","Metric Value"'
)
NCU_NEW = NCU + ',"Rule Name","Rule Type","Rule Description","Estimated Speedup Type","Estimated Speedup"'


def ncu_row(
    name: str, unit: str, value: str, launch: int = 0, kernel: str = "saxpy", section: str = "S"
) -> str:
    return (
        f'"{launch}","77","app","host","{kernel}","1","7","(256, 1, 1)","(16, 2, 1)","0","7.0","{section}",'
        f'"{name}","{unit}","{value}"'
    )


def test_aggregate_values_are_in_si_units(profiles: Any) -> None:
    (run,), problems = profiles.read(profiles.profile())
    assert problems == []
    assert run.device == "Tesla P100-PCIE-16GB (0)"
    assert run.kernel == SAXPY
    assert run.command == "./saxpy.exe 1024"
    assert (run.invocations, run.launch, run.line, run.tool) == (1, None, 6, "nvprof")
    assert run.values == {
        "ipc": 0.727098,
        "sm_efficiency": 0.99844129,
        "achieved_occupancy": 0.998011,
        "inst_executed": 123456.0,
        "dram_read_throughput": 1.5 * 1024**3,
        "dram_write_throughput": 512.0 * 1024**2,
        "dram_utilization": 1.0,
    }


def test_aliases_get_the_canonical_name(profiles: Any) -> None:
    (run,), _ = profiles.read(profiles.profile({"executed_ipc": "0.5", "sm_activity": "50.0%"}))
    assert run.values == {"ipc": 0.5, "sm_efficiency": 0.5}


def test_kernels_with_commas_and_templates_are_told_apart(profiles: Any) -> None:
    names = [
        "void reduce6<int, unsigned int=256, bool=1>(int*, int*)",
        "void reduce6<int, unsigned int=32, bool=1>(int*, int*)",
    ]
    runs, problems = profiles.read(profiles.profile(kernels=names))
    assert [run.kernel for run in runs] == names
    assert problems == []


def test_byte_order_mark_gzip_and_utf16_change_nothing(profiles: Any) -> None:
    text = profiles.profile()
    plain = profiles.read(text)[0]
    for content in (
        b"\xef\xbb\xbf" + text.encode(),
        gzip.compress(text.encode()),
        text.encode("utf-16"),
        text.encode("utf-16-le"),
        text.replace("\n", "\r\n").encode(),
    ):
        runs, problems = profiles.read(content)
        assert runs == plain
        assert problems == []


def test_program_output_in_between_is_skipped(profiles: Any) -> None:
    lines = profiles.profile().splitlines(keepends=True)
    lines.insert(7, "Result = PASS, 3 iterations\n")
    lines.insert(9, 'he said "done", and left\n')
    lines[6] = "Done." + lines[6]
    (run,), problems = profiles.read("".join(lines))
    assert len(run.values) == 7
    assert problems == []


def test_message_glued_to_the_program_output(profiles: Any) -> None:
    text = profiles.profile().replace("==29979== Metric result:", "GPU time: 3 ms==29979== Metric result:")
    (run,), problems = profiles.read(text)
    assert len(run.values) == 7
    assert problems == []


def test_row_broken_by_a_message_is_put_together(profiles: Any) -> None:
    text = profiles.profile().replace(
        "99.844129%,99.844129%,99", "99.844129%,99.8==29979== Warning: slow\n44129%,99"
    )
    (run,), problems = profiles.read(text)
    assert run.values["sm_efficiency"] == 0.99844129
    assert problems == []


def test_row_lost_to_a_message_is_reported(profiles: Any) -> None:
    text = profiles.profile().replace("99.844129%,99.844129%,99.844129%\n", "99.8==29979== Warning: slow\n")
    (run,), problems = profiles.read(text)
    assert "sm_efficiency" not in run.values
    assert len(run.values) == 6
    assert [(p.kind, p.line) for p in problems] == [("row", 7)]


def test_units_that_change_from_row_to_row(profiles: Any) -> None:
    kernels = ["a()", "b()"]
    text = profiles.profile({"dram_read_throughput": "2.0KB/s"}, kernels=kernels[:1])
    text += profiles.row("dram_read_throughput", "3.0GB/s", "b()")
    runs, _ = profiles.read(text)
    assert [run.values["dram_read_throughput"] for run in runs] == [2048.0, 3.0 * 1024**3]


def test_mean_that_nvprof_cut_to_a_million_bytes_gives_way_to_min(profiles: Any) -> None:
    text = profiles.profile({}) + (
        f'"Tesla P100 (0)","{SAXPY}",1,"dram_read_throughput","Device Memory Read Throughput",'
        "688.702148KB/s,688.702148KB/s,0.000000B/s\n"
    )
    (run,), problems = profiles.read(text)
    assert run.values["dram_read_throughput"] == 688.702148 * 1024
    assert problems == []


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("0.5,0.5,0.9", "not between"),
        ("0.5,0.6,0.5", "single invocation"),
        ("0.5,x,0.5", "not a value"),
        ("<OVERFLOW>,<OVERFLOW>,<OVERFLOW>", "not a value"),
        ("50%,50%,50%", "unit fraction"),
    ],
)
def test_a_value_that_cannot_be_is_reported_and_left_out(profiles: Any, cells: str, why: str) -> None:
    text = profiles.profile() + f'"Tesla P100-PCIE-16GB (0)","{SAXPY}",1,"issued_ipc","Issued IPC",{cells}\n'
    (run,), problems = profiles.read(text)
    assert "issued_ipc" not in run.values
    assert len(problems) == 1
    assert why in problems[0].message
    assert problems[0].line == 13


def test_two_values_of_one_metric_are_both_left_out(profiles: Any) -> None:
    text = profiles.profile() + profiles.row("ipc", "0.9") + profiles.row("ipc", "0.727098")
    (run,), problems = profiles.read(text)
    assert "ipc" not in run.values
    assert [p.kind for p in problems] == ["conflict"]


def test_description_of_another_metric_is_reported(profiles: Any) -> None:
    text = profiles.profile() + profiles.row("flop_count_sp", "7").replace("flop_count_sp", "flop_count_dp")
    (run,), problems = profiles.read(text)
    assert "flop_count_dp" not in run.values
    assert "does not belong" in problems[0].message


def test_unknown_metric_keeps_its_name(profiles: Any) -> None:
    (run,), _ = profiles.read(profiles.profile({"ipc": "1.0", "brand_new": "3.5GB/s"}))
    assert run.values["brand_new"] == 3.5 * 1024**3
    assert run.unknown_units == {"brand_new": "bytes/s"}


def test_run_with_fewer_metrics_than_the_others_is_reported(profiles: Any) -> None:
    text = profiles.profile() + profiles.row("ipc", "0.5", "other()")
    runs, problems = profiles.read(text)
    assert len(runs) == 2
    assert [p.kind for p in problems] == ["incomplete"]
    assert "1 of 7" in problems[0].message


def test_mixed_rows_of_two_devices(profiles: Any) -> None:
    text = profiles.profile({}) + "".join(
        profiles.row(name, value, device=f"Tesla K40c ({number})")
        for name, value in profiles.metrics.items()
        for number in (0, 1)
    )
    runs, problems = profiles.read(text)
    assert [len(run.values) for run in runs] == [7, 7]
    assert problems == []


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("==1== NVPROF is profiling process 1, command: ./a\n==1== Warning: No kernels were profiled.\n", "no-kernels", 2),  # noqa: E501
        ("==PROF== Connected to process 5 (/a)\n==WARNING== No kernels were profiled.\n", "no-kernels", 2),
        (
            "==PROF== Connected to process 5 (/a)\n==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to "
            "access NVIDIA GPU Performance Counters on the target device 0.\n",
            "permission",
            2,
        ),
        ("==1== NVPROF is profiling process 1, command: ./a\nSegmentation fault (core dumped)\n", "crash", 2),
        ("==1== NVPROF is profiling process 1, command: ./a\n==1== Error: Application returned non-zero code 1\n", "crash", 2),  # noqa: E501
        ("======== Warning: Skipping profiling on device 0 since profiling is not supported on devices with compute capability 7.5 and higher.\n", "unsupported", 1),  # noqa: E501
        ("==1== NVPROF is profiling process 1, command: ./a\nhello\n", "no-metrics", 2),
        ("", "no-metrics", 0),
        ("a,b\n1,2\n", "not-a-profile", 0),
    ],
)  # fmt: skip
def test_a_file_without_metrics_is_called_what_it_is(profiles: Any, text: str, kind: str, line: int) -> None:
    runs, problems = profiles.read(text)
    assert runs == []
    assert [(p.kind, p.line, p.fatal) for p in problems] == [(kind, line, True)]


def test_crash_that_looks_like_csv(profiles: Any) -> None:
    text = profiles.preamble + profiles.header + "\n==1== Error: Internal profiling error 4292:999.\n"
    runs, problems = profiles.read(text)
    assert runs == []
    assert [(p.kind, p.line) for p in problems] == [("crash", 6)]


def test_crash_after_the_metrics_is_noted(profiles: Any) -> None:
    runs, problems = profiles.read(
        profiles.profile() + "==29979== Error: Application returned non-zero code 1\n"
    )
    assert len(runs) == 1
    assert [p.kind for p in problems] == ["note"]


def test_binary_file_is_no_profile(profiles: Any) -> None:
    runs, problems = profiles.read(bytes(range(256)) * 64)
    assert runs == []
    assert [p.fatal for p in problems] == [True]


def test_missing_file_is_reported(profiles: Any) -> None:
    from gpu_xarch.profiles.readers import read_runs

    (problem,) = read_runs(profiles.folder / "nothing.csv")
    assert problem.kind == "unreadable"


def test_events(profiles: Any) -> None:
    text = profiles.preamble.replace("Metric", "Event") + (
        '"Device","Kernel","Invocations","Event Name","Min","Max","Avg","Total"\n'
        '"Tesla K40c (0)","saxpy(int)",4,"warps_launched",10,20,15,60\n'
        '"Tesla K40c (0)","saxpy(int)",4,"active_cycles",10,20,15,77\n'
    )
    (run,), problems = profiles.read(text)
    assert run.values == {"event.warps_launched": 15.0}
    assert ["Total 77" in p.message for p in problems] == [True]


def test_trace_has_one_run_a_launch(profiles: Any) -> None:
    text = (
        profiles.preamble
        + TRACE
        + "\n"
        + (
            "ms,us,,,,,,,,KB,B,KB,MB/s,,,,\n"
            '611.9,511.8,,,,,,,,,,195.3,372.6,"Tesla K40c (0)","1","7","[CUDA memcpy HtoD]"\n'
            '613.0,2.208,196,1,1,256,1,1,8,1.062500,0,,,"Tesla K40c (0)","1","7","vectorAdd(float const *, int) [1168]"\n'  # noqa: E501
            '614.0,3.5,196,1,1,256,1,1,8,1.062500,0,,,"Tesla K40c (0)","1","7","vectorAdd(float const *, int) [1169]"\n'
        )
    )
    runs, problems = profiles.read(text)
    assert problems == []
    assert [(run.launch, run.launch_id, run.kernel) for run in runs] == [
        (0, "1168", "vectorAdd(float const *, int)"),
        (1, "1169", "vectorAdd(float const *, int)"),
    ]
    assert runs[0].values["duration"] == pytest.approx(2.208e-6, rel=1e-12)
    assert runs[0].values["shared_static"] == 1088.0
    assert runs[0].values["grid_x"] == 196.0


def test_metrics_by_launch_with_titles_and_double_columns(profiles: Any) -> None:
    text = profiles.preamble + (
        '"Device","Context","Stream","Kernel","Executed IPC","Device Memory Read Throughput","Executed IPC","issued_ipc","issued_ipc"\n'  # noqa: E501
        ",,,,,GB/s,,,\n"
        '"Tesla K40c (0)","1","7","saxpy(int) [55]",0.5,2.0,0.5,0.6,0.7\n'
    )
    (run,), problems = profiles.read(text)
    assert run.values == {"ipc": 0.5, "dram_read_throughput": 2.0 * 1024**3}
    assert [p.kind for p in problems] == ["conflict"]


def test_a_title_that_lost_a_quote_is_no_metric(profiles: Any) -> None:
    for lost in ('"Duration"', '"Correlation_ID"', '"Block X"'):
        header = TRACE.replace('"Name"', '"Name","Correlation_ID"').replace(lost, lost[1:])
        text = (
            f"==7== NVPROF is profiling process 7, command: ./a\n{header}\nms,us,,,,,,,,KB,B,,,,,,,\n"
            '613.0,2.5,4,1,1,256,1,1,8,1.5,0,,,"Tesla V100-SXM2-16GB (0)","1","7","f(int)",12\n'
        )
        (run,), problems = profiles.read(text)
        assert not any('"' in name for name in run.values)
        assert [problem.line for problem in problems] == [4]


def test_trace_cut_in_its_last_line(profiles: Any) -> None:
    text = profiles.preamble + TRACE + "\nms,us,,,,,,,,KB,B,KB,MB/s,,,,\n"
    good = '613.0,2.208,196,1,1,256,1,1,8,0,0,,,"Tesla K40c (0)","1","7","a() [1]"\n'
    runs, problems = profiles.read(text + good + good.replace("[1]", "[2]")[:40])
    assert len(runs) == 1
    assert [p.kind for p in problems] == ["row"]


@pytest.mark.parametrize("typed", [True, False])
def test_summary_of_times(profiles: Any, typed: bool) -> None:
    start = '"Type",' if typed else ""
    kind = '"GPU activities",' if typed else ""
    text = (
        "==3== NVPROF is profiling process 3, command: ./a\n==3== Profiling result:\n"
        f'{start}"Time(%)","Time","Calls","Avg","Min","Max","Name"\n'
        f"{',' if typed else ''}%,ms,,us,us,us,\n"
        f'{kind}60.0,0.40,4,100.0,90.0,120.0,"plain_kernel"\n'
        f'{kind}40.0,0.20,1,200.0,200.0,200.0,"[CUDA memcpy HtoD]"\n'
    )
    text += (
        '"API calls",90.0,100.0,3,33.0,1.0,99.0,"cudaMalloc"\n'
        if typed
        else "==3== API calls:\n"
        '"Time(%)","Time","Calls","Avg","Min","Max","Name"\n%,ms,,ms,ms,ms,\n'
        '90.0,99.0,3,33.0,1.0,99.0,"cudaMalloc"\n'
    )
    (run,), problems = profiles.read(text)
    assert problems == []
    assert (run.kernel, run.invocations, run.values) == ("plain_kernel", 4, {"duration": pytest.approx(1e-4)})


@pytest.mark.parametrize("header", [NCU, NCU_NEW])
def test_details_page_old_and_new_columns(profiles: Any, header: str) -> None:
    lines = [
        "==PROF== Connected to process 77 (/opt/app)",
        "program says 5,6",
        header,
        ncu_row("Duration", "usecond", "1,234.5"),
        ncu_row("Executed Ipc Active", "inst/cycle", "2.5"),
        ncu_row("Memory Throughput", "%", "21.5"),
        ncu_row("Memory Throughput", "Gbyte/second", "300", section="M"),
        ncu_row("Enabled TPC IDs", "", "all"),
        ncu_row("Duration", "ns", "n/a", launch=1),
        ncu_row("Duration", "ns", "500", launch=1),
    ]
    if header == NCU_NEW:
        lines[3:8] = [line + "," for line in lines[3:8]]  # ragged: 16 of 20 columns
        lines.insert(8, ncu_row("", "", "") + ',"SOLBottleneck","OPT","Look, here","global","5.8"')
    runs, problems = profiles.read("\n".join(lines) + "\n")
    assert problems == []
    assert [run.launch for run in runs] == [0, 1]
    values = runs[0].values
    assert values["duration"] == pytest.approx(1.2345e-3)
    assert values["ipc"] == 2.5
    assert values["memory_throughput"] == 0.215
    assert values["dram_throughput"] == 300e9
    assert (values["grid_x"], values["grid_y"], values["block_x"]) == (16.0, 2.0, 256.0)
    assert runs[1].values["duration"] == pytest.approx(5e-7)
    assert runs[0].fallback_device == "CC 7.0"


def test_raw_page(profiles: Any) -> None:
    text = (
        '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device",'  # noqa: E501
        '"CC","device__attribute_display_name","dram__bytes_read.sum","dram__bytes_read.sum.per_second",'
        '"smsp__inst_executed.avg.per_cycle_active","mine__thing.sum","launch__func_cache_config"\n'
        '"","","","","","","","","","","","","Mbyte","Gbyte/second","inst/cycle","",""\n'
        '"0","9","app","h","saxpy(int)","1","7","(256, 1, 1)","(4, 1, 1)","0","8.0","NVIDIA A100-SXM4-40GB","10,240.5","1.5",'  # noqa: E501
        '"0.25","12","PreferNone"\n'
    )
    (run,), problems = profiles.read(text)
    assert problems == []
    assert run.device == "NVIDIA A100-SXM4-40GB"
    assert run.values["dram_read_bytes"] == 10240.5e6
    assert run.values["dram_read_throughput"] == 1.5e9
    assert run.values["ipc"] == 1.0  # four sub-partitions
    assert run.values["mine__thing.sum"] == 12.0
    assert "launch__func_cache_config" not in run.values


def test_values_of_instances_behind_a_value_are_read_over(profiles: Any) -> None:
    rows = [
        ncu_row("dram__bytes_read.sum", "Kbyte", "1,536.5 (512.5; 512; 512)"),
        ncu_row("smsp__inst_executed.sum", "inst", "96 (0: 32; 1: 64)"),
    ]
    (run,), problems = profiles.read("\n".join([NCU, *rows]) + "\n")
    assert problems == []
    assert (run.values["dram_read_bytes"], run.values["inst_executed"]) == (1536.5e3, 96.0)


def test_titles_of_the_first_releases(profiles: Any) -> None:
    rows = [
        ncu_row("SOL FB", "%", "40.5"),
        ncu_row("SOL TEX", "%", "12.5"),
        ncu_row("SOL L2", "%", "21.0"),
        ncu_row("Memory Frequency", "cycle/usecond", "850.5"),
    ]
    (run,), _ = profiles.read("\n".join([NCU, *rows]) + "\n")
    names = ("dram_peak_fraction", "l1_throughput", "l2_peak_fraction")
    got = [run.values[name] for name in (*names, "dram_frequency")]
    assert got == pytest.approx([0.405, 0.125, 0.21, 850.5e6])


@pytest.mark.parametrize("mark", ["[1,{}]<stdout>:", "[1,{}]<stderr>:", "{}: ", "[node07:{}] "])
def test_marks_of_ranks_before_every_line_change_nothing(profiles: Any, mark: str) -> None:
    trace = (
        "==7== NVPROF is profiling process 7, command: ./a 8\n" + TRACE + "\nms,us,,,,,,,,KB,B,,,,,,\n"
        '613.0,2.5,4,1,1,256,1,1,8,1.5,0,,,"Tesla V100-SXM2-16GB (0)","1","7","f(int)"\n'
    )
    details = "\n".join([NCU, ncu_row("Duration", "ns", "512.300"), ncu_row("SOL FB", "%", "40,5")]) + "\n"
    for text, seconds in ((trace, 2.5e-6), (details, 512300e-9)):
        for ranks in (1, 2):
            lines = [mark.format(rank) + line + "\n" for rank in range(ranks) for line in text.splitlines()]
            runs, problems = profiles.read("".join(lines))
            assert problems == []
            assert [run.values["duration"] for run in runs] == pytest.approx([seconds] * ranks)
            assert [run.values["block_x"] for run in runs] == [256.0] * ranks


def test_details_text_over_several_lines(profiles: Any) -> None:
    rule = ncu_row("", "", "") + ',"R","OPT","first line\nsecond, line","",""'
    text = "\n".join(
        [NCU_NEW, ncu_row("Duration", "ns", "500") + ",", rule, ncu_row("Elapsed Cycles", "cycle", "7") + ","]
    )
    (run,), problems = profiles.read(text + "\n")
    assert problems == []
    assert run.values["cycles_elapsed"] == 7.0


def test_wrong_number_on_a_details_page_is_reported(profiles: Any) -> None:
    (run,), problems = profiles.read(
        "\n".join([NCU, ncu_row("Duration", "ns", "5x0"), ncu_row("Elapsed Cycles", "cycle", "7")]) + "\n"
    )
    assert "duration" not in run.values
    assert [(p.kind, p.line) for p in problems] == [("number", 2)]


def test_simulated_files_say_so(profiles: Any) -> None:
    text = profiles.profile().replace(
        "==29979== Metric result:", "==29979== SIMULATED by xarch simulate, model 1\n==29979== Metric result:"
    )
    (run,), _ = profiles.read(text)
    assert run.simulated is True
