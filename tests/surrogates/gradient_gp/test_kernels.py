import numpy as np
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_proxima.surrogates.gradient_gp.kernels import (
    covariance_blocks,
    internal_basis,
    inverse_distances,
    matern52,
)
from ase_proxima.surrogates.gradient_gp.permutations import automorphism_group, bond_graph, pair_permutations

LENGTH = 2.0


def ammonia(seed):
    atoms = molecule("NH3")
    atoms.rattle(0.08, seed=seed)
    return atoms


def images():
    atoms = molecule("NH3")
    return pair_permutations(automorphism_group(atoms.numbers, bond_graph(atoms.numbers, atoms.positions)))


def energy_covariance(a, b):
    """Covariance of two energies, spelled out."""
    qa, qb = inverse_distances(a)[0] / LENGTH, inverse_distances(b)[0] / LENGTH
    return np.mean([matern52(np.sum((qa - qb[p]) ** 2))[0] for p in images()])


def frame(positions):
    q, jacobian = inverse_distances(positions)
    basis = internal_basis(jacobian, 6)
    return q / LENGTH, (jacobian @ basis).T / LENGTH, basis


def test_inverse_distances_derivative_matches_finite_differences():
    positions = ammonia(0).positions
    _, jacobian = inverse_distances(positions)
    step = 1e-5
    for i in range(12):
        shift = np.zeros(12)
        shift[i] = step
        up, down = (inverse_distances(positions + sign * shift.reshape(4, 3))[0] for sign in (1, -1))
        assert np.allclose(jacobian[:, i], (up - down) / (2 * step), atol=1e-9)


def test_internal_basis_keeps_all_that_changes_distances():
    _, jacobian = inverse_distances(ammonia(0).positions)
    basis = internal_basis(jacobian, 6)
    assert np.allclose(basis.T @ basis, np.eye(6), atol=1e-12)
    assert np.allclose(jacobian @ basis @ basis.T, jacobian, atol=1e-12)


def test_blocks_match_finite_differences_of_the_energy_covariance():
    a, b = ammonia(1).positions, ammonia(2).positions
    (qa, ba, va), (qb, bb, vb) = frame(a), frame(b)
    p = images()
    block = covariance_blocks(qa[None], ba[None], qb[p], bb[:, p].swapaxes(0, 1))[0]
    step = 1e-4
    shifts_a = [np.zeros((4, 3)), *[step * column.reshape(4, 3) for column in va.T]]
    shifts_b = [np.zeros((4, 3)), *[step * column.reshape(4, 3) for column in vb.T]]
    assert block.shape == (7, 7)
    assert np.isclose(block[0, 0], energy_covariance(a, b), rtol=1e-12)
    for i in range(1, 7):
        up, down = (energy_covariance(a + s * shifts_a[i], b) for s in (1, -1))
        assert np.isclose(block[i, 0], (up - down) / (2 * step), atol=1e-7)
        up, down = (energy_covariance(a, b + s * shifts_b[i]) for s in (1, -1))
        assert np.isclose(block[0, i], (up - down) / (2 * step), atol=1e-7)
        for j in range(1, 7):
            mixed = sum(
                s * t * energy_covariance(a + s * shifts_a[i], b + t * shifts_b[j])
                for s in (1, -1)
                for t in (1, -1)
            )
            assert np.isclose(block[i, j], mixed / (4 * step**2), atol=1e-6)


def test_covariance_of_many_frames_is_symmetric_and_positive():
    frames = [frame(ammonia(seed).positions) for seed in range(5)]
    q, basis = np.array([f[0] for f in frames]), np.array([f[1] for f in frames])
    p = images()
    columns = [covariance_blocks(q, basis, qj[p], bj[:, p].swapaxes(0, 1)) for qj, bj, _ in frames]
    matrix = np.stack(columns, axis=2).reshape(35, 35)
    assert np.allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 30.0))
def test_matern_factors_are_its_derivatives(distance):
    step = 1e-4
    values = [matern52(np.array((distance + s * step) ** 2)) for s in (-1, 0, 1)]
    k, g, h = values[1]
    if distance > step:
        assert np.isclose((values[2][0] - values[0][0]) / (2 * step), -g * distance, atol=1e-7)
        assert np.isclose((values[2][1] - values[0][1]) / (2 * step), -h * distance, atol=1e-6)
    assert 0 < k < 1 + 1e-15  # one, but for the rounding of an exponential


def test_squares_below_zero_by_rounding_count_as_zero():
    assert [float(v) for v in matern52(np.array(-1e-15))] == [float(v) for v in matern52(np.array(0.0))]
