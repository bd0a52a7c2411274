"""A committee of DeePMD-kit models in the target's place: learning curves, errors against disagreement, use by step.

The models are trained on frames of 108 aluminium atoms (EMT by Asap), solid at 900 K and liquid at 1,500 K. Then
another trajectory is driven by the committee under a bound of 0.05 eV/Å on the mean absolute error of the forces, solid
first, then melted. The true error of every call is computed by the target afterwards.

Writes benchmarks/results/committee.csv, a row a call, committee_curves.csv, the learning curves, and the figures
committee.png and committee_curves.png. `--draw` draws the figures from the tables that are there.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin

from ase_proxima import ProximaCalculator
from ase_proxima.dynamics.phases import thermalise
from ase_proxima.surrogates.deepmd import load_committee
from ase_proxima.surrogates.deepmd_training import TrainingPlan, read_curve, train_committee
from ase_proxima.targets import parse_target
from ase_proxima.types import Frame
from ase_proxima.uncertainty.ensemble import EnsembleUncertainty

matplotlib.use("Agg")
RESULTS = Path(__file__).parent / "results"
TARGET, BOUND = "asap", 0.05
SOLID_K, LIQUID_K = 900.0, 1500.0
MELTING_K = 2500.0
SPACING = 20
"""Steps between two frames that are trained on."""
ZOOM = 100
"""Steps of the part that is drawn larger."""


def dynamics(atoms: Atoms, temperature_K: float, seed: int) -> Langevin:
    """Thermostatted dynamics with 3 fs a step."""
    return Langevin(
        atoms,
        3.0 * units.fs,
        temperature_K=temperature_K,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=np.random.default_rng(seed),
    )


def frames(n: int) -> list[Frame]:
    """Frames to train on: half of them solid, half of them liquid, in turns, so that both are held out too."""
    target = parse_target(TARGET)
    names = ("energy", "forces", "stress")
    parts: list[list[Frame]] = []
    for temperature, melting in ((SOLID_K, False), (LIQUID_K, True)):
        atoms = bulk("Al", cubic=True, a=4.12) * 3
        atoms.calc = parse_target(TARGET)
        thermalise(atoms, 2.0 * temperature, np.random.default_rng(1))
        if melting:
            dynamics(atoms, MELTING_K, 2).run(500)
        run, part = dynamics(atoms, temperature, 3), []
        run.run(200)
        for _ in range(n // 2):
            run.run(SPACING)
            still = atoms.copy()
            part.append(Frame(still, {name: target.get_property(name, still) for name in names}, 0))
        parts.append(part)
    return [frame for pair in zip(*parts, strict=True) for frame in pair]


def drive(models: Path, steps: int) -> pd.DataFrame:
    """Rows of a trajectory that the committee answers under the bound, solid for a half, then melted."""
    atoms = bulk("Al", cubic=True, a=4.12) * 3
    thermalise(atoms, 2.0 * SOLID_K, np.random.default_rng(11))
    committee = load_committee(models)
    measure = EnsembleUncertainty("force_mae")
    calc = ProximaCalculator(
        parse_target(TARGET),
        error_bound=BOUND,
        error_metric="force_mae",
        surrogate=committee,
        training="never",
        when_not_worthwhile="ignore",
        seed=1,
    )
    atoms.calc = calc
    exact, rows = parse_target(TARGET), []
    for half, temperature in enumerate((SOLID_K, MELTING_K)):
        for _ in dynamics(atoms, temperature, 12 + half).irun(steps // 2):
            prediction = committee.predict(atoms)
            forces = exact.get_property("forces", atoms.copy())
            rows.append(
                {
                    "step": len(rows),
                    "deviation": measure.measure(atoms, prediction),
                    "threshold": calc.stats.threshold,
                    "decision": calc.last_decision.value if calc.last_decision else "",
                    "surrogate_error": float(np.abs(forces - prediction.results["forces"]).mean()),
                    "error": float(np.abs(forces - atoms.get_forces()).mean()),
                }
            )
    return pd.DataFrame(rows)


def zoom_of(rows: pd.DataFrame) -> tuple[int, int]:
    """Steps about a call that the committee was trusted with after a flagged one; the middle if there is none."""
    trusted = rows["decision"] != "target"
    changes = np.flatnonzero(trusted.to_numpy()[1:] & ~trusted.to_numpy()[:-1])
    middle = int(changes[len(changes) // 2]) if len(changes) else len(rows) // 2
    first = int(np.clip(middle - ZOOM // 2, 0, max(len(rows) - ZOOM, 0)))
    return first, min(first + ZOOM, len(rows))


def draw(rows: pd.DataFrame, file: Path) -> None:
    """Draw error, threshold and use against step, whole and a part of it, and errors against disagreement."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 7.0), layout="constrained")
    grid = figure.add_gridspec(3, 3)
    trusted = (rows["decision"] != "target").astype(float)
    first, last = zoom_of(rows)
    for column, (begin, end) in enumerate(((0, len(rows)), (first, last))):
        part = rows.iloc[begin:end]
        error, deviation, use = (figure.add_subplot(grid[row, column]) for row in range(3))
        error.plot(part["step"], part["surrogate_error"], lw=0.7, color="0.6", label="committee")
        error.plot(part["step"], part["error"], lw=0.9, label="answer")
        error.axhline(BOUND, color="0.2", ls=":", label="bound")
        error.set(ylabel="true force error [eV/Å]", title=("whole run", f"steps {begin} to {end}")[column])
        deviation.plot(part["step"], part["deviation"], lw=0.7, label="deviation")
        deviation.plot(part["step"], part["threshold"], lw=1.2, label="threshold")
        deviation.set(ylabel="eV/Å")
        if column:
            use.step(part["step"], trusted.iloc[begin:end], where="post", lw=0.9)
            use.set(yticks=(0, 1), yticklabels=("target", "committee"))
        else:
            use.plot(part["step"], trusted.rolling(50, min_periods=1).mean())
            use.set(ylabel="share trusted, of 50 calls")
        use.set(xlabel="step", ylim=(-0.05, 1.05))
        if not column:
            for axes in (error, deviation):
                axes.legend(frameon=False, fontsize="small")
    scatter = figure.add_subplot(grid[:, 2])
    moved = rows.iloc[1:]  # the first is a perfect lattice, without forces
    scatter.scatter(moved["deviation"], moved["surrogate_error"], s=5, alpha=0.5, lw=0)
    scatter.axhline(BOUND, color="0.2", ls=":")
    scatter.set(
        xlabel="deviation of the members [eV/Å]",
        ylabel="true force error of the committee [eV/Å]",
        title=f"correlation {correlation(rows):.2f}",
    )
    figure.savefig(file, dpi=110)


