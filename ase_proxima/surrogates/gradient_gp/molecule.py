"""What stays the same of a molecule during a run: its atoms, pairs, bonds and equivalent atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from ase_proxima.errors import InputError
from ase_proxima.surrogates.gradient_gp.hyperparameters import Labels
from ase_proxima.surrogates.gradient_gp.kernels import internal_basis, inverse_distances
from ase_proxima.surrogates.gradient_gp.permutations import automorphism_group, bond_graph, pair_permutations
from ase_proxima.types import Frame

__all__ = ["Molecule"]


@dataclass(frozen=True, eq=False)
class Molecule:
    """The constant part of a molecule's description, found from one frame.

    Attributes
    ----------
    numbers : (n,) array
        Atomic numbers.
    first, second : (d,) arrays
        The atoms of each pair.
    incidence : (n, d) array
        1 where an atom is the first of a pair, -1 where it is the second.
    images : (p, d) array
        Permutations of the pairs; the identity first.
    separations : (g,) array
        The kinds of pairs that there are: 0 bonded, 1 second neighbours, 2 others.
    groups : (d,) array
        Index of each pair's kind in `separations`; pairs of a kind share a length scale.
    n_internal : int
        Number of independent displacements that change distances, 3n - 6, or 1 for two atoms.
    """

    numbers: np.ndarray
    first: np.ndarray
    second: np.ndarray
    incidence: np.ndarray
    images: np.ndarray
    separations: np.ndarray
    groups: np.ndarray
    n_internal: int

    @classmethod
    def from_atoms(cls, atoms: Any, *, max_permutations: int) -> Molecule:
        """Find pairs, bonds and equivalent atoms.

        Raises
        ------
        InputError
            If `atoms` are not `ase.Atoms`, only one, or periodic.
        """
        if not isinstance(atoms, Atoms):
            raise InputError(
                f"gradient_gp needs ase.Atoms, got {type(atoms).__name__}: for a function of numbers leave the "
                "surrogate out, or pass a scikit-learn regressor"
            )
        if np.any(atoms.pbc):
            raise InputError(
                "gradient_gp is for molecules, got a periodic structure: use surrogate='bayesian_soap'"
            )
        n_atoms = len(atoms)
        if n_atoms < 2:
            raise InputError(
                f"gradient_gp learns from distances and needs at least two atoms, got {n_atoms}: "
                "use controller='baseline' (proxima-mc: --strategy baseline), which asks the target on every call"
            )
        first, second = np.triu_indices(n_atoms, 1)
        rows = np.arange(len(first))
        incidence = np.zeros((n_atoms, len(first)))
        incidence[first, rows] = 1.0
        incidence[second, rows] = -1.0
        bonds = bond_graph(atoms.numbers, atoms.positions)
        steps = bonds.astype(int)
        separation = np.where(bonds, 0, np.where(steps @ steps > 0, 1, 2))[first, second]
        separations, groups = np.unique(separation, return_inverse=True)
        return cls(
            numbers=atoms.numbers.copy(),
            first=first,
            second=second,
            incidence=incidence,
            images=pair_permutations(automorphism_group(atoms.numbers, bonds, max_size=max_permutations)),
            separations=separations,
            groups=groups,
            n_internal=max(3 * n_atoms - 6, 1),
        )

    def check(self, atoms: Any) -> None:
        """Raise `InputError` unless `atoms` are the same elements in the same order, not periodic."""
        if not np.array_equal(atoms.numbers, self.numbers):
            wanted, got = Atoms(self.numbers).get_chemical_formula(), atoms.get_chemical_formula()
            raise InputError(
                f"the model was fitted to {wanted} ({len(self.numbers)} atoms), got {got} ({len(atoms)}): "
                "keep elements and their order, or start a new model"
            )
        if atoms.pbc.any():
            raise InputError("gradient_gp is for molecules, got a periodic structure: set pbc=False")

    def label(self, frame: Frame, energy_offset: float) -> Labels:
        """Turn a frame into labels, energies counted from `energy_offset` (eV).

        Raises
        ------
        InputError
            If the frame has other atoms, no energy, or a value of the wrong shape or not finite.
        """
        self.check(frame.x)
        values = np.full(1 + self.n_internal, np.nan)
        if "energy" not in frame.results:
            raise InputError(
                f"gradient_gp needs an energy in every frame, got {sorted(frame.results)}: add the energy"
            )
        energy = float(frame.results["energy"])
        with np.errstate(divide="ignore", invalid="ignore"):
            descriptor, jacobian = inverse_distances(np.asarray(frame.x.positions))
        if not (np.isfinite(energy) and np.all(np.isfinite(jacobian))):
            raise InputError(
                f"frame of step {frame.step} has energy {energy} and inverse distances up to "
                f"{np.max(descriptor):g} 1/Å: leave out failed calculations and coincident atoms"
            )
        basis = internal_basis(jacobian, self.n_internal)
        values[0] = energy - energy_offset
        forces = frame.results.get("forces")
        if forces is not None:
            forces = np.asarray(forces, dtype=float)
            if forces.shape != (len(self.numbers), 3) or not np.all(np.isfinite(forces)):
                raise InputError(
                    f"forces must be finite and have shape ({len(self.numbers)}, 3), got {forces.shape} with "
                    f"{np.count_nonzero(~np.isfinite(forces))} not finite: pass one row per atom"
                )
            values[1:] = -basis.T @ forces.ravel()
        return Labels(descriptor, np.ascontiguousarray((jacobian @ basis).T), values)
