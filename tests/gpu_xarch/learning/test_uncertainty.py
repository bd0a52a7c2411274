"""The forest's variance against a direct formula and against forestci; intervals that cover; domains that flag."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor

from gpu_xarch.advice.forest_variance import forest_std, forest_variance, in_bag_counts, tree_predictions
from gpu_xarch.errors import InputError
from gpu_xarch.learning.conformal import GroupConformal, group_quantile
from gpu_xarch.learning.domain import Domain, FeatureSpace
from gpu_xarch.learning.expected import ExpectedError


def make_forest(n_samples=60, n_features=4, n_trees=25, seed=0, **options):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    y = X[:, 0] ** 2 + X[:, 1] + 0.1 * rng.normal(size=n_samples)
    return RandomForestRegressor(n_trees, random_state=seed, **options).fit(X, y), rng


def slow_variance(forest, X, corrected=True):
    """The definition, one point and one training row at a time."""
    counts = in_bag_counts(forest).astype(float)
    n_samples, n_trees = counts.shape
    result = []
    for point in np.asarray(X):
        predictions = np.array([tree.predict(point[None])[0] for tree in forest.estimators_])
        total = sum(np.cov(counts[i], predictions, bias=True)[0, 1] ** 2 for i in range(n_samples))
        if corrected:
            spread = np.mean([counts[i].var() for i in range(n_samples)])
            total -= n_samples * spread * predictions.var() / n_trees
        result.append(total)
    return np.array(result)


@pytest.mark.parametrize("options", [{}, {"max_samples": 0.4}, {"max_features": 2, "min_samples_leaf": 3}])
@pytest.mark.parametrize("corrected", [True, False])
def test_variance_is_the_definition(options, corrected):
    forest, rng = make_forest(**options)
    X = rng.normal(size=(12, 4))
    expected = slow_variance(forest, X, corrected)
    np.testing.assert_allclose(forest_variance(forest, X, corrected=corrected), expected, rtol=0, atol=1e-12)
    assert np.ptp(expected) > 1e-3


def test_variance_is_that_of_forestci():
    forestci = pytest.importorskip("forestci")
    forest, rng = make_forest(n_samples=150, n_trees=100)
    X = rng.normal(size=(40, 4))
    expected = forestci.random_forest_error(forest, (150, 4), X, calibrate=False)
    np.testing.assert_allclose(forest_variance(forest, X), expected, rtol=0, atol=1e-10)


def test_std_cuts_negative_variances_at_zero():
    forest, rng = make_forest(n_trees=5)
    X = rng.normal(size=(50, 4))
    variance = forest_variance(forest, X)
    assert variance.min() < 0
    np.testing.assert_array_equal(forest_std(forest, X), np.sqrt(np.maximum(variance, 0)))


@pytest.mark.slow
def test_variance_tracks_the_spread_of_refitted_forests():
    # V estimates the variance of the forest over training sets; many training sets give that variance itself
    predictions, variances = [], []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        X = rng.uniform(-1, 1, size=(80, 1))
        y = np.sin(3 * X[:, 0]) + 0.3 * rng.normal(size=80)
        forest = RandomForestRegressor(150, min_samples_leaf=5, random_state=seed).fit(X, y)
        predictions.append(forest.predict([[0.2]])[0])
        variances.append(forest_variance(forest, [[0.2]])[0])
    assert np.mean(variances) / np.var(predictions, ddof=1) == pytest.approx(1.0, abs=0.45)


def test_threads_and_given_counts_change_nothing():
    forest, rng = make_forest()
    X = rng.normal(size=(30, 4))
    expected = forest_variance(forest, X)
    np.testing.assert_array_equal(forest_variance(forest, X, n_jobs=2), expected)
    np.testing.assert_array_equal(forest_variance(forest, X, counts=in_bag_counts(forest)), expected)


def test_chunks_change_nothing(monkeypatch):
    forest, rng = make_forest()
    X = rng.normal(size=(30, 4))
    expected = forest_variance(forest, X)
    monkeypatch.setattr("gpu_xarch.advice.forest_variance._CHUNK", 7)
    np.testing.assert_allclose(forest_variance(forest, X), expected, rtol=1e-12)


def test_tree_predictions_are_those_of_the_trees():
    forest, rng = make_forest()
    X = rng.normal(size=(9, 4))
    np.testing.assert_array_equal(
        tree_predictions(forest, X), np.array([tree.predict(X) for tree in forest.estimators_]).T
    )


def test_a_forest_grown_on_two_data_sets_is_refused():
    rng = np.random.default_rng(0)
    forest = RandomForestRegressor(5, warm_start=True, random_state=0)
    forest.fit(rng.normal(size=(30, 2)), rng.normal(size=30))
    forest.set_params(n_estimators=10).fit(rng.normal(size=(90, 2)), rng.normal(size=90))
    with pytest.raises(InputError, match="warm_start"):
        in_bag_counts(forest)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda forest: forest_variance(RandomForestRegressor(), [[0.0]]), "not fitted"),
        (lambda forest: tree_predictions(RandomForestRegressor(), [[0.0]]), "not fitted"),
        (lambda forest: forest_variance(forest, [[0.0]]), r"n_points, 4\)"),
        (lambda forest: forest_variance(forest, np.zeros((1, 4)), counts=np.ones((60, 3))), "25 columns"),
        (lambda forest: in_bag_counts(make_forest(bootstrap=False)[0]), "bootstrap=True"),
    ],
)
def test_wrong_forests_are_told(call, words):
    with pytest.raises(InputError, match=words):
        call(make_forest()[0])


def test_several_outputs_are_refused():
    forest = RandomForestRegressor(3).fit(np.zeros((5, 1)), np.zeros((5, 2)))
    with pytest.raises(InputError, match="2 outputs"):
        tree_predictions(forest, [[0.0]])


@pytest.mark.slow
def test_variance_at_the_published_size_is_quick_and_small():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(22_603, 116)).astype(np.float32)
    forest = RandomForestRegressor(100, max_features=1, min_samples_leaf=5, random_state=0)
    forest.fit(X, X[:, 0] + rng.normal(size=len(X)))
    points = X[:10_000]
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        forest_variance(forest, points)
        best = min(best, time.process_time() - start)
    tracemalloc.start()
    forest_variance(forest, points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500e6
    assert best < 1.0


# intervals


def draw_groups(rng, n_groups):
    """Exchangeable groups: an offset and a size of their own."""
    scores, names = [], []
    for group in range(n_groups):
        rows = int(rng.integers(1, 8))
        scores.append(np.abs(rng.normal(scale=np.exp(rng.normal())) + 0.3 * rng.normal(size=rows)))
        names += [group] * rows
    return np.concatenate(scores), np.array(names)


@pytest.mark.parametrize("level", [0.6, 0.8])
def test_new_groups_are_covered_as_promised(level):
    rng = np.random.default_rng(5)
    trials, hits = 3000, 0
    for _ in range(trials):
        scores, groups = draw_groups(rng, 10)
        new, of = scores[groups == 9], scores[groups < 9]
        hits += new[0] <= group_quantile(of, groups[groups < 9], level=level)
    slack = 3 * np.sqrt(level * (1 - level) / trials)
    assert hits / trials >= level - slack
    assert hits / trials <= level + 0.1 + slack  # 1 / (K + 1) from above


def test_rows_taken_as_exchangeable_do_not_cover_new_groups():
    # the reason for the weights: with groups ignored, coverage of new groups falls short
    rng = np.random.default_rng(6)
    short = []
    for _ in range(1500):
        offsets = np.repeat(rng.normal(size=4), [200, 5, 5, 5])
        quantile = group_quantile(np.abs(offsets + 0.01 * rng.normal(size=215)), np.arange(215), level=0.75)
        short.append(abs(rng.normal()) <= quantile)
    assert np.mean(short) < 0.68


def test_intervals_scale_with_the_uncertainty():
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 3.0, size=4000)
    y = scale * rng.normal(size=4000)
    groups = np.repeat(np.arange(100), 20)
    told = GroupConformal.calibrate(y[:2000], np.zeros(2000), groups[:2000], scale=scale[:2000], level=0.9)
    assert told.quantile == pytest.approx(1.645, abs=0.12)
    lower, upper = told.interval(np.zeros(2000), scale[2000:])
    assert np.mean((y[2000:] >= lower) & (y[2000:] <= upper)) == pytest.approx(0.9, abs=0.025)
    assert told.n_groups == 100


def test_too_few_groups_promise_nothing():
    intervals = GroupConformal.calibrate([0.0, 1.0], [0.1, 1.1], ["a", "b"], level=0.9)
    assert intervals.quantile == np.inf
    assert intervals.interval([1.0])[0] == -np.inf


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
    st.floats(0.05, 0.95),
)
def test_quantiles_grow_with_the_level_and_lie_among_the_scores(scores, one, two):
    groups = [f"g{i % 3}" for i in range(len(scores))]
    low, high = (group_quantile(scores, groups, level=level) for level in sorted((one, two)))
    assert low <= high
    assert min(scores) <= low <= max(scores) or low == np.inf


@given(st.integers(2, 40), st.floats(0.1, 0.9))
def test_one_row_a_group_lies_between_the_ranks_of_split_conformal(n, level):
    scores = np.random.default_rng(n).normal(size=n)
    rank = level * (n + 1)
    ordered, upper = np.sort(scores), int(np.ceil(rank - 1e-9))
    got = group_quantile(scores, np.arange(n), level=level)
    if rank > n + 1e-9:
        assert got == np.inf
    else:
        assert ordered[max(upper - 2, 0)] - 1e-6 <= got <= ordered[upper - 1] + 1e-6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: group_quantile([1.0], ["a"], level=1.0), "between 0 and 1"),
        (lambda: group_quantile([1.0], ["a"], level=float("nan")), "between 0 and 1"),
        (lambda: group_quantile([np.nan], ["a"]), "finite"),
        (lambda: group_quantile([], []), "some rows"),
        (lambda: group_quantile([1.0, 2.0], ["a"]), "groups must have shape"),
        (lambda: GroupConformal.calibrate([1.0], [1.0, 2.0], ["a"]), "y has 1 rows"),
        (lambda: GroupConformal.calibrate([1.0], [1.0], ["a"], scale=[0.0]), "above 0"),
        (lambda: GroupConformal(0.9, 1.0, 9).interval([1.0], [1.0, 2.0]), "scale must have shape"),
    ],
)
def test_wrong_intervals_are_told(call, words):
    with pytest.raises(InputError, match=words):
        call()


# domains


def test_the_share_of_flags_on_like_rows_is_as_asked():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 6))
    domain = Domain.fit(X[:1000], flag_rate=0.1)
    assert domain.flags(X[1000:]).mean() == pytest.approx(0.1, abs=0.04)
    assert domain.flags(X[1000:] + 8).all()


def test_groups_make_the_domain_wider():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 20)
    X = rng.normal(size=(20, 5))[groups] + 0.02 * rng.normal(size=(400, 5))
    new = rng.normal(size=(200, 5))
    rows, by_group = Domain.fit(X), Domain.fit(X, groups=groups, flag_rate=0.05)
    assert rows.flags(new).mean() > 0.95  # no new group looks like a repeat of a known one
    assert by_group.flags(new).mean() < 0.2
    assert by_group.flags(new + 9).all()


def test_errors_set_the_threshold():
    groups = np.repeat(np.arange(30), 3)
    X = np.repeat(np.cumsum(np.linspace(0.01, 1, 30)), 3)[:, None]  # gaps between groups grow
    gap = Domain.fit(X, groups=groups, neighbours=1)
    good_near = Domain.fit(X, groups=groups, errors=X[:, 0] / X.max(), tolerance=0.1, neighbours=1)
    assert 0 < good_near.threshold < gap.threshold
    nowhere = Domain.fit(X, groups=groups, errors=np.full(90, 2.0), tolerance=0.3)
    assert nowhere.flags(X).all()
    everywhere = Domain.fit(X, groups=groups, errors=np.full(90, 0.1), tolerance=0.3, neighbours=1)
    assert not everywhere.flags(X).any()


@pytest.mark.parametrize(
    ("n_groups", "n_wrong", "trusted"), [(3, 0, False), (4, 0, True), (9, 2, True), (9, 3, False)]
)
def test_few_groups_prove_a_domain_only_if_nearly_all_are_predicted(n_groups, n_wrong, trusted):
    groups = np.repeat(np.arange(n_groups), 50)
    X = np.random.default_rng(0).normal(size=(len(groups), 2))
    errors = np.where(groups < n_wrong, 1.0, 0.1)
    domain = Domain.fit(X, groups=groups, errors=errors, tolerance=0.3)
    assert domain.flags(X).all() != trusted


def test_metrics_that_never_varied_count_when_they_do():
    X = np.column_stack([np.random.default_rng(0).normal(size=100), np.zeros(100)])
    domain = Domain.fit(X)
    np.testing.assert_array_equal(domain.flags([[0.0, 0.0], [0.0, 100.0]]), [False, True])


def test_large_training_sets_are_thinned_evenly():
    rng = np.random.default_rng(0)
    groups = np.repeat(["big", "small"], [6000, 50])
    X = np.where(groups == "big", 0.0, 40.0)[:, None] + rng.normal(size=(6050, 2))
    domain = Domain.fit(X, groups=groups)
    assert len(domain.reference) == 4000
    assert (domain.reference[:, 0] > domain.space.transform([[20.0, 20.0]])[0, 0]).sum() == 50


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e9), st.integers(0, 100))
def test_units_do_not_matter(factor, seed):
    X = np.random.default_rng(seed).lognormal(size=(20, 3))
    scaled = X * factor
    np.testing.assert_allclose(
        FeatureSpace.fit(X).transform(X), FeatureSpace.fit(scaled).transform(scaled), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Domain.fit(np.zeros((1, 2))), "two rows"),
        (lambda: Domain.fit(np.zeros((0, 2))), "some rows"),
        (lambda: Domain.fit([[0.0, np.nan], [0.0, 1.0]]), "row 0 has nan in column 1"),
        (lambda: Domain.fit(np.eye(3), flag_rate=0), "flag_rate"),
        (lambda: Domain.fit(np.eye(3), neighbours=0), "neighbours"),
        (lambda: Domain.fit(np.eye(3), errors=[1, 1, 1]), "errors need groups"),
        (lambda: Domain.fit(np.eye(3), groups=["a", "a", "a"]), "at least two"),
        (lambda: Domain.fit(np.eye(3), groups=["a"]), "groups must have shape"),
        (lambda: Domain.fit(np.eye(3), groups=["a", "b", "c"], errors=[1.0]), "errors must have shape"),
        (lambda: Domain.fit(np.eye(3), groups=["a", "b", "c"], errors=[1, np.nan, 1]), "finite"),
        (lambda: Domain.fit(np.eye(3), groups=["a", "b", "c"], errors=[1, 1, 1], tolerance=0), "tolerance"),
        (lambda: Domain.fit(np.eye(3)).flags([[1.0]]), "3 features"),
    ],
)
def test_wrong_domains_are_told(call, words):
    with pytest.raises(InputError, match=words):
        call()


def errors_by_doubt(n_groups=40, seed=0):
    """Rows in pairs, whose error is what the model doubts; their features say nothing of it."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 2)
    doubt = np.where(rng.random(len(groups)) < 0.3, 0.8, 0.05)
    return rng.normal(size=(len(groups), 3)), doubt * rng.uniform(0.5, 1.5, len(groups)), groups, doubt


