"""Simulated pairs at the published size, and the report that `published.py` and `nas.py` write."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from gpu_xarch import find_gpu, published
from gpu_xarch.simulator.kernels import KERNELS
from gpu_xarch.simulator.model import plan_runs, simulate

RUNS, TRAIN = 32_291, 22_603
MARK = "SIMULATED, not measured"


@dataclass(frozen=True)
class Took:
    """Seconds on the clock and of the processor, in this process and the workers that it ended."""

    wall: float
    cpu: float


class Clock:
    """Time since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), sum(os.times()[:4])

    def read(self) -> Took:
        """Return the seconds so far."""
        return Took(time.perf_counter() - self.start[0], sum(os.times()[:4]) - self.start[1])


@dataclass
class Report:
    """Rows of published.csv; each is printed and written as it comes, in the place of an older one."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take over the rows of earlier runs."""
        if self.path.exists():
            self.rows = pd.read_csv(self.path).to_dict("records")

    def add(
        self,
        experiment: str,
        what: str,
        value: float,
        unit: str,
        published: str = "",
        took: Took | None = None,
    ) -> None:
        """Note a number, beside the published one for real GPUs."""
        wall, cpu = (took.wall, took.cpu) if took else (np.nan, np.nan)
        self.rows = [row for row in self.rows if (row["experiment"], row["what"]) != (experiment, what)]
        self.rows.append(
            {
                "experiment": experiment,
                "what": what,
                "value": round(value, 4),
                "unit": unit,
                "published_on_real_data": published,
                "seconds": round(wall, 1),
                "cpu_seconds": round(cpu, 1),
                "simulated": True,
            }
        )
        pd.DataFrame(self.rows).to_csv(self.path, index=False)
        spent = f" ({wall:.1f} s, {cpu:.1f} s of CPU)" if took else ""
        said = f"   published, real data: {published}" if published else ""
        click.echo(f"{experiment}: {what}: {value:.4g} {unit}{spent}{said}")


@dataclass(frozen=True)
class Data:
    """Simulated pairs, split once.

    Parameters
    ----------
    X : pandas.DataFrame
        The 116 metrics on the P100.
    target : dict of str to ndarray
        The same on the V100.
    applications : ndarray of str
    train, test : ndarray of int
        Rows.
    """

    X: pd.DataFrame
    target: dict[str, np.ndarray]
    applications: np.ndarray
    train: np.ndarray
    test: np.ndarray


def make_data(runs: int, train: int) -> Data:
    """Simulate the pairs and split them at random, as published."""
    plan = plan_runs(runs)
    old, new = (simulate(find_gpu(name), plan, seed=0) for name in ("P100", "V100"))
    names = published()
    applications = np.array([model.application for model in KERNELS])[plan.kernel]
    shuffled = np.random.default_rng(0).permutation(runs)
    frame = pd.DataFrame({name: old[name] for name in names})
    return Data(frame, new, applications, shuffled[:train], shuffled[train:])


def fitted(make: Callable[[], Any], X: pd.DataFrame, y: np.ndarray) -> tuple[Any, Took]:
    """Fit a new model; return it and the time that it took."""
    model, clock = make(), Clock()
    model.fit(X, y)
    return model, clock.read()


def mape(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute percentage error, percent."""
    return float(100 * np.mean(np.abs(predicted / truth - 1)))


def memory(report: Report, when: str) -> None:
    """Note the largest resident memory of the process so far; Linux counts it in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    report.add("cost", f"largest resident memory of the process after: {when}", peak, "MB")
