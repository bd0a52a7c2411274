"""Ramps between target and surrogate, what they count for, and the ledger that makes energy conserved again."""

import math

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima import Decision, InputError, ProximaCalculator
from ase_proxima.executor.assessment import Assessment
from ase_proxima.executor.blending import Blending, BlendState, mix, retrained, settle
from ase_proxima.runs.append_log import read_steps
from ase_proxima.surrogates.committee import Committee
from ase_proxima.testing import HarmonicWells
from ase_proxima.types import Verdict

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

ORIGIN = np.zeros((1, 3))
calls = st.lists(st.tuples(st.booleans(), st.floats(0.0, 4.0) | st.just(math.nan)), max_size=60)


def run(blending, ratios):
    """States after calls with these ratios of uncertainty to threshold; trusted below 1."""
    state, states = BlendState(), []
    for ratio in ratios:
        state = blending.advance(state, trusted=ratio < 1, ratio=ratio)
        states.append(state)
    return states


def test_a_ramp_up_follows_a_cosine():
    shares = [state.share for state in run(Blending(4), [0.5] * 5)]
    assert shares == pytest.approx([0.1464466, 0.5, 0.8535534, 1.0, 1.0])


def test_flagged_ramps_down_and_turns_back_where_trusted_again():
    phases = [state.phase for state in run(Blending(4), [0.5] * 4 + [1.5, 1.5, 0.9, 0.9, 0.9])]
    assert phases == [1, 2, 3, 4, 3, 2, 3, 4, 4]


@pytest.mark.parametrize("ratio", [2.0, 7.0, math.inf, math.nan])
def test_far_above_the_threshold_the_target_takes_over_at_once(ratio):
    last = run(Blending(4), [0.5] * 4 + [ratio])[-1]
    assert (last.share, last.n_drops) == (0.0, 1)


def test_the_target_stays_for_as_long_as_a_ramp_takes():
    states = run(Blending(3), [0.5] * 3 + [5.0] + [0.5] * 6)
    assert [state.phase for state in states] == [1, 2, 3, 0, 0, 0, 0, 1, 2, 3]
    assert states[-1].n_switches == 3


@given(st.integers(1, 12), calls)
def test_shares_never_jump_but_where_the_surrogate_is_dropped(n_steps, inputs):
    blending, state = Blending(n_steps), BlendState()
    largest = max(
        (math.cos(math.pi * k / n_steps) - math.cos(math.pi * (k + 1) / n_steps)) / 2 for k in range(n_steps)
    )
    for trusted, ratio in inputs:
        after = blending.advance(state, trusted=trusted, ratio=ratio)
        assert 0 <= after.share <= 1
        if after.n_drops == state.n_drops:
            assert abs(after.share - state.share) <= largest + 1e-12
        else:
            assert after.share == 0
        assert after.share <= state.share or (trusted and not state.stay)
        state = after


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-5, 5)), min_size=1, max_size=30))
def test_with_a_constant_gap_the_ledger_is_the_share_times_the_gap(path):
    state, gap = BlendState(), path[0][1]
    for share, _ in path:
        state = settle(state, BlendState(share=share, work=state.work), gap)
    assert state.work == pytest.approx(path[-1][0] * gap, abs=1e-12)


def test_the_ledger_takes_the_mean_of_both_ends_and_says_what_it_does_not_know():
    before = BlendState(share=0.0, gap=1.0)
    after = settle(before, BlendState(share=0.5), 3.0)
    assert (after.work, after.gap, after.n_unknown) == (1.0, 3.0, 0)
    lost = settle(after, BlendState(share=0.0, work=after.work), math.nan)
    assert (lost.work, lost.n_unknown) == (1.0, 1)


def test_a_new_version_that_shifts_the_energy_does_work_in_proportion_to_its_share():
    assert retrained(BlendState(share=0.5, frame_energy=1.0), 3.0).work == 1.0
    assert retrained(BlendState(share=0.5), 3.0).work == 0.0


def test_mixed_results_are_linear_in_the_share():
    mixed = mix(
        {"energy": 1.0, "forces": np.ones((2, 3)), "stress": np.zeros(6)},
        {"energy": 2.0, "forces": np.zeros((2, 3))},
        0.25,
    )
    assert mixed["energy"] == 1.25
    assert mixed["forces"].tolist() == [[0.75] * 3] * 2
    assert set(mixed) == {"energy", "forces"}


