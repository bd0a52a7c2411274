"""What quantum-chemistry targets have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, all_changes
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import StateAwareCalculator
from ase_proxima.targets.electrons import resolve_state, whole_number

__all__ = ["MoleculeCalculator", "charge_and_multiplicity", "nuclear_repulsion"]


class MoleculeCalculator(StateAwareCalculator):
    """Energies and forces of a molecule by a method in a basis; a subclass asks its program in `_compute`.

    Parameters
    ----------
    method, basis
        As the program names them.
    charge, multiplicity
        Total charge of the molecule, in elementary charges, and 2S + 1; None for those that each structure asks for,
        see `ase_proxima.targets.electrons.resolve_state`.  A structure that asks for others is refused.
    at_least_one
        Parameters to check, by name.
    **parameters
        Further parameters on which the results depend.

    Attributes
    ----------
    n_calls
        Calculations that succeeded.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]
    discard_results_on_any_change = True
    program: ClassVar[str]

    def __init__(
        self,
        method: str,
        basis: str,
        *,
        charge: int | None,
        multiplicity: int | None,
        at_least_one: Mapping[str, float],
        **parameters: Any,
    ) -> None:
        for label, value in at_least_one.items():
            if not value >= 1:
                raise InputError(f"{label} must be at least 1, got {value}")
        if charge is not None:
            charge = whole_number(charge, "charge", "the target")
        if multiplicity is not None:
            multiplicity = whole_number(multiplicity, "multiplicity", "the target")
            if not multiplicity >= 1:
                raise InputError(f"multiplicity must be at least 1 (singlet), got {multiplicity}")
        super().__init__(method=method, basis=basis, charge=charge, multiplicity=multiplicity, **parameters)
        self.n_calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Run the program on `atoms`; see `ase.calculators.calculator.Calculator.calculate`."""
        super().calculate(atoms, properties, system_changes)
        energy, gradient = self._compute(self.atoms, "forces" in properties)
        results: dict[str, Any] = {"energy": energy * Hartree}
        if gradient is not None:
            results["forces"] = -gradient * (Hartree / Bohr)
        if not all(np.isfinite(value).all() for value in results.values()):
            raise CalculationFailed(
                f"{self.program} returned an energy or a force that is not finite for "
                f"{self.atoms.get_chemical_formula()}"
            )
        self.n_calls += 1
        self.results.update(results)

    def _compute(self, atoms: Atoms, wants_forces: bool) -> tuple[float, NDArray[np.float64] | None]:
        """Energy in Hartree, and its gradient, shape (n_atoms, 3), in Hartree/Bohr where it is wanted."""
        raise NotImplementedError

    def _charge_and_multiplicity(self, atoms: Atoms) -> tuple[int, int]:
        """Those of `atoms`, checked."""
        return charge_and_multiplicity(atoms, self.parameters.charge, self.parameters.multiplicity)


def charge_and_multiplicity(
    atoms: Atoms, charge: int | None = None, multiplicity: int | None = None
) -> tuple[int, int]:
    """Charge and multiplicity of a molecule that a quantum-chemistry program can compute.

    Parameters
    ----------
    atoms
        The molecule: not periodic, at least one atom, no dummies, no two atoms at the same place.
    charge, multiplicity
        What the target was told; None for nothing.

    Raises
    ------
    InputError
        If it is not such a molecule, it asks for another charge or multiplicity, or its electrons cannot have them.

    Examples
    --------
    >>> from ase import Atoms
    >>> charge_and_multiplicity(Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.97]]))
    (0, 2)
    """
    if len(atoms) == 0:
        raise InputError("cannot compute a molecule without atoms: pass at least one")
    if atoms.pbc.any():
        raise InputError(
            f"this target computes molecules, got pbc={atoms.pbc.tolist()}: set atoms.pbc = False "
            "or choose another target"
        )
    if (atoms.numbers < 1).any():
        raise InputError(f"cannot compute dummy atoms, got {atoms.get_chemical_formula()}: remove them")
    if not np.isfinite(atoms.positions).all():
        raise InputError("positions must be finite numbers, got NaN or infinity")
    if not math.isfinite(nuclear_repulsion(atoms.numbers, atoms.positions)):
        raise InputError("two atoms are at the same place: move one of them")
    state = resolve_state(atoms, charge=charge, multiplicity=multiplicity)
    assert state.multiplicity is not None  # noqa: S101  a molecule has one
    if int(atoms.numbers.sum()) == state.charge:
        raise InputError(
            f"{atoms.get_chemical_formula()} with charge {state.charge} has no electrons left: change the charge"
        )
    return state.charge, state.multiplicity


def nuclear_repulsion(numbers: NDArray[Any], positions: NDArray[np.float64]) -> float:
    """Repulsion energy of the nuclei in Hartree; positions in Å.

    Examples
    --------
    >>> round(nuclear_repulsion(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]])), 4)
    0.7151
    """
    first, second = np.triu_indices(len(numbers), k=1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    with np.errstate(divide="ignore"):
        return float(np.sum(numbers[first] * numbers[second] / (distances / Bohr)))
