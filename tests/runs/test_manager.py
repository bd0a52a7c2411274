"""Training beside the simulation: versions that are published, taken, and survived."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from click.testing import CliRunner

from ase_proxima import ProximaCalculator
from ase_proxima.errors import InputError
from ase_proxima.runs.frames import read_frames
from ase_proxima.runs.manager import Manager
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.types import Decision
from proxima_cli.proxima import main

MODEL = '''
import json
import numpy as np
from ase_proxima.types import Prediction

class Slopes:
    """A committee of straight lines through the distances, that takes its time to learn."""

    incremental = False
    min_frames = 4
    properties = ("energy",)
    usual_uncertainty = "posterior"
    each_distance = False
    """Whether every distance has weights of its own: 21 in place of the 3 that suffice."""

    def __init__(self):
        self.weights = None
        self.n_fits = 0

    def _row(self, atoms):
        d = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
        if self.each_distance:
            return np.concatenate([[1.0], d, d ** 2])
        return np.array([1.0, d.sum(), (d ** 2).sum()])

    def fit(self, frames):
        X = np.array([self._row(frame.x) for frame in frames])
        y = np.array([frame.results["energy"] for frame in frames])
        parts = [slice(k, None, 3) for k in range(3)] if len(y) >= 12 else [slice(None)] * 3
        ridge = 1e-9 * np.eye(X.shape[1])
        self.weights = np.array([np.linalg.solve(X[p].T @ X[p] + ridge, X[p].T @ y[p]) for p in parts])
        self.n_fits += 1

    def predict(self, atoms):
        energies = self.weights @ self._row(atoms)
        return Prediction({"energy": float(energies.mean())}, {"energy": float(energies.std() + 1e-6)})

    def save(self, folder):
        (folder / "weights.json").write_text(json.dumps(self.weights.tolist()))

    def load(self, folder, frames):
        self.weights = np.array(json.loads((folder / "weights.json").read_text()))
'''


def springs(atoms) -> float:
    distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    return float(((distances - 1.2) ** 2).sum())


@pytest.fixture(autouse=True)
def slopes(tmp_path, monkeypatch):
    (tmp_path / "slow_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    from slow_model import Slopes

    yield Slopes
    sys.modules.pop("slow_model", None)


def moved(seed, scale=0.03):
    atoms = molecule("CH4")
    atoms.rattle(scale, seed=seed)
    return atoms


def calculator(run_dir, surrogate, **options):
    return ProximaCalculator(
        FunctionCalculator(springs),
        error_bound=0.01,
        surrogate=surrogate,
        training="background",
        run_dir=run_dir,
        when_not_worthwhile="ignore",
        **options,
    )


def ask(calc, seeds):
    return [calc.get_potential_energy(moved(seed)) for seed in seeds]


def test_a_surrogate_may_get_ready_while_the_first_version_is_trained(slopes, tmp_path):
    told = []
    model = slopes()
    model.get_ready = lambda: told.append(True)
    calc = calculator(tmp_path / "run", model)
    ask(calc, range(2))
    calc.close()
    assert told == [True]


def test_the_target_answers_until_a_version_is_published_and_the_surrogate_after_it(slopes, tmp_path):
    model = slopes()
    calc = calculator(tmp_path / "run", model)
    ask(calc, range(30))
    assert calc.stats.n_target == 30
    with Manager(tmp_path / "run", slopes()) as manager:
        published = manager.step()
        assert (published.number, published.first, published.last) == (1, 0, 30)
        assert manager.step() is None  # nothing new to look at
        ask(calc, range(100, 160))
        assert calc.stats.model_version == 1
        assert calc.stats.n_target == 30
        assert calc.stats.n_surrogate >= 55  # of 60; the others are audits, and every error is below 1e-5 eV
        assert calc.stats.errors_seen["energy"].largest < 1e-4
        assert model.n_fits == 0  # all training was elsewhere
        assert not any("manager" in note for note in calc.stats.notes)
    calc.close()


@pytest.mark.parametrize(
    ("each_distance", "n_trusted", "error"),
    [(False, 180, 2e-4), (True, 100, 0.01)],
    ids=["a model that is exact once it has seen enough", "a model that errs by as much as the bound"],
)
def test_errors_of_the_answers_stay_within_the_bound(
    slopes, tmp_path, monkeypatch, each_distance, n_trusted, error
):
    monkeypatch.setattr(slopes, "each_distance", each_distance)
    calc = calculator(tmp_path / "run", slopes())
    errors = []
    with Manager(tmp_path / "run", slopes()) as manager:
        for seed in range(200):
            energy = calc.get_potential_energy(moved(seed))
            if calc.last_decision is Decision.SURROGATE:
                errors.append(abs(energy - springs(moved(seed))))
            manager.step()
    assert len(errors) > n_trusted
    assert np.mean(errors) < error
    calc.close()


def test_a_run_resumes_bit_for_bit_between_versions(slopes, tmp_path):
    results = []
    for name in ("whole", "cut"):
        calc = calculator(tmp_path / name, slopes(), seed=2)
        energies = ask(calc, range(20))
        with Manager(tmp_path / name, slopes()) as manager:
            manager.step()
        energies += ask(calc, range(100, 120))
        if name == "cut":
            calc.close()
            target = FunctionCalculator(springs)
            calc = ProximaCalculator.resume(tmp_path / name, target, surrogate=slopes())
        energies += ask(calc, range(200, 240))
        results.append((energies, calc.stats.n_target_runs, calc.stats.model_version))
        calc.close()
    assert results[0] == results[1]
    assert results[0][2] == 1


def test_a_later_window_is_loaded_again_when_the_run_is_resumed(slopes, tmp_path, monkeypatch):
    monkeypatch.setattr("ase_proxima.controllers.retraining.FIRST_WINDOW", 12)
    given = []
    load = slopes.load
    monkeypatch.setattr(
        slopes, "load", lambda self, folder, frames: given.append(len(frames)) or load(self, folder, frames)
    )
    calc = calculator(tmp_path / "run", slopes())
    ask(calc, range(30))
    with Manager(tmp_path / "run", slopes()) as manager:
        manager.state = type(manager.state)(window=12)
        assert manager.step().first == 18
    ask(calc, [50])
    calc.close()
    ProximaCalculator.resume(tmp_path / "run", FunctionCalculator(springs), surrogate=slopes()).close()
    assert given == [12, 12]


def test_a_version_of_frames_that_a_kill_took_away_is_not_taken(slopes, tmp_path):
    calc = calculator(tmp_path / "run", slopes())
    ask(calc, range(10))
    with Manager(tmp_path / "run", slopes()) as manager:
        published = manager.step()
    news = tmp_path / "run" / "models" / "published" / "news.json"
    news.write_text(json.dumps({**vars(published), "check": "cother"}))
    ask(calc, range(100, 105))
    assert calc.stats.model_version == 0
    calc.close()


def test_the_death_of_the_manager_is_said_and_survived_and_another_one_goes_on(slopes, tmp_path):
    calc = calculator(tmp_path / "run", slopes())
    ask(calc, range(12))
    assert "no manager is training: the run goes on with no model" in calc.stats.notes[-1]
    command = [sys.executable, "-c", "from proxima_cli.proxima import main; main()", "manage"]
    how = {"cwd": tmp_path, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(
        [*command, str(tmp_path / "run"), "--surrogate", "slow_model:Slopes", "--poll", "0.05", "--json"],
        **how,
    )
    first = json.loads(process.stdout.readline() + _rest_of(process))
    assert (first["number"], first["last"]) == (1, 12)
    ask(calc, range(200, 230))
    assert not any("manager" in note for note in calc.stats.notes)
    with pytest.raises(InputError, match="has a manager already"):
        Manager(tmp_path / "run", slopes())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    trusted = calc.stats.n_surrogate
    ask(calc, range(300, 330))
    with calc.target_only():
        ask(calc, range(400, 440))
    assert calc.stats.n_surrogate > trusted
    assert "the run goes on with version" in calc.stats.notes[-1]
    calc.close()
    result = CliRunner().invoke(
        main, ["manage", str(tmp_path / "run"), "--surrogate", "slow_model:Slopes"], catch_exceptions=False
    )
    assert result.exit_code == 0  # the simulation has ended, and so does this one
    assert result.output.startswith("version ")
    assert "of the bound" in result.output


def _rest_of(process):
    """Lines of an indented JSON document after its first."""
    lines = []
    while not lines or lines[-1].rstrip() != "}":
        lines.append(process.stdout.readline())
    return "".join(lines)


def test_frames_of_an_ion_are_recognised(slopes, tmp_path):
    calc = calculator(tmp_path / "run", slopes())
    for seed in range(12):
        atoms = moved(seed)
        atoms.info["charge"] = 1
        calc.get_potential_energy(atoms)
    assert read_frames(tmp_path / "run")[0].x.info == {"charge": 1.0}
    with Manager(tmp_path / "run", slopes()) as manager:
        manager.step()
    atoms.rattle(0.01, seed=99)
    calc.get_potential_energy(atoms)
    assert calc.stats.model_version == 1
    calc.close()


def test_what_needs_no_manager_says_so(slopes, tmp_path):
    gp = calculator(tmp_path / "gp", "gradient_gp")
    with pytest.raises(InputError, match="GradientGP learns each frame in place"):
        ask(gp, [1])
    gp.close()
    with pytest.raises(InputError, match="needs a run_dir"):
        ask(calculator(None, slopes()), [1])
    lazy = ProximaCalculator(FunctionCalculator(springs), error_bound=0.01, run_dir=tmp_path / "lazy")
    lazy.close()
    result = CliRunner().invoke(main, ["manage", str(tmp_path / "lazy")], catch_exceptions=False)
    assert result.exit_code == 2
    assert "trains by itself, with training='lazy'" in result.output
    result = CliRunner().invoke(main, ["manage", str(tmp_path)], catch_exceptions=False)
    assert "is not a run directory" in result.output
    calc = calculator(tmp_path / "own", slopes())
    ask(calc, [1])
    for arguments, complaint in (
        ([], "say how it is made, with --surrogate MODULE:NAME"),
        (["--surrogate", "slow_model"], "must be MODULE:NAME"),
        (["--surrogate", "slow_model:np"], "gave a module"),
        (["--surrogate", "slow_model:none"], "has no 'none'"),
    ):
        result = CliRunner().invoke(main, ["manage", str(tmp_path / "own"), "--once", *arguments])
        assert (result.exit_code, complaint in result.output) == (2, True), result.output
    calc.close()


def test_looking_for_a_version_costs_one_stat(slopes, tmp_path, monkeypatch):
    calc = calculator(tmp_path / "run", slopes())
    ask(calc, range(12))
    with Manager(tmp_path / "run", slopes()) as manager:
        manager.step()
    ask(calc, [50])
    looked = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda *a, **k: looked.append(a) or stat(*a, **k))
    assert calc._store.published(1) is None
    assert len(looked) == 1
    calc.close()
