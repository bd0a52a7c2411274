"""The two parts of the joint process against their covariance written out."""

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima.surrogates.gradient_gp.kernels import (
    covariance_blocks,
    internal_basis,
    inverse_distances,
    matern52,
)
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.joint import draws
from ase_proxima.surrogates.joint.draws import PriorDraws
from ase_proxima.surrogates.joint.process import Described, JointProcess, Sizes
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.settings import Blocks, Settings
from ase_proxima.types import Frame

AMMONIA = molecule("NH3")


def described(shape, basis, atoms, results):
    labels = shape.label(Frame(atoms, results), 0.0)
    directions = internal_basis(inverse_distances(atoms.positions)[1], shape.n_internal)
    rows = basis.rows(atoms)
    return Described(labels, np.vstack([rows.values, directions.T @ rows.gradient])), directions


def test_mean_and_deviations_are_those_of_the_covariance_written_out(monkeypatch):
    monkeypatch.setattr(draws, "WAVES", 4000)
    rng = np.random.default_rng(0)
    shape = Molecule.from_atoms(AMMONIA, max_permutations=40)
    points = []
    for _ in range(4):
        atoms = AMMONIA.copy()
        atoms.positions += rng.normal(0.0, 0.1, (4, 3))
        points.append(atoms)
    basis = Basis([1, 7], Settings(3.0, 0.4, 3, 2), Blocks(4, 4, 3, 2), points)
    sizes = Sizes(
        weights=np.full(basis.n_features, 0.7),
        amplitude=30.0,
        scale=np.full(6, 0.1),
        energy_noise=1e-4,
        force_noise=1e-4,
    )
    process = JointProcess(shape, basis, sizes, 10)
    known = []
    for atoms in points[:3]:
        results = {"energy": rng.normal(), "forces": rng.normal(size=(4, 3))}
        known.append(described(shape, basis, atoms, results)[0])
        process.append(known[-1])
    process.contract()
    energy, forces, energy_std, force_std = process.predict(points[3])

    new, directions = described(shape, basis, points[3], {"energy": 0.0, "forces": np.zeros((4, 3))})
    every = [*known, new]
    q = np.array([one.labels.q for one in every]) * 0.1
    along = np.array([one.labels.basis for one in every]) * 0.1
    columns = [
        covariance_blocks(q, along, q[i][shape.images], along[i][:, shape.images].swapaxes(0, 1))
        for i in range(4)
    ]
    rows = np.concatenate([one.rows for one in every]) * 0.7
    full = 30.0 * np.stack(columns, axis=2).reshape(len(rows), -1) + rows @ rows.T
    n = 3 * 7
    values = np.concatenate([one.labels.values for one in known])
    solved = np.linalg.solve(full[:n, :n] + 1e-4 * np.eye(n), full[:n, n:])
    mean = values @ solved
    left = full[n:, n:] - full[n:, :n] @ solved
    assert energy == pytest.approx(mean[0], abs=1e-6)
    np.testing.assert_allclose(forces.ravel(), -directions @ mean[1:], atol=1e-6)
    exact = np.sqrt(np.einsum("im,mk,ik->i", directions, left[1:, 1:], directions) + 1e-4)
    assert 0.7 < energy_std / np.sqrt(left[0, 0] + 1e-4) < 1.4
    assert 0.8 < np.sqrt(np.mean(force_std**2)) / np.sqrt(np.mean(exact**2)) < 1.25


def test_draws_have_the_covariance_averaged_over_permutations(monkeypatch):
    monkeypatch.setattr(draws, "WAVES", 2000)
    images = np.array([[0, 1, 2], [1, 0, 2]])
    many = PriorDraws(images, n_draws=3000, seed=3)
    a, b = np.array([0.4, -0.2, 0.1]), np.array([0.0, 0.5, 0.3])
    values = [many.at(q[images])[0] for q in (a, b)]
    for i, q in enumerate((a, b)):
        for j, other in enumerate((a, b)):
            wanted = matern52(np.sum((q - other[images]) ** 2, axis=1))[0].mean()
            assert np.mean(values[i] * values[j]) == pytest.approx(wanted, abs=0.06)


def test_slopes_of_draws_are_their_derivatives():
    images = np.array([[0, 1, 2], [1, 0, 2]])
    few = PriorDraws(images, n_draws=4, seed=1)
    q = np.array([0.4, -0.2, 0.1])
    folded = few.at(q[images])[1][:, np.arange(2)[:, None], np.argsort(images, axis=1)].sum(axis=1)
    for axis in range(3):
        step = np.eye(3)[axis] * 1e-5
        difference = few.at((q + step)[images])[0] - few.at((q - step)[images])[0]
        np.testing.assert_allclose(folded[:, axis], difference / 2e-5, atol=1e-7)
