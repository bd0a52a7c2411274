"""Neighbours of atoms within a cutoff."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

__all__ = ["all_pairs"]


def all_pairs(
    atoms: Any, r_cut: float, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours within `r_cut`, each pair from both sides, in the order of the atoms and of the neighbours' kinds.

    Returns
    -------
    first (n_atoms + 1,), neighbours, vectors (pair, 3) and distances, in Å

    Examples
    --------
    >>> from ase import Atoms
    >>> atoms = Atoms("ArArAr", [[0, 0, 0], [0, 0, 3], [0, 0, 9]])
    >>> first, neighbours, vectors, distances = all_pairs(atoms, 5.0, np.zeros(3, dtype=int))
    >>> first, neighbours, distances
    (array([0, 1, 2, 2]), array([1, 0]), array([3., 3.]))
    """
    cell = np.array(atoms.cell.complete()) if atoms.cell.rank else np.eye(3)
    search = _neighbour_search()(cutoff=r_cut, full_list=True, n_threads=1)
    i, j, distances, vectors = search.compute(
        np.ascontiguousarray(atoms.positions), cell, np.array(atoms.pbc), quantities="ijdD"
    )
    i, j = i.astype(np.int64), j.astype(np.int64)
    order = np.lexsort((distances, kinds[j], i))
    first = np.zeros(len(atoms) + 1, dtype=np.int64)
    np.cumsum(np.bincount(i, minlength=len(atoms)), out=first[1:])
    return first, j[order], vectors[order], distances[order]


@cache
def _neighbour_search() -> Any:
    """Return vesin's search, loaded without the torch that it imports where there is one, which takes seconds.

    Whoever imports vesin after this gets it with its torch: nothing of this loading stays behind.
    """
    if "vesin" in sys.modules or "torch" in sys.modules:
        from vesin import NeighborList

        return NeighborList
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from vesin import NeighborList
    finally:
        del sys.modules["torch"]
        for name in [name for name in sys.modules if name == "vesin" or name.startswith("vesin.")]:
            del sys.modules[name]
    return NeighborList
