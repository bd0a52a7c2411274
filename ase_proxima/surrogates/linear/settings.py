"""Settings of the basis: what suits the species, and the sizes of the blocks that fit below a cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ase_proxima.surrogates.linear.basis import Blocks, Settings, n_features

__all__ = ["default_settings", "fitting_blocks"]

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


def default_settings(species: Sequence[int]) -> Settings:
    """Settings that suit the size of the atoms.

    The cutoff is 4.4 covalent radii of the largest species, which takes in the second to third shell of
    neighbours of a metal, and the width 0.4 mean covalent radii.

    Examples
    --------
    >>> settings = default_settings([13])
    >>> round(settings.r_cut, 2), round(settings.width, 2), settings.n_max, settings.l_max
    (5.32, 0.48, 8, 4)
    """
    from ase.data import covalent_radii

    radii = covalent_radii[list(species)]
    return Settings(
        r_cut=float(np.clip(4.4 * radii.max(), 3.5, 6.0)),
        width=float(np.clip(0.4 * radii.mean(), 0.25, 0.6)),
        n_max=8,
        l_max=4,
    )


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