def test_the_ratio_is_that_of_the_criterion_closest_to_its_threshold():
    def ratio(*uncertainties_and_thresholds):
        uncertainties, thresholds = zip(*uncertainties_and_thresholds, strict=True)
        verdicts = [Verdict(False, 1.0, threshold) for threshold in thresholds]
        return Assessment([None] * len(verdicts), None, uncertainties, verdicts).ratio

    assert ratio((0.1, 0.2), (0.1, 0.4)) == 0.5
    assert ratio((0.1, 0.0)) == math.inf
    assert math.isnan(ratio((math.nan, 0.1), (9.0, 0.1)))


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "10"])
def test_a_length_that_is_none_is_refused(value):
    with pytest.raises(InputError, match="blending must be a number of calls"):
        ProximaCalculator(HarmonicWells(ORIGIN), error_bound=0.1, blending=value)


def oscillator(blending, controller="fixed:0.03", run_dir=None):
    """A particle in the target's well, answered near the centre by a committee with softer and stiffer springs."""
    atoms = Atoms("H", [[0.0, 0.0, 0.12]])
    calc = ProximaCalculator(
        HarmonicWells(ORIGIN, 2.0),
        error_bound=0.1,
        surrogate=Committee([HarmonicWells(ORIGIN, k) for k in (0.5, 1.4)]),
        controller=controller,
        training="never",
        blending=blending,
        audit_rate=0.0,
        run_dir=run_dir,
    )
    atoms.calc = calc
    return atoms, calc


def follow(atoms, calc, n_steps):
    """Kinetic plus potential energy, ledger and decisions of a trajectory at constant energy."""
    dynamics = VelocityVerlet(atoms, 0.2 * units.fs)
    rows = []
    for _ in dynamics.irun(n_steps):
        energy = atoms.get_potential_energy() + atoms.get_kinetic_energy()
        rows.append((energy, calc.switch_work, calc.last_decision))
    energies, work, decisions = zip(*rows, strict=True)
    return np.array(energies), np.array(work), decisions


def test_energy_minus_the_ledger_is_conserved_where_energy_is_not():
    atoms, calc = oscillator(blending=10)
    energies, work, decisions = follow(atoms, calc, 1500)
    assert calc.stats.n_switches > 10
    assert {Decision.TARGET, Decision.AUDIT, Decision.SURROGATE} == set(decisions)
    offset = np.ptp(energies)
    assert offset > 2e-3
    assert np.ptp(energies - work) < 0.02 * offset
    assert not any("not known" in note for note in calc.stats.notes)


def test_without_blending_there_is_no_ledger():
    atoms, calc = oscillator(blending=None)
    follow(atoms, calc, 5)
    assert math.isnan(calc.stats.switch_work)
    assert calc.stats.n_switches == 0


def test_answers_are_mixed_by_their_shares_and_their_errors_count_for_as_much(tmp_path):
    atoms, calc = oscillator(blending=4, run_dir=tmp_path / "run")
    atoms.positions[0, 2] = 0.02
    target, learnt = -2.0 * 0.02, -0.95 * 0.02
    shares = (0.1464466, 0.5, 0.8535534, 1.0)
    for share in shares:
        atoms.positions[0, 2] += 1e-9  # another structure
        assert atoms.get_forces()[0, 2] == pytest.approx(target + share * (learnt - target), abs=1e-7)
        assert calc.last_decision is Decision.AUDIT
    atoms.positions[0, 2] += 1e-9
    atoms.get_forces()
    assert calc.last_decision is Decision.SURROGATE
    calc.close()
    rows = list(read_steps(tmp_path / "run"))
    assert [float(row["share"]) for row in rows] == pytest.approx([*shares, 1.0], abs=1e-7)
    error = abs(learnt - target)
    assert [float(row["error"]) for row in rows[:4]] == pytest.approx([w * error for w in shares], rel=1e-4)
    assert [float(row["audit_probability"]) for row in rows] == [1.0] * 4 + [0.0]


def test_a_blended_run_resumes_to_the_last_bit(tmp_path):
    def structures():
        for z in 0.12 * np.cos(np.linspace(0, 8, 100)):
            yield Atoms("H", [[0.0, 0.0, z]])

    _, whole = oscillator(blending=5)
    expected = [whole.get_property("forces", atoms)[0, 2] for atoms in structures()]
    for stop in (3, 14, 40):
        _, first = oscillator(blending=5, run_dir=tmp_path / str(stop))
        given = [first.get_property("forces", atoms)[0, 2] for atoms in list(structures())[:stop]]
        first.close()
        committee = Committee([HarmonicWells(ORIGIN, k) for k in (0.5, 1.4)])
        second = ProximaCalculator.resume(
            tmp_path / str(stop), HarmonicWells(ORIGIN, 2.0), surrogate=committee
        )
        again = second.get_property("forces", list(structures())[stop - 1])[0, 2]
        assert again == given[-1]
        given += [second.get_property("forces", atoms)[0, 2] for atoms in list(structures())[stop:]]
        assert given == expected
        assert second.stats.switch_work == whole.stats.switch_work
        second.close()
