"""How far a structure lies from those that the target has answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

__all__ = ["Nearest"]


class Nearest:
    """Distance of a structure from the nearest of others, in Å: the root mean square displacement of a coordinate.

    Displacements are taken to the nearest image and less their mean; of molecules that turn they are those of the turn
    too. Where the cells differ, they are those at equal scaled coordinates, beside what the strain moves neighbours by.
    Infinite where none has the same atoms and periodic axes.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms, nearest = bulk("Al", cubic=True), Nearest()
    >>> moved, strained = atoms.copy(), atoms.copy()
    >>> moved.positions[0, 0] += 0.2
    >>> strained.set_cell(1.01 * atoms.cell, scale_atoms=True)
    >>> round(nearest(moved, [atoms]), 3), round(nearest(strained, [atoms]), 3), nearest(atoms, [atoms[:2]])
    (0.05, 0.026, inf)
    """

    def __init__(self) -> None:
        # Replaced in one assignment: an interrupt leaves all of the old or all of the new.
        self._known = _Known.of(())

    def __call__(self, atoms: Atoms, known: Sequence[Atoms]) -> float:
        """Return the distance of `atoms` from the nearest of `known`."""
        if tuple(map(id, known)) != self._known.identities:
            self._known = _Known.of(known)
        kept = self._known
        if kept.alike:
            same = kept.atoms if _same_kind(kept.atoms[0], atoms) else ()
        else:
            same = tuple(x for x in kept.atoms if _same_kind(x, atoms))
        if not same:
            return math.inf
        periodic = bool(atoms.pbc.any())
        if kept.alike and not (periodic and (kept.cells != atoms.cell.array).any()):
            return math.sqrt(_squares(atoms.positions - kept.positions, atoms, periodic=periodic).min())
        return math.sqrt(min(_strained(atoms, x) for x in same))


@dataclass(frozen=True)
class _Known:
    """Structures that distances are measured to, with what does not change from call to call.

    The structures themselves are held so that no other object has the identity of one of them. Where all have the same
    atoms and periodic axes, `alike`, their positions and cells are stacked.
    """

    identities: tuple[int, ...]
    atoms: tuple[Atoms, ...]
    alike: bool
    positions: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, known: Sequence[Atoms]) -> _Known:
        alike = bool(known) and all(_same_kind(x, known[0]) for x in known)
        stacked = known if alike else ()
        positions, cells = np.array([x.positions for x in stacked]), np.array([x.cell.array for x in stacked])
        return cls(tuple(map(id, known)), tuple(known), alike, positions, cells)


def _same_kind(x: Atoms, other: Atoms) -> bool:
    return np.array_equal(x.numbers, other.numbers) and np.array_equal(x.pbc, other.pbc)


def _strain(x: Atoms, atoms: Atoms) -> np.ndarray:
    """Strain that takes the cell of `x` into that of `atoms`; zeros where they are equal to the last bit."""
    if np.array_equal(x.cell.array, atoms.cell.array):
        return np.zeros((3, 3))
    return np.asarray(np.linalg.solve(x.cell.complete(), atoms.cell.complete()) - np.eye(3))


def _squares(shifts: np.ndarray, atoms: Atoms, *, periodic: bool) -> np.ndarray:
    """Mean square displacement of a coordinate, from displacements of shape (..., n_atoms, 3)."""
    if periodic:
        # against the first atom, so that a drift of all by half a cell puts no two atoms into different images
        shifts = shifts - shifts[..., :1, :]
        scaled = shifts @ np.linalg.inv(atoms.cell.complete())
        shifts = shifts - (np.round(scaled) * atoms.pbc) @ atoms.cell.array
    shifts = shifts - shifts.mean(axis=-2, keepdims=True)
    return np.asarray(np.mean(shifts * shifts, axis=(-2, -1)))


def _strained(atoms: Atoms, x: Atoms) -> float:
    """The same to one structure whose cell may be another."""
    if not atoms.pbc.any():
        return float(_squares(atoms.positions - x.positions, atoms, periodic=False))
    strain = _strain(x, atoms)
    moved = float(_squares(atoms.positions - x.positions @ (np.eye(3) + strain), atoms, periodic=True))
    spacing: float = (abs(float(np.linalg.det(atoms.cell.complete()))) / len(atoms)) ** (1 / 3)
    return moved + 3.0 * float(np.mean(strain * strain)) * spacing * spacing
