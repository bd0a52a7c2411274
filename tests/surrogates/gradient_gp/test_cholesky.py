import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_proxima.surrogates.gradient_gp.cholesky import GrowingCholesky


def positive_definite(size, seed):
    a = np.random.default_rng(seed).normal(size=(size, size))
    return a @ a.T + np.eye(size)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 1000))
def test_growing_in_blocks_solves_like_the_whole_matrix(blocks, seed):
    matrix = positive_definite(sum(blocks), seed)
    rhs = np.random.default_rng(seed + 1).normal(size=sum(blocks))
    factor, size = GrowingCholesky(), 0
    for block in blocks:
        end = size + block
        factor.extend(matrix[:size, size:end], matrix[size:end, size:end])
        size = end
    assert factor.size == size
    assert np.allclose(factor.solve_lower(rhs), np.linalg.solve(np.linalg.cholesky(matrix), rhs))
    assert np.allclose(factor.solve_upper(factor.solve_lower(rhs)), np.linalg.solve(matrix, rhs))


def test_a_refused_extension_changes_nothing():
    factor = GrowingCholesky()
    factor.extend(np.empty((0, 2)), np.array([[2.0, 0.5], [0.5, 1.0]]))
    before = factor.solve_lower(np.array([1.0, 2.0]))
    with pytest.raises(np.linalg.LinAlgError):
        factor.extend(np.array([[2.0], [0.5]]), np.array([[1.0]]))
    assert factor.size == 2
    assert np.array_equal(factor.solve_lower(np.array([1.0, 2.0])), before)


def test_an_empty_factor_solves_an_empty_system():
    assert GrowingCholesky().solve_lower(np.empty(0)).shape == (0,)


def test_many_right_hand_sides_at_once_are_solved_as_one_by_one():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(150, 150))
    covariance = root @ root.T + 10.0 * np.eye(150)
    factor = GrowingCholesky()
    factor.extend(np.empty((0, 100)), covariance[:100, :100])
    factor.extend(covariance[:100, 100:], covariance[100:, 100:])
    sides = rng.normal(size=(150, 7))
    for solve in (factor.solve_lower, factor.solve_upper):
        single = np.array([solve(side) for side in sides.T]).T
        assert np.abs(solve(sides) - single).max() < 1e-12
    for solve in (GrowingCholesky().solve_lower, GrowingCholesky().solve_upper):
        assert solve(np.empty((0, 3))).shape == (0, 3)
