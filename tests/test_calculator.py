"""Behaviour of ProximaCalculator as an ASE calculator."""

import json
import threading

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT

from ase_proxima import Decision, InputError, ProximaCalculator, TargetError
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.testing import HarmonicWells, NearestFrame

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")
BOTH = {"energy": 0.05, "force_max": 0.5}


def make(target=None, **options):
    nearest = NearestFrame()
    defaults = {
        "error_bound": 0.05,
        "error_metric": "energy",
        "surrogate": nearest,
        "uncertainty": nearest,
        "controller": FixedController(0.02),
    }
    return ProximaCalculator(target or HarmonicWells(WATER.positions), **{**defaults, **options})


def shaken(n, seed=0, size=0.01):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        yield atoms


def test_one_decision_per_structure_however_many_properties():
    target = HarmonicWells(WATER.positions)
    calc = make(target, error_bound=BOTH, error_metric=None)
    for n, atoms in enumerate(shaken(30), start=1):
        atoms.calc = calc
        energy = atoms.get_potential_energy()
        forces = atoms.get_forces()
        atoms.get_potential_energy()
        decision = calc.last_decision
        assert calc.stats.n_calls == n
        assert calc.last_decision is decision
        assert forces.shape == (3, 3)
        assert calc.results["energy"] == energy
    assert target.n_runs == calc.stats.n_target_runs


def test_energy_forces_and_stress_of_a_crystal_are_one_call():
    atoms = bulk("Al", cubic=True)
    calc = make(EMT(), controller="baseline", error_metric="stress")
    for n in range(1, 5):
        atoms.rattle(0.01, seed=n)
        atoms.calc = calc
        atoms.get_stress()
        atoms.get_forces()
        atoms.get_potential_energy()
        assert calc.stats.n_calls == n
    reference = atoms.copy()
    reference.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=1e-12)
    assert atoms.get_stress() == pytest.approx(reference.get_stress(), abs=1e-12)


def test_a_molecule_has_no_stress():
    atoms = WATER.copy()
    atoms.calc = make()
    atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    assert atoms.calc.stats.n_calls == 1


def test_flagged_calls_give_the_target_s_results():
    calc = make(controller="baseline")
    for atoms in shaken(5):
        atoms.calc = calc
        assert np.array_equal(atoms.get_forces(), -(atoms.positions - WATER.positions))
        assert calc.last_decision is Decision.TARGET


def test_trusted_calls_give_the_surrogate_s_results():
    calc = make(controller=FixedController(1.0), error_bound=BOTH, error_metric=None)
    first, second = shaken(2)
    for atoms in (first, second):
        atoms.calc = calc
        atoms.get_potential_energy()
    assert calc.last_decision is Decision.SURROGATE
    assert np.array_equal(second.get_forces(), -(first.positions - WATER.positions))


def test_changing_what_was_returned_changes_nothing_inside():
    calc = make(controller=FixedController(1.0), error_bound=BOTH, error_metric=None)
    atoms = WATER.copy()
    atoms.positions[0, 0] += 0.1
    atoms.calc = calc
    calc.get_property("forces", atoms)[...] = 1e9
    calc.results["forces"][...] = 1e9
    assert np.abs(calc.frames[0].results["forces"]).max() == pytest.approx(0.1)
    atoms.positions += 0.01
    assert np.abs(atoms.get_forces()).max() == pytest.approx(0.1)


class Stateful(Calculator):
    """Counts, holds a lock (which cannot be pickled), reuses its arrays and depends on being asked properly."""

    implemented_properties = ("energy", "forces")

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.buffer = np.zeros((3, 3))
        self.asked = []

    def get_property(self, name, atoms=None, allow_calculation=True):
        self.asked.append(name)
        return super().get_property(name, atoms, allow_calculation)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        with self.lock:
            self.buffer[...] = -(atoms.positions - WATER.positions)
            self.results = {"energy": 0.5 * float(np.sum(self.buffer**2)), "forces": self.buffer}


def test_a_stateful_unpicklable_target_is_asked_through_get_property():
    target = Stateful()
    calc = make(target, controller="baseline")
    for atoms in shaken(4):
        atoms.calc = calc
        atoms.get_forces()
    assert sorted(set(target.asked)) == ["energy", "forces"]
    for frame in calc.frames:  # the target has overwritten its array since
        assert np.array_equal(frame.results["forces"], -(frame.x.positions - WATER.positions))


class Meddler:
    """Shifts the structure that it is given."""

    implemented_properties = ("energy",)

    def get_property(self, name, atoms=None, allow_calculation=True):
        atoms.positions += 1.0
        return 0.5


