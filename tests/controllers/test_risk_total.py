"""The inequality that the total-risk controller keeps for any inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.controllers.confidence import MeanError, observe_error, upper_limit
from ase_proxima.controllers.risk_total import TotalRiskController, excess_limit
from ase_proxima.types import Observation, Verdict

numbers = st.floats(0, 1e3) | st.sampled_from([0.0, 1e9, math.inf])


def drive(controller, calls, rng):
    """Play calls (uncertainty, error) and return the final state and `s Z e / p` with capped errors, steered only."""
    state, terms = controller.init(), []
    for u, e in calls:
        verdict = controller.decide(state, u)
        trusted, p = verdict.trusts, verdict.audit_probability
        audited = rng.random() < p
        steered = not math.isnan(state.gain)
        state = controller.observe(state, Observation(u, trusted, e if audited else None, p, 1))
        if steered:
            terms.append(min(e, controller.cap * controller.error_bound) / p if trusted and audited else 0.0)
    return state, terms


def assert_inequality(controller, state, terms):
    for n in range(1, len(terms) + 1):
        limit = excess_limit(
            state.threshold_start,
            state.gain,
            controller.cap * controller.error_bound,
            controller.audit_rate,
            n,
        )
        assert sum(terms[:n]) / n <= controller.error_bound + limit * (1 + 1e-9) + 1e-12


@given(
    calls=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=200),
    seed=st.integers(0, 2**32 - 1),
    bound=st.floats(1e-3, 10),
    rate=st.floats(0.01, 1.0),
    ratio=st.floats(0.01, 100),
)
def test_the_inequality_holds_for_any_sequence(calls, seed, bound, rate, ratio):
    controller = TotalRiskController(bound, audit_rate=rate, prior_ratio=ratio)
    state, terms = drive(controller, calls, np.random.default_rng(seed))
    assert len(terms) == len(calls)
    assert_inequality(controller, state, terms)


@given(calls=st.lists(st.tuples(numbers, numbers), min_size=30, max_size=200), seed=st.integers(0, 99))
def test_it_holds_after_a_gain_that_was_fixed_by_data(calls, seed):
    controller = TotalRiskController(0.1, audit_rate=0.1, warmup=3)
    state, terms = drive(controller, calls, np.random.default_rng(seed))
    if terms:
        assert_inequality(controller, state, terms)


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_it_holds_against_an_adversary_that_sees_the_state(rate, seed):
    """The adversary errs as much as it can while trusted, and is harmless while a debt is paid."""
    controller = TotalRiskController(0.05, audit_rate=rate, prior_ratio=1.0)
    rng = np.random.default_rng(seed)
    state, terms, errors = controller.init(), [], []
    for _ in range(5000):
        u = 0.999 * state.threshold if state.threshold > 0 else 0.0
        trusted = controller.decide(state, u).trusts
        e = 1e6 if trusted else 0.0
        audited = rng.random() < (rate if trusted else 1.0)
        state = controller.observe(
            state, Observation(u, trusted, e if audited else None, rate if trusted else 1.0, 1)
        )
        capped = min(e, controller.cap * controller.error_bound)
        terms.append(capped / rate if trusted and audited else 0.0)
        errors.append(capped if trusted else 0.0)
    assert_inequality(controller, state, terms)
    assert state.spent == pytest.approx(sum(terms))
    limit = excess_limit(0.05, state.gain, 1.0, rate, 5000)
    deviation = (
        np.sqrt(sum(errors) * (1 - rate) / rate) / 5000
    )  # of the estimate from the mean itself, by chance
    assert np.mean(errors) < 0.05 + limit + 4 * deviation


def test_the_true_mean_meets_the_bound_and_uses_it():
    controller = TotalRiskController(0.05, audit_rate=0.1, prior_ratio=1.0, margin=1.0)
    rng = np.random.default_rng(1)
    state, errors = controller.init(), []
    for _ in range(20_000):
        u = rng.lognormal(-2.0)
        e = u * rng.exponential()
        trusted = controller.decide(state, u).trusts
        audited = trusted and rng.random() < 0.1
        seen = e if audited or not trusted else None
        state = controller.observe(state, Observation(u, trusted, seen, 0.1 if trusted else 1.0, 1))
        errors.append(e if trusted else 0.0)
    assert 0.04 < np.mean(errors) < 0.055


def test_a_debt_is_not_forgiven():
    controller = TotalRiskController(0.1, audit_rate=0.5, prior_ratio=1.0, margin=1.0)
    state = controller.observe(controller.init(), Observation(0.05, True, 1e9, 0.5, 1))
    assert state.threshold == pytest.approx(0.1 - 0.5 * (2.0 / 0.5 - 0.1))
    assert not controller.decide(state, 0.0).trusts
    for _ in range(36):
        state = controller.observe(state, Observation(0.05, False, 0.0, 1.0, 1))
    assert not controller.decide(state, 0.0).trusts
    for _ in range(2):
        state = controller.observe(state, Observation(0.05, False, 0.0, 1.0, 1))
    assert controller.decide(state, 0.0).trusts


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, math.nan])
def test_a_rate_that_sees_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="audit_rate"):
        TotalRiskController(0.1, audit_rate=rate)


def test_what_is_chosen_where_nothing_is_said():
    assert TotalRiskController(1.0) == TotalRiskController(
        1.0, audit_rate=0.02, prior_ratio=None, margin=0.9, warmup=10, cap=20.0, spread=5.0, delta=0.05
    )


def trusted(uncertainty, error, probability):
    return Observation(uncertainty, True, error, probability, 1)


def test_a_step_is_the_gain_times_what_the_audit_weighs_above_the_margin():
    controller = TotalRiskController(0.1, audit_rate=0.25, prior_ratio=0.4, margin=0.8, cap=5.0, spread=1.5)
    start = controller.init()
    assert (start.threshold, start.threshold_start, start.gain, start.n_steered) == (0.25, 0.25, 0.625, 0)
    assert controller.decide(start, 0.2) == Verdict(True, 0.25, 0.25, 0.4)
    assert controller.decide(start, 0.25) == Verdict(False, 1.0, 0.25, 0.4)
    seen = controller.observe(start, trusted(0.2, 0.06, 0.5))
    assert seen.threshold == pytest.approx(0.25 - 0.625 * (0.06 / 0.5 - 0.8 * 0.1), rel=1e-12)
    assert (seen.n_steered, seen.spent) == (1, 0.12)
    unseen = controller.observe(seen, trusted(0.2, None, 0.25))
    assert unseen.threshold == pytest.approx(seen.threshold + 0.625 * 0.08, rel=1e-12)
    assert (unseen.n_steered, unseen.spent) == (2, 0.12)
    capped = [controller.observe(start, trusted(0.2, error, 0.5)) for error in (0.5, 0.7, math.nan, math.inf)]
    assert {state.spent for state in capped} == {0.5 / 0.5}
    flagged = controller.observe(start, Observation(0.4, False, 0.3, 1.0, 1))
    assert (flagged.spent, flagged.threshold) == (0.0, pytest.approx(0.25 + 0.625 * 0.08))


def test_the_threshold_rises_to_the_spread_and_no_further():
    controller = TotalRiskController(0.1, audit_rate=0.25, prior_ratio=0.4, spread=1.5)
    state = controller.init()
    for _ in range(20):
        state = controller.observe(state, trusted(0.1, None, 0.25))
    assert state.threshold == pytest.approx(1.5 * 0.25, rel=1e-12)


def test_the_gain_is_fixed_by_the_last_error_of_the_warmup():
    controller = TotalRiskController(0.1, audit_rate=0.25, warmup=4)
    state = controller.init()
    assert (state.threshold, state.threshold_start, state.spent) == (0.0, 0.0, 0.0)
    for k in range(4):
        assert (math.isnan(state.gain), len(state.pairs), state.n_steered) == (True, k, 0)
        assert not controller.decide(state, 0.0).trusts
        state = controller.observe(state, Observation(0.2, False, 0.05, 1.0, 1))
    assert (state.gain, state.threshold, state.pairs) == (pytest.approx(1.0), pytest.approx(0.4), ())
    assert controller.decide(state, 0.1).alpha == pytest.approx(0.25)
    nothing = controller.init()
    for uncertainty, error in [(math.nan, 0.1), (0.1, math.inf), (0.1, None)]:
        nothing = controller.observe(nothing, Observation(uncertainty, False, error, 1.0, 1))
    assert (nothing.pairs, nothing.all_calls.n) == ((), 3)


def test_errors_of_zero_fix_no_gain():
    controller = TotalRiskController(0.1, warmup=2)
    state = controller.init()
    for _ in range(5):
        state = controller.observe(state, Observation(0.2, False, 0.0, 1.0, 1))
    assert math.isnan(state.gain)
    assert len(state.pairs) == 5


def test_the_report_is_over_all_calls_and_weighs_audits():
    controller = TotalRiskController(0.1, audit_rate=0.25, prior_ratio=0.4, cap=5.0)
    state = controller.init()
    for error, probability in [(0.06, 0.5), (None, 0.25)]:
        state = controller.observe(state, trusted(0.2, error, probability))
    for _ in range(2):
        state = controller.observe(state, Observation(0.4, False, 0.3, 1.0, 1))
    report = controller.report(state)
    assert report["error_estimate"] == pytest.approx(0.06 / 0.5 / 4, rel=1e-12)
    assert report["error_estimate_se"] == pytest.approx(math.sqrt(0.5) * 0.12 / 4, rel=1e-12)
    assert report["notes"] == ()
    for _ in range(800):
        state = controller.observe(state, trusted(0.2, None, 0.25))
    expected = upper_limit(state.all_calls, cap=0.5, delta=0.05, least=0.25)
    assert controller.report(state)["error_upper"] == expected
    assert 0.005 < expected < 0.02
    assert state.all_calls.lost == observe_error(MeanError(), 0.0, 0.06, 0.5, 0.5, least=0.25).lost


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_a_bound_must_be_positive(bound):
    with pytest.raises(ValueError, match="error_bound must be positive"):
        TotalRiskController(bound)
