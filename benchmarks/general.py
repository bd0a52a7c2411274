"""Whole runs through `ProximaCalculator` with its defaults: calls of the target, and whether the bound was held.

Each run is Langevin dynamics from the structure as it is made, with random velocities and an untrained surrogate, with
or without a prior. Afterwards `--recomputed` calls that the surrogate answered, drawn at random, are computed by the
target: the mean of their errors is the true one. Systems that were never developed on have the role `check`.

    python benchmarks/general.py --run Pt55 --run "aspirin, prior xtb:GFN1"

Writes benchmarks/results/general.csv, a row a run as it comes; a run made anew replaces its older row. Times are of the
processor; those of target, surrogate (with its uncertainty) and training are the calculator's own times of the wall
clock, times the run's processor time over its wall time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import surrogates
from ase.build import molecule as small_molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from control_systems import FRICTION_PER_FS
from surrogates import System, langevin

from ase_proxima import Decision, ProximaCalculator
from ase_proxima.metrics import find_metric
from ase_proxima.targets.parse import parse_target

RESULTS = Path(__file__).parent / "results" / "general.csv"
KEY = ["run", "seed"]
SYSTEMS = {
    **surrogates.SYSTEMS,
    "ethanol HF/6-31G*": System(
        lambda: small_molecule("CH3CH2OH"), lambda: parse_target("psi4:HF/6-31G*"), 300.0, 0.5
    ),
    "Cu13": System(lambda: Icosahedron("Cu", 2), EMT, 400.0),
}
"""Those of `surrogates.py`, and some that are too expensive or too small to be sampled there."""


@dataclass(frozen=True)
class Run:
    """A system, the bound in the metric's unit, steps, and the temperature (K) where it is not the system's own."""

    system: str
    metric: str
    bound: float
    n_steps: int
    prior: str | None = None
    temperature_K: float | None = None  # noqa: N815

    @property
    def name(self) -> str:
        """The system, with the prior where there is one."""
        return self.system if self.prior is None else f"{self.system}, prior {self.prior}"


def molecule(name: str, n_steps: int) -> list[Run]:
    """Return the runs of a molecule: without a prior, and with one."""
    return [Run(name, "force_max", 0.1, n_steps, prior) for prior in (None, "xtb:GFN1")]


RUNS = {
    run.name: run
    for run in (
        Run("alloy of five", "force_mae", 0.05, 150, temperature_K=600.0),
        Run("Pt55", "force_mae", 0.03, 250),
        *molecule("aspirin", 1000),
        Run("Al108 2500 K", "force_mae", 0.02, 500),
        *molecule("alanine dipeptide", 1000),
        *molecule("alanine tripeptide", 500),
        *molecule("phenyldecane", 500),
        Run("Ni108 1200 K", "force_mae", 0.05, 300),
        *reversed(molecule("caffeine", 500)),
        Run("Au38", "force_mae", 0.03, 250),
        Run("Ar13", "force_max", 0.002, 500),
        Run("Cu13", "force_mae", 0.03, 250),
        Run("TIP3P 27", "force_max", 0.1, 500),
        Run("ethanol HF/6-31G*", "force_mae", 0.05, 200, "xtb:GFN2"),
        Run("ethanol HF/6-31G*", "force_mae", 0.05, 200),
        Run("SiC Tersoff", "force_max", 0.1, 300),
        *molecule("paracetamol", 500),
        *molecule("ibuprofen", 1000),
    )
}
"""In the order in which they are made."""


def simulate(run: Run, system: System, seed: int, n_recomputed: int) -> dict[str, Any]:
    """Run the dynamics, then recompute; return the row of the run."""
    rng = np.random.default_rng(seed)
    atoms, temperature_K = system.make(), run.temperature_K or system.temperature
    atoms.calc = calculator = ProximaCalculator(
        system.target(),
        error_bound=run.bound,
        error_metric=run.metric,
        prior=run.prior,
        seed=seed,
        when_not_worthwhile="ignore",
    )
    dynamics = langevin(atoms, temperature_K, system.timestep, FRICTION_PER_FS, rng)
    answered: list[tuple[np.ndarray, dict[str, Any]]] = []

    def keep() -> None:
        if calculator.last_decision is Decision.SURROGATE:
            answered.append((atoms.positions.copy(), dict(calculator.results)))

    dynamics.attach(keep)
    wall, cpu = time.perf_counter(), time.process_time()
    dynamics.run(run.n_steps)
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    stats, share = calculator.stats, cpu_s / wall_s
    found, target_s = true_errors(run, system, answered, np.random.default_rng(seed), n_recomputed)
    errors = pd.Series(found, dtype=float) / run.bound
    return {
        "run": run.name,
        "seed": seed,
        "role": "check" if system.checked else "develop",
        "n_atoms": len(atoms),
        "steps": run.n_steps,
        "temperature_K": temperature_K,
        "metric": run.metric,
        "bound": run.bound,
        "prior": run.prior,
        "calls": stats.n_calls,
        "target_calls": stats.n_target_runs,
        "audits": stats.n_audit,
        "share_trusted": stats.share_trusted,
        "true_over_bound": errors.mean(),
        "true_se_over_bound": errors.sem(),
        "recomputed": len(errors),
        "error_estimate": stats.error_estimate,
        "error_estimate_se": stats.error_estimate_se,
        "error_upper": stats.error_upper,
        "surrogate": chosen_surrogate(stats.notes),
        "run_cpu_s": cpu_s,
        "target_cpu_s": share * stats.time_target,
        "surrogate_cpu_s": share * (stats.time_surrogate + stats.time_uncertainty),
        "training_cpu_s": share * stats.time_training,
        "target_call_cpu_s": target_s,
        "notes": " ".join(stats.notes),
    }


def true_errors(
    run: Run,
    system: System,
    answered: list[tuple[np.ndarray, dict[str, Any]]],
    rng: np.random.Generator,
    n: int,
) -> tuple[list[float], float]:
    """Errors of `n` calls that the surrogate answered, and the processor time of one call of the target in s."""
    exact, error = system.make(), find_metric(run.metric)[1]
    exact.calc = system.target()
    start, errors = time.process_time(), []
    for i in rng.choice(len(answered), min(n, len(answered)), replace=False):
        exact.positions, results = answered[i][0], answered[i][1]
        known = {
            "energy": exact.get_potential_energy(),
            "forces": exact.get_forces(apply_constraint=False),
        }
        errors.append(error(known, results))
    return errors, (time.process_time() - start) / max(len(errors), 1)


def chosen_surrogate(notes: tuple[str, ...]) -> str:
    """Name of the surrogate that "auto" took: it says so where it compared two, else it took the linear model.

    It would take `gradient_gp` alone for eight atoms or fewer, of which there are none here.
    """
    said = [note.split()[1] for note in notes if note.startswith("surrogate ")]
    return said[0] if said else "bayesian_soap"


def keep_row(path: Path, row: dict[str, Any]) -> None:
    """Put the row of a run in the table in place of an older one, and print it."""
    known = [pd.read_csv(path)] if path.exists() else []
    table = pd.concat([*known, pd.DataFrame([row])]).drop_duplicates(KEY, keep="last")
    table.to_csv(path, index=False, float_format="%.5g")
    click.echo(
        f"{row['run']}: {row['target_calls']} target calls of {row['calls']}, {row['share_trusted']:.1%} trusted, "
        f"true error {row['true_over_bound']:.2f} ± {row['true_se_over_bound']:.2f} of the bound, estimated "
        f"{row['error_estimate'] / row['bound']:.2f}, {row['surrogate']}, {row['run_cpu_s']:.0f} s of processor"
    )


def command(runs: Mapping[str, Run], systems: Mapping[str, System], results: Path) -> click.Command:
    """Command that makes runs by name."""

    @click.command(context_settings={"show_default": True})
    @click.option("--run", "names", multiple=True, type=click.Choice(list(runs)), help="By default all.")
    @click.option("--seed", default=1)
    @click.option("--recomputed", default=60, help="Trusted calls whose true error is computed.")
    @click.option("--path", type=click.Path(path_type=Path), default=results)
    def main(names: tuple[str, ...], seed: int, recomputed: int, path: Path) -> None:
        """Make the runs, and write their rows into the table."""
        for name in names or runs:
            keep_row(path, simulate(runs[name], systems[runs[name].system], seed, recomputed))

    return main


main = command(RUNS, SYSTEMS, RESULTS)

if __name__ == "__main__":
    main()
