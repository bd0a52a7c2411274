"""What the default controller does with errors: each of its parts has a test that fails without it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ase_proxima.controllers.calibration import largest_threshold
from ase_proxima.controllers.confidence import THETAS, MeanError, upper_limit
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_state import Outliers
from ase_proxima.types import Observation

BOUND = 0.1


def play(controller, calls, rng, state=None):
    """Take a controller through calls (uncertainty, error, version); return the state and who was trusted unseen."""
    state = controller.init() if state is None else state
    unseen = []
    for u, e, version in calls:
        verdict = controller.decide(state, u)
        seen = rng.random() < verdict.audit_probability
        if not seen:
            unseen.append(e)
        state = controller.observe(
            state, Observation(u, verdict.trusts, e if seen else None, verdict.audit_probability, version)
        )
    return state, np.array(unseen)


def proportional(rng, n, ratio=1.0, scale=0.15, version=1):
    """Calls whose error is `ratio` times the uncertainty, to the last bit."""
    return [(u, ratio * u, version) for u in (scale * rng.lognormal(0, 0.5, n)).tolist()]


def settled(scale=0.15):
    """Return a controller and its state after a thousand calls whose errors equal their uncertainties."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    rng = np.random.default_rng(0)
    state, _ = play(controller, proportional(rng, 1000, scale=scale), rng)
    return controller, state


def audited(state, controller, u, e, probability):
    """State after one audited call."""
    return controller.observe(state, Observation(u, True, e, probability, 1))


def flagged(controller, pairs, distance=math.nan, version=1):
    """State after flagged calls with these uncertainties and errors."""
    state = controller.init()
    for u, e in pairs:
        state = controller.observe(state, Observation(u, False, e, 1.0, version, distance))
    return state


def test_the_mean_error_stays_at_its_margin_below_the_bound():
    """Errors known to the last bit leave nothing but the margin between the mean error and the bound."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        controller = RiskController(BOUND, prior_ratio=1.0)
        _, errors = play(controller, proportional(rng, 4000), rng)
        assert 0.65 * BOUND < errors.mean() < 0.85 * BOUND


def test_an_audited_error_counts_one_over_its_probability():
    controller, state = settled()
    u = 0.3 * state.threshold
    excess = {}
    for p in (1.0, 0.5, 0.1):
        hit = audited(state, controller, u, 3 * state.ratio * u, p)
        calm = audited(state, controller, u, state.ratio * u, p)
        excess[p] = (hit.spent - calm.spent, hit.trusted.total - calm.trusted.total)
    for p in (0.5, 0.1):
        assert excess[p] == pytest.approx((excess[1.0][0] / p, excess[1.0][1] / p))


def test_a_debt_lowers_the_threshold_and_its_payment_raises_it_again():
    controller, state = settled(scale=0.05)
    even = controller.margin * BOUND * state.trusted.n
    state = replace(state, spent=even)
    debt = replace(state, spent=even + 75 * BOUND)
    rng = np.random.default_rng(1)
    paid, _ = play(controller, proportional(rng, 10, scale=0.05), np.random.default_rng(2), debt)
    free, _ = play(
        controller, proportional(np.random.default_rng(1), 10, scale=0.05), np.random.default_rng(2), state
    )
    assert controller.decide(paid, 0.0).threshold < 0.7 * controller.decide(free, 0.0).threshold
    later, _ = play(controller, proportional(rng, 1000, scale=0.05), rng, paid)
    assert controller.decide(later, 0.0).threshold > 0.9 * controller.decide(free, 0.0).threshold


def test_an_uncertainty_that_ranks_nothing_raises_the_alarm_and_ends_the_trust():
    rng = np.random.default_rng(0)
    controller = RiskController(BOUND, prior_ratio=1.0)
    calls = [(u, 3 * BOUND, 1) for u in (0.1 * rng.lognormal(0, 0.5, 400)).tolist()]
    state, _ = play(controller, calls, rng)
    assert controller.decide(state, 1e-12).trusts is False
    (note,) = controller.report(state)["notes"]
    assert note == "the uncertainty does not rank the errors: nothing is trusted"


def test_errors_below_the_bound_that_ranks_nothing_raise_no_alarm():
    rng = np.random.default_rng(0)
    controller = RiskController(BOUND, prior_ratio=1.0)
    calls = [(u, 0.3 * BOUND, 1) for u in (0.1 * rng.lognormal(0, 0.5, 400)).tolist()]
    state, _ = play(controller, calls, rng)
    assert controller.decide(state, 1e-12).trusts
    assert controller.report(state)["notes"] == ()


def test_a_surprise_brings_more_audits():
    """After an error far above the expected one, the calls that were trusted before no longer count."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(flagged(controller, [(0.04, 0.01)] * 60), calm=1000)
    u = 0.05
    calm = audited(state, controller, u, u / 4, 1.0)
    surprised = audited(
        state, controller, 1e-6, 4e-6, 1.0
    )  # far off, though too small to matter for the ratio
    assert surprised.ratio_upper == pytest.approx(calm.ratio_upper, rel=0.05)
    assert (
        controller.decide(surprised, u).audit_probability > 5 * controller.decide(calm, u).audit_probability
    )


