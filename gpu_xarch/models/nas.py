"""Neural architecture search with DeepHyper over the published space of perceptrons with skips.

A candidate has up to ten cells, each an identity or a dense layer of 16 to 96 units with a linear, rectified,
tanh or sigmoid activation, and may add the output of any of the three cells before it through a projection.
The reward is R² on rows that were not trained on. The best are trained again on all rows, and their mean
predicts. The networks are small and are trained by plain NumPy (Adam on the squared error), so that workers
start quickly and the result can be stored without foreign types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.models.network import Cell, fit_network, run_network
from gpu_xarch.models.problem import Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["EVALUATORS", "Nas", "search_space"]

CELLS, SKIPS = 10, 3
EVALUATORS = ("thread", "process", "ray", "mpicomm")
UNITS = tuple(range(16, 97, 16))
ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")


def search_space() -> dict[str, Any]:
    """Return the choices by name: a cell's layer, and its skips to the three cells before.

    Examples
    --------
    >>> space = search_space()
    >>> len(space), len(space["cell0"]), "skip4_1" in space
    (34, 25, True)
    """
    layers = ["identity", *(f"{units}-{kind}" for units in UNITS for kind in ACTIVATIONS)]
    space: dict[str, Any] = {}
    for cell in range(CELLS):
        space[f"cell{cell}"] = layers
        for back in range(1, min(SKIPS, cell) + 1):
            space[f"skip{cell}_{back}"] = [0, 1]
    return space


def cells_of(choices: Mapping[str, Any]) -> list[Cell]:
    """Turn choices into layers; identities vanish, skips go to the outputs that are left.

    Examples
    --------
    >>> cells_of({"cell0": "16-relu", "cell1": "identity", "cell2": "32-tanh", "skip2_1": 0, "skip2_2": 1})
    [Cell(units=16, activation='relu', skips=()), Cell(units=32, activation='tanh', skips=(0,))]
    """
    cells: list[Cell] = []
    # where the input of each published cell stands among the outputs that are left
    inputs = []
    for cell in range(CELLS):
        layer = str(choices.get(f"cell{cell}", "identity"))
        inputs.append(len(cells))
        if layer == "identity":
            continue
        units, kind = layer.split("-")
        told = {
            inputs[cell - back]
            for back in range(1, SKIPS + 1)
            if int(choices.get(f"skip{cell}_{back}", 0) or 0)
        }
        cells.append(Cell(int(units), kind, tuple(sorted(told - {len(cells)}))))
    return cells


def try_candidate(job: Any, file: str, epochs: int, batch: int, seed: int) -> float:
    """Train a candidate and return its R² on the rows held out; DeepHyper's workers call this."""
    import numpy as np

    with np.load(file) as rows:
        X, y, X_test, y_test = (rows[name] for name in ("X", "y", "X_test", "y_test"))
    cells = cells_of(dict(job.parameters))
    weights = fit_network(cells, X, y, epochs=epochs, batch=batch, seed=seed)
    error = float(((run_network(weights, cells, X_test) - y_test) ** 2).sum())
    total = float(((y_test - y_test.mean()) ** 2).sum())
    reward = 1.0 - error / total if total > 0 else -error
    # the search compares rewards: one diverged network must not stretch their scale
    return max(reward, -1.0) if np.isfinite(reward) else -1.0


