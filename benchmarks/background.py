"""Training beside the simulation against training within it: how long the simulation waits, what the target is asked.

    python benchmarks/background.py [--system aluminium] [--steps 1500] [--out benchmarks/results]

`methane`: Monte Carlo at 500 K, GFN2-xTB in the target's place, made to take 0.1 s more a call; the surrogate is a
committee of three small networks on the distances, which scikit-learn trains in seconds. `aluminium`: 108 atoms at
900 K, EMT that takes 0.5 s more a call, and three DeePMD-kit models, which train for minutes. `background` has a
manager beside it (`proxima manage`), `every 100` trains in the simulation after each 100 frames. Times are those that
the run itself has counted; waiting is loading, saving and training. Rows of a system replace its older ones in
`background.csv`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from sklearn.neural_network import MLPRegressor

from ase_proxima import ProximaCalculator
from ase_proxima.apps import monte_carlo
from ase_proxima.dynamics.phases import thermalise
from ase_proxima.metrics import find_metric
from ase_proxima.surrogates import DeepMD
from ase_proxima.targets import parse_target
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.types import Decision, Frame, Prediction

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
MANAGE = [sys.executable, "-c", "from proxima_cli.proxima import main; main()", "manage"]
TARGET = "xtb:GFN2"
PERTURB = 0.01
TARGET_S, ALUMINIUM_S = 0.1, 0.5
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


class DearAluminium(EMT):  # type: ignore[misc]
    """EMT, for as long as a dearer method would take."""

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Sleep, then fill in what EMT gives."""
        time.sleep(ALUMINIUM_S)
        super().calculate(atoms, properties, system_changes)


def walk(atoms: Atoms, steps: int) -> Iterator[Any]:
    """Monte Carlo at 500 K."""
    move = monte_carlo.Move(500.0, PERTURB)
    yield from monte_carlo.sample(atoms, move, steps, np.random.default_rng(1))


def vibrate(atoms: Atoms, steps: int) -> Iterator[Any]:
    """Molecular dynamics at 900 K."""
    rng = np.random.default_rng(1)
    thermalise(atoms, 1800.0, rng)
    yield from Langevin(
        atoms, 3.0 * units.fs, temperature_K=900.0, friction=0.01 / units.fs, fixcm=False, rng=rng
    ).irun(steps)


@dataclass(frozen=True)
class System:
    """What is simulated, on what, under which bound; `exact` gives true errors without the wait."""

    atoms: Callable[[], Atoms]
    go: Callable[[Atoms, int], Iterator[Any]]
    target: Callable[[], Any]
    exact: Callable[[], Any]
    surrogate: Callable[[], Any]
    factory: str
    metric: str
    bound: float
    properties: tuple[str, ...]


SYSTEMS = {
    "methane": System(
        lambda: molecule("CH4"),
        walk,
        lambda: FunctionCalculator(DearTarget()),
        lambda: parse_target(TARGET),
        Networks,
        "background:Networks",
        "energy",
        0.02,
        ("energy",),
    ),
    "aluminium": System(
        lambda: bulk("Al", cubic=True, a=4.12) * 3,
        vibrate,
        DearAluminium,
        EMT,
        DeepMD,
        "ase_proxima.surrogates:DeepMD",
        "force_mae",
        0.05,
        ("energy", "forces"),
    ),
}


def run(name: str, way: str, training: Any, run_dir: Path, steps: int) -> dict[str, Any]:
    """Make one run, with a manager where it wants one."""
    system = SYSTEMS[name]
    atoms, exact = system.atoms(), system.exact()
    _, metric = find_metric(system.metric)
    calc = ProximaCalculator(
        system.target(),
        error_bound=system.bound,
        error_metric=system.metric,
        properties=list(system.properties),
        surrogate=system.surrogate(),
        training=training,
        run_dir=run_dir,
        when_not_worthwhile="ignore",
    )
    atoms.calc = calc
    manager = None
    if training == "background":
        options = ["--surrogate", system.factory, "--poll", "0.2"]
        manager = subprocess.Popen([*MANAGE, str(run_dir), *options], cwd=HERE, stdout=subprocess.DEVNULL)
    errors, start, checking_s = [], time.perf_counter(), 0.0
    for _ in system.go(atoms, steps):
        if calc.last_decision is Decision.SURROGATE:
            before = time.perf_counter()
            still = atoms.copy()
            true = {each: exact.get_property(each, still) for each in system.properties}
            errors.append(metric(true, calc.results))
            checking_s += time.perf_counter() - before
    wall = time.perf_counter() - start - checking_s
    stats = calc.stats
    calc.close()
    if manager is not None:
        manager.wait()
    spent = stats.time_target + stats.time_surrogate + stats.time_uncertainty + stats.time_decision
    return {
        "system": name,
        "way": way,
        "n_calls": stats.n_calls,
        "n_target_runs": stats.n_target_runs,
        "n_surrogate": stats.n_surrogate,
        "versions": stats.model_version,
        "wall_s": wall,
        "waiting_s": stats.time_training,
        "waiting_share": stats.time_training / (spent + stats.time_training),
        "error_bound": system.bound,
        "true_error": float(np.mean(errors)) if errors else float("nan"),
    }


@click.command(context_settings={"show_default": True})
@click.option("--system", "name", type=click.Choice(list(SYSTEMS)), default="methane")
@click.option("--steps", default=700)
@click.option("--out", default=ROOT / "benchmarks" / "results", type=click.Path(path_type=Path))
def main(name: str, steps: int, out: Path) -> None:
    """Measure, and write the table."""
    file = out / "background.csv"
    table = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["system"])
    table = table[table["system"] != name]
    with tempfile.TemporaryDirectory() as folder:
        for way, training in (("background", "background"), ("every 100", 100)):
            row = run(name, way, training, Path(folder) / way.replace(" ", "-"), steps)
            click.echo(row)
            table = pd.concat([table, pd.DataFrame([row])])
            table.to_csv(file, index=False)


if __name__ == "__main__":
    main()