def test_the_probability_of_an_audit_follows_the_expected_error_and_the_mean():
    """0.02 where both are 0.4 of the bound, in proportion to each; 0.002 at least."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(flagged(controller, [(0.08, 0.08)] * 60), calm=10**6)
    assert state.ratio_upper == pytest.approx(1.125)
    at = {}
    for mean in (0.1, 0.4):
        usual = replace(state, typical=mean * BOUND / state.ratio_upper)
        for x in (0.05, 0.4, 0.6):
            uncertainty = x * BOUND / state.ratio_upper
            at[x, mean] = controller.decide(usual, uncertainty).audit_probability
    assert at == pytest.approx(
        {(0.05, 0.4): 0.01, (0.4, 0.4): 0.02, (0.6, 0.4): 0.03}
        | {(0.05, 0.1): 0.002, (0.4, 0.1): 0.005, (0.6, 0.1): 0.0075}
    )


def test_audits_are_half_as_many_where_the_run_has_saved_twice_its_horizon():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(flagged(controller, [(0.08, 0.08)] * 60), typical=0.05, calm=10**6)
    aim = controller.margin * BOUND
    even, little, saved, indebted = (
        replace(state, trusted=MeanError(n=1000), spent=spent * aim) for spent in (1000, 800, 600, 1200)
    )
    p = controller.decide(even, 0.05).audit_probability
    assert controller.decide(saved, 0.05).audit_probability == pytest.approx(p / 2)
    assert controller.decide(little, 0.05).audit_probability == pytest.approx(p)
    assert controller.decide(indebted, 0.05).audit_probability == pytest.approx(p)


def test_errors_at_a_tenth_of_the_bound_cost_few_audits_and_a_jump_after_them_is_paid_by_what_was_saved():
    """At most 15 audits of 2,000 calls; then errors 20 times larger at the same uncertainty, and the bound holds."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        us, es = 0.01 * rng.lognormal(0, 0.5, 3500), np.abs(rng.normal(size=3500))
        calls = [(u, (1 if k < 2000 else 20) * e * u, 1) for k, (u, e) in enumerate(zip(us, es, strict=True))]
        state, first = play(controller, calls[:2000], rng)
        assert len(first) >= 1985
        state, after = play(controller, calls[2000:], rng, state)
        assert np.concatenate([first, after]).mean() < 0.85 * BOUND
        assert state.ratio > 5
        assert controller.decide(state, 0.02).audit_probability > 0.02


def test_small_uncertainties_among_larger_ones_are_audited_often_enough_to_be_limited():
    """The smallest probability counts in the upper limit, so it follows the typical call and not the smallest."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(flagged(controller, [(0.08, 0.08)] * 60), typical=0.06, calm=10**6)
    assert controller.decide(state, 1e-9).audit_probability > 0.01


def test_errors_nearer_to_the_known_than_the_trusted_calls_are_count_less():
    """Next to known inputs the errors are small; what they say of calls five times as far counts a 25th."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    ratios = {}
    for distance in (0.01, 0.05):
        state = flagged(controller, [(0.05, 0.01)] * 40, distance)
        for _ in range(20):
            state = controller.observe(state, Observation(0.05, True, None, 0.1, 1, 0.05))
        ratios[distance] = controller.observe(state, Observation(0.05, True, 0.15, 0.1, 1, 0.05)).ratio
    # of the latest twelve, with the prior worth four and one of them
    assert ratios[0.05] == pytest.approx((11 * 0.2 + 3.0 + 4 * 1.0) / (11 + 1 + 4))
    assert ratios[0.01] == pytest.approx((11 / 25 * 0.2 + 3.0 + 1.0) / (11 / 25 + 1 + 1))


