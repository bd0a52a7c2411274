"""The end of a relaxation or of a nudged elastic band, brought about on the target."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from ase import Atoms

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError

__all__ = ["confirm"]

ROUNDS = 6
"""Times that the surrogate may go on from where the target did not agree; ten relaxations of metals and molecules took
one to three."""
SURE = 0.1
"""Expected force error over `fmax` up to which the surrogate's word on an image of a band is taken."""
SURPRISE = 2.5
"""Multiple of the expected error above which one that was seen takes that word away from it; `risk` has the same."""


def confirm(optimizer: Any, *, fmax: float = 0.05, steps: int = 200) -> bool:
    """Go on with an optimizer until the target itself finds its forces below `fmax`.

    The target looks at the structure where the optimizer stands. Of a band it looks at the image where the surrogate,
    which learns from each look, expects the largest error, until those that are left, as mirror images of others may
    be, are expected to be off by a tenth of `fmax` at most; at all of them if a look shows an error 2.5 times above
    what was expected, or where no bound is on the largest force. Where the forces are too large the surrogate goes on
    until it finds them small, and the target looks again. After six such rounds the target makes the remaining steps
    alone.

    Parameters
    ----------
    optimizer : ase optimizer
        Of atoms, of a filter round atoms, or of a band, with a `ProximaCalculator`.
    fmax : float
        In eV/Å.
    steps : int
        Most steps a round.

    Returns
    -------
    bool
        Whether it converged on the target.

    Raises
    ------
    InputError
        If the optimizer has no `ProximaCalculator`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.optimize import BFGS
    >>> atoms = bulk("Al", cubic=True)
    >>> atoms.rattle(0.05, seed=1)
    >>> atoms.calc = ProximaCalculator(EMT(), error_bound=0.05)
    >>> optimizer = BFGS(atoms, logfile=None)
    >>> _ = optimizer.run(fmax=0.02)
    >>> confirm(optimizer, fmax=0.02)
    True
    """
    images = [getattr(image, "atoms", image) for image in _images(optimizer.atoms)]
    found = {id(atoms.calc): atoms.calc for atoms in images if atoms.calc is not None}
    calculators = [item for item in found.values() if isinstance(item, ProximaCalculator)]
    if not calculators:
        raise InputError(
            f"confirm needs an optimizer of atoms with a ProximaCalculator, got {type(optimizer).__name__} with "
            f"{', '.join(type(item).__name__ for item in found.values()) or 'none'}: there is nothing to confirm"
        )
    band = [atoms for atoms in images if isinstance(atoms.calc, ProximaCalculator)] if len(images) > 1 else []
    for _ in range(ROUNDS):
        beyond = SURE * fmax if band and _look(band, SURE * fmax) else 0.0
        if _on_target(optimizer, calculators, fmax, steps=0, beyond=beyond):
            return True
        optimizer.run(fmax=fmax, steps=steps)
    return _on_target(optimizer, calculators, fmax, steps=steps)


def _look(band: Sequence[Atoms], limit: float) -> bool:
    """Ask the target where the surrogate expects most, until that is `limit`; whether all was as expected."""
    left = list(band)
    while left:
        foreseen = [atoms.calc.foresee(atoms) for atoms in left]
        worst = max(range(len(left)), key=lambda k: foreseen[k][1])
        atoms, (predicted, expected) = left.pop(worst), foreseen[worst]
        if expected <= limit and len(left) + 1 < len(band):
            return True
        with atoms.calc.target_only():
            forces = atoms.get_forces(apply_constraint=False)
        if predicted is None or np.linalg.norm(forces - predicted, axis=1).max() > SURPRISE * expected:
            return False
    return True


def _on_target(
    optimizer: Any, calculators: list[ProximaCalculator], fmax: float, *, steps: int, beyond: float = 0.0
) -> bool:
    with ExitStack() as stack:
        for calculator in calculators:
            stack.enter_context(calculator.target_only(beyond=beyond))
        return bool(optimizer.run(fmax=fmax, steps=steps))


def _images(system: Any) -> Sequence[Any]:
    """Images of a band, or the one system that atoms or a filter round them are."""
    return getattr(system, "images", None) or [system]
