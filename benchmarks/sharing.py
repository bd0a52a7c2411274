"""Four walkers of methane that share their frames against four of their own: calls of the target, true errors.

    python benchmarks/sharing.py [--steps 300] [--out benchmarks/results]

The walkers are at 300, 500, 700 and 1,000 K, side by side, GFN2-xTB in the target's place. They share through SQLite,
through a PostgreSQL server on loopback (left out where there is none), and on two Dask workers. It writes
`sharing.csv`, a row a walker. True errors are of the trusted calls, from the target, after the run.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from ase_proxima.apps.run_settings import asked_structures
from ase_proxima.runs.run_data import read_run
from ase_proxima.targets import parse_target

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
COMMAND = [sys.executable, "-c", "from proxima_cli.proxima_mc import main; main()"]
TARGET = "xtb:GFN2"
PERTURB = (0.01,)
SEEDS = (1, 2)


def walk(out: Path, perturb: float, seed: int, steps: int, *options: str) -> list[dict[str, Any]]:
    """Make four walkers by the command, and return a row each."""
    common = ["--temp", "300,500,700,1000", "--target", TARGET, "--jobs", "4", "--json"]
    own = ["--perturb", str(perturb), "--seed", str(seed), "--steps", str(steps), "--out", str(out)]
    printed = subprocess.run([*COMMAND, *common, *own, *options], check=True, stdout=subprocess.PIPE).stdout
    return [
        {
            "perturb": perturb,
            "seed": seed,
            "temperature_K": summary["temperature_K"],
            "n_calls": summary["n_calls"],
            "n_target_runs": summary["n_target"] + summary["n_audit"],
            "n_audit": summary["n_audit"],
            "n_foreign": summary["n_foreign"],
            "error_bound": summary["error_bound"],
            "true_error": true_error(Path(summary["run_dir"])),
        }
        for summary in json.loads(printed)
    ]


def true_error(run_dir: Path) -> float:
    """Mean error of the energies that the surrogate answered, in eV."""
    target = parse_target(TARGET)
    run = read_run(run_dir)
    energies = [
        (row.proposed_energy, target.get_property("energy", atoms))
        for (row, atoms, _), answered in zip(asked_structures(run_dir), run.surrogate, strict=True)
        if answered
    ]
    return float(np.mean([abs(a - b) for a, b in energies]))


@contextmanager
def dask() -> Iterator[str]:
    """Address of a cluster of two workers on loopback."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


@click.command()
@click.option("--steps", default=300, show_default=True, help="Of each chain.")
@click.option("--out", default=ROOT / "benchmarks" / "results", type=click.Path(path_type=Path))
def main(steps: int, out: Path) -> None:
    """Measure, and write the table."""
    from postgresql import programs, running_server

    rows = []
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        ways: dict[str, list[str]] = {"own": [], "SQLite": ["--share"]}
        if programs() is not None:
            ways["PostgreSQL"] = ["--share", stack.enter_context(running_server())]
        ways["SQLite, Dask"] = ["--share", "--executor", stack.enter_context(dask())]
        for perturb in PERTURB:
            for seed in SEEDS:
                for way, options in ways.items():
                    if way == "PostgreSQL":
                        options = [options[0], _emptied(options[1])]
                    runs = Path(folder) / f"{perturb}-{seed}-{way.replace(', ', '-')}"
                    rows += [{"way": way, **row} for row in walk(runs, perturb, seed, steps, *options)]
                    with (out / "sharing.csv").open("w", newline="") as file:
                        writer = csv.DictWriter(file, rows[0])
                        writer.writeheader()
                        writer.writerows(rows)
    for perturb in PERTURB:
        for way in ways:
            found = [row for row in rows if row["way"] == way and row["perturb"] == perturb]
            calls = sum(row["n_target_runs"] for row in found) / len(SEEDS)
            worst = max(row["true_error"] / row["error_bound"] for row in found)
            print(
                f"{perturb} Å, {way}: {calls:.1f} target calls of four walkers, worst error {worst:.2f} of the bound"
            )


def _emptied(address: str) -> str:
    """The same database without what the walkers before have left."""
    import psycopg2

    connection = psycopg2.connect(address)
    connection.autocommit = True
    connection.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    connection.close()
    return address


if __name__ == "__main__":
    main()
