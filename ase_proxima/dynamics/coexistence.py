"""Solid beside liquid in one cell, followed until one of them has taken all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from numpy.random import Generator

from ase_proxima.dynamics.order import LIQUID_ABOVE, liquid_fraction, solid_or_liquid
from ase_proxima.dynamics.phases import CHECK_STEPS, MOST_HEATING_STEPS, TIMESTEP_FS, thermalise, z_barostat
from ase_proxima.errors import ProximaError

__all__ = ["Check", "balance", "follow", "half_melt"]

# What the protocol is made of, after Hong and van de Walle, J. Chem. Phys. 139, 094114 (2013) and CALPHAD 52, 88 (2016)
# where nothing else is said; "measured" is on aluminium, EMT by Asap, 216 atoms.
LANGEVIN_FS = 100.0
"""Damping time of the thermostat that melts one half."""
MELTING_EXCESS = 1.5
"""Temperature at which one half is melted, over that at which the crystal melted by itself."""
KEPT_EXCESS = 1.2
"""The same, while starts are taken from the melt: at 0.86 the half that is held froze nearly all of it (measured)."""
LEAST_KINETIC = 0.2
"""Least temperature of the momenta of a half at the start, over the temperature of the run."""
START_STEPS = 150
"""Steps of the melt between two starts: 0.45 ps."""
BALANCE_STEPS = 300
"""Steps at constant enthalpy in which the two halves come to one temperature."""
BALANCE_LOOKS = 3
"""Looks in that time; the mean of the last two is the liquid fraction of a start."""
NEAR_HALF = 0.1
"""Distance of that from one half that is good enough: in a cell of 216 atoms it moves by as much (measured)."""
MOST_TRIES = 3
"""Moments of the melt that are tried for a start; the nearest to one half is taken."""


@dataclass(frozen=True, slots=True)
class Check:
    """One look at a run.

    Attributes
    ----------
    step
    liquid_fraction
        See `liquid_fraction`.
    length
        Of the cell along z, in Å.
    state
        "solid" or "liquid" once the cell is homogeneous, else "undecided".
    """

    step: int
    liquid_fraction: float
    length: float
    state: str


def half_melt(crystal: Atoms, melting_K: float, expansion: float, rng: Generator) -> Iterator[Atoms]:
    """Melt the upper half of a crystal while the lower is held, and go along the melt's trajectory.

    Parameters
    ----------
    crystal
        With a calculator, at its volume near the melting point; left as it is.
    melting_K
        Temperature at which a whole crystal melted by itself.
    expansion
        Volume of the liquid over that of the solid, for which room is made along z: a compressed melt freezes again
        onto the half that is held.

    Yields
    ------
    Atoms
        Without a calculator, every 150 steps, without end; the tag 1 marks the atoms that are held.

    Raises
    ------
    ProximaError
        If the half does not melt.
    """
    atoms = crystal.copy()
    atoms.calc = crystal.calc
    frozen = atoms.get_scaled_positions(wrap=True)[:, 2] < 0.5 - 1e-6
    atoms.set_tags(frozen.astype(int))
    height = atoms.cell.lengths()[2]
    atoms.positions[~frozen, 2] += (expansion - 1.0) * (atoms.positions[~frozen, 2] - height / 2)
    atoms.set_cell(atoms.cell.array * [[1.0], [1.0], [(1.0 + expansion) / 2]])
    atoms.set_constraint(FixAtoms(mask=frozen))
    hot, kept = MELTING_EXCESS * melting_K, KEPT_EXCESS * melting_K
    thermalise(atoms, np.where(frozen, 0.0, hot), rng)
    dynamics = Langevin(
        atoms,
        TIMESTEP_FS * units.fs,
        temperature_K=hot,
        friction=1.0 / (LANGEVIN_FS * units.fs),
        fixcm=False,
        rng=rng,
    )
    share = float(np.mean(~frozen))
    for _ in range(MOST_HEATING_STEPS // CHECK_STEPS):
        dynamics.run(CHECK_STEPS)
        if liquid_fraction(atoms) > LIQUID_ABOVE * share:
            break
    else:
        raise ProximaError(f"the upper half did not melt at {hot:.0f} K: check the target")
    dynamics.set_temperature(temperature_K=kept)
    dynamics.run(START_STEPS)
    while True:
        dynamics.run(START_STEPS)
        start = atoms.copy()
        start.set_constraint()
        yield start


def balance(
    melts: Iterator[Atoms],
    calculator: BaseCalculator,
    half_energy: Callable[[float], float],
    temperature_K: float,
    melting_K: float,
    n_starts: int,
    rng: Generator,
) -> tuple[list[Atoms], float]:
    """Make starts that are half liquid, and whose halves have one temperature.

    A moment of the melt is let go with the energy that half a solid beside half a liquid have, and runs at constant
    enthalpy: what freezes heats the rest and what melts cools it, so that the liquid fraction comes to one half and
    stays about it. Let go at a constant temperature instead, 216 atoms began with 0.38 of them liquid and decided
    within 2 ps (measured).

    Parameters
    ----------
    melts
        See `half_melt`.
    calculator
    half_energy
        Energy, kinetic and potential, in eV an atom, of half a solid beside half a liquid at a temperature.
    temperature_K
        Guess of the melting point; the temperatures at which the halves have balanced correct it from start to start.
    melting_K
        See `half_melt`.
    n_starts
    rng

    Returns
    -------
    starts : list of Atoms
        Without calculators.
    balance_K : float
        Mean temperature of the starts.
    """
    starts: list[Atoms] = []
    seen: list[float] = []
    while len(starts) < n_starts:
        guess = float(np.mean([temperature_K, *seen]))
        tries = []
        for _ in range(MOST_TRIES):
            atoms = next(melts)
            atoms.calc = calculator
            # the half that was held has no potential energy yet, the other that of the hot melt
            kinetic = 2.0 * guess - np.where(atoms.get_tags() == 1, 0.0, KEPT_EXCESS * melting_K)
            thermalise(atoms, np.maximum(kinetic, LEAST_KINETIC * guess), rng)
            wanted = len(atoms) * half_energy(guess) - atoms.get_potential_energy()
            scale = max(wanted / atoms.get_kinetic_energy(), LEAST_KINETIC)
            atoms.set_momenta(atoms.get_momenta() * math.sqrt(scale))
            fraction, temperature = _let_go(atoms, guess)
            still = atoms.copy()
            still.calc = None
            tries.append((abs(fraction - 0.5), still, temperature))
            if tries[-1][0] < NEAR_HALF:
                break
        _, start, temperature = min(tries, key=lambda one: one[0])
        starts.append(start)
        seen.append(temperature)
    return starts, float(np.mean(seen))


def _let_go(atoms: Atoms, temperature_K: float) -> tuple[float, float]:
    """Run at constant enthalpy; liquid fraction and temperature of the last looks."""
    dynamics = z_barostat(atoms, temperature_K, thermostat_fs=math.inf)
    fractions, temperatures = [], []
    for _ in range(BALANCE_LOOKS):
        inside = [atoms.get_temperature() for _ in dynamics.irun(BALANCE_STEPS // BALANCE_LOOKS)]
        fractions.append(liquid_fraction(atoms))
        temperatures.append(float(np.mean(inside)))
    return float(np.mean(fractions[-2:])), float(np.mean(temperatures[-2:]))


def follow(
    start: Atoms, temperature_K: float, balance_K: float, most_steps: int, rng: Generator
) -> Iterator[Check]:
    """Run a half-melted cell until it is homogeneous.

    Positions of the temperature `Tb` with momenta of `2 T - Tb` come to `T` once kinetic and potential energy are even.

    Parameters
    ----------
    start
        With a calculator; moved in place.
    temperature_K
    balance_K
        Temperature of the start, see `balance`.
    most_steps
        From which on the run is given up as undecided.

    Yields
    ------
    Check
        Every hundred steps; the last one of them says how the run ended.
    """
    thermalise(start, max(2.0 * temperature_K - balance_K, LEAST_KINETIC * temperature_K), rng)
    dynamics = z_barostat(start, temperature_K)
    fractions: list[float] = []
    for block in range(math.ceil(most_steps / CHECK_STEPS)):
        n_steps = min(CHECK_STEPS, most_steps - block * CHECK_STEPS)
        dynamics.run(n_steps)
        fractions.append(liquid_fraction(start))
        state = solid_or_liquid(fractions)
        yield Check(block * CHECK_STEPS + n_steps, fractions[-1], float(start.cell.lengths()[2]), state)
        if state != "undecided":
            return
