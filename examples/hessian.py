"""Vibrations: a Hessian is made of differences, which only the target can give.

EMT stands for an expensive calculator here: put yours in its place.
"""

import tempfile

from ase.build import molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from ase_proxima import ProximaCalculator, confirm

atoms = molecule("N2")
atoms.calc = ProximaCalculator(EMT(), error_bound=0.05, when_not_worthwhile="ignore")
optimizer = BFGS(atoms, logfile=None)
optimizer.run(fmax=0.01)
confirm(optimizer, fmax=0.01)

with tempfile.TemporaryDirectory() as folder, atoms.calc.target_only():
    vibrations = Vibrations(atoms, name=f"{folder}/vibrations")
    vibrations.run()
    frequency = vibrations.get_frequencies()[-1].real

print(f"stretch: {frequency:.1f} cm^-1")
print(f"calls of the target: {atoms.calc.stats.n_target_runs} of {atoms.calc.stats.n_calls}")
