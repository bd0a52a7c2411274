"""Structures that differ by less than an error bound resolves, as those of finite differences do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

__all__ = ["unresolved"]

STIFFNESS = 1.0
"""eV/Å²: what a second derivative of the energy must be known to. Bonds have 10 to 50, metals 2 to 10."""

ELASTICITY = 0.2
"""eV/Å³, 32 GPa: the same for elastic constants; it is C44 of aluminium, and metals have 20 to 200. With 0.3 the
surrogate answered 8 of 21 cells in steps of 1 % of cubic Al, with energies off by up to 7 meV an atom."""

MOST_STRAIN = 0.03
"""Strains above this are no finite difference, whatever the bound."""

MIRRORED = 1e-9
"""Å: within this, displacements are equal and opposite; rounding leaves a ten thousandth of it."""


def unresolved(atoms: Atoms, earlier: Sequence[Atoms], bounds: Mapping[str, float]) -> bool:
    """Whether `atoms` differs from an earlier structure as in a finite difference, by less than the bounds resolve.

    That is so where one Cartesian coordinate of one atom of many changed, where one atom went as far to one side
    as it had gone to the other, where two coordinates changed, not the same two against each earlier structure (each
    displaced from a centre that is not among them), or where the cell alone was strained; and where the difference
    times what a derivative must be known to is below the error allowed.

    Parameters
    ----------
    atoms
    earlier
        The latest structures.
    bounds
        Mean error allowed, by property: forces in eV/Å, energy (of the cell) in eV, stress in eV/Å³.

    Examples
    --------
    >>> from ase.build import molecule
    >>> water = molecule("CH4")
    >>> moved = water.copy()
    >>> moved.positions[0, 0] += 0.01
    >>> unresolved(moved, [water], {"forces": 0.05}), unresolved(moved, [water], {"forces": 0.001})
    (True, False)
    """
    n_atoms = len(atoms)
    same = [x for x in earlier if len(x) == n_atoms]
    same = _where([x.numbers for x in same], atoms.numbers, same)[0]
    fixed_cell, other_cell = _where([x.cell.array for x in same], atoms.cell.array, same)
    if fixed_cell and _n_free(atoms) > 2:
        shifts = atoms.positions - np.array([x.positions for x in fixed_cell])
        if _is_one_step(shifts, _least_displacement(bounds)):
            return True
    strains = [strain for x in other_cell if math.isfinite(strain := _strained(atoms, x))]
    return bool(strains) and min(strains) < _least_strain(atoms, bounds)  # which needs a volume


def _where(
    values: Sequence[np.ndarray], value: np.ndarray, structures: Sequence[Atoms]
) -> tuple[list[Atoms], list[Atoms]]:
    """Structures whose values, one array each, are `value`, and the others; one comparison for all."""
    if not structures:
        return [], []
    equal = (np.array(values) == value).reshape(len(structures), -1).all(axis=1)
    return (
        [x for x, is_equal in zip(structures, equal, strict=True) if is_equal],
        [x for x, is_equal in zip(structures, equal, strict=True) if not is_equal],
    )


def _n_free(atoms: Atoms) -> int:
    fixed: set[int] = set()
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed.update(int(i) for i in constraint.index)
    return len(atoms) - len(fixed)


def _is_one_step(shifts: np.ndarray, least: float) -> bool:
    """Whether one atom made a small step along an axis, from the centre or from another step, or mirrored a step.

    Parameters
    ----------
    shifts : array, shape (n_earlier, n_atoms, 3)
        Positions less those of each earlier structure, in Å.
    least : float
        Steps above this are resolved, in Å.
    """
    moved = shifts != 0
    single = moved.any(axis=2).sum(axis=1) == 1
    small = np.abs(shifts).max(axis=(1, 2)) < least
    n_moved = moved.sum(axis=(1, 2))
    if np.any(single & (n_moved == 1) & small):
        return True
    # a relaxation along a symmetry axis moves two coordinates too, but always the same two
    if moved[(n_moved == 2) & small].any(axis=0).sum() > 2:
        return True
    steps = shifts[single].reshape(-1, 3 * shifts.shape[1])
    # from the mirror image the way is twice as long as from the centre
    return any(
        np.abs(steps[i]).max() < least and np.any(np.abs(steps - 2.0 * steps[i]).max(axis=1) < MIRRORED)
        for i in range(len(steps))
    )


def _strained(atoms: Atoms, other: Atoms) -> float:
    """Largest strain where the cell alone was strained, its atoms with it or not; infinite otherwise."""
    if not (atoms.pbc.all() and other.cell.rank == atoms.cell.rank == 3):
        return math.inf
    strain = float(np.abs(np.linalg.solve(other.cell.array, atoms.cell.array) - np.eye(3)).max())
    if strain > MOST_STRAIN:
        return math.inf
    shift = atoms.cell.scaled_positions(atoms.positions) - other.cell.scaled_positions(other.positions)
    along = np.abs(shift - np.round(shift)).max() < 1e-9  # rounding of scaled positions
    return strain if along else math.inf


def _least_displacement(bounds: Mapping[str, float]) -> float:
    """Displacement in Å that the bounds resolve, of the forces if they are bounded, else of the energy."""
    if "forces" in bounds:
        return bounds["forces"] / STIFFNESS
    return math.sqrt(2.0 * bounds.get("energy", 0.0) / STIFFNESS)


def _least_strain(atoms: Atoms, bounds: Mapping[str, float]) -> float:
    """Strain that the bounds resolve, of the stress if it is bounded, else of the energy."""
    if "stress" in bounds:
        return bounds["stress"] / ELASTICITY
    return math.sqrt(2.0 * bounds.get("energy", 0.0) / (ELASTICITY * atoms.get_volume()))
