"""Surrogates of this package beside GAP, linear ACE and sGDML, on the same frames: force errors and times.

The frames are those of `surrogates.py`: some of the first 80 of a trajectory, shuffled by a fixed seed, are learnt
from, the last 20 are asked. The other packages are run by `other_potentials.py` with the interpreter of an environment
of their own, whose making its docstring tells:

    python benchmarks/side_by_side.py --python others/bin/python --system aspirin --frames 5 --frames 20

Writes benchmarks/results/side_by_side.csv; a row measured anew replaces the older one. Times are the processor's: of
one call (with standard deviations for ours, without for the others), the least of 20, and of fitting to all frames.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import pandas as pd
import surrogates
from ase import Atoms
from ase.io import write

from ase_proxima.types import Frame

RESULTS = Path(__file__).parent / "results" / "side_by_side.csv"
OTHER = Path(__file__).parent / "other_potentials.py"
SYSTEMS = {"aspirin": 5.0, "alanine dipeptide": 5.0, "Al108 2500 K": 6.0, "Cu81Al27": 5.5, "liquid Si": 5.0}
"""With the cutoff of GAP and ACE, Å."""
MODELS = ("joint_gp", "bayesian_soap", "gradient_gp", "gap", "ace", "sgdml")
FOR_MOLECULES = ("joint_gp", "gradient_gp", "sgdml")


def ours(model: str, train: list[Atoms], test: list[Atoms]) -> Mapping[str, float]:
    """Error (eV/Å) and times of a surrogate of this package."""
    surrogate, frames = (
        surrogates.make_model(model),
        [Frame(atoms, atoms.calc.results, n) for n, atoms in enumerate(train)],
    )
    start = time.process_time()
    surrogate.fit(frames)
    trained, errors, took = time.process_time() - start, [], []
    for atoms in test:
        start = time.process_time()
        answer = surrogate.predict(atoms)
        took.append(time.process_time() - start)
        errors.append(np.abs(answer.results["forces"] - atoms.get_forces()).mean())
    return {"force_mae": float(np.mean(errors)), "call_ms": 1e3 * min(took), "train_s": trained}


def theirs(
    python: Path, model: str, train: list[Atoms], test: list[Atoms], cutoff: float
) -> Mapping[str, float]:
    """Error and times of another package."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.extxyz" for name in ("train", "test")]
        for path, frames in zip(paths, (train, test), strict=True):
            write(path, frames)
        command = [str(python), str(OTHER), model, *map(str, paths), "--cutoff", str(cutoff)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@click.command(context_settings={"show_default": True})
@click.option(
    "--python", type=click.Path(exists=True, path_type=Path), help="Interpreter that has the other packages."
)
@click.option("--system", "systems", multiple=True, type=click.Choice(list(SYSTEMS)), default=list(SYSTEMS))
@click.option("--model", "models", multiple=True, type=click.Choice(MODELS), default=MODELS)
@click.option("--frames", "sizes", multiple=True, type=click.IntRange(1, 80), default=(5, 20))
def main(
    python: Path | None, systems: tuple[str, ...], models: tuple[str, ...], sizes: tuple[int, ...]
) -> None:
    """Measure the models on the systems, and write the rows into the table."""
    for system in systems:
        frames = surrogates.sample(system)
        order = np.random.default_rng(0).permutation(surrogates.N_TRAIN)
        for n in sizes:
            train, test = [frames[i] for i in order[:n]], frames[surrogates.N_TRAIN :]
            for model in models:
                if frames[0].pbc.any() and model in FOR_MOLECULES:
                    continue
                if model in surrogates.MODELS:
                    found = ours(model, train, test)
                elif python is None:
                    raise click.UsageError(f"{model} needs --python, the interpreter of its environment")
                else:
                    found = theirs(python, model, train, test, SYSTEMS[system])
                row = {"system": system, "frames": n, "model": model, **found}
                known = [pd.read_csv(RESULTS)] if RESULTS.exists() else []
                table = pd.concat([*known, pd.DataFrame([row])]).drop_duplicates(
                    ["system", "frames", "model"], keep="last"
                )
                table.to_csv(RESULTS, index=False, float_format="%.4g")
                click.echo(
                    f"{system}, {n} frames, {model}: " + ", ".join(f"{k} {v:.3g}" for k, v in found.items())
                )


if __name__ == "__main__":
    main()
