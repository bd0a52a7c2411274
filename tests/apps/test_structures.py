"""Starting structures: one of a file, in Å, with whole atoms held or none."""

from __future__ import annotations

import ase.collections
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.data import chemical_symbols
from ase.units import Bohr

from ase_proxima.apps.structures import fixed_atoms, load_structure, unit_doubt
from ase_proxima.errors import InputError


def known_molecules():
    return [molecule(name) for name in ase.collections.g2.names]


def known_crystals():
    for symbol in chemical_symbols[3:93]:
        try:
            yield bulk(symbol)
        except (ValueError, KeyError, RuntimeError, NotImplementedError):
            continue  # ASE has no simple cell of it


def scaled(atoms, factor):
    atoms.set_cell(atoms.cell.array * factor)
    atoms.positions *= factor
    return atoms


def test_known_structures_raise_no_doubt():
    assert [str(atoms.symbols) for atoms in known_molecules() if unit_doubt(atoms)] == []
    assert [str(atoms.symbols) for atoms in known_crystals() if unit_doubt(atoms)] == []
    assert unit_doubt(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.8]])) is None


def test_lengths_in_bohr_are_doubted():
    read_as_angstrom = [scaled(atoms, 1 / Bohr) for atoms in known_molecules() if len(atoms) > 1]
    assert all("those in Bohr" in str(unit_doubt(atoms)) for atoms in read_as_angstrom)
    crystals = {str(atoms.symbols): unit_doubt(scaled(atoms, 1 / Bohr)) for atoms in known_crystals()}
    rare_gases = {name for name in crystals if name in ("NeNe", "Ne", "Ar", "Kr", "Xe")}
    assert {name for name, doubt in crystals.items() if doubt is None} <= rare_gases | {"U"}
    assert "those in pm" in str(unit_doubt(scaled(molecule("CH4"), 100)))


@pytest.mark.parametrize("atoms", [molecule("CH4"), bulk("Al", cubic=True) * 2])
def test_lengths_in_nm_are_refused(atoms, tmp_path):
    ase.io.write(tmp_path / "small.xyz", scaled(atoms.copy(), 0.1))
    with pytest.raises(
        InputError, match=r"stand inside of each other.*if they are in nm, multiply them by 10"
    ):
        load_structure(str(tmp_path / "small.xyz"))


def test_of_several_structures_one_must_be_named(tmp_path):
    file = tmp_path / "chain@300.xyz"
    ase.io.write(file, [molecule("CH4"), molecule("H2O")])
    with pytest.raises(InputError, match="holds 2 structures: name one, counted from 0, as "):
        load_structure(str(file))
    assert str(load_structure(f"{file}@0").symbols) == "CH4"
    assert str(load_structure(f"{file}@-1").symbols) == "OH2"
    with pytest.raises(InputError, match="cannot be read as a structure"):
        load_structure(f"{file}@7")
    with pytest.raises(InputError, match="holds 2 structures"):
        load_structure(f"{file}@:")


def test_positions_that_are_no_numbers_are_refused(tmp_path):
    (tmp_path / "nan.xyz").write_text("2\n\nH 0 0 nan\nH 0 0 1\n")
    with pytest.raises(InputError, match="positions that are no finite numbers"):
        load_structure(str(tmp_path / "nan.xyz"))


def test_whole_atoms_are_held_and_nothing_else():
    atoms = molecule("CH4")
    assert fixed_atoms(atoms) == ()
    atoms.set_constraint([FixAtoms([3]), FixAtoms(mask=np.arange(5) == 1)])
    assert fixed_atoms(atoms) == (1, 3)
    for constraint in (FixBondLength(0, 1), FixCartesian(0, mask=(True, False, False))):
        atoms.set_constraint([FixAtoms([3]), constraint])
        with pytest.raises(InputError, match=f"constraint {type(constraint).__name__} cannot be held"):
            fixed_atoms(atoms)
    atoms.set_constraint(FixAtoms(range(5)))
    with pytest.raises(InputError, match="all 5 atoms are held"):
        fixed_atoms(atoms)
