"""Models, evaluation, persistence and selection on a small simulated table with a known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpu_xarch import InputError, find_gpu
from gpu_xarch.learning.evaluation import evaluate
from gpu_xarch.learning.fitting import fit_model, held_out_predictions
from gpu_xarch.learning.persistence import FORMAT, load_model, save_model
from gpu_xarch.learning.plots import bars
from gpu_xarch.learning.prediction import flags, intervals, predict_table
from gpu_xarch.learning.report import importance, learning, render
from gpu_xarch.learning.rows import TrainingData, train_subset, training_data
from gpu_xarch.learning.scores import bootstrap, harmonic_mean, score
from gpu_xarch.learning.selection import select_metrics
from gpu_xarch.learning.splits import groups_of, split
from gpu_xarch.learning.training import train
from gpu_xarch.metrics.relations import reveals
from gpu_xarch.models import MODELS, make_model, make_problem
from gpu_xarch.models.auto import STRANGE
from gpu_xarch.models.features import make_features
from gpu_xarch.models.sheets import sheet_columns
from gpu_xarch.simulator.own_data import own_pairs

IPC = make_problem("ipc", "P100", "V100")


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return own_pairs(120)


@pytest.fixture(scope="module")
def data(pairs: pd.DataFrame) -> TrainingData:
    return training_data(pairs, IPC)


@pytest.fixture(scope="module")
def few(data: TrainingData) -> TrainingData:
    names = ["ipc", "inst_executed", "sm_efficiency", "dram_throughput", "achieved_occupancy"]
    return train_subset(data, names)


#: hyper-parameters that make a model quick
QUICK: dict[str, dict[str, Any]] = {
    "auto": {"n_estimators": 10},
    "forest": {"n_estimators": 10},
    "boosting": {"max_iter": 20},
    "mlp": {"epochs": 20},
    "old": {},
}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("mean", "nas")])
def test_every_model_predicts_within_physical_limits(name: str, data: TrainingData) -> None:
    options: dict[str, Any] = {"epochs": 200} if name == "mlp" else {}
    model = fit_model(make_model(name, IPC, **options), data)
    predicted = model.predict(data.X)
    assert predicted.shape == (len(data),)
    assert np.isfinite(predicted).all()
    if name in ("auto", "boosting", "mechanism", "mlp", "scaled", "roofline"):
        assert predicted.min() >= 0
        assert predicted.max() <= find_gpu("V100").issue_width
    if name in ("auto", "forest", "boosting", "mlp"):
        assert score(data.y, predicted)["median_ape"] < 0.12
    if name == "old":
        np.testing.assert_array_equal(predicted, data.X["ipc"])


def test_a_perceptron_stays_near_what_it_has_seen_on_runs_unlike_any_other(data: TrainingData) -> None:
    model = fit_model(make_model("mlp", IPC, epochs=20), data)
    strange = data.X.iloc[:20] * 10.0 ** np.arange(-10, 10)[:, None]
    predicted = model.predict(strange)
    assert data.y.min() / 2 <= predicted.min()
    assert predicted.max() <= min(2 * data.y.max(), IPC.cap)
    raw = model.estimator_.predict(strange.to_numpy())  # type: ignore[attr-defined]
    assert raw.min() < 0 or raw.max() > 2 * data.y.max()


def test_the_roofline_slows_down_what_memory_bounds() -> None:
    problem = make_problem("ipc", "GTX 950", "GTX 1080 Ti")
    source, dest = find_gpu("GTX 950"), find_gpu("GTX 1080 Ti")
    seconds, ipc = 0.1, 2.0
    instructions = ipc * source.sms * source.boost_hz * seconds
    runs = pd.DataFrame(
        {"inst_executed": [instructions] * 2, "ipc": [ipc] * 2, "dram_throughput": [1e6, source.bandwidth]}
    )
    light, heavy = make_model("roofline", problem).fit(runs, np.ones(2)).predict(runs)
    assert light == pytest.approx(ipc)
    lanes = dest.sms * dest.boost_hz / (source.sms * source.boost_hz)
    assert heavy == pytest.approx(ipc * (dest.bandwidth / source.bandwidth) / lanes)
    throughput = make_problem("dram_throughput", "GTX 950", "GTX 1080 Ti")
    moved = make_model("roofline", throughput).fit(runs, np.ones(2)).predict(runs)
    assert moved == pytest.approx([1e6 * lanes, dest.bandwidth])


def test_the_roofline_of_a_time_is_what_operations_traffic_or_a_launch_need() -> None:
    problem, source, dest = make_problem("duration", "P100", "V100"), find_gpu("P100"), find_gpu("V100")
    runs = pd.DataFrame({"duration": [1e-2, 1e-2, 1e-6], "dram_throughput": [1e9, source.bandwidth, 1e9]})
    told = make_model("roofline", problem).fit(runs, np.ones(3)).predict(runs)
    computed, moved = source.peak_fp32 / dest.peak_fp32, source.bandwidth / dest.bandwidth
    assert computed < moved
    np.testing.assert_allclose(told, [1e-2 * computed, 1e-2 * moved, 3e-6])


def test_the_default_learns_a_ratio_that_the_forest_cannot_extrapolate(data: TrainingData) -> None:
    """New = old / 2 everywhere: the ratio is one number, also beyond the values seen in training."""
    halved = TrainingData(IPC, data.X, data.X["ipc"].to_numpy() / 2, data.keys)
    order = np.argsort(halved.y)
    low, high = order[:90], order[90:]
    errors = {}
    for name in ("forest", "boosting", "auto"):
        model = fit_model(make_model(name, IPC), halved.rows(low))
        errors[name] = score(halved.y[high], model.predict(halved.X.iloc[high]))["median_ape"]
    assert errors["boosting"] < 0.02
    assert errors["auto"] < 0.5 * errors["forest"]


def test_rivals_of_the_mechanism_are_weighed_by_groups_left_out(data: TrainingData) -> None:
    kin = replace(data, y=1.0 * data.problem.old(data.X))
    learnt = fit_model(make_model("auto", IPC, n_estimators=4), kin)
    assert learnt.errors_[2].max() < 1e-9  # old = new is right everywhere
    np.testing.assert_allclose(learnt.predict(data.X), kin.y, rtol=0.02)
    for groups in (None, ["one"] * len(kin)):
        alone = make_model("auto", IPC, n_estimators=2).fit(kin.X, kin.y, groups=groups)
        corrected = np.exp(alone._corrected(data.X, alone._far(data.X))) - alone.offset_
        np.testing.assert_allclose(alone.predict(data.X), np.clip(corrected, 0, IPC.cap))


def test_a_member_that_is_right_nearby_wins_there_alone(few: TrainingData) -> None:
    learnt = make_model("auto", IPC, n_estimators=2).fit(few.X, few.y)
    learnt.share_ = np.ones(40)
    errors = np.tile([[0.2], [0.6], [0.6], [0.1]], 40)
    errors[0, :20] = 0.02  # what was learnt is right among the first 20 groups
    near, others = np.full((2, 40), 9.0)
    near[:20], others[20:] = 0.2, 0.2
    far = np.stack([near, others, np.full(40, 9.0)])
    members = np.array([[1.0, 2.0, 3.0, 4.0]] * 3).T
    weights = learnt._weights(errors, few.X.iloc[:3], members, far)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    assert weights[0, 0] > 0.95
    assert weights[3, 1] > 0.9
    # near nothing the errors everywhere decide: 0.11 and 0.1
    assert 0.2 < weights[0, 2] < weights[3, 2] < 0.8


@pytest.mark.parametrize("named", ["V100", "H100"])
def test_on_a_gpu_never_seen_the_mechanism_goes_towards_the_data_sheets(named: str) -> None:
    problem = make_problem("ipc", "any", "any")
    data = training_data(own_pairs(60), problem)
    learnt = fit_model(make_model("auto", problem, n_estimators=2), data)
    there = sheet_columns("dest", [named] * len(data)).set_index(data.X.index)
    runs = data.X.assign(**{name: there[name] for name in there})
    sheets = make_model("scaled", problem).fit(runs, data.y).predict(runs)
    expected = learnt.mechanism_.predict(runs) ** (1 - STRANGE) * sheets**STRANGE
    apart = np.abs(np.log(learnt.predict(runs) / np.minimum(expected, problem.cap_of(runs))))
    assert apart.max() < 0.01 if named == "H100" else apart.max() > 0.05


def test_a_correction_is_smaller_the_farther_a_run_is_from_all_others(data: TrainingData) -> None:
    doubled = replace(data, y=2.0 * make_model("mechanism", IPC).fit(data.X, data.y).predict(data.X))
    learnt = make_model("auto", IPC, n_estimators=20, stiffness=1e9, belief=1.0).fit(doubled.X, doubled.y)
    near = learnt.predict(data.X) / learnt.mechanism_.predict(data.X)
    far = data.X.assign(warp_execution_efficiency=-1e3)
    assert np.median(near) > 1.4
    np.testing.assert_allclose(learnt.predict(far), learnt.mechanism_.predict(far), rtol=0.02)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("mean", "nas")])
def test_models_are_estimators_of_scikit_learn(name: str, few: TrainingData) -> None:
    from sklearn.base import clone, is_regressor
    from sklearn.model_selection import cross_val_predict

    model = make_model(name, IPC, **QUICK.get(name, {}))
    assert is_regressor(model)
    assert clone(model).get_params() == model.get_params()
    predicted = cross_val_predict(model, few.X, few.y, cv=2)
    assert score(few.y, predicted)["median_ape"] < 0.5


def test_missing_and_constant_metrics_are_left_out_and_named(pairs: pd.DataFrame) -> None:
    changed = pairs.copy()
    changed.loc[changed.index[3:16], "source.achieved_occupancy"] = np.nan
    changed["source.warp_execution_efficiency"] = 1.0
    found = training_data(changed, IPC)
    assert found.left_out["achieved_occupancy"] == "missing in 13 rows"
    assert found.left_out["warp_execution_efficiency"] == "the same in every row"
    assert not {"achieved_occupancy", "warp_execution_efficiency"} & set(found.X.columns)
    assert found.simulated == len(found) == 120


def test_a_refused_cell_costs_neither_its_column_nor_the_model(pairs: pd.DataFrame) -> None:
    changed = pairs.copy()
    for row, name in ((3, "sm_efficiency"), (4, "inst_executed"), (5, "ipc")):
        changed.loc[changed.index[row], "source." + name] = np.nan
        changed.loc[changed.index[row], "source.refused"] = name
    found = training_data(changed, IPC, metrics=["ipc", "inst_executed", "sm_efficiency"])
    assert found.imputed == {"sm_efficiency": 1}
    assert (len(found), found.dropped, found.refused) == (118, 2, 3)
    assert found.X["sm_efficiency"][3] == pytest.approx(
        pairs["source.sm_efficiency"].drop([3, 4, 5]).median()
    )
    trained = train(found, "mechanism")
    frame, imputed = predict_table(trained, changed)
    assert imputed == {"sm_efficiency": 1, "inst_executed": 1}
    assert (len(frame), frame.attrs["without_old"]) == (119, 1)
    assert frame["out_of_domain"][[3, 4]].all()
    whole = predict_table(trained, pairs)[0]
    ratio, usual = frame["high"][3] / frame["predicted"][3], whole["high"][3] / whole["predicted"][3]
    assert ratio > 1.05 * usual


def test_the_same_gpu_never_sees_the_target_or_its_aliases(pairs: pd.DataFrame) -> None:
    found = training_data(pairs, make_problem("ipc", "P100"))
    assert not set(found.X.columns) & reveals("ipc")
    np.testing.assert_array_equal(found.y, pairs["source.ipc"])
    five = [
        "inst_integer",
        "achieved_occupancy",
        "sm_efficiency",
        "dram_throughput",
        "stall_memory_dependency",
    ]
    few = training_data(pairs, make_problem("ipc", "P100"), metrics=five)
    result = evaluate(few, ("forest", "auto"), split_by="random", folds=4)
    scores = {row["model"]: row["mae"] for row in result.scores(draws=20)}
    assert set(scores) == {"mean", "forest"}  # the default is the forest here
    assert scores["forest"] < 0.6 * scores["mean"]
    with pytest.raises(InputError, match="issued_ipc: gives the target away"):
        training_data(pairs, make_problem("ipc", "P100"), metrics=["issued_ipc"])


@pytest.mark.parametrize("how", ["application", "kernel"])
def test_groups_are_never_on_both_sides(how: str, data: TrainingData) -> None:
    groups = np.array(groups_of(data, how))
    seen = []
    for train_rows, test_rows in split(data, how, 5, 0):
        assert not set(groups[train_rows]) & set(groups[test_rows])
        seen += list(test_rows)
    assert sorted(seen) == list(range(len(data)))


def test_nothing_of_a_test_row_reaches_the_training(data: TrainingData) -> None:
    """Changing the target of one application leaves its own held-out predictions alone."""
    groups = np.array(groups_of(data, "application"))
    mine = groups == groups[0]
    wild = TrainingData(IPC, data.X, np.where(mine, data.y * 100, data.y), data.keys)
    before, after = (
        held_out_predictions(one, make_model("forest", IPC, n_estimators=10)) for one in (data, wild)
    )
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).any()


def test_nested_choice_and_words(few: TrainingData) -> None:
    result = evaluate(few, ("boosting",), folds=2, nested=True)
    assert len(result.options["boosting"]) == 2
    text = result.words("boosting")
    assert text.startswith("boosting, ipc P100 -> V100, applications left out: median error")
    worse = [row["application"] for row in result.losses("boosting")]
    for mine, base in zip(result.by("application", "boosting"), result.by("application", "old"), strict=True):
        assert (mine["mae"] > base["mae"]) == (mine["application"] in worse)
    assert all(name in text for name in worse[:12])
    rows = {row["model"]: row for row in result.scores(draws=50)}
    assert set(rows) == {"old", "scaled", "roofline", "boosting"}
    assert rows["old"]["mae_low"] <= rows["old"]["mae"] <= rows["old"]["mae_high"]


@given(
    y=hnp.arrays(float, 12, elements=st.floats(0.1, 1e9)), factor=st.floats(0.5, 2.0), size=st.floats(0.1, 10)
)
def test_relative_scores_do_not_depend_on_the_unit(y: np.ndarray, factor: float, size: float) -> None:
    found, scaled = score(y, factor * y), score(size * y, size * factor * y)
    assert found["mape"] == pytest.approx(abs(factor - 1), abs=1e-9)
    assert scaled["median_ape"] == pytest.approx(found["median_ape"], abs=1e-9)
    assert scaled["mae"] == pytest.approx(size * found["mae"], rel=1e-9)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=8))
def test_harmonic_mean_is_between_the_extremes(values: list[float]) -> None:
    assert min(values) * (1 - 1e-9) <= harmonic_mean(values) <= max(values) * (1 + 1e-9)


def test_zeros_are_left_out_of_relative_errors_and_counted() -> None:
    found = score(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    assert (found["mape"], found["n_zero"], found["mae"]) == (0.5, 1.0, 1.0)


def test_bootstrap_draws_whole_applications() -> None:
    rows = np.arange(100)
    alike = bootstrap(lambda drawn: float(drawn.mean()), ["a"] * 50 + ["b"] * 50, n=300)
    apart = bootstrap(lambda drawn: float(drawn.mean()), [str(i) for i in rows], n=300)
    assert alike == (24.5, 74.5)
    assert apart[1] - apart[0] < 15


@given(
    hnp.arrays(float, (5, 3), elements=st.floats(0, 1e12)),
)
@settings(max_examples=30)
def test_features_are_finite_and_independent_of_other_rows(values: np.ndarray) -> None:
    runs = pd.DataFrame(values, columns=["inst_executed", "gld_transactions", "ipc"])
    p100, v100 = find_gpu("P100"), find_gpu("V100")
    every = make_features(runs, source=p100, dest=v100)
    assert np.isfinite(every.to_numpy()).all()
    one = make_features(runs.iloc[[2]], source=p100, dest=v100)
    np.testing.assert_allclose(every.iloc[[2]].to_numpy(), one.to_numpy())


@pytest.mark.parametrize("name", ["auto", "forest", "boosting", "mlp", "old"])
def test_a_model_read_back_predicts_the_same(name: str, data: TrainingData, tmp_path: Path) -> None:
    trained = train(data, name, **QUICK[name])
    save_model(trained, tmp_path / "m.skops")
    again = load_model(tmp_path / "m.skops")
    np.testing.assert_array_equal(again.model.predict(data.X), trained.model.predict(data.X))
    assert again.problem == IPC
    assert again.card == trained.card


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    import skops.io

    file = tmp_path / "m.skops"
    for content in ({"x": Path("/etc")}, {"format": "other"}, [1, 2]):
        skops.io.dump(content, file)
        with pytest.raises(InputError, match=r"not trusted|no model written"):
            load_model(file)
    for broken in (b"", b"no zip", b"PK\x03\x04broken"):
        file.write_bytes(broken)
        with pytest.raises(InputError, match="no model written"):
            load_model(file)
    with pytest.raises(InputError, match="cannot read the model"):
        load_model(tmp_path / "nothing.skops")


def test_a_model_of_another_version_is_to_be_trained_again(
    few: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("gpu_xarch.learning.persistence.FORMAT", "gpu_xarch model 1")
        save_model(train(few, "old"), tmp_path / "m.skops")
    with pytest.raises(InputError, match="another version of `xarch train`: train the model again"):
        load_model(tmp_path / "m.skops")


def test_what_a_model_keeps_changes_with_the_format_of_its_file(few: TrainingData) -> None:
    trained = train(few, "auto", n_estimators=4)
    # Where these names change, give the format a new number: an older file would be read and then lack what it needs.
    assert FORMAT == "gpu_xarch model 6"
    assert set(vars(trained)) == {
        *("X", "card", "columns", "groups", "held_out", "inputs", "medians", "model", "name", "problem"),
        *("suite_held_out", "y"),
    }
    assert set(vars(trained.model)) == {
        *("belief", "n_estimators", "n_jobs", "penalty", "problem", "seed", "severity", "stiffness"),
        *("carries_", "errors_", "gpus_", "machine_", "mechanism_", "offset_", "reference_", "scaler_"),
        *("share_", "trees_", "usual_"),
    }


@pytest.mark.slow
def test_predictions_say_how_sure_they_are(pairs: pd.DataFrame, data: TrainingData) -> None:
    trained = train(data, "boosting", max_iter=40)
    frame, imputed = predict_table(trained, pairs, dest="V100", level=0.8)
    assert imputed == {}
    assert len(frame) == 120
    assert (frame["low"] <= frame["predicted"]).all()
    assert (frame["predicted"] <= frame["high"]).all()
    low, high = intervals(trained, trained.held_out, 0.8)
    apps = np.array(trained.groups)
    inside = (low <= data.y) & (data.y <= high)
    assert np.mean([inside[apps == name].mean() for name in set(apps)]) >= 0.75
    wide = intervals(trained, trained.held_out, 0.9)
    assert (wide[1] >= high).all()
    far = pairs.copy()
    metrics = [name for name in far.columns if name[7:] in trained.columns and name.startswith("source.")]
    far[metrics] = far[metrics].where(far[metrics] < 1e4, far[metrics] * 1e6)  # counts, not rates and shares
    assert predict_table(trained, far)[0]["out_of_domain"].all()
    with pytest.raises(InputError, match="no run has a possible ipc, the old value itself"):
        predict_table(trained, far.assign(**{"source.ipc": 1e6}))
    assert flags(trained, data.X)[0].mean() < 0.5


def test_missing_metrics_are_imputed_only_when_asked_and_listed(
    pairs: pd.DataFrame, data: TrainingData
) -> None:
    trained = train(train_subset(data, ["ipc", "inst_executed", "sm_efficiency"]), "boosting")
    gap = pairs.drop(columns=["source.sm_efficiency"])
    gap.loc[gap.index[:2], "source.inst_executed"] = np.nan
    with pytest.raises(
        InputError, match=r"inst_executed \(2 of 120 rows\), sm_efficiency \(120 of 120 rows\)"
    ):
        predict_table(trained, gap)
    frame, imputed = predict_table(trained, gap, impute=True)
    assert imputed == {"inst_executed": 2, "sm_efficiency": 120}
    assert np.isfinite(frame["predicted"]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pairs: pairs.iloc[:19], "19 pairs have ipc on P100 and V100, at least 20"),
        (lambda pairs: pairs.drop(columns=["dest.ipc"]), "no dest.ipc to learn from"),
        (lambda pairs: pairs.assign(**{"source.device": "K40"}), "no source.device 'P100', it has K40"),
        (lambda pairs: pairs.drop(columns=["source.device"]), "needs a table of pairs"),
    ],
)
def test_tables_that_cannot_be_learnt_from(change: Any, words: str, pairs: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=words):
        training_data(change(pairs), IPC)


def test_a_model_for_other_gpus_is_refused(pairs: pd.DataFrame, data: TrainingData) -> None:
    trained = train(train_subset(data, ["ipc"]), "old")
    with pytest.raises(InputError, match="trained for V100, got K40"):
        predict_table(trained, pairs, dest="Tesla K40c")
    with pytest.raises(InputError, match="predicts V100 from P100, the table has K40"):
        predict_table(trained, pairs.assign(**{"source.device": "K40"}))


def test_the_classifier_foresees_the_change(pairs: pd.DataFrame) -> None:
    problem = make_problem("memory_bound", "P100", "V100")
    found = training_data(pairs, problem)
    assert set(found.y) == {0.0, 1.0}
    model = fit_model(make_model("auto", problem, n_estimators=20), found)
    probability = model.predict_probability(found.X)  # type: ignore[attr-defined]
    assert ((probability >= 0) & (probability <= 1)).all()
    # Platt's probabilities follow the frequencies, although classes are weighted
    assert probability.mean() == pytest.approx(found.y.mean(), abs=0.1)
    assert score(found.y, model.predict(found.X), classifies=True)["accuracy"] > 0.9
    result = evaluate(found, ("auto",), split_by="random", folds=2, options={"auto": {"n_estimators": 10}})
    assert {row["model"] for row in result.scores(draws=10)} == {"old", "roofline", "auto"}
    assert "accuracy" in result.words("auto")
    one_class = TrainingData(problem, found.X, np.zeros(len(found)), found.keys)
    assert fit_model(make_model("auto", problem), one_class).predict(found.X).max() == 0.0


@pytest.mark.slow
def test_a_few_metrics_meet_the_budget_of_all(pairs: pd.DataFrame) -> None:
    names = ["dram_throughput", "inst_executed", "sm_efficiency"]
    throughput = training_data(pairs, make_problem("dram_throughput", "P100", "V100"), metrics=names)
    found = select_metrics(throughput, most=3, candidates=3, budget=10.0)
    assert (found.met, found.metrics) == (True, ["dram_throughput"])
    more = select_metrics(throughput, most=2, candidates=2, budget=1e-6)
    assert not more.met
    assert len(more.metrics) == 2
    assert more.steps[1][1] <= max(more.steps[0][1], 10.0)
    with pytest.raises(InputError, match="budget"):
        select_metrics(throughput, budget=-1.0)


def test_importance_is_the_growth_of_the_error_on_rows_not_seen(few: TrainingData) -> None:
    kin = replace(few, y=few.X["inst_executed"].to_numpy(float))
    found = importance(train(kin, "forest", n_estimators=20), kin)
    assert next(iter(found)) == "inst_executed"
    assert found["inst_executed"] > 0.3
    assert max(value for name, value in found.items() if name != "inst_executed") < found["inst_executed"] / 2
    assert list(importance(train(kin, "old"), kin, most=1)) == ["ipc"]  # the only metric that it looks at


def test_a_learning_curve_falls_where_there_is_something_to_learn(few: TrainingData) -> None:
    kin = replace(few, y=few.X["inst_executed"].to_numpy(float))
    sizes, errors = learning(kin, "forest", shares=(0.15, 0.9))
    assert sizes[0] < 0.2 * len(kin)
    assert errors[1] < 0.5 * errors[0]
    assert learning(few, "forest", shares=(1e-9,))[0] == [10]  # no fewer than ten rows


@pytest.mark.slow
def test_the_report_is_one_page_that_stands_alone(few: TrainingData) -> None:
    trained = train(few, "boosting")
    page = render(trained, few, folds=2)
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == 4
    for words in (
        "SIMULATED: 120 of 120",
        "Model card",
        "Learning curve",
        "old",
        "Importance",
        "<th>MAE, 1/cycle</th><th>MSE, (1/cycle)²</th>",
        "applications left out (90 %)",
        trained.columns[0],
    ):
        assert words in page
    assert "src=" not in page
    assert "<script" not in page


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="unknown model 'magic'"):
        make_model("magic", IPC)
    with pytest.raises(InputError, match="did you mean"):
        make_problem("icp", "P100")
    with pytest.raises(InputError, match="auto or forest"):
        make_model("mlp", make_problem("memory_bound", "P100", "V100"))
    with pytest.raises(InputError, match="needs two GPUs"):
        make_model("old", make_problem("ipc", "P100"))


def rises(told: list[tuple[float, float]], total: float) -> bool:
    """Whether progress went up to its end, and its number of steps stayed the same."""
    done = [one for one, _ in told]
    return done == sorted(done) and done[-1] == total and {of for _, of in told} == {total}


@pytest.mark.slow
def test_long_computations_tell_how_far_they_are(few: TrainingData) -> None:
    told: list[tuple[float, float]] = []

    def note(done: float, total: float) -> None:
        told.append((done, total))

    trained = train(few, "boosting", on_step=note, max_iter=5)
    assert rises(told, 6)
    told.clear()
    predict_table(trained, own_pairs(40), on_step=note)
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    evaluate(few, ("boosting",), folds=3, options={"boosting": {"max_iter": 5}}, on_step=note)
    assert rises(told, 3 * 4)  # old, scaled, roofline and the model
    told.clear()
    render(trained, few, folds=2, on_step=note)
    assert rises(told, 3)
    assert len(told) > 20
    told.clear()
    select_metrics(few, most=2, candidates=2, budget=1e-9, model="old", folds=2, on_step=note)
    assert max(told) == (4, 4)  # all metrics, the old value alone, with either of two


def test_bars_fill_the_figure_however_many_there_are() -> None:
    for n_names, n_series in ((1, 1), (58, 2), (20, 3)):
        names = [f"application {number}" for number in range(n_names)]
        axes = bars(names, {f"s{i}": [1.0] * n_names for i in range(n_series)}, "error").axes[0]
        low = min(bar.get_y() for bar in axes.patches)
        high = max(bar.get_y() + bar.get_height() for bar in axes.patches)
        bottom, top = axes.get_ylim()
        assert (low - top, bottom - high) == pytest.approx((0.1, 0.1))