def test_a_target_that_moves_atoms_moves_only_its_own():
    atoms = WATER.copy()
    atoms.calc = make(Meddler(), controller="baseline")
    atoms.get_potential_energy()
    assert np.array_equal(atoms.positions, WATER.positions)
    assert np.array_equal(atoms.calc.frames[0].x.positions, WATER.positions)


def test_a_target_with_constraints_and_momenta():
    from ase.constraints import FixAtoms

    atoms = WATER.copy()
    atoms.set_constraint(FixAtoms([0]))
    atoms.positions += 0.1
    atoms.calc = make(controller="baseline")
    assert atoms.get_forces()[0].tolist() == [0.0, 0.0, 0.0]
    assert np.abs(atoms.calc.frames[0].results["forces"][0]).min() == pytest.approx(0.1)


class Failing(HarmonicWells):
    """Fails on chosen runs."""

    def __init__(self, *failing, value=None):
        super().__init__(WATER.positions)
        self.failing, self.value = failing, value

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.n_runs in self.failing:
            if self.value is None:
                self.results = {}
                raise RuntimeError("SCF did not converge\nin 100 iterations")
            self.results["forces"][1, 1] = self.value


@pytest.mark.parametrize("value", [None, np.nan, np.inf])
def test_a_failing_target_is_a_clear_error_with_the_structure_saved(value, tmp_path):
    import ase.io

    target = Failing(3, 4, value=value)
    calc = make(target, controller="baseline", run_dir=tmp_path / "run")
    structures = list(shaken(4))
    for atoms in structures[:2]:
        atoms.calc = calc
        atoms.get_potential_energy()
    bad = structures[2]
    bad.calc = calc
    with pytest.raises(TargetError) as raised:
        bad.get_potential_energy()
    message = str(raised.value)
    assert message.startswith("the target failed at call 2, 2 times")
    assert "\n" not in message
    saved = ase.io.read(message.rsplit(" ", 1)[1])
    assert saved.positions == pytest.approx(bad.positions, abs=1e-7)
    assert len(calc.frames) == calc.stats.n_calls == 2
    calc.close()
    resumed = make_resumed(tmp_path / "run", target, controller="baseline")
    for atoms in structures[2:]:
        atoms.calc = resumed
        atoms.get_potential_energy()
    assert resumed.stats.n_target == len(resumed.frames) == 4
    resumed.close()


def make_resumed(path, target, **options):
    nearest = NearestFrame()
    return ProximaCalculator.resume(
        path,
        target,
        **{"surrogate": nearest, "uncertainty": nearest, "controller": FixedController(0.02), **options},
    )


def test_the_default_metric_follows_the_target():
    assert (
        ProximaCalculator(HarmonicWells(WATER.positions), error_bound=0.1)._options.error_metric
        == "force_max"
    )
    assert ProximaCalculator(Meddler(), error_bound=0.1)._options.error_metric == "energy"


def test_the_defaults_come_to_trust_the_surrogate():
    """With forces bounded, the molecular surrogate must give deviations of forces."""
    target = HarmonicWells(WATER.positions, stiffness=5.0)
    calc = ProximaCalculator(target, error_bound=0.05)
    atoms = WATER.copy()
    atoms.calc = calc
    for k in range(60):
        atoms.set_distance(0, 1, 0.97 + 0.02 * np.sin(k), fix=0)
        atoms.get_forces()
    assert calc.stats.n_surrogate > 20


def test_the_error_per_atom_is_that_of_the_energy_over_the_atoms():
    rows = []
    for metric in ("energy", "energy_per_atom"):
        for properties in (("energy",), ("energy", "forces")):
            seen = []
            calc = make(
                controller=FixedController(0.0), error_metric=metric, properties=properties, error_bound=1.0
            )
            for atoms in shaken(10):
                atoms.calc = calc
                atoms.get_potential_energy()
            seen.append(calc.stats.error_estimate)
            rows.append(seen[0])
    assert rows[0] == rows[1] > 0
    assert rows[2] == rows[3] == pytest.approx(rows[0] / 3)


def test_a_function_is_no_target():
    with pytest.raises(InputError, match="target must be an ASE calculator, got function"):
        ProximaCalculator(lambda x: x, error_bound=0.1)


def test_the_bound_is_required():
    with pytest.raises(TypeError, match="error_bound"):
        ProximaCalculator(EMT())


def test_nothing_is_known_before_the_first_call():
    calc = make()
    assert calc.last_decision is None
    assert calc.surrogate is None
    assert calc.stats.n_calls == 0


