"""What every quantum-chemistry target asks of a molecule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr
from numpy.typing import NDArray

from ase_proxima.errors import InputError

__all__ = ["charge_and_multiplicity", "nuclear_repulsion"]


def charge_and_multiplicity(atoms: Atoms, charge: int, multiplicity: int | None) -> tuple[int, int]:
    """Charge and multiplicity of a molecule that a quantum-chemistry program can compute.

    Parameters
    ----------
    atoms
        The molecule: not periodic, at least one atom, no dummies, no two atoms at the same place.
    charge
        Total charge, in elementary charges.
    multiplicity
        2S + 1; None for the lowest that the number of electrons allows.

    Raises
    ------
    InputError
        If it is not such a molecule, or its electrons cannot have this multiplicity.

    Examples
    --------
    >>> from ase import Atoms
    >>> charge_and_multiplicity(Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.97]]), 0, None)
    (0, 2)
    """
    if len(atoms) == 0:
        raise InputError("cannot compute a molecule without atoms: pass at least one")
    if atoms.pbc.any():
        raise InputError(
            f"this target computes molecules, got pbc={atoms.pbc.tolist()}: set atoms.pbc = False "
            "or choose another target"
        )
    if (atoms.numbers < 1).any():
        raise InputError(f"cannot compute dummy atoms, got {atoms.get_chemical_formula()}: remove them")
    if not np.isfinite(atoms.positions).all():
        raise InputError("positions must be finite numbers, got NaN or infinity")
    if not math.isfinite(nuclear_repulsion(atoms.numbers, atoms.positions)):
        raise InputError("two atoms are at the same place: move one of them")
    n_electrons = int(atoms.numbers.sum()) - charge
    if multiplicity is None:
        multiplicity = 1 + n_electrons % 2
    if n_electrons < 1 or multiplicity - 1 > n_electrons or (n_electrons + multiplicity) % 2 == 0:
        raise InputError(
            f"{atoms.get_chemical_formula()} with charge {charge} has {n_electrons} electrons, which cannot "
            f"have the multiplicity {multiplicity}: change charge or multiplicity"
        )
    return charge, multiplicity


def nuclear_repulsion(numbers: NDArray[Any], positions: NDArray[np.float64]) -> float:
    """Repulsion energy of the nuclei in Hartree; positions in Å.

    Examples
    --------
    >>> round(nuclear_repulsion(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]])), 4)
    0.7151
    """
    first, second = np.triu_indices(len(numbers), k=1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    with np.errstate(divide="ignore"):
        return float(np.sum(numbers[first] * numbers[second] / (distances / Bohr)))
