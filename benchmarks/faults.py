"""Kill a run at the calls that change its run directory, or fill the disk from there on, and see whether it goes on.

    python benchmarks/faults.py [--every N] [--out benchmarks/results/faults.csv]

The run makes 14 calls. Each fault is one row: the number of the call to the system, what happened there, what the run
said, what the resume said, and whether all answers were those of a run without faults. Needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults"
MODES = ("before", "half", "full")


def drive(library: Path, folder: Path, mode: str, ks: list[int]) -> list[dict[str, object]]:
    """Outcome of a fault at each of the calls `ks`; without any, the number of calls."""
    command = [sys.executable, str(FAULTS / "driver.py"), str(folder), mode, *map(str, ks)]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Try the faults, write one row each, print how many held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="try every so many calls only")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "faults.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = folder / "faults.so"
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", "-o", library, FAULTS / "faults.c", "-ldl"], check=True
        )
        n_calls = int(drive(library, folder, "before", [])[0]["n"])
        ks = list(range(1, n_calls + 1, options.every))
        rows = [row for mode in MODES for row in drive(library, folder, mode, ks)]
        for row in rows:
            row["first"] = str(row["first"]).replace(str(folder), "FOLDER")
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["mode", "k", "first", "second", "held"])
        writer.writeheader()
        writer.writerows(rows)
    for mode in MODES:
        held = [bool(row["held"]) for row in rows if row["mode"] == mode]
        print(f"{mode}: {sum(held)} of {len(held)} held ({n_calls} calls in a run)")


if __name__ == "__main__":
    main()
