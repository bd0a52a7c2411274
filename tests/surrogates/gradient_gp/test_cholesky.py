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
