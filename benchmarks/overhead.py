"""What wrapping a calculator costs a call, and what the Coulomb distance costs beside 10,000 frames.

The target and the surrogate do nothing here, so that what is left is the executor, the decision and the bookkeeping,
asked through `atoms.get_potential_energy()`.  ASE's own share, that of a calculator that does nothing, is
measured alike and shown apart.  Run with `python benchmarks/overhead.py`; it writes `results/overhead.csv`.
"""

from __future__ import annotations

import csv
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes

from ase_proxima import ProximaCalculator
from ase_proxima.types import Decision, Frame, Prediction
from ase_proxima.uncertainty.coulomb import CoulombDistance

RESULTS = Path(__file__).parent / "results"
N_CALLS = 3000
N_FRAMES = 10_000
FLAGGED_EVERY = 5
METHANE = molecule("CH4")
LIMITS_US = {
    "trusted, run_dir=None": 200.0,
    "trusted, with a run directory": 1000.0,
    "Coulomb distance": 1000.0,
}


class NoWork(Calculator):
    """Returns a constant."""

    implemented_properties = ("energy", "forces")

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), changes: Any = all_changes
    ) -> None:
        """Do nothing but what every ASE calculator does."""
        super().calculate(atoms, properties, changes)
        self.results = {"energy": -1.0, "forces": np.zeros((5, 3))}


class NoModel:
    """A surrogate and uncertainty without cost; every fifth call is unknown to it."""

    incremental = False
    min_frames = 1
    properties = ("energy", "forces")
    prior_ratio = 1.0

    def __init__(self) -> None:
        self._prediction = Prediction({"energy": -1.0 + 1e-4, "forces": np.zeros((5, 3))})
        self._calls = itertools.count()

    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn nothing."""

    def extend(self, frames: Sequence[Frame]) -> None:
        """Learn nothing."""

    def predict(self, x: Any) -> Prediction:  # noqa: ARG002
        """Return a constant."""
        return self._prediction

    def measure(self, x: Any, prediction: Prediction) -> float:  # noqa: ARG002
        """Return a small number, or infinity."""
        return math.inf if next(self._calls) % FLAGGED_EVERY == 0 else 2e-4

    def save(self, folder: Path) -> None:
        """Write nothing."""

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Read nothing."""


def structures(n: int) -> np.ndarray:
    """Positions (n, 5, 3) of a walk."""
    return METHANE.positions + np.cumsum(np.random.default_rng(0).normal(0, 1e-3, (n, 5, 3)), axis=0)


def time_calls(calculator: Calculator, after: Callable[[], Any] = lambda: None) -> list[tuple[float, Any]]:
    """Time of each energy in µs, with what `after` says after it."""
    atoms = METHANE.copy()
    atoms.calc = calculator
    timed = []
    for positions in structures(N_CALLS):
        atoms.positions = positions
        start = time.perf_counter()
        atoms.get_potential_energy()
        timed.append((1e6 * (time.perf_counter() - start), after()))
    return timed


def measure_wrapping() -> list[dict[str, Any]]:
    """Medians over the calls, by decision, with and without a run directory."""
    ase_us = median(us for us, _ in time_calls(NoWork()))
    rows = [row("ASE's own, a calculator that does nothing", ase_us, ase_us)]
    for name, kept in (("run_dir=None", False), ("with a run directory", True)):
        with tempfile.TemporaryDirectory() as folder:
            model = NoModel()
            calculator = ProximaCalculator(
                NoWork(),
                error_bound=0.002,
                error_metric="energy",
                surrogate=model,
                uncertainty=model,
                when_not_worthwhile="ignore",
                run_dir=Path(folder) / "run" if kept else None,
            )
            timed = time_calls(calculator, lambda calculator=calculator: calculator.last_decision)
            calculator.close()
        for decision, label in ((Decision.SURROGATE, "trusted"), (Decision.TARGET, "target ran")):
            total = median(us for us, which in timed if which is decision)
            rows.append(row(f"{label}, {name}", total, ase_us * (1 if label == "trusted" else 2)))
    return rows


def measure_distance() -> list[dict[str, Any]]:
    """Median of a Coulomb distance to the nearest of many frames."""
    frames = [Frame(Atoms(METHANE.numbers, positions), {}) for positions in structures(N_FRAMES + 200)]
    distance = CoulombDistance()
    distance.fit(frames[:N_FRAMES])
    times = []
    for frame in frames[N_FRAMES:]:
        start = time.perf_counter()
        distance.measure(frame.x, Prediction({}))
        times.append(1e6 * (time.perf_counter() - start))
    return [row(f"Coulomb distance, {N_FRAMES} frames", median(times), 0.0)]


def row(what: str, total_us: float, excluded_us: float) -> dict[str, Any]:
    """One line of the table."""
    limit = next((limit for name, limit in LIMITS_US.items() if what.startswith(name)), "")
    overhead = total_us - excluded_us
    return {
        "what": what,
        "median_us": round(total_us, 1),
        "without_ase_us": round(overhead, 1),
        "limit_us": limit,
        "within": "" if limit == "" else ("yes" if overhead < limit else "no"),
    }


def main() -> int:
    """Measure, write the table and print it."""
    rows = measure_wrapping() + measure_distance()
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "overhead.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{'µs, median':42s}{'whole call':>12s}{'less ASE':>12s}{'limit':>8s}")
    for line in rows:
        print(f"{line['what']:42s}{line['median_us']:12}{line['without_ase_us']:12}{line['limit_us']:>8}")
    return 1 if any(line["within"] == "no" for line in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
