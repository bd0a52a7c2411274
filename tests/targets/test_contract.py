"""The gate for what calculators return."""

from __future__ import annotations

import sys
from itertools import count

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import (
    BaseCalculator,
    CalculationFailed,
    Calculator,
    PropertyNotImplementedError,
)
from ase.calculators.emt import EMT
from ase.calculators.names import names as ase_names
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ase_proxima.errors import InputError
from ase_proxima.targets import parse_target
from ase_proxima.targets.contract import OldStyleCalculator, adapt, ask, checked, offered


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("energy", np.array([-1.5]), -1.5),
        ("energy", np.float32(0.5), 0.5),
        ("energy", 3, 3.0),
        ("stress", np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]), [1, 2, 3, 4, 5, 6]),
        ("forces", [[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]]),
        ("magmoms", np.ones((2, 3), np.float32), np.ones((2, 3))),
        ("forces", np.ma.ones((2, 3)), np.ones((2, 3))),
    ],
)
def test_what_ase_can_read_is_read_as_ase_reads_it(name, value, wanted):
    result = checked(name, value, 2)
    assert np.array_equal(result, wanted)
    assert isinstance(result, float) if np.ndim(wanted) == 0 else result.dtype == float


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("forces", np.zeros((1, 3)), r"forces of shape \(1, 3\) for 2 atoms: they must be \(2, 3\)"),
        ("forces", np.zeros((3, 2)), r"forces of shape \(3, 2\)"),
        ("forces", np.zeros(6), r"forces of shape \(6,\)"),
        ("energy", np.zeros(2), r"energy of shape \(2,\) for 2 atoms: it must be \(\)"),
        ("stress", np.zeros(9), r"stress of shape \(9,\)"),
        ("energy", 1 + 0j, "energy with values of type complex128: real numbers"),
        ("energy", True, "energy with values of type bool"),
        ("energy", "-1.5", "energy with values of type <U4"),
        ("energy", None, "energy with values of type NoneType"),
        ("forces", np.ma.masked_greater(np.ones((2, 3)), 0.5), "forces with masked values"),
        ("forces", [[1.0, 2.0], [3.0]], "no array of numbers"),
        ("forces", np.full((2, 3), np.inf), "forces that are not finite"),
        ("energy", float("nan"), "energy that is not finite"),
        ("stress", np.full(6, np.nan), "stress that is not finite"),
        ("stresses", np.full((2, 6), np.nan), "stresses that are not finite"),
        ("magmoms", [[1.0], [2.0, 3.0]], "magmoms that are no array"),
        ("charges", np.zeros(3), r"charges of shape \(3,\) for 2 atoms: they must be \(2,\)"),
    ],
)
def test_everything_else_is_refused_in_one_line(name, value, words):
    with pytest.raises(CalculationFailed, match=words) as caught:
        checked(name, value, 2)
    assert "\n" not in str(caught.value)


ANY_ARRAY = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.complex128, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)


@given(st.sampled_from(["energy", "forces", "stress", "charges"]), ANY_ARRAY, st.integers(1, 4))
def test_a_result_that_passes_has_its_shape_and_finite_numbers(name, value, n_atoms):
    shapes = {"energy": (), "forces": (n_atoms, 3), "stress": (6,), "charges": (n_atoms,)}
    try:
        result = checked(name, value, n_atoms)
    except CalculationFailed:
        return
    assert np.shape(result) == shapes[name]
    assert np.isfinite(result).all()
    assert np.asarray(result).dtype == float


class Faulty(Calculator):
    """Returns, one after the other, the forces that it was made with."""

    implemented_properties = ["energy", "forces", "energy"]  # noqa: RUF012

    def __init__(self, *forces):
        super().__init__()
        self.forces = iter(forces)

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -1.0, "forces": next(self.forces)}


def test_a_faulty_result_is_forgotten_and_asked_for_again():
    atoms = molecule("H2O")
    calculator = Faulty(np.zeros((1, 3)), np.ones((3, 3)))
    with pytest.raises(CalculationFailed, match=r"forces of shape \(1, 3\)"):
        ask(calculator, atoms, ["energy", "forces"])
    assert ask(calculator, atoms, ["energy", "forces"])["forces"].sum() == 9
    assert offered(calculator) == ("energy", "forces")