def test_the_farthest_error_counts_in_full_however_far_the_trusted_calls_are():
    controller = RiskController(BOUND, prior_ratio=1.0)
    near = flagged(controller, [(0.05, 0.15)] * 20, 0.01)
    assert near.ratio == pytest.approx((20 * 3.0 + 1.0) / 21)
    for _ in range(20):
        near = controller.observe(near, Observation(0.05, True, None, 0.1, 1, 0.5))
    assert near.ratio == pytest.approx((20 * 3.0 + 1.0) / 21)


def test_trust_above_the_allowance_is_earned():
    """However small the uncertainties were, at first no call is trusted whose own expected error is not allowed."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = flagged(controller, [(0.001, 0.001)] * 50)
    assert state.threshold * state.ratio_upper == pytest.approx(controller.margin * BOUND)
    for _ in range(controller.horizon):
        state = controller.observe(state, Observation(0.001, True, None, 0.1, 1))
    assert state.threshold * state.ratio_upper > 1.9 * controller.margin * BOUND


def test_the_first_audits_spread_over_the_run():
    """Audits come at a rate that falls with the calls, one or a few in each octave."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    gaps = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        state, steps = controller.init(), []
        for step in range(200):
            verdict = controller.decide(state, 0.05)
            seen = rng.random() < verdict.audit_probability
            steps += [step] * seen
            observation = Observation(0.05, True, 0.02 if seen else None, verdict.audit_probability, 1, 0.01)
            state = controller.observe(state, observation)
        gaps.append(sum(step < 10 for step in steps) / len(steps))
        assert len(steps) < 40
    assert np.mean(gaps) < 0.5


