"""A target on part of the atoms: cut-outs, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from ase_proxima.errors import InputError
from ase_proxima.targets import parse_target
from ase_proxima.targets.cut_outs import cut_out
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.targets.local import LocalTarget


def vacancy():
    """Aluminium of 499 atoms with a vacancy at the corner of the cell, and the twelve atoms round it."""
    perfect = bulk("Al", cubic=True) * 5
    distances = perfect.get_distances(0, range(len(perfect)), mic=True)
    atoms = perfect.copy()
    atoms.rattle(0.05, seed=1)
    del atoms[0]
    return atoms, [int(i) - 1 for i in np.flatnonzero((distances > 0) & (distances < 3.2))]


def test_a_cut_out_puts_together_what_the_cell_has_cut():
    atoms, core = vacancy()
    atoms.positions[core[0]] += 3 * atoms.cell.array[1]  # the same atom, further out
    part = cut_out(atoms, core, 4.5)
    assert not part.atoms.pbc.any()
    assert len({tuple(np.round(place, 6)) for place in part.atoms.positions}) == len(part.atoms)
    near = part.atoms.get_all_distances()[part.core][:, part.core]
    assert near.max() < 6.3  # twice the distance of neighbours: they stand round one vacancy
    outside = part.atoms.get_all_distances()[len(core) :, : len(core)].min(axis=1)
    assert outside.max() < 4.5
    whole = atoms.get_all_distances(mic=True)[core]
    assert len(part.atoms) == (whole.min(axis=0) < 4.5).sum()


def test_forces_in_the_middle_are_those_of_the_whole_cell():
    atoms, core = vacancy()
    target = LocalTarget(EMT(), tolerance=0.005)
    whole = target.get_property("forces", atoms)[core]
    errors = []
    for thickness in (4.0, 6.0, 8.0):
        forces, n_atoms = target.forces_on(atoms, core, thickness)
        errors.append(np.linalg.norm(forces - whole, axis=1).max())
        assert n_atoms < 300
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 1e-4


def test_a_part_that_is_hardly_smaller_is_not_computed():
    atoms, core = vacancy()
    assert LocalTarget(EMT(), tolerance=0.005, largest_share=0.2).forces_on(atoms, core, 6.0) is None


def test_whole_structures_are_the_targets_own():
    atoms, _ = vacancy()
    target = parse_target("emt:local=0.005", atoms=atoms)
    assert isinstance(target, LocalTarget)
    assert target.tolerance == 0.005
    atoms.calc = target
    assert np.array_equal(atoms.get_forces(), EMT().get_property("forces", atoms))
    assert target.name == "local(emt)"
    assert target.parameters["local"] == 0.005


def test_what_cannot_be_computed_in_parts_is_refused():
    ion = molecule("CH4")
    ion.info["charge"] = 1
    with pytest.raises(InputError, match="cannot tell which part has the charge"):
        LocalTarget(EMT(), tolerance=0.005).forces_on(ion, [0], 4.0)
    with pytest.raises(
        InputError, match="tolerance of a target on part of the atoms must be a positive number"
    ):
        LocalTarget(EMT(), tolerance=float("nan"))
    with pytest.raises(InputError, match="must be a positive number, got 'wide'"):
        parse_target("emt:local=wide")
    energies = FunctionCalculator(lambda atoms: {"energy": 0.0}, properties=("energy",))
    with pytest.raises(InputError, match="must give forces, got one that offers energy"):
        LocalTarget(energies, tolerance=0.005)
