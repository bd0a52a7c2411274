"""All faults that were injected into runs, in one table: how many of each kind were tried, and how many were held.

    python benchmarks/adversity.py [--part targets] [--part kills] [--count] [--again] [--out benchmarks/results]

`targets`: results of a wrong shape or kind, NaN, exceptions, exits, and in a process of their own hangs, crashes and
kills, once and twice. `directories`: run directories locked, read-only, moved away, gone. `processes`: forks, threads,
other processes, closed calculators. `kills`: SIGKILL at random times of runs in processes of their own. The rest is
counted in the tables of `faults.py`, `damaged_runs.py` and `interrupts.py`, which `--again` runs anew first.

A fault is held where the run gives in the end, after a resume where it asks for one, the answers and decisions of a run
that was left alone, and whatever it said on the way was one line. Needs Linux. Rows of a part replace the older ones.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import disturbed_runs
import faulty_targets
import pandas as pd
from trial import Row, row_of

HERE = Path(__file__).resolve().parent
PARTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "targets": faulty_targets.targets,
    "directories": disturbed_runs.directories,
    "processes": disturbed_runs.processes,
    "kills": disturbed_runs.kills,
}
COUNTED = {
    "faults.csv": ["faults.py"],
    "damaged_runs.csv": ["damaged_runs.py", "--flips", "100"],
    "interrupts.csv": ["interrupts.py", "--phase", "calls"],
    "interrupts_begin.csv": ["interrupts.py", "--phase", "create", "--phase", "resume", "--every", "11"],
}
"""Tables of other benchmarks, and what makes them."""
OUTCOMES = ("exact", "told")
"""What counts as held: it went on exactly, or said what is wrong in one line and went on exactly afterwards."""


def counted(results: Path) -> Iterator[Row]:
    """Rows of the tables of other benchmarks."""
    modes = {
        "before": "killed before a call that changes a file",
        "half": "killed half-way through one",
        "full": "disk full from one on",
    }
    for row in _rows_of(results / "faults.csv"):
        outcome = "exact" if row["held"] else "refused"
        yield row_of("faults.py", modes[row["mode"]], row["kind"], outcome, "")
    damages = {"cut": "files torn", "gone": "files gone", "bit flipped": "bits flipped"}
    for row in _rows_of(results / "damaged_runs.csv"):
        kind = damages.get(row["what"], "files swapped for another run's")
        outcome = {"refused": "told"}.get(row["outcome"], row["outcome"])
        yield row_of("damaged_runs.py", kind, row["run"], outcome, "")
    for name in ("interrupts.csv", "interrupts_begin.csv"):
        for row in _rows_of(results / name):
            kind = f"interrupts ({row['phase']})"
            yield row_of("interrupts.py", kind, row["way"], row["outcome"], "")


def _rows_of(path: Path) -> list[Mapping[str, Any]]:
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def tally(rows: pd.DataFrame) -> pd.DataFrame:
    """Tried and held, a row a kind, in the order in which the kinds came."""
    rows = rows.assign(held=rows["outcome"].isin(OUTCOMES), tried=1)
    for outcome in OUTCOMES:
        rows[outcome] = rows["outcome"] == outcome
    return rows.groupby(["part", "kind"], sort=False)[["tried", "held", *OUTCOMES]].sum().reset_index()


@click.command(context_settings={"show_default": True})
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="By default all.")
@click.option("--count", is_flag=True, help="Count the trials of before only.")
@click.option("--again", is_flag=True, help="Run the other benchmarks anew, which takes half an hour.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "results")
def main(parts: tuple[str, ...], count: bool, again: bool, out: Path) -> None:
    """Try the faults, write a row each and the table of all, and print that."""
    warnings.simplefilter("ignore")
    if again:
        for name, command in COUNTED.items():
            subprocess.run([sys.executable, *command, "--out", out / name], cwd=HERE, check=True)
    file = out / "adversity_trials.csv"
    table = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["part"])
    for part in () if count else parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            rows = pd.DataFrame(list(PARTS[part](Path(folder))))
        table = pd.concat([table[table["part"] != part], rows])
        table.to_csv(file, index=False)
    table["part"] = pd.Categorical(table["part"], list(PARTS))
    whole = pd.concat(
        [table.sort_values("part", kind="stable").astype({"part": str}), pd.DataFrame(list(counted(out)))]
    )
    summary = tally(whole)
    summary.to_csv(out / "adversity.csv", index=False)
    click.echo(summary.to_string(index=False))
    click.echo(f"{summary['held'].sum()} of {summary['tried'].sum()} held")
    for row in table[~table["outcome"].isin(OUTCOMES)].to_dict("records"):
        click.echo(f"not held: {row}")


if __name__ == "__main__":
    main()
