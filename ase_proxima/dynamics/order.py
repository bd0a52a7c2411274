"""Which atoms are solid and which liquid, and the state of a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from ase_proxima.errors import InputError

__all__ = ["liquid_fraction", "solid_or_liquid"]

# "Measured" is on aluminium, EMT by Asap, 216 atoms.
NEIGHBOURS, BOND_ORDER, SOLID_BONDS = 12, 0.7, 6
"""Of the order parameter: a crystal at 850 K is 0.99 solid (measured), a liquid 0.00."""
LIQUID_ABOVE, SOLID_BELOW = 0.95, 0.12
"""Liquid fractions from which a cell is homogeneous; up to 0.1 of a hot crystal looks liquid (measured)."""
AGREEING_CHECKS = 2
"""Looks in a row that must agree."""


def liquid_fraction(atoms: Atoms) -> float:
    """Share of the atoms without a solid's neighbourhood.

    An atom is solid if the bond-orientational order of degree 6 of at least six of its twelve nearest neighbours agrees
    with its own.

    Raises
    ------
    InputError
        If the structure is not periodic, or has no more than twelve atoms.

    References
    ----------
    ten Wolde, Ruiz-Montero and Frenkel, Faraday Discuss. 104, 93 (1996); the program is freud's `SolidLiquid`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> liquid_fraction(bulk("Al", cubic=True) * 3)
    0.0
    """
    import freud

    if not atoms.pbc.all() or len(atoms) <= NEIGHBOURS:
        raise InputError(
            f"solid and liquid are told apart in periodic cells of more than {NEIGHBOURS} atoms, got "
            f"{len(atoms)} atoms, pbc = {atoms.pbc.tolist()}"
        )
    box = freud.box.Box.from_matrix(atoms.cell.array.T)
    order = freud.order.SolidLiquid(l=6, q_threshold=BOND_ORDER, solid_threshold=SOLID_BONDS)
    # freud's box has its origin in the middle
    points = box.wrap(atoms.get_positions(wrap=True) - atoms.cell.array.sum(axis=0) / 2)
    order.compute((box, points), neighbors={"num_neighbors": NEIGHBOURS})
    return float(np.mean(order.num_connections < SOLID_BONDS))


def solid_or_liquid(fractions: Sequence[float]) -> str:
    """State of a cell from its latest liquid fractions.

    Examples
    --------
    >>> solid_or_liquid([0.5, 0.97, 0.99]), solid_or_liquid([0.97, 0.5]), solid_or_liquid([0.05, 0.02])
    ('liquid', 'undecided', 'solid')
    """
    latest = fractions[-AGREEING_CHECKS:]
    if len(latest) < AGREEING_CHECKS:
        return "undecided"
    if min(latest) > LIQUID_ABOVE:
        return "liquid"
    return "solid" if max(latest) < SOLID_BELOW else "undecided"
