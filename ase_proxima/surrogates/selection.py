"""Which frames to keep when there are too many, and how much a new one tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ase_proxima.surrogates.gradient_gp.kernels import matern52

__all__ = ["energy_covariance", "most_informative", "novelty", "thinned"]

NOISE = 1e-8
"""Variance of a label, in that of the prior; without it rounding errors grow from one near copy to the next."""

LEAST_NOVELTY = 0.25
"""What the forces on a copy of a known structure count."""


def energy_covariance(q: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Prior covariance of the energies, averaged over permutations, in units of the amplitude.

    Parameters
    ----------
    q : (n, d) array
        Descriptors in units of the length scale.
    images : (p, d) integer array
        Permutations of the pairs.

    Returns
    -------
    (n, n) array
    """
    covariance = np.empty((len(q), len(q)))
    for i, row in enumerate(q):
        difference = q[:, None] - row[images]
        covariance[i] = matern52(np.einsum("npd,npd->np", difference, difference))[0].mean(axis=1)
    return covariance


def most_informative(
    covariance: np.ndarray, n_keep: int, *, start: Sequence[int], exclude: Sequence[int]
) -> list[int]:
    """Choose rows, `start` first, then always the one of largest variance given those chosen.

    This is the choice of pivots in a pivoted Cholesky decomposition.

    Parameters
    ----------
    covariance : (n, n) array
    n_keep : int
        Number of rows to choose, at least `len(start)`.
    start, exclude : sequences of int
        Rows that are chosen in any case, and rows that are not.

    Returns
    -------
    list of int
        Chosen rows, ascending.

    Examples
    --------
    >>> most_informative(np.array([[1, 0.9, 0], [0.9, 1, 0.1], [0, 0.1, 1]]), 2, start=[0], exclude=[])
    [0, 2]
    """
    variance = np.diag(covariance).copy()
    columns = np.empty((n_keep, len(covariance)))
    chosen: list[int] = []
    waiting = list(start)
    variance[list(exclude)] = -np.inf
    while len(chosen) < n_keep:
        pivot = waiting.pop(0) if waiting else int(np.argmax(variance))
        row = covariance[pivot] - columns[: len(chosen), pivot] @ columns[: len(chosen)]
        columns[len(chosen)] = row / np.sqrt(max(row[pivot], 0.0) + NOISE)
        variance -= columns[len(chosen)] ** 2
        chosen.append(pivot)
        variance[chosen] = -np.inf
    return sorted(chosen)


def thinned(order: Sequence[int], covariance: np.ndarray) -> list[int]:
    """Drop a quarter: the newest quarter stays, the oldest tenth goes, of the rest those stay that tell most.

    Parameters
    ----------
    order : sequence of int
        What is held, the oldest first.
    covariance : (n, n) array
        Between them.

    Examples
    --------
    >>> thinned([3, 4, 5, 7, 9, 10, 12, 13], np.eye(8))
    [3, 4, 5, 7, 12, 13]
    """
    n = len(order)
    keep = most_informative(covariance, 3 * n // 4, start=range(n - n // 4, n), exclude=range(n // 10))
    return [order[i] for i in keep]


def novelty(atoms: Any, known: Sequence[Any], scale: float) -> float:
    """Share of the forces on `atoms` that counts as independent of those on `known` structures.

    It is the mean square displacement of a coordinate from the nearest of them in units of `scale` squared (Å²),
    not below a quarter and not above 1; 1 if none has the same atoms and cell.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("Al", cubic=True)
    >>> moved = atoms.copy()
    >>> moved.positions[0] += 0.18
    >>> novelty(moved, [], 0.1), novelty(moved, [atoms], 0.1), novelty(atoms, [atoms], 0.1)
    (1.0, 0.61, 0.25)
    """
    nearest = np.inf
    for x in known:
        if not np.array_equal(x.numbers, atoms.numbers) or not np.allclose(
            x.cell, atoms.cell, rtol=0.0, atol=0.1 * scale
        ):
            continue
        moved = atoms.positions - x.positions
        moved -= moved.mean(axis=0)
        nearest = min(nearest, float(np.mean(moved**2)))
    return float(np.clip(nearest / scale**2, LEAST_NOVELTY, 1.0))
