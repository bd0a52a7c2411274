"""Sample a molecule at 500 K, with a bound on the mean error of the energy.

`proxima-mc --molecule N2 --target emt --temp 500` does the same with a run directory that can be resumed.
"""

import numpy as np
from ase.build import molecule
from ase.calculators.emt import EMT

from ase_proxima import ProximaCalculator
from ase_proxima.apps.monte_carlo import Move, sample
from ase_proxima.apps.statistics import mean_of_chain

atoms = molecule("N2")
atoms.calc = ProximaCalculator(EMT(), error_bound={"energy": 0.002})  # eV

move = Move(temperature_K=500, perturb=0.01)  # each coordinate by a normal step of 0.01 Å
rows = list(sample(atoms, move, 500, np.random.default_rng(1)))

energy = mean_of_chain([row.energy for row in rows])
stats = atoms.calc.stats
print(f"accepted {sum(row.accepted for row in rows[1:])} of {len(rows) - 1} steps")
print(f"mean energy {energy.mean:.3f} +/- {energy.error:.3f} eV")
print(f"target calls: {stats.n_target} flagged, {stats.n_audit} audits, of {stats.n_calls} calls")
