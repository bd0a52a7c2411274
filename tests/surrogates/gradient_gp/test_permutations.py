import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_proxima.surrogates.gradient_gp.permutations import automorphism_group, bond_graph, pair_permutations

FORMAMIDE = Atoms(
    "CONH3",
    [[0, 0, 0], [1.2, 0, 0.1], [-0.7, 1.15, 0], [-0.58, -0.93, 0], [-0.2, 2.03, 0], [-1.7, 1.15, 0]],
)


def group_of(atoms, **options):
    return automorphism_group(atoms.numbers, bond_graph(atoms.numbers, atoms.positions), **options)


def is_group(permutations):
    members = {tuple(p) for p in permutations.tolist()}
    products = {tuple(p[q].tolist()) for p in permutations for q in permutations}
    return products == members and len(members) == len(permutations)


@pytest.mark.parametrize(
    ("atoms", "size"),
    [
        (molecule("CH4"), 24),
        (molecule("H2O"), 2),
        (molecule("NH3"), 6),
        (molecule("CH3CH2OH"), 12),
        (FORMAMIDE, 2),
        (molecule("C6H6"), 12),
        (molecule("C2H6"), 72),
        (molecule("HCN"), 1),
    ],
    ids=lambda value: str(value.symbols) if isinstance(value, Atoms) else str(value),
)
def test_number_of_permutations_of_equivalent_atoms(atoms, size):
    permutations = group_of(atoms)
    assert len(permutations) == size
    assert permutations[0].tolist() == list(range(len(atoms)))
    assert is_group(permutations)


def test_permutations_keep_elements_and_bonds():
    atoms = molecule("CH3CH2OH")
    bonds = bond_graph(atoms.numbers, atoms.positions)
    for p in automorphism_group(atoms.numbers, bonds):
        assert np.array_equal(atoms.numbers[p], atoms.numbers)
        assert np.array_equal(bonds[np.ix_(p, p)], bonds)


def test_two_like_molecules_may_change_places():
    water = molecule("H2O")
    pair = water + Atoms(water.symbols, water.positions + np.array([0, 0, 4]))
    assert len(group_of(pair)) == 8


@pytest.mark.parametrize("max_size", [1, 5, 12, 40])
def test_a_large_group_is_cut_to_a_subgroup(max_size):
    ethane = molecule("C2H6")
    permutations = group_of(ethane, max_size=max_size)
    assert len(permutations) <= max_size
    assert is_group(permutations)


def test_the_subgroup_turns_methyl_groups_first():
    ethane = molecule("C2H6")
    permutations = group_of(ethane, max_size=9)
    assert len(permutations) == 9
    moved = {int((p != np.arange(8)).sum()) for p in permutations}
    assert moved == {0, 3, 6}


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(9)))
def test_the_group_does_not_depend_on_the_order_of_atoms(order):
    atoms = molecule("CH3CH2OH")
    assert len(group_of(atoms[list(order)])) == 12


def test_pairs_follow_their_atoms():
    positions = np.random.default_rng(0).normal(size=(5, 3))
    first, second = np.triu_indices(5, 1)
    p = np.array([3, 1, 4, 0, 2])
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    moved = np.linalg.norm(positions[p][first] - positions[p][second], axis=1)
    assert np.array_equal(distances[pair_permutations(p[None])[0]], moved)
