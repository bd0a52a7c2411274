"""What the melting points of small cells are to be held against (aluminium, EMT by Asap).

`--part balance`: solid beside liquid at constant enthalpy, in a cell that is large enough for both to stay. What
freezes heats the rest and what melts cools it, so that the mean temperature is the melting point, whatever a run began
with.

`--part starts`: runs of a small cell at four temperatures, whose ends are put down to temperature and liquid fraction
of the start: how far the even chance of ending liquid moves with what the cell began with.

Writes benchmarks/results/melting_balance.csv and melting_starts.csv.
"""

from __future__ import annotations

import math
from pathlib import Path

import ase.io
import click
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ase_proxima.apps.statistics import mean_of_chain
from ase_proxima.dynamics.melting import MeltingSettings, Preparation, melt, prepare, read_runs
from ase_proxima.dynamics.order import liquid_fraction
from ase_proxima.dynamics.phases import thermalise, z_barostat
from ase_proxima.targets import parse_target

RESULTS = Path(__file__).parent / "results"
SETTLING = 0.25
"""First share of a run at constant enthalpy that is left out."""
LOOK = 100
"""Steps between two looks."""
TEMPERATURES_K = (830.0, 845.0, 860.0, 875.0)
REPEATS = 200
"""Resamples of the runs, for intervals."""


def settings_of(size: int, seed: int, **more: object) -> MeltingSettings:
    """The target alone."""
    return MeltingSettings(target="asap", size=size, strategy="baseline", seed=seed, phase_steps=3000, **more)


def balance(size: int, seed: int, steps: int, temperature_K: float, work: Path) -> list[dict[str, float]]:
    """Looks at a half-melted cell at constant enthalpy, which half of each phase has at about `temperature_K`."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "starts.traj").exists():
        prepare(settings_of(size, seed), work)
    atoms = ase.io.read(work / "starts.traj", 0)
    atoms.calc = parse_target("asap")
    balance_K = Preparation.read(work).balance_K
    thermalise(atoms, 2.0 * temperature_K - balance_K, np.random.default_rng(seed))
    dynamics = z_barostat(atoms, temperature_K, thermostat_fs=math.inf)
    rows = []
    for look in range(1, steps // LOOK + 1):
        temperature = np.mean([atoms.get_temperature() for _ in dynamics.irun(LOOK)])
        liquid = liquid_fraction(atoms)
        row = {"n_atoms": len(atoms), "seed": seed, "step": look * LOOK, "liquid_fraction": liquid}
        rows.append({**row, "temperature_K": float(temperature)})
    return rows


def starts(size: int, seed: int, runs: int, work: Path) -> list[dict[str, object]]:
    """How runs from starts of known liquid fraction end."""
    melt(settings_of(size, seed, temperatures_K=TEMPERATURES_K), runs, work, resume=work.exists())
    fractions = [liquid_fraction(atoms) for atoms in ase.io.iread(work / "starts.traj")]
    return [
        {
            "n_atoms": 8 * size**3,
            "temperature_K": run["temperature_K"],
            "start_liquid_fraction": fractions[run["start"]],
            "state": run["state"],
            "steps": run["step"],
        }
        for run in read_runs(work)
    ]


def even_chance(table: pd.DataFrame) -> tuple[float, float]:
    """Temperature at which a start that is half liquid ends either way, and its change for each 0.01 of liquid; K."""
    features = np.column_stack([table["temperature_K"] / 10.0, table["start_liquid_fraction"] * 10.0])
    centre = np.array([85.0, 5.0])
    model = LogisticRegression(C=100.0).fit(features - centre, table["state"] == "liquid")
    (by_temperature, by_liquid), at_centre = model.coef_[0], model.intercept_[0]
    return 850.0 - 10.0 * at_centre / by_temperature, -by_liquid / by_temperature


@click.command()
@click.option("--part", type=click.Choice(["balance", "starts"]), required=True)
@click.option(
    "--size", type=click.IntRange(3), help="Cells along each side.  [default: 6 in balance, else 4]"
)
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--temp", default=830.0, show_default=True, help="Where a run at constant enthalpy begins, in K."
)
@click.option("--steps", default=20_000, show_default=True, help="Of a run at constant enthalpy.")
@click.option("--runs", default=20, show_default=True, help="At each temperature.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/benchmark-reference"))
def main(part: str, size: int | None, seed: int, temp: float, steps: int, runs: int, work: Path) -> None:
    """Make the runs and write their table."""
    size = size or (6 if part == "balance" else 4)
    folder = work / f"{part}-{size}-{seed}"
    if part == "balance":
        table = pd.DataFrame(balance(size, seed, steps, temp, folder))
        settled = table[table["step"] > SETTLING * steps]
        mean, liquid = mean_of_chain(settled["temperature_K"]), settled["liquid_fraction"]
        click.echo(
            f"{table['n_atoms'][0]} atoms, seed {seed}: {mean.mean:.1f} +- {mean.error:.1f} K, "
            f"{liquid.min():.2f} to {liquid.max():.2f} of them liquid"
        )
        write(table, "melting_balance.csv", "n_atoms", "seed")
        return
    table = pd.DataFrame(starts(size, seed, runs, folder))
    decided = table[table["state"] != "undecided"]
    again = [even_chance(decided.sample(frac=1.0, replace=True, random_state=i)) for i in range(REPEATS)]
    low, high = np.percentile(again, [2.5, 97.5], axis=0).tolist()
    middle, change = even_chance(decided)
    click.echo(
        f"{table['n_atoms'][0]} atoms, {len(decided)} of {len(table)} runs decided: even from one half at "
        f"{middle:.0f} ({low[0]:.0f} to {high[0]:.0f}) K, {change:+.1f} ({low[1]:+.1f} to {high[1]:+.1f}) K "
        f"for each 0.01 of liquid more"
    )
    write(table, "melting_starts.csv", "n_atoms")


def write(table: pd.DataFrame, name: str, *keys: str) -> None:
    """Put rows into a table, in the place of those of the same keys."""
    file = RESULTS / name
    if file.exists():
        known = pd.read_csv(file)
        same = (known[list(keys)] == table.loc[0, list(keys)]).all(axis=1)
        table = pd.concat([known[~same], table])
    table.to_csv(file, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
