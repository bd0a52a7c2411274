"""The barostat along z, the order parameter, and cells that are half molten."""

from itertools import islice

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.nose_hoover_chain import MaskedMTKNPT

from ase_proxima.dynamics import coexistence, phases
from ase_proxima.dynamics.coexistence import balance, follow, half_melt
from ase_proxima.dynamics.order import liquid_fraction, solid_or_liquid
from ase_proxima.dynamics.phases import (
    build_crystal,
    equilibrate,
    heat_until_melted,
    thermalise,
    z_barostat,
)
from ase_proxima.errors import InputError, ProximaError


def strained(stretch):
    atoms = build_crystal("fcc", "Al", (2, 2, 2), 4.0)
    atoms.set_cell(atoms.cell.array * [[1], [1], [stretch]], scale_atoms=True)
    atoms.calc = EMT()
    thermalise(atoms, 300.0, np.random.default_rng(0))
    return atoms


@pytest.mark.parametrize("stretch", [0.95, 1.05])
def test_a_strained_cell_relaxes_along_z_within_a_hundred_steps_and_nowhere_else(stretch):
    atoms = strained(stretch)
    before, stress = atoms.cell.array.copy(), abs(atoms.get_stress()[2])
    stresses = []
    dynamics = z_barostat(atoms, 300.0)
    for _ in dynamics.irun(100):
        stresses.append(abs(atoms.get_stress()[2]))
    moved = atoms.cell.array - before
    assert np.sign(moved[2, 2]) == np.sign(1 - stretch)
    assert abs(moved[2, 2]) > 0.3 * abs(stretch - 1) * before[2, 2]
    assert min(stresses) < 0.2 * stress
    moved[2, 2] = 0.0
    assert np.abs(moved).max() < 1e-12


def test_the_mask_that_the_library_documents_still_freezes_the_cell():
    # once this fails, the tuple can be passed again
    atoms = strained(1.05)
    height = atoms.cell[2, 2]
    dynamics = MaskedMTKNPT(
        atoms, 3 * units.fs, 300.0, 0.0, 100 * units.fs, 1000 * units.fs, mask=(False, False, True)
    )
    dynamics.run(20)
    assert atoms.cell[2, 2] == pytest.approx(height, abs=1e-4)


def test_a_cell_whose_z_is_no_axis_is_refused():
    atoms = bulk("Al") * (3, 3, 3)
    with pytest.raises(InputError, match="third axis is along z"):
        z_barostat(atoms, 300.0)


def test_momenta_have_their_temperature_and_no_drift():
    atoms = build_crystal("fcc", "Al", (6, 6, 6))
    thermalise(atoms, 700.0, np.random.default_rng(1))
    assert atoms.get_temperature() == pytest.approx(700.0, rel=0.05)
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10
    cold = np.arange(len(atoms)) < 432
    thermalise(atoms, np.where(cold, 0.0, 700.0), np.random.default_rng(1))
    speeds = np.abs(atoms.get_velocities()).sum(axis=1)
    assert speeds[cold].max() < 0.1 * np.median(speeds[~cold])


@pytest.mark.parametrize("structure", ["fcc", "bcc", "diamond"])
def test_hot_crystals_are_solid_and_disorder_is_liquid(structure):
    atoms = build_crystal(structure, "Al", (4, 4, 4), 4.05)
    rng = np.random.default_rng(0)
    nearest = atoms.get_all_distances(mic=True)[0].copy()
    nearest = nearest[nearest > 0].min()
    atoms.positions += rng.normal(0, 0.06 * nearest, atoms.positions.shape)
    if structure != "diamond":  # whose second shell is among the twelve neighbours, and far
        assert liquid_fraction(atoms) < 0.1
    atoms.positions += rng.normal(0, 0.5 * nearest, atoms.positions.shape)
    assert liquid_fraction(atoms) > 0.9


def test_the_order_does_not_depend_on_where_the_cell_begins():
    atoms = build_crystal("fcc", "Al", (3, 3, 3))
    atoms.positions += np.random.default_rng(0).normal(0, 0.35, atoms.positions.shape)
    fraction = liquid_fraction(atoms)
    assert 0.1 < fraction < 1.0
    atoms.positions += [1.7, -33.0, 4.4]
    assert liquid_fraction(atoms) == fraction


def test_molecules_and_tiny_cells_have_no_order():
    with pytest.raises(InputError, match="periodic cells of more than 12 atoms, got 4 atoms"):
        liquid_fraction(bulk("Al", cubic=True))


@pytest.mark.parametrize(
    ("fractions", "state"),
    [
        ([0.99], "undecided"),
        ([0.4, 0.99, 0.96], "liquid"),
        ([0.01, 0.2], "undecided"),
        ([0.5, 0.0, 0.1], "solid"),
    ],
)
def test_a_cell_is_homogeneous_once_two_looks_agree(fractions, state):
    assert solid_or_liquid(fractions) == state


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hcp", "Mg", (3, 3, 3)), "one of fcc, bcc, diamond, got 'hcp'"),
        (("fcc", "Xx", (3, 3, 3)), "fcc Xx cannot be built"),
        (("fcc", "Al", (3, 1, 3)), "at least 2 cells along each axis"),
        (("bcc", "Al", (3, 3, 3)), "bcc Al cannot be built .* give its lattice constant"),
        (("fcc", "Al", (3, 3, 3), -4.05), "a lattice constant must be positive, got -4.05 Å"),
        (("fcc", "Al", (3, 3, 3), float("nan")), "a lattice constant must be positive, got nan Å"),
        (("fcc", "Al", (3, 3, 3), 0.405), "atoms 0.286 Å apart, where a bond is some 2.4 Å: give it in Å"),
        (("fcc", "Al", (3, 3, 3), 40.5), "atoms 28.6 Å apart"),
    ],
)
def test_crystals_that_cannot_be_built_are_told_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message):
        build_crystal(*arguments)


