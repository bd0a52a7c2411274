"""The cost model, and what follows from its verdict."""

import math
import time
import warnings

import numpy as np
import pytest
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima import Decision, InputError, NotWorthwhileWarning, ProximaCalculator, proxima
from ase_proxima.apps.monte_carlo_run import RunSettings
from ase_proxima.apps.monte_carlo_run import run as run_monte_carlo
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.executor import Criterion, Executor
from ase_proxima.executor.costs import Costs, add_call, is_worthwhile, long_run_speedup, present_speedup
from ase_proxima.metrics import find_metric
from ase_proxima.reports.report import report_rows, report_run
from ase_proxima.runs.memory_store import MemoryStore
from ase_proxima.runs.run_data import read_run
from ase_proxima.testing import HarmonicWells, NearestFrame
from ase_proxima.training import LazyTraining
from ase_proxima.types.serialisation import state_from_json, state_to_json
from proxima_cli.proxima_mc import _close

WATER = molecule("H2O")
TIMES = ("time_target", "time_surrogate", "time_uncertainty", "time_training", "time_decision")


def spend(*seconds):
    return dict(zip(TIMES, seconds, strict=True))


def count(n, decision=Decision.TARGET, costs=None, probability=1.0, target=1.0, surrogate=0.1, decide=0.0):
    costs = costs or Costs()
    for _ in range(n):
        ran = decision is not Decision.SURROGATE
        times = spend(target if ran else 0.0, surrogate, 0.0, 0.0, decide)
        costs = add_call(costs, decision, probability, times)
    return costs


def test_the_present_speedup_follows_the_share_of_target_calls():
    costs = count(200, surrogate=0.125)
    assert present_speedup(costs) == pytest.approx(1 / 1.125)
    for _ in range(400):  # every fourth call from here on
        costs = count(1, Decision.TARGET, costs, surrogate=0.125)
        costs = count(3, Decision.SURROGATE, costs, probability=0.01, surrogate=0.125)
    assert present_speedup(costs) == pytest.approx(1 / (0.125 + 0.25), rel=0.01)


def test_the_long_run_knows_audits_and_predictions_only():
    costs = count(20, surrogate=0.001)
    costs = count(1000, Decision.SURROGATE, costs, probability=0.004, surrogate=0.001, decide=0.005)
    assert costs.share_audit == pytest.approx(0.004)
    assert long_run_speedup(costs) == pytest.approx(1 / (0.006 + 0.004), rel=0.01)


def test_training_counts_where_the_target_ran():
    costs = add_call(Costs(), Decision.AUDIT, 1.0, spend(1.0, 0.25, 0.25, 0.5, 0.0))
    assert present_speedup(costs) == 1.0 / (1.0 + 1.0)
    assert long_run_speedup(costs) == 1.0 / (0.5 + 1.0 * (1.0 + 0.5))


SECONDS = st.just(0.0) | st.floats(1e-9, 1e3)
"""What a clock with nanoseconds reads."""


@given(st.lists(st.tuples(st.sampled_from(Decision), st.floats(0, 1), *[SECONDS] * 5), max_size=60))
def test_projections_are_positive_or_unknown_and_survive_json(calls):
    costs = Costs()
    for decision, probability, *seconds in calls:
        costs = add_call(costs, decision, probability, spend(*seconds))
    assert 0 <= costs.share_target <= 1 + 1e-9
    assert len(costs.target) <= 31
    if costs.target and min(costs.target) > 0 and costs.surrogate:
        assert present_speedup(costs) >= 0
        assert 0 <= long_run_speedup(costs) < math.inf
    assert state_from_json(Costs(), state_to_json(costs)) == costs


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_the_verdict_compares_one_answer_with_the_other(target, surrogate):
    assert is_worthwhile(count(9, target=target, surrogate=surrogate)) is None
    verdict = is_worthwhile(count(10, target=target, surrogate=surrogate))
    assert verdict is (not surrogate > 1.25 * target)


def test_a_few_slow_calls_do_not_count():
    """The machine held up two of five predictions, and the verdict stays what it was."""
    costs = Costs()
    for k in range(30):
        costs = add_call(costs, Decision.TARGET, 1.0, spend(0.01, 5.0 if k % 5 < 2 else 0.001, 0.0, 0.0, 0.0))
    assert is_worthwhile(costs) is True
    assert costs.complaint is None


