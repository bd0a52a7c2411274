"""The real profiles: every file, counted a second time in another way."""

from __future__ import annotations

import csv
import gzip
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.profiles.readers.table import load_map, table_reader
from gpu_xarch.profiles.times import TIMES
from gpu_xarch.tables.inspection import describe
from gpu_xarch.tables.memory_bound import label_runs
from gpu_xarch.tables.pairs import pair_runs
from gpu_xarch.tables.runs import load_runs, metric_columns

pytestmark = pytest.mark.shared_data
SUFFIX = {"B/s": 1.0, "KB/s": 2.0**10, "MB/s": 2.0**20, "GB/s": 2.0**30}


def count_aggregates(folder: Path) -> dict[tuple[str, str, str, str], dict[str, list[str]]]:
    """Read the aggregate files with nothing but a CSV reader: rows by (file, device, kernel, invocations)."""
    found: dict[tuple[str, str, str, str], dict[str, list[str]]] = defaultdict(dict)
    for path in sorted(folder.glob("gtx*/**/*.csv")):
        with path.open(newline="") as file:
            for row in csv.reader(file):
                if len(row) == 8 and row[0].startswith("GeForce"):
                    found[str(path), row[0], row[1], row[2]][row[3]] = row[5:]
    return found


def test_all_nvprof_files_agree_with_an_independent_count(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    report = ingest([shared_data / "nvprof"], out)
    assert report.failed == []
    # nvprof itself printed two hit rates of 102 and 120 %
    assert ["l2_tex_read_hit_rate" in problem.message for problem in report.problems] == [True, True]
    assert (report.files, report.read, report.skipped) == (146, 144, 2)
    frame = load_runs(out)
    truth = count_aggregates(shared_data / "nvprof")
    aggregates = frame[frame["launch"].isna()]
    assert len(truth) == len(aggregates) == 445
    assert sum(len(metrics) for metrics in truth.values()) == 287 * 113 + 158 * 120
    names = [name for name in metric_columns(frame.columns) if name not in TIMES | {"dram_throughput"}]
    assert int(aggregates[names].notna().sum().sum()) == 287 * 113 + 158 * 120 - report.refused
    rows = {
        (r["file"].split(";")[0], r["device_name"], r["kernel_name"], str(r["invocations"])): r
        for _, r in aggregates.iterrows()
    }
    alias = {"executed_ipc": "ipc", "sm_activity": "sm_efficiency"}
    for key, metrics in truth.items():
        row = rows[key]
        for name, (low, high, mean) in metrics.items():
            want = plain(low if low == high else mean)
            if name == row["refused"]:
                continue
            got = row[alias.get(name, name)]
            if low == high or not mean.endswith("B/s"):
                assert got == pytest.approx(want, rel=1e-12), (key, name)
            else:
                assert abs(got - want) <= 1.001e6, (key, name)


def plain(text: str) -> float:
    number, suffix = re.fullmatch(r"([\d.e+-]+)(.*)", text).groups() if text[0].isdigit() else (text, "level")
    if suffix == "level":
        return float(text.partition("(")[2].rstrip(")"))
    return float(number) * (0.01 if suffix == "%" else SUFFIX.get(suffix, 1.0))


def test_traces_have_a_run_for_each_launch(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    folder = shared_data / "nvprof" / "trace_gtx1080ti"
    ingest([folder], out)
    launches = 0
    for path in folder.glob("*.csv"):
        lines = path.read_text().splitlines()
        launches += sum(line.endswith(']"') and "[CUDA" not in line for line in lines)
    frame = load_runs(out)
    assert len(frame) == launches == 101
    assert frame["duration"].between(1e-7, 1.0).all()
    backprop = frame[frame["application"] == "backprop"].set_index("kernel_name")
    first = backprop.loc["bpnn_layerforward_CUDA(float*, float*, float*, float*, int, int)"]
    assert first["shared_static"] == 1088.0
    assert first["duration"] == pytest.approx(72.547e-6)


def test_units_are_powers_of_1024(shared_data: Path, tmp_path: Path) -> None:
    """Times out of sectors x 32 bytes / throughput agree between rows printed in MB/s and in GB/s."""
    out = tmp_path / "runs.parquet"
    ingest([shared_data / "nvprof" / "gtx950"], out)
    frame = load_runs(out)
    frame = frame[
        (frame["invocations"] == 1)
        & (frame["l2_read_transactions"] > 1000)
        & (frame["l2_write_transactions"] > 1000)
    ]
    time = {
        name: frame[f"{name}_transactions"] * 32 / frame[f"{name}_throughput"]
        for name in ("l2_read", "l2_write")
    }
    small, large = frame["l2_write_throughput"] < 2.0**30, frame["l2_read_throughput"] >= 2.0**30
    ratio = (time["l2_write"] / time["l2_read"])[small & large]
    assert len(ratio) >= 5
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)


def test_both_gpus_pair_on_application_kernel_and_invocations(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    ingest([shared_data / "nvprof" / "gtx950", shared_data / "nvprof" / "gtx1080ti"], out)
    frame = load_runs(out)
    on = ("application", "kernel", "invocations")
    pairing = pair_runs(frame, source="GTX 950", dest="GTX 1080 Ti", on=on)
    # all but 11 of the 158 kernels of the GTX 1080 Ti have a partner
    assert len(pairing.pairs) == 147
    assert pairing.ambiguous == []
    assert pairing.reasons() == {
        "source: application": 137,
        "source: kernel": 2,
        "source: invocations": 1,
        "dest: application": 8,
        "dest: kernel": 2,
        "dest: invocations": 1,
    }
    assert (
        pairing.pairs["source.inst_executed"] / pairing.pairs["dest.inst_executed"]
    ).median() == pytest.approx(1, abs=0.1)
    # with the input: the GTX 1080 Ti's programs were given the device number, so no run matches
    assert len(pair_runs(frame, source="GTX 950", dest="GTX 1080 Ti").pairs) == 0
    assert set(label_runs(frame)["memory_bound"]) == {0.0, 1.0}
    assert describe(frame)["impossible"] == []
    assert describe(frame)["refused"] == {"l2_tex_read_hit_rate": 2}


def test_nsight_compute_log(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    report = ingest([shared_data / "ncu"], out)
    assert (report.failed, report.problems, report.new) == ([], [], 1)
    row = load_runs(out).iloc[0]
    lines = (shared_data / "ncu" / "cublaslt_ncu.log").read_text().splitlines()
    metrics = [
        r for r in csv.reader(line for line in lines if line.startswith('"0"')) if r[12] and r[14] != ""
    ]
    numeric = [r for r in metrics if re.fullmatch(r"[\d.,]+", r[14])]
    assert len(metrics) - len(numeric) == 3  # two policies and "all"
    values = {name: row[name] for name in metric_columns(row.index) if row[name] == row[name]}
    assert len(values) == len(numeric) + 6  # grid and block sizes come from their own columns
    assert values["duration"] == pytest.approx(406240e-9)
    assert values["achieved_occupancy"] == pytest.approx(0.1553)
    assert values["registers_per_thread"] == 168
    assert row["device"] == "CC 10.0"
    assert row["application"] == "cublaslt_gemm"


@pytest.mark.slow
def test_gpuperfpredict_through_its_map(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    folder = shared_data / "gpuperfpredict"
    files = [
        path
        for path in sorted(folder.glob("*.gz"))
        if "calculate" not in path.name and "kernel" not in path.name
    ]
    files = [path for path in files if re.search("K40|P100", path.name)]
    report = ingest(files, out, reader=table_reader(load_map("gpuperfpredict")))
    rows = 0
    for path in files:
        with gzip.open(path, "rt") as file:
            rows += sum(1 for _ in file) - 1
    assert (report.failed, report.problems, report.new) == ([], [], rows)
    frame = load_runs(out)
    assert set(frame["device"]) == {"K40", "P100"}
    pairing = pair_runs(frame, source="K40", dest="P100")
    assert len(pairing.pairs) == rows // 2
    assert (pairing.unmatched, pairing.ambiguous) == ([], [])
    pairs = pairing.pairs
    # KB on the P100, bytes on the K40: one and the same after the map
    assert (pairs["source.shared_static"] == pairs["dest.shared_static"]).all()
    # one block: the P100's own executed_ipc is 33 times too low
    diagonal = pairs[pairs["kernel"] == "lud_diagonal"]
    ratio = (diagonal["dest.ipc"] / diagonal["source.ipc"]).median()
    assert 0.5 < ratio < 2.5
    assert diagonal["dest.achieved_occupancy"].median() == pytest.approx(1 / 64, rel=0.02)
    assert pairs["dest.dram_read_throughput"].max() < 732e9
