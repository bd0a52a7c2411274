"""Charge and multiplicity: read from the structure, compared with what was asked for, refused where impossible."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.errors import InputError
from ase_proxima.targets import parse_target, target_state
from ase_proxima.targets.electrons import ElectronicState, resolve_state, with_state


def hydronium(**info):
    corners = [[0.94, 0, -0.2], [-0.47, 0.81, -0.2], [-0.47, -0.81, -0.2]]
    return Atoms("OH3", positions=[[0, 0, 0.1], *corners], info=info)


def test_initial_charges_and_info_say_the_same_charge():
    charged = hydronium()
    charged.set_initial_charges([0.25] * 4)
    assert resolve_state(charged) == resolve_state(hydronium(charge=1)) == ElectronicState(1, 1)


def test_nothing_said_is_neutral_and_the_lowest_multiplicity():
    assert resolve_state(hydronium()) == ElectronicState(0, 2)
    zeros = hydronium(charge=1)
    zeros.set_initial_charges([0.0] * 4)  # as many a file has them
    zeros.set_initial_magnetic_moments([0.0] * 4)
    assert resolve_state(zeros) == ElectronicState(1, 1)


@pytest.mark.parametrize(
    ("info", "multiplicity"), [({"multiplicity": 3}, 3), ({"spin": 2}, 3), ({"spin": 0}, 1)]
)
def test_spin_counts_unpaired_electrons(info, multiplicity):
    oxygen = Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.2]], info=info)
    assert resolve_state(oxygen).multiplicity == multiplicity


def test_moments_of_a_crystal_are_a_guess_and_no_multiplicity():
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.2])
    assert resolve_state(iron) == ElectronicState(0, None)


def test_what_the_command_line_says_is_part_of_the_structure():
    ion = with_state(hydronium(), 1, None, said_by="the command line")
    assert resolve_state(ion) == ElectronicState(1, 1)
    assert "charge" not in hydronium().info


CONTRADICTIONS = [
    (
        {"charge": 1},
        {"charge": 0},
        r"has charge 1 by atoms.info\['charge'\] and 0 by the target: say it once",
    ),
    (
        {"charge": 1, "multiplicity": 1, "spin": 2},
        {},
        r"multiplicity 1 by .* and 3 by atoms.info\['spin'\] = 2",
    ),
    ({"charge": 1}, {"multiplicity": 2}, "has 10 electrons, which cannot have the multiplicity 2"),
    (
        {"spin": 2},
        {},
        "has 11 electrons, which cannot have the multiplicity 3 .* the number of unpaired electrons",
    ),
    ({"multiplicity": 0}, {}, "cannot have the multiplicity 0"),
    ({"multiplicity": 14}, {}, "cannot have the multiplicity 14"),
    ({"charge": 12}, {}, "has only 11 to give away"),
    ({"charge": 0.5}, {}, "the charge must be a whole number, got 0.5 from atoms.info"),
    ({"charge": True}, {}, "must be a whole number, got True"),
    ({"charge": "+1"}, {}, r"must be a whole number, got '\+1'"),
    ({"charge": float("nan")}, {}, "must be a whole number, got nan"),
]


@pytest.mark.parametrize(("info", "asked", "words"), CONTRADICTIONS)
def test_contradictions_and_impossible_states_are_refused_in_one_line(info, asked, words):
    with pytest.raises(InputError, match=words) as caught:
        resolve_state(hydronium(**info), **asked)
    assert "\n" not in str(caught.value)


def test_a_molecule_is_not_asked_for_half_a_state():
    molecule_with = molecule("O2")
    molecule_with.set_initial_magnetic_moments([1.0, -1.0])
    with pytest.raises(InputError, match="both signs"):
        resolve_state(molecule_with)
    molecule_with.set_initial_magnetic_moments(None)
    molecule_with.set_initial_magnetic_moments(np.ones((2, 3)))
    with pytest.raises(InputError, match="are vectors"):
        resolve_state(molecule_with)
    molecule_with.set_initial_magnetic_moments(None)
    molecule_with.set_initial_charges([0.5, 0.2])
    with pytest.raises(InputError, match=r"initial charges sum to 0.7, which is no whole number"):
        resolve_state(molecule_with)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.integers(-2, 6),
    st.none() | st.integers(-1, 9),
)
def test_a_state_that_is_found_has_its_electrons(numbers, charge, multiplicity):
    atoms = Atoms(numbers, positions=np.arange(3.0 * len(numbers)).reshape(-1, 3), info={"charge": charge})
    n_electrons = sum(numbers) - charge
    unpaired = n_electrons % 2 if multiplicity is None else multiplicity - 1
    possible = n_electrons >= 0 and 0 <= unpaired <= n_electrons and (n_electrons - unpaired) % 2 == 0
    if possible:
        assert resolve_state(atoms, multiplicity=multiplicity) == ElectronicState(charge, unpaired + 1)
    else:
        with pytest.raises(InputError):
            resolve_state(atoms, multiplicity=multiplicity)


@pytest.mark.parametrize("name", ["emt", "lj", "tip3p", "morse"])
def test_targets_without_electrons_refuse_ions_and_high_spins(name):
    with pytest.raises(InputError, match=f"target '{name}' does not know of the charge 1 of H3O"):
        parse_target(name, atoms=hydronium(charge=1))
    with pytest.raises(InputError, match="does not know of the multiplicity 3 of O2"):
        parse_target(name, atoms=molecule("O2"))
    assert parse_target("emt", atoms=molecule("NO")).name == "emt"  # a doublet is the lowest it can be


@pytest.mark.parametrize("name", ["emt", "lj", "pyscf:HF/STO-3G", "ase.calculators.emt:EMT"])
def test_impossible_states_are_refused_whatever_the_target(name):
    with pytest.raises(InputError, match="cannot have the multiplicity 2"):
        parse_target(name, atoms=Atoms("He", info={"multiplicity": 2}))


@pytest.mark.pyscf
def test_the_name_of_a_target_says_charge_and_multiplicity():
    pytest.importorskip("pyscf")
    target = parse_target("pyscf:HF/6-31G(d,p),charge=1,multiplicity=1", atoms=hydronium())
    assert target.parameters["basis"] == "6-31G(d,p)"
    assert target_state(target, hydronium()) == ElectronicState(1, 1)
    with pytest.raises(InputError, match=r"has charge 0 by .* and 1 by the target"):
        parse_target("pyscf:HF/STO-3G,charge=1", atoms=hydronium(charge=0))
    with pytest.raises(InputError, match=r"charge must be a whole number, got 0.5"):
        parse_target("pyscf:HF/STO-3G,charge=0.5")
    with pytest.raises(InputError, match="charge must be a whole number, got 'one'"):
        parse_target("pyscf:HF/STO-3G,charge=one")


@pytest.mark.pyscf
def test_pyscf_computes_the_ion_that_the_structure_is():
    pytest.importorskip("pyscf")
    from ase_proxima.targets.pyscf import PySCFCalculator

    told, read = PySCFCalculator("HF", "STO-3G", charge=1), PySCFCalculator("HF", "STO-3G")
    atoms = hydronium()
    neutral = read.get_potential_energy(atoms)
    atoms.info["charge"] = 1  # which ASE itself would not notice
    ion = read.get_potential_energy(atoms)
    assert ion == pytest.approx(told.get_potential_energy(hydronium()), abs=1e-9)
    assert ion < neutral - 1.0  # water binds a proton more strongly than a hydrogen atom


@pytest.mark.psi4
@pytest.mark.usefixtures("needs_psi4")
def test_psi4_computes_the_cation_and_the_triplet_that_structures_are():
    # Psi4 1.3.2, HF/STO-3G: -2049.8324 eV for this geometry of H3O+ and -4017.2821 eV for triplet O2.
    corners = [[0.94, 0, -0.2038], [-0.47, 0.8141, -0.2038], [-0.47, -0.8141, -0.2038]]
    cation = Atoms("OH3", positions=[[0, 0, 0.0764], *corners], info={"charge": 1})
    with parse_target("psi4:HF/STO-3G") as target:
        assert target.get_potential_energy(cation) == pytest.approx(-2049.8324, abs=1e-3)
        assert target.get_potential_energy(molecule("O2")) == pytest.approx(-4017.2821, abs=1e-3)
