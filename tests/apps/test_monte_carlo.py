"""Metropolis sampling: the right distribution, a stream of its own, exact replays."""

import math

import numpy as np
import pytest
from ase import Atoms, units
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima import InputError, RunDirectoryError
from ase_proxima.apps import monte_carlo
from ase_proxima.apps.monte_carlo import ChainLog, ChainRow, Move, accept
from ase_proxima.apps.statistics import mean_of_chain
from ase_proxima.testing import HarmonicWells


def chain(temperature_K, perturb, n_steps, seed=0, stiffness=1.0):
    """Rows of a chain of one atom in a harmonic well."""
    atoms = Atoms("H", positions=np.zeros((1, 3)))
    atoms.calc = HarmonicWells(np.zeros((1, 3)), stiffness)
    rng = np.random.default_rng(seed)
    return list(monte_carlo.sample(atoms, Move(temperature_K, perturb), n_steps, rng))


@pytest.mark.parametrize(("temperature_K", "stiffness"), [(300.0, 1.0), (1000.0, 5.0)])
def test_a_harmonic_oscillator_has_half_kT_a_degree_of_freedom(temperature_K, stiffness):  # noqa: N802
    kT = units.kB * temperature_K
    rows = chain(temperature_K, 1.2 * math.sqrt(kT / stiffness), 8_000, seed=2, stiffness=stiffness)
    energy = mean_of_chain([row.energy for row in rows[200:]])
    assert abs(energy.mean - 1.5 * kT) < 3 * energy.error
    assert energy.error < 0.07 * kT
    gyration = [row.radius_of_gyration for row in rows]
    assert max(gyration) < 1e-12  # of a single atom


def test_one_dimension_has_the_normal_distribution_of_its_temperature():
    """A chain of the pure steps on a line: variance kT / k, fourth moment three times its square."""
    kT = units.kB * 500.0
    move = Move(500.0, 2.0 * math.sqrt(kT / 2.0))
    rng = np.random.default_rng(5)
    state = monte_carlo.init(np.zeros((1, 1)), 0.0)
    xs = []
    for _ in range(20_000):
        state, _, _ = monte_carlo.step(state, lambda x: float((x**2).sum()), rng, move)
        xs.append(state.positions[0, 0])
    x = np.array(xs)
    second, fourth = mean_of_chain(x**2), mean_of_chain(x**4)
    variance = kT / 2.0  # E = x², so k = 2
    assert abs(second.mean - variance) < 3 * second.error
    assert abs(fourth.mean - 3 * variance**2) < 3 * fourth.error
    assert second.error < 0.06 * variance


def test_a_held_atom_stays_and_the_others_sample_their_distribution():
    kT = units.kB * 500.0
    move = Move(500.0, 1.2 * math.sqrt(kT), fixed=(0,))
    rng = np.random.default_rng(7)
    state = monte_carlo.init(np.array([[0.3, -0.2, 0.1], [0.3, -0.2, 0.1]]), 0.0)
    energies = []
    for _ in range(8_000):
        state, _, _ = monte_carlo.step(state, lambda x: 0.5 * float(((x[1] - x[0]) ** 2).sum()), rng, move)
        energies.append(state.energy)
    assert state.positions[0].tolist() == [0.3, -0.2, 0.1]
    energy = mean_of_chain(energies[200:])
    assert (
        abs(energy.mean - 1.5 * kT) < 3 * energy.error
    )  # half kT a free coordinate, of which there are three
    assert energy.error < 0.07 * kT


def test_kT_is_in_electronvolt():  # noqa: N802
    assert Move(300.0, 0.1).kT == pytest.approx(0.0258520, rel=1e-5)


@given(change=st.floats(-1, 1), kT=st.floats(0.001, 1))
def test_acceptance_balances_in_detail(change, kT):
    """exp(-E/kT) P(there) = exp(-E'/kT) P(back), where P is the share of uniform numbers that are accepted."""

    def share(energy_change):
        low, high = 0.0, 1.0
        if accept(energy_change, 1.0 - 2**-53, kT):
            return 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if accept(energy_change, middle, kT) else (low, middle)
        return low

    there, back = share(change), share(-change)
    assert there == pytest.approx(back * math.exp(-change / kT) if change > 0 else 1.0, rel=1e-9, abs=1e-15)
    assert max(there, back) == 1.0


@pytest.mark.parametrize("change", [math.nan, math.inf])
def test_what_is_no_energy_is_not_accepted(change):
    assert not accept(change, 0.0, kT=0.1)


