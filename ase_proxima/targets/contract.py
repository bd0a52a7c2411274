"""What any calculator is asked, and what it returns: checked, and brought into one shape."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import Calculator

from ase_proxima.targets.electrons import electronic_signature

__all__ = ["StateAwareCalculator"]


class StateAwareCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """A calculator that notices another charge or multiplicity in `atoms.info`, at which ASE does not look."""

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation."""
        changes = list(super().check_state(atoms, tol))
        if self.atoms is not None and not changes:
            before, now = electronic_signature(self.atoms), electronic_signature(atoms)
            changes = ["initial_charges", "initial_magmoms"] * (before != now)
        return changes
