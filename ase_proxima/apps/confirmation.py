"""The end of a relaxation or of a nudged elastic band, brought about on the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError

__all__ = ["confirm"]

ROUNDS = 6
"""Times that the surrogate may go on from where the target did not agree; ten relaxations of metals and molecules took
one to three."""


def confirm(optimizer: Any, *, fmax: float = 0.05, steps: int = 200) -> bool:
    """Go on with an optimizer until the target itself finds its forces below `fmax`.

    The target looks at the structure where the optimizer stands, at every image of a band. Where its forces are too
    large the surrogate, which has learned from that look, goes on until it finds them small, and the target looks
    again. After six such rounds the target makes the remaining steps alone.

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
    found = {id(calculator): calculator for calculator in _calculators(optimizer.atoms)}
    calculators = [item for item in found.values() if isinstance(item, ProximaCalculator)]
    if not calculators:
        raise InputError(
            f"confirm needs an optimizer of atoms with a ProximaCalculator, got {type(optimizer).__name__} with "
            f"{', '.join(type(item).__name__ for item in found.values()) or 'none'}: there is nothing to confirm"
        )
    for _ in range(ROUNDS):
        if _on_target(optimizer, calculators, fmax, steps=0):
            return True
        optimizer.run(fmax=fmax, steps=steps)
    return _on_target(optimizer, calculators, fmax, steps=steps)


def _on_target(optimizer: Any, calculators: list[ProximaCalculator], fmax: float, *, steps: int) -> bool:
    with ExitStack() as stack:
        for calculator in calculators:
            stack.enter_context(calculator.target_only())
        return bool(optimizer.run(fmax=fmax, steps=steps))


def _calculators(system: Any) -> Iterator[Any]:
    """Calculators of atoms, of a filter round them, or of the images of a band."""
    for image in getattr(system, "images", None) or [system]:
        atoms = getattr(image, "atoms", image)
        if atoms.calc is not None:
            yield atoms.calc
