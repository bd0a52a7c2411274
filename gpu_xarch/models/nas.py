"""Neural architecture search with DeepHyper over the published space of perceptrons with skips.

A candidate has up to ten cells, each an identity or a dense layer of 16 to 96 units with a linear, rectified,
tanh or sigmoid activation, and may add the output of any of the three cells before it through a projection.
The reward is R² on rows that were not trained on. The best are trained again on all rows, and their mean
predicts. The networks are small and are trained by plain NumPy (Adam on the squared error), so that workers
start quickly and the result can be stored without foreign types. A matrix product of theirs is too small to gain from
threads: parallel are the candidates, each on one core.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.models.mlp import bend
from gpu_xarch.models.network import Cell, fit_network, run_network
from gpu_xarch.models.problem import Problem
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

__all__ = ["EVALUATORS", "Nas", "search_space"]

CELLS, SKIPS = 10, 3
#: choices and reward of a candidate
Tried = tuple[dict[str, Any], float]
LOG = "tried.jsonl"
EVALUATORS = ("thread", "process", "ray", "mpicomm")
UNITS = tuple(range(16, 97, 16))
ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")
#: fewest epochs, and fewest steps of Adam, that a candidate and a network that is kept are trained for
TRIED_EPOCHS, TRIED_STEPS = 20, 500
KEPT_EPOCHS, KEPT_STEPS = 40, 3000


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
    import multiprocessing

    import numpy as np
    from threadpoolctl import threadpool_limits

    if multiprocessing.parent_process() is not None:
        threadpool_limits(1)
    with np.load(file) as rows:
        X, y, X_test, y_test = (rows[name] for name in ("X", "y", "X_test", "y_test"))
    cells = cells_of(dict(job.parameters))
    weights = fit_network(cells, X, y, epochs=epochs, batch=batch, seed=seed)
    error = float(((run_network(weights, cells, X_test) - y_test) ** 2).sum())
    total = float(((y_test - y_test.mean()) ** 2).sum())
    reward = 1.0 - error / total if total > 0 else -error
    # the search compares rewards: one diverged network must not stretch their scale
    return max(reward, -1.0) if np.isfinite(reward) else -1.0


def epochs_for(n_rows: int, batch: int, epochs: int, steps: int) -> int:
    """Return the epochs that make at least so many steps; few rows need more of them.

    Examples
    --------
    >>> epochs_for(22603, 250, 20, 500), epochs_for(565, 250, 20, 500)
    (20, 167)
    """
    return max(epochs, -(-steps // -(-n_rows // batch)))


def population_for(budget: int) -> tuple[int, int]:
    """Return the size of the population, and of the sample of which the best becomes a parent.

    DeepHyper's own 100 and 10 leave nothing to evolution where the budget is 100: the first population is random.

    Examples
    --------
    >>> population_for(1000), population_for(100), population_for(4)
    ((100, 10), (25, 6), (2, 1))
    """
    size = max(2, min(100, budget // 4))
    return size, max(1, min(10, size // 4))


def _train_again(job: tuple[Any, ...]) -> list[list[Floats]]:
    """Train a network that is kept on all rows."""
    choices, scaled, target, epochs, batch, seed = job
    return fit_network(cells_of(choices), scaled, target, epochs=epochs, batch=batch, seed=seed)


class Nas:
    """Mean of the best networks of a search.

    Parameters
    ----------
    problem : Problem
    budget : int
        Candidates to try.
    best : int
        How many of them are trained again on all rows.
    epochs, final_epochs : int, optional
        Of a candidate, and of those kept. Unless given, 20 and 40, and more where that is fewer than 500 and
        3,000 steps.
    batch : int
    search : str
        "evolution" (regularised evolution: Real et al. 2019) or "bayesian".
    evaluator : str
        "thread", "process", "ray" or "mpicomm".
    workers : int
    folder : str, optional
        Where tried candidates are kept; a search that finds some there goes on from them. With all of the budget
        in it, the best of them are trained on the rows given, and DeepHyper is not needed.
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
        epochs: int | None = None,
        final_epochs: int | None = None,
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
        counts = {
            "budget": budget,
            "best": best,
            "epochs": epochs,
            "final_epochs": final_epochs,
            "batch": batch,
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                raise InputError(f"{name} must be at least 1, got {count}")
        self.problem = problem
        self.budget, self.best, self.batch = budget, best, batch
        self.epochs, self.final_epochs = epochs, final_epochs
        self.search, self.evaluator, self.folder = search, evaluator, folder
        self.workers = workers or max(n_jobs, 1)
        self.seed = seed
        self.networks: list[dict[str, Any]] = []
        self.scaling: dict[str, Any] = {}
        self.rewards: list[float] = []

    def fit(self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent) -> Nas:
        """Search, then train the best candidates again on all rows.

        `on_step` is told how many networks were trained, of those to be tried and those to be kept.
        """
        import numpy as np
        from joblib import Parallel, delayed
        from threadpoolctl import threadpool_limits

        values = bend(X.to_numpy(float))
        self.scaling = {
            "center": values.mean(axis=0),
            "spread": np.where(values.std(axis=0) > 1e-12, values.std(axis=0), 1.0),
            "low": float(y.mean()),
            "size": float(y.std()) or 1.0,
        }
        scaled, target = self._scale(X), (y - self.scaling["low"]) / self.scaling["size"]
        epochs = self.final_epochs or epochs_for(len(y), self.batch, KEPT_EPOCHS, KEPT_STEPS)
        with threadpool_limits(1):
            kept = min(self.best, self.budget)

            def told(done: float, _of: float) -> None:
                on_step(min(done, self.budget), self.budget + kept)

            tried = sorted(self._search(scaled, target, told), key=lambda pair: -pair[1])
            jobs = [
                (choices, scaled, target, epochs, self.batch, self.seed + number)
                for number, (choices, _) in enumerate(tried[: self.best])
            ]
            # on a cluster the caller's joblib.parallel_config says where; without one they are trained here
            here = self.evaluator in ("thread", "process")
            prefer = "threads" if self.evaluator == "thread" else "processes"
            # a copy of the rows for each network is cheap beside its training, and needs no shared memory
            parallel = Parallel(
                n_jobs=self.workers if here else None,
                prefer=prefer if here else None,
                max_nbytes=None,
                # not every cluster's backend can hand back one by one
                return_as="generator" if here else "list",
            )
            trained = []
            for weights in parallel(delayed(_train_again)(job) for job in jobs):
                trained.append(weights)
                on_step(self.budget + len(trained), self.budget + kept)
        self.rewards = [reward for _, reward in tried]
        self.networks = []
        for (choices, reward), weights in zip(tried, trained, strict=False):
            layers = [[cell.units, cell.activation, list(cell.skips)] for cell in cells_of(choices)]
            self.networks.append({"cells": layers, "weights": weights, "reward": reward})
        return self

    def _scale(self, X: pd.DataFrame) -> Floats:
        import numpy as np

        scaled = (bend(X.to_numpy(float)) - self.scaling["center"]) / self.scaling["spread"]
        narrow: Floats = np.asarray(scaled, dtype=np.float32)
        return narrow

    def _search(self, scaled: Floats, target: Floats, on_step: OnStep) -> list[Tried]:
        """Return every candidate tried so far with its reward."""
        import tempfile

        import numpy as np

        with tempfile.TemporaryDirectory(prefix="xarch-nas-") as scratch:
            folder = Path(self.folder or scratch)
            folder.mkdir(parents=True, exist_ok=True)
            tried = _read_tried(folder / LOG)
            if len(tried) >= self.budget:
                return tried
            order = np.random.default_rng(self.seed).permutation(len(target))
            held = order[: max(len(target) // 5, 1)]
            kept = order[len(held) :]
            rows = folder / "rows.npz"
            np.savez(rows, X=scaled[kept], y=target[kept], X_test=scaled[held], y_test=target[held])
            epochs = self.epochs or epochs_for(len(kept), self.batch, TRIED_EPOCHS, TRIED_STEPS)
            tried += self._try_more(folder, rows, epochs, tried, on_step)
        if not tried:
            raise InputError("no candidate could be trained: see the log of DeepHyper for the reason")
        return tried

    def _try_more(
        self, folder: Path, rows: Path, epochs: int, known: list[Tried], on_step: OnStep
    ) -> list[Tried]:
        """Try candidates until the budget is used up; return them with their rewards."""
        try:
            from deephyper.evaluator import Evaluator
            from deephyper.evaluator.callback import Callback
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
            "epochs": epochs,
            "batch": self.batch,
            "seed": self.seed,
        }
        n_done = len(known)

        class Told(Callback):  # type: ignore[misc]
            def on_done(self, _job: Any) -> None:
                nonlocal n_done
                n_done += 1
                on_step(n_done, budget)

        budget = self.budget
        options["callbacks"] = [Told()]
        workers = Evaluator.create(try_candidate, method=self.evaluator, method_kwargs=options)
        found: list[Tried] = []
        with workers:
            # of several MPI ranks the first searches, the others train candidates until this block ends
            if getattr(workers, "is_master", True):
                # a search that goes on must not draw the candidates of its first part again, but learn from them
                common = {"random_state": self.seed + len(known), "log_dir": str(folder), "verbose": 0}
                if self.search == "evolution":
                    size, drawn = population_for(self.budget)
                    searcher = RegularizedEvolution(
                        problem, population_size=size, sample_size=drawn, **common
                    )
                else:
                    searcher = CBO(problem, **common)
                if known:
                    searcher.tell(known)
                done = searcher.search(workers, max_evals=self.budget - len(known), max_evals_strict=True)
                found = _rewarded(done)
                _append_tried(folder / LOG, found)
        if self.evaluator == "mpicomm":
            found = workers.comm.bcast(found, root=0)
        return found

    def predict(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return the mean of the networks, shape (n_runs,)."""
        import numpy as np

        scaled = self._scale(X)
        outputs = []
        for network in self.networks:
            cells = [Cell(int(units), kind, tuple(skips)) for units, kind, skips in network["cells"]]
            outputs.append(run_network(network["weights"], cells, scaled))
        mean = np.mean(outputs, axis=0)
        return np.asarray(mean * self.scaling["size"] + self.scaling["low"], dtype=np.float64)


def _read_tried(log: Path) -> list[Tried]:
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(line["choices"], float(line["reward"])) for line in lines]


def _rewarded(done: pd.DataFrame) -> list[Tried]:
    """Return choices and rewards of a finished search, without candidates that failed."""
    found = []
    for row in done.to_dict("records"):
        if isinstance(row["objective"], float):
            choices = {str(key)[2:]: value for key, value in row.items() if str(key).startswith("p:")}
            found.append((choices, row["objective"]))
    return found


def _append_tried(log: Path, found: list[Tried]) -> None:
    with log.open("a", encoding="utf-8") as file:
        for choices, reward in found:
            file.write(json.dumps({"choices": choices, "reward": reward}, default=str) + "\n")