def test_a_plain_atoms_object_serves_as_well():
    atoms = Atoms("H", [[0.1, 0, 0]])
    atoms.calc = ProximaCalculator(HarmonicWells(np.zeros((1, 3))), error_bound=0.1, controller="baseline")
    assert atoms.get_potential_energy() == pytest.approx(0.005)


CHANGES = (
    "nothing",
    "positions",
    "positions, less than ASE tells apart",
    "positions not finite",
    "numbers",
    "cell and positions",
    "pbc",
    "initial_charges",
    "initial_magmoms",
    "an atom more",
)


def change(atoms, what):
    """Change one thing of a structure, or several."""
    if what == "positions":
        atoms.positions[1, 2] += 0.01
    elif what == "positions, less than ASE tells apart":
        atoms.positions[0, 0] += 4e-16
    elif what == "positions not finite":
        atoms.positions[0, 0] = np.nan
    elif what == "numbers":
        atoms.numbers[0] = 16
    elif what == "cell and positions":
        atoms.set_cell(1.01 * atoms.cell, scale_atoms=True)
    elif what == "pbc":
        atoms.pbc = [True, False, True]
    elif what == "initial_charges":
        atoms.set_initial_charges([0.1] * len(atoms))
    elif what == "initial_magmoms":
        atoms.set_initial_magnetic_moments([0.1] * len(atoms))
    elif what == "an atom more":
        atoms.append("H")


@pytest.mark.parametrize("start", [None, "initial_charges", "initial_magmoms"])
@pytest.mark.parametrize("what", CHANGES)
def test_changes_are_found_as_ase_finds_them(what, start):
    calc = make()
    before = Atoms("OH2", [[0.1, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]], cell=[5, 5, 5])
    change(before, start)
    assert calc.check_state(before) == Calculator.check_state(calc, before)
    calc.calculate(before)
    after = before.copy()
    change(after, what)
    expected = Calculator.check_state(calc, after)
    assert sorted(calc.check_state(after)) == sorted(expected)
    assert bool(expected) is (what not in ("nothing", "positions, less than ASE tells apart", start))


@pytest.mark.parametrize("metric", [lambda t, s: abs(t["energy"] - s["energy"]), "energy"])
def test_callable_metric_works_with_the_default_parts_and_holds_its_bound(metric):
    calc = ProximaCalculator(HarmonicWells(WATER.positions), error_bound=0.01, error_metric=metric)
    errors = []
    for atoms in shaken(60):
        atoms.calc = calc
        energy = atoms.get_potential_energy()
        if calc.last_decision is Decision.SURROGATE:
            errors.append(abs(energy - HarmonicWells(WATER.positions).get_property("energy", atoms)))
    assert len(errors) > 20
    assert np.mean(errors) < 0.01


def test_another_electronic_state_is_refused():
    atoms = molecule("H2O")
    atoms.calc = ProximaCalculator(EMT(), error_bound=0.05, when_not_worthwhile="ignore")
    atoms.get_potential_energy()
    atoms.set_initial_magnetic_moments([1.0, 0.0, 0.0])
    with pytest.raises(InputError, match="use another ProximaCalculator for another electronic state"):
        atoms.get_potential_energy()


def test_a_class_in_place_of_a_calculator_is_refused():
    with pytest.raises(InputError, match="got the class EMT: pass an object"):
        ProximaCalculator(EMT, error_bound=0.05)


def test_a_molecule_whose_cell_has_no_volume_may_change_it():
    water = molecule("H2O")
    calc = ProximaCalculator(EMT(), error_bound=0.05, error_metric="energy", when_not_worthwhile="ignore")
    for length in (0.0, 1.0):
        water.cell[0, 0] = length
        assert calc.get_property("energy", water) == EMT().get_potential_energy(water)
        water.positions[0, 0] += 0.1


def test_a_version_that_was_trained_to_foresee_is_in_the_checkpoint(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = ProximaCalculator(HarmonicWells(atoms.positions), error_bound=0.05, run_dir=tmp_path / "run")
    for _ in range(3):
        atoms.rattle(0.01, seed=len(atoms.calc.frames))
        with atoms.calc.target_only():
            atoms.get_forces()
    before = atoms.calc.stats.model_version
    atoms.rattle(0.01, seed=7)
    atoms.calc.foresee(atoms)
    version = atoms.calc.stats.model_version
    assert version == before + 1
    atoms.calc.close()
    saved = json.loads((tmp_path / "run" / "state.json").read_text())["run"]
    assert (saved["counts"]["model_version"], saved["counts"]["n_calls"]) == (version, 3)