def test_proposals_and_uniform_numbers_do_not_depend_on_the_energies():
    move = Move(300.0, 0.1)
    draws = []
    for energy in (0.0, 1e9):
        rng = np.random.default_rng(3)
        state = monte_carlo.init(np.zeros((2, 3)), 0.0)
        uniforms = []
        for _ in range(20):
            before = rng.bit_generator.state
            _, uniform = monte_carlo.propose(state, rng, move)
            uniforms.append(uniform)
            rng.bit_generator.state = before
            state, _, _ = monte_carlo.step(state, lambda x, e=energy: e, rng, move)
        draws.append((uniforms, rng.bit_generator.state))
    assert draws[0] == draws[1]


def test_the_step_is_normal_with_the_given_deviation():
    rng = np.random.default_rng(0)
    state = monte_carlo.init(np.zeros((2000, 3)), 0.0)
    positions, _ = monte_carlo.propose(state, rng, Move(300.0, 0.003))
    assert positions.std() == pytest.approx(0.003, rel=0.03)
    assert np.abs(positions.mean()) < 4 * 0.003 / math.sqrt(6000)


def test_replay_makes_every_structure_again_to_the_last_bit():
    asked = []

    class Spy(HarmonicWells):
        def calculate(self, atoms, *args):
            asked.append(atoms.positions.copy())
            super().calculate(atoms, *args)

    start = np.zeros((2, 3))
    start[1, 0] = 0.7
    atoms = Atoms("H2", positions=start, calculator=Spy(start, 2.0))
    move = Move(400.0, 0.05)
    rows = list(monte_carlo.sample(atoms, move, 300, np.random.default_rng(8)))
    replayed = list(monte_carlo.replay(start, move, np.random.default_rng(8), rows))
    assert len(replayed) == len(asked) == 301
    masses = atoms.get_masses()
    for positions, row, (again, state) in zip(asked, rows, replayed, strict=True):
        assert np.array_equal(positions, again)
        assert state.energy == row.energy
        assert monte_carlo.radius_of_gyration(state.positions, masses) == row.radius_of_gyration
    assert 50 < replayed[-1][1].n_accepted < 300


@pytest.mark.parametrize("stop", [1, 2, 57, 200])
def test_a_chain_goes_on_from_its_rows(stop):
    whole = chain(500.0, 0.3, 200, seed=4)
    atoms = Atoms("H", positions=np.zeros((1, 3)), calculator=HarmonicWells(np.zeros((1, 3))))
    rest = monte_carlo.sample(atoms, Move(500.0, 0.3), 200, np.random.default_rng(4), done=whole[:stop])
    assert list(rest) == whole[stop:]
    assert atoms.calc.n_runs == 201 - stop


def test_the_log_gives_back_what_it_was_given(tmp_path):
    rows = chain(500.0, 0.3, 30)
    with ChainLog(tmp_path) as log:
        for row in rows[:20]:
            log.append(row)
    with (tmp_path / "chain.csv").open("a") as file:
        file.write("20,0.01")  # cut by a kill
    with ChainLog(tmp_path) as log:
        for row in rows[20:]:
            log.append(row)
    assert ChainLog.read(tmp_path) == rows


def test_a_header_that_a_kill_cut_is_written_again(tmp_path):
    (tmp_path / "chain.csv").write_text("step,propo")
    with ChainLog(tmp_path) as log:
        log.append(ChainRow(0, -1.0, True, -1.0, 0.5))
    assert ChainLog.read(tmp_path) == [ChainRow(0, -1.0, True, -1.0, 0.5)]


@pytest.mark.parametrize(
    "text",
    [
        "step,energy\n0,1.0\n",
        "garbage\n\x00\xff\n",
        "step,proposed_energy,accepted,energy,radius_of_gyration\n0,a,b,c,d\n",
    ],
)
def test_a_damaged_log_is_one_clear_line(tmp_path, text):
    (tmp_path / "chain.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunDirectoryError, match=r"chain\.csv is damaged") as raised:
        ChainLog.read(tmp_path)
    assert "\n" not in str(raised.value)


def test_no_log_is_no_run(tmp_path):
    with pytest.raises(RunDirectoryError, match="is no Monte Carlo run"):
        ChainLog.read(tmp_path)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_temperatures_and_steps_must_be_positive(value):
    with pytest.raises(InputError, match="temperature must be positive"):
        Move(value, 0.1)
    with pytest.raises(InputError, match="perturbation must be positive and finite"):
        Move(300.0, value)


def test_the_radius_of_gyration_weighs_by_mass_and_knows_no_origin():
    positions = np.array([[0.0, 0, 0], [3.0, 0, 0]])
    masses = np.array([2.0, 1.0])
    expected = math.sqrt((2 * 1.0 + 1 * 4.0) / 3)
    assert monte_carlo.radius_of_gyration(positions, masses) == pytest.approx(expected)
    assert monte_carlo.radius_of_gyration(positions + 7.0, 3 * masses) == pytest.approx(expected)
