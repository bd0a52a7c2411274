"""A target that may compute part of the atoms: those of which a surrogate is unsure, with a shell of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import adapt, ask
from ase_proxima.targets.cut_outs import cut_out
from ase_proxima.types.identity import electronic_state

__all__ = ["LocalTarget"]

LARGEST_SHARE = 0.6
"""Share of the atoms up to which a part is worth while: a target of quadratic cost then costs a third of the
whole, and nothing is learnt from it."""


class LocalTarget(BaseCalculator):  # type: ignore[misc]  # ASE has no types
    """A short-ranged calculator, which a `ProximaCalculator` may also ask for the forces on a few of the atoms.

    Where the surrogate is unsure of a few atoms only, these are cut out with a shell of others, as a cluster in vacuum,
    and the target's forces on them take the place of the surrogate's: of those atoms whose deviations keep the whole
    answer from being trusted. Such an answer counts as the surrogate's: it is
    audited like the others, so that the bound holds for it, and nothing is learnt from it. Every frame that is stored
    was computed as a whole.

    Parameters
    ----------
    target : ase calculator
        One whose forces come from near atoms. Whether they do is measured: at every stored frame the shell is made as
        thick as `tolerance` asks for, against the forces of the whole.
    tolerance : float
        How much the forces on the atoms asked for may differ from those in the whole structure, in eV/Å; a tenth of
        the error bound is usual.
    largest_share : float
        Share of the atoms up to which a part is computed; where it would be more, the target computes the whole.

    Raises
    ------
    InputError
        If a number is not positive, the target gives no forces, or `target` is no calculator.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> atoms = bulk("Al", cubic=True) * 5
    >>> forces, n_atoms = LocalTarget(EMT(), tolerance=0.005).forces_on(atoms, [0], thickness=6.0)
    >>> n_atoms, bool(abs(forces).max() < 1e-6)
    (55, True)
    """

    def __init__(
        self,
        target: BaseCalculator,
        *,
        tolerance: float,
        largest_share: float = LARGEST_SHARE,
    ) -> None:
        super().__init__()
        self.target = self.stands_for = adapt(target)
        self.tolerance = _positive("tolerance", tolerance)
        self.largest_share = _positive("largest_share", largest_share)
        if "forces" not in self.target.implemented_properties:
            raise InputError(
                "a target on part of the atoms must give forces, got one that offers "
                f"{', '.join(self.target.implemented_properties)}: use it as a whole"
            )
        self.implemented_properties = list(self.target.implemented_properties)
        self.assumed_properties = getattr(self.target, "assumed_properties", ())
        own = {"local": self.tolerance, "largest_share": self.largest_share}
        self.parameters = {**(getattr(self.target, "parameters", None) or {}), **own}

    def _get_name(self) -> str:
        return f"local({getattr(self.target, 'name', type(self.target).__name__)})"

    def calculate(self, atoms: Atoms, properties: Sequence[str], system_changes: Sequence[str]) -> None:
        """Let the target calculate, which holds its own results."""
        self.target.calculate(atoms, properties, system_changes)
        self.results = self.target.results

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Give what the target gives for the whole structure."""
        return self.target.get_property(name, atoms, allow_calculation)

    def forces_on(
        self, atoms: Atoms, core: Sequence[int], thickness: float
    ) -> tuple[NDArray[np.float64], int] | None:
        """Forces of the target on some of the atoms.

        Parameters
        ----------
        atoms
            The whole structure.
        core
            Indices of the atoms.
        thickness
            Of the shell round them, in Å.

        Returns
        -------
        tuple, or None
            Forces in eV/Å, shape (n_core, 3), and the number of atoms that were computed; None where that would be too
            large a share of the structure.

        Raises
        ------
        InputError
            If the structure has a charge or a spin, which no part of it is known to have.
        """
        if electronic_state(atoms):
            raise InputError(
                "a target on part of the atoms cannot tell which part has the charge, the spin or the initial "
                "moments of the structure: use the target as a whole"
            )
        part = cut_out(atoms, core, thickness)
        if len(part.atoms) > self.largest_share * len(atoms):
            return None
        return np.asarray(ask(self.target, part.atoms, ["forces"])["forces"])[part.core], len(part.atoms)

    def close(self) -> None:
        """Close the target, where it can be."""
        if hasattr(self.target, "close"):
            self.target.close()


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise InputError(f"{name} of a target on part of the atoms must be a positive number, got {value!r}")
    return float(value)
