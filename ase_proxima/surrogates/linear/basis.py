"""Features of structures: pair functions, power spectra of densities, products of their principal components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ase_proxima.surrogates.linear.kernels import (
    Lanes,
    Layout,
    Pairs,
    energies_and_forces,
    interpolate,
    spectra,
)
from ase_proxima.surrogates.linear.neighbours import all_pairs
from ase_proxima.surrogates.linear.radial import density_table, pair_table
from ase_proxima.surrogates.linear.rows import feature_rows
from ase_proxima.surrogates.linear.settings import Blocks, Settings

__all__ = ["Basis", "FeatureRows"]

RUN = 64
"""Atoms whose neighbours are held at once: more fall out of the cache, fewer cost calls."""
RATTLE = 0.1
"""Random displacement, Å, at which features are scaled and components are found."""
SMALLEST = 1e-6
"""A block whose forces are smaller than this share of the largest block's holds rounding errors alone."""
LEVEL_FLOOR = 0.03
"""Features smaller than this share of the largest of their block are not levelled further, as they might be large
elsewhere; 1e-6 makes the errors 1 % larger (Pt55, aspirin)."""
PAIR_DECAY = 1.0
"""Power of the number of a pair function by which its prior standard deviation falls: smooth functions come first."""
SCALED, SCALED_ATOMS = 2, 48
"""Structures, the latest ones, and atoms in each, equal numbers of the species, by whose forces features are sized."""
REFERENCE_ATOMS = 16
"""Atoms of a periodic structure below which cells are repeated for the scales; in one cell alone forces may cancel."""
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features of one structure and their derivatives, scaled as regression takes them.

    Attributes
    ----------
    values
        Shape (n_features,).
    gradient
        Derivative of `values` by positions, shape (3 n_rows, n_features), in 1/Å.
    strain
        Derivative of `values` by the strain, in Voigt order, shape (6, n_features); None unless the
        structure is periodic along all three axes.
    """

    values: np.ndarray
    gradient: np.ndarray
    strain: np.ndarray | None


class Basis:
    """Features of structures of some species, with scales and components found from first structures.

    Parameters
    ----------
    species
        Atomic numbers, sorted.
    settings, blocks
        Cutoff, resolution and sizes.
    structures
        Structures that set scales, means and principal components; each is displaced at random by 0.1 Å first, as the
        atoms of a perfect crystal differ in nothing.

    Notes
    -----
    The energy is a sum over pairs and atoms, linear in

    - functions of the distance for each pair of species (`pair`),
    - the power spectrum of the density of all neighbours (`blind`) and, where there are several species, of
      combinations of the densities of each that vary most (`resolved`), for each species of the centre,
    - products of principal components of that spectrum (`products`), for each species of the centre,
    - the number of atoms of each species.

    What differs by species is split into a mean over the species and deviations from it, each a block with a prior of
    its own: what one species teaches the others is learnt from the data.
    """

    def __init__(
        self,
        species: Sequence[int],
        settings: Settings,
        blocks: Blocks,
        structures: Sequence[Any],
    ) -> None:
        self._begin(species, settings, blocks)
        n_species, n_max, l_max = len(self.species), settings.n_max, settings.l_max
        rng = np.random.default_rng(0)
        displaced = []
        for atoms in structures:
            moved = _repeated(atoms)
            moved.positions += rng.normal(0.0, RATTLE, (len(moved), 3))
            displaced.append(moved)
        blind = np.zeros((l_max + 1, n_species, n_max, n_max))
        blind[:] = np.eye(n_max)
        self._set(blind, (n_max,))
        if n_species > 1 and blocks.resolved:
            resolved = self._varying_channels(displaced)
            self._set(np.concatenate([blind, resolved], axis=3), (n_max, resolved.shape[3]))
        self._find_components(displaced)
        self._find_scales(displaced)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All that `from_arrays` needs to make this basis again, bit for bit."""
        names = ("channels", "features", "means", "components", "products")
        return {
            **{name: getattr(self.layout, name) for name in names},
            "scale": self._scale,
            "mean": self._mean,
            "block_of": self.block_of,
            "block_names": np.array(self.block_names),
        }

    @classmethod
    def from_arrays(
        cls, species: Sequence[int], settings: Settings, blocks: Blocks, arrays: Mapping[str, np.ndarray]
    ) -> Basis:
        """Basis that `to_arrays` described."""
        basis = cls.__new__(cls)
        basis._begin(species, settings, blocks)
        basis.layout = basis._layout(arrays["channels"], arrays["features"])._replace(
            means=arrays["means"], components=arrays["components"], products=arrays["products"]
        )
        basis._shape()
        basis._scale, basis._mean, basis.block_of = arrays["scale"], arrays["mean"], arrays["block_of"]
        basis.block_names = tuple(arrays["block_names"].tolist())
        return basis

    # -- making

    def _begin(self, species: Sequence[int], settings: Settings, blocks: Blocks) -> None:
        """Take what is given and tabulate the radial functions."""
        self.species = tuple(int(z) for z in species)
        self.settings, self.blocks = settings, blocks
        degrees, n_species = np.arange(settings.l_max + 1), len(self.species)
        self._degree_of = np.repeat(degrees, 2 * degrees + 1)
        pair_kinds = np.zeros((n_species, n_species), dtype=np.int64)
        upper = np.triu_indices(n_species)
        pair_kinds[upper] = np.arange(len(upper[0]))
        self._pair_kinds = np.maximum(pair_kinds, pair_kinds.T)
        self._pair_table = pair_table(settings.r_cut, blocks.pair)
        table = density_table(settings.r_cut, settings.width, settings.n_max, settings.l_max)
        self._flat_table = np.ascontiguousarray(table.reshape(len(table), 4, -1))
        self._own = table[0, 0, 0] / np.sqrt(4.0 * np.pi)

    def _shape(self) -> None:
        """Species and features of each part of the columns, and what turns species into mean and deviations."""
        n_z, n_kinds = len(self.species), int(self._pair_kinds.max()) + 1
        self._shapes = (
            (n_kinds, self.blocks.pair),
            (n_z, len(self.layout.features)),
            (n_z, len(self.layout.products)),
        )
        self._sharing = [_mean_and_contrasts(n) for n, _ in self._shapes]

    def _set(self, channels: np.ndarray, sets: tuple[int, ...]) -> None:
        """Take channels (l, s, n, q), in sets of so many between which no features are formed."""
        features, first = [], 0
        self._set_sizes: list[int] = []
        for size in sets:
            rows = [
                (degree**2, (degree + 1) ** 2, first + a, first + b)
                for degree in range(self.settings.l_max + 1)
                for a in range(size)
                for b in range(a, size)
            ]
            features += rows
            self._set_sizes.append(len(rows))
            first += size
        self.layout = self._layout(channels, np.array(features, dtype=np.int64).reshape(-1, 4))

    def _layout(self, channels: np.ndarray, features: np.ndarray) -> Layout:
        """Layout without products."""
        return Layout(
            degree_of=self._degree_of,
            own=self._own,
            channels=np.ascontiguousarray(channels),
            features=features,
            means=np.zeros((len(self.species), len(features))),
            components=np.zeros((0, len(features))),
            products=np.zeros((0, 3), dtype=np.int64),
            pair_kinds=self._pair_kinds,
        )

    def _varying_channels(self, structures: Sequence[Any]) -> np.ndarray:
        """Combinations of species and radial functions of largest mean square, for each degree."""
        l_max, n_max = self.settings.l_max, self.settings.n_max
        n_species = len(self.species)
        moments = np.zeros((l_max + 1, n_species * n_max, n_species * n_max))
        for atoms in structures:
            for pairs in self._pairs(atoms):
                densities, _ = spectra(pairs, self.layout)
                for degree in range(l_max + 1):
                    part = densities[:, :, degree**2 : (degree + 1) ** 2].transpose(0, 2, 1, 3)
                    flat = part.reshape(-1, n_species * n_max)
                    moments[degree] += flat.T @ flat
        kept = min(self.blocks.resolved, n_species * n_max)
        vectors = [_signed(np.linalg.eigh(moment)[1][:, ::-1][:, :kept]) for moment in moments]
        return np.array(vectors).reshape(l_max + 1, n_species, n_max, kept)

    def _find_components(self, structures: Sequence[Any]) -> None:
        """Means of the spectra by species, and principal components of the deviations from them.

        The spectra are not levelled: features of small variance say little that is not noise of the structures at hand
        (Pt55, 20 frames: 0.0077 eV/Å where levelled ones give 0.016).
        """
        found, kinds = [], []
        for atoms in structures:
            kinds.append(self._kinds(atoms))
            for pairs in self._pairs(atoms):
                found.append(spectra(pairs, self.layout)[1])
        spectrum, kind = np.concatenate(found), np.concatenate(kinds)
        means = np.array(
            [spectrum[kind == z].mean(axis=0) if (kind == z).any() else spectrum.mean(axis=0)
             for z in range(len(self.species))]
        )  # fmt: skip
        centred = spectrum - means[kind]
        _, strengths, vectors = np.linalg.svd(centred, full_matrices=False)
        n_twos, n_threes = self.blocks.twos, self.blocks.threes
        usable = int(np.sum(strengths > 1e-3 * strengths[0])) if strengths[0] > 0 else 0
        n = min(max(n_twos, n_threes), usable)
        scale = np.sqrt(len(centred)) / strengths[:n, None]
        components = _signed(vectors[:n].T).T * scale
        rows = [(a, b, -1) for a in range(min(n, n_twos)) for b in range(a, min(n, n_twos))]
        m = min(n, n_threes)
        rows += [(a, b, c) for a in range(m) for b in range(a, m) for c in range(b, m)]
        self.layout = self.layout._replace(
            means=means,
            components=np.ascontiguousarray(components),
            products=np.array(rows, dtype=np.int64).reshape(len(rows), 3),
        )

    def _find_scales(self, structures: Sequence[Any]) -> None:
        """Blocks of the features, the sizes of their derivatives, and their mean values for an atom."""
        self._shape()
        n_z, n_p = len(self.species), self.blocks.pair
        kinds = (
            np.zeros(n_p, dtype=np.int64),
            np.repeat(np.arange(1, 1 + len(self._set_sizes)), self._set_sizes),
            np.where(self.layout.products[:, 2] < 0, 3, 4),
        )
        words = ("pair", "blind", "resolved", "twos", "threes")
        columns = np.concatenate(
            [
                2 * kind + (row > 0)
                for (rows, _), kind in zip(self._shapes, kinds, strict=True)
                for row in range(rows)
            ]
        )
        present, self.block_of = np.unique(columns, return_inverse=True)
        self.block_names = tuple(words[p // 2] + (" by species" if p % 2 else "") for p in present)
        self._scale = np.ones(len(columns))
        square, count = np.zeros(len(columns)), 0
        total, number = np.zeros(len(columns)), np.zeros(n_z)
        for atoms in structures[-SCALED:]:
            among = self._drawn(atoms)
            values, gradient, _ = self._raw(atoms, _places(len(atoms), among))
            square += np.sum(self._shared(gradient) ** 2, axis=1)
            count += 3 * len(among)
            total += values
            number += self.counts(atoms)
        size = np.sqrt(square / count)
        damping = (1.0 + np.arange(n_p)) ** -PAIR_DECAY
        for block, name in enumerate(self.block_names):
            among = self.block_of == block
            largest = size[among].max()
            if not largest > SMALLEST * size.max():  # rounding: nothing is known of this block
                self._scale[among] = 0.0 if size.any() else 1.0
                continue
            if name.startswith("pair"):
                scale = np.tile(damping, int(among.sum()) // n_p)
            else:
                scale = 1.0 / np.maximum(size[among] / largest, LEVEL_FLOOR)
            self._scale[among] = scale / np.linalg.norm(scale * size[among])
        # The pairs' mean values fall to all atoms alike, those of centres to the atoms of their species.
        pairs, *centres = self._split(total)
        means = [np.tile(pairs / number.sum(), (n_z, 1, 1))]
        for part in centres:
            own = np.zeros((n_z, *part.shape))
            own[np.arange(n_z), np.arange(n_z)] = part / np.maximum(number, 1.0)[:, None]
            means.append(own)
        self._mean = np.concatenate([part.reshape(n_z, -1) for part in means], axis=1)

    # -- use

    @property
    def block(self) -> np.ndarray:
        """Number of the block of each feature; the last one holds the energies of the species."""
        return np.append(self.block_of, np.full(len(self.species), len(self.block_names)))

    @property
    def n_features(self) -> int:
        """Number of features, those of the composition included."""
        return len(self._scale) + len(self.species)

    def counts(self, atoms: Any) -> np.ndarray:
        """Number of atoms of each species."""
        return np.array([float(np.sum(atoms.numbers == z)) for z in self.species])

    def knows(self, atoms: Any) -> bool:
        """Whether all species of `atoms` are known."""
        return set(atoms.numbers.tolist()) <= set(self.species)

    def rows(self, atoms: Any, wanted: np.ndarray | None = None) -> FeatureRows:
        """Features of `atoms` and their derivatives; by the positions of some atoms only, where `wanted` names them."""
        among = np.arange(len(atoms)) if wanted is None else wanted
        values, gradient, strain = self._raw(atoms, _places(len(atoms), among))
        counts = self.counts(atoms)
        features = np.concatenate([self._shared(values - counts @ self._mean), counts])
        slopes = np.concatenate([self._shared(gradient), np.zeros((len(counts), gradient.shape[1]))])
        if wanted is not None or not atoms.pbc.all():
            return FeatureRows(features, slopes.T, None)
        strained = np.zeros((self.n_features, 6))
        full = self._shared(strain).reshape(-1, 3, 3)
        for row, (i, j) in enumerate(VOIGT):
            strained[: len(full), row] = 0.5 * (full[:, i, j] + full[:, j, i])
        return FeatureRows(features, slopes.T, strained.T)

    def lanes(self, weights: np.ndarray) -> Lanes:
        """Weight vectors, (n_features, k), in the form that `energies_and_forces` takes."""
        n_columns = len(self._scale)
        raw = weights[:n_columns] * self._scale[:, None]
        parts, first = [], 0
        for shape, sharing in zip(self._shapes, self._sharing, strict=True):
            size = shape[0] * shape[1]
            part = raw[first : first + size].reshape(*shape, weights.shape[1])
            parts.append(np.ascontiguousarray(np.einsum("ab,afk->bfk", sharing, part)))
            first += size
        flat = np.concatenate([part.reshape(-1, weights.shape[1]) for part in parts])
        return Lanes(np.ascontiguousarray(weights[n_columns:] - self._mean @ flat), *parts)

    def energies_and_forces(self, atoms: Any, lanes: Lanes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energies (k,), forces (n_atoms, 3, k) and derivatives by strain, in Voigt order (6, k)."""
        n_lanes = lanes.constants.shape[1]
        energies, forces = np.zeros(n_lanes), np.zeros((len(atoms), 3, n_lanes))
        full = np.zeros((3, 3, n_lanes))
        for pairs in self._pairs(atoms):
            energies += energies_and_forces(pairs, self.layout, lanes, forces, full)
        return energies, forces, np.array([0.5 * (full[i, j] + full[j, i]) for i, j in VOIGT])

    def _raw(self, atoms: Any, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns by species: values (column,), derivatives by positions (column, row) and by strain (column, 9)."""
        n_columns = sum(a * b for a, b in self._shapes)
        values = np.zeros(n_columns)
        gradient = np.zeros((n_columns, 3 * (int(places.max()) + 1)))
        strain = np.zeros((n_columns, 9))
        for pairs in self._pairs(atoms):
            feature_rows(pairs, self.layout, places, values, gradient, strain)
        return values, gradient, strain

    def _split(self, columns: np.ndarray) -> list[np.ndarray]:
        """Parts (species, feature, ...) of columns by species, (column, ...)."""
        ends = np.cumsum([a * b for a, b in self._shapes])[:-1]
        parts = np.split(columns, ends)
        return [
            part.reshape(*shape, *part.shape[1:]) for part, shape in zip(parts, self._shapes, strict=True)
        ]

    def _shared(self, columns: np.ndarray) -> np.ndarray:
        """Turn columns by species, (column, ...), into their means and deviations, and scale them."""
        turned = [
            (np.tensordot(sharing, part, 1) if len(sharing) > 1 else part).reshape(-1, *columns.shape[1:])
            for part, sharing in zip(self._split(columns), self._sharing, strict=True)
        ]
        together: np.ndarray = np.concatenate(turned)
        together *= self._scale.reshape(-1, *[1] * (columns.ndim - 1))
        return together

    def _drawn(self, atoms: Any) -> np.ndarray:
        """Atoms whose forces stand for those of all: as many of each species, where there are."""
        kinds, rng = self._kinds(atoms), np.random.default_rng(0)
        most = -(-SCALED_ATOMS // len(np.unique(kinds)))
        return np.sort(
            np.concatenate([rng.permutation(np.flatnonzero(kinds == z))[:most] for z in np.unique(kinds)])
        )

    def _kinds(self, atoms: Any) -> np.ndarray:
        kinds: np.ndarray = np.searchsorted(self.species, atoms.numbers).astype(np.int64)
        return kinds

    def _pairs(self, atoms: Any) -> Iterator[Pairs]:
        """Neighbours of the atoms, RUN atoms at a time."""
        kinds = self._kinds(atoms)
        first, neighbours, vectors, distances = all_pairs(atoms, self.settings.r_cut, kinds)
        inverse = (len(self._flat_table)) / self.settings.r_cut
        for start in range(0, len(atoms), RUN):
            stop = min(start + RUN, len(atoms))
            among = slice(first[start], first[stop])
            away, near = vectors[among], distances[among]
            harmonics, tilts = _harmonics(self.settings.l_max, away)
            pair_values, pair_slopes = interpolate(self._pair_table, near, inverse)
            radial, slopes = interpolate(self._flat_table, near, inverse)
            yield Pairs(
                offset=start,
                first=first[start : stop + 1] - first[start],
                kinds=kinds,
                neighbours=neighbours[among],
                vectors=away,
                distances=near,
                pair_values=pair_values,
                pair_slopes=pair_slopes,
                radial=radial,
                slopes=slopes,
                harmonics=harmonics,
                tilts=tilts,
            )


_HARMONICS: dict[int, Any] = {}


def _harmonics(l_max: int, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real spherical harmonics (pair, lm) and their gradients (pair, 3, lm), in 1/Å."""
    from sphericart import SphericalHarmonics

    if not len(vectors):
        return np.zeros((0, (l_max + 1) ** 2)), np.zeros((0, 3, (l_max + 1) ** 2))
    if l_max not in _HARMONICS:
        _HARMONICS[l_max] = SphericalHarmonics(l_max)
    values, gradients = _HARMONICS[l_max].compute_with_gradients(vectors)
    return values, gradients


def _repeated(atoms: Any) -> Any:
    """Return a copy of `atoms`, or of so many cells that displaced atoms tell what features do."""
    bare = atoms.copy()
    bare.set_constraint()  # some kinds, rigid bonds among them, cannot be repeated
    repeats = np.ones(3, dtype=int)
    while len(bare) * repeats.prod() < REFERENCE_ATOMS and bare.pbc.any():
        repeats[bare.pbc] += 1
    return bare.repeat(repeats)


def _places(n_atoms: int, among: np.ndarray) -> np.ndarray:
    """Place of each atom in `among`, -1 for those that are not in it."""
    places = np.full(n_atoms, -1)
    places[among] = np.arange(len(among))
    return places


def _signed(vectors: np.ndarray) -> np.ndarray:
    """Columns with their largest entry positive, which eigensolvers leave open."""
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    signed: np.ndarray = vectors * np.where(signs == 0, 1.0, signs)
    return signed


def _mean_and_contrasts(n: int) -> np.ndarray:
    """Orthonormal rows: the mean of n values, then deviations from it (Helmert)."""
    from scipy.linalg import helmert

    matrix: np.ndarray = helmert(n, full=True) if n > 1 else np.eye(1)
    return matrix