def test_equilibration_finds_the_volume_of_no_pressure():
    atoms = build_crystal("fcc", "Al", (2, 2, 2), 4.3)
    atoms.calc = EMT()
    point = equilibrate(atoms, 100.0, 300, np.random.default_rng(0))
    assert (4 * point.volume) ** (1 / 3) == pytest.approx(4.005, abs=0.03)
    assert atoms.get_volume() / len(atoms) == pytest.approx(point.volume)


@pytest.mark.slow
def test_half_of_a_crystal_melts_while_the_other_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(coexistence, "START_STEPS", 20)
    crystal = build_crystal("fcc", "Al", (2, 2, 4), 4.1)
    crystal.calc = EMT()
    sites = crystal.positions.copy()
    starts = list(islice(half_melt(crystal, 1500.0, 1.08, np.random.default_rng(0)), 2))
    assert np.array_equal(crystal.positions, sites)
    assert crystal.constraints == []
    for start in starts:
        frozen = start.get_tags() == 1
        assert frozen.sum() == len(start) / 2
        assert np.array_equal(start.positions[frozen], sites[frozen])
        assert start.constraints == []
        assert start.cell[2, 2] == pytest.approx(1.04 * crystal.cell[2, 2])
    assert np.abs(starts[0].positions - starts[1].positions).max() > 0.3
    start = starts[-1]
    start.calc = EMT()
    ends = [check.state for check in follow(start, 300.0, 600.0, 1500, np.random.default_rng(1))]
    assert ends[-1] == "solid"


def half_energy(temperature_K):
    """Of half a solid and half a liquid of aluminium, EMT."""
    return 0.17 + 3.5 * units.kB * (temperature_K - 870.0) + 1.5 * units.kB * 870.0


@pytest.mark.slow
def test_balanced_starts_have_the_energy_of_two_halves_and_one_temperature(monkeypatch):
    monkeypatch.setattr(coexistence, "START_STEPS", 50)
    monkeypatch.setattr(coexistence, "MOST_TRIES", 2)
    crystal = build_crystal("fcc", "Al", (2, 2, 4), 4.11)
    crystal.calc = EMT()
    melts = half_melt(crystal, 1150.0, 1.07, np.random.default_rng(3))
    starts, balance_K = balance(melts, EMT(), half_energy, 870.0, 1150.0, 1, np.random.default_rng(4))
    (start,) = starts
    assert start.calc is None
    start.calc = EMT()
    per_atom = start.get_total_energy() / len(start)
    # beside what the barostat holds
    assert per_atom == pytest.approx(half_energy(870.0), abs=0.01)
    assert 0.1 < liquid_fraction(start) < 0.9
    assert balance_K == pytest.approx(870.0, abs=120.0)
    held = start.get_tags() == 1
    kinetic = 0.5 * (start.get_momenta() ** 2).sum(axis=1) / start.get_masses()
    assert kinetic[held].mean() == pytest.approx(kinetic[~held].mean(), rel=0.5)


class Melts:
    """Moments of a melt that are known beforehand."""

    def __init__(self):
        self.taken = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        atoms = build_crystal("fcc", "Al", (2, 2, 2), 4.1)
        atoms.info["number"] = self.taken
        return atoms


def test_the_moment_nearest_to_one_half_is_taken_and_its_temperature_is_the_next_guess(monkeypatch):
    told = iter([(0.2, 900.0), (0.35, 800.0), (0.7, 700.0), (0.55, 860.0), (0.48, 840.0)])
    guesses = []

    def let_go(atoms, temperature_K):
        guesses.append(temperature_K)
        return next(told)

    monkeypatch.setattr(coexistence, "_let_go", let_go)
    melts = Melts()
    starts, balance_K = balance(melts, EMT(), half_energy, 900.0, 1200.0, 3, np.random.default_rng(0))
    assert [start.info["number"] for start in starts] == [2, 4, 5]
    assert melts.taken == 5
    assert guesses == [900.0, 900.0, 900.0, 850.0, pytest.approx(2560 / 3)]
    assert balance_K == pytest.approx((800.0 + 860.0 + 840.0) / 3)


def test_a_crystal_that_does_not_melt_is_given_up(monkeypatch):
    monkeypatch.setattr(phases, "MOST_HEATING_STEPS", 200)
    atoms = build_crystal("fcc", "Al", (2, 2, 2))
    atoms.calc = EMT()
    with pytest.raises(ProximaError, match="did not melt up to 340 K"):
        heat_until_melted(atoms, np.random.default_rng(0))
