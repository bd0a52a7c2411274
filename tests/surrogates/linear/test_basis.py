"""Features, their derivatives, and the pass that carries many weights: against finite differences and one another."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list
from scipy.integrate import quad, trapezoid
from scipy.special import spherical_in

from ase_proxima.errors import InputError
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.choice import choose_settings
from ase_proxima.surrogates.linear.kernels import LANES
from ase_proxima.surrogates.linear.labels import Labels, read_labels
from ase_proxima.surrogates.linear.neighbours import all_pairs
from ase_proxima.surrogates.linear.radial import density_table, pair_table
from ase_proxima.surrogates.linear.settings import Blocks, Settings, candidates, fitting_blocks, n_features
from ase_proxima.types import Frame

SETTINGS = Settings(4.5, 0.5, 3, 2)
BLOCKS = Blocks(pair=5, resolved=4, twos=4, threes=3)


def rattled(atoms, size=0.08, pbc=None):
    moved = atoms.copy()
    moved.positions += np.random.default_rng(1).normal(0.0, size, moved.positions.shape)
    if pbc is not None:
        moved.pbc = pbc
    return moved


ALLOY = bulk("Cu", cubic=True, a=3.8)
ALLOY.numbers[::2] = 13

STRUCTURES = {
    "crystal": rattled(bulk("Al", cubic=True)),
    "cutoff beyond half the cell": rattled(ALLOY),
    "one atom in a small cell": bulk("Cu", a=3.5),
    "two species in a skew cell": rattled(bulk("NaCl", "rocksalt", a=5.4)),
    "periodic along two axes": rattled(fcc111("Cu", (1, 2, 2), vacuum=4.0), pbc=(True, True, False)),
    "periodic along one axis": rattled(ALLOY, pbc=(False, False, True)),
    "cluster": rattled(Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [1.2, 2.1, 0], [1.2, 0.7, 2.0]])),
    "molecule of three species": rattled(molecule("CH3OH")),
    "dimer": Atoms("CO", [[0, 0, 0], [0, 0.3, 1.1]]),
    "atoms out of reach": Atoms("Ar2", [[0, 0, 0], [0, 0, 30.0]]),
    "single atom": Atoms("Ar"),
}


def made(atoms):
    basis = Basis(sorted(set(atoms.numbers.tolist())), SETTINGS, BLOCKS, [atoms])
    weights = np.random.default_rng(2).normal(size=(basis.n_features, LANES))
    return basis, weights, basis.lanes(weights)


def slope(function, step=3e-4):
    """Derivative at zero, of fourth order in the step."""
    near, far = function(step) - function(-step), function(2 * step) - function(-2 * step)
    return (8.0 * near - far) / (12.0 * step)


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_forces_and_stress_are_the_derivatives_of_the_energy(name):
    atoms = STRUCTURES[name]
    basis, _, lanes = made(atoms)
    _, forces, virials = basis.energies_and_forces(atoms, lanes)

    def moved(index, axis, size):
        other = atoms.copy()
        other.positions[index, axis] += size
        return basis.energies_and_forces(other, lanes)[0]

    for index in range(min(len(atoms), 2)):
        for axis in range(3):
            found = -slope(lambda size, index=index, axis=axis: moved(index, axis, size))
            np.testing.assert_allclose(forces[index, axis], found, atol=1e-7, rtol=1e-7)

    def strained(i, j, size):
        strain = np.eye(3)
        strain[i, j] += 0.5 * size
        strain[j, i] += 0.5 * size
        other = atoms.copy()
        other.set_cell(atoms.cell @ strain, scale_atoms=True)
        return basis.energies_and_forces(other, lanes)[0]

    if atoms.pbc.all():
        for row, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
            found = slope(lambda size, i=i, j=j: strained(i, j, size), step=1e-4)
            np.testing.assert_allclose(virials[row], found, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_the_pass_equals_the_rows_times_the_weights(name):
    atoms = STRUCTURES[name]
    basis, weights, lanes = made(atoms)
    energies, forces, virials = basis.energies_and_forces(atoms, lanes)
    rows = basis.rows(atoms)
    np.testing.assert_allclose(energies, rows.values @ weights, atol=1e-9)
    np.testing.assert_allclose(forces.reshape(-1, LANES), -rows.gradient @ weights, atol=1e-9)
    if atoms.pbc.all():
        np.testing.assert_allclose(virials, rows.strain @ weights, atol=1e-9)
    else:
        assert rows.strain is None
    some = np.array([len(atoms) - 1])
    np.testing.assert_allclose(basis.rows(atoms, some).gradient, rows.gradient[-3:], atol=1e-12)


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_neighbours_equal_those_of_ase(name):
    atoms = STRUCTURES[name]
    kinds = np.unique(atoms.numbers, return_inverse=True)[1]
    first, neighbours, _, distances = all_pairs(atoms, 4.5, kinds)
    i, _, d = neighbor_list("ijd", atoms, 4.5)
    np.testing.assert_array_equal(np.diff(first), np.bincount(i, minlength=len(atoms)))
    for atom in range(len(atoms)):
        own = slice(first[atom], first[atom + 1])
        np.testing.assert_allclose(np.sort(distances[own]), np.sort(d[i == atom]))
        assert np.all(np.diff(kinds[neighbours[own]]) >= 0)


def test_radial_functions_equal_their_integral():
    r_cut, width, n_max, l_max = 4.0, 0.4, 3, 2
    table = density_table(r_cut, width, n_max, l_max)
    spread = r_cut * np.maximum(np.sqrt(np.arange(n_max)), 1.0) / n_max
    x = np.linspace(0.0, 12.0, 4001)
    primitive = x ** np.arange(n_max)[:, None] * np.exp(-0.5 * (x / spread[:, None]) ** 2)
    primitive /= np.sqrt(trapezoid(x**2 * primitive**2, x))[:, None]
    values, vectors = np.linalg.eigh(trapezoid(x**2 * primitive[:, None] * primitive, x))
    mixing = (vectors / np.sqrt(values)) @ vectors.T
    squares = [
        quad(lambda t, n=n: t ** (2 * n + 2) * np.exp(-((t / spread[n]) ** 2)), 0, 30)[0]
        for n in range(n_max)
    ]
    norms = np.sqrt(squares)
    r = 2.0
    for degree in range(l_max + 1):
        plain = [
            quad(
                lambda t, n=n, degree=degree: (
                    t ** (n + 2)
                    * np.exp(-0.5 * (t / spread[n]) ** 2 - 0.5 * (t**2 + r**2) / width**2)
                    * spherical_in(degree, t * r / width**2)
                ),
                0.0,
                6.0,
                epsabs=1e-14,
            )[0]
            / norms[n]
            for n in range(n_max)
        ]
        expected = 4.0 * np.pi / (np.pi * width**2) ** 0.75 * mixing @ plain
        np.testing.assert_allclose(table[round(r / r_cut * len(table)), 0, degree], expected, rtol=1e-4)


def test_radial_functions_end_smoothly_at_the_cutoff():
    for table in (density_table(4.0, 0.4, 3, 2), pair_table(4.0, 6)):
        last = table[-1]
        assert np.abs(last.sum(axis=0)).max() < 1e-6
        assert np.abs(last[1] + 2 * last[2] + 3 * last[3]).max() < 1e-3


def test_features_are_counted_before_they_are_made():
    for atoms, settings in ((rattled(bulk("Al", cubic=True) * 2), SETTINGS), (rattled(ALLOY * 2), SETTINGS)):
        species = sorted(set(atoms.numbers.tolist()))
        basis = Basis(species, settings, BLOCKS, [atoms])
        assert basis.n_features == n_features(len(species), settings, BLOCKS)


@pytest.mark.parametrize("n_species", [1, 2, 3, 5, 8])
def test_blocks_stay_below_the_cap_and_keep_the_radial_basis(n_species):
    settings = Settings(5.0, 0.4, 8, 4)
    blocks = fitting_blocks(n_species, settings, 2000)
    assert n_features(n_species, settings, blocks) <= 2000
    assert blocks.pair == Blocks().pair


def test_levelled_blocks_have_unit_force_where_they_were_scaled():
    atoms = rattled(bulk("Al", cubic=True) * 2, size=0.0)
    basis = Basis([13], SETTINGS, BLOCKS, [atoms])
    moved = atoms.copy()
    moved.positions += np.random.default_rng(0).normal(0.0, 0.1, moved.positions.shape)
    gradient = basis.rows(moved).gradient
    for block in range(len(basis.block_names)):
        variance = np.sum(gradient[:, basis.block == block] ** 2, axis=1).mean()
        assert variance == pytest.approx(1.0)


def test_pair_functions_are_not_levelled_one_by_one():
    atoms = rattled(bulk("Al", cubic=True) * 2)
    basis = Basis([13], SETTINGS, Blocks(12, 0, 0, 0), [atoms])
    squeezed = Atoms("Al2", [[0, 0, 0], [0, 0, 1.6]])
    pair = basis.block == 0
    force = np.sqrt(np.sum(basis.rows(squeezed).gradient[2, pair] ** 2))
    assert force < 30.0


class PairTarget:
    """Labels of one smooth pair potential, of short or long range."""

    def __init__(self, reach):
        self.reach = reach

    def frame(self, atoms, step):
        i, _, d, D = neighbor_list("ijdD", atoms, self.reach)
        inner = np.clip(1.0 - d / self.reach, 0.0, None)
        energy = 0.5 * np.sum(inner**3)
        pull = (-3.0 * inner**2 / self.reach / d)[:, None] * D
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pull)
        return Frame(atoms, {"energy": energy, "forces": forces}, step)


@pytest.mark.parametrize(("reach", "longer"), [(3.2, False), (6.5, True)])
def test_the_evidence_picks_the_cutoff_of_the_target(reach, longer):
    frames = [
        PairTarget(reach).frame(rattled(bulk("Al", cubic=True) * 2, 0.1 + 0.02 * n), n) for n in range(2)
    ]
    settings, _ = choose_settings(
        frames,
        [read_labels(f) for f in frames],
        [13],
        np.zeros(1),
        given={"l_max": 1, "n_max": 4},
        max_features=200,
    )
    middle = np.median([option.r_cut for option in candidates([frames[0].x])])
    assert bool(settings.r_cut > middle) == longer


def test_given_settings_are_kept():
    frame = PairTarget(4.0).frame(rattled(bulk("Al", cubic=True)), 0)
    given = {"r_cut": 4.0, "width": 0.5, "n_max": 3, "l_max": 1}
    settings, hyper = choose_settings(
        [frame], [Labels(0.0, None, None)], [13], np.zeros(1), given=given, max_features=200
    )
    assert settings == Settings(**given)
    assert (hyper.prior > 0).all()
    assert hyper.noise.keys() == {"energy"}


@pytest.mark.parametrize("wrong", [{"r_cut": 0.0}, {"width": -1.0}, {"n_max": 0}, {"l_max": 11}])
def test_impossible_settings_are_input_errors(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**{"r_cut": 4.0, "width": 0.4, "n_max": 3, "l_max": 2, **wrong})
