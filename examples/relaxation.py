"""Relax a molecule on the surrogate, and let the target confirm the end.

EMT stands for an expensive calculator here: put yours in its place.
"""

import numpy as np
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from ase_proxima import ProximaCalculator, confirm

FMAX = 0.01

atoms = molecule("C2H4")
atoms.rattle(0.1, seed=2)
atoms.calc = ProximaCalculator(EMT(), error_bound=0.05, when_not_worthwhile="ignore")

optimizer = BFGS(atoms, logfile=None)
optimizer.run(fmax=FMAX, steps=100)


def true_force() -> float:
    """Largest force that the target itself finds, in eV/Å."""
    return float(np.linalg.norm(EMT().get_property("forces", atoms.copy()), axis=1).max())


print(f"the surrogate stopped at {true_force():.4f} eV/Å")
converged = confirm(optimizer, fmax=FMAX)
print(f"confirmed: {converged}, at {true_force():.4f} eV/Å")
print(f"calls of the target: {atoms.calc.stats.n_target_runs} of {atoms.calc.stats.n_calls}")
