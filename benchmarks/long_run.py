"""A hundred thousand calls: what a call costs at the end over the beginning, the memory, and how long a resume takes.

    python benchmarks/long_run.py [--calls 100000] [--surrogate gradient_gp] [--out benchmarks/results]

Monte Carlo of methane at 500 K on springs between all atoms, so that the target costs next to nothing, with a run
directory. Times are of the process, not of the clock. The first and the last tenth of the calls that the surrogate
answered are compared. It adds its row to `long_run.csv`.
"""

from __future__ import annotations

import csv
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms
from ase.build import molecule

from ase_proxima import ProximaCalculator
from ase_proxima.apps import monte_carlo
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.types import Decision

ROOT = Path(__file__).resolve().parents[1]
STIFFNESS = 30.0
START = molecule("CH4")
LENGTHS = START.get_all_distances()


def springs(atoms: Atoms) -> dict[str, Any]:
    """Energy (eV) and forces (eV/Å) of springs between all atoms."""
    differences = atoms.positions[:, None] - atoms.positions[None]
    distances = np.linalg.norm(differences, axis=2)
    stretched = distances - LENGTHS
    np.fill_diagonal(distances, 1.0)
    forces = -STIFFNESS * ((stretched / distances)[:, :, None] * differences).sum(axis=1)
    return {"energy": STIFFNESS / 4 * float((stretched**2).sum()), "forces": forces}


def memory_mb() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--calls", default=100_000, show_default=True)
@click.option("--surrogate", default="gradient_gp", show_default=True)
@click.option("--out", default=ROOT / "benchmarks" / "results", type=click.Path(path_type=Path))
def main(calls: int, surrogate: str, out: Path) -> None:
    """Measure, and add a row."""
    tenth = calls // 10
    with tempfile.TemporaryDirectory() as folder:
        atoms, times, trusted, memory = START.copy(), [], [], []
        calc = ProximaCalculator(
            FunctionCalculator(springs),
            error_bound=0.002,
            error_metric="energy",
            surrogate=surrogate,
            run_dir=Path(folder) / "run",
            when_not_worthwhile="ignore",
        )
        atoms.calc = calc
        chain = monte_carlo.sample(atoms, monte_carlo.Move(500.0, 0.01), calls, np.random.default_rng(1))
        before = time.process_time()
        for number, _ in enumerate(chain):
            now = time.process_time()
            times.append(now - before)
            trusted.append(calc.last_decision is Decision.SURROGATE)
            if number in (tenth, calls):
                memory.append(memory_mb())
            before = time.process_time()
        stats = calc.stats
        calc.close()
        start = time.process_time()
        again = ProximaCalculator.resume(Path(folder) / "run", FunctionCalculator(springs))
        resume_s = time.process_time() - start
        again.close()
    cost, answered = np.array(times), np.array(trusted)
    first, last = (cost[part][answered[part]] for part in (slice(tenth // 10, tenth), slice(-tenth, None)))
    row = {
        "surrogate": surrogate,
        "n_calls": stats.n_calls,
        "n_target_runs": stats.n_target_runs,
        "n_frames": stats.n_frames,
        "first_tenth_ms": 1e3 * float(np.mean(first)),
        "last_tenth_ms": 1e3 * float(np.mean(last)),
        "ratio": float(np.mean(last) / np.mean(first)),
        "memory_first_tenth_mb": memory[0],
        "memory_end_mb": memory[-1],
        "resume_s": resume_s,
    }
    print(row)
    file = out / "long_run.csv"
    rows = list(csv.DictReader(file.open(newline=""))) if file.exists() else []
    rows = [old for old in rows if old["surrogate"] != surrogate] + [row]
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, row)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
