"""Targets and surrogates that cost nothing and are known in closed form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_proxima.types import Frame, Prediction

__all__ = ["HarmonicWells", "NearestFrame", "as_array", "random_walk"]


def random_walk(atoms: Atoms, n: int, *, seed: int = 0, step: float = 0.004) -> Iterator[Atoms]:
    """Yield `n` structures of a walk that begins at `atoms`, the same ones for the same seed.

    Each moves every coordinate by a normal deviate of `step`, in Å.

    Examples
    --------
    >>> first, second = random_walk(Atoms("H"), 2, step=0.1)
    >>> first.positions.round(3).tolist(), second.positions.round(3).tolist()
    ([[0.013, -0.013, 0.064]], [[0.023, -0.067, 0.1]])
    """
    rng = np.random.default_rng(seed)
    positions = atoms.positions
    for _ in range(n):
        positions = positions + rng.normal(0, step, positions.shape)
        moved = atoms.copy()
        moved.positions = positions
        yield moved


class HarmonicWells(Calculator):  # type: ignore[misc]
    """A target that is known in closed form: each atom in a harmonic well of its own.

    The energy is `stiffness / 2 * sum |r - center|²`; the stress is zero.

    Parameters
    ----------
    centers : array, shape (n_atoms, 3)
        In Å.
    stiffness : float
        In eV/Å².

    Attributes
    ----------
    n_runs
        How often the target was calculated.

    Examples
    --------
    >>> atoms = Atoms("H", [[0.0, 0.0, 0.1]])
    >>> atoms.calc = HarmonicWells(np.zeros((1, 3)), stiffness=2.0)
    >>> atoms.get_potential_energy()
    0.01
    >>> atoms.get_forces().tolist()
    [[0.0, 0.0, -0.2]]
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, centers: Any, stiffness: float = 1.0) -> None:
        super().__init__()
        self.centers = np.array(centers, float)
        self.stiffness = stiffness
        self.n_runs = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill in energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        self.n_runs += 1
        gaps = self.atoms.positions - self.centers
        self.results = {
            "energy": 0.5 * self.stiffness * float(np.sum(gaps * gaps)),
            "forces": -self.stiffness * gaps,
            "stress": np.zeros(6),
        }


class NearestFrame:
    """A surrogate that answers with the results of the nearest frame; as uncertainty, the distance to it.

    It costs next to nothing, errs by a known amount, and is its own uncertainty.  Inputs may be structures or
    arrays; the distance is the largest difference of a coordinate.

    Examples
    --------
    >>> model = NearestFrame()
    >>> model.fit([Frame(np.array([0.0]), {"value": 1.0}), Frame(np.array([1.0]), {"value": 5.0})])
    >>> prediction = model.predict(np.array([0.75]))
    >>> float(prediction.results["value"]), model.measure(np.array([0.75]), prediction)
    (5.0, 0.25)
    """

    min_frames = 1

    def __init__(self, *properties: str, incremental: bool = False) -> None:
        self.properties = properties or ("energy", "forces", "stress", "value")
        self.incremental = incremental
        self._frames: list[Frame] = []
        self._known: list[Frame] = []

    def fit(self, frames: Sequence[Frame]) -> None:
        """Take the frames."""
        self._frames = list(frames)
        self._known = list(frames)

    def extend(self, frames: Sequence[Frame]) -> None:
        """Measure distances to these frames too."""
        self._known.extend(frames)

    def predict(self, x: Any) -> Prediction:
        """Results of the nearest frame."""
        nearest = min(self._frames, key=lambda frame: _gap(frame.x, x))
        return Prediction({name: np.copy(value)[()] for name, value in nearest.results.items()})

    def measure(self, x: Any, prediction: Prediction) -> float:  # noqa: ARG002
        """Distance to the nearest frame; NaN before the first."""
        return min((_gap(frame.x, x) for frame in self._known), default=math.nan)

    def save(self, folder: Path) -> None:
        """Write the number of frames."""
        (folder / "nearest.json").write_text(json.dumps(len(self._frames)))

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Take the frames again."""
        if json.loads((folder / "nearest.json").read_text()) != len(frames):
            raise ValueError(f"saved with another number of frames than {len(frames)}")
        self.fit(frames)


def _gap(a: Any, b: Any) -> float:
    return float(np.abs(as_array(a) - as_array(b)).max())


def as_array(x: Any) -> np.ndarray:
    """Numbers of an input: positions of a structure."""
    return np.asarray(x.positions if isinstance(x, Atoms) else x, float)
