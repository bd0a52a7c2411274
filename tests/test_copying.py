"""What becomes of a ProximaCalculator whose atoms are copied or pickled."""

import copy
import pickle

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from ase_proxima import InputError, ProximaCalculator
from ase_proxima.testing import HarmonicWells

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")


def make_atoms(target=None, **options):
    atoms = WATER.copy()
    target = target or HarmonicWells(WATER.positions)
    atoms.calc = ProximaCalculator(target, error_bound=0.05, error_metric="energy", seed=1, **options)
    return atoms


def shake(atoms, n, seed):
    """Energies and decisions at n structures."""
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(n):
        atoms.positions = WATER.positions + rng.normal(0, 0.02, (3, 3))
        seen.append((atoms.get_potential_energy(), atoms.calc.last_decision))
    return seen


@pytest.mark.parametrize("n_before", [0, 25])
def test_a_deep_copy_goes_on_as_the_original_does_and_independently(n_before):
    atoms = make_atoms(audit_rate=1.0)
    shake(atoms, n_before, seed=0)
    runs_before = atoms.calc.target.n_runs
    other = copy.deepcopy(atoms)
    there = shake(other, 30, seed=1)
    assert atoms.calc.stats.n_calls == n_before
    assert atoms.calc.target.n_runs == runs_before
    assert other.calc.target.n_runs == other.calc.stats.n_target_runs > runs_before
    assert there == shake(atoms, 30, seed=1)


def test_copies_of_the_atoms_come_without_the_calculator():
    assert make_atoms().copy().calc is None


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_pickling_is_refused_in_one_line_that_says_what_to_do(called, stored, tmp_path):
    atoms = make_atoms(EMT(), run_dir=tmp_path / "run" if stored else None)
    if called:
        atoms.get_potential_energy()
    for what in (atoms, atoms.calc):
        with pytest.raises(
            InputError, match=r"cannot be pickled .* make one there, or close it and"
        ) as raised:
            pickle.dumps(what)
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="cannot be pickled"):
        copy.copy(atoms.calc)
    atoms.calc.close()
    assert pickle.dumps(atoms.copy())


def test_a_run_directory_has_one_calculator(tmp_path):
    atoms = make_atoms(run_dir=tmp_path / "run")
    with pytest.raises(InputError, match=r"cannot be copied, got .*run: make another one with a run_dir"):
        copy.deepcopy(atoms)
    atoms.calc.close()


class Locked(HarmonicWells):
    def __deepcopy__(self, memo):
        raise TypeError("it holds a lock")


def test_a_target_that_cannot_be_copied_is_named():
    atoms = make_atoms(Locked(WATER.positions))
    with pytest.raises(
        InputError, match=r"the target Locked cannot be copied \(it holds a lock\): make another"
    ):
        copy.deepcopy(atoms)
