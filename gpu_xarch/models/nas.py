"""Neural architecture search with DeepHyper over the published space of perceptrons with skips.

The reward of a candidate is R² on rows that were not trained on. The best are trained again on all rows, and their mean
predicts. The networks are small PyTorch modules; stored are NumPy arrays. A matrix product of theirs is too small to
gain from threads: parallel are the candidates, each on one core. PyTorch and DeepHyper come with the extra `nas`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from gpu_xarch.errors import InputError
from gpu_xarch.models.architectures import Cell, cells_of, search_space
from gpu_xarch.models.mlp import bend, bounded
from gpu_xarch.models.problem import Problem
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

__all__ = ["EVALUATORS", "Nas"]

#: choices and reward of a candidate
Tried = tuple[dict[str, Any], float]
LOG = "tried.jsonl"
EVALUATORS = ("thread", "process", "ray", "mpicomm")
SEARCHES = ("evolution", "bayesian")
#: fewest epochs, and fewest steps of Adam, that a candidate and a network that is kept are trained for
TRIED_EPOCHS, TRIED_STEPS = 20, 500
KEPT_EPOCHS, KEPT_STEPS = 40, 3000


@contextmanager
def _the_extra() -> Iterator[None]:
    """Import what the extra `nas` brings, or raise an `InputError` that names it."""
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"the architecture search needs PyTorch and DeepHyper ({error}): pip install 'ase-proxima[nas]'"
        ) from error


def try_candidate(job: Any, file: str, epochs: int, batch: int, seed: int) -> float:
    """Train a candidate and return its R² on the rows held out; DeepHyper's workers call this."""
    from gpu_xarch.models.network import fit_network, run_network

    with np.load(file) as rows:
        X, y, X_test, y_test = (rows[name] for name in ("X", "y", "X_test", "y_test"))
    cells = cells_of(dict(job.parameters))
    weights = fit_network(cells, X, y, epochs=epochs, batch=batch, seed=seed)
    predicted = run_network(weights, cells, X_test)
    # the search compares rewards: one diverged network must not stretch their scale
    return max(float(r2_score(y_test, predicted)), -1.0) if np.isfinite(predicted).all() else -1.0


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


def _train_again(cells: list[Cell], X: Floats, y: Floats, **options: Any) -> dict[str, Floats]:
    """Train a network that is kept on all rows."""
    from gpu_xarch.models.network import fit_network

    return fit_network(cells, X, y, **options)


