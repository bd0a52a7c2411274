"""The surrogate with its uncertainties, brought up to date where training is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ase_proxima.executor.criteria import Criterion
from ase_proxima.protocols import FrameStore, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.training import has_manager, never_trains
from ase_proxima.types import Frame
from ase_proxima.types.serialisation import state_from_json

__all__ = ["Model"]


@dataclass(frozen=True)
class Published:
    """What was taken of the versions that were trained beside the simulation.

    Attributes
    ----------
    number
        Of the latest; 0 before the first.
    first
        The first of the frames that it knows.
    has_manager
        Whether somebody was training at the latest call of the target; None before it was seen.
    """

    number: int = 0
    first: int = 0
    has_manager: bool | None = None


@dataclass
class Model:
    """A surrogate, the uncertainties that go with it, and when they are trained.

    Attributes
    ----------
    surrogate, criteria, training, store
        See `Executor`.
    version
        Number of trainings or updates so far.
    n_trained
        Frames that it has seen.
    taken
        What was taken of a manager's versions.
    """

    surrogate: Surrogate
    criteria: Sequence[Criterion]
    training: TrainingPolicy
    store: FrameStore
    version: int = 0
    n_trained: int = 0
    taken: Published = Published()

    @cached_property
    def _uncertainties(self) -> list[Uncertainty]:
        """Each once, though it may serve several criteria."""
        return list({id(c.uncertainty): c.uncertainty for c in self.criteria}.values())

    @cached_property
    def _came_trained(self) -> bool:
        return never_trains(self.training)

    @cached_property
    def _is_managed(self) -> bool:
        return has_manager(self.training)

    @property
    def is_ready(self) -> bool:
        """Whether it can predict."""
        return self._came_trained or self.n_trained >= self.surrogate.min_frames

    def is_due(self, *, trusted: bool) -> bool:
        """Whether to train now, where the surrogate is `trusted` and about to answer."""
        n_frames = len(self.store.frames)
        return n_frames >= max(self.surrogate.min_frames, 1) and self.training.due(
            n_frames=n_frames, n_trained=self.n_trained, trusted=trusted
        )

    def train(self) -> None:
        """Learn from all frames."""
        self.surrogate.fit(self.store.frames)
        self._become(self.store.frames, len(self.store.frames))

    def published(self) -> tuple[int, Callable[[], None]] | None:
        """Number of a new version that was trained beside the simulation, and what goes over to it; None without."""
        found = self.store.published(self.taken.number) if self._is_managed else None
        if found is None:
            return None
        number, first, last, folder = found

        def take() -> None:
            frames = self.store.frames[first:last]
            self.surrogate.load(folder, frames)
            self.taken = replace(self.taken, number=number, first=first)
            self._become(frames, last)

        return number, take

    def _become(self, frames: Sequence[Frame], n_trained: int) -> None:
        """Bring all that depends on the surrogate up to it; it was fitted to `frames`."""
        for uncertainty in self._uncertainties:
            uncertainty.fit(frames)
        self.n_trained = n_trained
        self.version += 1

    def extend(self, frame: Frame) -> None:
        """Take a new frame, on which the surrogate will have been trained before it answers."""
        if self.training.before_answer:
            for uncertainty in self._uncertainties:
                uncertainty.extend([frame])

    def look_for_manager(self) -> None:
        """See whether somebody trains beside the simulation, where that is wanted."""
        if self._is_managed:
            self.taken = replace(self.taken, has_manager=self.store.is_managed)

    @property
    def notes(self) -> list[str]:
        """What the surrogate has to report, and that nobody trains it."""
        notes = list(getattr(self.surrogate, "notes", ()))
        if self._is_managed and self.taken.has_manager is False:
            version = f"version {self.taken.number}" if self.taken.number else "no model"
            notes.append(
                f"no manager is training: the run goes on with {version}; start one with proxima manage"
            )
        return notes

    def restore(self, version: int, n_trained: int, published: Mapping[str, Any]) -> None:
        """Go back to a checkpoint; the surrogate and the store are already as they were then."""
        self.version, self.n_trained = version, n_trained
        self.taken = state_from_json(Published(), published)
        frames = self.store.frames
        if n_trained:
            for uncertainty in self._uncertainties:
                uncertainty.fit(frames[self.taken.first : n_trained])
        for frame in frames[n_trained:]:  # one by one, as they came
            self.extend(frame)
