"""Monte Carlo runs: killed, resumed, replayed, refused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from ase_proxima import InputError, RunDirectoryError, TargetError
from ase_proxima.apps.monte_carlo import ChainLog
from ase_proxima.apps.monte_carlo_run import RunSettings, run
from ase_proxima.apps.run_settings import asked_structures, read_settings
from ase_proxima.reports.report import report_run
from ase_proxima.reports.run_table import run_table
from ase_proxima.runs.append_log import read_steps
from ase_proxima.runs.run_data import read_run
from ase_proxima.runs.store import RunDirectory

TARGET = '''
"""A slow harmonic molecule that writes down every run."""
import json
import os
import time

from ase.build import molecule


def water(atoms):
    file = os.open(os.environ["PAID"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b"x")
    os.close(file)
    time.sleep(float(os.environ["DELAY"]))
    if os.environ.get("FAIL_AT") in ("all", str(os.path.getsize(os.environ["PAID"]))):
        raise RuntimeError("SCF did not converge")
    gaps = atoms.positions - molecule("H2O").positions
    return {"energy": 2.0 * float((gaps * gaps).sum()), "forces": -4.0 * gaps}


water.implemented_properties = ["energy", "forces"]
'''
WORKER = """
import sys
from pathlib import Path
from ase_proxima.apps.monte_carlo_run import RunSettings, run
settings = eval(sys.argv[1], {"RunSettings": RunSettings})
run(settings, int(sys.argv[2]), Path(sys.argv[3]), resume=True)
"""
SETTINGS = RunSettings(
    molecule="H2O",
    temperature_K=500.0,
    perturb=0.01,
    seed=1,
    target="slow_water:water",
    strategy="proxima",
    error_bound=0.002,
)


@pytest.fixture
def paid(tmp_path, monkeypatch):
    """Run in an empty folder with the slow target; return the file that counts its runs."""
    (tmp_path / "slow_water.py").write_text(TARGET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAID", str(tmp_path / "paid"))
    monkeypatch.setenv("DELAY", "0")
    monkeypatch.delitem(sys.modules, "slow_water", raising=False)
    return tmp_path / "paid"


def decisions(path):
    return [{k: v for k, v in row.items() if not k.startswith("time")} for row in read_steps(path)]


def frames(path):
    with RunDirectory.open(path) as opened:
        return [(f.step, f.x.positions.tolist(), float(f.results["energy"])) for f in opened.frames]


def assert_same_run(path, other):
    assert ChainLog.read(path) == ChainLog.read(other)
    assert decisions(path) == decisions(other)
    assert frames(path) == frames(other)


def counts(summary):
    names = ("n_calls", "n_target", "n_audit", "n_surrogate", "n_frames", "model_version", "threshold")
    return {name: summary[name] for name in (*names, "error_estimate", "error_upper", "energy", "acceptance")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "n_steps", "kills"), [("proxima", 150, (3, 31, 88, 140)), ("published", 24, (12,))]
)
def test_a_run_that_is_killed_goes_on_exactly(strategy, n_steps, kills, paid, tmp_path, monkeypatch):
    settings = replace(SETTINGS, strategy=strategy, error_bound=0.02 if strategy == "published" else 0.002)
    whole = run(settings, n_steps, tmp_path / "whole")
    n_paid = whole["n_target"] + whole["n_audit"]
    assert whole["n_surrogate"] > 0
    monkeypatch.setenv("DELAY", "0.004")
    paid.unlink()
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", WORKER, repr(settings), str(n_steps), str(folder)]
    killed: list[bool] = []
    written: list[int] = []
    for length in kills:
        process = subprocess.Popen(command, start_new_session=True)
        chain = folder / "chain.csv"
        while process.poll() is None and (not chain.exists() or chain.read_bytes().count(b"\n") <= length):
            time.sleep(0.0003)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        killed.append(process.wait() == -signal.SIGKILL)
        assert killed[-1] or process.returncode == 0
        written.append(len(read_steps(folder)))
    monkeypatch.setenv("DELAY", "0")
    resumed = run(settings, n_steps, folder, resume=True)
    assert counts(resumed) == counts(whole)
    assert_same_run(folder, tmp_path / "whole")
    assert any(killed)
    finished = 1 + killed.count(False)  # each of which measures the baseline with three energies
    extra = paid.stat().st_size - 3 * finished * (strategy == "proxima") - n_paid
    # a resume has the target repeat a stored frame, once and only where the surrogate answers before the next kill
    decisions = [row["decision"] for row in read_steps(tmp_path / "whole")]
    parts = zip(written, [*written[1:], len(decisions)], strict=True)
    repeats = sum("surrogate" in decisions[start:end] for start, end in parts)
    # a kill may hit the target at work, or a repetition, whose result nobody has seen
    assert repeats <= extra <= repeats + sum(killed)


class DiedError(Exception):
    pass


@pytest.mark.parametrize(
    "where",
    [
        (RunDirectory, "append"),
        (RunDirectory, "log"),
        (RunDirectory, "save_model"),
        (RunDirectory, "save_state"),
        (ChainLog, "append"),
    ],
    ids=lambda where: where[1],
)
def test_wherever_it_dies_it_goes_on_and_pays_nothing_twice(where, paid, tmp_path, monkeypatch):
    """Die before and after every write in turn; what was on disk by then is all that is left."""
    whole = run(SETTINGS, 60, tmp_path / "whole")
    n_paid = paid.stat().st_size
    paid.unlink()
    folder, (owner, name) = tmp_path / "died", where
    original = getattr(owner, name)
    n_deaths = 0
    for after in (False, True) * 8:
        left = [3]

        def dying(self, *args, after=after, left=left):
            left[0] -= 1
            if left[0] == 0 and not after:
                raise DiedError
            result = original(self, *args)
            if left[0] == 0:
                raise DiedError
            return result

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying)
            try:
                run(SETTINGS, 60, folder, resume=True)
            except DiedError:
                n_deaths += 1
    assert n_deaths > 2
    resumed = run(SETTINGS, 60, folder, resume=True)
    assert counts(resumed) == counts(whole)
    assert_same_run(folder, tmp_path / "whole")
    lost = n_deaths // 2 + 1 if name == "append" and owner is RunDirectory else 0
    baselines = 3 * (17 - n_deaths)
    checked = 17  # a frame at most for each resume, to see that the target is still the same
    assert paid.stat().st_size <= n_paid - 3 + baselines + lost + checked


def test_a_failing_target_ends_the_run_and_the_run_goes_on_afterwards(paid, tmp_path, monkeypatch):
    whole = run(SETTINGS, 40, tmp_path / "whole")
    paid.unlink()
    monkeypatch.setenv("FAIL_AT", "all")
    folder = tmp_path / "failed"
    with pytest.raises(TargetError, match="the target failed at call 0, 2 times") as raised:
        run(SETTINGS, 40, folder)
    assert "failed/call-000000.xyz" in str(raised.value)
    assert frames(folder) == []
    monkeypatch.delenv("FAIL_AT")
    assert counts(run(SETTINGS, 40, folder, resume=True)) == counts(whole)
    assert_same_run(folder, tmp_path / "whole")


def test_one_failure_is_retried_and_leaves_no_trace(paid, tmp_path, monkeypatch):
    whole = run(SETTINGS, 40, tmp_path / "whole")
    paid.unlink()
    monkeypatch.setenv("FAIL_AT", "3")
    assert counts(run(SETTINGS, 40, tmp_path / "flaky")) == counts(whole)
    assert_same_run(tmp_path / "flaky", tmp_path / "whole")


def test_the_same_seed_gives_the_same_run_and_another_seed_another(paid, tmp_path):
    for name in ("a", "b"):
        run(SETTINGS, 60, tmp_path / name)
    run(replace(SETTINGS, seed=2), 60, tmp_path / "c")
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert ChainLog.read(tmp_path / "a") != ChainLog.read(tmp_path / "c")


def test_a_longer_run_goes_on_from_a_finished_one(paid, tmp_path):
    run(SETTINGS, 30, tmp_path / "run")
    longer = run(SETTINGS, 60, tmp_path / "run", resume=True)
    assert counts(longer) == counts(run(SETTINGS, 60, tmp_path / "whole"))


def test_every_strategy_meets_the_structures_of_the_reference(paid, tmp_path):
    run(replace(SETTINGS, strategy="baseline"), 40, tmp_path / "reference")
    replayed = replace(SETTINGS, reference=str(tmp_path / "reference"))
    run(replayed, 40, tmp_path / "proxima")
    asked = [atoms.positions for _, atoms, _ in asked_structures(tmp_path / "reference")]
    again = [atoms.positions for _, atoms, _ in asked_structures(tmp_path / "proxima")]
    assert len(asked) == 41
    assert np.array_equal(asked, again)
    ours = [row["structure"] for row in read_steps(tmp_path / "proxima")]
    theirs = [row["structure"] for row in read_steps(tmp_path / "reference")]
    assert ours == theirs
    flags = [row.accepted for row in ChainLog.read(tmp_path / "reference")]
    assert [row.accepted for row in ChainLog.read(tmp_path / "proxima")] == flags


def test_the_baseline_runs_the_target_on_every_call_and_has_no_error(paid, tmp_path):
    summary = run(replace(SETTINGS, strategy="baseline"), 25, tmp_path / "run")
    assert (summary["n_calls"], summary["n_target"], summary["error_upper"]) == (26, 26, 0.0)
    assert paid.stat().st_size == 26


def test_a_resume_with_other_settings_names_the_setting(paid, tmp_path):
    run(SETTINGS, 5, tmp_path / "run")
    changes = {"temperature_K": 400.0, "perturb": 0.02, "seed": 2, "error_bound": 0.1, "strategy": "baseline"}
    for name, value in changes.items():
        with pytest.raises(RunDirectoryError, match=f"was made with {name} = .*, now it is"):
            run(replace(SETTINGS, **{name: value}), 5, tmp_path / "run", resume=True)
    with pytest.raises(RunDirectoryError, match="exists already"):
        run(SETTINGS, 5, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "n_steps", "message"),
    [
        ({"molecule": "H3O9"}, 5, "unknown molecule 'H3O9'"),
        ({"temperature_K": -5.0}, 5, "temperature must be positive and finite, got -5.0 K"),
        ({"strategy": "hope"}, 5, "unknown strategy 'hope'"),
        ({"seed": -1}, 5, "seed must not be negative"),
        ({"target": "crystal_ball"}, 5, "unknown target"),
        ({"error_bound": 0.0}, 5, "error_bound must be a positive number"),
        ({"threshold": -1.0, "strategy": "fixed"}, 5, "fixed_threshold must not be negative"),
        ({"retrain_interval": 0, "strategy": "fixed"}, 5, "retrain interval must be at least 1"),
        ({"reference": "nowhere"}, 5, "nowhere is no Monte Carlo run"),
        ({}, 0, "number of steps must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_clear_line(changes, n_steps, message, paid, tmp_path):
    with pytest.raises(InputError, match=message) as raised:
        run(replace(SETTINGS, **changes), n_steps, tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not paid.exists()


def die_before_the_first_call(folder, paid, how):
    """Leave what a process leaves that is killed while it makes its run directory."""
    if how in ("folder", "folder of models"):
        (folder / ("models" if how == "folder of models" else "")).mkdir(parents=True)
        return

    def dying(path, data):
        path.with_name(path.name + ".tmp").write_text("{")
        raise DiedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ase_proxima.apps.run_folder.write_json", dying)
        with pytest.raises(DiedError):
            run(replace(SETTINGS, temperature_K=900.0), 20, folder)
    assert not paid.exists()
    if how == "no state":
        (folder / "state.json").unlink()
        (folder / "frames.db").unlink()


@pytest.mark.parametrize("how", ["folder", "folder of models", "no state", "all but simulation.json"])
def test_a_run_killed_before_its_first_call_begins_anew(how, paid, tmp_path):
    die_before_the_first_call(tmp_path / "died", paid, how)
    whole = run(SETTINGS, 20, tmp_path / "whole")
    assert counts(run(SETTINGS, 20, tmp_path / "died", resume=True)) == counts(whole)
    assert_same_run(tmp_path / "died", tmp_path / "whole")


def test_a_run_directory_of_something_else_does_not_begin_anew(paid, tmp_path):
    run(SETTINGS, 5, tmp_path / "run")
    (tmp_path / "run" / "simulation.json").unlink()
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file()}
    for gone in ("", "steps.csv", "chain.csv", "summary.json"):
        if gone:
            (tmp_path / "run" / gone).unlink()
            del before[tmp_path / "run" / gone]
        with pytest.raises(RunDirectoryError, match="is no Monte Carlo run: it has no"):
            run(SETTINGS, 5, tmp_path / "run", resume=True)
    assert {file: file.read_bytes() for file in before} == before


def test_a_run_that_is_just_beginning_elsewhere_is_left_alone(paid, tmp_path):
    with RunDirectory.create(tmp_path / "run", {}), pytest.raises(RunDirectoryError, match="is in use"):
        run(SETTINGS, 5, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "state.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("simulation.json", b"{", "simulation.json is damaged"),
        ("simulation.json", b'{"monte_carlo": {"colour": 1}}', "simulation.json is damaged"),
        ("simulation.json", b"[]", "simulation.json is damaged"),
        ("chain.csv", b"step\n1\n2\n", "chain.csv is damaged"),
        ("chain.csv", b"", "was cut"),
    ],
)
def test_a_damaged_run_is_one_clear_line(name, content, message, paid, tmp_path):
    run(SETTINGS, 5, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(content)
    with pytest.raises(RunDirectoryError, match=message) as raised:
        run(SETTINGS, 5, tmp_path / "run", resume=True)
    assert "\n" not in str(raised.value)


def test_a_chain_that_lost_steps_does_not_start_afresh(paid, tmp_path):
    run(SETTINGS, 20, tmp_path / "run")
    n_paid = paid.stat().st_size
    (tmp_path / "run" / "chain.csv").unlink()
    made_with = (tmp_path / "run" / "simulation.json").read_bytes()
    with pytest.raises(RunDirectoryError, match="has 0 steps with an energy, but the run has made 21 calls"):
        run(SETTINGS, 30, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "simulation.json").read_bytes() == made_with
    assert paid.stat().st_size == n_paid


def test_the_settings_are_read_back(paid, tmp_path):
    run(SETTINGS, 3, tmp_path / "run")
    assert read_settings(tmp_path / "run") == SETTINGS


def test_a_run_says_its_charge_and_is_not_resumed_with_another(paid, tmp_path):
    water = '3\nProperties=species:S:1:pos:R:3 charge={charge} pbc="F F F"\n' + "\n".join(
        f"{atom.symbol} {atom.x} {atom.y} {atom.z}" for atom in molecule("H2O")
    )
    file, folder = tmp_path / "water.xyz", tmp_path / "run"
    file.write_text(water.format(charge=1))
    settings = replace(SETTINGS, molecule=str(file), strategy="baseline")
    summary = run(settings, 3, folder)
    assert (summary["charge"], summary["multiplicity"]) == (1, 2)
    assert json.loads((folder / "simulation.json").read_text())["electronic_state"] == {
        "charge": 1,
        "multiplicity": 2,
    }
    assert report_run(read_run(folder))["simulation"]["charge"] == 1
    assert "charge 1, multiplicity 2" in run_table([summary]).caption
    file.write_text(water.format(charge=0))
    with pytest.raises(RunDirectoryError, match="was made with charge 1, multiplicity 2, now it is charge 0"):
        run(settings, 4, folder, resume=True)
    file.write_text(water.format(charge=1))
    with pytest.raises(RunDirectoryError, match="was made with charge = None, now it is 1"):
        run(replace(settings, charge=1), 4, folder, resume=True)


def test_the_charge_asked_for_reaches_the_target(paid, tmp_path):
    settings = replace(SETTINGS, strategy="baseline", charge=-1)
    assert settings.structure().info["charge"] == -1
    assert run(settings, 1, tmp_path / "run")["multiplicity"] == 2
    with pytest.raises(InputError, match="10 electrons, which cannot have the multiplicity 2"):
        replace(SETTINGS, multiplicity=2).check()
    # The collection's moments are those of the neutral molecule.
    assert "initial_magmoms" not in replace(SETTINGS, molecule="O2", charge=1).structure().arrays


def test_a_reference_of_another_charge_is_refused(paid, tmp_path):
    run(replace(SETTINGS, strategy="baseline"), 2, tmp_path / "neutral")
    with pytest.raises(
        InputError, match="was made with H2O, charge 0, multiplicity 1, not with H2O, charge 1"
    ):
        replace(SETTINGS, reference=str(tmp_path / "neutral"), charge=1).check()


def test_a_run_is_not_resumed_with_another_structure_of_the_same_name(paid, tmp_path):
    file = tmp_path / "water.xyz"
    water = molecule("H2O")
    ase.io.write(file, water)
    settings = replace(SETTINGS, molecule=str(file))
    run(settings, 5, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "simulation.json").read_text())["start"]
    np.testing.assert_allclose(kept["positions"], water.positions, atol=1e-7)
    water.positions[0, 2] += 0.01
    ase.io.write(file, water)
    with pytest.raises(RunDirectoryError, match="began with another structure than is given now"):
        run(settings, 9, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("column", "change", "problem"),
    [
        ("accepted", lambda text: str(1 - int(text)), "decision"),
        ("energy", lambda text: repr(float(text) + 1e-6), "decision of step 3"),
        ("proposed_energy", lambda text: repr(float(text) - 50.0), "decision of step 3"),
        ("step", lambda text: "7", "row 3 is of step 7"),
    ],
)  # fmt: skip
def test_a_chain_that_was_edited_is_refused(column, change, problem, paid, tmp_path):
    run(SETTINGS, 8, tmp_path / "run")
    chain = tmp_path / "run" / "chain.csv"
    with chain.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[3][column] = change(rows[3][column])
    with chain.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(RunDirectoryError, match=f"is not what this run wrote: .*{problem}"):
        run(SETTINGS, 12, tmp_path / "run", resume=True)


def test_the_chain_of_another_run_is_refused(paid, tmp_path):
    run(SETTINGS, 8, tmp_path / "run")
    run(replace(SETTINGS, seed=SETTINGS.seed + 1), 8, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "chain.csv", tmp_path / "run" / "chain.csv")
    with pytest.raises(RunDirectoryError, match="is not what this run wrote"):
        run(SETTINGS, 12, tmp_path / "run", resume=True)
