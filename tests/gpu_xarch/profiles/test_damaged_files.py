"""Over 200 damaged files of every format: no value is another than in the whole file without a word about it."""

from __future__ import annotations

import random

import pytest

from gpu_xarch.profiles.readers import Run

PREAMBLE = (
    "==7== NVPROF is profiling process 7, command: ./relax 1024\n"
    "==7== Profiling application: ./relax 1024\n==7== Profiling result:\n"
)
NCU = '"ID","Process ID","Process Name","Host Name","Kernel Name","Block Size","Grid Size","Device","CC",'
COUNTERS = (
    ("gpu__time_duration.sum", "ns", "512,300"),
    ("sm__inst_executed.avg.per_cycle_active", "inst/cycle", "2.12"),
    ("sm__throughput.avg.pct_of_peak_sustained_elapsed", "%", "33.25"),
    ("dram__bytes_read.sum", "byte", "1,048,576"),
)


def details(swap=str):
    rows = "".join(
        f'"{number}","77","relax","127.0.0.1","{kernel}","(64, 1, 1)","(8, 2, 1)","0","7.0","{name}","{unit}","{swap(text)}"\n'  # noqa: E501
        for number, kernel in enumerate(("relax(int)", "smooth(int, int)"))
        for name, unit, text in COUNTERS
    )
    return (
        "==PROF== Connected to process 77 (/relax)\n"
        + NCU
        + '"Metric Name","Metric Unit","Metric Value"\n'
        + rows
    )


def european(text):
    return text.translate(str.maketrans(",.", ".,"))


def files(profiles):
    launch = '"GeForce GTX 950 (0)","1","7"'
    return {
        "metrics": profiles.profile(kernels=("relax(int)", "smooth(int, int)"), invocations=1),
        "events": PREAMBLE + '"Device","Kernel","Invocations","Event Name","Min","Max","Avg","Total"\n' + "".join(
            f'"GeForce GTX 950 (0)","{kernel}",2,"{name}",10,20,15,30\n'
            for kernel in ("relax(int)", "smooth(int, int)") for name in ("active_cycles", "branch")
        ),
        "trace": PREAMBLE + '"Start","Duration","Grid X","Static SMem","Device","Context","Stream","Name"\nms,us,,KB,,,,\n'  # noqa: E501
        f'1.5,2.208,196,1.0625,{launch},"relax(int) [11]"\n2.5,3.5,190,1.0625,{launch},"smooth(int, int) [12]"\n',
        "by launch": PREAMBLE + '"Device","Context","Stream","Kernel","Executed IPC","Device Memory Read Throughput"\n,,,,,GB/s\n'  # noqa: E501
        f'{launch},"relax(int) [5]",0.5,2.25\n{launch},"smooth(int, int) [6]",0.75,3.25\n',
        "summary": PREAMBLE + '"Type","Time(%)","Time","Calls","Avg","Min","Max","Name"\n,%,ms,,us,us,us,\n'
        '"GPU activities",60.0,0.40,4,100.0,90.0,120.0,"relax"\n"API calls",90.0,100.0,3,33.0,1.0,99.0,"cudaMalloc"\n',
        "details": details(),
        "details, European": details(european),
        "raw": NCU + '"dram__bytes_read.sum","sm__inst_executed.avg.per_cycle_active","mine__it.sum"\n'
        '"","","","","","","","","","Mbyte","inst/cycle","Kbyte"\n'
        '"0","9","relax","h","relax(int)","(64, 1, 1)","(4, 1, 1)","0","8.0","10,240.5","0.25","7.5"\n'
        '"1","9","relax","h","smooth(int, int)","(64, 1, 1)","(4, 1, 1)","0","8.0","20,240.5","0.35","8.5"\n',
        "nsys sums": "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name\n"
        '80.0,4000000,40,100000.0,99990.0,98000,104000,900.0,"relax(float *, int)"\n'
        "20.0,1000100,30,33336.7,33000.0,32000,36000,800.5,smooth\n",
        "nsys trace": "Start (ns),Duration (ns),CorrId,GrdX,Device,Ctx,Strm,Name\n"
        '10,2100,5,8,NVIDIA L4 (0),1,7,relax\n20,2200,6,8,NVIDIA L4 (0),1,7,"smooth(int, int)"\n',
    }  # fmt: skip


