"""The mathematics of the Bayesian linear model, against dense formulas and known noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from ase_proxima.surrogates.linear.evidence import (
    Hyperparameters,
    NormalEquations,
    log_evidence,
    maximise_evidence,
    solve,
)


def problem(seed, n_features=4, counts=(3, 9)):
    rng = np.random.default_rng(seed)
    rows = {"a": rng.normal(size=(counts[0], n_features)), "b": rng.normal(size=(counts[1], n_features))}
    labels = {kind: rng.normal(size=len(X)) for kind, X in rows.items()}
    sums = {kind: NormalEquations.empty(n_features).plus(rows[kind], labels[kind]) for kind in rows}
    return rows, labels, sums


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10))
def test_posterior_and_evidence_equal_the_dense_formulas(seed, prior, noise_a, noise_b):
    rows, labels, sums = problem(seed)
    hyper = Hyperparameters(prior, {"a": noise_a, "b": noise_b})
    X, y = np.vstack([rows["a"], rows["b"]]), np.concatenate([labels["a"], labels["b"]])
    noise = np.repeat([1 / noise_a, 1 / noise_b], [3, 9])
    covariance = np.linalg.inv(prior * np.eye(4) + X.T @ (X / noise[:, None]))
    posterior = solve(sums, hyper)
    np.testing.assert_allclose(posterior.mean, covariance @ X.T @ (y / noise), atol=1e-9)
    np.testing.assert_allclose(posterior.variance(X), np.diag(X @ covariance @ X.T), rtol=1e-8)
    dense = multivariate_normal(cov=X @ X.T / prior + np.diag(noise)).logpdf(y)
    assert log_evidence(sums, hyper) == pytest.approx(dense, rel=1e-8, abs=1e-8)


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


def test_evidence_finds_the_noise_and_the_prior_that_made_the_data():
    rng = np.random.default_rng(0)
    weights = rng.normal(0.0, 3.0, 60)
    sums = {}
    for kind, count, noise in (("energy", 2000, 0.02), ("forces", 4000, 0.5)):
        X = rng.normal(size=(count, 60))
        sums[kind] = NormalEquations.empty(60).plus(X, X @ weights + rng.normal(0.0, noise, count))
    start = Hyperparameters(1.0, {"energy": 1.0, "forces": 1.0})
    found = maximise_evidence(sums, start, expected=start, strength=1e-6, tolerance=1e-6, max_iter=200)
    assert found.noise["energy"] ** -0.5 == pytest.approx(0.02, rel=0.1)
    assert found.noise["forces"] ** -0.5 == pytest.approx(0.5, rel=0.05)
    assert found.prior**-0.5 == pytest.approx(3.0, rel=0.3)


def test_found_hyperparameters_have_the_highest_evidence():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 10))
    y = X @ rng.normal(size=10) + rng.normal(0.0, 0.3, 40)
    sums = {"a": NormalEquations.empty(10).plus(X, y)}
    start = Hyperparameters(1.0, {"a": 1.0})
    found = maximise_evidence(sums, start, expected=start, strength=1e-9, tolerance=1e-9, max_iter=500)
    best = log_evidence(sums, found)
    for factor in (0.9, 1.1):
        assert log_evidence(sums, Hyperparameters(found.prior * factor, found.noise)) < best
        assert log_evidence(sums, Hyperparameters(found.prior, {"a": found.noise["a"] * factor})) < best


def test_labels_that_say_nothing_leave_the_prior_as_expected():
    sums = {"forces": NormalEquations.empty(5).plus(np.zeros((300, 5)), np.zeros(300))}
    start = Hyperparameters(4.0, {"forces": 100.0})
    found = maximise_evidence(sums, start, expected=start)
    assert found.prior == pytest.approx(4.0)
    np.testing.assert_allclose(solve(sums, found).variance(np.eye(5)), 0.25)
