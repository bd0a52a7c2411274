import numpy as np
import pytest
from ase.build import molecule

from ase_proxima.surrogates.gradient_gp.hyperparameters import (
    Labels,
    Prior,
    covariance_matrix,
    negative_log_evidence,
    optimise_lengths,
    optimise_noise,
)
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.types import Frame

WATER = Molecule.from_atoms(molecule("H2O"), max_permutations=120)
PRIOR = Prior().for_groups(WATER.separations)


def structures(n, seed, size=0.05):
    frames = []
    for i in range(n):
        atoms = molecule("H2O")
        atoms.rattle(size, seed=1000 * seed + i)
        frames.append(WATER.label(Frame(atoms, {"energy": 0.0, "forces": np.zeros((3, 3))}), 0.0))
    return frames


def drawn(lengths, n, seed, *, size=0.05, amplitude=4.0):
    """Labels drawn from the process itself."""
    frames = structures(n, seed, size)
    matrix = covariance_matrix(frames, 1 / np.array(lengths)[WATER.groups], WATER.images, PRIOR)
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    noise = np.random.default_rng(seed).normal(size=len(matrix))
    values = np.sqrt(amplitude) * np.linalg.cholesky(matrix) @ noise
    return [Labels(f.q, f.basis, v) for f, v in zip(frames, values.reshape(n, -1), strict=True)]


def log_posterior_by_quadrature(lengths, frames):
    """Gaussian likelihood times priors, summed over a grid of the amplitude's logarithm."""
    matrix = covariance_matrix(frames, 1 / lengths[WATER.groups], WATER.images, PRIOR)
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    y = np.concatenate([f.values for f in frames])
    believed = PRIOR.weight * PRIOR.amplitude(lengths)
    log_amplitude = np.log(believed) + np.linspace(-25, 25, 20001)
    quadratic = y @ np.linalg.solve(matrix, y)
    total = -0.5 * (
        np.linalg.slogdet(matrix)[1] + len(y) * log_amplitude + quadratic * np.exp(-log_amplitude)
    )
    total += 0.5 * PRIOR.weight * (np.log(believed) - log_amplitude) - 0.5 * believed * np.exp(-log_amplitude)
    prior = -0.5 * np.sum((np.log(lengths / np.array(PRIOR.lengths)) / PRIOR.length_spread) ** 2)
    return total.max() + np.log(np.sum(np.exp(total - total.max()))) + prior


def test_evidence_integrates_the_amplitude_out():
    frames = drawn([4.0, 2.0], 3, seed=0)
    a, b = np.array([3.0, 3.5]), np.array([2.0, 5.0])
    cost = [negative_log_evidence(np.log(x), frames, WATER.groups, WATER.images, PRIOR) for x in (a, b)]
    expected = log_posterior_by_quadrature(b, frames) - log_posterior_by_quadrature(a, frames)
    assert np.isclose(cost[0] - cost[1], expected, atol=1e-3)


def test_optimum_finds_the_length_scales_that_the_labels_were_drawn_with():
    truth = np.array([0.4, 0.25])
    prior = Prior(lengths=(0.8, 0.5), length_spread=1.5, weight=1.0)
    frames = drawn(truth, 14, seed=3, size=0.2)
    found = optimise_lengths(
        np.array([0.8, 0.5]), frames, WATER.groups, WATER.images, prior, max_evaluations=60
    )
    assert np.all(np.abs(np.log(found / truth)) < 0.4)
    at_found = negative_log_evidence(np.log(found), frames, WATER.groups, WATER.images, prior)
    for factor in (0.7, 1.4):
        for i in range(2):
            other = found * np.where(np.arange(2) == i, factor, 1.0)
            assert negative_log_evidence(np.log(other), frames, WATER.groups, WATER.images, prior) > at_found


def test_the_evidence_is_infinite_cost_where_the_matrix_cannot_be_factorised():
    frames = structures(1, 0) * 2
    prior = Prior(lengths=(3.0, 3.0), energy_noise=0.0, gradient_noise=0.0)
    assert negative_log_evidence(np.log([3.0, 3.0]), frames, WATER.groups, WATER.images, prior) == np.inf


def test_posterior_amplitude_moves_from_belief_to_data():
    prior = Prior(lengths=(2.0,), stiffness=0.5, weight=4.0)
    assert prior.amplitude(np.array([2.0])) == pytest.approx(4.0)
    assert prior.posterior_amplitude(np.array([2.0]), np.empty(0)) == pytest.approx(4.0)
    assert prior.posterior_amplitude(np.array([2.0]), np.full(4, 2.0)) == pytest.approx(4.0)
    assert prior.posterior_amplitude(np.array([2.0]), np.zeros(12)) == pytest.approx(1.0)


def test_prior_keeps_the_length_scales_of_the_pairs_that_there_are():
    assert Prior(lengths=(8.0, 5.0, 4.0)).for_groups([0, 2]).lengths == (8.0, 4.0)


@pytest.mark.parametrize("noise", [1e-4, 1e-2])
def test_noise_is_found_that_was_added_to_the_labels(noise):
    lengths, rng = np.array([4.0, 2.0]), np.random.default_rng(4)
    amplitude = PRIOR.amplitude(lengths)
    exact = drawn(lengths, 30, seed=2, size=0.2, amplitude=amplitude)
    frames = []
    for labels in exact:
        own = amplitude * PRIOR.noise(labels.basis / lengths[WATER.groups])
        share = noise / PRIOR.gradient_noise
        frames.append(Labels(labels.q, labels.basis, labels.values + rng.normal(0, np.sqrt(share * own))))
    found = optimise_noise(lengths, frames, WATER.groups, WATER.images, PRIOR)
    assert abs(np.log10(found / share)) <= 1, (found, share)
    assert optimise_noise(lengths, exact, WATER.groups, WATER.images, PRIOR) <= 1e3


def test_the_belief_about_the_amplitude_counts_as_one_label():
    lengths, frames = np.array([4.0, 2.0]), drawn([4.0, 2.0], 4, seed=1, amplitude=1e-6)
    matrix = covariance_matrix(frames, 1 / lengths[WATER.groups], WATER.images, PRIOR)
    factor = np.linalg.cholesky(np.triu(matrix) + np.triu(matrix, 1).T)
    z = np.linalg.solve(factor, np.concatenate([f.values for f in frames]))
    assert PRIOR.posterior_amplitude(lengths, z) == pytest.approx(PRIOR.amplitude(lengths) / 17, rel=1e-6)
