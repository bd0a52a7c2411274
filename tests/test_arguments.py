"""What ProximaCalculator refuses, and how it says so."""

import re

import pytest
from ase.build import molecule

from ase_proxima import InputError, ProximaCalculator
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.testing import HarmonicWells, NearestFrame

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")


def make(**options):
    nearest = NearestFrame()
    parts = {"surrogate": nearest, "uncertainty": nearest, "controller": FixedController(0.02)}
    return ProximaCalculator(HarmonicWells(WATER.positions), **{"error_bound": 0.05, **parts, **options})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"error_bound": 0.0}, "error_bound must be a positive number, got 0.0"),
        ({"error_bound": float("nan")}, "error_bound must be a positive number"),
        ({"error_bound": "small"}, "error_bound must be a positive number"),
        ({"error_bound": {}}, "error_bound must name a metric"),
        ({"error_bound": {"entropy": 0.1}}, "unknown error metric 'entropy'"),
        ({"error_metric": "entropy"}, "unknown error metric 'entropy'"),
        ({"error_bound": True}, "error_bound must be a positive number, got True"),
        (
            {"error_bound": {"energy": 0.1}, "error_metric": "energy"},
            "names the metrics itself, energy, beside error_metric='energy': leave error_metric out",
        ),
        ({"error_metric": ["energy"]}, r"unknown error metric \['energy'\]"),
        ({"error_metric": []}, r"unknown error metric \[\]"),
        ({"error_metric": 3}, "unknown error metric 3: use one of energy"),
        ({"error_metric": "value"}, "the error metric 'value' needs value"),
        ({"surrogate": "crystal ball"}, "unknown surrogate 'crystal ball'"),
        ({"surrogate": 3}, "surrogate must be a name or an object with the protocol .*Surrogate, got int"),
        (
            {"training": 2.5},
            "training must be a name or an object with the protocol .*TrainingPolicy, got float",
        ),
        ({"uncertainty": None}, "uncertainty must be a name or an object with .*Uncertainty, got NoneType"),
        ({"uncertainty": "gut feeling"}, "unknown uncertainty 'gut feeling'"),
        ({"controller": "chaos"}, "unknown controller 'chaos'"),
        ({"controller": "fixed"}, "unknown controller 'fixed'"),
        (
            {"controller": "fixed:low"},
            "threshold of the controller 'fixed:low' is no number: write one, such as",
        ),
        ({"controller": "linear", "bound_over": "all"}, 'use controller="risk", or leave bound_over out'),
        ({"controller": FixedController}, r"got the class FixedController: pass FixedController\(...\)"),
        (
            {"controller": 0.3},
            "controller must be a name or an object with the protocol .*Controller, got float",
        ),
        ({"controller": "risk", "audit_rate": 2.0}, "audit_rate must lie"),
        ({"controller": "risk", "bound_over": "some"}, "bound_over"),
        ({"controller": "risk", "bound_over": "all", "audit_rate": 0.0}, "audit_rate must lie above 0"),
        ({"training": "sometimes"}, "unknown training 'sometimes'"),
        ({"training": 0}, "retrain interval"),
        ({"training": "never", "surrogate": "auto"}, "pass a fitted surrogate object, or use training"),
        ({"training": "never", "uncertainty": "coulomb"}, "pass a fitted CoulombDistance"),
        ({"seed": -1}, "seed"),
        ({"properties": ("dipole",)}, "properties"),
        ({"properties": ()}, "properties"),
        ({"properties": "energy"}, r"must be a sequence of names, got 'energy': write \['energy'\]"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message) as raised:
        make(run_dir=tmp_path / "run", **arguments)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def ask(calc, n):
    for k in range(n):
        atoms = WATER.copy()
        atoms.positions[0, 2] += 0.01 * k
        calc.get_property("energy", atoms)


@pytest.mark.parametrize("returned", ["0.1", -0.5, None, [0.1, 0.2]])
def test_an_error_metric_that_gives_no_distance_is_one_clear_line(returned):
    calc = make(error_metric=lambda target, surrogate: returned, controller=FixedController(0.0))
    with pytest.raises(
        InputError, match=f"must return a number .*, got {re.escape(repr(returned))}"
    ) as raised:
        ask(calc, 5)
    assert "\n" not in str(raised.value)
    assert "the error metric 'error'" in str(raised.value)


def test_a_run_with_several_bounds_is_resumed_by_its_folder_alone(tmp_path):
    target = HarmonicWells(WATER.positions)
    calc = ProximaCalculator(target, error_bound={"energy": 0.1, "force_max": 0.5}, run_dir=tmp_path / "run")
    atoms = WATER.copy()
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    calc.close()
    resumed = ProximaCalculator.resume(tmp_path / "run", target)
    assert resumed.stats.n_calls == 1
    assert resumed.get_potential_energy(WATER.copy()) == energy
    resumed.close()
