"""Values that no device can have are refused at the door, counted and named."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_xarch import describe, ingest, load_runs, make_problem, registry, training_data
from gpu_xarch.tables.applications import Naming
from gpu_xarch.tables.limits import limits


def table(profiles, tmp_path, metrics, **options):
    path = profiles.write(profiles.profile(metrics, **options))
    report = ingest(path, tmp_path / "runs.parquet")
    return report, load_runs(tmp_path / "runs.parquet").iloc[0]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ipc", "4.5", "above the issue width of the multiprocessor, 4"),
        ("sm_efficiency", "150.0%", "above 1, all that its definition allows"),
        ("achieved_occupancy", "1.5", "above 1"),
        ("shared_efficiency", "450.0%", "above 4"),
        ("inst_executed", "-7", "below zero"),
        ("dram_read_throughput", "-1.0GB/s", "below zero"),
        ("eligible_warps_per_cycle", "65.0", "above the 64 warps"),
    ],
)
def test_an_impossible_value_is_left_out_with_a_word(profiles, tmp_path, name, text, why):
    report, row = table(profiles, tmp_path, {"inst_integer": "5", name: text})
    assert np.isnan(row[name])
    assert (row["refused"], report.refused) == (name, 1)
    (problem,) = report.problems
    assert (problem.kind, problem.line) == ("impossible", 6)
    assert why in problem.message
    assert describe(load_runs(tmp_path / "runs.parquet"))["refused"] == {name: 1}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("shared_efficiency", "180.0%", 1.8),
        ("gld_efficiency", "800.0%", 8.0),
        ("sm_efficiency", "100.4%", 1.004),
        ("ipc", "4.0", 4.0),
    ],
)
def test_what_the_definition_allows_stays(profiles, tmp_path, name, text, value):
    report, row = table(profiles, tmp_path, {name: text})
    assert row[name] == pytest.approx(value)
    assert (report.refused, row["refused"]) == (0, "")


def test_a_sum_is_not_made_of_a_refused_part(profiles, tmp_path):
    metrics = {"dram_read_throughput": "-1.0GB/s", "dram_write_throughput": "9.0GB/s"}
    _, row = table(profiles, tmp_path, metrics)
    assert row["dram_write_throughput"] == 9 * 1024**3
    assert np.isnan(row.get("dram_throughput", np.nan))


def test_the_issue_width_is_that_of_the_device(profiles, tmp_path):
    report, row = table(profiles, tmp_path, {"ipc": "4.5"}, device="Tesla K40c (0)")
    assert (report.refused, row["ipc"]) == (0, 4.5)
    assert table(profiles, tmp_path, {"ipc": "8.5"}, device="Tesla K40c (0)")[0].refused == 1


def test_a_device_without_data_sheet_is_not_judged_by_one(profiles, tmp_path):
    report, row = table(profiles, tmp_path, {"ipc": "4.5"}, device="Voodoo 2 (0)")
    assert (report.refused, row["ipc"]) == (0, 4.5)


def test_a_second_pass_does_not_bring_a_refused_value_back_as_another_run(profiles, tmp_path):
    one = profiles.write(profiles.profile({"ipc": "9.0", "inst_integer": "5"}), "one.csv")
    two = profiles.write(profiles.profile({"ipc": "9.5", "sm_efficiency": "50.0%"}), "two.csv")
    ingest([one, two], tmp_path / "runs.parquet")
    assert load_runs(tmp_path / "runs.parquet")["refused"].tolist() == ["ipc", "ipc"]


def test_every_share_and_level_has_a_limit_and_counts_have_none():
    for name, metric in registry().items():
        bounded = metric.unit in ("fraction", "level", "label") or (
            metric.kind == "launch" and name != "waves_per_sm"
        )
        assert (metric.most < np.inf) == bounded, name
    assert limits("shared_efficiency")[1] > 1.8
    assert limits("not_registered") == ("", np.inf)


@pytest.mark.parametrize(("device", "kept"), [("RTX 3090", "RTX 3090"), ("P100", "CC 8.6"), ("mine", "mine")])
def test_the_capability_in_a_row_beats_the_name_that_the_user_gave(profiles, tmp_path, device, kept):
    text = (
        '"ID","Process ID","Process Name","Kernel Name","CC","Metric Name","Metric Unit","Metric Value"\n'
        '"0","3","relax","relax(int)","8.6","Duration","nsecond","1,234.5"\n'
        '"1","3","relax","relax(int)","8.6","Duration","nsecond","1,334.5"\n'
    )
    report = ingest(profiles.write(text), tmp_path / "runs.parquet", naming=Naming.of(device=device))
    assert load_runs(tmp_path / "runs.parquet")["device"].tolist() == [kept, kept]
    words = [problem.message for problem in report.problems]
    told = ["the rows are of compute capability 8.6, P100 has 6.0: kept as runs of CC 8.6"]
    assert words == (told if kept == "CC 8.6" else [])


def test_refused_values_are_counted_at_train(profiles, tmp_path):
    kernels = [f"relax_{i}(int)" for i in range(24)]
    text = profiles.profile({}) + "".join(
        profiles.row("ipc", f"0.{i + 10}", kernel)
        + profiles.row("sm_efficiency", "130.0%" if i < 3 else "50.0%", kernel)
        + profiles.row("inst_integer", str(100 + i), kernel)
        for i, kernel in enumerate(kernels)
    )
    ingest(profiles.write(text), tmp_path / "runs.parquet")
    rows = training_data(load_runs(tmp_path / "runs.parquet"), make_problem("ipc", "P100"))
    assert (len(rows), rows.refused) == (24, 3)
    assert rows.left_out["sm_efficiency"] == "missing in 3 rows"
