"""Relaxations and bands that end on the target."""

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS

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


def test_there_must_be_something_to_confirm():
    atoms = WATER.copy()
    atoms.calc = EMT()
    with pytest.raises(InputError, match="got BFGS with EMT: there is nothing to confirm"):
        confirm(BFGS(atoms, logfile=None))
