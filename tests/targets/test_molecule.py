from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.errors import InputError
from ase_proxima.targets.molecule import charge_and_multiplicity, nuclear_repulsion


@given(st.lists(st.integers(1, 36), min_size=1, max_size=6), st.integers(-2, 1))
def test_lowest_multiplicity_fits_the_number_of_electrons(numbers, charge):
    atoms = Atoms(numbers, positions=np.arange(3 * len(numbers)).reshape(-1, 3))
    n_electrons = sum(numbers) - charge
    if n_electrons < 1:
        with pytest.raises(InputError, match="electrons"):
            charge_and_multiplicity(atoms, charge, None)
        return
    assert charge_and_multiplicity(atoms, charge, None) == (charge, 1 + n_electrons % 2)
    # One more would need half an electron.
    with pytest.raises(InputError, match="cannot have the multiplicity"):
        charge_and_multiplicity(atoms, charge, 2 + n_electrons % 2)


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.1, 100.0))
def test_repulsion_of_two_nuclei_is_coulombs_law(first, second, distance):
    repulsion = nuclear_repulsion(np.array([first, second]), np.array([[0.0, 0, 0], [0, distance, 0]]))
    assert repulsion == pytest.approx(first * second * Bohr / distance, rel=1e-12)


def test_one_nucleus_repels_nothing():
    assert nuclear_repulsion(np.array([6]), np.zeros((1, 3))) == 0.0


@pytest.mark.parametrize(
    ("atoms", "multiplicity", "words"),
    [
        (Atoms(), None, "without atoms"),
        (Atoms("He", pbc=True, cell=[3, 3, 3]), None, r"got pbc=\[True, True, True\]: set atoms.pbc = False"),
        (Atoms("X"), None, "dummy atoms"),
        (Atoms("He", positions=[[0, 0, np.nan]]), None, "finite numbers"),
        (Atoms("H2"), None, "two atoms are at the same place"),
        (Atoms("He"), 5, "has 2 electrons, which cannot have the multiplicity 5"),
    ],
)
def test_structures_that_are_no_molecule_are_refused(atoms, multiplicity, words):
    with pytest.raises(InputError, match=words):
        charge_and_multiplicity(atoms, 0, multiplicity)
