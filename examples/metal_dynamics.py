"""Molecular dynamics of copper at 600 K, in a run directory that another process can go on with."""

import tempfile
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from ase_proxima import ProximaCalculator

with tempfile.TemporaryDirectory() as folder:
    run_dir = Path(folder) / "copper"
    rng = np.random.default_rng(0)
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=rng)
    atoms.calc = ProximaCalculator(EMT(), error_bound=0.1, error_metric="force_max", run_dir=run_dir)  # eV/Å
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=600, friction=0.02 / units.fs, rng=rng)
    dynamics.run(30)
    atoms.calc.close()

    # Later, in another process: the surrogate, the controller and every target result are still there.
    atoms.calc = ProximaCalculator.resume(
        run_dir, EMT(), error_bound=0.1, error_metric="force_max"
    )
    before = atoms.calc.stats
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=600, friction=0.02 / units.fs, rng=rng)
    dynamics.run(30)
    stats = atoms.calc.stats
    atoms.calc.close()

print(f"target runs: {before.n_target_runs} in the first {before.n_calls} calls, {stats.n_target_runs} in {stats.n_calls}")
print(f"temperature at the end: {atoms.get_temperature():.0f} K")
