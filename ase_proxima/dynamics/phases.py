"""Pure phases: a crystal, its state at a temperature and no pressure, and its melting by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.data import covalent_radii
from ase.md.nose_hoover_chain import IsotropicMTKNPT, MaskedMTKNPT
from numpy.random import Generator
from numpy.typing import NDArray

from ase_proxima.dynamics.order import liquid_fraction, solid_or_liquid
from ase_proxima.errors import InputError, ProximaError

__all__ = ["PhasePoint", "build_crystal", "equilibrate", "heat_until_melted", "thermalise", "z_barostat"]

# What the protocol is made of, after Hong and van de Walle, J. Chem. Phys. 139, 094114 (2013) and CALPHAD 52, 88 (2016)
# where nothing else is said; "measured" is on aluminium, EMT by Asap, 216 atoms.
TIMESTEP_FS = 3.0
"""Usual for metals."""
THERMOSTAT_FS, BAROSTAT_FS = 100.0, 1000.0
"""Damping times."""
CHECK_STEPS = 100
"""Steps between two looks at the structure."""
HEATING_K_PER_STEP = 0.2
"""A crystal without surfaces melts some 30 % above its melting point at this rate (measured)."""
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


def _at_no_pressure(atoms: Atoms, temperature_K: float) -> IsotropicMTKNPT:
    return IsotropicMTKNPT(
        atoms,
        TIMESTEP_FS * units.fs,
        temperature_K=temperature_K,
        pressure_au=0.0,
        tdamp=THERMOSTAT_FS * units.fs,
        pdamp=BAROSTAT_FS * units.fs,
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
    volumes, energies = [], []
    for step, _ in enumerate(_at_no_pressure(atoms, temperature_K).irun(n_steps)):
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
        _at_no_pressure(atoms, temperature).run(CHECK_STEPS)
        if on_step:
            on_step((block + 1) * CHECK_STEPS)
        fractions.append(liquid_fraction(atoms))
        if solid_or_liquid(fractions) == "liquid":
            return temperature
        temperature += CHECK_STEPS * HEATING_K_PER_STEP
    raise ProximaError(f"the crystal did not melt up to {temperature:.0f} K: check the target")
