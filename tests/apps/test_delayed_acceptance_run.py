"""Exact runs: frozen, killed, resumed, extended, refused."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase import units

from ase_proxima import InputError, RunDirectoryError, TargetError
from ase_proxima.apps import monte_carlo_run, run_settings
from ase_proxima.apps.delayed_acceptance import OuterLog
from ase_proxima.apps.delayed_acceptance_run import ExactSettings, run
from ase_proxima.apps.monte_carlo_run import RunSettings
from ase_proxima.reports.exact import exact_table
from ase_proxima.runs.append_log import read_steps
from ase_proxima.runs.store import RunDirectory
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.targets import parse_target

TARGET = '''
"""Water of three harmonic wells that writes down every run."""
import os
import time

from ase.build import molecule


def water(atoms):
    file = os.open(os.environ["PAID"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b"x")
    os.close(file)
    time.sleep(float(os.environ["DELAY"]))
    if os.environ.get("FAIL_AT") == "all":
        raise RuntimeError("SCF did not converge")
    gaps = atoms.positions - molecule("H2O").positions
    return {"energy": 2.0 * float((gaps * gaps).sum()), "forces": -4.0 * gaps}


water.implemented_properties = ["energy", "forces"]


def springs(atoms) -> float:
    gaps = atoms.get_all_distances() - molecule("H2O").get_all_distances()
    return 3.0 * float((gaps * gaps).sum())
'''
WORKER = """
import sys
from pathlib import Path
from ase_proxima.apps.delayed_acceptance_run import ExactSettings, run
from ase_proxima.apps.monte_carlo_run import RunSettings
names = {"RunSettings": RunSettings, "ExactSettings": ExactSettings}
run(eval(sys.argv[1], names), int(sys.argv[2]), Path(sys.argv[3]), resume=True)
"""
CHAIN = RunSettings(
    molecule="H2O",
    temperature_K=500.0,
    perturb=0.02,
    seed=1,
    target="three_wells:water",
    strategy="proxima",
    error_bound=0.002,
)
SETTINGS = ExactSettings(CHAIN, burn_in=40)
FIXED = replace(SETTINGS, inner_steps=4)


@pytest.fixture
def paid(tmp_path, monkeypatch):
    """Run in an empty folder with the target; return the file that counts its runs."""
    (tmp_path / "three_wells.py").write_text(TARGET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAID", str(tmp_path / "paid"))
    monkeypatch.setenv("DELAY", "0")
    monkeypatch.delitem(sys.modules, "three_wells", raising=False)
    return tmp_path / "paid"


def rows(path):
    return OuterLog.read(path / "trials.csv"), OuterLog.read(path / "chain.csv")


def frames(path):
    with RunDirectory.open(path) as opened:
        return [(f.step, f.x.positions.tolist(), float(f.results["energy"])) for f in opened.frames]


def calls(path):
    return [{k: v for k, v in row.items() if not k.startswith("time")} for row in read_steps(path)]


def assert_same_run(path, other):
    assert rows(path) == rows(other)
    assert frames(path) == frames(other)
    assert frames(path / "burn-in") == frames(other / "burn-in")
    assert calls(path) == calls(other)


def timeless(summary):
    kept = {
        k: v for k, v in summary.items() if not k.startswith(("time", "speedup")) and not k.endswith("_s")
    }
    return json.dumps(kept, sort_keys=True)  # in which NaN equals NaN


def models(folder):
    return {file: file.read_bytes() for file in sorted((folder / "burn-in" / "models").rglob("*.json"))}


@pytest.mark.slow
def test_the_exact_energy_comes_out_though_the_surrogate_knows_nothing_of_where_the_molecule_is(
    paid, tmp_path
):
    """The wells hold each atom in space, the surrogate knows distances alone; 9 harmonic degrees of freedom."""
    settings = ExactSettings(replace(CHAIN, perturb=0.05), burn_in=12, inner_steps=3)
    summary = run(settings, 1200, tmp_path / "run")
    kT = units.kB * 500.0
    assert summary["energy_error"] < 0.6 * kT
    assert abs(summary["energy"] - 4.5 * kT) < 3 * summary["energy_error"]
    assert 0.1 < summary["acceptance"] < 0.99
    calls_counted = summary["n_target_chain"] + summary["n_target_trials"]
    assert summary["n_calls"] == summary["n_target"] == calls_counted <= 1201
    assert (
        paid.stat().st_size == calls_counted + summary["n_target_burn_in"] + 4
    )  # one to start the target, three to time it


def test_the_surrogate_is_trained_in_the_burn_in_and_never_after(paid, tmp_path, monkeypatch):
    run(FIXED, 1, tmp_path / "run")
    trained = models(tmp_path / "run")

    def refuse(*_):
        raise AssertionError("the surrogate was trained while the chain counted")

    monkeypatch.setattr(GradientGP, "fit", refuse)
    summary = run(FIXED, 30, tmp_path / "run", resume=True)
    assert summary["n_target_chain"] > 20
    assert models(tmp_path / "run") == trained
    _, chain = rows(tmp_path / "run")
    monkeypatch.undo()
    frozen = monte_carlo_run.ProximaCalculator.resume(
        tmp_path / "run" / "burn-in",
        parse_target(CHAIN.target),
        **run_settings.make_arguments(CHAIN),
    )
    with RunDirectory.open(tmp_path / "run") as opened:
        asked = {frame.results["energy"]: frame.x for frame in opened.frames}
    predicted = [
        frozen.surrogate.predict(asked[row.proposed_energy]).results["energy"] for row in chain if row.asked
    ]
    frozen.close()
    assert predicted == [row.proposed_surrogate_energy for row in chain if row.asked]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "file", "lengths"),
    [
        (SETTINGS, "trials.csv", (1, 6)),
        (FIXED, "chain.csv", (2, 12)),
        (FIXED, "burn-in/chain.csv", (20,)),
    ],
    ids=["trials", "chain", "burn-in"],
)
def test_a_run_that_is_killed_goes_on_exactly(settings, file, lengths, paid, tmp_path, monkeypatch):
    whole = run(settings, 25, tmp_path / "whole")
    n_paid = paid.stat().st_size
    paid.unlink()
    monkeypatch.setenv("DELAY", "0.01")
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", WORKER, repr(settings), "25", str(folder)]
    for length in lengths:
        process = subprocess.Popen(command, start_new_session=True)
        log = folder / file
        while not log.exists() or log.read_bytes().count(b"\n") <= length:
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.0003)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    monkeypatch.setenv("DELAY", "0")
    resumed = run(settings, 25, folder, resume=True)
    assert timeless(resumed) == timeless(whole)
    assert_same_run(folder, tmp_path / "whole")
    assert paid.stat().st_size <= n_paid + len(lengths)


class DiedError(Exception):
    pass


@pytest.mark.parametrize(
    "where", [(RunDirectory, "append"), (RunDirectory, "log"), (RunDirectory, "save_state"), (OuterLog, "append")],
    ids=lambda where: f"{where[0].__name__}-{where[1]}",
)  # fmt: skip
def test_wherever_it_dies_it_goes_on_and_pays_nothing_twice(where, paid, tmp_path, monkeypatch):
    settings = replace(SETTINGS, burn_in=20)
    whole = run(settings, 15, tmp_path / "whole")
    n_paid = paid.stat().st_size
    paid.unlink()
    folder, (owner, name) = tmp_path / "died", where
    original = getattr(owner, name)
    n_deaths = 0
    for after in (False, True) * 12:
        left = [4]

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
                run(settings, 15, folder, resume=True)
                break
            except DiedError:
                n_deaths += 1
    assert n_deaths > 5
    resumed = run(settings, 15, folder, resume=True)
    assert timeless(resumed) == timeless(whole)
    assert_same_run(folder, tmp_path / "whole")
    lost = n_deaths if (owner, name) == (RunDirectory, "append") else 0
    repeats = n_deaths + 1  # each resume has the target repeat a stored frame before the surrogate answers
    assert paid.stat().st_size <= n_paid + lost + repeats


def test_a_longer_run_goes_on_from_a_finished_one(paid, tmp_path):
    run(SETTINGS, 10, tmp_path / "run")
    longer = run(SETTINGS, 20, tmp_path / "run", resume=True)
    assert timeless(longer) == timeless(run(SETTINGS, 20, tmp_path / "whole"))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_the_number_of_inner_steps_is_chosen_and_cut_where_the_surrogate_is_poor(paid, tmp_path):
    summary = run(replace(SETTINGS, burn_in=20), 5, tmp_path / "run")
    trials, chain = rows(tmp_path / "run")
    tried = [len(row.inner) for row in trials[1:]]
    assert len(tried) % 8 == 0
    assert tried == sorted(tried, reverse=True)
    assert tried[0] > tried[-1] >= 1
    assert {len(row.inner) for row in chain[1:]} == {tried[-1]} == {summary["inner_steps"]}
    assert summary["inner_steps_chosen"]
    assert chain[0].energy == trials[-1].energy


def test_poor_acceptance_and_short_chains_are_said_plainly(paid, tmp_path):
    settings = ExactSettings(replace(CHAIN, perturb=0.1), burn_in=5, inner_steps=300)
    summary = run(settings, 25, tmp_path / "run")
    assert summary["acceptance"] < 0.2
    assert any(note.startswith("the target accepts") and "too poor" in note for note in summary["notes"])
    assert any("burn-in is shorter than 20 autocorrelation times" in note for note in summary["notes"])
    assert math.isnan(summary["ess_gain"])
    table = exact_table([summary])
    assert table.row_count == 1
    assert "500 K: the target accepts" in table.caption


def test_the_gain_is_the_ratio_of_independent_samples_a_call(paid, tmp_path):
    chain = replace(CHAIN, target="three_wells:springs", perturb=0.05, error_bound=0.005)
    summary = run(ExactSettings(chain, burn_in=400, inner_steps=15), 150, tmp_path / "run")
    chain = [row.radius_of_gyration for row in rows(tmp_path / "run")[1][1:]]
    assert summary["radius_of_gyration"] == pytest.approx(np.mean(chain))
    per_call = 150 / summary["autocorrelation_time"] / summary["n_target_chain"]
    assert summary["ess_per_target_call"] == pytest.approx(per_call)
    assert summary["ess_gain"] == pytest.approx(per_call * summary["plain_autocorrelation_time"])
    assert summary["ess_gain"] > 3
    assert summary["acceptance"] > 0.5


def test_a_failing_target_ends_the_run_and_the_run_goes_on_afterwards(paid, tmp_path, monkeypatch):
    whole = run(FIXED, 12, tmp_path / "whole")
    run(FIXED, 4, tmp_path / "run")
    monkeypatch.setenv("FAIL_AT", "all")
    with pytest.raises(TargetError, match="the target failed at call"):
        run(FIXED, 12, tmp_path / "run", resume=True)
    monkeypatch.delenv("FAIL_AT")
    resumed = run(FIXED, 12, tmp_path / "run", resume=True)
    assert timeless(resumed) == timeless(whole)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_surrogate_that_is_no_longer_the_frozen_one_is_refused(paid, tmp_path, monkeypatch):
    run(FIXED, 5, tmp_path / "run")
    made_with = (tmp_path / "run" / "simulation.json").read_bytes()
    with monkeypatch.context() as patch:
        predict = GradientGP.predict

        def shifted(self, x):
            prediction = predict(self, x)
            return replace(prediction, results={"energy": prediction.results["energy"] + 1e-6})

        patch.setattr(GradientGP, "predict", shifted)
        with pytest.raises(RunDirectoryError, match="no longer the frozen one"):
            run(FIXED, 10, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "simulation.json").read_bytes() == made_with
    (tmp_path / "run" / "burn-in" / "summary.json").unlink()
    monte_carlo_run.run(CHAIN, 60, tmp_path / "run" / "burn-in", resume=True)
    with pytest.raises(RunDirectoryError, match="has made 60 steps, not the 40 of this run's burn-in"):
        run(FIXED, 10, tmp_path / "run", resume=True)


def test_a_resume_with_other_settings_names_the_setting(paid, tmp_path):
    run(FIXED, 3, tmp_path / "run")
    for name, other in {
        "burn_in": replace(FIXED, burn_in=41),
        "inner_steps": replace(FIXED, inner_steps=None),
        "temperature_K": replace(FIXED, chain=replace(CHAIN, temperature_K=400.0)),
    }.items():
        with pytest.raises(RunDirectoryError, match=f"was made with {name} = .*, now it is"):
            run(other, 3, tmp_path / "run", resume=True)
    with pytest.raises(RunDirectoryError, match="exists already"):
        run(FIXED, 3, tmp_path / "run")


def test_exact_runs_and_ordinary_runs_are_not_taken_for_each_other(paid, tmp_path):
    run(FIXED, 3, tmp_path / "exact")
    monte_carlo_run.run(CHAIN, 3, tmp_path / "plain")
    with pytest.raises(RunDirectoryError, match="is no exact Monte Carlo run"):
        run(FIXED, 3, tmp_path / "plain", resume=True)
    with pytest.raises(RunDirectoryError, match="was made with --exact"):
        monte_carlo_run.run(CHAIN, 3, tmp_path / "exact", resume=True)
    with pytest.raises(RunDirectoryError, match="was made with --exact"):
        monte_carlo_run.run(replace(CHAIN, reference=str(tmp_path / "exact")), 3, tmp_path / "replayed")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("simulation.json", b"{", "simulation.json is damaged"),
        ("chain.csv", b"", "have .* calls of the target, but the run has made"),
        ("chain.csv", b"step\n1\n", "chain.csv is damaged"),
        ("burn-in/chain.csv", b"", "chain.csv has 0 steps with an energy, but the run has made 41 calls"),
    ],
)
def test_a_damaged_run_is_one_clear_line(name, content, message, paid, tmp_path):
    run(FIXED, 5, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(content)
    with pytest.raises(RunDirectoryError, match=message) as raised:
        run(FIXED, 5, tmp_path / "run", resume=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["trials.csv", "chain.csv"])
def test_the_rows_of_another_run_are_refused_though_they_are_whole(name, paid, tmp_path):
    settings = replace(SETTINGS, burn_in=12)
    run(settings, 5, tmp_path / "run")
    whole = {file: (tmp_path / "run" / file).read_bytes() for file in ("trials.csv", "chain.csv")}
    other = replace(settings, chain=replace(CHAIN, seed=2))
    run(other, 9, tmp_path / "other")
    theirs = OuterLog.read(tmp_path / "other" / name)
    log = OuterLog(tmp_path / "run" / name)
    log.path.unlink()
    for row in theirs[: whole[name].count(b"\n") - 1]:
        log.append(row)
    log.close()
    with pytest.raises(RunDirectoryError, match=rf"{name} is not what this run wrote: step \d+ "):
        run(settings, 9, tmp_path / "run", resume=True)
    log.path.write_bytes(whole[name])
    run(settings, 9, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("settings", "n_steps", "message"),
    [
        (replace(SETTINGS, burn_in=0), 5, "burn-in must have at least 1 step, got 0"),
        (replace(SETTINGS, inner_steps=0), 5, "number of inner steps must be at least 1, got 0"),
        (replace(SETTINGS, chain=replace(CHAIN, strategy="published")), 5, "with the strategy proxima"),
        (replace(SETTINGS, chain=replace(CHAIN, reference="elsewhere")), 5, "and reference 'elsewhere'"),
        (SETTINGS, 0, "number of steps must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_clear_line(settings, n_steps, message, paid, tmp_path):
    with pytest.raises(InputError, match=message) as raised:
        run(settings, n_steps, tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not paid.exists()


def test_the_structure_of_an_exact_run_whose_worker_died_is_saved(paid, tmp_path):
    run(SETTINGS, 4, tmp_path / "run")
    asked = np.load(tmp_path / "run" / "asked.npy")
    place = run_settings.save_structure_under_way(tmp_path / "run")
    np.testing.assert_allclose(ase.io.read(place).positions, asked, atol=1e-7)
    assert place.parent == tmp_path / "run" / "failed"
    (tmp_path / "run" / "asked.npy").unlink()  # as before the burn-in has ended
    assert (
        run_settings.save_structure_under_way(tmp_path / "run").parent
        == tmp_path / "run" / "burn-in" / "failed"
    )