def correlation(rows: pd.DataFrame) -> float:
    """Of disagreement and error, without the perfect lattice at the start."""
    moved = rows.iloc[1:]
    return float(np.corrcoef(moved["deviation"], moved["surrogate_error"])[0, 1])


def draw_curves(curves: pd.DataFrame, file: Path) -> None:
    """Draw the learning curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for model, curve in curves.groupby("model"):
        (line,) = axes.plot(curve["step"], curve["held_out"], label=f"model {model}, held out")
        axes.plot(curve["step"], curve["trained_on"], color=line.get_color(), ls=":", lw=1)
    axes.set(xlabel="step", ylabel="RMSE of the forces in a batch [eV/Å]", yscale="log")
    axes.legend(frameon=False, title="dotted: trained on")
    figure.savefig(file, dpi=110)


@click.command()
@click.option("--models", "n_models", default=3, show_default=True)
@click.option("--training-steps", default=1000, show_default=True)
@click.option("--frames", "n_frames", default=120, show_default=True)
@click.option("--steps", default=1000, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="New folder for the models, as melting.py takes them."
)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--draw", "only_draw", is_flag=True, help="Only draw the tables that are there.")
def main(
    n_models: int,
    training_steps: int,
    n_frames: int,
    steps: int,
    keep: Path | None,
    out: Path,
    *,
    only_draw: bool,
) -> None:
    """Train, drive and draw."""
    if only_draw:
        draw(pd.read_csv(out / "committee.csv"), out / "committee.png")
        if (out / "committee_curves.csv").exists():
            draw_curves(pd.read_csv(out / "committee_curves.csv"), out / "committee_curves.png")
        return
    with tempfile.TemporaryDirectory() as folder:
        models = keep or Path(folder) / "models"
        begun = time.perf_counter()
        summary: dict[str, Any] = train_committee(
            frames(n_frames), models, TrainingPlan(n_models, training_steps)
        )
        summary["wall_s"] = time.perf_counter() - begun
        parts = [
            pd.DataFrame(read_curve(models / f"training-{i}"), columns=["step", "held_out", "trained_on"])
            for i in range(n_models)
        ]
        curves = pd.concat(parts, keys=range(n_models), names=["model"]).reset_index("model")
        curves.to_csv(out / "committee_curves.csv", index=False, float_format="%.5g")
        draw_curves(curves, out / "committee_curves.png")
        rows = drive(models, steps)
    rows.to_csv(out / "committee.csv", index=False, float_format="%.5g")
    draw(rows, out / "committee.png")
    trusted = rows[rows["decision"] != "target"]
    summary |= {
        "trusted": len(trusted) / len(rows),
        "error_of_trusted": float(trusted["surrogate_error"].mean()),
        "correlation": correlation(rows),
    }
    click.echo(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
