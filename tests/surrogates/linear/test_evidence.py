"""The mathematics of the Bayesian linear model, against dense formulas and known noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from ase_proxima.surrogates.linear.evidence import (
    Hyperparameters,
    LabelledRows,
    NormalEquations,
    log_evidence,
    maximise_evidence,
    solve,
)

ONE = np.zeros(4, dtype=int)


def hyperparameters(prior, noise):
    return Hyperparameters(np.atleast_1d(np.asarray(prior, float)), noise)


def problem(seed, n_features=4, counts=(3, 9)):
    rng = np.random.default_rng(seed)
    rows = {"a": rng.normal(size=(counts[0], n_features)), "b": rng.normal(size=(counts[1], n_features))}
    labels = {kind: rng.normal(size=len(X)) for kind, X in rows.items()}
    sums = {kind: NormalEquations.empty(n_features).plus(rows[kind], labels[kind]) for kind in rows}
    return rows, labels, sums


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10))
def test_posterior_and_evidence_equal_the_dense_formulas(seed, prior_a, prior_b, noise_a, noise_b):
    rows, labels, sums = problem(seed)
    block = np.array([0, 1, 0, 1])
    hyper = hyperparameters([prior_a, prior_b], {"a": noise_a, "b": noise_b})
    X, y = np.vstack([rows["a"], rows["b"]]), np.concatenate([labels["a"], labels["b"]])
    noise = np.repeat([1 / noise_a, 1 / noise_b], [3, 9])
    prior = np.diag(hyper.prior[block])
    covariance = np.linalg.inv(prior + X.T @ (X / noise[:, None]))
    posterior = solve(sums, hyper, block)
    np.testing.assert_allclose(posterior.mean, covariance @ X.T @ (y / noise), atol=1e-9)
    np.testing.assert_allclose(posterior.variance(X), np.diag(X @ covariance @ X.T), rtol=1e-8)
    dense = multivariate_normal(cov=X @ np.linalg.inv(prior) @ X.T + np.diag(noise)).logpdf(y)
    assert log_evidence(sums, hyper, block) == pytest.approx(dense, rel=1e-8, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(0.1, 10))
def test_rows_and_their_sums_have_the_same_evidence_and_maximum(seed, prior, noise):
    rows, labels, _ = problem(seed)
    block = np.array([0, 1, 0, 1])
    weights = {"a": 1.0, "b": 0.3}
    sums = {k: NormalEquations.empty(4).plus(rows[k], labels[k], weights[k]) for k in rows}
    listed = LabelledRows({k: (rows[k], labels[k], np.full(len(labels[k]), weights[k])) for k in rows}, block)
    hyper = hyperparameters([prior, 1.0], {"a": noise, "b": 1.0})
    assert log_evidence(listed, hyper, block) == pytest.approx(log_evidence(sums, hyper, block), abs=1e-7)
    once = [maximise_evidence(data, hyper, block, expected=hyper, max_iter=1)[0] for data in (sums, listed)]
    assert once[0].prior == pytest.approx(once[1].prior, rel=1e-6)


def test_draws_have_the_covariance_of_the_posterior():
    rows, _, sums = problem(2)
    posterior = solve(sums, hyperparameters(1.0, {"a": 1.0, "b": 2.0}), ONE)
    draws = rows["b"] @ posterior.samples(20000, seed=1)
    np.testing.assert_allclose(np.mean(draws**2, axis=1), posterior.variance(rows["b"]), rtol=0.05)
    np.testing.assert_array_equal(posterior.samples(3, seed=1), posterior.samples(3, seed=1))


def test_residual_equals_the_sum_of_squares():
    rows, labels, sums = problem(3)
    weights = np.array([0.3, -1.0, 2.0, 0.1])
    expected = np.sum((labels["b"] - rows["b"] @ weights) ** 2)
    assert sums["b"].residual(weights) == pytest.approx(expected)


def test_rows_may_come_in_pieces():
    rows, labels, sums = problem(5)
    pieces = NormalEquations.empty(4)
    for X, y in zip(np.split(rows["b"], 3), np.split(labels["b"], 3), strict=True):
        pieces = pieces.plus(X, y)
    np.testing.assert_allclose(pieces.gram, sums["b"].gram)
    np.testing.assert_allclose(pieces.moment, sums["b"].moment)
    assert (pieces.count, pieces.square) == (9, pytest.approx(sums["b"].square))


def test_evidence_finds_the_noise_and_the_priors_that_made_the_data():
    rng = np.random.default_rng(0)
    block = np.repeat([0, 1], 40)
    weights = rng.normal(0.0, np.where(block, 0.2, 3.0))
    sums = {}
    for kind, count, noise in (("energy", 2000, 0.02), ("forces", 4000, 0.5)):
        X = rng.normal(size=(count, 80))
        sums[kind] = NormalEquations.empty(80).plus(X, X @ weights + rng.normal(0.0, noise, count))
    start = hyperparameters([1.0, 1.0], {"energy": 1.0, "forces": 1.0})
    found, _ = maximise_evidence(
        sums, start, block, expected=start, strength=1e-6, prior_strength=1e-6, tolerance=1e-6, max_iter=200
    )
    assert found.noise["energy"] ** -0.5 == pytest.approx(0.02, rel=0.1)
    assert found.noise["forces"] ** -0.5 == pytest.approx(0.5, rel=0.05)
    assert found.prior**-0.5 == pytest.approx([3.0, 0.2], rel=0.3)


def test_a_block_that_explains_nothing_is_given_up():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    block = np.repeat([0, 1], 30)
    y = X[:, :30] @ rng.normal(size=30) + rng.normal(0.0, 0.1, 300)
    sums = {"a": NormalEquations.empty(60).plus(X, y)}
    start = hyperparameters([1.0, 1.0], {"a": 1.0})
    found, _ = maximise_evidence(sums, start, block, expected=start, max_iter=200)
    assert found.prior[1] > 1000 * found.prior[0]


def test_found_hyperparameters_have_the_highest_evidence():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 4))
    y = X @ rng.normal(size=4) + rng.normal(0.0, 0.3, 40)
    sums = {"a": NormalEquations.empty(4).plus(X, y)}
    start = hyperparameters(1.0, {"a": 1.0})
    found, best = maximise_evidence(
        sums, start, ONE, expected=start, strength=1e-9, prior_strength=1e-9, tolerance=1e-9, max_iter=500
    )
    assert best == log_evidence(sums, found, ONE)
    for factor in (0.9, 1.1):
        assert log_evidence(sums, hyperparameters(found.prior * factor, found.noise), ONE) < best
        assert log_evidence(sums, hyperparameters(found.prior, {"a": found.noise["a"] * factor}), ONE) < best


def test_a_fixed_precision_stays():
    _, _, sums = problem(1)
    start = hyperparameters([2.0, 3.0], {"a": 1.0, "b": 1.0})
    found, _ = maximise_evidence(sums, start, np.array([0, 0, 0, 1]), expected=start, held=(1,))
    assert found.prior[1] == 3.0
    assert found.prior[0] != 2.0


def test_labels_that_say_nothing_leave_the_prior_as_expected():
    sums = {"forces": NormalEquations.empty(4).plus(np.zeros((300, 4)), np.zeros(300))}
    start = hyperparameters(4.0, {"forces": 100.0})
    found, _ = maximise_evidence(sums, start, ONE, expected=start)
    assert found.prior == pytest.approx([4.0])
    np.testing.assert_allclose(solve(sums, found, ONE).variance(np.eye(4)), 0.25)


def test_a_block_may_be_given_by_its_covariance():
    rng = np.random.default_rng(4)
    X, y, weight = rng.normal(size=(12, 5)), rng.normal(size=12), rng.uniform(0.3, 1.0, 12)
    hyper = Hyperparameters(np.array([0.7, 2.0]), {"forces": 5.0})
    block = np.array([0, 0, 0, 1, 1])
    whole = LabelledRows({"forces": (X, y, weight)}, block).view(hyper)
    covariance = X[:, 3:] @ X[:, 3:].T
    parts = LabelledRows({"forces": (X[:, :3], y, weight)}, block[:3], covariance).view(hyper)
    assert parts.log_evidence == pytest.approx(whole.log_evidence, rel=1e-12)
    np.testing.assert_allclose(parts.fixed, whole.fixed, rtol=1e-10)
    np.testing.assert_allclose(parts.square, whole.square, rtol=1e-10)


def test_squares_that_rounding_made_negative_leave_the_precisions_positive():
    class Rounded(LabelledRows):
        def view(self, hyper):
            return replace(super().view(hyper), square=np.array([-1.0]), fixed=np.array([-1e-9]))

    block, expected = np.zeros(1, dtype=int), Hyperparameters(np.ones(1), {"forces": 1.0})
    rows = Rounded({"forces": (np.array([[1.0], [2.0]]), np.array([1.0, 2.1]), np.ones(2))}, block)
    hyper, _ = maximise_evidence(rows, expected, block, expected=expected)
    assert hyper.prior.tolist() == pytest.approx(expected.prior.tolist())
