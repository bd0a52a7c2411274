"""The arithmetic of what calls cost, by hand."""

import math

import pytest

from ase_proxima.executor.costs import (
    Costs,
    _complain,
    add_call,
    complain_of_distrust,
    is_worthwhile,
    long_run_speedup,
    present_speedup,
)
from ase_proxima.types import Decision, ErrorsSeen


def times(target=0.0, surrogate=0.0, uncertainty=0.0, training=0.0, decision=0.0):
    return {
        "time_target": target,
        "time_surrogate": surrogate,
        "time_uncertainty": uncertainty,
        "time_training": training,
        "time_decision": decision,
    }


def test_a_target_call_is_counted_by_hand():
    costs = add_call(Costs(), Decision.TARGET, 1.0, times(2.0, 0.1, 0.2, 0.4, 0.8))
    assert costs == Costs(1, (2.0,), (pytest.approx(0.3),), pytest.approx(1.5), 1.0, 0.0, 0, None)


def test_an_answer_of_the_surrogate_takes_the_decision_with_it():
    costs = add_call(Costs(), Decision.SURROGATE, 0.25, times(surrogate=0.1, uncertainty=0.2, decision=0.8))
    assert costs == Costs(1, (), (pytest.approx(1.1),), pytest.approx(1.1), 0.0, 0.25, 1, None)


def test_an_audit_is_trusted_and_runs_the_target():
    costs = add_call(Costs(), Decision.AUDIT, 0.5, times(2.0, 0.1, decision=0.8))
    assert costs == Costs(1, (2.0,), (0.1,), pytest.approx(0.9), 1.0, 0.5, 1, None)


def test_means_are_those_of_all_calls_so_far():
    costs = Costs()
    for decision, probability, target in (
        (Decision.TARGET, 1.0, 3.0),
        (Decision.SURROGATE, 0.2, 0.0),
        (Decision.AUDIT, 0.4, 3.0),
        (Decision.SURROGATE, 0.6, 0.0),
    ):
        costs = add_call(costs, decision, probability, times(target, training=target))
    assert costs.share_target == pytest.approx(0.5)
    assert costs.share_audit == pytest.approx(0.4)
    assert costs.own == pytest.approx(1.5)
    assert costs.n_trusted == 3
    assert costs.surrogate == ()  # no prediction was timed


def test_after_two_hundred_calls_a_call_weighs_one_in_two_hundred():
    before = Costs(n_calls=500, own=1.0, share_target=0.5, share_audit=0.5, n_trusted=500)
    costs = add_call(before, Decision.AUDIT, 1.0, times(3.0))
    assert costs.share_target == pytest.approx(0.5 + 0.5 / 200)
    assert costs.share_audit == pytest.approx(0.5 + 0.5 / 200)
    assert costs.own == pytest.approx(1.0 - 1.0 / 200)
    assert (costs.n_calls, costs.n_trusted) == (501, 501)


def test_the_latest_thirty_one_timings_are_kept():
    costs = Costs()
    for k in range(1, 41):
        costs = add_call(costs, Decision.TARGET, 1.0, times(float(k), 0.001 * k))
    assert costs.target == tuple(float(k) for k in range(10, 41))
    assert costs.surrogate == tuple(0.001 * k for k in range(10, 41))


def test_speedups_by_hand():
    costs = Costs(
        n_calls=9, target=(1.0, 4.0, 100.0), surrogate=(0.1,), own=0.3, share_target=0.25, share_audit=0.1
    )
    assert present_speedup(costs) == pytest.approx(4.0 / (0.3 + 1.0))
    assert long_run_speedup(costs) == pytest.approx(4.0 / (0.1 + 0.1 * (4.0 + 0.2 / 0.25)))
    quick = Costs(target=(4.0,), surrogate=(0.5,), own=0.3, share_target=0.25, share_audit=0.1)
    assert long_run_speedup(quick) == pytest.approx(4.0 / (0.5 + 0.1 * 4.0))
    never = Costs(target=(4.0,), surrogate=(0.5,), own=0.7, share_target=0.0, share_audit=0.1)
    assert long_run_speedup(never) == pytest.approx(4.0 / (0.5 + 0.1 * 4.0))


