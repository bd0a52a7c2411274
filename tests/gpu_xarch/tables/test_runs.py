"""Files into the table, and what the table says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_xarch.errors import InputError
from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.profiles.readers.table import load_map, table_reader
from gpu_xarch.tables.applications import Naming, from_command, from_path
from gpu_xarch.tables.inspection import describe
from gpu_xarch.tables.memory_bound import label_runs
from gpu_xarch.tables.runs import load_runs, read_arrow, table_units, write_runs


def test_a_profile_becomes_rows_with_provenance_and_units(profiles: Any, tmp_path: Path) -> None:
    path = profiles.write(profiles.profile())
    out = tmp_path / "runs.parquet"
    report = ingest([path], out)
    frame = load_runs(out)
    assert (report.read, report.new, len(frame)) == (1, 1, 1)
    row = frame.iloc[0]
    assert (row["device"], row["application"], row["input"]) == ("P100", "saxpy", "1024")
    assert row["kernel"] == "saxpy(int,float,const float*,float*)"
    assert row["kernel_name"] == "saxpy(int, float, float const *, float*)"
    assert (row["file"], row["line"], row["tool"]) == (str(path), 6, "nvprof")
    assert row["dram_throughput"] == 1.5 * 1024**3 + 512 * 1024**2
    units = table_units(read_arrow(out))
    assert (units["ipc"], units["dram_throughput"], units["sm_efficiency"]) == (
        "1/cycle",
        "bytes/s",
        "fraction",
    )


def test_the_same_files_twice_add_nothing(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    text = profiles.profile(kernels=["a()", "b()"])
    ingest([profiles.write(text)], out)
    again = ingest([profiles.write(text)], out)
    copied = ingest([profiles.write(text, "copy.csv")], out)
    longer = ingest([profiles.write(text + profiles.row("ipc", "0.3", "c()"), "grown.csv")], out)
    assert (again.already, again.new) == (1, 0)
    assert (copied.already, copied.new) == (1, 0)
    assert (longer.duplicate, longer.new) == (2, 1)
    assert len(load_runs(out)) == 3


def test_metrics_measured_in_several_goes_are_one_run(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    one = profiles.write(profiles.profile({"ipc": "0.5"}), "one.csv")
    two = profiles.write(profiles.profile({"sm_efficiency": "50.0%"}), "two.csv")
    report = ingest([one, two], out)
    frame = load_runs(out)
    assert (len(frame), report.merged) == (1, 1)
    assert (frame["ipc"][0], frame["sm_efficiency"][0]) == (0.5, 0.5)
    assert frame["file"][0] == f"{one};{two}"
    assert ingest([one, two], out).already == 2


EVENTS = '"Device","Kernel","Invocations","Event Name","Min","Max","Avg","Total"\n'
KERNEL = "saxpy(int, float, float const *, float*)"


def events(active: int) -> str:
    return (
        EVENTS
        + f'"Tesla P100-PCIE-16GB (0)","{KERNEL}",1,"active_cycles",{active},{active},{active},{active}\n'
    )


def test_events_and_metrics_of_one_run_are_one_row_and_a_second_pass_joins_it(
    profiles: Any, tmp_path: Path
) -> None:
    out = tmp_path / "runs.parquet"
    read, write = {"ipc": "0.5", "dram_read_throughput": "1.0GB/s"}, {"dram_write_throughput": "2.0GB/s"}
    text = profiles.profile(read).replace(profiles.header, events(77) + profiles.header)
    one, two = profiles.write(text, "one.csv"), profiles.write(profiles.profile(write), "two.csv")
    assert ingest(one, out).merged == 1
    row = load_runs(out).iloc[0]
    assert (row["event.active_cycles"], row["ipc"]) == (77.0, 0.5)
    ingest(two, out)
    frame = load_runs(out)
    assert len(frame) == 1
    assert frame["dram_throughput"][0] == 3 * 1024**3
    # the second pass under another name, with another line end, is known again
    copied = profiles.write(profiles.profile(write).replace("\n", "\r\n"), "copy.csv")
    assert (ingest(copied, out).duplicate, len(load_runs(out))) == (1, 1)


def test_two_processes_in_one_file_stay_two_runs(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    parts = [
        profiles.profile({"ipc": ipc}).replace(profiles.header, events(active) + profiles.header)
        for ipc, active in (("0.5", 77), ("0.25", 99))
    ]
    ingest(profiles.write("".join(parts)), out)
    frame = load_runs(out).sort_values("ipc")
    assert frame[["ipc", "event.active_cycles"]].to_numpy().tolist() == [[0.25, 99.0], [0.5, 77.0]]


def test_a_table_of_an_older_version_is_refused(profiles: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "runs.parquet"
    ingest(profiles.write(profiles.profile()), out)
    table = pq.read_table(out)
    pq.write_table(table.replace_schema_metadata({"gpu_xarch.format": "1"}), out)
    with pytest.raises(InputError, match="written by another version: make it again"):
        load_runs(out)


def test_repeated_measurements_stay_apart_and_are_counted(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    ingest([profiles.write(profiles.profile({"ipc": v}), f"{v}.csv") for v in ("0.5", "0.6", "0.7")], out)
    facts = describe(load_runs(out))
    assert facts["repeated"] == {"keys": 1, "runs": 2}
    assert facts["files"] == 3


def test_events_are_no_unknown_metrics(profiles: Any, tmp_path: Path) -> None:
    events = profiles.preamble.replace("Metric", "Event") + (
        '"Device","Kernel","Invocations","Event Name","Min","Max","Avg","Total"\n'
        '"Tesla K40c (0)","saxpy(int)",4,"warps_launched",10,20,15,60\n'
    )
    metrics = profiles.profile({"mine": "0.5"}, device="Tesla K40c (0)", kernels=["other(int)"])
    ingest([profiles.write(events, "e.csv"), profiles.write(metrics, "m.csv")], tmp_path / "runs.parquet")
    assert describe(load_runs(tmp_path / "runs.parquet"))["unknown_metrics"] == ["mine"]


def test_one_bad_file_does_not_stop_the_others(profiles: Any, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    profiles.write(profiles.profile(), "all/good.csv")
    profiles.write(profiles.preamble + "==1== Warning: No kernels were profiled.\n", "all/none.csv")
    profiles.write(b"\x1f\x8b\x08broken", "all/broken.csv.gz")
    profiles.write("just notes\n", "all/README.txt")
    report = ingest([folder], tmp_path / "runs.parquet")
    assert (report.files, report.read, report.skipped) == (4, 1, 1)
    assert sorted(problem.kind for problem in report.failed) == ["no-kernels", "unreadable"]


def test_nothing_to_read_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(InputError, match="no profile of nvprof or Nsight in "):
        ingest([tmp_path], tmp_path / "runs.parquet")
    with pytest.raises(InputError, match="no such file"):
        ingest([tmp_path / "nowhere"], tmp_path / "runs.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="cannot read the table"):
        ingest([tmp_path], tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("command", "application", "arguments"),
    [
        ("./2mm.exe", "2mm", ""),
        ("cuda/lud_cuda -s 256 -v", "lud_cuda", "-s 256 -v"),
        ("OMP_NUM_THREADS=4 ./app 5", "app", "5"),
        ("/usr/bin/python3.10 -m pkg", "python3.10", "-m pkg"),
        ("timeout 60s ./b 'x y'", "b", "x y"),
        ("C:\\apps\\run.exe 3", "run", "3"),
        ("it's", "it's", ""),
        ("", "", ""),
    ],
)
def test_command_lines(command: str, application: str, arguments: str) -> None:
    assert from_command(command.replace("\\", "/") if ":" in command else command) == (application, arguments)


def test_application_from_pattern_manifest_and_path(profiles: Any, tmp_path: Path) -> None:
    text = (
        profiles.profile()
        .replace("command: ./saxpy.exe 1024", "")
        .replace("application: ./saxpy.exe 1024", "")
    )
    path = profiles.write(text, "suite/size7/metrics_rodinia_nw.csv")
    assert from_path(path) == "rodinia_nw"
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("file,application,input,device\nsuite/*nw.csv,needle,2048 10,K40\n")
    for number, (naming, want) in enumerate(
        (
            (Naming.of(), ("P100", "rodinia_nw", "")),
            (Naming.of(app_from=r"size(?P<input>\d+)/metrics_\w+_(?P<application>\w+)"), ("P100", "nw", "7")),
            (Naming.of(manifest, r"(?P<application>suite)"), ("K40", "needle", "2048 10")),
        )
    ):
        out = tmp_path / f"{number}.parquet"
        ingest([path], out, naming=naming)
        row = load_runs(out).iloc[0]
        assert (row["device"], row["application"], row["input"]) == want


@pytest.mark.parametrize("pattern", ["(", "(?P<other>x)"])
def test_a_pattern_that_cannot_serve_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="--app-from"):
        Naming.of(app_from=pattern)


def test_throughput_above_the_peak_is_shown_and_kept(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    metrics = {"dram_read_throughput": "700.0GB/s", "dram_write_throughput": "1.0GB/s"}
    path = profiles.write(profiles.profile(metrics))
    assert ingest([path], out).refused == 0  # a board of another make may have a faster memory
    found = {item["metric"]: item for item in describe(load_runs(out))["impossible"]}
    assert set(found) == {"dram_read_throughput", "dram_throughput"}
    assert found["dram_throughput"]["limit"] == pytest.approx(732e9 * 1.02)
    assert found["dram_read_throughput"]["example"] == f"{path}:6"


def test_outliers_lie_decades_away(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    text = profiles.profile({})
    text += "".join(profiles.row("inst_executed", str(1000 + i), f"k{i}()") for i in range(30))
    text += profiles.row("inst_executed", "90000000", "far()")
    ingest([profiles.write(text)], out)
    assert [item["kernel"] for item in describe(load_runs(out))["outliers"]] == ["far()"]


def test_labels_follow_the_published_rule(profiles: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    text = profiles.profile({})
    for kernel, read, write in (("a()", 400, 150), ("b()", 400, 90), ("c()", 10, 0)):
        text += profiles.row("dram_read_throughput", f"{read}.0GB/s", kernel)
        text += profiles.row("dram_write_throughput", f"{write}.0GB/s", kernel)
    text += profiles.row("ipc", "1.0", "d()")
    ingest([profiles.write(text)], out)
    frame = load_runs(out)
    labels = dict(zip(frame["kernel"], label_runs(frame)["memory_bound"], strict=True))
    assert (labels["a()"], labels["b()"], labels["c()"]) == (1.0, 0.0, 0.0)
    assert np.isnan(labels["d()"])
    higher = label_runs(frame, peaks={"P100": 1e12})
    assert higher["memory_bound"].sum() == 0
    assert higher["bandwidth_fraction"].max() == pytest.approx(550 * 1024**3 / 1e12)
    write_runs(higher, out)
    assert load_runs(out).attrs["units"]["memory_bound"] == "label"
    for wrong in (
        {"threshold": 0.0},
        {"threshold": float("nan")},
        {"peaks": {"P100": -1.0}},
        {"peaks": {"K40": 1e9}},
    ):
        with pytest.raises(InputError, match=r"."):
            label_runs(frame, **wrong)


def test_a_table_of_somebody_else(profiles: Any, tmp_path: Path) -> None:
    rule = tmp_path / "map.json"
    rule.write_text(
        '{"device": {"column": "gpu"}, "kernel": {"column": "k"}, "application": {"value": "app"},'
        '"input": {"columns": ["n"]}, "launch": {"column": "id"}, "metrics": {"duration": {"column": "t", "unit": "us"},'  # noqa: E501
        '"shared_static": {"column": "s", "unit": "B", "unit_where": {"column": "gpu", "units": {"Tesla-P100": "KB"}}},'
        '"ipc": {"multiply": ["i"], "divide": ["c"]}}}'
    )
    table = profiles.write(
        "id,gpu,k,n,t,s,i,c,own\n0,Tesla-P100,f,5,2.5,1.0625,30,60,7\n1,Tesla-K40,f,5,2.5,1088,30,0,7\n2,Tesla-K40,f,5,x,NA,30,15,7\n"
    )
    out = tmp_path / "runs.parquet"
    report = ingest([table], out, reader=table_reader(load_map(str(rule))))
    frame = load_runs(out).sort_values("launch")
    assert frame["device"].tolist() == ["P100", "K40", "K40"]
    assert frame["input"].tolist() == ["n=5"] * 3
    assert frame["shared_static"].tolist()[:2] == [1088.0, 1088.0]
    assert frame["ipc"].tolist()[::2] == [0.5, 2.0]
    assert frame["own"].tolist() == [7.0] * 3
    assert [problem.line for problem in report.problems] == [3, 4]


def test_a_table_of_a_european_locale(profiles: Any, tmp_path: Path) -> None:
    rule = tmp_path / "map.json"
    rule.write_text(
        '{"device": {"column": "gpu"}, "kernel": {"column": "k"}, "input": {"column": "n"},'
        '"metrics": {"duration": {"column": "t", "unit": "us"}, "ipc": "i"}}'
    )
    text = 'gpu,k,n,t,i\nTesla-P100,f,1.5,"1.234,5","0,875"\nTesla-P100,g,2.5,"2.345","0,5"\n'
    ingest(profiles.write(text), tmp_path / "runs.parquet", reader=table_reader(load_map(str(rule))))
    frame = load_runs(tmp_path / "runs.parquet").sort_values("kernel")
    assert frame["duration"].tolist() == pytest.approx([1.2345e-3, 2.345e-3])
    assert frame["ipc"].tolist() == [0.875, 0.5]
    mixed = profiles.write(text.replace('"0,5"', '"0.5"'), "mixed.csv")
    (problem,) = table_reader(load_map(str(rule)))(mixed)
    assert (problem.kind, problem.fatal) == ("ambiguous", True)
    told = list(table_reader(load_map(str(rule)), decimal=".")(mixed))
    assert [item.kind for item in told if not hasattr(item, "values")] == ["number", "number"]


@pytest.mark.parametrize(
    "text",
    ["nonsense", "[]", '{"metrics": {}}', '{"device": {"column": "a"}, "kernel": {"column": "b"}, "metrics": {"x": {}}}',  # noqa: E501
     '{"device": {"column": "a"}, "kernel": {"column": "b"}, "metrics": {"x": {"column": "c", "unit": "furlong"}}}',
     '{"device": "a", "kernel": {"column": "b"}, "metrics": {}}', '{"devise": {}, "metrics": {}}'],
)  # fmt: skip
def test_a_map_that_cannot_serve_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(InputError, match="column map"):
        load_map(str(path))
