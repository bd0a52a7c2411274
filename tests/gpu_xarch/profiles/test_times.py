"""Times of launches join the counters of the same program, where there are exactly those launches."""

from __future__ import annotations

import pytest

from gpu_xarch import find_gpu, ingest, load_runs, own_pairs, plan_runs, write_simulation
from gpu_xarch.tables.applications import Naming

KERNEL = "saxpy(int, float, float const *, float*)"
TRACE = (
    '"Start","Duration","Grid X","Registers Per Thread","Static SMem","Device","Context","Stream","Name"\n'
    "ms,us,,,B,,,,\n"
)


def trace(profiles, *durations, grids=None, command="./saxpy.exe 1024"):
    rows = "".join(
        f'{i}.5,{duration},{(grids or [8] * 9)[i]},32,0,"Tesla P100-PCIE-16GB (0)","1","7","{KERNEL} [{i + 3}]"\n'
        for i, duration in enumerate(durations)
    )
    return (
        profiles.preamble.replace("Metric result:", "GPU trace:").replace("./saxpy.exe 1024", command)
        + TRACE
        + rows
    )


def table(tmp_path, *paths, **options):
    report = ingest(paths, tmp_path / "runs.parquet", **options)
    return report, load_runs(tmp_path / "runs.parquet")


@pytest.mark.parametrize("trace_first", [False, True])
def test_counters_get_the_mean_time_of_their_launches(profiles, tmp_path, trace_first):
    counters = profiles.write(profiles.profile({"ipc": "0.5"}, invocations=3), "counters.csv")
    times = profiles.write(trace(profiles, 10.0, 20.0, 60.0), "times.csv")
    order = (times, counters) if trace_first else (counters, times)
    for path in order:
        report, frame = table(tmp_path, path)
    row = frame.iloc[0]
    assert len(frame) == 1
    assert row["duration"] == pytest.approx(30e-6, rel=1e-12)
    assert (row["ipc"], row["invocations"], row["grid_x"], row["registers_per_thread"]) == (0.5, 3, 8.0, 32.0)
    assert set(row["file"].split(";")) == {str(counters), str(times)}
    assert table(tmp_path, counters, times)[0].already == 2
    assert report.failed == []


@pytest.mark.parametrize("turned", [False, True])
def test_each_of_two_boards_of_one_kind_keeps_its_own_values(profiles, tmp_path, turned):
    boards = ["Tesla P100-PCIE-16GB (0)", "Tesla P100-PCIE-16GB (1)"]

    def write(name, texts):
        return profiles.write("".join(reversed(texts) if turned and name != "a.csv" else texts), name)

    paths = [
        write(
            "a.csv",
            [profiles.profile({"ipc": f"0.{n + 4}"}, device=boards[n], invocations=2) for n in (0, 1)],
        ),
        write(
            "b.csv",
            [
                profiles.profile({"sm_efficiency": f"{n + 4}0%"}, device=boards[n], invocations=2)
                for n in (0, 1)
            ],
        ),
        write(
            "c.csv",
            [trace(profiles, 10.0, 20.0), trace(profiles, 30.0, 60.0).replace("16GB (0)", "16GB (1)")],
        ),
    ]
    for path in paths:
        _, frame = table(tmp_path, path)
    assert sorted(frame[["device_name", "ipc", "sm_efficiency", "duration"]].itertuples(index=False)) == [
        (boards[0], 0.4, 0.4, pytest.approx(15e-6)),
        (boards[1], 0.5, 0.5, pytest.approx(45e-6)),
    ]


def test_the_times_of_one_board_are_not_those_of_another_that_has_counters(profiles, tmp_path):
    boards = ["Tesla P100-PCIE-16GB (0)", "Tesla P100-PCIE-16GB (1)"]
    counters = [profiles.profile({"ipc": f"0.{n + 4}"}, device=boards[n], invocations=2) for n in (0, 1)]
    path = profiles.write("".join(counters), "a.csv")
    table(tmp_path, path)
    _, frame = table(tmp_path, profiles.write(trace(profiles, 10.0, 20.0), "b.csv"))
    assert dict(zip(frame["device_name"], frame["duration"], strict=True)) == {
        boards[0]: pytest.approx(15e-6),
        boards[1]: pytest.approx(float("nan"), nan_ok=True),
    }
    second = trace(profiles, 30.0, 60.0).replace("16GB (0)", "16GB (1)")
    _, frame = table(tmp_path, profiles.write(second, "c.csv"))
    assert dict(zip(frame["device_name"], frame["duration"], strict=True)) == {
        boards[0]: pytest.approx(15e-6),
        boards[1]: pytest.approx(45e-6),
    }


