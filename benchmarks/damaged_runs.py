"""Damage the files of runs that are half done, and see whether a resume goes on exactly or refuses.

    python benchmarks/damaged_runs.py [--flips 200] [--out benchmarks/results/damaged_runs.csv]

A run of `proxima-mc`, one of `proxima-mc --exact` and one of `proxima md` are ended half-way. In copies of their run
directories one bit of a file is flipped, a file is cut at some byte, taken away, or replaced by that of a run with
another seed; then the run is resumed to its end. It is `exact` where all tables, frames and structures are those of a
run that was left alone, `refused` where it ends in one line, `traceback` or `silent` else. Needs Linux.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))
import driver  # noqa: E402  beside the tests that take a sample of this

HALF, WHOLE = 8, 16
COMMANDS = {
    "proxima-mc": driver.mc,
    "proxima-mc --exact": partial(driver.mc, "--exact", "--burn-in", "6"),
    "proxima md": driver.md,
}


def files_of(run: Path) -> list[Path]:
    """Files of a run, without the lock, which holds nothing."""
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file() and path.name != "lock")


def damages(
    run: Path, other: Path, flips: int, rng: np.random.Generator
) -> Iterator[tuple[str, Path, bytes | None]]:
    """What is done to which file, and what is in it then; None where it is gone."""
    files = [file for file in files_of(run) if (run / file).stat().st_size]
    for _ in range(flips):
        file = files[rng.integers(len(files))]
        content = bytearray((run / file).read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        yield "bit flipped", file, bytes(content)
    for file in files:
        content = (run / file).read_bytes()
        for _ in range(3):
            yield "cut", file, content[: rng.integers(len(content))]
        yield "gone", file, None
        foreign = other / file
        if foreign.exists() and foreign.read_bytes() != content:
            yield "another run's", file, foreign.read_bytes()


def resumed(command: Any, run: Path, log: Path, expected: dict[str, Any]) -> tuple[str, str]:
    """Outcome of a resume, and what it said."""
    said = driver.forked(command.resume, run, log)
    if said == "done":
        return ("exact" if command.outcome(run, log) == expected else "silent"), ""
    return ("refused" if said.startswith("refused: ") else "traceback"), said.removeprefix("refused: ")


@click.command(context_settings={"show_default": True})
@click.option("--flips", default=200, help="Bits flipped in each of the runs.")
@click.option("--seed", default=0)
@click.option(
    "--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "results" / "damaged_runs.csv"
)
def main(flips: int, seed: int, out: Path) -> None:
    """Try all damages, write a row each, and print how they ended."""
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log = folder / "log"
        for name, make in COMMANDS.items():
            rng = np.random.default_rng(seed)
            begin = [make("--steps", str(HALF), "--seed", str(number)) for number in (1, 2)]
            whole = make("--steps", str(WHOLE), "--seed", "1")
            run, half, other, alone = (folder / each for each in ("run", "half", "other", "alone"))
            driver.import_all(whole.play, folder / "first", log)
            for command, path in ((begin[0], run), (begin[1], other), (whole, alone)):
                shutil.rmtree(path, ignore_errors=True)
                driver.forked(command.play, path, log)
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(run, half)
            expected = whole.outcome(alone, log)
            for what, file, content in damages(half, other, flips, rng):
                shutil.rmtree(run)
                shutil.copytree(half, run)
                if content is None:
                    (run / file).unlink()
                else:
                    (run / file).write_bytes(content)
                outcome, said = resumed(whole, run, log, expected)
                said = said.replace(str(folder), "FOLDER")
                rows.append({"run": name, "what": what, "file": file, "outcome": outcome, "said": said})
    table = pd.DataFrame(rows)
    table.to_csv(out, index=False)
    click.echo(table.groupby(["run", "what"])["outcome"].value_counts().unstack(fill_value=0).to_string())


if __name__ == "__main__":
    main()
