"""The barrier of a gold atom on aluminium by a nudged elastic band, with one calculator for all images.

EMT stands for an expensive calculator here: put yours in its place.
"""

from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from ase_proxima import ProximaCalculator, confirm

slab = fcc100("Al", size=(2, 2, 3))
add_adsorbate(slab, "Au", 1.7, "hollow")
slab.center(axis=2, vacuum=4.0)
slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))

ends = []
for shift in (0.0, slab.get_cell()[0, 0] / 2):
    end = slab.copy()
    end.positions[-1, 0] += shift
    end.calc = EMT()
    BFGS(end, logfile=None).run(fmax=0.02)
    ends.append(end)

shared = ProximaCalculator(EMT(), error_bound=0.03, when_not_worthwhile="ignore")
images = [ends[0].copy(), *(ends[0].copy() for _ in range(3)), ends[1].copy()]
for image in images:
    image.calc = shared
band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
band.interpolate()

optimizer = FIRE(band, logfile=None)
optimizer.run(fmax=0.05, steps=200)
converged = confirm(optimizer, fmax=0.05)

with shared.target_only():  # a barrier is a difference, which a bound on each energy does not bound
    energies = [image.get_potential_energy() for image in images]
print(f"confirmed: {converged}")
print(f"barrier: {max(energies) - energies[0]:.3f} eV")
print(f"calls of the target: {shared.stats.n_target_runs} of {shared.stats.n_calls}")
