"""Molecular dynamics of copper at 600 K, in a run directory that another process can go on with."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

from ase_proxima import NotWorthwhileWarning, ProximaCalculator

warnings.simplefilter("ignore", NotWorthwhileWarning)  # EMT is cheaper than any surrogate; it stands for DFT

with tempfile.TemporaryDirectory() as folder:
    run_dir = Path(folder) / "copper"
    rng = np.random.default_rng(0)
    settings = {
        "timestep": 2 * units.fs,
        "temperature_K": 600,
        "friction": 0.02 / units.fs,
        "rng": rng,
        "fixcm": False,
    }
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.set_momenta(rng.normal(size=(32, 3)) * np.sqrt(units.kB * 600 * atoms.get_masses())[:, None])
    atoms.calc = ProximaCalculator(EMT(), error_bound=0.1, error_metric="force_max", run_dir=run_dir)  # eV/Å
    dynamics = Langevin(atoms, **settings)
    dynamics.run(30)
    atoms.calc.close()

    # Later, in another process: the surrogate, the controller and every target result are still there.
    atoms.calc = ProximaCalculator.resume(run_dir, EMT())
    before = atoms.calc.stats
    dynamics = Langevin(atoms, **settings)
    dynamics.run(30)
    stats = atoms.calc.stats
    atoms.calc.close()

print(f"target runs: {before.n_target_runs} in the first {before.n_calls} calls,", end=" ")
print(f"{stats.n_target_runs} in {stats.n_calls} calls of both processes")
print(f"temperature at the end: {atoms.get_temperature():.0f} K")
