"""A move whose energy the target cannot give, in a chain that goes on without it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima.apps import delayed_acceptance_run
from ase_proxima.apps.delayed_acceptance import OuterLog
from ase_proxima.apps.delayed_acceptance_run import ExactSettings
from ase_proxima.apps.monte_carlo import ChainLog
from ase_proxima.apps.monte_carlo_run import RunSettings, run
from ase_proxima.errors import TargetError
from ase_proxima.reports.comparison import compare_runs
from ase_proxima.reports.plots import plot_run
from ase_proxima.reports.report import report_run, report_table
from ase_proxima.reports.run_table import run_table
from ase_proxima.runs.run_data import read_run

BOND = 1.16  # Å, beyond which the target below gives no energy; at rest it is 1.11
MODULE = f"""
import numpy as np

def energy(atoms):
    bond = atoms.get_distance(0, 1)
    if bond > {BOND}:
        raise RuntimeError("SCF did not converge")
    pull = 40.0 * (bond - 1.11) * (atoms.positions[1] - atoms.positions[0]) / bond
    return {{"energy": 20.0 * (bond - 1.11) ** 2, "forces": np.array([pull, -pull])}}
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    (tmp_path / "broken_bond.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return RunSettings("N2", 1500.0, 0.03, 3, "broken_bond:energy", "baseline", 0.002)


def test_the_run_ends_at_the_first_failure_unless_told_otherwise(settings):
    with pytest.raises(TargetError, match="SCF did not converge"):
        run(settings, 200, Path("run"))
    stopped = ChainLog.read("run")
    summary = run(settings, 200, Path("run"), resume=True, reject_failures=True)
    assert ChainLog.read("run")[: len(stopped)] == stopped
    assert summary["n_failed"] > 0


def test_moves_without_an_energy_are_rejected_counted_and_kept(settings):
    summary = run(settings, 300, Path("run"), reject_failures=True)
    rows = ChainLog.read("run")
    failed = [row for row in rows if math.isinf(row.proposed_energy)]
    assert summary["n_failed"] == len(failed) > 5
    assert summary["n_calls"] == 301 - len(failed)
    assert not any(row.accepted for row in failed)
    assert len(list(Path("run/failed").glob("*.xyz"))) == len(failed)
    # the chain samples the harmonic bond up to the length at which the target gives up
    lengths = np.linspace(0.95, BOND, 2000)
    weights = lengths**2 * np.exp(-20.0 * (lengths - 1.11) ** 2 / settings.move.kT)
    gyration = np.array([row.radius_of_gyration for row in rows])
    assert gyration.max() <= BOND / 2
    assert 2 * gyration[20:].mean() == pytest.approx(weights @ lengths / weights.sum(), abs=0.01)


@pytest.mark.parametrize("strategy", ["baseline", "proxima"])
def test_a_chain_with_failures_is_resumed_to_the_last_bit(settings, strategy):
    settings = replace(settings, strategy=strategy)
    whole = run(settings, 150, Path("whole"), reject_failures=True)
    run(settings, 60, Path("part"), reject_failures=True)
    resumed = run(settings, 150, Path("part"), resume=True, reject_failures=True)
    assert ChainLog.read("part") == ChainLog.read("whole")
    assert resumed["n_failed"] == whole["n_failed"] > 0
    assert resumed["n_calls"] == whole["n_calls"]


def test_reports_count_them(settings):
    summary = run(settings, 150, Path("exact"), reject_failures=True)
    run(
        RunSettings("N2", 1500.0, 0.03, 3, "broken_bond:energy", "proxima", 0.002, reference="exact"),
        150,
        Path("ours"),
        reject_failures=True,
    )
    runs = [read_run(Path(name)) for name in ("exact", "ours")]
    report = report_run(runs[0])
    assert report["monte_carlo"]["n_failed"] == summary["n_failed"]
    cells = [cell for column in report_table(report).columns for cell in column.cells]
    assert f"{summary['n_failed']}, rejected" in cells
    assert f"gave no energy: {summary['n_failed']} at 1500 K" in run_table([summary]).caption
    true = compare_runs(runs)["runs"][1]["true_error"]
    assert true["n_shared"] == runs[0].n_calls
    assert true["mean_trusted"] < 0.002
    plot_run(Path("ours"))


def test_an_exact_run_rejects_them_too(settings):
    exact = ExactSettings(replace(settings, strategy="proxima"), burn_in=60, inner_steps=5)
    whole = delayed_acceptance_run.run(exact, 60, Path("run"), reject_failures=True)
    rows = OuterLog.read(Path("run/chain.csv"))
    assert whole["n_failed"] >= sum(math.isinf(row.proposed_energy) for row in rows)
    assert molecule("N2").get_distance(0, 1) < BOND
    assert max(row.radius_of_gyration for row in rows) <= BOND / 2
    again = delayed_acceptance_run.run(exact, 60, Path("run"), resume=True, reject_failures=True)
    assert again["n_failed"] == whole["n_failed"] > 0


def test_a_damaged_summary_is_worked_out_again(settings):
    first = run(settings, 20, Path("run"), reject_failures=True)
    Path("run/summary.json").write_text('{"n_ca')
    again = run(settings, 20, Path("run"), resume=True, reject_failures=True)
    assert {name: again[name] for name in ("energy", "n_calls", "n_failed")} == {
        name: first[name] for name in ("energy", "n_calls", "n_failed")
    }
