"""Run directories: what they keep, and what is wrong with those that cannot be opened."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima import Decision, ProximaCalculator, RunDirectoryError
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.runs.append_log import read_steps
from ase_proxima.runs.store import RunDirectory
from ase_proxima.testing import HarmonicWells, NearestFrame, random_walk
from ase_proxima.types import Frame

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")
SETTINGS = {"error_metric": "energy", "error_bound": 0.05, "controller": "risk", "audit_rate": 0.2}


def parts():
    nearest = NearestFrame(incremental=True)
    return {"surrogate": nearest, "uncertainty": nearest}


def ask(calc, inputs):
    answers = []
    for atoms in inputs:
        atoms = atoms.copy()
        atoms.calc = calc
        answers.append((atoms.get_potential_energy(), calc.last_decision))
    return answers


@pytest.fixture
def run(tmp_path):
    """A run directory with 80 calls, closed."""
    calc = ProximaCalculator(HarmonicWells(WATER.positions), run_dir=tmp_path / "run", **SETTINGS, **parts())
    ask(calc, random_walk(WATER, 80))
    calc.close()
    return tmp_path / "run"


def resume(path, target=None, **options):
    return ProximaCalculator.resume(path, target or HarmonicWells(WATER.positions), **{**parts(), **options})


def test_it_holds_everything_that_a_run_writes(run):
    assert {path.name for path in run.iterdir()} >= {"frames.db", "steps.csv", "models", "state.json"}
    rows = list(read_steps(run))
    assert [int(row["step"]) for row in rows] == list(range(80))
    assert {row["decision"] for row in rows} == {d.value for d in Decision}
    import ase.db

    with ase.db.connect(run / "frames.db") as database:
        kept = list(database.select(sort="id"))
    paid = [row for row in rows if row["decision"] != "surrogate"]
    assert [row.step for row in kept] == [int(row["step"]) for row in paid]
    for row, logged in zip(kept, paid, strict=True):
        assert row.decision == logged["decision"]
        assert row.energy == pytest.approx(0.5 * np.sum((row.positions - WATER.positions) ** 2), rel=1e-14)
        if logged["error"]:
            assert row.error == pytest.approx(float(logged["error"]))


def test_frames_come_back_to_the_last_bit(run):
    written = []
    calc = ProximaCalculator(HarmonicWells(WATER.positions), **SETTINGS, **parts())
    ask(calc, random_walk(WATER, 80))
    written = calc.frames
    with RunDirectory.open(run) as opened:
        assert len(opened.frames) == len(written) > 10
        for a, b in zip(opened.frames, written, strict=True):
            assert np.array_equal(a.x.positions, b.x.positions)
            assert a.results["energy"] == b.results["energy"]
            assert np.array_equal(a.results["forces"], b.results["forces"])
            assert a.step == b.step


def test_two_model_versions_are_kept_at_most(run):
    versions = sorted(path.name for path in (run / "models").iterdir())
    state = json.loads((run / "state.json").read_text())["run"]
    assert len(versions) == 2
    assert f"{state['counts']['model_version']:06d}" in versions


def test_a_closed_run_goes_on_as_if_it_had_not_stopped(run):
    inputs = list(random_walk(WATER, 160))
    whole = ProximaCalculator(HarmonicWells(WATER.positions), **SETTINGS, **parts())
    expected = ask(whole, inputs)
    target = HarmonicWells(WATER.positions)
    calc = resume(run, target)
    assert calc.stats.n_calls == 80
    assert calc.last_decision is expected[79][1]
    assert ask(calc, inputs[79:]) == expected[79:]
    for name in ("n_calls", "n_target", "n_audit", "n_surrogate", "n_frames", "model_version", "threshold"):
        assert getattr(calc.stats, name) == getattr(whole.stats, name)
    assert calc.stats.error_upper == pytest.approx(whole.stats.error_upper, rel=0, nan_ok=True)
    assert calc.stats.error_estimate == whole.stats.error_estimate
    paid = sum(d is not Decision.SURROGATE for _, d in expected[80:])
    assert target.n_runs == paid + 1  # it repeats one frame before the surrogate answers
    calc.close()
    rows = list(read_steps(run))
    assert [row["decision"] for row in rows] == [d.value for _, d in expected]


class DiedError(Exception):
    pass


def test_a_result_that_was_paid_for_before_the_end_is_not_paid_again(tmp_path, monkeypatch):
    inputs = list(random_walk(WATER, 60))
    expected = ask(ProximaCalculator(HarmonicWells(WATER.positions), **SETTINGS, **parts()), inputs)
    paid = [k for k, (_, decision) in enumerate(expected) if decision is not Decision.SURROGATE]
    for k in (paid[0], paid[1], paid[len(paid) // 2], paid[-1]):
        for where in ("log", "save_state"):
            path, target = tmp_path / f"{k}-{where}", HarmonicWells(WATER.positions)
            calc = ProximaCalculator(target, run_dir=path, **SETTINGS, **parts())
            ask(calc, inputs[:k])
            with monkeypatch.context() as patch:
                if k == 0:
                    calc._build(inputs[0])
                patch.setattr(RunDirectory, where, _die)
                with pytest.raises(DiedError):
                    ask(calc, inputs[k : k + 1])
            calc.close()
            resumed = resume(path, target)
            assert ask(resumed, inputs[k:]) == expected[k:], (k, where)
            repeated = any(decision is Decision.SURROGATE for _, decision in expected[k:] if k > paid[0])
            assert target.n_runs == len(paid) + repeated, (k, where)
            resumed.close()
            again = resume(path, target)
            assert [f.step for f in again.frames] == paid
            again.close()


def _die(*_):
    raise DiedError


def test_results_that_the_resumed_run_passes_by_are_forgotten(tmp_path, monkeypatch):
    inputs, others = list(random_walk(WATER, 40)), list(random_walk(WATER, 40, seed=9))
    target = HarmonicWells(WATER.positions)
    settings = {**SETTINGS, "controller": "baseline"}
    calc = ProximaCalculator(target, run_dir=tmp_path / "run", **settings)
    ask(calc, inputs[:10])
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "save_state", _die)
        with pytest.raises(DiedError):
            ask(calc, inputs[10:11])
    calc.close()
    resumed = ProximaCalculator.resume(tmp_path / "run", target)
    ask(resumed, others[:5])
    resumed.close()
    again = ProximaCalculator.resume(tmp_path / "run", target)
    expected = [*inputs[:10], *others[:5]]
    assert len(again.frames) == 15
    for frame, atoms in zip(again.frames, expected, strict=True):
        assert np.array_equal(frame.x.positions, atoms.positions)
    again.close()


def test_a_fingerprint_that_reads_as_a_number_is_stored(tmp_path):
    with RunDirectory.create(tmp_path / "run", {}) as store:
        frame = Frame(WATER, {"energy": -1.0}, 0)
        store.append(frame, {"structure": "1234567890123456", "decision": "target", "threshold": np.nan})
        store.append(Frame(WATER, {"energy": -2.0}, 1), {"structure": "12345e7890123456"})
        assert len(store.frames) == 2


def test_calls_of_a_surrogate_that_came_trained_are_not_lost(tmp_path):
    class Ready(NearestFrame):
        def measure(self, x, prediction):
            return 0.0

    def ready():
        nearest = Ready()
        nearest.fit([Frame(WATER, {"energy": 0.0, "forces": np.zeros((3, 3))})])
        return {"surrogate": nearest, "uncertainty": nearest}

    settings = {"error_bound": 0.05, "error_metric": "energy", "training": "never"}
    calc = ProximaCalculator(
        HarmonicWells(WATER.positions),
        run_dir=tmp_path / "run",
        controller=FixedController(0.1),
        **settings,
        **ready(),
    )
    ask(calc, random_walk(WATER, 7))
    calc.close()
    resumed = ProximaCalculator.resume(
        tmp_path / "run", HarmonicWells(WATER.positions), controller=FixedController(0.1), **ready()
    )
    ask(resumed, list(random_walk(WATER, 9))[7:])
    assert (resumed.stats.n_calls, resumed.stats.n_surrogate) == (9, 9)
    resumed.close()
    assert len(list(read_steps(tmp_path / "run"))) == 9


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("error_bound", 0.06, "error_bound = 0.05, now it is 0.06"),
        ("audit_rate", 0.1, "audit_rate = 0.2, now it is 0.1"),
        ("seed", 3, "seed = 0, now it is 3"),
        ("controller", "linear", "controller = 'risk', now it is 'linear'"),
        ("controller", FixedController(0.1), "controller = 'risk', now it is"),
        ("bound_over", "all", "bound_over = 'trusted', now it is 'all'"),
        ("training", 5, "training = 'lazy', now it is 5"),
        ("properties", ("energy",), "properties = "),
        ("surrogate", "soap_ridge", "surrogate = "),
        ("error_bound", {"energy": 0.05}, "error_bound = 0.05, now it is"),
    ],
)
def test_a_resume_with_other_settings_names_the_setting(run, name, value, changed):
    with pytest.raises(RunDirectoryError, match="was made with") as raised:
        resume(run, **{name: value})
    assert changed in str(raised.value)
    assert "\n" not in str(raised.value)
    resume(run).close()


def test_joint_bounds_are_settings_too(tmp_path):
    bounds = {"energy": 0.01, "force_max": 0.1}
    target = HarmonicWells(WATER.positions)
    calc = ProximaCalculator(target, error_bound=bounds, run_dir=tmp_path / "run", **parts())
    ask(calc, random_walk(WATER, 10))
    calc.close()
    with pytest.raises(RunDirectoryError, match="error_bound"):
        resume(tmp_path / "run", error_bound={"energy": 0.01, "force_max": 0.2})
    resumed = resume(tmp_path / "run")
    assert set(resumed.stats.threshold) == {"energy", "force_max"}
    resumed.close()


def _cut_steps(path):
    lines = (path / "steps.csv").read_text().splitlines(keepends=True)
    (path / "steps.csv").write_text("".join(lines[:20]))


def _drop_frames(path):
    import ase.db

    with ase.db.connect(path / "frames.db") as database:
        database.delete([1, 2])


def _garble(name, content):
    def damage(path):
        (path / name).write_bytes(content)

    return damage


def _edit_state(edit):
    def damage(path):
        state = json.loads((path / "state.json").read_text())
        edit(state)
        (path / "state.json").write_text(json.dumps(state))

    return damage


def _no_models(path):
    for version in (path / "models").iterdir():
        for file in version.iterdir():
            file.unlink()


DAMAGES = {
    "no state": lambda path: (path / "state.json").unlink(),
    "state is no JSON": _garble("state.json", b'{"settings": {'),
    "state is a list": _garble("state.json", b"[]"),
    "state is binary": _garble("state.json", b"\xff\xfe\x00"),
    "state has other settings": _edit_state(lambda s: s["settings"].update(colour="blue")),
    "state lacks a setting": _edit_state(lambda s: s["settings"].pop("seed")),
    "run is a number": _edit_state(lambda s: s.update(run=3)),
    "run lacks counts": _edit_state(lambda s: s["run"].pop("counts")),
    "run lacks rng": _edit_state(lambda s: s["run"].pop("rng")),
    "rng is wrong": _edit_state(lambda s: s["run"].update(rng={"bit_generator": "MT"})),
    "controller is foreign": _edit_state(lambda s: s["run"].update(controllers=[{"mood": 1}])),
    "decision is foreign": _edit_state(lambda s: s["run"].update(last_decision="maybe")),
    "frames are garbage": _garble("frames.db", b"this is no database" * 100),
    "frames are missing": _drop_frames,
    "steps are cut": _cut_steps,
    "steps are gone": lambda path: (path / "steps.csv").unlink(),
    "steps are garbage": _garble("steps.csv", b"\x00\xff\n" * 200),
    "models are gone": _no_models,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_directory_is_one_clear_line(run, damage):
    for name in ("frames.db-wal", "frames.db-shm"):
        (run / name).unlink(missing_ok=True)
    damage(run)
    with pytest.raises(RunDirectoryError) as raised:
        resume(run)
    assert "\n" not in str(raised.value)
    assert str(run) in str(raised.value)


def test_what_is_no_run_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    for name in ("missing", "file", "full"):
        with pytest.raises(RunDirectoryError, match="is not a run directory"):
            resume(tmp_path / name)
    for name in ("file", "full"):
        with pytest.raises(RunDirectoryError, match="exists already"):
            RunDirectory.create(tmp_path / name, {})
    with pytest.raises(RunDirectoryError, match="cannot make the run directory"):
        RunDirectory.create(tmp_path / "file" / "below", {})
    with pytest.raises(RunDirectoryError, match="has no steps"):
        read_steps(tmp_path / "full")


def test_a_run_is_not_opened_twice(run):
    first = resume(run)
    script = "import sys; from ase_proxima.runs.store import RunDirectory; RunDirectory.open(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", script, str(run)], capture_output=True, text=True)
    assert "RunDirectoryError" in done.stderr
    assert "is in use by another process" in done.stderr.splitlines()[-1]
    with pytest.raises(RunDirectoryError, match="in use"):
        resume(run)
    first.close()
    first.close()
    resume(run).close()


def test_a_row_that_a_kill_cut_is_dropped(run):
    with (run / "steps.csv").open("a") as file:
        file.write("80,abc,surro")
    calc = resume(run)
    ask(calc, list(random_walk(WATER, 90))[80:])
    calc.close()
    with (run / "steps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(90))
