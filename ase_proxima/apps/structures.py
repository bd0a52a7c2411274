"""Starting structures: by name or from a file, with what in them looks like a slip, and the atoms that are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.collections
import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.constraints import FixAtoms
from ase.io.formats import parse_filename
from ase.neighborlist import natural_cutoffs, neighbor_list

from ase_proxima.errors import InputError

__all__ = ["fixed_atoms", "load_structure", "unit_doubt"]

# The distance of nearest neighbours over the sum of their covalent radii, median over the atoms, lies within 0.77 and
# 1.25 in all molecules of ASE's g2 collection, and within 0.73 and 1.25 in the crystals of `ase.build.bulk`, rare gases
# aside, which have no bonds.
TOO_NEAR = 0.35
"""Below this ratio most atoms stand inside of each other: nanometres read as Å give 0.07 to 0.13."""
TOO_FAR = 1.4
"""Above this ratio most atoms have no bond: Bohr radii read as Å give 1.37 to 2.36."""
FAR_AS_IN_BOHR = 2.6
"""Above this ratio it is not Bohr radii either."""
RARE_GASES = frozenset({2, 10, 18, 36, 54, 86})


def load_structure(name: str) -> Atoms:
    """Structure by its name in ASE's g2 collection, or from a file.

    Parameters
    ----------
    name
        Of several structures in a file one is named as `FILE@INDEX`, counted from 0, or from the end as -1.

    Raises
    ------
    InputError
        If it is neither, the file holds several structures and none is named, or atoms stand inside of each other.

    Examples
    --------
    >>> load_structure("CH4").get_chemical_formula()
    'CH4'
    """
    if name in ase.collections.g2.names:
        return g2_molecule(name)
    file, index = (name, None) if Path(name).is_file() else parse_filename(name)
    path = Path(str(file))
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise InputError(f"there is no file {str(path)!r}: check the path")
        raise InputError(
            f"unknown molecule {name!r}: use a name of ASE's g2 collection (CH4, H2O, ...) or a file"
        )
    try:
        found = ase.io.read(path, index=":" if index is None else index, do_not_split_by_at_sign=True)
    except Exception as error:  # ASE's readers raise whatever the file makes them
        message = " ".join(str(error).split())
        raise InputError(f"{name} cannot be read as a structure: {message}") from error
    atoms = _only_one(path, found)
    atoms.calc = None
    if not np.isfinite(atoms.positions).all():
        raise InputError(f"{name} has positions that are no finite numbers: correct them")
    if _share_with_neighbour(atoms, TOO_NEAR) > 0.5:
        raise InputError(
            f"in {name} most atoms stand inside of each other, with neighbours nearer than {TOO_NEAR:g} times a bond: "
            "lengths must be in Å; if they are in nm, multiply them by 10"
        )
    return atoms


def _only_one(file: Path, found: Any) -> Atoms:
    if isinstance(found, list):
        if len(found) > 1:
            raise InputError(
                f"{file} holds {len(found)} structures: name one, counted from 0, as {file}@0, or the last one as "
                f"{file}@-1"
            )
        found = found[0] if found else None
    if not isinstance(found, Atoms) or len(found) == 0:
        raise InputError(f"{file} holds no atoms")
    return found


def unit_doubt(atoms: Atoms) -> str | None:
    """What makes one doubt that lengths are in Å; None where nothing does.

    Examples
    --------
    >>> unit_doubt(Atoms("HF", positions=[[0, 0, 0], [0, 0, 0.92]])) is None
    True
    >>> unit_doubt(Atoms("HF", positions=[[0, 0, 0], [0, 0, 1.74]]))
    'most atoms of HF have no neighbour within 1.4 times a bond: lengths must be in Å; those in Bohr are to be ...'
    """
    bonding = atoms[[number not in RARE_GASES for number in atoms.numbers]]
    if len(bonding) < 2 and not bonding.pbc.any():
        return None
    if len(bonding) == 0 or _share_with_neighbour(bonding, TOO_FAR) >= 0.5:
        return None
    unit = "those in Bohr are to be multiplied by 0.5292"
    if _share_with_neighbour(bonding, FAR_AS_IN_BOHR) < 0.5:
        unit = "those in pm are to be divided by 100"
    return (
        f"most atoms of {atoms.get_chemical_formula()} have no neighbour within {TOO_FAR:g} times a bond: lengths must "
        f"be in Å; {unit}"
    )


def _share_with_neighbour(atoms: Atoms, factor: float) -> float:
    """Share of the atoms with a neighbour within `factor` times the sum of the covalent radii."""
    first = neighbor_list("i", atoms, natural_cutoffs(atoms, mult=factor))
    return len(np.unique(first)) / len(atoms)


def fixed_atoms(atoms: Atoms) -> tuple[int, ...]:
    """Indices of the atoms that `ase.constraints.FixAtoms` holds, in ascending order.

    Raises
    ------
    InputError
        If there is a constraint of another kind, or no atom is left to move.

    Examples
    --------
    >>> fixed_atoms(Atoms("OH2", constraint=FixAtoms([0])))
    (0,)
    """
    held: set[int] = set()
    for constraint in atoms.constraints:
        if type(constraint) is not FixAtoms:
            raise InputError(
                f"the constraint {type(constraint).__name__} cannot be held by moves of single coordinates: hold whole "
                "atoms with FixAtoms, or remove it"
            )
        held |= {int(i) for i in np.atleast_1d(constraint.index)}
    if len(held) == len(atoms):
        raise InputError(f"all {len(atoms)} atoms are held by FixAtoms: leave at least one free to move")
    return tuple(sorted(held))
