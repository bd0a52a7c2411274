"""Wrap a calculator, ask it for forces, and look at who answered.

Argon with a Lennard-Jones potential stands for an expensive calculator here: put yours in its place.
"""

import numpy as np
from ase.build import bulk
from ase.calculators.lj import LennardJones

from ase_proxima import Decision, ProximaCalculator

atoms = bulk("Ar", a=5.3, cubic=True) * (2, 2, 2)
perfect = atoms.positions.copy()

# The mean error of the force on the worst atom of a structure may be 0.01 eV/Å.
atoms.calc = ProximaCalculator(
    LennardJones(sigma=3.4, epsilon=0.0103, rc=8.0), error_bound=0.01, error_metric="force_max"
)

rng = np.random.default_rng(0)
answered = []
for _ in range(40):
    atoms.positions = perfect + rng.normal(scale=0.08, size=perfect.shape)
    forces = atoms.get_forces()  # eV/Å; the energy of the same structure would be no second call
    answered.append(atoms.calc.last_decision)

stats = atoms.calc.stats
print(f"calls: {stats.n_calls}")
print(f"the target answered {answered.count(Decision.TARGET)}, and was run {stats.n_audit} times as a check")
print(f"the surrogate answered {stats.n_surrogate + stats.n_audit}")
print(f"mean error of those answers, estimated: {stats.error_estimate:.2g} of 0.01 eV/Å allowed")
