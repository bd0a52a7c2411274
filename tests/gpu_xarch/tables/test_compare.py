"""Two runs of the same programs on one GPU, before and after."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from gpu_xarch import InputError, compare_runs, export_csv, ingest, load_pairs, load_runs, pair, write_pairs
from proxima_cli.xarch import main

COUNTERS = {"ipc": "0.5", "inst_executed": "1000", "sm_efficiency": "50.0%"}


@pytest.fixture
def tables(profiles, tmp_path):
    """Two kernels before and after: the first becomes twice as fast, a third is new."""
    trace = '"Start","Duration","Device","Context","Stream","Name"\nms,us,,,,\n'
    found = []
    for side, times, ipc in (
        ("before", {"f(int)": 40.0, "g(int)": 10.0}, "0.5"),
        ("after", {"f(int)": 20.0, "g(int)": 10.0, "h(int)": 5.0}, "1.0"),
    ):
        counters = profiles.profile(COUNTERS | {"ipc": ipc}, kernels=times)
        rows = "".join(
            f'1.5,{time},"Tesla P100-PCIE-16GB (0)","1","7","{kernel} [3]"\n'
            for kernel, time in times.items()
        )
        profiles.write(counters, f"{side}/counters.csv")
        profiles.write(profiles.preamble.replace("Metric", "GPU trace") + trace + rows, f"{side}/trace.csv")
        ingest(tmp_path / side, tmp_path / f"{side}.parquet")
        found.append(tmp_path / f"{side}.parquet")
    return found


def test_times_come_first_the_most_saved_before_the_others(tables):
    found = compare_runs(*map(load_runs, tables))
    assert found.device == "P100"
    assert found.kernels["kernel"].tolist() == ["f(int)", "g(int)"]
    assert found.kernels["speedup"].tolist() == pytest.approx([2.0, 1.0])
    assert found.speedup == pytest.approx(50 / 30)
    assert [item["why"] for item in found.pairing.unmatched] == ["no such kernel on before"]


def test_what_changed_most_comes_first_and_what_did_not_has_no_size(tables):
    changes = compare_runs(*map(load_runs, tables)).changes
    assert changes.iloc[0]["metric"] in ("ipc", "duration")
    ipc = changes[changes["metric"] == "ipc"]
    assert ipc["change"].tolist() == pytest.approx([1.0, 1.0])
    assert changes[changes["metric"] == "inst_executed"]["size"].tolist() == [0.0, 0.0]
    assert set(changes["unit"]) == {"1/cycle", "s", "count", "fraction"}


def test_asked_metrics_alone(tables):
    before, after = map(load_runs, tables)
    assert set(compare_runs(before, after, metrics=["ipc"]).changes["metric"]) == {"ipc"}
    with pytest.raises(InputError, match="not in both tables: sm_colour"):
        compare_runs(before, after, metrics=["sm_colour"])


def test_repeats_count_by_their_mean(tables):
    before, after = map(load_runs, tables)
    slower = before.assign(duration=before["duration"] * 3, run_id=before["run_id"] + "b")
    found = compare_runs(pd.concat([before, slower], ignore_index=True), after)
    assert found.kernels["speedup"].tolist() == pytest.approx([4.0, 2.0])


def test_tables_that_cannot_be_compared(tables):
    before, after = map(load_runs, tables)
    with pytest.raises(InputError, match="they share no GPU"):
        compare_runs(before, after.assign(device="V100"))
    with pytest.raises(InputError, match="cannot be compared on K40: both have P100"):
        compare_runs(before, after, gpu="K40")
    with pytest.raises(InputError, match="no run on P100 is in both tables"):
        compare_runs(before, after.assign(application="other"))
    two = pd.concat([before, before.assign(device="V100")], ignore_index=True)
    with pytest.raises(InputError, match="both have P100, V100: name one of them"):
        compare_runs(two, two)


def test_without_times_there_is_no_speedup(tables):
    before, after = (load_runs(path).drop(columns="duration") for path in tables)
    found = compare_runs(before, after)
    assert np.isnan(found.speedup)
    assert found.kernels["speedup"].isna().all()


def test_command(tables, tmp_path):
    out = tmp_path / "changes.csv"
    done = CliRunner().invoke(main, ["compare", *map(str, tables), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "2 runs on P100 in both; 0 before alone, 1 after alone" in done.output
    assert "all launches together: 1.67 times as fast as before" in done.output
    assert len(pd.read_csv(out)) == 8
    facts = json.loads(CliRunner().invoke(main, ["compare", *map(str, tables), "--json"]).output)
    assert facts["speedup"] == pytest.approx(5 / 3)
    assert (facts["only_before"], facts["only_after"]) == (0, 1)
    changed = done.output.partition("what changed most:")[2]
    assert "+0.0" not in changed
    assert "ipc" in changed
    same = CliRunner().invoke(main, ["compare", str(tables[0]), str(tables[0])])
    assert same.output.splitlines()[-1] == "no other metric changed"


def test_export_of_runs_and_pairs(tables, tmp_path):
    frame = load_runs(tables[1])
    text, rows = export_csv(frame, metrics=["duration", "ipc"], with_units=True)
    assert rows == 3
    # as text: pandas 2.1 reads numbers wrong in the last digit unless it is asked not to, which later ones refuse
    back = pd.read_csv(pd.io.common.StringIO(text), dtype=str)
    assert [float(one) for one in back["duration [s]"]] == frame["duration"].tolist()
    assert "sm_efficiency [fraction]" not in back
    both = pd.concat([frame, frame.assign(device="V100")], ignore_index=True)
    write_pairs(pair(both, source="P100", dest="V100"), tmp_path / "pairs.parquet")
    pairs = load_pairs(tmp_path / "pairs.parquet")
    header = export_csv(pairs, metrics=["ipc"])[0].splitlines()[0].split(",")
    assert {"source.ipc", "dest.ipc", "kernel"} <= set(header)
    assert "dest.duration" not in header
    assert export_csv(pairs, gpu="K40")[1] == 0
    with pytest.raises(InputError, match="not in the table: colour"):
        export_csv(frame, metrics=["colour"])


def test_export_command(tables, tmp_path):
    out = tmp_path / "runs.csv"
    done = CliRunner().invoke(main, ["export", str(tables[0]), "--out", str(out), "--gpu", "p100", "--units"])
    assert (done.exit_code, done.output) == (0, f"2 rows written to {out}\n")
    assert "duration [s]" in out.read_text()
    none = CliRunner().invoke(main, ["export", str(tables[0]), "--out", str(out), "--gpu", "V100"])
    assert none.exit_code == 2
    assert "no rows to write" in none.stderr
