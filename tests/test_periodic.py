"""Molecular dynamics of a crystal, driven by the default surrogate from nothing."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

from ase_proxima import ProximaCalculator
from ase_proxima.types import Decision

BOUND = 0.02


@pytest.mark.slow
def test_aluminium_learns_its_own_dynamics_and_holds_the_bound():
    atoms = bulk("Al", cubic=True) * 2
    rng = np.random.default_rng(0)
    thermal = np.sqrt(atoms.get_masses() * units.kB * 900.0)
    atoms.set_momenta(thermal[:, None] * rng.normal(size=(len(atoms), 3)))
    atoms.calc = ProximaCalculator(
        EMT(), error_bound=BOUND, error_metric="force_mae", when_not_worthwhile="ignore"
    )
    dynamics = Langevin(
        atoms, 3.0 * units.fs, temperature_K=900.0, friction=0.01 / units.fs, fixcm=False, rng=rng
    )
    errors, largest_force = [], 0.0

    def compare():
        nonlocal largest_force
        if atoms.calc.last_decision is Decision.SURROGATE:
            exact = EMT().get_property("forces", atoms)
            errors.append(np.abs(atoms.calc.results["forces"] - exact).mean())
            largest_force = max(largest_force, np.abs(exact).mean())

    dynamics.attach(compare)
    dynamics.run(99)
    stats = atoms.calc.stats
    assert stats.n_calls == 100
    assert stats.share_trusted > 0.8
    assert np.mean(errors) < BOUND
    assert stats.error_estimate < BOUND
    assert largest_force > 10 * BOUND  # the bound is far below the forces themselves