def test_a_typical_error_follows_what_the_model_doubts():
    X, errors, groups, doubt = errors_by_doubt()
    learnt = ExpectedError.fit(X, errors, groups, doubt=doubt)
    sure, unsure = learnt.typical([[0.0] * 3] * 2, [0.05, 0.8])
    assert unsure > 2.5 * sure
    # typical errors are those of the training rows in the geometric mean
    assert np.exp(np.log((errors + 0.02) / learnt.known_typical).mean()) == pytest.approx(1.0)


def test_errors_grow_with_the_distance_from_the_training_rows():
    X, errors, groups, doubt = errors_by_doubt()
    learnt = ExpectedError.fit(X, errors, groups, doubt=doubt)
    near, far = [0.0] * 3, [9.0] * 3
    mean = learnt.expected([near, far])
    typical = learnt.typical([near, far], [0.1, 0.1])
    assert mean[1] > 3 * mean[0]
    assert typical[1] > 3 * typical[0]


def test_wrong_expected_errors_are_told():
    with pytest.raises(InputError, match="one a row of X"):
        ExpectedError.fit(np.zeros((4, 2)), [0.1] * 3, ["a", "b", "c", "d"])


def test_expected_errors_of_many_rows_are_learnt_from_some_of_every_group(monkeypatch):
    monkeypatch.setattr("gpu_xarch.learning.expected.ROWS", 80)
    x = np.repeat(np.linspace(0.0, 1.0, 40), 6)[:, None]
    learnt = ExpectedError.fit(x, x[:, 0] > 0.5, np.repeat(np.arange(40), 6))
    assert {tree.tree_.n_node_samples[0] for tree in learnt.trees.estimators_} == {80}
    assert len(learnt.reference) == 80
    assert len(learnt.known) == len(x)
    assert learnt.expected([[0.9]])[0] > 3 * learnt.expected([[0.1]])[0]
