"""Surrogates that come trained, and are used as they are."""

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima import InputError, ProximaCalculator
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.surrogates.soap_ridge import SoapRidge
from ase_proxima.testing import HarmonicWells
from ase_proxima.types import Frame

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")
WELLS = HarmonicWells(WATER.positions)
ENERGY = {"error_bound": 0.05, "error_metric": "energy", "properties": ("energy",)}


def shaken(n, seed=0, size=0.01):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        yield atoms


@pytest.mark.parametrize("make_surrogate", [GradientGP, SoapRidge])
def test_a_surrogate_that_came_trained_answers_from_the_first_call_and_never_learns(make_surrogate, tmp_path):
    target = HarmonicWells(WATER.positions)
    surrogate = make_surrogate()
    frames = [Frame(atoms, {"energy": target.get_property("energy", atoms)}) for atoms in shaken(30, seed=1)]
    surrogate.fit(frames)
    expected = [surrogate.predict(atoms).results["energy"] for atoms in shaken(8)]
    n_runs = target.n_runs
    options = {"surrogate": surrogate, "controller": FixedController(1.0)}
    calc = ProximaCalculator(target, **ENERGY, training="never", run_dir=tmp_path / "run", **options)
    given = [calc.get_property("energy", atoms) for atoms in list(shaken(8))[:5]]
    assert (calc.stats.n_surrogate, calc.stats.n_calls, calc.stats.model_version) == (5, 5, 0)
    calc.close()
    calc = ProximaCalculator.resume(tmp_path / "run", target, **options)
    given += [calc.get_property("energy", atoms) for atoms in list(shaken(8))[5:]]
    assert given == expected
    assert calc.stats.n_calls == 8
    assert target.n_runs == n_runs
    calc.close()
    with pytest.raises(InputError, match="pass a fitted surrogate object"):
        ProximaCalculator.resume(tmp_path / "run", target, controller=FixedController(1.0))


def test_a_surrogate_that_came_trained_is_audited_as_any_other():
    surrogate = GradientGP()
    surrogate.fit(
        [Frame(atoms, {"energy": WELLS.get_property("energy", atoms)}) for atoms in shaken(40, seed=1)]
    )
    calc = ProximaCalculator(WELLS, **ENERGY, surrogate=surrogate, controller="risk", training="never")
    for atoms in shaken(200):
        calc.get_property("energy", atoms)
    assert surrogate.n_frames == 40
    assert calc.stats.n_surrogate > 100
    assert calc.stats.n_audit >= 3  # as many as make its uncertainty known


def test_never_trained_and_never_fitted_is_one_clear_line():
    calc = ProximaCalculator(WELLS, **ENERGY, surrogate=GradientGP(), training="never")
    with pytest.raises(InputError, match="gradient_gp has not been fitted: call fit"):
        calc.get_property("energy", WATER)


def test_the_baseline_needs_no_trained_surrogate():
    calc = ProximaCalculator(WELLS, **ENERGY, surrogate="auto", controller="baseline", training="never")
    assert calc.get_property("energy", WATER) == 0.0


def test_a_surrogate_without_the_deviations_that_rank_the_errors_is_refused():
    calc = ProximaCalculator(WELLS, surrogate=GradientGP(), error_metric="force_max", error_bound=0.05)
    with pytest.raises(InputError, match=r"force_max is ranked .* make it with GradientGP\(force_std=True\)"):
        calc.get_property("energy", WATER)