def test_a_target_that_hardly_runs_is_judged_from_the_fiftieth_call():
    costs = count(3, target=0.001, surrogate=0.1)
    costs = count(46, Decision.SURROGATE, costs, probability=0.02, surrogate=0.1)
    assert costs.n_calls == 49
    assert is_worthwhile(costs) is None
    assert is_worthwhile(count(1, Decision.SURROGATE, costs, probability=0.02, surrogate=0.1)) is False


class Clock:
    """Seconds that the parts themselves spend."""

    now = 0.0

    def __call__(self):
        return self.now


class RowStore(MemoryStore):
    """Keeps the rows and states as well."""

    def __init__(self):
        super().__init__()
        self.rows, self.states = [], []

    def log(self, row):
        self.rows.append(dict(row))

    def save_state(self, state):
        self.states.append(state)


class Slow(NearestFrame):
    """Takes a tenth of a second for a prediction."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.n_predictions = clock, 0

    def predict(self, x):
        self.clock.now += 0.1
        self.n_predictions += 1
        return super().predict(x)


def make(when, target_s, store=None, threshold=0.02, bound=math.nan):
    clock = Clock()

    def target(x):
        clock.now += target_s
        return {"value": float(x[0] ** 2)}

    surrogate = Slow(clock)
    metric = find_metric("value")[1]
    return Executor(
        target,
        surrogate,
        [Criterion("value", metric, surrogate, FixedController(threshold), bound)],
        LazyTraining(),
        store=store or RowStore(),
        seed=1,
        when_not_worthwhile=when,
        clock=clock,
    )


def play(run, inputs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answers = [(run(x)["value"], run.last_decision) for x in inputs]
    assert all(warning.category is NotWorthwhileWarning for warning in caught)
    return answers, [str(warning.message) for warning in caught]


INPUTS = np.random.default_rng(0).uniform(0, 2, (200, 1))


def test_a_cheap_target_is_one_warning_and_changes_no_decision():
    warned, ignored = make("warn", 0.01), make("ignore", 0.01)
    answers, messages = play(warned, INPUTS)
    assert messages == [
        "after 20 calls, the target takes 10 ms a call and the surrogate 100 ms: use the target itself, or set "
        'when_not_worthwhile="ignore" if it only stands in for a slower one'
    ]
    assert warned.stats.notes == (messages[0],)
    assert warned.stats.speedup_present < warned.stats.speedup_long_run < 0.2
    assert play(ignored, INPUTS) == (answers, [])
    assert ignored.stats.notes == ()
    assert ignored.stats.speedup_present == warned.stats.speedup_present


def test_an_expensive_target_is_no_warning():
    run = make("warn", 10.0)
    answers, messages = play(run, INPUTS)
    assert messages == []
    assert answers == play(make("ignore", 10.0), INPUTS)[0]
    stats = run.stats
    total = stats.time_target + stats.time_surrogate + stats.time_uncertainty + stats.time_training
    assert 10.0 * stats.n_calls / total == pytest.approx(stats.speedup_present, rel=0.01)
    assert stats.speedup_long_run == pytest.approx(10.0 / 0.1)


def test_a_resumed_run_does_not_warn_again():
    part = make("warn", 0.01)
    _, messages = play(part, INPUTS[:30])
    assert len(messages) == 1
    state = part.store.states[-1]
    store = RowStore()
    store.frames = list(part.store.frames[: state["n_frames"]])
    resumed = make("warn", 0.01, store)
    resumed.surrogate.fit(store.frames[: state["counts"]["n_trained"]])
    rows = part.store.rows[state["counts"]["n_calls"] :]
    resumed.restore(state, [{k: str(v) for k, v in row.items()} for row in rows])
    assert play(resumed, INPUTS[29:])[1] == []
    assert resumed.stats.notes == (messages[0],)


def distrust(when, bound):
    """An executor that trusts nothing, with a target too slow for any other complaint."""
    return make(when, 10.0, threshold=0.0, bound=bound)


def test_a_run_that_trusts_nothing_says_once_what_errors_were_seen():
    run = distrust("warn", 1e-9)
    _, messages = play(run, INPUTS)
    assert len(messages) == 1
    assert messages[0].startswith("nothing was trusted in 100 calls: value errors seen: median ")
    assert messages[0].endswith(
        "bound 1e-09: this surrogate cannot reach the bound here: raise it, or try another surrogate"
    )
    (note,) = run.stats.notes
    assert note.startswith("nothing was trusted in 200 calls")
    seen = run.stats.errors_seen["value"]
    assert f"median {seen.median:.2g}," in note
    assert (seen.n, seen.largest >= seen.median > 1e-9) == (199, True)


def test_where_the_errors_are_small_the_uncertainty_is_blamed():
    (message,) = play(distrust("warn", 10.0), INPUTS)[1]
    assert "the uncertainty does not tell the good answers from the bad" in message


def test_ignoring_covers_what_is_never_trusted_too():
    run = distrust("ignore", 1e-9)
    assert play(run, INPUTS)[1] == []
    assert run.stats.notes == ()


class Sleepy(NearestFrame):
    """Takes its time for a prediction."""

    n_predictions = 0

    def predict(self, x):
        time.sleep(0.004)
        self.n_predictions += 1
        return super().predict(x)


def shaken(n):
    rng = np.random.default_rng(0)
    for _ in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, 0.05, (3, 3))
        yield atoms


def ask(calc, inputs):
    for atoms in inputs:
        atoms.calc = calc
        atoms.get_potential_energy()


def parts():
    nearest = Sleepy()
    return {"surrogate": nearest, "uncertainty": nearest, "controller": FixedController(0.05)}


def test_a_calculator_warns_and_reports_its_complaint(tmp_path):
    settings = {"error_bound": 0.05, "error_metric": "energy"}
    calc = ProximaCalculator(HarmonicWells(WATER.positions), run_dir=tmp_path / "run", **settings, **parts())
    with pytest.warns(NotWorthwhileWarning, match="use the target itself"):
        ask(calc, shaken(40))
    notes, speedup = calc.stats.notes, calc.stats.speedup_present
    calc.close()
    report = report_run(read_run(tmp_path / "run"))
    assert set(notes) < set(report["notes"])
    assert report["speedup_present"] == pytest.approx(
        speedup, rel=1e-12
    )  # as old versions of pandas read numbers
    shown = dict(row for section in report_rows(report) for row in section)
    assert shown["speedup, projected"].startswith(f"{speedup:.2f}x at the present share")


def test_another_reaction_is_another_run(tmp_path):
    settings = {"error_bound": 0.05, "error_metric": "energy"}
    calc = ProximaCalculator(HarmonicWells(WATER.positions), run_dir=tmp_path / "run", **settings, **parts())
    calc.close()
    with pytest.raises(InputError, match="made with when_not_worthwhile = 'warn', now it is 'ignore'"):
        ProximaCalculator.resume(
            tmp_path / "run", HarmonicWells(WATER.positions), when_not_worthwhile="ignore", **parts()
        )


def test_an_unknown_reaction_is_refused():
    message = "when_not_worthwhile must be one of warn, ignore, got 'panic'"
    with pytest.raises(InputError, match=message):
        ProximaCalculator(HarmonicWells(WATER.positions), error_bound=0.05, when_not_worthwhile="panic")
    with pytest.raises(InputError, match=message):
        proxima(error_bound=0.05, when_not_worthwhile="panic")(abs)


def test_a_decorated_function_warns():
    nearest = Sleepy()

    @proxima(error_bound=0.01, surrogate=nearest, uncertainty=nearest)
    def square(x):
        return x * x

    with pytest.warns(NotWorthwhileWarning, match="after 20 calls"):
        answers = [square(x) for x in np.linspace(0, 1, 50)]
    assert answers[0] == 0.0


def test_proxima_mc_prints_a_note_as_one_line_after_its_table(capsys, tmp_path):
    summary = {
        "temperature_K": 500.0,
        "strategy": "proxima",
        "n_calls": 10,
        "notes": ("the target is cheap",),
    }
    _close({tmp_path: summary}, tmp_path, as_json=False, plot=False)
    assert capsys.readouterr().err == f"note: {tmp_path}: the target is cheap\n"


def test_a_monte_carlo_run_keeps_the_complaint_in_its_notes(tmp_path, monkeypatch):
    (tmp_path / "cheap_water.py").write_text(
        "def water(atoms):\n    return {'energy': float((atoms.positions**2).sum()), 'forces': -2 * atoms.positions}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ase_proxima.executor.costs.MARGIN", 0.0)  # however fast the machine
    settings = RunSettings("H2O", 500.0, 0.01, 1, "cheap_water:water", "proxima", 0.05)
    summary = run_monte_carlo(settings, 60, tmp_path / "run")
    assert [note for note in summary["notes"] if "use the target itself" in note]
    assert set(summary["notes"]) < set(report_run(read_run(tmp_path / "run"))["notes"])  # on the chain, too
