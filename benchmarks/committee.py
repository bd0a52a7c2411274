"""A committee of DeePMD-kit models in the target's place: learning curves, errors against disagreement, use by step.

The models are trained on frames of 108 aluminium atoms (EMT by Asap), solid at 900 K and liquid at 1,500 K. Then
another trajectory is driven by the committee under a bound of 0.05 eV/Å on the mean absolute error of the forces, solid
first, then melted. The true error of every call is computed by the target afterwards.

Writes benchmarks/results/committee.csv, a row a call, and the figures committee.png and committee_curves.png.
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
from ase_proxima.dynamics.coexistence import thermalise
from ase_proxima.reports.deepmd import plot_curves
from ase_proxima.surrogates.deepmd import load_committee
from ase_proxima.surrogates.deepmd_training import TrainingPlan, train_committee
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


def draw(rows: pd.DataFrame, file: Path) -> None:
    """Draw errors, threshold and use against step, and errors against disagreement."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    (top, use), (middle, scatter) = figure.subplots(2, 2)
    top.plot(rows["step"], rows["error"], lw=0.8)
    top.axhline(BOUND, color="0.4", ls=":")
    top.set(xlabel="step", ylabel="true force error of the answer [eV/Å]")
    middle.plot(rows["step"], rows["deviation"], lw=0.8, label="deviation")
    middle.plot(rows["step"], rows["threshold"], lw=1.2, label="threshold")
    middle.set(xlabel="step", ylabel="eV/Å")
    middle.legend(frameon=False)
    trusted = (rows["decision"] != "target").astype(float)
    use.plot(rows["step"], trusted.rolling(50, min_periods=1).mean())
    use.set(xlabel="step", ylabel="share trusted, of 50 calls", ylim=(-0.02, 1.02))
    scatter.scatter(rows["deviation"], rows["surrogate_error"], s=4)
    correlation = np.corrcoef(rows["deviation"], rows["surrogate_error"])[0, 1]
    scatter.set(
        xlabel="deviation [eV/Å]",
        ylabel="error of the committee [eV/Å]",
        title=f"correlation {correlation:.2f}",
    )
    figure.savefig(file, dpi=110)


@click.command()
@click.option("--models", "n_models", default=3, show_default=True)
@click.option("--training-steps", default=1000, show_default=True)
@click.option("--frames", "n_frames", default=120, show_default=True)
@click.option("--steps", default=1000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS)
def main(n_models: int, training_steps: int, n_frames: int, steps: int, out: Path) -> None:
    """Train, drive and draw."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        begun = time.perf_counter()
        summary: dict[str, Any] = train_committee(
            frames(n_frames), models, TrainingPlan(n_models, training_steps)
        )
        summary["wall_s"] = time.perf_counter() - begun
        plot_curves(models).savefig(out / "committee_curves.png", dpi=110)
        rows = drive(models, steps)
    rows.to_csv(out / "committee.csv", index=False, float_format="%.5g")
    draw(rows, out / "committee.png")
    trusted = rows[rows["decision"] != "target"]
    summary |= {
        "trusted": len(trusted) / len(rows),
        "error_of_trusted": float(trusted["surrogate_error"].mean()),
        "correlation": float(np.corrcoef(rows["deviation"], rows["surrogate_error"])[0, 1]),
    }
    click.echo(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
