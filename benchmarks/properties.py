"""Properties made of many answers: wrapped against plain, with the calls of the target.

    python benchmarks/properties.py [ROW ...] [--out benchmarks/results/properties.csv]

Rows: eos-Cu eos-Al c44-Al cell-Al vibrations-H2O vibrations-C6H6 rotation-C2H6. The molecules are GFN2-xTB (extra
`xtb`), the metals EMT; the bound is 0.05 eV/Å of the largest force, everything else by default.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.units import GPa
from ase.vibrations import Vibrations

from ase_proxima import ProximaCalculator, confirm
from ase_proxima.targets import parse_target

ROOT = Path(__file__).resolve().parents[1]
Make = Callable[[], BaseCalculator]
FIELDS = ("property", "unit", "plain", "wrapped", "error", "calls_plain", "calls_target", "calls")


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


def stretch(name: str, calculator: BaseCalculator) -> float:
    """Highest frequency of a molecule at its relaxed geometry, in 1/cm."""
    atoms = molecule(name)
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


ROWS: dict[str, tuple[str, Make, Callable[[BaseCalculator], float]]] = {
    "eos-Cu": ("GPa", EMT, lambda calculator: equation_of_state("Cu", calculator)),
    "eos-Al": ("GPa", EMT, lambda calculator: equation_of_state("Al", calculator)),
    "c44-Al": ("GPa", EMT, shear_modulus),
    "cell-Al": ("Å³/atom", EMT, relaxed_volume),
    "vibrations-H2O": ("1/cm", lambda: parse_target("xtb:GFN2"), lambda calc: stretch("H2O", calc)),
    "vibrations-C6H6": ("1/cm", lambda: parse_target("xtb:GFN2"), lambda calc: stretch("C6H6", calc)),
    "rotation-C2H6": ("meV", lambda: parse_target("xtb:GFN2"), rotation),
}


def measure(name: str) -> dict[str, object]:
    """One row: the property by the target alone, and by the wrapped target."""
    unit, make, compute = ROWS[name]
    alone = ProximaCalculator(make(), error_bound=0.05, controller="baseline")  # counts the calls
    plain = compute(alone)
    calculator = ProximaCalculator(make(), error_bound=0.05, when_not_worthwhile="ignore")
    wrapped = compute(calculator)
    stats = calculator.stats
    numbers = (plain, wrapped, wrapped - plain, alone.stats.n_calls, stats.n_target_runs, stats.n_calls)
    return dict(zip(FIELDS, (name, unit, *numbers), strict=True))


def main() -> None:
    """Measure the rows, print and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", default=list(ROWS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "properties.csv")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for name in options.rows:
            row = measure(name)
            writer.writerow(row)
            file.flush()
            print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
