"""Solid beside liquid in one cell, followed until one of them has taken all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT, MaskedMTKNPT
from numpy.random import Generator
from numpy.typing import NDArray

from ase_proxima.errors import InputError, ProximaError

__all__ = [
    "Check",
    "PhasePoint",
    "balance",
    "build_crystal",
    "equilibrate",
    "follow",
    "half_melt",
    "heat_until_melted",
    "liquid_fraction",
    "solid_or_liquid",
    "thermalise",
    "z_barostat",
]

# What the protocol is made of, after Hong and van de Walle, J. Chem. Phys. 139, 094114 (2013) and CALPHAD 52, 88 (2016)
# where nothing else is said; "measured" is on aluminium, EMT by Asap, 216 atoms.
TIMESTEP_FS = 3.0
"""Usual for metals."""
THERMOSTAT_FS, BAROSTAT_FS = 100.0, 1000.0
"""Damping times."""
LANGEVIN_FS = 100.0
"""Damping time of the thermostat that melts one half."""
NEIGHBOURS, BOND_ORDER, SOLID_BONDS = 12, 0.7, 6
"""Of the order parameter: a crystal at 850 K is 0.99 solid (measured), a liquid 0.00."""
CHECK_STEPS = 100
"""Steps between two looks at the structure."""
LIQUID_ABOVE, SOLID_BELOW = 0.95, 0.12
"""Liquid fractions from which a cell is homogeneous; up to 0.1 of a hot crystal looks liquid (measured)."""
AGREEING_CHECKS = 2
"""Looks in a row that must agree."""
HEATING_K_PER_STEP = 0.2
"""A crystal without surfaces melts some 30 % above its melting point at this rate (measured)."""
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
MOST_HEATING_STEPS = 40_000
"""From which on a crystal that did not melt is given up: 8,000 K at the rate above."""
CUBIC = ("fcc", "bcc", "diamond")
"""Structures whose one lattice constant is found from a volume."""
NEAREST = (0.3, 4.0)
"""Least and most that neighbours of a crystal may be apart, in covalent diameters: metals 0.8 to 1.2, neon 2.7."""


@dataclass(frozen=True, slots=True)
class PhasePoint:
    """Means over a pure phase at a temperature and no pressure.

    Attributes
    ----------
    temperature_K
    volume
        In Å^3 an atom.
    energy
        Potential energy, in eV an atom.
    """

    temperature_K: float  # noqa: N815  K is the unit
    volume: float
    energy: float


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


def build_crystal(structure: str, element: str, size: tuple[int, int, int], a: float | None = None) -> Atoms:
    """Repeat the cubic cell of an element.

    Parameters
    ----------
    structure
        One of fcc, bcc and diamond.
    element
        Chemical symbol.
    size
        Cells along x, y and z.
    a
        Lattice constant in Å; ASE's where it is left out.

    Raises
    ------
    InputError
        If the structure is not among these, the element is unknown, or its lattice constant is not known or absurd.

    Examples
    --------
    >>> len(build_crystal("fcc", "Al", (3, 3, 3)))
    108
    """
    if structure not in CUBIC:
        raise InputError(f"the structure must be one of {', '.join(CUBIC)}, got {structure!r}")
    if min(size) < 2:
        raise InputError(f"the crystal must have at least 2 cells along each axis, got {size}")
    if a is not None and not 0 < a < math.inf:
        raise InputError(f"a lattice constant must be positive, got {a} Å")
    try:
        crystal = bulk(element, structure, a=a, cubic=True) * size
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{structure} {element} cannot be built ({error}): check the symbol, and give its lattice constant"
        ) from error
    apart = float(crystal.get_distances(0, range(1, len(crystal)), mic=True).min())
    diameter = 2 * float(covalent_radii[crystal.numbers[0]])
    if not NEAREST[0] <= apart / diameter <= NEAREST[1]:
        raise InputError(
            f"{structure} {element} with a lattice constant of {a} Å has its atoms {apart:.3g} Å apart, "
            f"where a bond is some {diameter:.2g} Å: give it in Å"
        )
    return crystal


def thermalise(atoms: Atoms, temperature_K: float | NDArray[np.float64], rng: Generator) -> None:
    """Draw momenta at a temperature, one for all or one an atom, with the centre of mass at rest."""
    temperatures = np.broadcast_to(np.asarray(temperature_K, float), (len(atoms),))
    masses = atoms.get_masses()
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(masses * units.kB * temperatures)[:, None]
    momenta -= masses[:, None] * momenta.sum(axis=0) / masses.sum()
    atoms.set_momenta(momenta)


def liquid_fraction(atoms: Atoms) -> float:
    """Share of the atoms without a solid's neighbourhood.

    An atom is solid if the bond-orientational order of degree 6 of at least six of its twelve nearest neighbours agrees
    with its own.

    Raises
    ------
    InputError
        If the structure is not periodic, or has no more than twelve atoms.

    References
    ----------
    ten Wolde, Ruiz-Montero and Frenkel, Faraday Discuss. 104, 93 (1996); the program is freud's `SolidLiquid`.

    Examples
    --------
    >>> liquid_fraction(build_crystal("fcc", "Al", (3, 3, 3)))
    0.0
    """
    import freud

    if not atoms.pbc.all() or len(atoms) <= NEIGHBOURS:
        raise InputError(
            f"solid and liquid are told apart in periodic cells of more than {NEIGHBOURS} atoms, got "
            f"{len(atoms)} atoms, pbc = {atoms.pbc.tolist()}"
        )
    box = freud.box.Box.from_matrix(atoms.cell.array.T)
    order = freud.order.SolidLiquid(l=6, q_threshold=BOND_ORDER, solid_threshold=SOLID_BONDS)
    # freud's box has its origin in the middle
    points = box.wrap(atoms.get_positions(wrap=True) - atoms.cell.array.sum(axis=0) / 2)
    order.compute((box, points), neighbors={"num_neighbors": NEIGHBOURS})
    return float(np.mean(order.num_connections < SOLID_BONDS))


def solid_or_liquid(fractions: Sequence[float]) -> str:
    """State of a cell from its latest liquid fractions.

    Examples
    --------
    >>> solid_or_liquid([0.5, 0.97, 0.99]), solid_or_liquid([0.97, 0.5]), solid_or_liquid([0.05, 0.02])
    ('liquid', 'undecided', 'solid')
    """
    latest = fractions[-AGREEING_CHECKS:]
    if len(latest) < AGREEING_CHECKS:
        return "undecided"
    if min(latest) > LIQUID_ABOVE:
        return "liquid"
    return "solid" if max(latest) < SOLID_BELOW else "undecided"


def z_barostat(
    atoms: Atoms,
    temperature_K: float,
    timestep_fs: float = TIMESTEP_FS,
    pressure: float = 0.0,
    *,
    thermostat_fs: float = THERMOSTAT_FS,
) -> MaskedMTKNPT:
    """Dynamics at a temperature and at a pressure along z (eV/Å^3); the cell's other axes stay as they are.

    An isotropic barostat would stretch the crystal as the other half melts, which favours melting, and a free cell
    shears. An endless damping time of the thermostat leaves the enthalpy constant.

    Raises
    ------
    InputError
        If the third axis of the cell is not along z.
    """
    if not np.allclose(atoms.cell.array[2, :2], 0.0) or not np.allclose(atoms.cell.array[:2, 2], 0.0):
        raise InputError(
            "the barostat along z needs a cell whose third axis is along z and whose others are across, got "
            f"{atoms.cell.array.tolist()}"
        )
    return MaskedMTKNPT(
        atoms,
        timestep_fs * units.fs,
        temperature_K=temperature_K,
        pressure_au=pressure,
        tdamp=thermostat_fs * units.fs,
        pdamp=BAROSTAT_FS * units.fs,
        # ASE 3.29 takes its documented tuple for indices, and so freezes the cell
        mask=np.array([False, False, True]),
    )


def equilibrate(
    atoms: Atoms, temperature_K: float, n_steps: int, rng: Generator, *, scale: bool = True
) -> PhasePoint:
    """Run a pure phase at no pressure, isotropically, and average over the second half.

    Parameters
    ----------
    atoms
        With a calculator; left at the end of the run, with the mean volume where `scale` is true.
    n_steps
        Of 3 fs.
    """
    thermalise(atoms, 2.0 * temperature_K, rng)  # half of it goes into displacements
    dynamics = IsotropicMTKNPT(
        atoms,
        TIMESTEP_FS * units.fs,
        temperature_K=temperature_K,
        pressure_au=0.0,
        tdamp=THERMOSTAT_FS * units.fs,
        pdamp=BAROSTAT_FS * units.fs,
    )
    volumes, energies = [], []
    for step, _ in enumerate(dynamics.irun(n_steps)):
        if 2 * step >= n_steps:
            volumes.append(atoms.get_volume())
            energies.append(atoms.get_potential_energy())
    volume = float(np.mean(volumes))
    if scale:
        atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return PhasePoint(temperature_K, volume / len(atoms), float(np.mean(energies)) / len(atoms))


def heat_until_melted(
    atoms: Atoms, rng: Generator, start_K: float = 300.0, on_step: Callable[[int], None] | None = None
) -> float:
    """Heat a crystal at no pressure until it melts by itself.

    Parameters
    ----------
    atoms
        With a calculator; a liquid afterwards.
    start_K
        Temperature to begin at.

    Returns
    -------
    float
        Temperature in K, some 30 % above the melting point, as a crystal without surfaces superheats.

    Raises
    ------
    ProximaError
        If it does not melt.
    """
    thermalise(atoms, 2.0 * start_K, rng)
    fractions: list[float] = []
    temperature = start_K
    for block in range(MOST_HEATING_STEPS // CHECK_STEPS):
        dynamics = IsotropicMTKNPT(
            atoms,
            TIMESTEP_FS * units.fs,
            temperature_K=temperature,
            pressure_au=0.0,
            tdamp=THERMOSTAT_FS * units.fs,
            pdamp=BAROSTAT_FS * units.fs,
        )
        dynamics.run(CHECK_STEPS)
        if on_step:
            on_step((block + 1) * CHECK_STEPS)
        fractions.append(liquid_fraction(atoms))
        if solid_or_liquid(fractions) == "liquid":
            return temperature
        temperature += CHECK_STEPS * HEATING_K_PER_STEP
    raise ProximaError(f"the crystal did not melt up to {temperature:.0f} K: check the target")


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
