"""No number leaves the surrogate that no bound covers; finite differences, repeats and other properties."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.optimize import FIRE
from ase.units import GPa
from ase.vibrations import Vibrations

from ase_proxima import Decision, InputError, ProximaCalculator, ProximaWarning
from ase_proxima.controllers import FixedController
from ase_proxima.executor import Watch
from ase_proxima.metrics import find_metric
from ase_proxima.targets import parse_target
from ase_proxima.testing import HarmonicWells, NearestFrame

pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")


def wrap(target=None, **options):
    return ProximaCalculator(
        target or EMT(), **{"error_bound": 0.05, "when_not_worthwhile": "ignore", **options}
    )


def strained(start, deformation):
    atoms = start.copy()
    atoms.set_cell(start.cell @ deformation, scale_atoms=True)
    return atoms


def shaken(start, n, size=0.02, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        atoms = start.copy()
        atoms.positions += rng.normal(0, size, atoms.positions.shape)
        yield atoms


@pytest.mark.filterwarnings("ignore:structures differ by less:ase_proxima.ProximaWarning")
@pytest.mark.parametrize(("name", "modulus"), [("Cu", 132.0), ("Al", None)])
def test_an_equation_of_state_is_right_to_a_few_mev_an_atom_and_3_percent(name, modulus):
    cells = [strained(bulk(name, cubic=True), scale * np.eye(3)) for scale in np.linspace(0.9, 1.1, 21)]
    calc, exact, energies = wrap(), [], []
    for atoms in cells:
        exact.append(EMT().get_property("energy", atoms))
        energies.append(calc.get_property("energy", atoms))
    assert np.abs(np.subtract(energies, exact)).max() / 4 < 0.005

    def bulk_modulus(values):
        near = slice(int(np.argmin(values)) - 5, int(np.argmin(values)) + 6)
        volumes = [atoms.get_volume() for atoms in cells]
        return EquationOfState(volumes[near], values[near], eos="birchmurnaghan").fit()[2] / GPa

    found = bulk_modulus(energies)
    assert found == pytest.approx(bulk_modulus(exact), rel=0.03)
    assert modulus is None or found == pytest.approx(modulus, rel=0.03)


def test_elastic_constants_are_right_since_the_target_answers_what_the_bound_does_not_resolve():
    start = bulk("Al", cubic=True)
    calc = wrap()
    shears, cells = (0.0, 0.005, -0.005, 0.01, -0.01), []
    for shear in shears:
        deformation = np.eye(3)
        deformation[1, 2] = deformation[2, 1] = shear / 2
        cells.append(strained(start, deformation))
    with pytest.warns(ProximaWarning, match="differ by less than the error bound resolves"):
        stresses = [calc.get_property("stress", atoms)[3] for atoms in cells]
    assert np.polyfit(shears, stresses, 1)[0] / GPa == pytest.approx(31.8, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("strain", "volume"), [(0.05, 15.9), (-0.05, 15.9)])
def test_a_relaxed_cell_has_its_volume_and_little_true_stress(strain, volume):
    atoms = strained(bulk("Al", cubic=True) * (2, 2, 2), (1 + strain) * np.eye(3))
    atoms.rattle(0.1, seed=5)
    atoms.calc = wrap()
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=150)
    assert atoms.get_volume() / 32 == pytest.approx(volume, rel=0.01)
    assert np.abs(EMT().get_property("stress", atoms)).max() < 0.3 * GPa
    assert atoms.calc.stats.n_target_runs < atoms.calc.stats.n_calls / 2


def test_what_was_not_agreed_on_is_in_no_file_written_from_the_results(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = wrap(properties=["energy", "forces"])
    atoms.get_potential_energy()
    write(tmp_path / "cell.extxyz", atoms)
    assert "stress" not in (tmp_path / "cell.extxyz").read_text()
    assert set(read(tmp_path / "cell.extxyz").calc.results) == {"energy", "forces", "free_energy"}


def test_results_are_cut_to_the_properties_agreed_on():
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = wrap(properties=["energy", "forces"])
    atoms.get_forces()
    assert set(atoms.calc.results) == {"energy", "forces", "free_energy"}
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_forces_under_a_bound_on_the_energy_alone_are_the_target_s_with_one_warning():
    calc = wrap(error_metric="energy", error_bound=0.5)
    structures = list(shaken(bulk("Al", cubic=True), 40))
    for atoms in structures[:20]:
        calc.get_property("energy", atoms)
    assert calc.last_decision is not Decision.TARGET
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for atoms in structures[20:]:
            forces = calc.get_property("forces", atoms)
            assert forces == pytest.approx(EMT().get_property("forces", atoms), abs=1e-10)
    assert len(caught) == 1
    assert "no error bound covers forces" in str(caught[0].message)
    assert 'error_bound={"force_max": ..., ...}' in str(caught[0].message)
    assert set(calc.stats.errors_seen) == {"energy", "force_max", "stress"}


@pytest.mark.filterwarnings("ignore::ase_proxima.ProximaWarning")
def test_a_run_that_asks_for_uncovered_forces_alone_says_why_nothing_was_trusted(tmp_path):
    calc = wrap(error_metric="energy", error_bound=0.5, when_not_worthwhile="warn", run_dir=tmp_path / "run")
    for atoms in shaken(bulk("Al", cubic=True), 101):
        calc.get_property("forces", atoms)
    told = calc.stats.notes
    calc.close()
    (note,) = (note for note in told if "nothing was trusted" in note)
    assert note == (
        "nothing was trusted in 101 calls: no error bound covers forces, which were asked for: bound them as well"
    )
    again = ProximaCalculator.resume(tmp_path / "run", EMT())
    assert again.stats.notes == told
    again.close()


@pytest.mark.filterwarnings("error::ase_proxima.NotWorthwhileWarning")
def test_a_target_that_is_told_to_answer_a_hundred_calls_is_no_reason_to_blame_the_uncertainty(tmp_path):
    target = HarmonicWells(WATER.positions)
    calc = wrap(target, when_not_worthwhile="warn", run_dir=tmp_path / "run", surrogate=NearestFrame())
    with calc.target_only():
        for atoms in shaken(WATER, 101, 1e-3):
            calc.get_property("forces", atoms)
    calc.close()
    again = ProximaCalculator.resume(tmp_path / "run", target, surrogate=NearestFrame())
    for one in (calc, again):
        assert one.stats.n_target == 101
        assert not any("nothing was trusted" in note for note in one.stats.notes)
    again.close()


def test_a_bound_on_forces_holds_energy_and_stress_too():
    start = bulk("Cu", cubic=True)
    calc = wrap(error_bound=0.1)
    errors = {"energy": [], "stress": []}
    for k, atoms in enumerate(shaken(start, 150, 0.05)):
        atoms.set_cell(start.cell * (1 + 0.02 * np.sin(k / 10)), scale_atoms=True)
        energy, stress = calc.get_property("energy", atoms), calc.get_property("stress", atoms)
        if calc.last_decision is Decision.SURROGATE:
            errors["energy"].append(abs(energy - EMT().get_property("energy", atoms)) / len(atoms))
            errors["stress"].append(np.abs(stress - EMT().get_property("stress", atoms)).max())
    assert len(errors["energy"]) > 75
    assert np.mean(errors["energy"]) < 0.1 * 0.1
    assert np.mean(errors["stress"]) < 0.1 / 20


@pytest.mark.parametrize("name", ["force_max", "stress"])
def test_agreement_on_zero_is_no_evidence(name):
    watch = Watch(*find_metric(name))
    zero = {"forces": np.zeros((4, 3)), "stress": np.zeros(6)}
    other = {"forces": np.full((4, 3), 0.1), "stress": np.full(6, 0.1)}
    assert watch.measure(None, zero, zero) is None
    assert watch.measure(None, other, zero) == watch.measure(None, zero, other) > 0.09
    assert watch.measure(None, {"energy": 1.0}, zero) is None


def test_a_perfect_crystal_counts_as_no_force_error():
    calc = wrap()
    for scale in np.linspace(0.95, 1.05, 6):
        calc.get_property("energy", strained(bulk("Cu", cubic=True), scale * np.eye(3)))
    seen = calc.stats.errors_seen
    assert "force_max" not in seen
    assert seen["stress"].n == calc.stats.n_target_runs - 1


def test_properties_follow_the_structure():
    slab = fcc100("Cu", (2, 2, 3), vacuum=5.0)
    cluster = Atoms("Cu4", 1.8 * np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]))
    calc = wrap()
    for structure in (bulk("Cu", cubic=True), cluster, slab, bulk("Cu", cubic=True)):
        for k, atoms in enumerate(shaken(structure, 4, seed=7)):
            calc.get_property("forces", atoms)
            assert ("stress" in calc.results) is bool(structure.pbc.all())
            n_calls = calc.stats.n_calls
            if structure.pbc.all():
                assert calc.get_property("stress", atoms).shape == (6,)
            else:
                with pytest.raises(PropertyNotImplementedError):
                    calc.get_property("stress", atoms)
            assert calc.stats.n_calls == n_calls, k


class Dipolar(HarmonicWells):
    """Has a dipole too, and a free energy that is or is not the energy."""

    implemented_properties = ("energy", "forces", "dipole", "free_energy")

    def __init__(self, entropy=0.0):
        super().__init__(WATER.positions)
        self.entropy = entropy

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["dipole"] = self.atoms.positions.sum(axis=0)
        self.results["free_energy"] = self.results["energy"] - self.entropy


def ready(target, **options):
    """A calculator that trusts a surrogate near the first structure."""
    nearest = NearestFrame()
    parts = {"surrogate": nearest, "uncertainty": nearest, "controller": FixedController(10.0)}
    calc = wrap(target, error_metric="force_max", **parts, **options)
    calc.get_property("forces", WATER)
    return calc


def test_what_the_surrogate_has_not_the_target_is_asked_for_with_one_warning():
    calc = ready(Dipolar())
    first, second = shaken(WATER, 2)
    calc.get_property("forces", first)
    assert calc.last_decision is Decision.SURROGATE
    with pytest.warns(ProximaWarning, match="covers dipole, so the target answers"):
        assert calc.get_property("dipole", first) == pytest.approx(first.positions.sum(axis=0))
    assert calc.last_decision is Decision.TARGET
    assert calc.get_property("dipole", second) == pytest.approx(second.positions.sum(axis=0))
    assert calc.target.n_runs == 3


def test_the_free_energy_is_the_energy_where_the_target_says_so():
    calc = ready(Dipolar())
    (atoms,) = shaken(WATER, 1)
    assert calc.get_property("free_energy", atoms) == calc.get_property("energy", atoms)
    assert calc.last_decision is Decision.SURROGATE


def test_a_free_energy_of_its_own_is_the_target_s():
    calc = ready(Dipolar(entropy=0.3))
    (atoms,) = shaken(WATER, 1)
    with pytest.warns(ProximaWarning, match="covers free_energy"):
        free = calc.get_property("free_energy", atoms)
    assert free == pytest.approx(calc.get_property("energy", atoms) - 0.3)
    assert calc.last_decision is Decision.TARGET


def test_cells_relax_with_a_preconditioner_that_asks_for_free_energies():
    from ase.filters import UnitCellFilter
    from ase.optimize.precon import PreconLBFGS

    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.02, seed=3)
    atoms.calc = wrap()
    assert PreconLBFGS(UnitCellFilter(atoms), precon=None, logfile=None).run(fmax=0.05, steps=60)


@pytest.mark.filterwarnings("ignore::ase_proxima.ProximaWarning")
def test_a_numerical_stress_is_the_target_s():
    from ase.calculators.fd import calculate_numerical_stress

    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = wrap()
    atoms.get_potential_energy()
    exact = EMT().get_property("stress", atoms)
    assert calculate_numerical_stress(atoms, force_consistent=True) == pytest.approx(exact, abs=1e-5)


def test_a_displaced_atom_is_answered_by_the_target_with_one_warning():
    calc = ready(HarmonicWells(WATER.positions))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for atom in range(3):
            for axis in range(3):
                for shift in (0.01, -0.01):
                    atoms = WATER.copy()
                    atoms.positions[atom, axis] += shift
                    calc.get_property("forces", atoms)
                    assert calc.last_decision is Decision.TARGET
    assert len(caught) == 1
    assert "with calc.target_only():" in str(caught[0].message)


@pytest.mark.filterwarnings("ignore:structures differ by less:ase_proxima.ProximaWarning")
@pytest.mark.parametrize("centre_first", [True, False])
def test_displaced_atoms_are_noticed_when_the_centre_was_long_ago_or_never_asked_for(centre_first):
    benzene = molecule("C6H6")
    nearest = NearestFrame()
    calc = wrap(
        HarmonicWells(benzene.positions),
        surrogate=nearest,
        uncertainty=nearest,
        controller=FixedController(10.0),
    )
    (away,) = shaken(benzene, 1, 0.2)
    calc.get_property("forces", benzene if centre_first else away)
    decisions = []
    for atom, axis in np.ndindex(12, 3):
        for shift in (0.01, -0.01):
            atoms = benzene.copy()
            atoms.positions[atom, axis] += shift
            calc.get_property("forces", atoms)
            decisions.append(calc.last_decision)
    assert set(decisions[0 if centre_first else 3 :]) == {Decision.TARGET}


@pytest.mark.xtb
@pytest.mark.slow
def test_vibrations_of_benzene_without_a_word_of_the_user_s_are_those_of_the_target(tmp_path):
    pytest.importorskip("tblite")

    def frequencies(calculator, name):
        atoms = molecule("C6H6")
        atoms.calc = calculator
        vibrations = Vibrations(atoms, name=str(tmp_path / name))
        vibrations.run()
        return vibrations.get_frequencies()

    calc = wrap(parse_target("xtb:GFN2"))
    with pytest.warns(ProximaWarning, match="differ by less than the error bound resolves"):
        found = frequencies(calc, "wrapped")
    assert np.abs(found - frequencies(parse_target("xtb:GFN2"), "plain")).max() < 1.0
    assert calc.stats.n_calls == 73


def test_a_relaxation_along_an_axis_is_no_finite_difference():
    carbon_dioxide, nearest = molecule("CO2"), NearestFrame()
    calc = wrap(
        HarmonicWells(carbon_dioxide.positions),
        surrogate=nearest,
        uncertainty=nearest,
        controller=FixedController(10.0),
    )
    for k in range(6):
        atoms = carbon_dioxide.copy()
        atoms.positions[1, 2] += 0.01 * (5 - k)
        atoms.positions[2, 2] -= 0.01 * (5 - k)
        calc.get_property("forces", atoms)
    assert calc.stats.n_target == 1


def test_within_target_only_the_surrogate_says_nothing():
    calc = ready(HarmonicWells(WATER.positions))
    structures = list(shaken(WATER, 6))
    atoms = structures[0].copy()
    atoms.calc = calc
    guessed = atoms.get_forces()
    assert calc.last_decision is Decision.SURROGATE
    with calc.target_only() as same:
        assert same is calc
        assert not np.array_equal(atoms.get_forces(), guessed)
        for structure in structures[1:4]:
            assert np.array_equal(
                calc.get_property("forces", structure), WATER.positions - structure.positions
            )
    calc.get_property("forces", structures[4])
    assert calc.last_decision is Decision.SURROGATE
    assert (calc.stats.n_target, calc.stats.n_surrogate) == (5, 2)


def test_structures_asked_for_again_are_the_same_call_with_the_same_answer():
    calc = ready(HarmonicWells(WATER.positions))
    images = list(shaken(WATER, 20))
    first = [calc.get_property("forces", atoms) for atoms in images]
    stats = calc.stats
    for _ in range(3):
        for atoms, forces in zip(images, first, strict=True):
            assert np.array_equal(calc.get_property("forces", atoms), forces)
    assert (calc.stats.n_calls, calc.stats.n_target_runs) == (stats.n_calls, stats.n_target_runs)
    assert calc.stats.n_calls == 21


@pytest.mark.parametrize("entry", [{"charge": 1}, {"spin": 1}, {"multiplicity": 3}])
def test_an_electronic_state_in_info_is_part_of_the_structure(entry):
    calc = wrap()
    atoms = WATER.copy()
    calc.get_property("energy", atoms)
    atoms.info.update(entry)
    with pytest.raises(InputError, match="use another ProximaCalculator for another electronic state"):
        calc.get_property("energy", atoms)


def test_an_entry_that_is_no_number_is_refused():
    atoms = WATER.copy()
    atoms.info["charge"] = "+1"
    with pytest.raises(InputError, match=r"atoms\.info\['charge'\] must be a number, got '\+1'"):
        wrap().get_property("energy", atoms)


def test_settings_cannot_be_changed_and_say_what_was_wrapped():
    calc = wrap(EMT(asap_cutoff=True))
    with pytest.raises(InputError, match="are fixed, got asap_cutoff"):
        calc.set(asap_cutoff=False)
    assert calc.name == "proxima(emt)"
    assert calc.parameters["target"] == {"name": "emt", "parameters": {"asap_cutoff": True}}
    assert calc.parameters["error_bound"] == 0.05


class Blind(Calculator):
    """Gives the answer for the first structure for ever."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -1.0, "forces": np.full((3, 3), 0.25)}


def test_a_target_that_sees_no_positions_is_noticed():
    first, second = shaken(WATER, 2)
    calc = wrap(Blind(), controller="baseline")
    calc.get_property("energy", first)
    moved = first.copy()
    moved.positions += 0.5
    calc.get_property("energy", moved)  # moved as a whole, which changes nothing
    with pytest.warns(ProximaWarning, match="the target blind gave the same results to the last bit"):
        calc.get_property("energy", second)
