"""The barrier of ammonia turning inside out, by a nudged elastic band with one calculator for all images.

EMT stands for an expensive calculator here: put yours in its place.
"""

from ase.build import molecule
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from ase_proxima import ProximaCalculator, confirm

start = molecule("NH3")
start.calc = EMT()
BFGS(start, logfile=None).run(fmax=0.005)
end = start.copy()
end.positions[:, 2] *= -1

shared = ProximaCalculator(EMT(), error_bound=0.02, when_not_worthwhile="ignore")
images = [start.copy(), *(start.copy() for _ in range(5)), end]
for image in images:
    image.calc = shared
band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
band.interpolate()

optimizer = FIRE(band, logfile=None)
optimizer.run(fmax=0.03, steps=200)
converged = confirm(optimizer, fmax=0.03)

with shared.target_only():  # a barrier is a difference, which a bound on each energy does not bound
    energies = [image.get_potential_energy() for image in images]
print(f"confirmed: {converged}")
print(f"barrier: {max(energies) - energies[0]:.4f} eV")
print(f"calls of the target: {shared.stats.n_target_runs} of {shared.stats.n_calls}")
