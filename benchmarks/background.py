"""Training beside the simulation against training within it: how long the simulation waits, what the target is asked.

    python benchmarks/background.py [--steps 700] [--out benchmarks/results]

Monte Carlo of methane at 500 K, GFN2-xTB in the target's place, made to take 0.1 s more a call; the surrogate is a
committee of three small networks on the distances, which scikit-learn trains in seconds. `background` has a manager
beside it (`proxima manage`), `every 100` trains in the simulation after each 100 frames. Times are those that the run
itself has counted; waiting is loading, saving and training. It writes `background.csv`.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms
from ase.build import molecule
from sklearn.neural_network import MLPRegressor

from ase_proxima import ProximaCalculator
from ase_proxima.apps import monte_carlo
from ase_proxima.targets import parse_target
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.types import Decision, Frame, Prediction

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
MANAGE = [sys.executable, "-c", "from proxima_cli.proxima import main; main()", "manage"]
TARGET = "xtb:GFN2"
BOUND = 0.02
PERTURB = 0.01
TARGET_S = 0.1
LAYERS = (40, 40)
ALPHA = 0.01
N_MEMBERS = 3


class Networks:
    """A committee of networks on the distances of a molecule, for its energy."""

    incremental = False
    min_frames = 10
    properties = ("energy",)
    usual_uncertainty = "posterior"

    def __init__(self) -> None:
        self.layers: list[list[tuple[np.ndarray, np.ndarray]]] = []
        self.scale: tuple[np.ndarray, np.ndarray, float, float] | None = None

    def _distances(self, atoms: Atoms) -> np.ndarray:
        return atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]

    def fit(self, frames: Sequence[Frame]) -> None:
        """Train every member from scratch."""
        X = np.array([self._distances(frame.x) for frame in frames])
        y = np.array([frame.results["energy"] for frame in frames])
        self.scale = X.mean(axis=0), X.std(axis=0), float(y.mean()), float(y.std()) or 1.0
        X, y = (X - self.scale[0]) / self.scale[1], (y - self.scale[2]) / self.scale[3]
        self.layers = []
        for seed in range(N_MEMBERS):
            net = MLPRegressor(
                hidden_layer_sizes=LAYERS,
                activation="tanh",
                solver="lbfgs",
                alpha=ALPHA,
                max_iter=2000,
                random_state=seed,
            )
            net.fit(X, y)
            self.layers.append(list(zip(net.coefs_, net.intercepts_, strict=True)))

    def predict(self, atoms: Atoms) -> Prediction:
        """Mean and standard deviation of the members."""
        centre, width, low, size = self.scale
        energies = []
        for layers in self.layers:
            values = (self._distances(atoms) - centre) / width
            for weights, offset in layers[:-1]:
                values = np.tanh(values @ weights + offset)
            energies.append(float((values @ layers[-1][0] + layers[-1][1])[0]) * size + low)
        return Prediction({"energy": float(np.mean(energies))}, {"energy": float(np.std(energies)) + 1e-9})

    def save(self, folder: Path) -> None:
        """Write all numbers."""
        arrays = {
            "low": self.scale[2],
            "size": self.scale[3],
            "centre": self.scale[0],
            "width": self.scale[1],
        }
        for i, layers in enumerate(self.layers):
            for j, (weights, offset) in enumerate(layers):
                arrays |= {f"w{i}-{j}": weights, f"b{i}-{j}": offset}
        np.savez(folder / "networks.npz", **arrays)

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:  # noqa: ARG002
        """Read them."""
        with np.load(folder / "networks.npz") as saved:
            self.scale = saved["centre"], saved["width"], float(saved["low"]), float(saved["size"])
            self.layers = [
                [(saved[f"w{i}-{j}"], saved[f"b{i}-{j}"]) for j in range(len(LAYERS) + 1)]
                for i in range(N_MEMBERS)
            ]


class DearTarget:
    """GFN2-xTB, for as long as a dearer method would take."""

    implemented_properties = ("energy",)
    __name__ = "dear_target"

    def __init__(self) -> None:
        self.target = parse_target(TARGET)

    def __call__(self, atoms: Atoms) -> float:
        """Energy, in eV."""
        time.sleep(TARGET_S)
        return float(self.target.get_property("energy", atoms))


def walk(way: str, training: Any, run_dir: Path, steps: int) -> dict[str, Any]:
    """Make one run, with a manager where it wants one."""
    atoms = molecule("CH4")
    calc = ProximaCalculator(
        FunctionCalculator(DearTarget()),
        error_bound=BOUND,
        error_metric="energy",
        properties=["energy"],
        surrogate=Networks(),
        training=training,
        run_dir=run_dir,
        when_not_worthwhile="ignore",
    )
    atoms.calc = calc
    manager = None
    if training == "background":
        options = ["--surrogate", "background:Networks", "--poll", "0.2"]
        manager = subprocess.Popen([*MANAGE, str(run_dir), *options], cwd=HERE, stdout=subprocess.DEVNULL)
    errors, start = [], time.perf_counter()
    target = parse_target(TARGET)
    checking_s = 0.0
    for _ in monte_carlo.sample(atoms, monte_carlo.Move(500.0, PERTURB), steps, np.random.default_rng(1)):
        if calc.last_decision is Decision.SURROGATE:
            before = time.perf_counter()
            errors.append(abs(atoms.calc.results["energy"] - target.get_property("energy", atoms.copy())))
            checking_s += time.perf_counter() - before
    wall = time.perf_counter() - start - checking_s
    stats = calc.stats
    calc.close()
    if manager is not None:
        manager.wait()
    spent = stats.time_target + stats.time_surrogate + stats.time_uncertainty + stats.time_decision
    return {
        "way": way,
        "n_calls": stats.n_calls,
        "n_target_runs": stats.n_target_runs,
        "n_surrogate": stats.n_surrogate,
        "versions": stats.model_version,
        "wall_s": wall,
        "waiting_s": stats.time_training,
        "waiting_share": stats.time_training / (spent + stats.time_training),
        "error_bound": BOUND,
        "true_error": float(np.mean(errors)) if errors else float("nan"),
    }


@click.command()
@click.option("--steps", default=700, show_default=True)
@click.option("--out", default=ROOT / "benchmarks" / "results", type=click.Path(path_type=Path))
def main(steps: int, out: Path) -> None:
    """Measure, and write the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for way, training in (("background", "background"), ("every 100", 100)):
            rows.append(walk(way, training, Path(folder) / way.replace(" ", "-"), steps))
            print(rows[-1], flush=True)
            with (out / "background.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