class Nas:
    """Mean of the best networks of a search.

    Parameters
    ----------
    problem : Problem
    budget : int
        Candidates to try.
    best : int
        How many of them are trained again on all rows.
    epochs : int
        Of a candidate; those kept are trained for ten times as many.
    batch : int
    search : str
        "evolution" (regularised evolution: Real et al. 2019) or "bayesian".
    evaluator : str
        "thread", "process", "ray" or "mpicomm".
    workers : int
    folder : str, optional
        Where tried candidates are kept; a search that finds some there goes on from them.
    seed, n_jobs : int
        `n_jobs` is the number of workers unless `workers` is given.

    Raises
    ------
    InputError
        If DeepHyper is not installed, or an option is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        budget: int = 100,
        best: int = 50,
        epochs: int = 20,
        batch: int = 250,
        search: str = "evolution",
        evaluator: str = "process",
        workers: int | None = None,
        folder: str | None = None,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> None:
        if evaluator not in EVALUATORS:
            raise InputError(f"the evaluator must be one of {', '.join(EVALUATORS)}, got {evaluator!r}")
        if search not in ("evolution", "bayesian"):
            raise InputError(f"the search must be evolution or bayesian, got {search!r}")
        if budget < 1 or best < 1 or epochs < 1:
            raise InputError(f"budget, best and epochs must be at least 1, got {budget}, {best}, {epochs}")
        self.problem = problem
        self.budget, self.best, self.epochs, self.batch = budget, best, epochs, batch
        self.search, self.evaluator, self.folder = search, evaluator, folder
        self.workers = workers or max(n_jobs, 1)
        self.seed = seed
        self.networks: list[dict[str, Any]] = []
        self.scaling: dict[str, Any] = {}
        self.rewards: list[float] = []

    def fit(self, X: pd.DataFrame, y: Floats) -> Nas:
        """Search, then train the best candidates again on all rows."""
        import tempfile

        import numpy as np

        values = _bend(X.to_numpy(float))
        self.scaling = {
            "center": values.mean(axis=0),
            "spread": np.where(values.std(axis=0) > 1e-12, values.std(axis=0), 1.0),
            "low": float(y.mean()),
            "size": float(y.std()) or 1.0,
        }
        scaled, target = self._scale(X), (y - self.scaling["low"]) / self.scaling["size"]
        order = np.random.default_rng(self.seed).permutation(len(y))
        held = order[: max(len(y) // 5, 1)]
        kept = order[len(held) :]
        with tempfile.TemporaryDirectory(prefix="xarch-nas-") as scratch:
            folder = Path(self.folder or scratch)
            folder.mkdir(parents=True, exist_ok=True)
            rows = folder / "rows.npz"
            np.savez(rows, X=scaled[kept], y=target[kept], X_test=scaled[held], y_test=target[held])
            tried = self._search(folder, rows)
        tried.sort(key=lambda pair: -pair[1])
        self.rewards = [reward for _, reward in tried]
        for number, (choices, reward) in enumerate(tried[: self.best]):
            cells = cells_of(choices)
            weights = fit_network(
                cells, scaled, target, epochs=10 * self.epochs, batch=self.batch, seed=self.seed + number
            )
            layers = [[cell.units, cell.activation, list(cell.skips)] for cell in cells]
            self.networks.append({"cells": layers, "weights": weights, "reward": reward})
        return self

    def _scale(self, X: pd.DataFrame) -> Floats:
        scaled: Floats = (_bend(X.to_numpy(float)) - self.scaling["center"]) / self.scaling["spread"]
        return scaled

    def _search(self, folder: Path, rows: Path) -> list[tuple[dict[str, Any], float]]:
        """Return every candidate tried so far with its reward."""
        log = folder / "tried.jsonl"
        tried = _read_tried(log)
        left = self.budget - len(tried)
        if left <= 0:
            return tried
        try:
            from deephyper.evaluator import Evaluator
            from deephyper.hpo import CBO, HpProblem, RegularizedEvolution
        except ImportError as error:
            raise InputError(
                "the architecture search needs DeepHyper: pip install 'ase-proxima[nas]'"
            ) from error
        problem = HpProblem()
        for name, choices in search_space().items():
            problem.add_hyperparameter(choices, name)
        options: dict[str, Any] = {} if self.evaluator == "mpicomm" else {"num_workers": self.workers}
        options["run_function_kwargs"] = {
            "file": str(rows),
            "epochs": self.epochs,
            "batch": self.batch,
            "seed": self.seed,
        }
        workers = Evaluator.create(try_candidate, method=self.evaluator, method_kwargs=options)
        kind = RegularizedEvolution if self.search == "evolution" else CBO
        # a search that goes on must not draw the candidates of its first part again
        searcher = kind(problem, random_state=self.seed + len(tried), log_dir=str(folder), verbose=0)
        done = searcher.search(workers, max_evals=left, max_evals_strict=True)
        found = []
        for row in done.to_dict("records"):
            choices = {key[2:]: value for key, value in row.items() if key.startswith("p:")}
            if isinstance(row["objective"], float):
                found.append((choices, float(row["objective"])))
        _append_tried(log, found)
        return tried + found

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return the mean of the networks, shape (n_runs,)."""
        import numpy as np

        scaled = self._scale(X)
        outputs = []
        for network in self.networks:
            cells = [Cell(int(units), kind, tuple(skips)) for units, kind, skips in network["cells"]]
            outputs.append(run_network(network["weights"], cells, scaled))
        predicted: Floats = np.mean(outputs, axis=0) * self.scaling["size"] + self.scaling["low"]
        return predicted


def _bend(values: Floats) -> Floats:
    """Counts range over nine decades, which no network likes."""
    import numpy as np

    bent: Floats = np.sign(values) * np.log1p(np.abs(values))
    return bent


def _read_tried(log: Path) -> list[tuple[dict[str, Any], float]]:
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(line["choices"], float(line["reward"])) for line in lines]


def _append_tried(log: Path, found: list[tuple[dict[str, Any], float]]) -> None:
    with log.open("a", encoding="utf-8") as file:
        for choices, reward in found:
            file.write(json.dumps({"choices": choices, "reward": reward}, default=str) + "\n")
