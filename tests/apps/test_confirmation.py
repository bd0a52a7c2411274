"""Relaxations and bands that end on the target."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from ase_proxima import InputError, ProximaCalculator, confirm
from ase_proxima.controllers import FixedController
from ase_proxima.testing import HarmonicWells

pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")


def relaxed(start, target, **options):
    atoms = start.copy()
    atoms.calc = ProximaCalculator(target, error_bound=0.05, **options)
    optimizer = BFGS(atoms, logfile=None)
    optimizer.run(fmax=0.005, steps=50)
    return atoms, optimizer


@pytest.mark.parametrize("seed", range(4))
def test_the_end_is_true_for_the_target(seed):
    start = WATER.copy()
    start.rattle(0.1, seed=seed)
    target = HarmonicWells(WATER.positions, stiffness=5.0)
    atoms, optimizer = relaxed(start, target)
    before = target.n_runs
    assert confirm(optimizer, fmax=0.005)
    assert (
        np.linalg.norm(HarmonicWells(WATER.positions, 5.0).get_property("forces", atoms), axis=1).max()
        < 0.005
    )
    assert target.n_runs - before <= 12


def test_a_surrogate_that_never_agrees_leaves_the_last_steps_to_the_target():
    class Wrong(HarmonicWells):
        """Learns nothing: its forces vanish everywhere."""

        incremental, min_frames, properties = True, 1, ("energy", "forces")

        def fit(self, frames):
            pass

        def save(self, folder):
            pass

        def load(self, folder, frames):
            pass

        def predict(self, x):
            from ase_proxima.types import Prediction

            return Prediction({"energy": 0.0, "forces": np.zeros((3, 3))}, {})

        def extend(self, frames):
            pass

        def measure(self, x, prediction):
            return 0.0

    start = WATER.copy()
    start.positions += [[0.1, 0.2, 0.0], [0.0, 0.1, 0.3], [0.2, 0.0, 0.1]]
    wrong = Wrong(WATER.positions)
    atoms, optimizer = relaxed(
        start,
        HarmonicWells(WATER.positions),
        surrogate=wrong,
        uncertainty=wrong,
        controller=FixedController(1.0),
    )
    assert confirm(optimizer, fmax=0.005)
    assert np.abs(atoms.positions - WATER.positions).max() < 0.005


class Shifted(HarmonicWells):
    """The target's forces with a constant added, and a constant uncertainty."""

    incremental, min_frames, properties = True, 1, ("energy", "forces")

    def __init__(self, shift, uncertainty):
        super().__init__(WATER.positions)
        self.shift, self.uncertainty = shift, uncertainty

    def fit(self, *_):
        pass

    extend = save = load = fit

    def predict(self, x):
        from ase_proxima.types import Prediction

        forces = HarmonicWells(WATER.positions).get_property("forces", x).copy()
        forces[0, 0] += self.shift
        return Prediction({"energy": 0.0, "forces": forces}, {})

    def measure(self, x, prediction):
        return self.uncertainty


class Calibrated(FixedController):
    """Trusts everything, and takes the uncertainty for the error to expect."""

    def decide(self, state, uncertainty):
        return replace(super().decide(state, uncertainty), alpha=1.0)


@pytest.mark.parametrize(
    ("shift", "uncertainty", "metric", "n_looks"),
    [
        (0.0, 0.004, "force_max", 1),  # the word of a surrogate that proves right at one image is taken
        (0.0, 0.006, "force_max", 5),  # above a tenth of fmax it is not
        (0.02, 0.004, "force_max", 5),  # nor where a look shows more than 2.5 times what was expected
        (0.0, 0.004, "force_mae", 5),  # nor where nothing bounds the largest force
    ],
)
def test_the_target_looks_at_the_images_of_a_band_that_it_has_to(shift, uncertainty, metric, n_looks):
    target, parts = HarmonicWells(WATER.positions), Shifted(shift, uncertainty)
    calculator = ProximaCalculator(
        target,
        error_bound=0.05,
        error_metric=metric,
        surrogate=parts,
        uncertainty=parts,
        controller=Calibrated(1.0),
    )
    images = [WATER.copy() for _ in range(5)]
    for k, image in enumerate(images):
        image.positions[:, 0] += 0.1 * (k - 2)
        image.calc = calculator
    elsewhere = WATER.copy()
    elsewhere.positions[0, 1] += 0.3
    with calculator.target_only():
        calculator.get_property("forces", elsewhere)
    before = target.n_runs
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    assert confirm(FIRE(band, logfile=None), fmax=0.05)
    assert target.n_runs - before == n_looks


def test_there_must_be_something_to_confirm():
    atoms = WATER.copy()
    atoms.calc = EMT()
    with pytest.raises(InputError, match="got BFGS with EMT: there is nothing to confirm"):
        confirm(BFGS(atoms, logfile=None))


def test_within_a_block_the_surrogate_answers_where_it_expects_little_enough():
    parts = Shifted(0.0, 0.004)
    atoms = WATER.copy()
    atoms.calc = calculator = ProximaCalculator(
        HarmonicWells(WATER.positions),
        error_bound=0.05,
        error_metric="force_max",
        surrogate=parts,
        uncertainty=parts,
        controller=Calibrated(1.0),
    )
    assert calculator.foresee(atoms) == (None, np.inf)
    atoms.get_forces()
    atoms.positions[0, 0] += 0.1
    forces, error = calculator.foresee(atoms)
    assert forces[0, 0] == pytest.approx(HarmonicWells(WATER.positions).get_property("forces", atoms)[0, 0])
    assert (error, calculator.stats.n_calls) == (0.004, 1)
    decisions = []
    for beyond in (0.004, 0.003, 0.0):
        atoms.positions[0, 0] += 0.1
        with calculator.target_only(beyond=0.004), calculator.target_only(beyond=beyond):
            atoms.get_forces()
        decisions.append(calculator.last_decision.value)
    assert decisions == ["surrogate", "target", "target"]


@pytest.mark.parametrize("beyond", [-0.1, np.nan])
def test_an_error_to_allow_must_be_a_number(beyond):
    calculator = ProximaCalculator(EMT(), error_bound=0.05)
    with (
        pytest.raises(InputError, match="beyond must be 0 or a force error"),
        calculator.target_only(beyond=beyond),
    ):
        pass
