"""When the surrogate is trained."""

from __future__ import annotations

from dataclasses import dataclass

from ase_proxima.errors import InputError
from ase_proxima.protocols import Surrogate, TrainingPolicy

__all__ = [
    "BackgroundTraining",
    "EveryTraining",
    "LazyTraining",
    "NeverTraining",
    "has_manager",
    "make_training_policy",
    "never_trains",
    "refuse_in_place",
]

LARGEST_FIRST_TRAINING = 1000
"""A policy that would not train on so many new frames never does: a run of default length has fewer."""


@dataclass(frozen=True)
class LazyTraining:
    """Train when the surrogate is about to answer and new frames have come.

    Parameters
    ----------
    growth : float
        Train also, without an answer in sight, once the number of frames has grown by this factor, so that the errors
        seen on flagged calls speak for a model that is not too old.

    Examples
    --------
    >>> LazyTraining().due(n_frames=11, n_trained=10, trusted=True)
    True
    >>> LazyTraining().due(n_frames=11, n_trained=10, trusted=False)
    False
    """

    growth: float = 1.25
    before_answer: bool = True

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:
        """Whether to train now."""
        return n_frames > n_trained and (trusted or n_frames >= self.growth * n_trained)


@dataclass(frozen=True)
class GrowthTraining:
    """Train when the number of frames has grown by a share: for surrogates whose every training starts afresh.

    n frames then cost the training of some log(n) / log(1 + share) models, not n.

    Examples
    --------
    >>> policy = GrowthTraining(0.2)
    >>> policy.due(n_frames=6, n_trained=5, trusted=False), policy.due(n_frames=55, n_trained=50, trusted=True)
    (True, False)
    """

    share: float = 0.2
    before_answer: bool = False

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise InputError(f"the share by which frames grow must be positive, got {self.share}")

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:  # noqa: ARG002
        """Whether to train now."""
        return n_frames > n_trained and n_frames >= (1.0 + self.share) * n_trained


@dataclass(frozen=True)
class EveryTraining:
    """Train whenever `interval` new frames have come: the fixed retrain interval of common practice.

    Examples
    --------
    >>> EveryTraining(50).due(n_frames=60, n_trained=10, trusted=False)
    True
    """

    interval: int
    before_answer: bool = False

    def __post_init__(self) -> None:
        if not self.interval >= 1:
            raise InputError(f"a retrain interval must be at least 1, got {self.interval}")

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:  # noqa: ARG002
        """Whether to train now."""
        return n_frames - n_trained >= self.interval


@dataclass(frozen=True)
class NeverTraining:
    """Use a surrogate that came trained as it is, from the first call on."""

    before_answer: bool = False

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:  # noqa: ARG002
        """Return False."""
        return False


@dataclass(frozen=True)
class BackgroundTraining:
    """Leave the training to a manager beside the simulation (`proxima manage`), and take what it publishes.

    For surrogates that are dear to train; one that learns in place needs none.
    """

    before_answer: bool = False
    by_manager: bool = True

    def due(self, *, n_frames: int, n_trained: int, trusted: bool) -> bool:  # noqa: ARG002
        """Return False."""
        return False


def has_manager(policy: TrainingPolicy) -> bool:
    """Whether a manager trains beside the simulation."""
    return bool(getattr(policy, "by_manager", False))


def never_trains(policy: TrainingPolicy) -> bool:
    """Whether a policy leaves a surrogate as it came, judged by what it answers for up to 1,000 new frames.

    Examples
    --------
    >>> never_trains(NeverTraining()), never_trains(EveryTraining(50)), never_trains(LazyTraining())
    (True, False, False)
    """
    if has_manager(policy):
        return False
    return not any(
        policy.due(n_frames=n_frames, n_trained=0, trusted=True)
        for n_frames in range(1, LARGEST_FIRST_TRAINING + 1)
    )


def make_training_policy(training: str | int | TrainingPolicy) -> TrainingPolicy:
    """Make a policy from its name: "lazy", "never", "background", a number of frames, or a policy object.

    Raises
    ------
    InputError
        If the name is unknown.

    Examples
    --------
    >>> make_training_policy("lazy")
    LazyTraining(growth=1.25, before_answer=True)
    """
    if isinstance(training, str):
        if training == "lazy":
            return LazyTraining()
        if training == "never":
            return NeverTraining()
        if training == "background":
            return BackgroundTraining()
        raise InputError(
            f'unknown training {training!r}: use "lazy", "never", "background" or a number of frames'
        )
    if isinstance(training, TrainingPolicy):
        return training
    return EveryTraining(int(training))


def refuse_in_place(surrogate: Surrogate) -> None:
    """Raise an `InputError` where training beside the simulation would gain nothing."""
    if surrogate.incremental:
        raise InputError(
            f"{type(surrogate).__name__} learns each frame in place, at a cost that is small beside the target: no "
            'manager is needed, leave training="background" out'
        )
