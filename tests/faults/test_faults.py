"""A process killed before or half-way through any call that changes its run directory, or a disk that is full."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

HERE = Path(__file__).parent
COMPILER = shutil.which("gcc") or shutil.which("cc")

pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Runs the driver under the preloaded library, and returns its lines."""
    library = tmp_path_factory.mktemp("library") / "faults.so"
    build = [COMPILER, "-O1", "-shared", "-fPIC", "-o", library, HERE / "faults.c", "-ldl"]
    subprocess.run(build, check=True, capture_output=True)

    def run(folder, kind, mode, *ks):
        done = subprocess.run(
            [sys.executable, HERE / "driver.py", folder, kind, mode, *map(str, ks)],
            env={**os.environ, "LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def check_told(outcomes, mode):
    """Every fault was survived; a full disk was told in one line that names the run directory, a kill says nothing."""
    assert [outcome for outcome in outcomes if not outcome["held"]] == []
    if mode == "full":
        refusals = [outcome["first"] for outcome in outcomes if outcome["first"] != "done"]
        assert len(refusals) > len(outcomes) / 2
        assert all(refusal.startswith("refused: ") and "/run" in refusal for refusal in refusals)
        assert not any("\n" in refusal for refusal in refusals)
    else:
        assert all(outcome["first"] == "" for outcome in outcomes)


@pytest.mark.parametrize("mode", ["before", "half", "full"])
def test_a_run_goes_on_exactly_after_a_fault_at_any_call(drive, tmp_path, mode):
    (counted,) = drive(tmp_path, "script", "before")
    assert counted["n"] > 300
    sample = sorted({*range(1, 16), *range(16, counted["n"] + 1, 29), counted["n"]})
    outcomes = drive(tmp_path, "script", mode, *sample)
    assert len(outcomes) == len(sample)
    check_told(outcomes, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["before", "half", "full"])
@pytest.mark.parametrize("kind", ["mc proxima", "mc published", "mc exact", "md"])
def test_a_command_goes_on_exactly_after_a_fault(drive, tmp_path, kind, mode):
    (counted,) = drive(tmp_path, kind, "before")
    assert counted["n"] > 300
    sample = sorted({1, *range(40, counted["n"] + 1, counted["n"] // 3), counted["n"]})
    check_told(drive(tmp_path, kind, mode, *sample), mode)


@pytest.mark.slow
def test_no_damage_to_the_files_of_a_run_makes_it_another_one_silently(tmp_path):
    script = HERE.parents[1] / "benchmarks" / "damaged_runs.py"
    table = tmp_path / "table.csv"
    command = [sys.executable, script, "--flips", "5", "--seed", "5", "--out", table]
    subprocess.run(command, check=True, capture_output=True)
    rows = pd.read_csv(table)
    assert len(rows) > 75
    assert sorted(rows["outcome"].unique()) == ["exact", "refused"]
    assert (rows["outcome"] == "refused").mean() > 0.6
    assert not rows["said"].dropna().str.contains("\n").any()
