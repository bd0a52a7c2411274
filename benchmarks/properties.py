"""Properties made of many answers: wrapped against plain, with the calls of the target.

    python benchmarks/properties.py [ROW ...] [--out benchmarks/results/properties.csv]

Rows are named in `ROWS`; by default all are measured, and those of the file that are not measured stay. The molecules
are GFN2-xTB (extra `xtb`), the metals EMT, silicon is Stillinger and Weber's by matscipy (extra `manybody`); the bound
is 0.05 eV/Å of the largest force, everything else by default. A row holds where the wrapped target's value is within
its tolerance of the plain one's.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, fcc111, molecule
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons
from ase.units import GPa, invcm
from ase.vibrations import Vibrations
from surrogates import STILLINGER_WEBER

from ase_proxima import ProximaCalculator, confirm
from ase_proxima.targets import parse_target

ROOT = Path(__file__).resolve().parents[1]
STRUCTURES = ROOT / "benchmarks" / "structures"
Make = Callable[[], BaseCalculator]
FMAX = 0.02
"""Largest force in eV/Å at which the relaxations of the rows `relaxed-*` end."""
XTB: Make = lambda: parse_target("xtb:GFN2")  # noqa: E731


def equation_of_state(metal: str, calculator: BaseCalculator) -> float:
    """Bulk modulus in GPa from 21 cells of 0.9 to 1.1 times the lattice constant."""
    start, volumes, energies = bulk(metal, cubic=True), [], []
    for scale in np.linspace(0.9, 1.1, 21):
        atoms = start.copy()
        atoms.set_cell(start.cell * scale, scale_atoms=True)
        volumes.append(atoms.get_volume())
        energies.append(calculator.get_property("energy", atoms))
    near = slice(int(np.argmin(energies)) - 5, int(np.argmin(energies)) + 6)
    return float(EquationOfState(volumes[near], energies[near], eos="birchmurnaghan").fit()[2] / GPa)


def elastic_constants(metal: str, calculator: BaseCalculator) -> tuple[float, float]:
    """C11 and C12 in GPa from strains of 0.5 and 1 % along one axis."""
    start, strains, stresses = bulk(metal, cubic=True), (0.0, 0.005, -0.005, 0.01, -0.01), []
    for strain in strains:
        atoms = start.copy()
        atoms.set_cell(start.cell.array * [1 + strain, 1, 1], scale_atoms=True)
        stresses.append(calculator.get_property("stress", atoms)[:2])
    along, across = np.polyfit(strains, np.array(stresses), 1)[0] / GPa
    return float(along), float(across)


def shear_modulus(calculator: BaseCalculator) -> float:
    """C44 of aluminium in GPa from shears of 0.5 and 1 %."""
    start, shears, stresses = bulk("Al", cubic=True), (0.0, 0.005, -0.005, 0.01, -0.01), []
    for shear in shears:
        deformation = np.eye(3)
        deformation[1, 2] = deformation[2, 1] = shear / 2
        atoms = start.copy()
        atoms.set_cell(start.cell @ deformation, scale_atoms=True)
        stresses.append(calculator.get_property("stress", atoms)[3])
    return float(np.polyfit(shears, stresses, 1)[0] / GPa)


def relaxed_volume(calculator: BaseCalculator) -> float:
    """Volume in Å³ an atom of 32 rattled atoms of aluminium whose cell was strained by 5 %, relaxed."""
    atoms = bulk("Al", cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
    atoms.calc = calculator
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=200)
    return float(atoms.get_volume()) / len(atoms)


def highest_phonon(calculator: BaseCalculator) -> float:
    """Highest frequency of aluminium at the point X, in 1/cm, from displacements in 27 atoms."""
    with tempfile.TemporaryDirectory() as folder:
        phonons = Phonons(bulk("Al"), calculator, supercell=(3, 3, 3), delta=0.02, name=f"{folder}/phonons")
        phonons.run()
        phonons.read(acoustic=True)
        return float(phonons.band_structure([[0.5, 0.0, 0.5]], verbose=False).max() / invcm)


def stretch(name: str, calculator: BaseCalculator) -> float:
    """Highest frequency of a molecule at its relaxed geometry, in 1/cm."""
    atoms = read(STRUCTURES / f"{name}.xyz") if name == "glycine" else molecule(name)
    atoms.calc = calculator
    optimizer = BFGS(atoms, logfile=None)
    optimizer.run(fmax=0.01, steps=100)
    if isinstance(calculator, ProximaCalculator):
        confirm(optimizer, fmax=0.01)
    with tempfile.TemporaryDirectory() as folder:
        vibrations = Vibrations(atoms, name=f"{folder}/vibrations")
        vibrations.run()
        return float(vibrations.get_frequencies()[-1].real)


def rotation(calculator: BaseCalculator) -> float:
    """Barrier of the methyl rotation of ethane in meV, by a band of seven images with one calculator."""
    start = molecule("C2H6")
    start.calc = calculator
    optimizer = BFGS(start, logfile=None)
    optimizer.run(fmax=0.01, steps=100)
    images = [turned(start, 20.0 * k) for k in range(7)]
    for image in images:
        image.calc = calculator
    optimizer = FIRE(NEB(images, allow_shared_calculator=True, method="improvedtangent"), logfile=None)
    optimizer.run(fmax=0.05, steps=100)
    if isinstance(calculator, ProximaCalculator):
        confirm(optimizer, fmax=0.05)
    energies = [image.get_potential_energy() for image in images]
    return 1e3 * (max(energies) - energies[0])


def turned(ethane: Atoms, angle: float) -> Atoms:
    """Ethane with its first methyl group turned by an angle in degrees."""
    atoms = ethane.copy()
    methyl = atoms[[2, 3, 4]]
    methyl.rotate(angle, "z")
    atoms.positions[[2, 3, 4]] = methyl.positions
    return atoms


def hop(calculator: BaseCalculator) -> float:
    """Barrier in meV of an Au adatom that moves to the next hollow of Al(100), by a band of five images."""
    start = fcc100("Al", size=(2, 2, 3))
    add_adsorbate(start, "Au", 1.7, "hollow")
    start.center(axis=2, vacuum=4.0)
    start.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in start]))
    end = start.copy()
    end.positions[-1, 0] += start.get_distance(0, 1)
    for atoms in (start, end):
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=0.02, steps=100)
    images = [start.copy(), *(start.copy() for _ in range(3)), end.copy()]
    for image in images:
        image.calc = calculator
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    optimizer = FIRE(band, logfile=None)
    optimizer.run(fmax=0.05, steps=200)
    if isinstance(calculator, ProximaCalculator):
        confirm(optimizer, fmax=0.05)
    energies = [image.get_potential_energy() for image in images]
    return 1e3 * (max(energies) - energies[0])


def rattled(start: Atoms) -> Atoms:
    """A structure whose free atoms were moved by 0.1 Å."""
    start.rattle(0.1, seed=1)
    return start


def with_vacancy(metal: str) -> Atoms:
    """31 atoms of an fcc metal round a vacancy."""
    atoms = bulk(metal, cubic=True) * 2
    del atoms[0]
    return atoms


def slab_with_oxygen() -> Atoms:
    """Twelve atoms of Ni(111), the lowest layer fixed, with an oxygen atom."""
    atoms = fcc111("Ni", size=(2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.2, "fcc")
    atoms.set_constraint(FixAtoms(mask=[atom.tag == 3 for atom in atoms]))
    return atoms


def end_of_relaxation(start: Callable[[], Atoms], make: Make, calculator: BaseCalculator) -> float:
    """Largest force in eV/Å by the target where the relaxation of a rattled structure ends, but FMAX at least."""
    atoms = rattled(start())
    atoms.calc = calculator
    optimizer = BFGS(atoms, logfile=None)
    optimizer.run(fmax=FMAX, steps=200)
    if isinstance(calculator, ProximaCalculator):
        confirm(optimizer, fmax=FMAX)
    atoms.calc = make()
    return max(FMAX, float(np.linalg.norm(atoms.get_forces(), axis=1).max()))


@dataclass(frozen=True)
class Row:
    """What is computed of which target, in which unit, and how far off it may be, of itself where `relative`."""

    unit: str
    tolerance: float
    make: Make
    compute: Callable[[BaseCalculator], float]
    relative: bool = False


def relaxation(start: Callable[[], Atoms], make: Make) -> Row:
    """A row that holds where the relaxation has ended for the target."""
    # the target's own relaxation has, but for what a repeated calculation differs by
    return Row("eV/Å", 1e-5, make, lambda calculator: end_of_relaxation(start, make, calculator))


ROWS: dict[str, Row] = {
    "eos-Cu": Row("GPa", 0.03, EMT, lambda calculator: equation_of_state("Cu", calculator), relative=True),
    "eos-Al": Row("GPa", 0.03, EMT, lambda calculator: equation_of_state("Al", calculator), relative=True),
    "eos-Si": Row(
        "GPa", 0.03, STILLINGER_WEBER, lambda calculator: equation_of_state("Si", calculator), relative=True
    ),
    "c11-Al": Row("GPa", 0.05, EMT, lambda calculator: elastic_constants("Al", calculator)[0], relative=True),
    "c12-Al": Row("GPa", 0.05, EMT, lambda calculator: elastic_constants("Al", calculator)[1], relative=True),
    "c44-Al": Row("GPa", 0.05, EMT, shear_modulus, relative=True),
    "c11-Ni": Row("GPa", 0.05, EMT, lambda calculator: elastic_constants("Ni", calculator)[0], relative=True),
    "phonon-Al": Row("1/cm", 5.0, EMT, highest_phonon),
    "cell-Al": Row("Å³/atom", 0.05, EMT, relaxed_volume),
    **{
        f"vibrations-{name}": Row("1/cm", 5.0, XTB, lambda calculator, name=name: stretch(name, calculator))
        for name in ("H2O", "C6H6", "NH3", "CH3OH", "H2CO", "glycine")
    },
    "hop-Au": Row("meV", 2.0, EMT, hop),
    "rotation-C2H6": Row("meV", 2.0, XTB, rotation),
    **{
        f"relaxed-{name}": relaxation(lambda name=name: molecule(name), XTB)
        for name in ("CH3OH", "CH3CHO", "C2H4", "HCOOH", "CH3NO2")
    },
    "relaxed-Al31": relaxation(lambda: with_vacancy("Al"), EMT),
    "relaxed-Cu31": relaxation(lambda: with_vacancy("Cu"), EMT),
    "relaxed-Pt13": relaxation(lambda: Icosahedron("Pt", 2), EMT),
    "relaxed-Au55": relaxation(lambda: Icosahedron("Au", 3), EMT),
    "relaxed-Ni(111)-O": relaxation(slab_with_oxygen, EMT),
}


def measure(name: str) -> dict[str, object]:
    """One row: the property by the target alone, and by the wrapped target."""
    row = ROWS[name]
    alone = ProximaCalculator(row.make(), error_bound=0.05, controller="baseline")  # counts the calls
    plain = row.compute(alone)
    calculator = ProximaCalculator(row.make(), error_bound=0.05, when_not_worthwhile="ignore")
    wrapped = row.compute(calculator)
    stats = calculator.stats
    tolerance = row.tolerance * abs(plain) if row.relative else row.tolerance
    return {
        "property": name,
        "unit": row.unit,
        "plain": plain,
        "wrapped": wrapped,
        "error": wrapped - plain,
        "tolerance": tolerance,
        "held": abs(wrapped - plain) <= tolerance,
        "calls_plain": alone.stats.n_calls,
        "calls_target": stats.n_target_runs,
        "calls": stats.n_calls,
    }


def main() -> None:
    """Measure the rows, print and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", default=list(ROWS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "properties.csv")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    known = pd.read_csv(options.out).to_dict("records") if options.out.exists() else []
    rows = {row["property"]: row for row in known}
    for name in options.rows:
        rows[name] = measure(name)
        table = pd.DataFrame([rows[name] for name in ROWS if name in rows])
        table.to_csv(options.out, index=False, float_format="%.8g")
        print(*rows[name].values(), flush=True)


if __name__ == "__main__":
    main()
