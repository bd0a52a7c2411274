"""SOAP power spectra summed over the atoms of each species, with their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from ase_proxima.errors import InputError

__all__ = ["FeatureRows", "PowerSpectrum", "SoapSettings", "default_settings"]

BASES = ((6, 5), (5, 4), (4, 4), (4, 3), (3, 3), (3, 2), (2, 2))
"""Number of radial functions and highest degree, from rich to poor."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, slots=True)
class SoapSettings:
    """Settings of the SOAP power spectrum.

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
        if not 0 <= self.l_max <= 20:
            raise InputError(f"l_max must be between 0 and 20, got {self.l_max}: leave it out")


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features of one structure and their derivatives.

    Attributes
    ----------
    values
        Sums over the atoms of each species, shape (n_features,).
    gradient
        Derivative of `values` by the positions, shape (3 n_atoms, n_features), in 1/Å.
    strain
        Derivative of `values` by the strain, in Voigt order, shape (6, n_features); None unless the
        structure is periodic along all three axes.
    """

    values: np.ndarray
    gradient: np.ndarray
    strain: np.ndarray | None


def n_features(n_species: int, n_max: int, l_max: int) -> int:
    """Number of features of `n_species` species.

    Examples
    --------
    >>> n_features(1, 5, 4), n_features(2, 5, 4)
    (75, 550)
    """
    same = n_max * (n_max + 1) // 2 * (l_max + 1)
    mixed = n_max * n_max * (l_max + 1)
    return n_species * (n_species * same + n_species * (n_species - 1) // 2 * mixed)


def default_settings(species: Sequence[int], *, max_features: int = 1000) -> SoapSettings:
    """Settings that suit the size of the atoms and the number of species.

    The cutoff is 4.4 covalent radii of the largest species, which takes in the second to third shell of
    neighbours of a metal, and the width 0.4 mean covalent radii; the basis is the richest that stays below
    `max_features`.

    Examples
    --------
    >>> settings = default_settings([13])
    >>> round(settings.r_cut, 2), round(settings.width, 2), settings.n_max, settings.l_max
    (5.32, 0.48, 6, 5)
    """
    from ase.data import covalent_radii

    radii = covalent_radii[list(species)]
    n_max, l_max = next(
        (basis for basis in BASES if n_features(len(species), *basis) <= max_features), BASES[-1]
    )
    return SoapSettings(
        r_cut=float(np.clip(4.4 * radii.max(), 3.5, 6.0)),
        width=float(np.clip(0.4 * radii.mean(), 0.25, 0.6)),
        n_max=n_max,
        l_max=l_max,
    )


class PowerSpectrum:
    """SOAP power spectra of fixed species, by featomic.

    Parameters
    ----------
    species
        Atomic numbers, sorted.
    settings
        Cutoff, width and basis.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013).

    Examples
    --------
    >>> from ase.build import molecule
    >>> spectrum = PowerSpectrum([1, 8], SoapSettings(r_cut=3.5, width=0.3, n_max=2, l_max=1))
    >>> rows = spectrum.compute(molecule("H2O"))
    >>> rows.values.shape, rows.gradient.shape, rows.strain
    ((40,), (9, 40), None)
    """

    def __init__(self, species: Sequence[int], settings: SoapSettings) -> None:
        from featomic import SoapPowerSpectrum
        from metatensor import Labels, TensorBlock, TensorMap

        self.species = tuple(int(z) for z in species)
        self.settings = settings
        self._calculator = SoapPowerSpectrum(
            cutoff={
                "radius": settings.r_cut,
                "smoothing": {"type": "ShiftedCosine", "width": min(1.0, 0.2 * settings.r_cut)},
            },
            density={"type": "Gaussian", "width": settings.width},
            basis={
                "type": "TensorProduct",
                "max_angular": settings.l_max,
                "radial": {"type": "Gto", "max_radial": settings.n_max - 1},
            },
        )
        pairs = [(a, b) for i, a in enumerate(self.species) for b in self.species[i:]]
        keys = [(center, a, b) for center in self.species for a, b in pairs]
        blocks, multiplicity = [], []
        for _, a, b in keys:
            # p_nn' = p_n'n between like neighbours: half of them is enough, with twice the weight.
            wanted = [
                (degree, n, m)
                for degree in range(settings.l_max + 1)
                for n in range(settings.n_max)
                for m in range(n if a == b else 0, settings.n_max)
            ]
            multiplicity += [1.0 if a == b and n == m else np.sqrt(2.0) for _, n, m in wanted]
            blocks.append(
                TensorBlock(
                    values=np.zeros((1, len(wanted))),
                    samples=Labels(["s"], np.zeros((1, 1), dtype=np.int32)),
                    components=[],
                    properties=Labels(["l", "n_1", "n_2"], np.array(wanted, dtype=np.int32)),
                )
            )
        self._keys = Labels(["center_type", "neighbor_1_type", "neighbor_2_type"], np.array(keys))
        self._selection = TensorMap(self._keys, blocks)
        self._multiplicity = np.array(multiplicity)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self._multiplicity)

    def spectra(self, atoms: Any) -> Any:
        """Power spectra of the single atoms with their gradients, as featomic gives them: a `metatensor.TensorMap`.

        Raises
        ------
        InputError
            If `atoms` has a species that this power spectrum does not know.
        """
        from ase.data import chemical_symbols

        unknown = sorted(set(atoms.numbers.tolist()) - set(self.species))
        if unknown:
            known = ", ".join(chemical_symbols[z] for z in self.species)
            raise InputError(
                f"the surrogate knows the species {known}, got {chemical_symbols[unknown[0]]}: "
                "start a new run for another composition"
            )
        return self._calculator.compute(
            _fully_periodic(atoms, self.settings.r_cut),
            gradients=["positions", "strain"] if atoms.pbc.all() else ["positions"],
            selected_keys=self._keys,
            selected_properties=self._selection,
        )

    def compute(self, atoms: Any) -> FeatureRows:
        """Features of `atoms` and their derivatives.

        Raises
        ------
        InputError
            If `atoms` has a species that this power spectrum does not know.
        """
        tensor = self.spectra(atoms)
        periodic = bool(atoms.pbc.all())
        n_atoms, size = len(atoms), self.n_features
        values = np.empty(size)
        gradient = np.empty((3 * n_atoms, size))
        strain = np.empty((6, size)) if periodic else None
        first = 0
        for block in tensor.blocks():
            width = len(block.properties)
            columns = slice(first, first + width)
            first += width
            values[columns] = block.values.sum(axis=0)
            by_position = block.gradient("positions")
            moved = by_position.samples.values[:, 2]
            ones = np.ones(len(moved))
            add = csr_matrix((ones, (moved, np.arange(len(moved)))), shape=(n_atoms, len(moved)))
            total = add @ by_position.values.reshape(len(moved), 3 * width)
            gradient[:, columns] = total.reshape(3 * n_atoms, width)
            if strain is not None:
                full = block.gradient("strain").values.sum(axis=0)
                for row, (i, j) in enumerate(VOIGT):
                    strain[row, columns] = 0.5 * (full[i, j] + full[j, i])
        values *= self._multiplicity
        gradient *= self._multiplicity
        if strain is not None:
            strain *= self._multiplicity
        return FeatureRows(values, gradient, strain)


def _fully_periodic(atoms: Any, r_cut: float) -> Any:
    """Return `atoms` periodic along all axes or none: open axes get a vacuum that no interaction crosses."""
    from ase import Atoms

    if atoms.pbc.all():
        return atoms
    if not atoms.pbc.any():
        return Atoms(atoms.numbers, atoms.positions)
    cell = atoms.cell.copy()
    cell[~atoms.pbc] = 0.0
    cell = cell.complete()
    for axis in np.flatnonzero(~atoms.pbc):
        direction = cell[axis] / np.linalg.norm(cell[axis])
        cell[axis] = direction * (np.ptp(atoms.positions @ direction) + 2.0 * r_cut)
    return Atoms(atoms.numbers, atoms.positions, cell=cell, pbc=True)
