"""What each exchangeable part must offer.  `tests/contracts` runs every implementation through its check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ase_proxima.types import Frame, Observation, Prediction, Results, Verdict

__all__ = [
    "Controller",
    "ErrorMetric",
    "FrameStore",
    "PartTarget",
    "Surrogate",
    "TrainingPolicy",
    "Uncertainty",
]

ErrorMetric = Callable[[Results, Results], float]
"""`metric(target_results, surrogate_results)`, the distance between what the two give at one input."""


@runtime_checkable
class Surrogate(Protocol):
    """A learned model of the target.

    Attributes
    ----------
    incremental
        True if `fit` on a longer list of the same frames extends the model in place, at a cost that is small
        beside a target call.  Such a surrogate is brought up to date after every new frame.
    min_frames
        Number of frames below which `fit` must not be called; a surrogate that came trained (training "never") answers
        without any.
    properties
        Names of the results that it can predict.
    """

    @property
    def incremental(self) -> bool: ...  # noqa: D102

    @property
    def min_frames(self) -> int: ...  # noqa: D102

    @property
    def properties(self) -> tuple[str, ...]: ...  # noqa: D102

    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn from `frames`, a list that only ever grows from one call to the next.

        A call with an unrelated list starts afresh.
        """

    def predict(self, x: Any) -> Prediction:
        """Predict the results at `x`, without changing `x` or the model."""

    def save(self, folder: Path) -> None:
        """Write what is needed beside the frames to rebuild the model into the existing, empty `folder`."""

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Restore what `save` wrote; `frames` are those that the model had been fitted to, in order.

        Predictions after it equal those before `save` bit for bit.
        """


@runtime_checkable
class Uncertainty(Protocol):
    """A cheap number that ranks how far the surrogate may be off at an input."""

    def fit(self, frames: Sequence[Frame]) -> None:
        """Take the training frames of a new model version; fixes every scale until the next call."""

    def extend(self, frames: Sequence[Frame]) -> None:
        """Take frames that the model will have been trained on before it answers; scales stay as they are."""

    def measure(self, x: Any, prediction: Prediction) -> float:
        """Uncertainty at `x`: non-negative, larger where the error may be larger; NaN if unknown."""


@runtime_checkable
class Controller(Protocol):
    """Decides from the uncertainty whether the surrogate may be trusted.  Configuration only: the state
    is a frozen dataclass of JSON values that is passed in and returned anew.
    """

    def init(self) -> Any:
        """State before the first call."""

    def decide(self, state: Any, uncertainty: float) -> Verdict:
        """Whether the surrogate may answer at this uncertainty, and how probable an audit is; NaN is never trusted."""

    def observe(self, state: Any, observation: Observation) -> Any:
        """State after a call."""

    def report(self, state: Any) -> dict[str, Any]:
        """Return `error_estimate`, `error_estimate_se`, `error_upper` (NaN where unknown), and the lines `notes`."""


@runtime_checkable
class PartTarget(Protocol):
    """A target that may compute part of the atoms.

    Attributes
    ----------
    tolerance
        How much the forces on these may differ from those in the whole structure, in eV/Å.
    """

    tolerance: float

    def forces_on(
        self, atoms: Any, core: Sequence[int], thickness: float
    ) -> tuple[NDArray[np.float64], int] | None:
        """Forces on the atoms `core` from a part with a shell of `thickness` (Å), and the number of its atoms.

        None where the part would be no smaller than is worth while.
        """


@runtime_checkable
class TrainingPolicy(Protocol):
    """Decides when the surrogate is trained.

    Attributes
    ----------
    before_answer
        True if the surrogate is brought up to date before it answers, so that stored frames count as known
        to it already.
    by_manager
        True, where there is such an attribute, if a manager trains beside the simulation, whose versions are taken.
    """

    @property
    def before_answer(self) -> bool: ...  # noqa: D102

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:
        """Whether to train now, with `n_frames` stored, `n_trained` of them in the model, and `trusted` true
        when the surrogate is about to answer.
        """


@runtime_checkable
class FrameStore(Protocol):
    """Where a run keeps what it learned: in memory, or in a run directory.

    Attributes
    ----------
    frames
        The target's results so far, in the order of the calls.
    owner
        Identifiers of the process and the thread that may write to it, where it is on disk and a later process can
        resume from it; None where it is in memory.
    """

    frames: list[Frame]
    owner: tuple[int, int] | None

    def known(self, step: int, x: Any) -> Results | None:
        """Results that an interrupted run had already paid for at this call and input."""

    def foreign(self, x: Any) -> list[Frame]:
        """Add to `frames`, and return, what other walkers have paid for since the last call, whose input is `x`."""

    def published(self, taken: int) -> tuple[int, int, int, Path] | None:
        """Find a version later than number `taken` that was trained beside the simulation.

        Returns its number, the first and the one after the last of the frames that it knows, and its folder.
        """

    @property
    def is_managed(self) -> bool:
        """Whether somebody trains beside the simulation at present."""

    def append(self, frame: Frame, record: Mapping[str, Any]) -> None:
        """Add a frame with what is known about its call; on return it survives the end of the process."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Add the row of one call."""

    def save_model(self, version: int, surrogate: Surrogate) -> None:
        """Keep a new version of the surrogate."""

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state from which the run resumes."""

    def save_failed(self, step: int, x: Any) -> str:
        """Write an input on which the target failed; return where."""