class Nas(RegressorMixin, BaseEstimator):  # type: ignore[misc]
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
    workers : int, optional
        Unless given, `n_jobs`.
    folder : str, optional
        Where tried candidates are kept; a search that finds some there goes on from them. With all of the budget
        in it, the best of them are trained on the rows given, and DeepHyper is not needed.
    seed, n_jobs : int

    Attributes
    ----------
    rewards_ : list of float
        Of all candidates, the best first.
    networks_ : list of dict
        Cells, weights and reward of each network that is kept.
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
        self.problem = problem
        self.budget = budget
        self.best = best
        self.epochs = epochs
        self.final_epochs = final_epochs
        self.batch = batch
        self.search = search
        self.evaluator = evaluator
        self.workers = workers
        self.folder = folder
        self.seed = seed
        self.n_jobs = n_jobs

    def _check(self) -> None:
        """Raise an `InputError` where an option is out of range."""
        for name, known in (("evaluator", EVALUATORS), ("search", SEARCHES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("budget", "best", "epochs", "final_epochs", "batch", "workers"):
            count = getattr(self, name)
            if count is not None and not count >= 1:
                raise InputError(f"{name} must be at least 1, got {count}")

    def fit(self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent) -> Nas:
        """Search, then train the best candidates again on all rows.

        `on_step` is told how many networks were trained, of those to be tried and those to be kept.

        Raises
        ------
        InputError
            If an option is out of range, the extra `nas` is not installed, or no candidate could be trained.
        """
        self._check()
        with _the_extra():
            from gpu_xarch.models.network import one_thread
        self.inputs_ = make_pipeline(FunctionTransformer(bend), StandardScaler())
        self.output_ = StandardScaler()
        self.seen_ = float(y.min()), float(y.max())
        scaled = self.inputs_.fit_transform(X.to_numpy(float)).astype(np.float32)
        target = self.output_.fit_transform(np.reshape(y, (-1, 1)))[:, 0]
        epochs = self.final_epochs or epochs_for(len(y), self.batch, KEPT_EPOCHS, KEPT_STEPS)
        kept = min(self.best, self.budget)

        def told(done: float, _of: float) -> None:
            on_step(min(done, self.budget), self.budget + kept)

        with threadpool_limits(1), one_thread():
            tried = sorted(self._search(scaled, target, told), key=lambda pair: -pair[1])
            architectures = [cells_of(choices) for choices, _ in tried[: self.best]]
            # on a cluster the caller's joblib.parallel_config says where; without one they are trained here
            here = self.evaluator in ("thread", "process")
            prefer = "threads" if self.evaluator == "thread" else "processes"
            # a copy of the rows for each network is cheap beside its training, and needs no shared memory
            parallel = Parallel(
                n_jobs=self._workers if here else None,
                prefer=prefer if here else None,
                max_nbytes=None,
                # not every cluster's backend can hand back one by one
                return_as="generator" if here else "list",
            )
            trained = []
            jobs = (
                delayed(_train_again)(
                    cells, scaled, target, epochs=epochs, batch=self.batch, seed=self.seed + number
                )
                for number, cells in enumerate(architectures)
            )
            for weights in parallel(jobs):
                trained.append(weights)
                on_step(self.budget + len(trained), self.budget + kept)
        self.rewards_ = [reward for _, reward in tried]
        self.networks_ = [
            {
                "cells": [[cell.units, cell.activation, list(cell.skips)] for cell in cells],
                "weights": weights,
                "reward": reward,
            }
            for cells, weights, reward in zip(architectures, trained, self.rewards_, strict=False)
        ]
        return self

    @property
    def _workers(self) -> int:
        return self.workers or max(self.n_jobs, 1)

    def _search(self, scaled: Floats, target: Floats, on_step: OnStep) -> list[Tried]:
        """Return every candidate tried so far with its reward."""
        with tempfile.TemporaryDirectory(prefix="xarch-nas-") as scratch:
            folder = Path(self.folder or scratch)
            folder.mkdir(parents=True, exist_ok=True)
            tried = _read_tried(folder / LOG)
            if len(tried) >= self.budget:
                return tried
            X, X_test, y, y_test = train_test_split(scaled, target, test_size=0.2, random_state=self.seed)
            rows = folder / "rows.npz"
            np.savez(rows, X=X, y=y, X_test=X_test, y_test=y_test)
            epochs = self.epochs or epochs_for(len(y), self.batch, TRIED_EPOCHS, TRIED_STEPS)
            tried += self._try_more(folder, rows, epochs, tried, on_step)
        if not tried:
            raise InputError("no candidate could be trained: see the log of DeepHyper for the reason")
        return tried

    def _try_more(
        self, folder: Path, rows: Path, epochs: int, known: list[Tried], on_step: OnStep
    ) -> list[Tried]:
        """Try candidates until the budget is used up; return them with their rewards."""
        with _the_extra():
            from deephyper.evaluator import Evaluator
            from deephyper.evaluator.callback import Callback
            from deephyper.hpo import CBO, HpProblem, RegularizedEvolution
        problem = HpProblem()
        for name, choices in search_space().items():
            problem.add_hyperparameter(choices, name)
        options: dict[str, Any] = {} if self.evaluator == "mpicomm" else {"num_workers": self._workers}
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
        """Return the mean of the networks within what is possible, shape (n_runs,)."""
        with _the_extra():
            from gpu_xarch.models.network import run_network
        scaled = self.inputs_.transform(X.to_numpy(float))
        outputs = []
        for kept in self.networks_:
            cells = [Cell(int(units), kind, tuple(skips)) for units, kind, skips in kept["cells"]]
            outputs.append(run_network(kept["weights"], cells, scaled))
        mean = np.mean(outputs, axis=0)
        predicted = self.output_.inverse_transform(mean[:, None])[:, 0]
        return bounded(predicted, self.seen_, self.problem.cap_of(X))


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
