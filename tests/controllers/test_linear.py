"""Behaviour of the published control law."""

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ase_proxima.controllers.linear import LinearController, LinearState, update_threshold
from ase_proxima.types import Observation

sizes = st.floats(1e-6, 1e6)
pairs = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=80)


def seen(uncertainty, error):
    return Observation(uncertainty, False, error, 1.0, 1)


def run(controller, observed):
    states = [controller.init()]
    for u, e in observed:
        states.append(controller.observe(states[-1], seen(u, e)))
    return states


@given(threshold=st.floats(0, 100), error=sizes, bound=sizes, alpha=sizes)
def test_the_threshold_falls_exactly_when_the_error_exceeds_the_bound(threshold, error, bound, alpha):
    moved = update_threshold(threshold, error, bound, alpha)
    if error > bound:
        assert moved <= threshold
    elif error < bound:
        assert moved >= threshold
    if abs(error - bound) / alpha > 1e-9:
        assert moved != threshold


@given(threshold=st.floats(-10, 10), error=sizes, bound=sizes, alpha=sizes)
def test_a_step_is_the_excess_over_alpha_up_to_a_tenth(threshold, error, bound, alpha):
    moved = update_threshold(threshold, error, bound, alpha)
    assert abs(moved - threshold) <= 0.1 * (1 + 1e-12)
    wanted = (error - bound) / alpha
    if abs(wanted) < 0.1:
        assert moved == pytest.approx(threshold - wanted, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_a_slope_that_is_not_positive_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be positive"):
        update_threshold(0.5, 0.2, 0.1, alpha)


@given(observed=pairs, low=st.floats(0, 1), width=st.floats(0, 1))
def test_steps_and_thresholds_stay_within_their_limits(observed, low, width):
    controller = LinearController(1.0, threshold_min=low, threshold_max=low + width, threshold_init=low)
    states = run(controller, observed)
    for before, after in itertools.pairwise(states):
        assert abs(after.threshold - before.threshold) <= 0.1 * (1 + 1e-12)
        assert low <= after.threshold <= low + width


@given(observed=pairs, bound=st.floats(0.01, 200))
def test_every_update_moves_against_the_excess_of_the_windowed_mean(observed, bound):
    controller = LinearController(bound, threshold_init=5.0, window=10)
    for before, after in zip(states := run(controller, observed), states[1:], strict=False):
        excess = sum(after.errors) / len(after.errors) - bound
        assert (after.threshold - before.threshold) * excess <= 0


@given(slope=st.floats(0.1, 10), offset=st.floats(0, 1), data=st.data())
def test_alpha_is_the_slope_of_error_against_uncertainty(slope, offset, data):
    uncertainties = data.draw(st.lists(st.floats(0, 10), min_size=3, max_size=50))
    assume(max(uncertainties) - min(uncertainties) > 0.1)
    state = run(LinearController(1.0), [(u, slope * u + offset) for u in uncertainties])[-1]
    assert state.alpha == pytest.approx(slope, rel=1e-6)


def test_only_the_window_counts():
    controller = LinearController(1.0, window=3)
    state = run(controller, [(0.1, 50.0)] * 10 + [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)])[-1]
    assert state.alpha == pytest.approx(2.0)
    assert controller.report(state)["error_estimate"] == pytest.approx(4.0)


@pytest.mark.parametrize("error", [None, math.nan, math.inf])
def test_a_call_without_a_finite_error_changes_nothing(error):
    controller = LinearController(1.0, threshold_init=0.4)
    state = controller.init()
    assert controller.observe(state, seen(0.2, error)) == state


@pytest.mark.parametrize("uncertainty", [math.nan, math.inf])
def test_a_call_without_a_finite_uncertainty_changes_nothing(uncertainty):
    controller = LinearController(1.0, threshold_init=0.4)
    assert controller.observe(controller.init(), seen(uncertainty, 3.0)) == controller.init()


def test_it_converges_where_the_error_is_proportional_to_the_uncertainty():
    """Errors are seen at the threshold only; the fixed point is where the error there equals the bound."""
    controller = LinearController(0.5, threshold_init=3.0, window=2)
    state = controller.init()
    for k in range(200):
        u = state.threshold * (1.0 + 0.01 * (-1) ** k)
        state = controller.observe(state, seen(u, 2.0 * u))
    assert state.threshold == pytest.approx(0.25, rel=0.02)
    assert state.alpha == pytest.approx(2.0)


def test_oscillation_is_reported():
    """Errors of period six make the mean of the latest three go up and down by turns."""
    controller = LinearController(0.9, window=3, threshold_init=0.5)
    errors = [1.0, 1.0, 1.0, 0.4, 1.6, 0.4] * 10
    states = run(controller, [(0.5 + 0.01 * k, e) for k, e in enumerate(errors)])
    signs = [math.copysign(1, b.threshold - a.threshold) for a, b in itertools.pairwise(states)]
    turns = sum(a != b for a, b in zip(signs[-20:], signs[-19:], strict=False))
    assert turns >= 16
    (note,) = controller.report(states[-1])["notes"]
    assert note == "the threshold oscillates: 20 turns in the last 20 updates"


