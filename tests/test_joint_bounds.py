"""Two bounds at once, from the calculator to the report, with errors that the target gives afterwards."""

import csv

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from click.testing import CliRunner

from ase_proxima import Decision, ProximaCalculator
from ase_proxima.reports.report import report_run
from ase_proxima.runs.run_data import read_run
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.surrogates.linear.surrogate import BayesianSoap
from proxima_cli.proxima import main

BOUNDS = {"energy": 0.01, "force_max": 0.1}


class SteadyEMT(EMT):
    """Sums neighbours in the same order whatever was asked before, so that runs compare to the last bit."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, all_changes)


def vibrate(start, n, size, seed=0):
    """Structures of a walk that stays near `start`: each coordinate an autoregressive process."""
    rng = np.random.default_rng(seed)
    shift = np.zeros_like(start.positions)
    for _ in range(n):
        shift = 0.95 * shift + rng.normal(0, size, shift.shape)
        atoms = start.copy()
        atoms.positions += shift
        yield atoms


def ask(calc, inputs):
    """Energies, forces and decisions."""
    asked = []
    for atoms in inputs:
        atoms.calc = calc
        asked.append((atoms.get_potential_energy(), atoms.get_forces(), calc.last_decision))
    return asked


def true_errors(inputs, asked):
    """Errors of the calls that the surrogate answered."""
    errors = {"energy": [], "force_max": []}
    for atoms, (energy, forces, decision) in zip(inputs, asked, strict=True):
        if decision is Decision.SURROGATE:
            atoms.calc = EMT()
            errors["energy"].append(abs(atoms.get_potential_energy() - energy))
            errors["force_max"].append(np.linalg.norm(atoms.get_forces() - forces, axis=1).max())
    return errors


def check(path, start, n, size, surrogate, **options):
    inputs = list(vibrate(start, n, size))
    options = {"error_bound": BOUNDS, "seed": 3, "when_not_worthwhile": "ignore", **options}
    whole = ProximaCalculator(SteadyEMT(), **options)
    expected = ask(whole, [atoms.copy() for atoms in inputs])
    cut = 2 * n // 3
    calc = ProximaCalculator(SteadyEMT(), run_dir=path, **options)
    asked = ask(calc, inputs[:cut])
    calc.close()
    calc = ProximaCalculator.resume(path, SteadyEMT())
    asked += ask(calc, inputs[cut:])
    assert type(calc.surrogate) is surrogate
    stats = calc.stats
    calc.close()
    assert [decision for *_, decision in asked] == [decision for *_, decision in expected]
    for (energy, forces, _), (same_energy, same_forces, _) in zip(asked, expected, strict=True):
        assert energy == same_energy
        assert np.array_equal(forces, same_forces)

    errors = true_errors(inputs, asked)
    assert len(errors["energy"]) == stats.n_surrogate
    for metric, bound in BOUNDS.items():
        assert 0 < np.mean(errors[metric]) <= bound
    below = below_threshold(path)
    assert [all(both) for both in below] == [decision is not Decision.TARGET for *_, decision in asked]
    assert any(any(both) and not all(both) for both in below)  # one bound alone would have trusted these
    check_stats(stats, errors)
    report = report_run(read_run(path))
    assert [bound["metric"] for bound in report["bounds"]] == list(BOUNDS)
    assert [bound["bound"] for bound in report["bounds"]] == list(BOUNDS.values())
    for bound in report["bounds"]:
        assert bound["verdict"].startswith("held")
        assert bound["error_estimate"] == pytest.approx(stats.error_estimate[bound["metric"]], rel=0.3)
    printed = CliRunner().invoke(main, ["report", str(path)])
    assert printed.exit_code == 0, printed.output
    for metric, unit in (("energy", "eV"), ("force_max", "eV/Å")):
        assert f"{BOUNDS[metric]:g} {unit}, mean of {metric} error, trusted calls" in printed.output
    return stats


def below_threshold(path):
    """For each call and bound, whether its uncertainty was below its threshold."""
    with (path / "steps.csv").open() as file:
        return [
            [float(row[f"uncertainty_{metric}"]) < float(row[f"threshold_{metric}"]) for metric in BOUNDS]
            for row in csv.DictReader(file)
        ]


def check_stats(stats, errors):
    assert stats.error_estimate.keys() == stats.error_upper.keys() == stats.threshold.keys() == BOUNDS.keys()
    for metric, bound in BOUNDS.items():
        assert 0 < stats.error_estimate[metric] <= bound
        assert not stats.error_upper[metric] <= np.mean(errors[metric])  # or not known yet
        assert not stats.error_upper[metric] >= 5 * bound
        assert 0 < stats.threshold[metric] < np.inf


def test_a_molecule_holds_both_bounds(tmp_path):
    stats = check(tmp_path / "run", molecule("CH4"), 400, 0.03, GradientGP)
    assert stats.n_surrogate > 350


def test_a_crystal_holds_both_bounds(tmp_path):
    stats = check(tmp_path / "run", bulk("Al", cubic=True), 240, 0.04, BayesianSoap)
    assert stats.n_surrogate > 200
