"""Part of a structure as a cluster in vacuum: some atoms, with a shell of others round them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["CutOut", "cut_out"]


@dataclass(frozen=True)
class CutOut:
    """Part of a structure, as a cluster in vacuum.

    Attributes
    ----------
    atoms
        The cluster, not periodic.
    core
        Indices of the core atoms in the cluster, in the order in which they were asked for.
    """

    atoms: Atoms
    core: NDArray[np.intp]


def cut_out(atoms: Atoms, core: Sequence[int], buffer: float) -> CutOut:
    """Core atoms and all within `buffer` of one of them, periodic images included.

    Core atoms must hang together: each within twice the buffer of another one, or they are a cluster each, side by side
    and too far apart to notice each other.

    Parameters
    ----------
    atoms
        The whole structure.
    core
        Indices of the atoms whose forces are wanted.
    buffer
        In Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> part = cut_out(bulk("Al", cubic=True) * 5, [0], 3.0)
    >>> len(part.atoms), part.core.tolist()
    (13, [0])
    """
    wrapped = atoms.copy()
    wrapped.wrap()
    positions, cell = wrapped.positions, wrapped.cell.array
    shifts = _shifts(wrapped, 2 * buffer)
    tree = cKDTree((positions + (shifts @ cell)[:, None, :]).reshape(-1, 3))

    def within(i: int, radius: float) -> Iterator[tuple[int, NDArray[np.int_]]]:
        """Atoms round atom `i`, with their images relative to it."""
        for k in sorted(tree.query_ball_point(positions[i], radius)):
            yield k % len(atoms), shifts[k // len(atoms)]

    images = _images(list(core), partial(within, radius=2 * buffer))
    members: dict[tuple[int, ...], None] = {(i, *images[i].tolist()): None for i in core}
    for i in core:
        for j, shift in within(i, buffer):
            members.setdefault((j, *(images[i] + shift).tolist()))
    found = np.array(list(members))
    cluster = Atoms(wrapped.numbers[found[:, 0]], positions[found[:, 0]] + found[:, 1:] @ cell)
    return CutOut(cluster, np.arange(len(core)))


def _shifts(atoms: Atoms, reach: float) -> NDArray[np.int_]:
    """Shifts of the cell, shape (n_shifts, 3), that bring an image within `reach` of an atom in the cell."""
    heights = [
        1.0 / np.linalg.norm(row) if periodic else np.inf
        for row, periodic in zip(atoms.cell.reciprocal().array, atoms.pbc, strict=True)
    ]
    most = [int(np.ceil(reach / height)) for height in heights]
    return np.array(list(product(*(range(-n, n + 1) for n in most))))


def _images(
    core: list[int], near: Callable[[int], Iterable[tuple[int, NDArray[np.int_]]]]
) -> dict[int, NDArray[np.int_]]:
    """Which periodic image of each core atom stands next to those found before."""
    images: dict[int, NDArray[np.int_]] = {}
    wanted = set(core)
    for start in core:
        if start in images:
            continue
        images[start] = np.zeros(3, int)
        waiting = [start]
        while waiting:
            i = waiting.pop()
            for j, shift in near(i):
                if j in wanted and j not in images:
                    images[j] = images[i] + shift
                    waiting.append(j)
    return images
