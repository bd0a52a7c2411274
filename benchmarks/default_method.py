"""The default method by itself, whether the bound is held in every run, and at what cost.

Each part runs chains of its own with `--strategy proxima`, then recomputes the energies of a random sample of the calls
that the surrogate answered with the target, outside the timed run.  The mean of those errors, with its standard error,
is the true error; the mean time of those energies is what the baseline would have spent on every call.

Writes benchmarks/results/default_PART.csv, a row a run as it comes; what is there already is not run again.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from ase_proxima.apps.monte_carlo import ChainLog
from ase_proxima.apps.monte_carlo_run import RunSettings, run
from ase_proxima.apps.run_settings import asked_structures
from ase_proxima.runs.append_log import read_steps
from ase_proxima.targets import parse_target

RESULTS = Path(__file__).parent / "results"
STRUCTURES = Path(__file__).parent / "structures"
HF = "psi4:HF/6-31G*"
PARTS = ("methane", "wide", "bounds", "molecules", "long")
KEY = ["molecule", "temperature_K", "perturb", "seed", "error_bound", "steps"]


@dataclass(frozen=True)
class Case:
    """One chain."""

    molecule: str
    temperature_K: float  # noqa: N815
    perturb: float
    seed: int
    error_bound: float = 0.002
    steps: int = 1000
    target: str = HF

    @property
    def structure(self) -> str:
        """What the run is given: a file of ours, or the name that ASE knows."""
        file = STRUCTURES / f"{self.molecule}.xyz"
        return str(file) if file.exists() else self.molecule


def cases(part: str, n_seeds: int) -> list[Case]:
    """Chains of a part."""
    temperatures, seeds = range(100, 1001, 100), range(1, n_seeds + 1)
    if part == "methane":
        return [Case("CH4", t, 0.003, s) for s in seeds for t in temperatures]
    if part == "wide":
        return [Case("CH4", t, 0.01, s) for s in seeds for t in temperatures]
    if part == "bounds":
        bounds = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006)
        return [Case("CH4", 500, 0.003, s, bound) for s in seeds for bound in bounds]
    if part == "long":
        return [Case("CH4", 500, 0.003, 1, steps=20_000)]
    molecules = {
        "H2O": HF,
        "NH3": HF,
        "CH3CH2OH": HF,
        "formamide": HF,
        "C6H6": "psi4:HF/STO-3G",
    }
    return [Case(name, 500, 0.003, 1, steps=500, target=target) for name, target in molecules.items()]


def true_error(run_dir: Path, target_name: str, n_sample: int) -> tuple[float, float, int, float]:
    """Mean error of a random sample of trusted calls, its standard error, its size, time of one energy in s."""
    answered = np.flatnonzero([row["decision"] == "surrogate" for row in read_steps(run_dir)])
    energies = [row.proposed_energy for row in ChainLog.read(run_dir)]
    rng = np.random.default_rng(0)
    chosen = set(rng.choice(answered, min(n_sample, len(answered)), replace=False).tolist())
    target = parse_target(target_name)
    errors, times = [], []
    for row, atoms, _ in asked_structures(run_dir):
        if row.step == 0:
            target.get_property("energy", atoms)  # starts the program
        if row.step in chosen:
            start = time.perf_counter()
            exact = target.get_property("energy", atoms)
            times.append(time.perf_counter() - start)
            errors.append(abs(exact - energies[row.step]))
    if hasattr(target, "close"):
        target.close()
    spread = float(np.std(errors, ddof=1) / np.sqrt(len(errors)))
    return float(np.mean(errors)), spread, len(errors), float(np.mean(times))


def measure(case: Case, work: Path, n_sample: int) -> dict[str, Any]:
    """Run a chain; return its row."""
    settings = RunSettings(
        case.structure, case.temperature_K, case.perturb, case.seed, case.target, "proxima", case.error_bound
    )
    shutil.rmtree(work, ignore_errors=True)
    summary = run(settings, case.steps, work)
    error, spread, n, energy_s = true_error(work, case.target, n_sample)
    calls = summary["n_calls"]
    return {
        **{name: getattr(case, name) for name in (*KEY, "target")},
        "target_calls": summary["n_target"] + summary["n_audit"],
        "audits": summary["n_audit"],
        "true_error": error,
        "true_error_se": spread,
        "n_sample": n,
        "held": bool(error <= case.error_bound),
        "error_estimate": summary["error_estimate"],
        "error_upper": summary["error_upper"],
        "wall_s": summary["wall_s"],
        "target_s": summary["time_target"],
        "training_s": summary["time_training"],
        "ms_per_call_without_target": 1e3 * (summary["wall_s"] - summary["time_target"]) / calls,
        "baseline_energy_s": energy_s,
        "speedup": energy_s * calls / summary["wall_s"],
    }


@click.command(context_settings={"show_default": True})
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="By default all.")
@click.option("--seeds", default=8, help="Seeds of each case, where the part has several.")
@click.option("--sample", default=60, help="Trusted calls of each run whose energy is recomputed.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/default_method"))
def main(parts: tuple[str, ...], seeds: int, sample: int, work: Path) -> None:
    """Measure the default method."""
    RESULTS.mkdir(exist_ok=True)
    for part in parts or PARTS:
        measure_part(part, seeds, sample, work / part)


def measure_part(part: str, seeds: int, sample: int, work: Path) -> None:
    """Run what a part lacks, and say what it gave."""
    path = RESULTS / f"default_{part}.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=KEY)
    for case in cases(part, seeds):
        if (table[KEY] == [getattr(case, name) for name in KEY]).all(axis=1).any():
            continue
        row = measure(case, work, sample)
        table = (
            pd.concat([table, pd.DataFrame([row])], ignore_index=True) if len(table) else pd.DataFrame([row])
        )
        table.to_csv(path, index=False, float_format="%.6g")
        click.echo(
            f"{case.molecule:9s} {case.temperature_K:5.0f} K  step {case.perturb} Å  seed {case.seed}  "
            f"bound {1e3 * case.error_bound:g} meV: {row['target_calls']:4d} target calls, true error "
            f"{1e3 * row['true_error']:.2f} ± {1e3 * row['true_error_se']:.2f} meV, speedup {row['speedup']:.1f}"
        )
    over = (table["true_error"] / table["error_bound"]).max()
    click.echo(
        f"{part}: {len(table)} runs, bound held in {int(table['held'].sum())}, worst error {over:.2f} of the bound; "
        f"target calls {table['target_calls'].mean():.1f} in the mean, {table['target_calls'].max()} at most; "
        f"speedup {table['speedup'].min():.1f} to {table['speedup'].max():.1f}, "
        f"harmonic mean {len(table) / (1 / table['speedup']).sum():.1f}"
    )


if __name__ == "__main__":
    main()
