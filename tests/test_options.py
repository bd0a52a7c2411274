"""Options at the door: numbers of NumPy, policies of one's own, parts by import."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima import Decision, ProximaCalculator, RunDirectoryError, proxima
from ase_proxima.controllers import FixedController
from ase_proxima.executor.options import Options
from ase_proxima.testing import HarmonicWells, NearestFrame
from ase_proxima.types import Frame, Prediction
from ase_proxima.uncertainty import InputDistance

WATER = molecule("H2O")


def shaken(n, size=0.01):
    rng = np.random.default_rng(0)
    for _ in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        yield atoms


def test_numbers_of_numpy_are_numbers(tmp_path):
    options = {
        "error_bound": np.float32(0.05),
        "error_metric": "energy",
        "seed": np.int64(3),
        "audit_rate": np.float64(0.1),
        "training": np.int32(5),
        "when_not_worthwhile": "ignore",
    }
    calc = ProximaCalculator(HarmonicWells(WATER.positions), run_dir=tmp_path / "run", **options)
    for atoms in shaken(3):
        atoms.calc = calc
        atoms.get_potential_energy()
    calc.close()
    settings = json.loads((tmp_path / "run" / "state.json").read_text())["settings"]
    assert (settings["seed"], settings["training"]) == (3, 5)
    assert settings["error_bound"] == pytest.approx(0.05)
    ProximaCalculator.resume(tmp_path / "run", HarmonicWells(WATER.positions), **options).close()


def test_a_mapping_may_have_numbers_of_numpy():
    options = Options(
        error_bound={"energy": np.float32(0.5), "force_max": np.int64(1)},
        error_metric="energy",
        properties=("energy", "forces"),
    )
    assert options.bounds == {"energy": 0.5, "force_max": 1.0}
    assert all(type(bound) is float for bound in options.bounds.values())


@dataclass(frozen=True)
class AsItCame:
    """A policy of the user's own that never trains."""

    before_answer: bool = False

    def due(self, *, n_frames, n_trained, trusted):
        return False


def test_a_policy_of_ones_own_that_never_trains_lets_a_fitted_surrogate_answer():
    nearest = NearestFrame()
    nearest.fit([Frame(WATER, {"energy": 0.0, "forces": np.zeros((3, 3))})])
    calc = ProximaCalculator(
        HarmonicWells(WATER.positions),
        error_bound=0.05,
        error_metric="energy",
        surrogate=nearest,
        uncertainty=nearest,
        controller=FixedController(1.0),
        training=AsItCame(),
        when_not_worthwhile="ignore",
    )
    for atoms in shaken(60):
        atoms.calc = calc
        atoms.get_potential_energy()
    assert (calc.stats.n_surrogate, calc.stats.model_version) == (60, 0)


def test_a_distance_is_fitted_twice_to_frames_read_anew():
    """Equal arrays that are not the same objects, as after reading them again."""

    def frames():
        return [Frame(np.array([x, 2 * x]), {"value": x}, k) for k, x in enumerate((0.0, 1.0, 3.0))]

    distance = InputDistance()
    distance.fit(frames())
    first = distance.measure(np.array([2.0, 4.0]), Prediction({}))
    distance.fit(frames())
    assert distance.measure(np.array([2.0, 4.0]), Prediction({})) == first > 0


def test_a_run_directory_of_the_version_before_is_refused_in_one_line(tmp_path):
    options = {"error_bound": 0.05, "error_metric": "energy"}
    ProximaCalculator(HarmonicWells(WATER.positions), run_dir=tmp_path / "run", **options).close()
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    del state["format"]
    (tmp_path / "run" / "state.json").write_text(json.dumps(state))
    with pytest.raises(RunDirectoryError, match="was written in format 1") as raised:
        ProximaCalculator.resume(tmp_path / "run", HarmonicWells(WATER.positions))
    assert "\n" not in str(raised.value)


def test_parts_are_exported_and_loaded_when_they_are_used():
    script = (
        "import sys; from ase_proxima import surrogates, uncertainty, controllers; "
        "print([m in sys.modules for m in ('sklearn', 'dscribe', 'featomic')]); "
        "[getattr(room, name) for room in (surrogates, uncertainty, controllers) for name in room.__all__]; "
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[False, False, False]", "True"]


def test_a_decorated_function_takes_numbers_of_numpy():
    @proxima(error_bound=np.float32(0.01), seed=np.int64(1))
    def double(x):
        return 2.0 * x

    assert double(np.float32(0.5)) == 1.0
    assert double.last_decision is Decision.TARGET


def test_a_metric_that_no_bound_uses_makes_no_other_run(tmp_path):
    by_metric = Options(error_bound={"energy": 0.05}, properties=("energy",))
    by_metric.check_same({**by_metric.describe(), "error_metric": "force_max"}, tmp_path)
    one = Options(error_bound=0.05, properties=("energy", "forces"))
    with pytest.raises(
        RunDirectoryError, match="was made with error_metric = 'energy', now it is 'force_max'"
    ):
        one.check_same({**one.describe(), "error_metric": "energy"}, tmp_path)