def test_speedups_are_unknown_until_both_were_timed():
    assert math.isnan(present_speedup(Costs(surrogate=(1.0,), own=1.0)))
    assert math.isnan(long_run_speedup(Costs(surrogate=(1.0,))))
    assert math.isnan(long_run_speedup(Costs(target=(1.0,))))


@pytest.mark.parametrize(
    ("n_calls", "n_target", "n_surrogate", "verdict"),
    [
        (49, 10, 10, False),
        (49, 9, 10, None),
        (49, 10, 9, None),
        (50, 3, 10, False),
        (50, 2, 10, None),
        (50, 3, 9, None),
    ],
)
def test_a_verdict_needs_so_many_timings(n_calls, n_target, n_surrogate, verdict):
    assert is_worthwhile(Costs(n_calls, n_target * (1.0,), n_surrogate * (1.26,))) is verdict


def test_a_margin_of_a_quarter_is_left():
    assert is_worthwhile(Costs(20, 10 * (1.0,), 10 * (1.25,))) is True
    assert is_worthwhile(Costs(20, 10 * (1.0,), 10 * (1.2501,))) is False


def test_complaints_come_at_every_tenth_call_and_once():
    slow = Costs(n_calls=18, target=12 * (1.0,), surrogate=12 * (2.0,))
    at_19 = add_call(slow, Decision.TARGET, 1.0, times(1.0, 2.0))
    assert at_19.complaint is None
    at_20 = add_call(at_19, Decision.TARGET, 1.0, times(1.0, 2.0))
    assert at_20.complaint is not None
    assert at_20.complaint.startswith(
        "after 20 calls, the target takes 1e+03 ms a call and the surrogate 2e+03 ms: "
    )
    later = at_20
    for _ in range(10):
        later = add_call(later, Decision.TARGET, 1.0, times(1.0, 2.0))
    assert later.complaint == at_20.complaint
    fine = Costs(n_calls=19, target=12 * (2.0,), surrogate=12 * (1.0,))
    assert add_call(fine, Decision.TARGET, 1.0, times(2.0, 1.0)).complaint is None


def test_the_complaint_names_both_times_in_ms():
    assert _complain(Costs(12, (0.0001, 0.0003, 0.0002), (0.002,))) == (
        "after 12 calls, the target takes 0.2 ms a call and the surrogate 2 ms: use the target itself, "
        'or set when_not_worthwhile="ignore" if it only stands in for a slower one'
    )


def test_distrust_is_told_by_the_bound_that_is_furthest_away():
    seen = {"energy": ErrorsSeen(90, 0.3, 1.0, 2.0), "force_max": ErrorsSeen(90, 0.9, 1.0, 2.0)}
    told = complain_of_distrust(100, {"energy": 0.1, "force_max": 0.1}, seen)
    assert told == (
        "nothing was trusted in 100 calls: force_max errors seen: median 0.9 eV/Å, bound 0.1: this surrogate "
        "cannot reach the bound here: raise it, or try another surrogate"
    )
    assert "energy errors seen" in complain_of_distrust(100, {"energy": 0.01, "force_max": 0.1}, seen)


def test_errors_below_the_bound_blame_the_uncertainty():
    for median_error, blamed in ((0.1, "the uncertainty does not tell"), (0.11, "cannot reach the bound")):
        told = complain_of_distrust(100, {"mine": 0.1}, {"mine": ErrorsSeen(90, median_error, 1.0, 2.0)})
        assert blamed in told
    assert "median 0.11, bound 0.1:" in told  # an unknown unit leaves no gap
