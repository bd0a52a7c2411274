"""What is chosen and why, learning curves, what profiling should bring."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin

from gpu_xarch.advice.curation import (
    STRATEGIES,
    acquisition_forest,
    curate,
    expected_gain,
    first_batch,
    query,
)
from gpu_xarch.advice.forest_variance import forest_variance
from gpu_xarch.advice.learning_curves import (
    PUBLISHED_SIZES,
    composition,
    composition_figure,
    curve_figure,
    learning_curve,
    sizes_of,
)
from gpu_xarch.advice.next_runs import next_runs
from gpu_xarch.errors import InputError
from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.simulator.files import write_simulation
from gpu_xarch.simulator.model import plan_runs
from gpu_xarch.specs import find_gpu
from gpu_xarch.tables.runs import load_runs


def make_pool(n=300, seed=0):
    """Nine in ten runs are alike and easy; the rest cover a wide and bumpy range."""
    rng = np.random.default_rng(seed)
    easy = rng.random(n) < 0.9
    x = np.where(easy, 0.05 * rng.normal(size=n), rng.uniform(1, 9, size=n))
    X = np.column_stack([x, np.expm1(x / 3), np.sqrt(np.abs(x))])
    return X, np.where(easy, 1.0, 3 + np.sin(2 * x) * 2), easy


def hide(y, known):
    shown = np.full(len(y), np.nan)
    shown[known] = y[known]
    return shown


def test_variance_picks_the_largest_variances():
    X, y, _ = make_pool()
    known = np.arange(40)
    forest = acquisition_forest(seed=3).fit(X[known], y[known])
    picks, utilities = query("variance", X, hide(y, known), batch_size=10, forest=forest)
    variance = forest_variance(forest, X)
    np.testing.assert_array_equal(utilities[40:], variance[40:])
    assert np.isnan(utilities[:40]).all()
    np.testing.assert_array_equal(variance[picks], np.sort(variance[40:])[::-1][:10])


def test_diversity_is_farthest_first():
    X = np.array([[0.0], [1.0], [2.0], [10.0], [6.0], [4.0]])
    picks, utilities = query("diversity", X, [1.0, *[np.nan] * 5], batch_size=3)
    np.testing.assert_array_equal(
        picks, [3, 5, 2]
    )  # in the space of asinh(x / 4): 0, .25, .48, 1.65, 1.19, .88
    assert utilities[3] > utilities[5] > utilities[2] > utilities[1] > 0
    assert np.isnan(utilities[0])


def test_diversity_is_that_of_scikit_activeml():
    pool = pytest.importorskip("skactiveml.pool")
    from gpu_xarch.learning.domain import FeatureSpace

    X, y, _ = make_pool(80)
    shown = hide(y, np.arange(5))
    placed = FeatureSpace.fit(X).transform(X)
    expected, told = pool.GreedySamplingX(random_state=0).query(
        placed, shown, batch_size=12, return_utilities=True
    )
    picks, utilities = query("diversity", X, shown, batch_size=12)
    np.testing.assert_array_equal(picks, expected)
    np.testing.assert_allclose(utilities[picks], told[np.arange(12), picks], rtol=1e-3)


def test_diversity_needs_nothing_known():
    X = make_pool(50)[0]
    picks, _ = query("diversity", X, np.full(50, np.nan), batch_size=50)
    assert sorted(picks) == list(range(50))


def test_density_passes_over_strays():
    # one lone run is as uncertain as the cluster of runs that is not known either
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=60), 40 + rng.normal(size=60), [90.0]])[:, None]
    y = np.where(X[:, 0] > 20, 5.0, 0.0) + 0.2 * rng.normal(size=121)
    shown = hide(y, [*range(30), 60, 61])
    _, by_variance = query("variance", X, shown, batch_size=1)
    _, by_density = query("density", X, shown, batch_size=1)
    ratio = by_density / np.maximum(by_variance, 1e-12)
    assert ratio[120] < 0.7 * np.nanmedian(ratio[62:120])


def test_random_picks_depend_on_the_seed_alone():
    X, y, _ = make_pool()
    shown = hide(y, [0, 1])
    one, two = (query("random", X * factor, shown, batch_size=20, seed=4)[0] for factor in (1, 7))
    np.testing.assert_array_equal(one, two)
    assert set(one) != set(query("random", X, shown, batch_size=20, seed=5)[0])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(STRATEGIES), st.integers(2, 30), st.integers(1, 60), st.integers(0, 5))
def test_picks_are_different_unknown_rows(strategy, n_known, batch, seed):
    X, y, _ = make_pool(50, seed=seed)
    forest = acquisition_forest(n_trees=5).fit(X[:n_known], y[:n_known])
    picks, utilities = query(strategy, X, hide(y, np.arange(n_known)), batch_size=batch, forest=forest)
    assert len(picks) == min(batch, 50 - n_known) == len(set(picks))
    assert (picks >= n_known).all()
    assert np.isfinite(utilities[n_known:]).all()
    if strategy != "diversity":
        assert utilities[picks].min() >= np.max(
            np.delete(utilities[n_known:], picks - n_known), initial=-np.inf
        )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_curate_starts_from_the_same_runs_and_repeats_itself(strategy):
    X, y, _ = make_pool()
    seen = []
    order = curate(
        X, y, 60, strategy=strategy, batch_size=20, initial=20, on_batch=lambda *now: seen.append(now)
    )
    assert len(set(order)) == 60
    assert seen == [(40, 60), (60, 60)]
    np.testing.assert_array_equal(order[:20], np.random.default_rng(0).permutation(300)[:20])
    np.testing.assert_array_equal(order, curate(X, y, 60, strategy=strategy, batch_size=20, initial=20))


def test_answers_of_runs_not_chosen_are_not_looked_at():
    X, y, _ = make_pool()
    order = curate(X, y, 60, batch_size=20, initial=20)
    other = y.copy()
    other[np.setdiff1d(np.arange(300), order)] = 99.0
    np.testing.assert_array_equal(curate(X, other, 60, batch_size=20, initial=20), order)


@pytest.mark.parametrize("strategy", ["variance", "diversity", "density"])
def test_curated_sets_beat_random_ones_where_most_runs_are_alike(strategy):
    X, y, easy = make_pool(600)
    X_test, y_test, _ = make_pool(400, seed=1)
    orders = {
        name: curate(X, y, 90, strategy=name, batch_size=15, initial=30) for name in (strategy, "random")
    }
    curve = learning_curve(orders, X, y, X_test, y_test, [90])
    mae = curve.set_index("strategy")["mae"]
    assert mae[strategy] < 0.6 * mae["random"]
    parts = composition(orders, np.where(easy, "easy", "hard"), [90]).set_index(["strategy", "application"])
    assert parts.loc[("pool", "easy"), "share"] == pytest.approx(0.9, abs=0.03)
    assert parts.loc[("random", "easy"), "share"] == pytest.approx(0.9, abs=0.06)
    assert parts.loc[(strategy, "hard"), "runs"] > 1.7 * parts.loc[("random", "hard"), "runs"]


def test_sizes_are_the_published_ones():
    assert len(PUBLISHED_SIZES) == 12
    assert sizes_of(22_603) == (565, 1130, 1695, 2260, 2825, 3390, 3956, 4521, 5086, 5651, 6216, 6781)


def test_scores_of_a_curve_are_right():
    class Two(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.n = len(y)
            return self

        def predict(self, X):
            return np.full(len(X), float(self.n))

    X = np.zeros((5, 1))
    curve = learning_curve(
        {"a": np.arange(5)}, X, np.ones(5), np.zeros((3, 1)), [1.0, 4.0, 0.0], [2, 4], Two
    ).set_index("size")
    assert curve.loc[2, "mape"] == pytest.approx((1.0 + 0.5) / 2)  # the true 0 has no share
    assert curve.loc[2, "mae"] == pytest.approx((1 + 2 + 2) / 3)
    assert curve.loc[4, "median_ape"] == pytest.approx(1.5)


def test_figures_show_every_strategy_and_application():
    orders = {"variance": np.arange(6), "random": np.arange(6)[::-1]}
    table = composition(orders, list("aabbcc"), [2, 4])
    figure = composition_figure(table, title="SIMULATED")
    assert [axes.get_title() for axes in figure.axes] == ["pool", "variance", "random"]
    tops = [patch.get_y() + patch.get_height() for patch in figure.axes[1].patches]
    assert max(tops) == pytest.approx(1.0)
    X = np.arange(6.0)[:, None]
    curve = learning_curve(orders, X, X[:, 0] + 1, X, X[:, 0] + 1, [2, 4])
    drawn = curve_figure(curve, title="t", lines={"old = new": 0.12}).axes[0]
    assert [line.get_label() for line in drawn.lines] == ["variance", "random", "old = new"]
    assert drawn.lines[2].get_ydata()[0] == pytest.approx(12.0)


def test_the_figure_of_many_applications_keeps_the_largest():
    rng = np.random.default_rng(0)
    names = np.array([f"app{number:02d}" for number in rng.geometric(0.05, size=600)])
    orders = {"random": rng.permutation(600)}
    figure = composition_figure(composition(orders, names, [50, 200]), title="many")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    found, counts = np.unique(names, return_counts=True)
    assert len(labels) == 13
    assert labels[0] == f"{len(found) - 12} others"
    assert labels[-1] == found[np.argmax(counts)]
    bars = figure.axes[1].patches
    assert len({tuple(bar.get_facecolor()) for bar in bars}) == 13
    assert max(bar.get_y() + bar.get_height() for bar in bars) == pytest.approx(1.0)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.height


def test_the_expected_gain_is_near_what_happens():
    X, y, _ = make_pool(500)
    known = np.random.default_rng(0).permutation(500)[:60]
    shown = hide(y, known)
    picks, _ = query("variance", X, shown, batch_size=30)
    gain = expected_gain(X, y=shown, picks=picks)
    after = shown.copy()
    after[picks] = y[picks]
    real = expected_gain(X, after, [0]).before
    assert gain.after < gain.random < gain.before
    assert gain.after == pytest.approx(real, rel=0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda X, y: query("best", X, y), "unknown strategy 'best'"),
        (lambda X, y: query("variance", X, y), "nothing to choose"),
        (lambda X, y: query("variance", X, np.full(len(y), np.nan)), "two known rows"),
        (lambda X, y: query("random", X, y[:-1]), "must have shape"),
        (lambda X, y: query("random", X * np.nan, y), "finite"),
        (lambda X, y: query("random", X, y, batch_size=0), "at least one run"),
        (lambda X, y: curate(X, y, 1), "size must be from 2"),
        (lambda X, y: curate(X, y, len(y) + 1), "size must be from 2"),
        (lambda X, y: curate(X, y, 20, initial=50), "first batch"),
        (lambda X, y: curate(X, y * np.nan, 20), "y must be finite"),
        (lambda X, y: sizes_of(10, [0.1]), "come to"),
        (lambda X, y: sizes_of(100, [0.3, 0.2]), "must rise"),
        (lambda X, y: sizes_of(100, [1.5]), "above 0 and at most 1"),
        (lambda X, y: learning_curve({"a": np.arange(3)}, X, y, X, y, [4]), "has 3 runs"),
        (lambda X, y: expected_gain(X, hide(y, [0]), [1]), "two known rows"),
        (lambda X, y: expected_gain(X, hide(y, [0, 1]), [2], repeats=0), "repeats"),
    ],
)
def test_wrong_requests_are_told(call, words):
    X, y, _ = make_pool(30)
    with pytest.raises(InputError, match=words):
        call(X, y)


# from a table of runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_simulation([find_gpu("P100"), find_gpu("V100")], plan_runs(200), folder / "sim")
    ingest([folder / "sim"], folder / "runs.parquet")
    return load_runs(folder / "runs.parquet")


def some(runs, n):
    """All of the source, n of the target."""
    there = runs[runs["device"] == "V100"].sample(n, random_state=0)
    part = runs[runs["run_id"].isin(there["run_id"]) | (runs["device"] == "P100")].reset_index(drop=True)
    part.attrs = runs.attrs
    return part


def test_next_runs_are_not_on_the_target_yet(runs):
    table = some(runs, 60)
    found = next_runs(table, source="Tesla P100", dest="V100", metric="ipc", n=15)
    assert (found.n_pairs, found.n_candidates, found.simulated) == (60, 140, 200)
    assert found.metrics == 117
    assert found.left_out == ()
    key = ["application", "kernel", "input"]
    known = set(map(tuple, table[table["device"] == "V100"][key].to_numpy(str)))
    named = list(map(tuple, found.runs[key].to_numpy(str)))
    assert len(set(named)) == 15
    assert not known & set(named)
    assert found.gain.after < found.gain.before
    assert found.runs["utility"].is_monotonic_decreasing
    np.testing.assert_allclose(found.runs["std"] ** 2, found.runs["utility"], rtol=1e-6)


def test_diversity_names_the_first_runs_of_a_new_gpu(runs):
    found = next_runs(runs, source="P100", dest="H100", metric="ipc", n=10, strategy="diversity")
    assert (found.n_pairs, found.n_candidates, found.gain) == (0, 200, None)
    assert found.runs["application"].nunique() >= 7
    assert "predicted" not in found.runs


def test_metrics_that_some_runs_lack_are_left_out_and_named(runs):
    table = some(runs, 60)
    attrs = table.attrs
    table.loc[table.index[0], "achieved_occupancy"] = np.nan
    table.attrs = attrs
    found = next_runs(table, source="P100", dest="V100", metric="ipc", n=2, strategy="random")
    assert found.left_out == ("achieved_occupancy",)
    assert found.metrics == 116


@pytest.mark.parametrize(
    ("n", "options", "words"),
    [
        (60, {"source": "K40"}, "no runs of the GPU 'K40'"),
        (200, {}, "nothing left to profile"),
        (5, {}, "needs 20 runs"),
        (60, {"metric": "bogus"}, "no dest.bogus"),
    ],
)
def test_wrong_tables_are_told(runs, n, options, words):
    with pytest.raises(InputError, match=words):
        next_runs(some(runs, n), **{"source": "P100", "dest": "V100", "metric": "ipc", **options})


def test_means_over_launches_are_not_taken_for_runs_that_the_target_lacks(runs):
    table = some(runs, 60)
    attrs, there = table.attrs, table["device"] == "V100"
    table["launch"] = pd.array([0 if one else None for one in there], dtype="Int64")
    table.attrs = attrs
    for strategy in ("diversity", "variance"):
        with pytest.raises(InputError, match="means over launches do not meet single launches; --on app"):
            next_runs(table, source="P100", dest="V100", metric="ipc", strategy=strategy)
    on = ("application", "kernel", "input")
    assert next_runs(table, source="P100", dest="V100", metric="ipc", n=3, on=on).n_pairs == 60


@given(st.integers(2, 100_000))
def test_the_first_batch_fits_and_leaves_room(size):
    first = first_batch(size)
    assert 2 <= first <= min(size, 250)
    assert first == size or first >= 20
    if size >= 60:
        assert first <= size / 3