def test_a_threshold_that_moves_one_way_does_not_oscillate():
    controller = LinearController(1.0, threshold_init=0.0)
    state = run(controller, [(0.1 * k, 0.01 * k) for k in range(1, 60)])[-1]
    assert controller.report(state)["notes"] == ()
    assert state.threshold > 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"error_bound": 0.0}, "error_bound"),
        ({"error_bound": math.nan}, "error_bound"),
        ({"window": 1}, "window"),
        ({"max_step": 0.0}, "max_step"),
        ({"threshold_min": -0.1}, "threshold_min"),
        ({"threshold_init": 0.5, "threshold_max": 0.4}, "threshold_max"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearController(**{"error_bound": 1.0, **arguments})


def test_thresholds_by_hand():
    """Two observations: the slope of the first alone is error over uncertainty, then that of the line."""
    controller = LinearController(1.0, threshold_init=0.5, max_step=10.0)
    first, second = run(controller, [(0.5, 2.0), (1.0, 5.0)])[1:]
    assert (first.alpha, first.threshold) == (4.0, 0.5 - (2.0 - 1.0) / 4.0)
    assert second.alpha == pytest.approx(6.0)
    assert second.threshold == pytest.approx(max(0.25 - (3.5 - 1.0) / 6.0, 0.0))
    assert first.last_step == -0.25
    assert first.alternations == (0,)


def test_the_step_and_the_limits_hold_at_their_values():
    assert update_threshold(0.5, error=0.9, error_bound=0.1, alpha=1.0, max_step=0.3) == pytest.approx(0.2)
    assert update_threshold(0.5, error=0.1, error_bound=0.9, alpha=1.0, max_step=0.3) == pytest.approx(0.8)
    assert update_threshold(0.5, error=0.3, error_bound=0.1, alpha=1.0) == pytest.approx(0.4)
    controller = LinearController(1.0, threshold_init=0.5, threshold_min=0.45, threshold_max=0.55)
    assert run(controller, [(0.1, 9.0)])[-1].threshold == 0.45
    assert run(controller, [(0.1, 0.01)])[-1].threshold == 0.55


def test_a_falling_line_is_replaced_by_the_ratio_of_the_means():
    state = run(LinearController(1.0), [(1.0, 4.0), (3.0, 2.0)])[-1]
    assert state.alpha == pytest.approx(6.0 / 4.0)


def test_without_any_slope_the_pairs_are_kept_and_nothing_moves():
    controller = LinearController(1.0, threshold_init=0.4)
    state = run(controller, [(0.0, 3.0)])[-1]
    assert (state.threshold, state.uncertainties, state.errors) == (0.4, (0.0,), (3.0,))
    assert math.isnan(state.alpha)
    state = controller.observe(controller.init(), seen(0.5, 0.0))
    assert (state.threshold, state.errors) == (0.4, (0.0,))


def test_a_verdict_names_threshold_and_slope():
    controller = LinearController(1.0, threshold_init=0.4)
    state = run(controller, [(1.0, 1.0)])[-1]
    trusted, flagged = controller.decide(state, 0.39), controller.decide(state, 0.4)
    assert (trusted.trusts, trusted.audit_probability, trusted.threshold, trusted.alpha) == (
        True,
        0.0,
        0.4,
        1.0,
    )
    assert (flagged.trusts, flagged.audit_probability) == (False, 1.0)


def test_the_smallest_settings_that_are_possible():
    controller = LinearController(1e-9, window=2, max_step=1e-9, threshold_min=0.0, threshold_max=0.0)
    assert controller.init().threshold == 0.0
    assert LinearController(1.0).threshold_max == math.inf
    assert LinearController(1.0).window == 50


def test_turns_are_counted_over_the_latest_twenty_updates():
    controller = LinearController(0.9, window=3, threshold_init=0.5)
    errors = [1.0, 1.0, 1.0, 0.4, 1.6, 0.4] * 10
    states = run(controller, [(0.5 + 0.01 * k, e) for k, e in enumerate(errors)])
    assert len(states[-1].alternations) == 20
    calm = run(controller, [(0.5, 0.9)] * 3)[-1]
    assert calm.alternations == (0, 0, 0)
    assert calm.last_step == 0.0
    still = LinearController(0.9, window=3)
    for turns, told in ((15, False), (16, True)):
        state = LinearState(0.5, alternations=(1,) * turns + (0,) * (20 - turns), errors=(1.0,))
        assert bool(still.report(state)["notes"]) is told


def test_the_report_says_what_was_seen():
    controller = LinearController(1.0)
    assert math.isnan(controller.report(controller.init())["error_estimate"])
    report = controller.report(run(controller, [(1.0, 2.0), (1.0, 4.0)])[-1])
    assert report["error_estimate"] == 3.0
    assert math.isnan(report["error_upper"])
    assert math.isnan(report["error_estimate_se"])


def test_what_lies_below_the_threshold_is_trusted_and_nothing_else():
    controller = LinearController(1.0, threshold_init=0.5, threshold_max=1.0)
    trusted = {
        u: controller.decide(controller.init(), u).trusts for u in (0.0, 0.499, 0.5, 0.501, 2.0, math.nan)
    }
    assert [u for u, trusts in trusted.items() if trusts] == [0.0, 0.499]


def test_a_step_of_nothing_keeps_the_direction_of_the_one_before():
    controller = LinearController(1.0, threshold_init=0.5, threshold_max=1.0)
    up, still = run(controller, [(1.0, 0.9), (1.0, 1.1)])[1:]  # their mean is the bound
    assert up.last_step > 0
    assert still.threshold == up.threshold
    assert still.last_step == up.last_step
