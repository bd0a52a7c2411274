"""Effective medium theory through Asap, several times as fast as ASE's own for hundreds of atoms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import OldStyleCalculator

__all__ = ["ELEMENTS", "AsapEMT"]

ELEMENTS = frozenset({"Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt"})
"""Those that Asap has parameters for."""

VACUUM = 10.0
"""Å round a cluster, whose cell Asap wants to know; further than any of its cutoffs (6.8 Å for Ag at most)."""


class AsapEMT(BaseCalculator):  # type: ignore[misc]  # ASE has no types
    """`asap3.EMT`, made anew for every calculation, so that results do not depend on those before.

    The energies are those of `ase.calculators.emt.EMT(asap_cutoff=True)`.

    Raises
    ------
    InputError
        If Asap is not installed, or has no parameters for an element.

    References
    ----------
    Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394 (1996). doi:10.1016/0039-6028(96)00816-3
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  ASE's own class attribute
    name = "asap"

    def __init__(self) -> None:
        super().__init__()
        try:
            from asap3 import EMT
        except ImportError as error:
            raise InputError(
                "Asap is not installed: install it with `pip install 'ase-proxima[asap]'`, for which a C++ compiler is "
                "needed, or use the slower target emt"
            ) from error
        self._make: Any = EMT

    def validate(self, atoms: Atoms) -> None:
        """Raise an `InputError` where there are no parameters for an element."""
        unknown = sorted(set(atoms.get_chemical_symbols()) - ELEMENTS)
        if unknown:
            raise InputError(
                f"target asap has no parameters for {', '.join(unknown)}, only for {', '.join(sorted(ELEMENTS))}: "
                "choose another target"
            )

    def calculate(self, atoms: Atoms, properties: Iterable[str], system_changes: Iterable[str]) -> None:  # noqa: ARG002
        """Ask a new `asap3.EMT`, on atoms with a cell."""
        self.validate(atoms)
        boxed = atoms.copy()
        if not boxed.pbc.any():
            boxed.center(vacuum=VACUUM)
        fresh = OldStyleCalculator(self._make())
        fresh.calculate(boxed, self.implemented_properties, system_changes)
        self.results.update(fresh.results)