def test_a_size_that_differs_between_launches_is_left_out(profiles, tmp_path):
    counters = profiles.write(profiles.profile({"ipc": "0.5"}, invocations=2), "counters.csv")
    times = profiles.write(trace(profiles, 10.0, 20.0, grids=[8, 4]), "times.csv")
    _, frame = table(tmp_path, counters, times)
    assert frame["grid_x"].isna().all()
    assert frame["duration"].tolist() == pytest.approx([15e-6])


def test_other_launches_are_not_joined_and_said_so(profiles, tmp_path):
    counters = profiles.write(profiles.profile({"ipc": "0.5"}, invocations=3), "counters.csv")
    times = profiles.write(trace(profiles, 10.0, 20.0), "times.csv")
    report, frame = table(tmp_path, counters, times)
    assert len(frame) == 3
    assert frame.loc[frame["launch"].isna(), "duration"].isna().all()
    assert ["counters of 3 launches, times of 2; not joined" in p.message for p in report.problems] == [True]


@pytest.mark.parametrize("command", ["./saxpy.exe 2048", "./axpy.exe 1024"])
def test_times_of_another_program_or_input_stay_apart(profiles, tmp_path, command):
    counters = profiles.write(profiles.profile({"ipc": "0.5"}, invocations=1), "counters.csv")
    times = profiles.write(trace(profiles, 10.0, command=command), "times.csv")
    report, frame = table(tmp_path, counters, times)
    assert (len(frame), report.problems) == (2, [])


def test_a_launch_profiled_alone_gets_its_own_time(profiles, tmp_path):
    by_launch = profiles.preamble + (
        '"Device","Context","Stream","Grid X","Kernel","Executed IPC"\n,,,,,\n'
        f'"Tesla P100-PCIE-16GB (0)","1","7",8,"{KERNEL} [3]",0.5\n'
        f'"Tesla P100-PCIE-16GB (0)","1","7",8,"{KERNEL} [4]",0.25\n'
    )
    counters = profiles.write(by_launch, "counters.csv")
    times = profiles.write(trace(profiles, 10.0, 20.0), "times.csv")
    _, frame = table(tmp_path, counters, times)
    found = frame.sort_values("launch")[["launch", "ipc", "duration"]].to_numpy(float).tolist()
    assert found == [[0, 0.5, pytest.approx(10e-6)], [1, 0.25, pytest.approx(20e-6)]]


def test_sums_of_nsight_systems_join_counters_of_nvprof(profiles, tmp_path):
    counters = profiles.write(profiles.profile({"ipc": "0.5"}, invocations=40), "saxpy/n1024/counters.csv")
    sums = (
        "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name\n"
        f'80.0,4000000,40,100000.0,99990.0,98000,104000,900.0,"{KERNEL}"\n'
    )
    times = profiles.write(sums, "saxpy/n1024/times.csv")
    naming = Naming.of(app_from=r"(?P<application>saxpy)/n(?P<input>\d+)", device="P100")
    _, frame = table(tmp_path, counters, times, naming=naming)
    assert frame["duration"].tolist() == [pytest.approx(1e-4)]
    assert (frame["tool"][0], frame["ipc"][0]) == ("nvprof;nsys", 0.5)


def test_simulated_traces_bring_times_to_simulated_counters(tmp_path):
    gpus = [find_gpu("P100")]
    files = write_simulation(gpus, plan_runs(60), tmp_path / "sim", times=True)
    assert len(list((tmp_path / "sim").rglob("*.csv"))) == 2 * len(files)
    _, frame = table(tmp_path, tmp_path / "sim")
    assert len(frame) == 60
    assert frame["duration"].between(1e-6, 1).all()
    assert frame["simulated"].all()
    moved = frame["l2_read_transactions"] * 32 / frame["l2_read_throughput"]
    big = frame["l2_read_transactions"] > 1e5
    assert (moved / frame["duration"])[big].tolist() == pytest.approx([1.0] * int(big.sum()), rel=1e-3)


def test_the_packages_own_pairs_have_times_when_asked(tmp_path):
    assert "dest.duration" in own_pairs(60, times=True)
    assert "dest.duration" not in own_pairs(60)


@pytest.mark.shared_data
def test_real_counters_and_traces_of_four_programs(shared_data, tmp_path):
    folder = shared_data / "nvprof"
    _, frame = table(tmp_path, folder / "gtx1080ti", folder / "trace_gtx1080ti")
    assert len(frame) == 158
    timed = frame[frame["duration"].notna()]
    assert sorted(set(timed["application"])) == ["backprop", "gaussian", "hybridsort", "vectorAdd"]
    assert (len(timed), int(timed["invocations"].sum())) == (12, 101)
    add = timed[timed["application"] == "vectorAdd"].iloc[0]
    assert add["duration"] == pytest.approx(2.208e-6)
