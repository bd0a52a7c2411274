"""Kill a run at the calls that change its run directory, or fill the disk from there on, and see whether it goes on.

    python benchmarks/faults.py [--kind KIND] [--mode MODE] [--every N] [--out benchmarks/results/faults.csv]

A loop of 14 calls round the calculator, or a short run of a command. Each fault is one row: the kind of run, the number
of the call to the system, what happened there, what the run said, what the resume said, and whether all answers, tables
and frames were those of a run without faults. Rows of a kind and mode replace the older ones. Needs Linux and a C
compiler; works in memory (`/dev/shm`) where there is such a folder, as a disk would sync a hundred times a fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults"
KINDS = ("script", "mc proxima", "mc published", "mc exact", "md")
MODES = ("before", "half", "full")
MEMORY = Path("/dev/shm")  # noqa: S108  a folder of its own is made there
COLUMNS = ["kind", "mode", "k", "first", "second", "held"]


def drive(library: Path, folder: Path, kind: str, mode: str, ks: Sequence[int]) -> list[dict[str, Any]]:
    """Outcome of a fault at each of the calls `ks`; without any, the number of calls."""
    command = [sys.executable, str(FAULTS / "driver.py"), str(folder), kind, mode, *map(str, ks)]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@click.command(context_settings={"show_default": True})
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="By default all.")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="By default all.")
@click.option("--every", default=1, help="Try every so many calls only.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "results" / "faults.csv"
)
def main(kinds: tuple[str, ...], modes: tuple[str, ...], every: int, out: Path) -> None:
    """Try the faults, write one row each, print how many held."""
    table = pd.read_csv(out) if out.exists() else pd.DataFrame(columns=COLUMNS)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as temporary:
        folder = Path(temporary)
        library = folder / "faults.so"
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", "-o", library, FAULTS / "faults.c", "-ldl"], check=True
        )
        for kind in kinds or KINDS:
            n_calls = int(drive(library, folder, kind, "before", [])[0]["n"])
            for mode in modes or MODES:
                table = table[(table["kind"] != kind) | (table["mode"] != mode)]
                rows = pd.DataFrame(drive(library, folder, kind, mode, range(1, n_calls + 1, every)))
                rows["first"] = rows["first"].str.replace(str(folder), "FOLDER", regex=False)
                table = pd.concat([table, rows.assign(kind=kind)[COLUMNS]])
                table.to_csv(out, index=False)
                click.echo(
                    f"{kind}, {mode}: {rows['held'].sum()} of {len(rows)} held ({n_calls} calls in a run)"
                )


if __name__ == "__main__":
    main()
