"""Density-functional dynamics under a bound: Quantum ESPRESSO on eight atoms of silicon and four of aluminium.

Langevin dynamics from the perfect lattice with an untrained surrogate, every setting at its default, the bound on the
largest error of a force. Afterwards `--recomputed` frames that the surrogate answered, spread evenly over the run, are
computed by the target: their errors are the true ones, and their time is what plain dynamics would have taken for every
call. Times are of the processors, of this process and of the program that it starts.

Needs Quantum ESPRESSO (scripts/install-qe). Writes a row a run into benchmarks/results/dft.csv.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin

from ase_proxima import ProximaCalculator
from ase_proxima.targets import parse_target
from ase_proxima.targets.contract import ask
from ase_proxima.types import Decision

RESULTS = Path(__file__).parent / "results" / "dft.csv"
FRICTION_PER_FS = 0.01


@dataclass(frozen=True)
class System:
    """A structure, the target's name and the time step in fs."""

    make: Callable[[], Atoms]
    target: str
    timestep_fs: float


SYSTEMS = {
    "Si8": System(lambda: bulk("Si", cubic=True), "qe:pz,ecutwfc=12,kpts=2x2x2", 2.0),
    "Al4": System(lambda: bulk("Al", cubic=True, a=3.97), "qe:pz,ecutwfc=15,kpts=4x4x4", 2.0),
}


def cpu_s() -> float:
    """Processor time of this process and of those that it started and that have ended, in s."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def simulate(
    system: System, temperature_K: float, n_steps: int, bound: float, seed: int, n_recomputed: int
) -> dict[str, Any]:
    """Run the dynamics, then recompute; return the row of the table."""
    atoms, rng = system.make(), np.random.default_rng(seed)
    atoms.calc = calculator = ProximaCalculator(
        parse_target(system.target, atoms=atoms), error_bound=bound, error_metric="force_max", seed=seed
    )
    thermal = np.sqrt(atoms.get_masses() * units.kB * temperature_K)
    atoms.set_momenta(thermal[:, None] * rng.normal(size=(len(atoms), 3)))
    dynamics = Langevin(
        atoms,
        system.timestep_fs * units.fs,
        temperature_K=temperature_K,
        friction=FRICTION_PER_FS / units.fs,
        fixcm=False,
        rng=rng,
    )
    answered: list[tuple[np.ndarray, np.ndarray]] = []

    def keep() -> None:
        if calculator.last_decision is Decision.SURROGATE:
            answered.append((atoms.positions.copy(), calculator.results["forces"].copy()))

    dynamics.attach(keep)
    start = cpu_s()
    dynamics.run(n_steps)
    run_s = cpu_s() - start
    stats = calculator.stats
    chosen = np.unique(np.linspace(0, len(answered) - 1, n_recomputed).round().astype(int))
    plain, exact = parse_target(system.target, atoms=atoms), system.make()
    errors, start = [], cpu_s()
    for i in chosen:
        exact.positions = answered[i][0]
        forces = ask(plain, exact, ["energy", "forces"])["forces"]
        errors.append(np.linalg.norm(answered[i][1] - forces, axis=1).max())
    target_s = (cpu_s() - start) / len(chosen)
    return {
        "temperature_K": temperature_K,
        "bound": bound,
        "seed": seed,
        "calls": stats.n_calls,
        "target_calls": stats.n_target_runs,
        "audits": stats.n_audit,
        "share_trusted": stats.share_trusted,
        "error_estimate": stats.error_estimate,
        "true_mean_error": np.mean(errors),
        "true_largest_error": np.max(errors),
        "recomputed": len(chosen),
        "target_call_cpu_s": target_s,
        "run_cpu_s": run_s,
        "plain_cpu_s": target_s * stats.n_calls,
        "speedup": target_s * stats.n_calls / run_s,
        "notes": " ".join(stats.notes),
    }


@click.command()
@click.option("--system", "names", multiple=True, type=click.Choice(list(SYSTEMS)), help="Default: all.")
@click.option("--temp", "temperatures", multiple=True, type=float, default=(300.0, 600.0))
@click.option("--steps", default=500)
@click.option("--bound", default=0.1, help="Mean of the largest force error, eV/Å.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(1,))
@click.option("--recomputed", default=20)
def main(
    names: tuple[str, ...],
    temperatures: tuple[float, ...],
    steps: int,
    bound: float,
    seeds: tuple[int, ...],
    recomputed: int,
) -> None:
    """Run every combination and write the table, row by row; rows of other runs stay."""
    for name in names or SYSTEMS:
        for temperature in temperatures:
            for seed in seeds:
                row = simulate(SYSTEMS[name], temperature, steps, bound, seed, recomputed)
                new = pd.DataFrame([{"system": name, "target": SYSTEMS[name].target, **row}])
                old = pd.read_csv(RESULTS) if RESULTS.exists() else new[:0]
                keys = ["system", "temperature_K", "bound", "seed"]
                kept = old[~old.set_index(keys).index.isin(new.set_index(keys).index)]
                table = pd.concat([kept, new]) if len(kept) else new
                table.sort_values(keys).to_csv(RESULTS, index=False, float_format="%.5g")
                click.echo(new.drop(columns="notes").to_string(index=False))


if __name__ == "__main__":
    main()
