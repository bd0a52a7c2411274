"""A target on part of the atoms: cut-outs, how thick a shell must be, and who is asked for what."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_proxima.errors import InputError
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.targets.local import LocalCalculator, converged_buffer, cut_out, local_forces
from ase_proxima.types import Prediction


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
    whole = EMT().get_property("forces", atoms)[core]
    errors = []
    for buffer in (4.0, 6.0, 8.0):
        forces, n_atoms = local_forces(EMT(), atoms, core, buffer)
        errors.append(np.linalg.norm(forces - whole, axis=1).max())
        assert n_atoms < 300
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 1e-4


@pytest.mark.parametrize("tolerance", [0.05, 0.005])
def test_the_shell_that_is_found_keeps_the_tolerance(tolerance):
    atoms, core = vacancy()
    whole = EMT().get_property("forces", atoms)[core]
    found = converged_buffer(EMT(), atoms, core, tolerance)
    forces, n_atoms = local_forces(EMT(), atoms, core, found.thickness)
    assert np.linalg.norm(forces - whole, axis=1).max() < tolerance
    assert found.n_atoms == n_atoms < len(atoms) / 2
    assert found.n_computed > n_atoms


def coulomb(atoms):
    """Repulsion of unit charges, which reaches through everything."""
    gaps = atoms.positions[:, None] - atoms.positions
    distance = np.linalg.norm(gaps, axis=2) + np.eye(len(atoms))
    return {"energy": 0.0, "forces": (gaps / distance[..., None] ** 3).sum(axis=1)}


def test_a_long_ranged_target_is_refused():
    chain = Atoms("H40", positions=[[2.0 * i, 0, 0] for i in range(40)])
    with pytest.raises(InputError, match="not short-ranged enough for a structure of this size"):
        converged_buffer(FunctionCalculator(coulomb), chain, [1], tolerance=1e-4)
    with pytest.raises(InputError, match="tolerance of a buffer must be positive"):
        converged_buffer(EMT(), chain, [1], tolerance=float("nan"))


def test_the_target_answers_for_what_the_surrogate_is_unsure_of():
    atoms, core = vacancy()
    whole = EMT().get_property("forces", atoms)

    def predict(x):
        std = np.full((len(x), 3), 0.01)
        std[core] = 0.2
        return Prediction({"forces": np.zeros((len(x), 3))}, {"forces": std})

    calculator = LocalCalculator(EMT(), predict, threshold=0.1, tolerance=0.01)
    atoms.calc = calculator
    forces = atoms.get_forces()
    assert np.linalg.norm(forces[core] - whole[core], axis=1).max() < 0.01
    others = np.setdiff1d(np.arange(len(atoms)), core)
    assert not forces[others].any()
    assert (calculator.n_calls, calculator.n_local, calculator.n_whole) == (1, 1, 0)
    assert 0 < calculator.n_atoms_computed < len(atoms) / 2 < calculator.n_atoms_checked


def test_a_surrogate_that_is_unsure_everywhere_leaves_all_to_the_target():
    atoms = bulk("Al", cubic=True) * 3
    atoms.rattle(0.05, seed=2)
    nothing = np.full((len(atoms), 3), np.nan)
    calculator = LocalCalculator(
        EMT(), lambda x: Prediction({"forces": nothing}, {"forces": nothing}), threshold=0.1, tolerance=0.01
    )
    assert np.array_equal(calculator.get_property("forces", atoms), EMT().get_property("forces", atoms))
    assert (calculator.n_local, calculator.n_whole) == (0, 1)
    silent = LocalCalculator(EMT(), lambda x: Prediction({"forces": nothing}), threshold=0.1, tolerance=0.01)
    with pytest.raises(InputError, match="knows no standard deviation of the forces"):
        silent.get_property("forces", atoms)
    with pytest.raises(InputError, match="threshold of a LocalCalculator must be positive, got 0"):
        LocalCalculator(EMT(), lambda x: Prediction({}), threshold=0, tolerance=1)
