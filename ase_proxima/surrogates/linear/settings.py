"""Settings of a basis, candidates that suit the structures, and sizes of its blocks that fit below a cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.linear.neighbours import all_pairs

__all__ = ["Blocks", "Settings", "candidates", "fitting_blocks", "n_features", "neighbour_distance"]

SMALLER: tuple[dict[str, int], ...] = (
    {"threes": 8},
    {"twos": 16},
    {"resolved": 8},
    {"threes": 6},
    {"twos": 12},
    {"resolved": 6},
    {"threes": 0, "twos": 8},
    {"resolved": 0},
    {"twos": 0},
)
"""What is given up in turn until the features fit below the cap; the pairs and the blind spectrum stay."""
SHELL = 4
"""The neighbour whose mean distance is the unit of cutoffs and widths: in close packing one of the first shell, in a
diamond lattice the last of it, in a molecule one beyond the bonds."""
SHAPES = (
    (1.45, 0.145, 8, 4),
    (1.7, 0.13, 8, 4),
    (1.7, 0.17, 8, 4),
    (2.0, 0.11, 10, 4),
    (2.0, 0.17, 8, 4),
    (2.4, 0.17, 8, 4),
)
"""Candidates: cutoff and width in that unit, number of radial functions, highest degree."""
CUTOFFS = (3.0, 8.0)
"""Smallest and largest cutoff, Å."""
WIDTHS = (0.2, 0.8)
"""Smallest and largest width, Å."""
BOND = 2.2
"""A distance in mean covalent radii, where structures have fewer neighbours than SHELL."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a basis.

    Attributes
    ----------
    r_cut
        Cutoff in Å.
    width
        Width of the Gaussians that stand for atoms, in Å.
    n_max, l_max
        Number of radial functions, highest degree of the spherical harmonics.
    """

    r_cut: float
    width: float
    n_max: int
    l_max: int

    def __post_init__(self) -> None:
        for name in ("r_cut", "width", "n_max"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}: leave it out")
        if not 0 <= self.l_max <= 10:
            raise InputError(f"l_max must be between 0 and 10, got {self.l_max}: leave it out")


@dataclass(frozen=True, slots=True)
class Blocks:
    """Sizes of the blocks of features.

    Attributes
    ----------
    pair
        Functions of the distance, for each pair of species.
    resolved
        Channels of the spectrum that tells species apart, where there are several; those of largest variance are kept.
    twos, threes
        Principal components of an atom's spectrum that are multiplied in pairs and in threes.
    """

    pair: int = 12
    resolved: int = 12
    twos: int = 24
    threes: int = 10


def n_features(n_species: int, settings: Settings, blocks: Blocks) -> int:
    """Largest number of features of a basis, those of the composition included.

    Examples
    --------
    >>> settings = Settings(5.0, 0.4, 6, 5)
    >>> n_features(1, settings, Blocks(twos=0, threes=0)), n_features(2, settings, Blocks())
    (139, 2266)
    """
    channels = [settings.n_max]
    if n_species > 1 and blocks.resolved:
        channels.append(min(blocks.resolved, n_species * settings.n_max))
    spectrum = (settings.l_max + 1) * sum(q * (q + 1) // 2 for q in channels)
    m, k = blocks.twos, blocks.threes
    products = m * (m + 1) // 2 + k * (k + 1) * (k + 2) // 6
    pairs = n_species * (n_species + 1) // 2 * blocks.pair
    return pairs + n_species * (spectrum + products + 1)


def neighbour_distance(structures: Sequence[Any]) -> float:
    """Median distance, Å, from an atom to its fourth neighbour; to its last one in smaller molecules.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> round(neighbour_distance([bulk("Al")]), 2), round(neighbour_distance([molecule("H2O")]), 2)
    (2.86, 1.53)
    """
    from ase.data import covalent_radii

    found: list[float] = []
    for atoms in structures:
        first, _, _, distances = all_pairs(atoms, CUTOFFS[1], np.zeros(len(atoms), dtype=np.int64))
        for begin, end in pairwise(first):
            if end > begin:
                found.append(np.sort(distances[begin:end])[min(SHELL, end - begin) - 1])
    if not found:
        return float(BOND * np.mean([covalent_radii[atoms.numbers].mean() for atoms in structures]))
    return float(np.median(found))


def candidates(structures: Sequence[Any]) -> list[Settings]:
    """Settings that suit the distances in `structures`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> [round(settings.r_cut, 2) for settings in candidates([bulk("Al", cubic=True) * 2])]
    [4.15, 4.87, 4.87, 5.73, 5.73, 6.87]
    """
    unit = neighbour_distance(structures)
    return [
        Settings(
            r_cut=float(np.clip(cutoff * unit, *CUTOFFS)),
            width=float(np.clip(width * unit, *WIDTHS)),
            n_max=n_max,
            l_max=l_max,
        )
        for cutoff, width, n_max, l_max in SHAPES
    ]


def fitting_blocks(n_species: int, settings: Settings, max_features: int) -> Blocks:
    """Sizes of the blocks, as large as fits below `max_features`.

    Examples
    --------
    >>> fitting_blocks(1, Settings(5.0, 0.4, 8, 4), 2000)
    Blocks(pair=12, resolved=12, twos=24, threes=10)
    >>> fitting_blocks(5, Settings(5.0, 0.4, 8, 4), 2000)
    Blocks(pair=12, resolved=6, twos=8, threes=0)
    """
    blocks = Blocks()
    for change in SMALLER:
        if n_features(n_species, settings, blocks) <= max_features:
            break
        blocks = replace(blocks, **change)
    return blocks