def test_each_property_is_asked_with_atoms_of_its_own():
    class Mover(Faulty):
        def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
            assert atoms.positions[0].tolist() == [0.0, 0.0, 0.119262]
            atoms.positions += 1.0
            Calculator.calculate(self, atoms, properties, system_changes)
            self.results = {"energy": -1.0, "forces": np.zeros((3, 3))}

    atoms = molecule("H2O")
    assert ask(Mover(), atoms, ["energy", "forces"])["energy"] == -1.0
    assert atoms.positions[0].tolist() == [0.0, 0.0, 0.119262]


class OldSpring:
    """A calculator from before ASE had a base class for them."""

    def __init__(self):
        self.n = count()

    def get_potential_energy(self, atoms):
        next(self.n)
        return np.array([float((atoms.positions**2).sum())])

    def get_forces(self, atoms):
        return -2 * atoms.positions


def test_an_old_style_calculator_gets_ases_interface():
    spring = adapt(OldSpring())
    assert isinstance(spring, OldStyleCalculator)
    assert offered(spring) == ("energy", "forces")
    assert spring.name == "oldspring"
    atoms = Atoms("H", positions=[[1.0, 2.0, 0.0]], calculator=spring)
    assert ask(spring, atoms, ["energy", "forces"])["energy"] == 5.0
    assert atoms.get_forces().tolist() == [[-2.0, -4.0, 0.0]]
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


@pytest.mark.parametrize("thing", [EMT, "emt", 3, molecule("H2O"), None])
def test_what_is_no_calculator_is_refused(thing):
    with pytest.raises(InputError, match="target must be an ASE calculator, got"):
        adapt(thing)


@pytest.mark.parametrize("name", sorted(set(ase_names) - {"gpaw", "hotbit"}))
def test_every_calculator_of_ase_is_made_or_refused_in_one_line(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    made, message = None, ""
    try:
        made = parse_target(name)
    except InputError as error:
        message = str(error)
    assert isinstance(made, BaseCalculator) or f"target '{name}'" in message or "Asap is not" in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("orca", "target 'orca' cannot be set up: BadConfiguration: No configuration of 'orca'"),
        ("cp2k", "target 'cp2k' needs the program cp2k.psmp, which is not on the path.*ASE_CP2K_COMMAND"),
        ("nwchem", "target 'nwchem' cannot be set up: the program 'nwchem' is not on the path"),
        ("vasp", "needs the program vasp_std"),
        ("turbomole", "AssertionError: multiplicity not defined"),
    ],
)
def test_missing_programs_are_named_before_a_run(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=words):
        parse_target(name, atoms=molecule("CH4"))


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Al", cubic=True) * 3,
        fcc111("Cu", (3, 3, 3), vacuum=7.0),
        Atoms("AuCu", positions=[[0, 0, 0], [0, 0.3, 2.5]]),
    ],
)
def test_asap_gives_the_energies_of_ases_emt(atoms):
    pytest.importorskip(
        "asap3", reason="asap3 is not installed: it is built by pip where there is a C++ compiler"
    )
    target = parse_target("asap", atoms=atoms)
    for seed in range(2):
        atoms.rattle(0.05, seed=seed)
        found, wanted = ask(target, atoms, ["energy", "forces"]), EMT(asap_cutoff=True)
        assert found["energy"] == pytest.approx(wanted.get_potential_energy(atoms), abs=1e-7 * len(atoms))
        assert np.abs(found["forces"] - wanted.get_forces(atoms)).max() < 1e-6


def test_asap_is_checked_before_a_run(monkeypatch):
    pytest.importorskip(
        "asap3", reason="asap3 is not installed: it is built by pip where there is a C++ compiler"
    )
    with pytest.raises(InputError, match="asap has no parameters for Si, only for Ag, Al"):
        parse_target("asap", atoms=bulk("Si"))
    with pytest.raises(InputError, match="has no options"):
        parse_target("asap:x=1")
    monkeypatch.setitem(sys.modules, "asap3", None)
    with pytest.raises(InputError, match=r"pip install 'ase-proxima\[asap\]'"):
        parse_target("asap")


def test_an_element_that_a_target_has_not_is_told_each_time():
    target, silicon = EMT(), bulk("Si")
    for name in ("forces", "forces", "energy"):  # and no half of the first try is left
        with pytest.raises(
            InputError, match=rf"emt cannot compute {name} of Si2 \(No EMT-potential for Si\)"
        ):
            ask(target, silicon, [name])