def test_errors_of_older_versions_count_less():
    """Twenty errors of version 1 at four times the uncertainty, then as many of version 9 at its half."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    ratios = {}
    for late in (1, 9):
        state = controller.init()
        for ratio, version in [(4.0, 1)] * 20 + [(0.5, late)] * 20:
            state = controller.observe(state, Observation(0.1, False, ratio * 0.1, 1.0, version))
        ratios[late] = state.ratio
    assert ratios[9] < 0.5 * ratios[1]
    assert ratios[9] == pytest.approx(0.5, abs=0.2)


def test_beyond_what_was_seen_by_half_each_call_is_audited():
    controller = RiskController(BOUND, prior_ratio=1.0)
    assert controller.init().reach == 0.0
    state = flagged(controller, [(0.05, 0.01)] * 5, 0.01)
    state = controller.observe(
        state, Observation(0.05, True, None, 0.1, 1, 0.2)
    )  # not seen, and so no evidence
    state = controller.observe(state, Observation(0.05, True, 0.01, 0.1, 1, math.inf))  # of another kind
    assert controller.decide(state, 0.05).reach == pytest.approx(0.015)
    assert RiskController(BOUND, prior_ratio=1.0, audit_rate=0.0).decide(state, 0.05).reach == math.inf


def test_the_reach_is_longer_where_errors_that_grow_with_its_square_stay_harmless():
    controller = RiskController(BOUND, prior_ratio=1.0)
    steps = {}
    for error in (0.5, 0.1, 0.01, 0.001):
        state = flagged(controller, [(error * BOUND, error * BOUND)] * 20, 0.01)
        steps[error] = controller.decide(state, 1e-9).reach / 0.01
    # 0.4 of the bound is reached at the square root of 0.4 over the error seen, and ten is the longest step
    assert steps == pytest.approx({0.5: 1.5, 0.1: 2.0, 0.01: math.sqrt(40), 0.001: 10.0})
    assert controller.decide(state, 0.1 / state.ratio_upper * BOUND).reach == pytest.approx(0.02)
    few = flagged(controller, [(1e-4 * BOUND, 1e-4 * BOUND)] * 2, 0.01)
    assert controller.decide(few, 1e-4 * BOUND).reach == pytest.approx(0.015)
    exact = flagged(controller, [(0.0, 0.0)] * 3, 0.01)
    assert controller.decide(exact, 0.0).reach == pytest.approx(0.1)


def test_an_error_of_a_million_does_not_send_the_rest_to_the_target():
    for probability in (1.0, 0.002):
        rng = np.random.default_rng(3)
        controller = RiskController(BOUND, prior_ratio=1.0)
        calls = proportional(rng, 500, 0.3, 0.05)
        state, _ = play(controller, calls, rng)
        state = controller.observe(state, Observation(0.05, probability < 1, 1e6, probability, 1))
        state, _ = play(controller, proportional(rng, 500, 0.3, 0.05), rng, state)
        _, unseen = play(controller, proportional(rng, 500, 0.3, 0.05), rng, state)
        assert len(unseen) > 450
        assert (
            "an error above 5 times the bound and what was expected was seen, 1e+06 at call 500: look at that call"
            in (controller.report(state)["notes"])
        )


def test_of_several_outliers_the_largest_is_named():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = flagged(controller, [(0.1, 0.1), (0.1, 0.7), (0.1, 30.0), (0.1, 2.0)])
    (note,) = controller.report(state)["notes"]
    assert note == (
        "2 errors above 5 times the bound and what was expected were seen, the largest 30 at call 2: "
        "look at that call"
    )


def test_a_large_error_that_was_expected_is_no_outlier():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = flagged(controller, [(5.0, 4.0), (3.0, 6.0)])  # far above the bound, as their uncertainties say
    assert not any("look at that call" in note for note in controller.report(state)["notes"])


def test_where_nothing_is_trusted_the_note_says_what_is_reachable():
    controller = RiskController(BOUND, prior_ratio=1.0)
    rng = np.random.default_rng(0)
    pairs = [(u, 1.1 * u) for u in rng.uniform(0.35, 0.45, 31)]
    median = f"{1.1 * np.median([u for u, _ in pairs]):.2g}"
    (note,) = controller.report(flagged(controller, pairs))["notes"]
    assert note == (
        f"nothing is trusted at present: errors seen have the median {median}, the bound is 0.1: this surrogate "
        "cannot reach the bound here"
    )


def test_an_estimate_above_the_bound_is_said_and_lowers_the_threshold():
    controller, state = settled(scale=0.05)
    high = state
    for _ in range(300):
        high = audited(high, controller, 0.05, 0.4, 1.0)
    assert high.trusted.estimate > BOUND
    assert controller.report(high)["notes"][-1] == (
        f"the estimated mean error {high.trusted.estimate:.2g} stands above the bound 0.1: fewer calls are trusted "
        "until it is below"
    )
    assert controller.decide(high, 0.0).threshold < 0.2 * controller.decide(state, 0.0).threshold


def test_the_limit_pays_for_every_theta_it_chooses_among():
    """Above that of the best theta with all of delta, and not above that with its share, half of delta over 22."""
    cap, p, delta = 0.5, 0.1, 0.05
    state = MeanError(n=50_000, total=400.0, variation=900.0, probability_min=p)
    alone, shared = [], []
    for theta in THETAS:
        x = theta / p
        if x < 1:
            variation = (-math.log1p(-x) - x) * state.variation / (cap / p) ** 2
            for limits, share in ((alone, 1.0), (shared, 0.5 / 22)):
                limits.append(
                    state.mean + (math.log(1 / (share * delta)) + variation) * cap / theta / state.n
                )
    assert len(alone) == 16
    limit = upper_limit(state, cap=cap, delta=delta)
    assert min(alone) < limit <= min(shared)
    # neighbours of the best theta do nearly as well, so that less than the whole price is paid
    assert limit < state.mean + 0.95 * (min(shared) - state.mean)


def test_calls_far_below_the_bound_have_a_limit_below_its_cap():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state, rng = controller.init(), np.random.default_rng(5)
    for _ in range(3000):
        u = 0.05 * BOUND
        verdict = controller.decide(state, u)
        seen = rng.random() < verdict.audit_probability
        state = controller.observe(
            state, Observation(u, True, u if seen else None, verdict.audit_probability, 1)
        )
    assert 3 <= len(state.seen) <= 20
    assert controller.report(state)["error_upper"] < 4 * BOUND


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"error_bound": 0.0}, "error_bound must be positive, got 0.0"),
        ({"error_bound": math.nan}, "error_bound must be positive, got nan"),
        ({"audit_rate": -0.1}, "audit_rate must lie between 0 and 1, got -0.1"),
        ({"audit_rate": 1.1}, "audit_rate must lie between 0 and 1, got 1.1"),
        ({"audit_rate": math.nan}, "audit_rate must lie between 0 and 1, got nan"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RiskController(**{"error_bound": BOUND, **settings})


def test_what_is_chosen_where_nothing_is_said():
    assert RiskController(1.0) == RiskController(
        1.0, audit_rate=0.02, prior_ratio=None, margin=0.75, spread=2.0, horizon=200, window=60, latest=12, cap=5.0,
        cap_weight=20.0, audit_risk=0.4, audit_least=0.1, audit_most=5.0, first_gap=3.0, surprise=2.5, growth=1.5,
        alarm_pairs=20, delta=0.05,
    )  # fmt: skip


def test_the_share_of_a_gap_after_which_calls_are_looked_at_again():
    """3 / (3 + n) before three errors were seen, 3 / (6 + n) times what the call adds to the mean after them."""
    controller = RiskController(BOUND, prior_ratio=1.0)
    start = controller.init()
    at_first = [controller.decide(replace(start, calm=n), 0.01).audit_probability for n in (0, 3, 27)]
    assert at_first == pytest.approx([1.0, 0.5, 0.1])
    two = replace(start, seen=((0.1, 0.1, 1, math.nan),) * 2, calm=27)
    assert controller.decide(two, 0.01).audit_probability == pytest.approx(0.1)
    three = replace(two, seen=((0.1, 0.1, 1, math.nan),) * 3, ratio_upper=1.0, typical=0.04, calm=24)
    assert controller.decide(three, 0.04).audit_probability == pytest.approx(0.1)  # worth 1
    assert controller.decide(replace(three, typical=0.05), 0.05).audit_probability == pytest.approx(0.1)
    assert controller.decide(replace(three, typical=0.03), 0.04).audit_probability == pytest.approx(0.075)


def test_one_call_moves_each_number_of_the_state_as_it_should():
    controller = RiskController(BOUND, prior_ratio=1.0, horizon=4)
    before = replace(
        controller.init(), ratio=0.5, ratio_upper=0.8, n_calls=6, recent=(0.01, 0.02), afar=0.3, reach=0.2, spent=0.1,
        calm=4, trusted=MeanError(n=4, total=0.1),
    )  # fmt: skip
    seen = controller.observe(before, Observation(0.1, True, 0.09, 0.25, 3, 0.5))
    assert (seen.n_calls, seen.calm, seen.reach, seen.trusted.n) == (7, 5, 0.5, 5)
    assert seen.afar == pytest.approx(0.3 + (0.5 - 0.3) / 5)
    assert seen.spent == pytest.approx(0.1 + 0.05 + (0.09 - 0.05) / 0.25)
    assert seen.trusted.total == pytest.approx(0.1 + 0.05 + (0.09 - 0.05) / 0.25)
    assert seen.seen == ((0.1, 0.09, 3, 0.5),)
    assert seen.recent == (0.02, 0.1)  # half of the horizon
    unseen = controller.observe(before, Observation(0.1, True, None, 0.25, 3, 0.1))
    assert (unseen.calm, unseen.reach, unseen.seen, unseen.threshold) == (5, 0.2, (), before.threshold)
    assert unseen.spent == pytest.approx(0.1 + 0.05)
    surprised = controller.observe(before, Observation(0.1, True, 2.5 * 0.8 * 0.1 + 1e-9, 0.25, 3, 0.1))
    assert surprised.calm == 0
    assert controller.observe(before, Observation(0.1, True, 2.5 * 0.8 * 0.1 - 1e-9, 0.25, 3, 0.1)).calm == 5
    huge = controller.observe(before, Observation(0.1, True, 0.6, 0.01, 3, 0.1))
    assert huge.spent == pytest.approx(
        0.1 + 0.05 + (0.5 - 0.05) * 20.0
    )  # the weight of an error above the cap
    assert (huge.outliers.n, huge.outliers.largest, huge.outliers.call) == (1, 0.6, 6)
    nothing = controller.observe(before, Observation(math.nan, False, 0.2, 1.0, 3, 0.1))
    assert (nothing.recent, nothing.seen, nothing.spent, nothing.calm) == (before.recent, (), 0.1, 4)


def test_the_threshold_is_set_anew_by_an_error_or_after_ten_trusted_calls():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(controller.init(), threshold=0.07)
    changed = []
    for n in range(1, 21):
        state = controller.observe(replace(state, threshold=0.07), Observation(0.05, True, None, 0.1, 1))
        if state.threshold != 0.07:
            changed.append(n)
    assert changed == [10, 20]


def test_the_typical_uncertainty_is_the_mean_of_those_below_the_threshold():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(controller.init(), recent=(0.01, 0.02, 5.0), trusted=MeanError(n=400))
    state = controller.observe(state, Observation(9.0, False, 9.0, 1.0, 1))
    assert 0.02 < state.threshold < 5.0
    assert state.typical == pytest.approx(0.015)
    at_limit = controller._set_threshold(replace(state, recent=(0.01, state.threshold)))
    assert at_limit.threshold == state.threshold
    assert at_limit.typical == pytest.approx(0.01)


def test_a_second_outlier_of_the_same_size_is_counted_and_the_first_is_named():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = flagged(controller, [(0.1, 3.0), (0.1, 3.0), (0.1, 2.0)])  # the third was expected
    assert (state.outliers.n, state.outliers.largest, state.outliers.call) == (2, 3.0, 0)


def test_an_estimate_at_the_bound_is_no_note_and_errors_at_the_bound_no_alarm():
    controller = RiskController(0.125, prior_ratio=1.0)
    at = replace(controller.init(), trusted=MeanError(n=4, total=0.5, expected=0.5))
    assert at.trusted.estimate == 0.125
    assert controller.report(at)["notes"] == ()
    above = replace(at, trusted=MeanError(n=4, total=0.52, expected=0.52))
    assert "stands above the bound 0.125" in controller.report(above)["notes"][0]
    unranked = tuple((0.1, error, 1, math.nan) for error in (0.0, 0.25) * 10)
    assert not controller._is_uninformative(replace(at, seen=unranked))
    assert controller._is_uninformative(replace(at, seen=((0.1, 0.26, 1, math.nan), *unranked[1:])))


def test_a_smaller_outlier_is_counted_beside_the_larger_one():
    controller = RiskController(BOUND, prior_ratio=1.0)
    state = replace(controller.init(), outliers=Outliers(1, 30.0, 2), n_calls=5)
    state = controller.observe(state, Observation(0.01, False, 0.7, 1.0, 1))
    assert state.outliers == Outliers(2, 30.0, 2)


@pytest.mark.parametrize(("n", "spread"), [(0, 1.0), (100, 1.5), (200, 2.0), (900, 2.0)])
def test_the_spread_above_the_allowance_is_earned_in_proportion_to_the_calls(n, spread):
    controller = RiskController(BOUND, prior_ratio=1.0)
    aim = 0.75 * BOUND
    state = replace(
        controller.init(), recent=tuple(np.linspace(0.001, 0.4, 60)), trusted=MeanError(n=n), spent=n * aim
    )
    state = controller._set_threshold(state)
    thresholds = [largest_threshold(state.recent, aim / state.ratio_upper, x) for x in (1.0, 1.5, 2.0)]
    assert len(set(thresholds)) == 3
    assert state.threshold == largest_threshold(state.recent, aim / state.ratio_upper, spread)
