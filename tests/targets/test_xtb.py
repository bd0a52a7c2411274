from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.units import kB

from ase_proxima.errors import InputError
from ase_proxima.targets.xtb import xtb_calculator

pytestmark = pytest.mark.xtb
pytest.importorskip("tblite")


@pytest.mark.parametrize("method", ["GFN2", "gfn1"])
def test_forces_are_the_slope_of_the_energy(methane, numerical_force, method):
    methane.calc = xtb_calculator(method)
    assert methane.get_forces()[2, 0] == pytest.approx(numerical_force(methane, 2, 0), abs=1e-4)


def test_methods_have_tblites_energies():
    # From the documentation of tblite's ASE calculator.
    water = molecule("H2O")
    assert xtb_calculator("GFN2").get_potential_energy(water) == pytest.approx(-137.96777, abs=1e-4)
    assert xtb_calculator("GFN1-xTB").get_potential_energy(water) == pytest.approx(-156.96750, abs=1e-4)


def test_result_does_not_depend_on_earlier_calls(methane):
    fresh, used = xtb_calculator(), xtb_calculator()
    near = methane.copy()
    near.rattle(0.02, seed=1)
    used.get_potential_energy(near)
    assert used.get_potential_energy(methane) == pytest.approx(fresh.get_potential_energy(methane), abs=1e-11)


def test_nothing_is_printed(methane, capfd):
    xtb_calculator().get_potential_energy(methane)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_stress_is_offered_for_crystals_alone():
    assert "stress" not in xtb_calculator().implemented_properties
    silicon = bulk("Si")
    silicon.calc = xtb_calculator("GFN1", periodic=True)
    assert silicon.get_stress().shape == (6,)


def test_charge_is_an_option():
    ion = xtb_calculator(charge=1).get_potential_energy(Atoms("Li"))
    assert ion > xtb_calculator().get_potential_energy(Atoms("Li")) + 3.0


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="unknown xTB method 'GFN7': use one of GFN2, GFN1, IPEA1"):
        xtb_calculator("GFN7")
    with pytest.raises(InputError, match="unknown xTB option 'chrage'"):
        xtb_calculator(chrage=1)


def test_a_triplet_lacks_the_entropy_of_two_orbitals_that_share_two_electrons():
    # Without spin polarisation the pi* orbitals of O2 hold one electron each in both states; only the singlet's
    # four spin orbitals are half filled, at 4 ln 2 of entropy (Fermi smearing at tblite's 300 K).
    oxygen = molecule("O2")
    triplet = xtb_calculator().get_potential_energy(oxygen)
    assert triplet == pytest.approx(xtb_calculator(multiplicity=3).get_potential_energy(oxygen), abs=1e-9)
    oxygen.set_initial_magnetic_moments(None)
    singlet = xtb_calculator().get_potential_energy(oxygen)
    assert triplet - singlet == pytest.approx(4 * np.log(2) * kB * 300, abs=1e-4)


def test_charges_of_the_structure_are_those_of_the_option():
    lithium = Atoms("Li", info={"charge": 1})
    ion = xtb_calculator(charge=1).get_potential_energy(Atoms("Li"))
    calculator = xtb_calculator()
    neutral = calculator.get_potential_energy(Atoms("Li"))
    assert calculator.get_potential_energy(lithium) == pytest.approx(ion, abs=1e-9)
    assert calculator.get_potential_energy(Atoms("Li")) == pytest.approx(neutral, abs=1e-9)
    lithium.info.clear()
    lithium.set_initial_charges([1])
    assert calculator.get_potential_energy(lithium) == pytest.approx(ion, abs=1e-9)


def test_more_unpaired_electrons_than_valence_electrons_are_refused():
    with pytest.raises(InputError, match=r"CH4 has 8 valence electrons in xTB, .* multiplicity 11"):
        xtb_calculator(multiplicity=11).get_potential_energy(molecule("CH4"))
