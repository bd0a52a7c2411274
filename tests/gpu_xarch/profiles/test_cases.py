"""Small files that were once read wrong, beside the checkout; each kind has a test of its own elsewhere."""

from __future__ import annotations

import pytest

from gpu_xarch import ingest, load_runs, read_runs

pytestmark = pytest.mark.shared_data


@pytest.fixture
def cases(shared_data):
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


def test_european_locale(cases, tmp_path):
    path = cases / "ncu_european_locale.csv"
    (run,) = read_runs(path)
    assert run.values["duration"] == pytest.approx(2.43968e-4)
    assert (run.values["ipc"], run.values["sm_throughput"], run.values["dram_read_bytes"]) == (
        1.482,
        0.7104,
        33554432,
    )
    kept = [
        line for line in path.read_text().splitlines() if "71,04" not in line and "33.554.432" not in line
    ]
    short = tmp_path / "short.csv"
    short.write_text("\n".join(kept) + "\n")
    (problem,) = read_runs(short)
    assert (problem.kind, problem.fatal) == ("ambiguous", True)


def test_events_metrics_and_a_second_pass(cases, tmp_path):
    out = tmp_path / "runs.parquet"
    ingest(cases / "nvprof_events_and_metrics.csv", out)
    ingest(cases / "nvprof_second_pass.csv", out)
    frame = load_runs(out)
    assert len(frame) == 1
    row = frame.iloc[0]
    assert (row["ipc"], row["event.warps_launched"], row["event.active_cycles"]) == (0.32216, 3136, 94210)
    assert row["dram_read_throughput"] == pytest.approx(288.913 * 1024**3)
    assert row["dram_write_throughput"] == pytest.approx(144.205 * 1024**3)


def test_nsight_systems(cases):
    runs = list(read_runs(cases / "nsys_cuda_gpu_kern_sum.csv"))
    assert [(run.invocations, run.values["duration"]) for run in runs] == [
        (128, pytest.approx(65720e-9)),
        (64, pytest.approx(52650e-9)),
    ]