def damaged(text, rng):
    """A file that was cut, lost, doubled or mixed up lines, or got other output in between."""
    lines = text.splitlines(keepends=True)
    place, line = rng.randrange(len(text)), rng.randrange(len(lines))
    kinds = {
        "cut": lambda: text[:place],
        "head lost": lambda: "".join(lines[1 + rng.randrange(len(lines) - 1) :]),
        "line lost": lambda: "".join(lines[:line] + lines[line + 1 :]),
        "line twice": lambda: "".join(lines[: line + 1] + lines[line:]),
        "lines joined": lambda: "".join([*lines[:line], lines[line].rstrip("\n"), *lines[line + 1 :]]),
        "shuffled": lambda: "".join(rng.sample(lines, len(lines))),
        "put in": lambda: (
            text[:place] + rng.choice(["\n", "x", '"', ",", " ", "\0", "==5== Warning\n"]) + text[place:]
        ),
    }
    return kinds[rng.choice(sorted(kinds))]()


def values(items):
    return {
        (item.kernel, item.launch_id, name): value
        for item in items
        if isinstance(item, Run)
        for name, value in item.values.items()
    }


@pytest.mark.parametrize("seed", range(25))
def test_no_wrong_number_without_a_word(profiles, seed):
    for name, text in files(profiles).items():
        runs, problems = profiles.read(text)
        assert problems == []
        truth = values(runs)
        assert truth, name
        rng = random.Random(f"{name} {seed}")  # noqa: S311
        runs, problems = profiles.read(damaged(text, rng))
        wrong = {key: value for key, value in values(runs).items() if truth.get(key, value) != value}
        assert not wrong or problems, (name, wrong)


def test_a_value_in_the_unit_of_another_counter_is_refused(profiles):
    runs, problems = profiles.read(details().replace("inst/cycle", "%"))
    assert all("ipc" not in run.values for run in runs)
    assert ["a value of unit fraction, the counter has plain" in problem.message for problem in problems] == [
        True,
        True,
    ]


def test_a_sum_that_is_no_whole_number_is_refused(profiles):
    runs, problems = profiles.read(details().replace('"1,048,576"', '"1,048.576"', 1))
    assert ["dram_read_bytes" in run.values for run in runs] == [False, True]
    assert "the counter has whole numbers" in problems[0].message


def test_a_raw_page_without_its_row_of_units_gives_no_values(profiles):
    text = files(profiles)["raw"]
    lines = text.splitlines(keepends=True)
    runs, problems = profiles.read("".join([lines[0], *lines[2:]]))
    assert runs == []
    assert "no row of units" in problems[0].message


def test_a_value_of_a_known_title_in_a_unit_of_another_kind_is_refused(profiles):
    page = details().replace("sm__inst_executed.avg.per_cycle_active", "SM Frequency")
    runs, problems = profiles.read(page.replace("inst/cycle", "Kbyte"))
    assert all("SM Frequency" not in run.values for run in runs)
    assert ["SM Frequency has 1/s" in problem.message for problem in problems] == [True, True]


def test_a_metric_name_with_a_line_of_other_output_in_it_is_refused(profiles):
    runs, problems = profiles.read(details().replace("dram__bytes_read", "dram__byTest passed\ntes_read", 1))
    assert ["dram_read_bytes" in run.values for run in runs] == [False, True]
    assert [problem.message for problem in problems] == [
        "the metric name 'dram__byTest passed\\ntes_read.sum' is not one; value left out"
    ]


def test_a_compute_capability_with_a_comma_is_read(profiles):
    runs, problems = profiles.read(details(european).replace('"7.0"', '"7,0"'))
    assert ({run.capability for run in runs}, problems) == ({"7.0"}, [])


@pytest.mark.parametrize("kind", ["metrics", "trace", "by launch"])
@pytest.mark.parametrize(
    ("name", "word"), [("relax(int", "brackets that do not match"), ("196", "has no letter")]
)
def test_what_cannot_be_the_name_of_a_kernel_is_refused(profiles, kind, name, word):
    runs, problems = profiles.read(files(profiles)[kind].replace("relax(int)", name))
    assert {run.kernel for run in runs} == {"smooth(int, int)"}
    assert problems
    assert all(word in problem.message for problem in problems)


def test_a_trace_whose_device_is_no_device_is_refused(profiles):
    runs, problems = profiles.read(files(profiles)["trace"].replace("GeForce GTX 950 (0)", "196"))
    assert runs == []
    assert sum("has no number in parentheses" in problem.message for problem in problems) == 2


def test_of_two_kernels_with_other_metrics_both_are_marked(profiles):
    lines = profiles.profile(kernels=("relax(int)", "smooth(int, int)"), invocations=1).splitlines(True)
    first = [place for place, line in enumerate(lines) if "relax(int)" in line]
    kept = [line for place, line in enumerate(lines) if place not in (first[-1], first[-1] + 1)]
    runs, problems = profiles.read("".join(kept))
    total = len(first)
    assert [len(run.values) for run in runs] == [total - 1, total - 1]
    assert [f"has {total - 1} of {total} metrics" in problem.message for problem in problems] == [True, True]
