"""What each exchangeable part must offer.  `tests/contracts` runs every implementation through its check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ase_proxima.types import Frame, Observation, Prediction

__all__ = ["Controller", "FrameStore", "Surrogate", "TrainingPolicy", "Uncertainty"]


@runtime_checkable
class Surrogate(Protocol):
    """A learned model of the target.

    Attributes
    ----------
    incremental
        True if `fit` on a longer list of the same frames extends the model in place, at a cost that is small
        beside a target call.  Such a surrogate is brought up to date after every new frame.
    min_frames
        Number of frames below which `fit` must not be called.
    properties
        Names of the results that it can predict.
    """

    incremental: bool
    min_frames: int
    properties: tuple[str, ...]

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
    is a frozen dataclass of JSON values that is passed in and returned anew."""

    def init(self) -> Any:
        """State before the first call."""

    def trusts(self, state: Any, uncertainty: float) -> bool:
        """Whether the surrogate may answer at this uncertainty; False for NaN."""

    def audit_probability(self, state: Any) -> float:
        """Probability with which the target also runs on a trusted call."""

    def observe(self, state: Any, observation: Observation) -> Any:
        """State after a call."""

    def threshold(self, state: Any) -> float:
        """Uncertainty below which the surrogate is trusted."""

    def report(self, state: Any) -> dict[str, Any]:
        """Return `alpha`, `error_estimate`, `error_upper` (floats, NaN where unknown) and `notes`, a tuple of lines."""


@runtime_checkable
class TrainingPolicy(Protocol):
    """Decides when the surrogate is trained.

    Attributes
    ----------
    before_answer
        True if the surrogate is brought up to date before it answers, so that stored frames count as known
        to it already.
    """

    before_answer: bool

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:
        """Whether to train now, with `n_frames` stored, `n_trained` of them in the model, and `trusted` true
        when the surrogate is about to answer."""


@runtime_checkable
class FrameStore(Protocol):
    """The target's results so far, in the order of the calls."""

    def append(self, frame: Frame) -> None:
        """Add a frame; on return it survives the end of the process, if the store is on disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
