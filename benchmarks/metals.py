"""Metals from nothing: molecular dynamics driven by a surrogate that learns on the way, EMT in the target's place.

Each system starts from its perfect lattice with random velocities and an untrained surrogate, every setting at its
default.  EMT is cheap, so the true error of every call that the surrogate answered is found afterwards, outside the
timed part, by running the target on the same positions.  EMT is also so cheap that no time is saved here: what is
shown is how many target calls are needed, and whether the bound holds.

Writes one file a system into --work, and from all of them benchmarks/results/metals.csv and metals.png.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.md.langevin import Langevin

from ase_proxima import ProximaCalculator

matplotlib.use("Agg")
RESULTS = Path(__file__).parent / "results"
FRICTION_PER_FS = 0.01


@dataclass(frozen=True)
class System:
    """A structure, its temperature (K) and time step (fs), and the bound on the mean absolute force error (eV/Å)."""

    make: Callable[[], Atoms]
    temperature: float
    timestep: float
    bound: float


def alloy() -> Atoms:
    """Return Cu3Al on the lattice of copper, 108 atoms, the species at random places."""
    atoms = bulk("Cu", cubic=True, a=3.7) * 3
    atoms.numbers[np.random.default_rng(0).permutation(len(atoms))[: len(atoms) // 4]] = 13
    return atoms


SYSTEMS = {
    "Al108 900 K": System(lambda: bulk("Al", cubic=True) * 3, 900.0, 3.0, 0.02),
    "Al108 2500 K": System(lambda: bulk("Al", cubic=True) * 3, 2500.0, 3.0, 0.02),
    "Cu81Al27 600 K": System(alloy, 600.0, 3.0, 0.02),
    "Pt55 600 K": System(lambda: Icosahedron("Pt", 3), 600.0, 3.0, 0.1),
}


def simulate(system: System, n_calls: int, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the dynamics; return one row a call, with its true error, and the summary."""
    atoms = system.make()
    rng = np.random.default_rng(seed)
    thermal = np.sqrt(atoms.get_masses() * units.kB * system.temperature)
    atoms.set_momenta(thermal[:, None] * rng.normal(size=(len(atoms), 3)))
    positions, forces = [], []
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        calculator = ProximaCalculator(
            EMT(),
            error_bound=system.bound,
            error_metric="force_mae",
            seed=seed,
            run_dir=run_dir,
            when_not_worthwhile="ignore",
        )
        atoms.calc = calculator
        dynamics = Langevin(
            atoms,
            system.timestep * units.fs,
            temperature_K=system.temperature,
            friction=FRICTION_PER_FS / units.fs,
            fixcm=False,
            rng=rng,
        )

        def keep() -> None:
            positions.append(atoms.positions.copy())
            forces.append(calculator.results["forces"])

        dynamics.attach(keep)
        start = time.perf_counter()
        dynamics.run(n_calls - 1)
        wall_s = time.perf_counter() - start
        calculator.close()
        steps = pd.read_csv(run_dir / "steps.csv")
    exact = system.make()
    exact.calc = EMT()
    errors = []
    for place, force, decision in zip(positions, forces, steps["decision"], strict=True):
        exact.positions = place
        errors.append(np.abs(force - exact.get_forces()).mean() if decision == "surrogate" else np.nan)
    steps["true_error"] = np.where(steps["decision"] == "audit", steps["error"], errors)
    stats, model = calculator.stats, calculator.surrogate.describe()
    return steps, {
        "n_atoms": len(atoms),
        "bound": system.bound,
        "seed": seed,
        "error_estimate": stats.error_estimate,
        "error_upper": stats.error_upper,
        "wall_s": wall_s,
        "n_features": model["n_features"],
        "notes": " ".join(stats.notes),
    }


def summarise(name: str, steps: pd.DataFrame, run: dict[str, Any]) -> dict[str, Any]:
    """Row of the table: errors in eV/Å, times in ms."""
    answered = steps["decision"] == "surrogate"
    trusted = steps["decision"] != "target"
    training = steps.loc[steps["time_training"] > 0, "time_training"]
    own = ["time_surrogate", "time_uncertainty", "time_decision"]
    return {
        "system": name,
        "n_atoms": run["n_atoms"],
        "n_features": run["n_features"],
        "seed": run["seed"],
        "bound": run["bound"],
        "calls": len(steps),
        "flagged": int((~trusted).sum()),
        "audits": int((trusted & ~answered).sum()),
        "share_trusted": trusted.mean(),
        "true_mean_error": steps.loc[answered, "true_error"].mean(),
        "true_largest_error": steps.loc[answered, "true_error"].max(),
        "error_estimate": run["error_estimate"],
        "error_upper": run["error_upper"],
        "trusted_call_ms": 1e3 * steps.loc[answered, own].sum(axis=1).median(),
        "frame_added_ms": 1e3 * training.median(),
        "wall_s": run["wall_s"],
        "notes": run["notes"],
    }


def draw(runs: dict[str, pd.DataFrame], bounds: dict[str, float], path: Path) -> None:
    """Plot the error of each call against its number, with bound and threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.0 * ((len(runs) + 1) // 2)), layout="constrained")
    axes = np.atleast_1d(figure.subplots((len(runs) + 1) // 2, 2 if len(runs) > 1 else 1)).ravel()
    for axis, (name, steps) in zip(axes, runs.items(), strict=False):
        flagged = steps["decision"] == "target"
        axis.plot(steps["step"], steps["true_error"], ".", ms=2, label="trusted: true error")
        axis.plot(steps.loc[flagged, "step"], steps.loc[flagged, "error"], "rx", ms=4, label="flagged: error")
        axis.plot(steps["step"], steps["uncertainty"], color="0.6", lw=0.6, label="uncertainty")
        axis.plot(steps["step"], steps["threshold"], color="tab:green", lw=1, label="threshold")
        axis.axhline(bounds[name], color="black", linestyle="--", lw=1, label="bound")
        axis.set(title=name, xlabel="call", ylabel="force error (eV/Å)", yscale="log")
        axis.set_ylim(bounds[name] / 20, bounds[name] * 20)
    axes[0].legend(fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=130)


@click.command(context_settings={"show_default": True})
@click.option("--system", "names", multiple=True, type=click.Choice(list(SYSTEMS)), help="By default all.")
@click.option("--calls", default=2000, help="Calls of each run.")
@click.option("--seed", default=0)
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/metals"))
def main(names: tuple[str, ...], calls: int, seed: int, work: Path) -> None:
    """Simulate the systems, and write the table and the figure of all that --work holds."""
    work.mkdir(parents=True, exist_ok=True)
    for name in names or SYSTEMS:
        steps, run = simulate(SYSTEMS[name], calls, seed)
        steps.to_csv(work / f"{name}.csv", index=False)
        (work / f"{name}.json").write_text(json.dumps(run))
    runs = {name: pd.read_csv(work / f"{name}.csv") for name in SYSTEMS if (work / f"{name}.csv").exists()}
    described = {name: json.loads((work / f"{name}.json").read_text()) for name in runs}
    table = pd.DataFrame([summarise(name, runs[name], described[name]) for name in runs])
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "metals.csv", index=False, float_format="%.4g")
    draw(runs, {name: described[name]["bound"] for name in runs}, RESULTS / "metals.png")
    click.echo(table.set_index("system").T.to_string(float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    main()
