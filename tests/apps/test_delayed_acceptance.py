"""Delayed acceptance: the target's distribution under any surrogate, and tests that notice a wrong ratio."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ase_proxima import InputError, RunDirectoryError
from ase_proxima.apps import delayed_acceptance as exact
from ase_proxima.apps import monte_carlo
from ase_proxima.apps.delayed_acceptance import OuterLog, OuterRow
from ase_proxima.apps.monte_carlo import Move
from ase_proxima.apps.statistics import autocorrelation_time

ALPHA = 1e-3
MOVE = Move(1000.0, 0.8)  # kT = 0.0862 eV
HARTREE = 27.211386


def double_well(x):
    """Uneven double well on a line; barrier of some 2 kT."""
    q = float(x[0, 0])
    return 0.9 * (q * q - 0.36) ** 2 + 0.05 * q


def too_stiff(x):
    """A wrong surrogate: one well, too stiff, shifted, with an offset."""
    return 0.22 * (float(x[0, 0]) - 0.25) ** 2 + 5.0


def flat(x):
    return 0.0


def upside_down(x):
    return -0.3 * double_well(x) + 0.2 * float(x[0, 0]) ** 2


def rugged(x):
    """Jumps by up to 3 kT from one hundredth of an ångström to the next."""
    return 0.26 * math.modf(abs(math.sin(78.233 * math.floor(100 * float(x[0, 0]))) * 43758.5453))[
        0
    ] + 0.3 * float(x[0, 0] ** 2)


def exact_cdf(energy_of, kT, limit=4.0):
    grid = np.linspace(-limit, limit, 40_001)
    energies = np.array([energy_of(np.array([[q]])) for q in grid])
    weights = np.exp(-(energies - energies.min()) / kT)
    total = np.concatenate([[0.0], np.cumsum((weights[1:] + weights[:-1]) / 2)])
    return lambda q: np.interp(q, grid, total / total[-1])


def sample(energy_of, surrogate_energy_of, n_outer, n_inner, seed, start=None, move=MOVE):
    """Positions of a chain after each of its steps, shape (n_outer, ...)."""
    rng = np.random.default_rng(seed)
    start = np.zeros((1, 1)) if start is None else start
    state = exact.init(start, energy_of(start), surrogate_energy_of(start))
    chain = []
    for _ in range(n_outer):
        state, _ = exact.step(state, energy_of, surrogate_energy_of, rng, move, n_inner)
        chain.append(state.chain.positions)
    return np.array(chain)


def plain_sample(energy_of, n_steps, seed, start=None, move=MOVE):
    rng = np.random.default_rng(seed)
    start = np.zeros((1, 1)) if start is None else start
    state = monte_carlo.init(start, energy_of(start))
    chain = []
    for _ in range(n_steps):
        state, _, _ = monte_carlo.step(state, energy_of, rng, move)
        chain.append(state.positions)
    return np.array(chain)


def stride(*series):
    """Steps between samples that pass for independent."""
    return math.ceil(3 * max(autocorrelation_time(values) for values in series))


def p_value(surrogate, n_inner=4, n_outer=30_000, seed=1):
    """How well a chain agrees with the exact density of the double well, and from how many samples."""
    chain = sample(double_well, surrogate, n_outer, n_inner, seed)[:, 0, 0]
    few = chain[:: stride(chain)][1:]
    return (stats.kstest(few, exact_cdf(double_well, MOVE.kT)).pvalue if len(few) else 0.0), len(few)


@pytest.mark.parametrize("surrogate", [too_stiff, flat, upside_down, rugged, double_well])
def test_the_target_is_sampled_whatever_the_surrogate(surrogate):
    p, n_samples = p_value(surrogate)
    assert n_samples > 400
    assert p > ALPHA


@pytest.mark.parametrize("n_inner", [1, 2, 16])
def test_the_target_is_sampled_with_any_number_of_inner_steps(n_inner):
    p, n_samples = p_value(too_stiff, n_inner)
    assert n_samples > 300
    assert p > ALPHA


def test_the_plain_chain_and_delayed_acceptance_agree():
    plain = plain_sample(double_well, 30_000, seed=2)[:, 0, 0]
    ours = sample(double_well, too_stiff, 20_000, 4, seed=3)[:, 0, 0]
    few, fewer = plain[:: stride(plain)], ours[:: stride(ours)]
    assert stats.kstest(few, exact_cdf(double_well, MOVE.kT)).pvalue > ALPHA
    assert stats.ks_2samp(few, fewer).pvalue > ALPHA
    assert min(len(few), len(fewer)) > 400


WRONG = {
    "sign flipped": lambda target, surrogate: surrogate - target,
    "no surrogate term": lambda target, surrogate: target,
    "no target term": lambda target, surrogate: -surrogate,
    "surrogate term added": lambda target, surrogate: target + surrogate,
    "always accepted": lambda target, surrogate: 0.0,
    "kT too large, as Hartree for eV": lambda target, surrogate: (target - surrogate) / HARTREE,
    "kT too small, as eV for Hartree": lambda target, surrogate: (target - surrogate) * HARTREE,
    "kT doubled": lambda target, surrogate: (target - surrogate) / 2,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_ratio_would_be_noticed(name, monkeypatch):
    monkeypatch.setattr(exact, "correction", WRONG[name])
    p, n_samples = p_value(too_stiff)
    assert p < 1e-100 or n_samples < 50  # a chain that is stuck fails the tests above as well
    assert p < 1e-100 or name == "no target term"


def trimer(x):
    """Three particles: two anharmonic bonds and an angle-like third, held near the origin."""
    gaps = np.linalg.norm(x[[0, 1, 0]] - x[[1, 2, 2]], axis=1) - np.array([1.0, 1.0, 1.6])
    return float((2.0 * gaps**2 - 1.5 * gaps**3 + 2.0 * gaps**4).sum() + 0.3 * (x * x).sum())


def wrong_trimer(x):
    """Stiffer, shorter, harmonic."""
    gaps = np.linalg.norm(x[[0, 1, 0]] - x[[1, 2, 2]], axis=1) - np.array([0.98, 0.98, 1.56])
    return float((2.3 * gaps**2).sum() + 0.36 * ((x - 0.02) ** 2).sum())


TRIMER_MOVE = Move(600.0, 0.11)
TRIMER_START = np.array([[-0.8, -0.3, 0.0], [0.0, 0.5, 0.0], [0.8, -0.3, 0.0]])


def trimer_p_values():
    """Agreement with the plain chain in energy, extent and a bond length, and from how many samples."""
    observables = (
        trimer,
        lambda x: monte_carlo.radius_of_gyration(x, np.array([1.0, 16.0, 1.0])),
        lambda x: float(np.linalg.norm(x[0] - x[1])),
    )
    plain = plain_sample(trimer, 60_000, 4, TRIMER_START, TRIMER_MOVE)[200::20]
    ours = sample(trimer, wrong_trimer, 6_000, 12, 5, TRIMER_START, TRIMER_MOVE)[200:]
    theirs, mine = ([[seen(x) for x in chain] for seen in observables] for chain in (plain, ours))
    theirs, mine = ([values[:: stride(*seen)] for values in seen] for seen in (theirs, mine))
    p_values = [stats.ks_2samp(a, b).pvalue for a, b in zip(theirs, mine, strict=True)]
    return p_values, min(len(theirs[0]), len(mine[0]))


@pytest.mark.slow
def test_three_particles_agree_with_the_plain_chain():
    p_values, n_samples = trimer_p_values()
    assert n_samples > 150
    assert min(p_values) > ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no surrogate term", "always accepted"])
def test_three_particles_notice_a_wrong_ratio(name, monkeypatch):
    monkeypatch.setattr(exact, "correction", WRONG[name])
    p_values, _ = trimer_p_values()
    assert min(p_values) < ALPHA / 100


def test_one_inner_step_is_the_two_stage_chain_of_christen_and_fox():
    """Their algorithm, written down from its second-stage ratio, on the same random numbers."""
    kT = MOVE.kT

    def promotes(here, there):
        return min(1.0, math.exp(-(too_stiff(there) - too_stiff(here)) / kT))

    rng, x, theirs, asked = np.random.default_rng(9), np.zeros((1, 1)), [], 0
    for _ in range(2000):
        y = x + rng.normal(0.0, MOVE.perturb, x.shape)
        promoted = rng.random() < promotes(x, y)
        uniform = rng.random()
        if promoted:
            asked += 1
            ratio = math.exp(-(double_well(y) - double_well(x)) / kT) * promotes(y, x) / promotes(x, y)
            x = y if uniform < min(1.0, ratio) else x
        theirs.append(x)
    calls = []

    def counted(x):
        calls.append(x)
        return double_well(x)

    ours = sample(counted, too_stiff, 2000, 1, seed=9)
    assert np.array_equal(ours, theirs)
    assert len(calls) == asked + 1
    assert 0.3 < asked / 2000 < 0.9


@given(changes=st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_the_correction_changes_sign_on_the_way_back_and_vanishes_for_a_perfect_surrogate(changes):
    target, surrogate = changes
    assert exact.correction(-target, -surrogate) == -exact.correction(target, surrogate)
    assert exact.correction(target, target) == 0


def test_a_perfect_surrogate_up_to_a_constant_is_always_accepted():
    rng, start = np.random.default_rng(0), np.zeros((1, 1))
    state = exact.init(start, double_well(start), double_well(start) - 1000.0)
    n_asked = 0
    for _ in range(200):
        state, tried = exact.step(state, double_well, lambda x: double_well(x) - 1000.0, rng, MOVE, 3)
        n_asked += exact.ACCEPTED in tried.inner
    assert state.chain.n_accepted == n_asked > 150


def test_the_target_is_asked_once_a_step_and_not_at_all_where_nothing_moved():
    calls = []

    def counted(x):
        calls.append(x.copy())
        return double_well(x)

    start = np.zeros((1, 1))
    state = exact.init(start, double_well(start), 0.0)
    walls = {"state": start}
    rng = np.random.default_rng(0)
    new, tried = exact.step(
        state, counted, lambda x: 0.0 if np.array_equal(x, walls["state"]) else 1e3, rng, MOVE, 5
    )
    assert (tried.inner, tried.accepted, calls) == ("rrrrr", False, [])
    assert new.chain.n_steps == 1
    assert np.array_equal(new.chain.positions, start)
    exact.step(state, counted, flat, rng, MOVE, 5)
    assert len(calls) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_where_the_surrogate_is_not_finite_its_steps_do_not_go(value):
    chain = sample(double_well, lambda x: value if x[0, 0] > 0.2 else 0.0, 300, 4, seed=0)
    assert chain.max() <= 0.2
    assert chain.min() < -0.4


def test_the_random_numbers_do_not_depend_on_the_energies():
    states = []
    for surrogate in (flat, too_stiff, lambda x: math.nan):
        rng, start = np.random.default_rng(4), np.zeros((1, 1))
        state = exact.init(start, 0.0, 0.0)
        for _ in range(10):
            state, _ = exact.step(state, double_well, surrogate, rng, MOVE, 7)
        states.append(rng.bit_generator.state)
    assert states[0] == states[1] == states[2]


def test_a_chain_does_not_start_where_an_energy_is_not_finite():
    with pytest.raises(InputError, match=r"must start with finite energies, got 1\.0 eV .* and nan eV"):
        exact.init(np.zeros((1, 3)), 1.0, math.nan)


def rows_of_a_chain(n_outer, n_inner=6):
    masses, start = np.ones(3), TRIMER_START
    rng = np.random.default_rng(11)
    state = exact.init(start, trimer(start), wrong_trimer(start))
    rows = [exact.start_row(state, masses)]
    for _ in range(n_outer):
        state, tried = exact.step(state, trimer, wrong_trimer, rng, TRIMER_MOVE, n_inner)
        rows.append(exact.row_of(state, tried, masses, 0.25))
    return state, rows, rng


def test_a_replay_ends_where_the_chain_did_to_the_last_bit(tmp_path):
    state, rows, rng = rows_of_a_chain(80)
    with OuterLog(tmp_path / "chain.csv") as log:
        for row in rows:
            log.append(row)
    read = OuterLog.read(tmp_path / "chain.csv")
    assert read == rows
    assert read[3].time_s == 0.25
    again = np.random.default_rng(11)
    start = exact.init(TRIMER_START, rows[0].energy, rows[0].surrogate_energy)
    *_, (_, replayed) = exact.replay(start, TRIMER_MOVE, again, read[1:])
    assert np.array_equal(replayed.chain.positions, state.chain.positions)
    assert (replayed.chain.energy, replayed.surrogate_energy) == (state.chain.energy, state.surrogate_energy)
    assert (replayed.chain.n_steps, replayed.chain.n_accepted) == (80, state.chain.n_accepted)
    assert again.bit_generator.state == rng.bit_generator.state


def test_a_log_drops_the_line_that_a_kill_has_cut_and_goes_on(tmp_path):
    path = tmp_path / "chain.csv"
    _, rows, _ = rows_of_a_chain(3)
    with OuterLog(path) as log:
        log.append(rows[0])
        log.append(rows[1])
    path.write_bytes(path.read_bytes()[:-4])
    assert OuterLog.read(path) == rows[:1]
    with OuterLog(path) as log:
        log.append(rows[1])
    assert OuterLog.read(path) == rows[:2]
    assert OuterLog.read(tmp_path / "none.csv") == []


def test_a_damaged_log_is_one_clear_line(tmp_path):
    path = tmp_path / "chain.csv"
    path.write_text("step,energy\n1,2\n")
    with pytest.raises(RunDirectoryError, match=r"chain.csv is damaged: KeyError"):
        OuterLog.read(path)


def trials(changes, kT=0.025):
    """Rows of trials, one after another, that the target would accept with these probabilities."""
    rows = [OuterRow(0, 0.0, 0.0, True, 0.0, 0.0, 1.0, "")]
    for step, probability in enumerate(changes, 1):
        rows.append(OuterRow(step, -kT * math.log(probability), 0.0, False, 0.0, 0.0, 1.0, "a"))
    return rows


@pytest.mark.parametrize(
    ("probabilities", "chosen"),
    [
        ([], (400, False)),
        ([0.9] * 7, (400, False)),
        ([0.9] * 8, (400, True)),
        ([0.59] * 8, (200, False)),
        ([0.59] * 8 + [0.61] * 8, (200, True)),
        ([0.1] * 8, (50, False)),
        ([0.1] * 32, (1, True)),
        ([0.1] * 24, (1, False)),
        ([1.0] * 4 + [0.3] * 4, (400, True)),
    ],
)
def test_inner_steps_are_cut_until_the_target_accepts(probabilities, chosen):
    assert exact.next_inner_steps(trials(probabilities), 400, kT=0.025) == chosen


def test_the_module_states_where_the_method_comes_from():
    text = Path(exact.__file__).read_text()
    assert "10.1198/106186005X76983" in text
    assert "10.1063/1.1563597" in text
