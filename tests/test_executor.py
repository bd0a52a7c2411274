"""The loop: decisions, failures, replays."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_proxima.controllers.baseline import BaselineController
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_total import TotalRiskController
from ase_proxima.errors import InputError, TargetError
from ase_proxima.executor import Criterion, Executor
from ase_proxima.metrics import find_metric
from ase_proxima.runs.memory_store import MemoryStore
from ase_proxima.surrogates.none import NoSurrogate, NoUncertainty
from ase_proxima.testing import NearestFrame
from ase_proxima.training import EveryTraining, LazyTraining, NeverTraining
from ase_proxima.types import Decision, Frame, Prediction, Verdict
from ase_proxima.types.serialisation import state_to_json


def square(x):
    return {"value": float(x[0] ** 2)}


class RowStore(MemoryStore):
    """Keeps the rows and states as well."""

    def __init__(self):
        super().__init__()
        self.rows, self.states, self.records, self.versions = [], [], [], []

    def append(self, frame, record):
        super().append(frame, record)
        self.records.append(dict(record))

    def log(self, row):
        self.rows.append(dict(row))

    def save_state(self, state):
        self.states.append(state)

    def save_model(self, version, surrogate):
        self.versions.append(version)


class Exact(NearestFrame):
    """Predicts the target exactly, at an uncertainty that the test sets."""

    uncertainty = 0.0
    min_frames = 0

    def predict(self, x):
        return Prediction(square(x))

    def measure(self, x, prediction):
        return self.uncertainty


def make(
    controller,
    *,
    target=square,
    surrogate=None,
    uncertainty=None,
    training=None,
    store=None,
    seed=0,
    **options,
):
    surrogate = surrogate or NearestFrame()
    criterion = Criterion("value", find_metric("value")[1], uncertainty or surrogate, controller)
    return Executor(
        target,
        surrogate,
        [criterion],
        training or LazyTraining(),
        store=store or RowStore(),
        seed=seed,
        **options,
    )


def walk(n, seed=0, step=0.05):
    return np.cumsum(np.random.default_rng(seed).normal(0, step, (n, 1)), axis=0)


def play(executor, inputs):
    return [(executor(x)["value"], executor.last_decision) for x in inputs]


CONTROLLERS = st.sampled_from(
    [
        RiskController(0.05, audit_rate=0.1),
        RiskController(0.05, audit_rate=0.1, prior_ratio=0.3),
        TotalRiskController(0.05, audit_rate=0.1, prior_ratio=0.3),
        LinearController(0.05),
        FixedController(0.1),
    ]
)
TRAININGS = st.sampled_from([LazyTraining(), EveryTraining(7), NeverTraining()])


def without_times(rows):
    return [{k: repr(v) for k, v in row.items() if not k.startswith("time")} for row in rows]


@settings(max_examples=30)
@given(
    controller=CONTROLLERS, training=TRAININGS, seed=st.integers(0, 2**32 - 1), walk_seed=st.integers(0, 99)
)
def test_every_decision_replays_bit_for_bit_from_the_seed(controller, training, seed, walk_seed):
    inputs = walk(120, walk_seed)
    surrogates = [NearestFrame(), NearestFrame()]
    for surrogate in surrogates:  # for the policy that uses it as it came
        surrogate.fit([Frame(x, square(x)) for x in walk(3, seed=7)])
    runs = [make(controller, training=training, seed=seed, surrogate=surrogate) for surrogate in surrogates]
    first, second = (play(run, inputs) for run in runs)
    assert first == second
    assert without_times(runs[0].store.rows) == without_times(runs[1].store.rows)
    assert state_to_json(runs[0].states[0]) == state_to_json(runs[1].states[0])


def test_another_seed_audits_other_calls():
    def audits(seed):
        run = make(TotalRiskController(0.05, audit_rate=0.3, prior_ratio=0.1), seed=seed)
        return [decision is Decision.AUDIT for _, decision in play(run, walk(200))]

    assert audits(1) == audits(1)
    assert audits(1) != audits(2)
    assert sum(audits(1)) > 10


@pytest.mark.parametrize("uncertainty", [math.nan, math.inf])
@pytest.mark.parametrize(
    "controller",
    [
        RiskController(0.05, prior_ratio=1.0),
        TotalRiskController(0.05, prior_ratio=1.0),
        LinearController(0.05, threshold_init=9.0),
        FixedController(math.inf),
    ],
)
def test_an_uncertainty_that_is_not_finite_runs_the_target(uncertainty, controller):
    surrogate = Exact()
    run = make(controller, surrogate=surrogate)
    run(np.array([0.5]))
    assert run.last_decision in (Decision.SURROGATE, Decision.AUDIT)
    surrogate.uncertainty = uncertainty
    run(np.array([0.7]))
    assert run.last_decision is Decision.TARGET


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_runs_the_target(value):
    class Broken(Exact):
        def predict(self, x):
            return Prediction({"value": value})

    run = make(FixedController(math.inf), surrogate=Broken())
    assert run(np.array([3.0])) == {"value": 9.0}
    assert run.last_decision is Decision.TARGET


def test_the_same_input_again_is_no_new_call():
    run = make(TotalRiskController(0.05, audit_rate=0.3, prior_ratio=0.1))
    for x in walk(50):
        first = run(x)
        n_calls, decision = run.stats.n_calls, run.last_decision
        assert run(x.copy()) == first
        assert (run.stats.n_calls, run.last_decision) == (n_calls, decision)
    assert run.stats.n_calls == 50


def test_counts_add_up_and_rows_tell_them():
    store = RowStore()
    run = make(TotalRiskController(0.01, audit_rate=0.3, prior_ratio=0.3), store=store)
    play(run, walk(300))
    stats = run.stats
    assert stats.n_calls == stats.n_target + stats.n_audit + stats.n_surrogate == 300
    for decision in Decision:
        count = sum(row["decision"] == decision.value for row in store.rows)
        assert count == getattr(stats, f"n_{decision.value}") > 10
    assert stats.n_frames == stats.n_target_runs == len(store.frames)
    assert stats.share_trusted == pytest.approx((stats.n_audit + stats.n_surrogate) / 300)
    assert [row["step"] for row in store.rows] == list(range(300))
    assert stats.model_version == len(store.versions) == store.versions[-1]


def test_an_audit_returns_the_target_and_tells_the_error():
    store = RowStore()
    run = make(TotalRiskController(0.05, audit_rate=0.5, prior_ratio=0.1), store=store)
    for x in walk(200):
        result = run(x)
        if run.last_decision is Decision.AUDIT:
            assert result == square(x)
            assert store.rows[-1]["error"] >= 0
            assert store.rows[-1]["audit_probability"] == 0.5
        elif run.last_decision is Decision.SURROGATE:
            assert store.rows[-1]["error"] is None


class Auditing(FixedController):
    """Trusts everything, and audits with a probability of its own."""

    def __init__(self, probability):
        super().__init__(math.inf)
        object.__setattr__(self, "probability", probability)

    def decide(self, state, uncertainty):
        return Verdict(uncertainty < math.inf, self.probability, math.inf)


@pytest.mark.parametrize("order", [(0.0, 1.0), (1.0, 0.0)])
def test_of_several_bounds_the_most_careful_one_sets_the_probability_of_an_audit(order):
    surrogate = NearestFrame()
    criteria = [
        Criterion(name, find_metric("value")[1], surrogate, Auditing(probability))
        for name, probability in zip("ab", order, strict=True)
    ]
    store = RowStore()
    run = Executor(square, surrogate, criteria, LazyTraining(), store=store)
    decisions = [decision for _, decision in play(run, walk(30))]
    assert decisions == [Decision.TARGET] + [Decision.AUDIT] * 29
    assert {row["audit_probability"] for row in store.rows[1:]} == {1.0}


def test_the_row_shows_what_the_decision_rests_on():
    store = RowStore()
    run = make(RiskController(0.05, prior_ratio=0.3, audit_rate=0.1), store=store)
    play(run, walk(300))
    for row in store.rows:
        trusted = row["uncertainty"] < row["threshold"]
        assert trusted == (row["decision"] != "target")


def test_the_baseline_runs_the_target_alone():
    run = make(BaselineController(), surrogate=NoSurrogate(), uncertainty=NoUncertainty())
    assert play(run, walk(20)) == [(float(x[0] ** 2), Decision.TARGET) for x in walk(20)]
    assert run.stats.time_surrogate == run.stats.time_training == 0.0
    assert run.stats.error_upper == 0.0


def test_times_are_attributed_to_who_spent_them():
    ticks = itertools.count()
    clock = type("Clock", (), {"now": 0.0})()

    class Slow(NearestFrame):
        def fit(self, frames):
            super().fit(frames)
            clock.now += 100.0

        def predict(self, x):
            clock.now += 10.0
            return super().predict(x)

        def measure(self, x, prediction):
            clock.now += 1.0
            return super().measure(x, prediction)

    def target(x):
        clock.now += 1000.0
        next(ticks)
        return square(x)

    surrogate = Slow()
    run = make(
        FixedController(0.1),
        target=target,
        surrogate=surrogate,
        training=EveryTraining(5),
        clock=lambda: clock.now,
    )
    play(run, walk(100))
    stats = run.stats
    assert stats.time_target == 1000.0 * next(ticks)
    assert stats.time_training == 200.0 * stats.model_version  # it is its own uncertainty, fitted twice
    assert stats.time_surrogate == 10.0 * stats.time_uncertainty
    assert stats.time_decision == 0.0


def test_two_bounds_are_held_together():
    surrogate = Exact()
    loose, strict = FixedController(1.0), FixedController(0.1)
    metric = find_metric("value")[1]
    run = Executor(
        square,
        surrogate,
        [Criterion("loose", metric, surrogate, loose), Criterion("strict", metric, surrogate, strict)],
        LazyTraining(),
        store=RowStore(),
    )
    surrogate.uncertainty = 0.05
    run(np.array([1.0]))
    assert run.last_decision is Decision.SURROGATE
    surrogate.uncertainty = 0.5
    run(np.array([2.0]))
    assert run.last_decision is Decision.TARGET
    assert run.store.rows[-1]["threshold_loose"] == 1.0
    assert run.store.rows[-1]["error_strict"] == 0.0
    assert run.stats.threshold == {"loose": 1.0, "strict": 0.1}


class Flaky:
    """Fails on demand."""

    def __init__(self, *outcomes):
        self.outcomes, self.n_runs = list(outcomes), 0

    def __call__(self, x):
        self.n_runs += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return square(x) if outcome is None else {"value": outcome}


@pytest.mark.parametrize("outcome", [RuntimeError("SCF did not converge"), math.nan, math.inf])
def test_a_failed_run_is_repeated(outcome):
    target = Flaky(outcome)
    run = make(FixedController(0.0), target=target)
    assert run(np.array([2.0])) == {"value": 4.0}
    assert target.n_runs == 2
    assert run.stats.n_frames == run.stats.n_calls == 1


@pytest.mark.parametrize("outcome", [RuntimeError("SCF did not converge"), math.nan, math.inf])
def test_a_target_that_keeps_failing_is_an_error_that_names_the_saved_input(outcome, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = make(FixedController(0.0), target=Flaky(None, outcome, outcome))
    run(np.array([1.0]))
    with pytest.raises(
        TargetError, match=r"failed at call 1, 2 times \(.*\): the structure is in .*\.npy"
    ) as raised:
        run(np.array([2.0]))
    place = str(raised.value).rsplit(" ", 1)[1]
    assert np.load(place).tolist() == [2.0]
    if isinstance(outcome, Exception):
        assert "SCF did not converge" in str(raised.value)
        assert raised.value.__cause__ is outcome
    assert [frame.x.tolist() for frame in run.store.frames] == [[1.0]]
    assert run.stats.n_calls == 1
    assert run(np.array([2.0])) == {"value": 4.0}
    assert run.stats.n_calls == 2


def test_bad_input_is_not_retried():
    target = Flaky(InputError("no such basis"))
    with pytest.raises(InputError, match="no such basis"):
        make(FixedController(0.0), target=target)(np.array([1.0]))
    assert target.n_runs == 1


def test_a_failed_audit_is_not_answered_by_the_surrogate_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expected = play(make(TotalRiskController(0.05, audit_rate=0.3, prior_ratio=0.1)), walk(200))
    failing = set()

    def target(x):
        if (key := x.tobytes()) not in failing:
            failing.add(key)
            raise RuntimeError("fails once at every input")
        return square(x)

    run = make(TotalRiskController(0.05, audit_rate=0.3, prior_ratio=0.1), target=target, retries=0)
    decided = []
    for x in walk(200):
        try:
            value = run(x)["value"]
        except TargetError:
            value = run(x)["value"]
        decided.append((value, run.last_decision))
    assert decided == expected
    assert len(failing) == run.stats.n_target_runs


def test_a_rejected_failure_leaves_its_random_number_to_no_other_input(tmp_path, monkeypatch):
    """Each input has the number that follows in the stream, after a resume too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    inputs, probability = walk(60), 0.3

    def fail(x):
        raise RuntimeError("no audit converges")

    def audited(run, x):
        try:
            run(x)
        except TargetError:
            return True
        return run.last_decision is Decision.AUDIT

    def new(store, seed, target):
        options = {"training": NeverTraining(), "retries": 0, "store": store, "seed": seed}
        return make(Auditing(probability), target=target, surrogate=Exact(), **options)

    expected = (np.random.default_rng(4).random(60) < probability).tolist()
    run = new(RowStore(), 4, fail)
    assert [audited(run, x) for x in inputs[:45]] == expected[:45]
    assert sum(expected[:45]) >= 5
    assert not expected[44]
    state = run.store.states[-1]
    rows = run.store.rows[state["counts"]["n_calls"] :]
    resumed = new(RowStore(), 99, square)
    resumed.restore(state, [{k: str(v) for k, v in row.items()} for row in rows])
    assert [audited(resumed, x) for x in inputs[45:]] == expected[45:]


def test_a_run_goes_on_from_any_checkpoint():
    """Checkpoint and rows after it give back decisions, counts and state, whatever the call at which it ended."""
    inputs = walk(150, seed=3)
    controller = RiskController(0.05, prior_ratio=0.3, audit_rate=0.1)
    whole = make(controller, store=RowStore(), seed=5)
    decided = play(whole, inputs)
    for end in range(1, 150, 7):
        part = make(controller, store=RowStore(), seed=5)
        play(part, inputs[:end])
        state = part.store.states[-1]
        rows = part.store.rows[state["counts"]["n_calls"] :]
        store = RowStore()
        store.frames = list(part.store.frames[: state["n_frames"]])
        resumed = make(controller, store=store, seed=99)
        resumed.surrogate.fit(store.frames[: state["counts"]["n_trained"]])
        resumed.restore(state, [{k: str(v) for k, v in row.items()} for row in rows])
        assert resumed.stats.n_calls == end
        assert resumed.last_decision is decided[end - 1][1]
        assert resumed(inputs[end - 1])["value"] == decided[end - 1][0]
        assert play(resumed, inputs[end:]) == decided[end:]
        assert state_to_json(resumed.states[0]) == state_to_json(whole.states[0])
