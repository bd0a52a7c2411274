"""Several surrogates, fitted side by side to the first frames; the one that foresaw the next frames best stays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.protocols import Surrogate
from ase_proxima.surrogates.features import continues
from ase_proxima.types import Frame, Prediction

__all__ = ["BestOfSeveral"]

FORMAT = 1
FILE = "choice.json"

TRIAL_FRAMES = 8
"""Frames foreseen before the choice is final."""

CLEARLY = 1.1
"""How much smaller the error of a later candidate must be: the first is the one that costs less."""


class BestOfSeveral:
    """Surrogates that learn in place, compared on every new frame before they learn it.

    The error at a frame that a model has not yet seen is what a run depends on, and costs no call of the target.
    Until the choice is final the candidate with the smallest geometric mean of these errors answers; then the
    others are dropped.

    Parameters
    ----------
    candidates : mapping of str to Surrogate
        By name, the cheapest first; all `incremental`.

    Raises
    ------
    InputError
        If there are none, or one does not learn in place.

    Attributes
    ----------
    chosen : str
        Name of the candidate that answers.

    Examples
    --------
    >>> from ase_proxima.testing import NearestFrame
    >>> model = BestOfSeveral({"a": NearestFrame(incremental=True), "b": NearestFrame(incremental=True)})
    >>> model.fit([Frame(np.array([x]), {"value": x}, i) for i, x in enumerate((0.0, 1.0, 2.0))])
    >>> model.chosen, model.notes
    ('a', ('surrogate a foresees new frames best so far: mean error 1, b 1',))
    """

    incremental = True

    def __init__(self, candidates: Mapping[str, Surrogate]) -> None:
        slow = [name for name, candidate in candidates.items() if not candidate.incremental]
        if not candidates or slow:
            raise InputError(
                "surrogates to choose from must learn in place, got "
                f"{', '.join(slow) or 'none'}: pass one or more that are incremental"
            )
        self.candidates = dict(candidates)
        self._forget()

    def _forget(self) -> None:
        self._frames: list[Frame] = []
        self._logs: dict[str, list[float]] = {name: [] for name in self.candidates}
        self._alive = list(self.candidates)
        self.chosen = self._alive[0]

    @property
    def min_frames(self) -> int:
        """Number of frames that every candidate can be fitted to."""
        return max(candidate.min_frames for candidate in self.candidates.values())

    @property
    def properties(self) -> tuple[str, ...]:
        """What every candidate predicts."""
        first, *others = self.candidates.values()
        return tuple(name for name in first.properties if all(name in other.properties for other in others))

    @property
    def notes(self) -> tuple[str, ...]:
        """Which candidate answers, and why."""
        if len(self.candidates) == 1 or not self._logs[self.chosen]:
            return ()
        errors = {name: math.exp(np.mean(logs)) for name, logs in self._logs.items()}
        others = ", ".join(f"{name} {error:.2g}" for name, error in errors.items() if name != self.chosen)
        when = "best so far" if len(self._alive) > 1 else f"best, by the first {len(self._logs[self.chosen])}"
        return (
            f"surrogate {self.chosen} foresees new frames {when}: mean error {errors[self.chosen]:.2g}, {others}",
        )

    def fit(self, frames: Sequence[Frame]) -> None:
        """Let the candidates foresee the new frames, then learn them; start afresh on an unrelated list."""
        if not continues(self._frames, frames):
            self._forget()
        for n in range(len(self._frames), len(frames)):
            if len(self._alive) == 1:
                break
            if n >= self.min_frames:
                self._compare(frames[n])
            if n + 1 >= self.min_frames and len(self._alive) > 1:
                for name in self._alive:
                    self.candidates[name].fit(frames[: n + 1])
        self._frames = list(frames)
        if len(self._alive) == 1:
            self.candidates[self.chosen].fit(frames)

    def _compare(self, frame: Frame) -> None:
        """Add the errors at a frame that no candidate has seen, and choose."""
        for name in self._alive:
            self._logs[name].append(math.log(_error(self.candidates[name].predict(frame.x), frame)))
        means = {name: float(np.mean(self._logs[name])) for name in self._alive}
        best = min(means, key=means.__getitem__)
        self.chosen = next(name for name in self._alive if means[name] <= means[best] + math.log(CLEARLY))
        if len(self._logs[self.chosen]) >= TRIAL_FRAMES:
            self._alive = [self.chosen]

    def predict(self, x: Any) -> Prediction:
        """Prediction of the candidate that has been best so far."""
        return self.candidates[self.chosen].predict(x)

    def save(self, folder: Path) -> None:
        """Write the errors seen, and each candidate that is still in the running, in a folder of its own."""
        state = {"format": FORMAT, "logs": self._logs, "alive": self._alive, "chosen": self.chosen}
        (folder / FILE).write_text(json.dumps(state))
        for name in self._alive:
            (folder / name).mkdir()
            self.candidates[name].save(folder / name)

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Restore what `save` wrote.

        Raises
        ------
        InputError
            If the folder holds no such choice, or one between other candidates.
        """
        path = folder / FILE
        try:
            state = json.loads(path.read_text())
            logs = {str(name): [float(value) for value in values] for name, values in state["logs"].items()}
            alive, chosen = [str(name) for name in state["alive"]], str(state["chosen"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} holds no choice of a surrogate ({error}): retrain it") from error
        if (
            list(logs) != list(self.candidates)
            or not {chosen, *alive} <= set(logs)
            or state["format"] != FORMAT
        ):
            raise InputError(
                f"{path} holds a choice among {', '.join(logs)}, expected {', '.join(self.candidates)}: retrain it"
            )
        self._logs, self._alive, self.chosen, self._frames = logs, alive, chosen, list(frames)
        for name in alive:
            self.candidates[name].load(folder / name, frames)


def _error(prediction: Prediction, frame: Frame) -> float:
    """Root mean square error of the forces, or of what else there is; at least the smallest positive number."""
    name = next(name for name in ("forces", "energy", "value") if name in frame.results)
    difference = np.asarray(prediction.results[name], float) - frame.results[name]
    error = float(np.sqrt(np.mean(difference**2)))
    return max(error, 1e-12) if math.isfinite(error) else 1e12
