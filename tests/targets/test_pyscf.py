from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import SCFError
from ase.units import Hartree

from ase_proxima.errors import InputError
from ase_proxima.targets.psi4 import Psi4Calculator
from ase_proxima.targets.pyscf import PySCFCalculator

pytestmark = pytest.mark.pyscf
pytest.importorskip("pyscf")


@pytest.mark.psi4
@pytest.mark.usefixtures("needs_psi4")
@pytest.mark.parametrize("basis", ["6-31G*", "6-31+G**", "6-311G*", "cc-pVDZ", "def2-SVP"])
def test_agrees_with_psi4_without_density_fitting(methane, basis):
    with Psi4Calculator("HF", basis, options={"scf_type": "pk"}) as psi4:
        psi4.calculate(methane, ["forces"])
        expected = psi4.results
    calculator = PySCFCalculator("HF", basis)
    calculator.calculate(methane, ["forces"])
    assert calculator.results["energy"] == pytest.approx(expected["energy"], abs=1e-5)
    assert calculator.results["forces"] == pytest.approx(expected["forces"], abs=1e-5)


def test_methane_has_the_published_energy():
    # Hehre, Radom, Schleyer, Pople (1986): -40.19517 Hartree at r(CH) = 1.084 Å.
    side = 1.0837 / np.sqrt(3)
    corners = side * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    atoms = Atoms("CH4", positions=[[0, 0, 0], *corners], calculator=PySCFCalculator())
    assert atoms.get_potential_energy() / Hartree == pytest.approx(-40.19517, abs=1e-5)


@pytest.mark.parametrize(("index", "axis"), [(0, 1), (2, 0)])
def test_forces_are_the_slope_of_the_energy(methane, numerical_force, index, axis):
    methane.calc = PySCFCalculator()
    assert methane.get_forces()[index, axis] == pytest.approx(numerical_force(methane, index, axis), abs=2e-5)


def test_functional_forces_follow_the_grid(methane, numerical_force):
    methane.calc = PySCFCalculator("PBE", "STO-3G")
    assert methane.get_forces()[2, 0] == pytest.approx(numerical_force(methane, 2, 0), abs=5e-3)


def test_forces_turn_with_the_molecule(methane, rotation):
    methane.calc = PySCFCalculator("HF", "STO-3G")
    forces = methane.get_forces()
    turned = methane.copy()
    turned.positions = methane.positions @ rotation.T
    turned.calc = methane.calc
    assert turned.get_forces() == pytest.approx(forces @ rotation.T, abs=1e-6)


def test_result_does_not_depend_on_earlier_calls(methane):
    fresh, used = PySCFCalculator("HF", "STO-3G"), PySCFCalculator("HF", "STO-3G")
    used.calculate(molecule("H2O"), ["forces"])
    for calculator in (fresh, used):
        calculator.calculate(methane, ["forces"])
    assert fresh.results["energy"] == used.results["energy"]
    assert (fresh.results["forces"] == used.results["forces"]).all()


def test_radical_is_unrestricted():
    calculator = PySCFCalculator("HF", "STO-3G")
    assert calculator.get_potential_energy(Atoms("H")) / Hartree == pytest.approx(-0.46658, abs=1e-5)


def test_scf_that_does_not_converge_is_an_error(methane):
    with pytest.raises(SCFError, match="did not converge in 2 iterations for CH4"):
        PySCFCalculator(max_cycles=2).calculate(methane)


@pytest.mark.parametrize(
    ("method", "basis", "words"),
    [
        ("HFX", "6-31G*", "PySCF has no method 'HFX'; close to it: hf"),
        ("B3LYPP", "6-31G*", "close to it: b3lyp"),
        ("", "6-31G*", "use HF or a density functional"),
        ("HF", "6-31G**x", r"PySCF cannot use the basis '6-31G\*\*x' for H; close to it: "),
    ],
)
def test_unknown_names_are_refused(method, basis, words):
    with pytest.raises(InputError, match=words):
        PySCFCalculator(method, basis).validate()


def test_basis_without_the_element_is_refused():
    with pytest.raises(InputError, match="for U"):
        PySCFCalculator().validate(Atoms("U"))


@pytest.mark.parametrize("name", ["max_cycles", "n_threads"])
def test_bad_settings_are_refused(name):
    with pytest.raises(InputError, match=f"{name} must be at least 1, got 0"):
        PySCFCalculator(**{name: 0})
