"""A process of its own that trains, freezes, compresses and scores DeePMD-kit models one after the other.

    python -m ase_proxima.surrogates.deepmd_worker PLAN

DeePMD-kit keeps its state in TensorFlow's globals, and takes some 10 s to start.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CURVE", "INPUT", "MODEL", "PLAN", "SCORES", "main"]

INPUT, CURVE, PLAN, SCORES = "input.json", "lcurve.out", "plan.json", "scores.json"
MODEL = "model-{}.pb"
CHECKPOINT = "model.ckpt"
FROZEN = "frozen.pb"


def main(plan_file: str) -> None:
    """Do what a plan says: `folders` with an input each, `models` to write, systems `held_out`."""
    plan = json.loads(Path(plan_file).read_text())
    scores_file = Path(plan_file).absolute().with_name(SCORES)  # training changes the working directory
    scores = []
    for folder, model in zip(plan["folders"], plan["models"], strict=True):
        if not Path(model).exists():
            _train(Path(folder), Path(model))
        scores.append(_score(Path(model), plan["held_out"]))
    scores_file.write_text(json.dumps(scores))


def _train(folder: Path, model: Path) -> None:
    """Train one model, from its latest checkpoint where there is one; the model is there once it is whole."""
    from deepmd.tf.entrypoints.main import main as dp

    os.chdir(folder)
    command = ["train", INPUT]
    if (folder / f"{CHECKPOINT}.index").exists() or (folder / "checkpoint").exists():
        command += ["--restart", CHECKPOINT]
    dp(["--tf", *command])
    dp(["--tf", "freeze", "-o", FROZEN])
    compressed = folder / "compressed.pb"
    dp(["--tf", "compress", "-i", FROZEN, "-o", str(compressed), "-t", INPUT])
    os.replace(compressed, model)


def _score(model: Path, systems: list[str]) -> dict[str, Any]:
    """Errors of a model on systems: RMSE of energies (eV an atom) and of forces (eV/Å per component)."""
    from deepmd.infer import DeepPot

    potential = DeepPot(str(model))
    energies, forces = [], []
    for system in map(Path, systems):
        types = np.loadtxt(system / "type.raw", dtype=int, ndmin=1)
        data = {
            name: np.load(system / "set.000" / f"{name}.npy") for name in ("coord", "box", "energy", "force")
        }
        cells = None if (system / "nopbc").exists() else data["box"]
        energy, force, _ = potential.eval(data["coord"], cells, types.tolist())[:3]
        energies.append((np.ravel(energy) - data["energy"]) / len(types))
        forces.append(np.ravel(force) - np.ravel(data["force"]))
    return {
        "model": model.name,
        "energy_rmse": float(np.sqrt(np.mean(np.concatenate(energies) ** 2))),
        "force_rmse": float(np.sqrt(np.mean(np.concatenate(forces) ** 2))),
    }


if __name__ == "__main__":
    main(sys.argv[1])
