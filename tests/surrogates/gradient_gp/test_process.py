from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima.surrogates.gradient_gp.hyperparameters import Labels, Prior, covariance_matrix
from ase_proxima.surrogates.gradient_gp.kernels import internal_basis, inverse_distances
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.gradient_gp.process import GradientProcess
from ase_proxima.types import Frame

WATER = Molecule.from_atoms(molecule("H2O"), max_permutations=120)
LENGTHS = np.array([3.0, 2.0])
# So large a weight leaves the amplitude at its prior value: standard deviations are those of the draw.
PRIOR = Prior(lengths=(3.0, 2.0), stiffness=1.0, weight=1e9)


def structures(n, size=0.05):
    atoms = [molecule("H2O") for _ in range(n)]
    for seed, each in enumerate(atoms):
        each.rattle(size, seed=seed)
    return atoms


def unlabelled(atoms):
    return WATER.label(Frame(atoms, {"energy": 0.0, "forces": np.zeros((3, 3))}), 0.0)


def forces_of(atoms, derivatives):
    """Forces with these derivatives of the energy along the internal directions."""
    basis = internal_basis(inverse_distances(atoms.positions)[1], WATER.n_internal)
    return -(basis @ derivatives).reshape(-1, 3)


def fitted(labels, prior=PRIOR):
    process = GradientProcess(WATER, prior, LENGTHS, len(labels))
    for each in labels:
        process.append(each)
    process.contract()
    return process


def test_standard_deviations_are_those_of_draws_from_the_process():
    atoms = structures(36)
    labels = [unlabelled(each) for each in atoms]
    matrix = covariance_matrix(labels, 1 / LENGTHS[WATER.groups], WATER.images, PRIOR)
    root = np.sqrt(PRIOR.amplitude(LENGTHS)) * np.linalg.cholesky(np.triu(matrix) + np.triu(matrix, 1).T)
    z_energy, z_force = [], []
    for seed in range(20):
        values = (root @ np.random.default_rng(seed).normal(size=len(root))).reshape(36, -1)
        process = fitted([Labels(a.q, a.basis, v) for a, v in zip(labels[:6], values[:6], strict=True)])
        for each, value in zip(atoms[6:], values[6:], strict=True):
            energy, forces, std, force_std = process.predict_with_force_std(each.positions)
            z_energy.append((energy - value[0]) / std)
            z_force.append((forces - forces_of(each, value[1:])) / force_std)
    assert 0.8 < np.sqrt(np.mean(np.square(z_energy))) < 1.2
    assert 0.8 < np.sqrt(np.mean(np.square(z_force))) < 1.2


def test_both_ways_to_predict_agree():
    atoms = structures(6, 0.2)
    rng = np.random.default_rng(1)
    labels = [Labels(a.q, a.basis, rng.normal(size=4)) for a in map(unlabelled, atoms)]
    labels[1].values[1:] = np.nan
    process = fitted(labels[:5])
    short = process.predict(atoms[5].positions)
    for mine, other in zip(process.predict_with_force_std(atoms[5].positions), short, strict=False):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-9)


def test_prediction_is_the_textbook_formula():
    prior = replace(PRIOR, energy_noise=1e-10, gradient_noise=1e-10)
    atoms = structures(6, 0.2)
    rng = np.random.default_rng(0)
    labels = [Labels(a.q, a.basis, rng.normal(size=4)) for a in map(unlabelled, atoms)]
    labels[2].values[1:] = np.nan
    process = fitted(labels[:5], prior)
    blank = [Labels(a.q, a.basis, np.zeros(4)) for a in labels]
    matrix = covariance_matrix(blank, 1 / LENGTHS[WATER.groups], WATER.images, prior)
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    y = np.concatenate([a.values for a in labels[:5]])
    known = np.flatnonzero(np.isfinite(y))
    weights = np.linalg.solve(matrix[np.ix_(known, known)], np.column_stack([y[known], matrix[known, 20]]))
    energy, _, std = process.predict(atoms[5].positions)
    assert np.isclose(energy, matrix[20, known] @ weights[:, 0], rtol=1e-6)
    variance = matrix[20, 20] - prior.energy_noise - matrix[20, known] @ weights[:, 1]
    assert np.isclose(std, np.sqrt(PRIOR.amplitude(LENGTHS) * variance), rtol=1e-4)


def test_a_copy_of_a_frame_is_taken_as_less_exact_where_rounding_demands_it():
    label = unlabelled(molecule("H2O"))
    process = GradientProcess(
        WATER, Prior(lengths=(3.0, 2.0), energy_noise=1e-18, gradient_noise=1e-18), LENGTHS, 4
    )
    for _ in range(4):
        process.append(label)
    process.contract()
    assert process.size == 4
    assert process.predict(molecule("H2O").positions)[2] < 1e-3


def test_a_covariance_that_cannot_be_factorised_is_an_error_and_not_an_endless_loop():
    label = unlabelled(structures(1)[0])
    process = GradientProcess(
        WATER, Prior(lengths=(3.0, 2.0), energy_noise=0.0, gradient_noise=0.0), LENGTHS, 4
    )
    process.append(label)
    with pytest.raises(np.linalg.LinAlgError):
        process.append(label)
    assert process.size == 1
