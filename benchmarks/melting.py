"""The melting point of aluminium (EMT by Asap), alone and with surrogates in the target's place.

`--part points` finds melting points of two cells, each with preparations of its own. `--part table` runs one cell near
its melting point (`--size 4`: 512 atoms, up to 12,000 steps) with several strategies from the same starts: how many
runs end liquid, how much is trusted, and the true force error of frames that are computed again by the target, outside
of the timed runs.

Each study is kept in --work and its row goes to benchmarks/results/melting.csv; a study that is there already is read,
not made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import click
import numpy as np
import pandas as pd

from ase_proxima.dynamics.melting import MeltingSettings, Preparation, melt, outcome_of, read_runs
from ase_proxima.dynamics.melting_fit import fit_melting, share_interval
from ase_proxima.reports.melting import plot_melting
from ase_proxima.targets import parse_target

RESULTS = Path(__file__).parent / "results"
TARGET = "asap"
CHECKED_FRAMES = 100
"""Frames, evenly from all runs of a study, whose forces are computed again."""


@dataclass(frozen=True)
class Study:
    """A row: its name, settings, number of runs, and the study whose starts it takes."""

    name: str
    n_runs: int
    settings: dict[str, Any] = field(default_factory=dict)
    starts: str | None = None


def points(runs: int) -> Iterator[Study]:
    """Three preparations of 216 atoms, as those of `proxima-melt --quick`, and one of 512."""
    for seed in (1, 2, 3):
        settings = {"size": 3, "strategy": "baseline", "seed": seed, "phase_steps": 3000}
        yield Study(f"216 atoms, seed {seed}", runs, settings)
    yield Study("512 atoms", runs, {"size": 4, "strategy": "baseline", "seed": 1})


def table(runs: int, temperature_K: float, models: str | None, size: int) -> Iterator[Study]:
    """Strategies at one temperature, from the starts of a point of that size."""
    cell = next(study for study in points(runs) if study.settings["size"] == size)
    one: dict[str, Any] = {**cell.settings, "temperatures_K": (temperature_K,)}
    if size == 4:
        one["most_steps"] = 12_000
    rows: dict[str, dict[str, Any]] = {
        "no surrogate": {"strategy": "baseline"},
        "learning, bound 0.03": {"strategy": "proxima", "error_bound": 0.03},
        "learning, bound 0.06": {"strategy": "proxima", "error_bound": 0.06},
        "learning, threshold 0.05": {"strategy": "fixed", "threshold": 0.05},
        "learning, threshold 0.2": {"strategy": "fixed", "threshold": 0.2},
    }
    if models is not None:
        rows["DeePMD committee, bound 0.05"] = {
            "strategy": "committee",
            "error_bound": 0.05,
            "models": models,
        }
        for threshold in (0.1, 0.4):
            name = f"DeePMD committee, threshold {threshold}"
            rows[name] = {"strategy": "fixed", "threshold": threshold, "models": models}
    for name, settings in rows.items():
        where = f"{temperature_K:.0f} K" if size == 3 else f"{cell.name}, {temperature_K:.0f} K"
        yield Study(f"{where}, {name}", runs, {**one, **settings}, cell.name)


def pooled(studies: Sequence[Study], work: Path) -> dict[str, Any]:
    """Row of the melting point from the runs of several preparations of one cell together."""
    folders = [folder_of(study.name, work) for study in studies]
    runs = [run for folder in folders for run in read_runs(folder)]
    preparations = [Preparation.read(folder) for folder in folders]
    ranges = np.array([preparation.range_K for preparation in preparations])
    heat = float(np.mean([preparation.heat for preparation in preparations]))
    limits = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    outcomes = [outcome_of(run) for run in runs]
    fit, flat = fit_melting(outcomes, *limits, heat), fit_melting(outcomes, *limits)
    return {
        "study": f"{preparations[0].n_atoms} atoms, {len(studies)} preparations pooled",
        "n_atoms": preparations[0].n_atoms,
        "target": TARGET,
        "strategy": "baseline",
        "melting_temperature_K": fit.temperature_K,
        "std_K": fit.std_K,
        "interval_low_K": fit.interval_K[0],
        "interval_high_K": fit.interval_K[1],
        "flat_temperature_K": flat.temperature_K,
        "flat_std_K": flat.std_K,
        "heat_of_fusion": heat,
        "width_K": fit.width_K,
        "n_runs": len(runs),
        "n_undecided": sum(run["state"] == "undecided" for run in runs),
        "n_liquid": sum(outcome.liquid for outcome in outcomes),
        "mean_steps": float(np.mean([run["step"] for run in runs])),
        "cpu_s": sum(run["cpu_s"] for run in runs),
        "preparation_cpu_s": sum(preparation.cpu_s for preparation in preparations),
    }


def true_error(folder: Path) -> float:
    """Mean absolute error per force component of frames of all runs, eV/Å."""
    frames = [frame for path in sorted(folder.glob("runs/*/snapshots.traj")) for frame in ase.io.iread(path)]
    target = parse_target(TARGET)
    errors = []
    for i in np.unique(np.linspace(0, len(frames) - 1, CHECKED_FRAMES).astype(int)):
        exact = target.get_property("forces", frames[i])
        errors.append(np.abs(exact - frames[i].get_forces()).mean())
    return float(np.mean(errors))


def folder_of(name: str, work: Path) -> Path:
    """Folder of a study in the working folder."""
    return work / name.replace(",", "").replace(" ", "-")


def make(study: Study, work: Path) -> dict[str, Any]:
    """Make a study, or go on with it, and return its row."""
    folder = folder_of(study.name, work)
    starts = None if study.starts is None else folder_of(study.starts, work)
    summary = melt(
        MeltingSettings(target=TARGET, **study.settings),
        study.n_runs,
        folder,
        starts=starts,
        resume=folder.exists(),
    )
    plot_melting(summary).savefig(folder / "melting.png")
    row = {
        "study": study.name,
        **{k: v for k, v in summary.items() if not isinstance(v, (dict, list, tuple))},
    }
    row["interval_low_K"], row["interval_high_K"] = summary["interval_K"]
    row |= {f"flat_{name}": summary["flat"][name] for name in ("temperature_K", "std_K")}
    row["n_liquid"] = sum(entry["n_liquid"] for entry in summary["temperatures"])
    row["liquid_low"], row["liquid_high"] = share_interval(summary["n_runs"], row["n_liquid"])
    row["mean_steps"] = float(np.mean([run["step"] for run in read_runs(folder)]))
    row["force_mae"] = true_error(folder) if study.settings["strategy"] != "baseline" else 0.0
    (folder / "row.json").write_text(json.dumps(row))
    return row


@click.command()
@click.option("--part", type=click.Choice(["points", "table"]), default="points", show_default=True)
@click.option("--runs", default=20, show_default=True, help="Runs of each study.")
@click.option("--temp", type=float, help="Temperature of the table.  [default: the cell's own melting point]")
@click.option(
    "--size", type=click.IntRange(3, 4), default=3, help="Cells of the table's block along each side."
)
@click.option("--models", help="Folder of a DeePMD committee, for its rows.")
@click.option("--only", help="Only studies whose name has this in it.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/benchmark-melting"))
def main(
    part: str, runs: int, temp: float | None, size: int, models: str | None, only: str | None, work: Path
) -> None:
    """Make the studies one after the other, writing the table after each."""
    if part == "points":
        studies = points(runs)
    else:
        cells = [study for study in points(runs) if study.settings["size"] == size]
        found = temp or 5.0 * round(pooled(cells, work)["melting_temperature_K"] / 5.0)
        studies = table(runs, found, models, size)
    chosen = [study for study in studies if only is None or only in study.name]
    for study in chosen:
        write(make(study, work))
    if part == "points":
        small = [study for study in points(runs) if study.settings["size"] == 3]
        if all((folder_of(study.name, work) / "row.json").exists() for study in small):
            write(pooled(small, work))
            summary = json.loads((folder_of(small[1].name, work) / "summary.json").read_text())
            plot_melting(summary).savefig(RESULTS / "melting.png", dpi=110)


def write(row: dict[str, Any]) -> None:
    """Put a row into the table, in the place of the one of the same name."""
    file = RESULTS / "melting.csv"
    known = pd.read_csv(file) if file.exists() else pd.DataFrame()
    if len(known):
        known = known[known["study"] != row["study"]]
    pd.concat([known, pd.DataFrame([row])]).to_csv(file, index=False, float_format="%.6g")
    click.echo(json.dumps(row))


if __name__ == "__main__":
    main()
