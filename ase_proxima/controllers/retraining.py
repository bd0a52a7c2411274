"""When a model that is dear to train is trained again, and on how many of the latest frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Retraining", "RetrainingState"]

FIRST_FRAMES = 10
"""Frames of the first training: fewer are soon ten, and the target answers until then in any case."""
FIRST_WINDOW = 256
"""Latest frames that a model is trained on, at first. The networks of benchmarks/background.py, on springs between the
atoms of methane, err by 0.045 eV with 64 frames and by 0.011 eV with 256."""
HARDLY = 0.1
"""Share of the held-out error by which a training must lower it, or it hardly helped."""
WINDOW_FACTOR = 2.0
"""By which the window grows, and shrinks."""
FIRST_WAIT = 1.25
"""Growth of the number of frames that asks for a new training, at first: that of lazy training."""
WAIT_FACTOR = 1.5
"""By which the frames to wait for grow each time a training hardly helped."""
LONGEST_WAIT = 8.0
"""Growth of the number of frames beyond which none is waited for: the physics may drift."""


@dataclass(frozen=True)
class RetrainingState:
    """What was learned about training so far.

    Attributes
    ----------
    n_trainings
        Trainings so far.
    n_frames
        Frames that there were at the latest one.
    window
        How many of the latest frames the next one takes.
    wait
        Growth of the number of frames that asks for it.
    error
        Mean error of the model before on the frames that it had not seen; NaN before it was known.
    """

    n_trainings: int = 0
    n_frames: int = 0
    window: int = FIRST_WINDOW
    wait: float = FIRST_WAIT
    error: float = math.nan


@dataclass(frozen=True)
class Retraining:
    """The rule.

    A model is judged by the frames that came after it, which it has not seen and which cost nothing more. Where these
    errors hardly fall from one model to the next, the window grows, as long as there are more frames than it holds;
    where all frames are in and they still hardly fall, the model has settled: the window shrinks again, and the next
    training waits longer. Where they fall, everything stays as it is.

    Parameters
    ----------
    min_frames
        Frames below which the model cannot be trained.

    Examples
    --------
    >>> rule = Retraining(min_frames=1)
    >>> rule.due(rule.init(), 9), rule.due(rule.init(), 10)
    (False, True)
    >>> state = rule.observe(rule.init(), 10, math.nan)
    >>> rule.due(state, 12), rule.due(state, 13)
    (False, True)
    """

    min_frames: int = 1

    def init(self) -> RetrainingState:
        """State before the first training."""
        return RetrainingState()

    def due(self, state: RetrainingState, n_frames: int) -> bool:
        """Whether to train now."""
        if not state.n_trainings:
            return n_frames >= max(self.min_frames, FIRST_FRAMES)
        return n_frames > state.n_frames and n_frames >= state.wait * state.n_frames

    def window(self, state: RetrainingState, n_frames: int) -> int:
        """How many of the latest frames to train on."""
        return min(max(state.window, self.min_frames), n_frames)

    def observe(self, state: RetrainingState, n_frames: int, error: float) -> RetrainingState:
        """State once a training is about to begin.

        Parameters
        ----------
        state
        n_frames
            Frames that there are now.
        error
            Mean error of the model so far on those that came since it was trained; NaN where there is no such model.
        """
        new = replace(state, n_trainings=state.n_trainings + 1, n_frames=n_frames, error=error)
        if not (math.isfinite(error) and math.isfinite(state.error)):
            return new
        if error <= (1.0 - HARDLY) * state.error:
            return new
        if state.window < n_frames:
            return replace(new, window=int(WINDOW_FACTOR * state.window))
        return replace(
            new,
            window=max(int(state.window / WINDOW_FACTOR), FIRST_WINDOW),
            wait=min(WAIT_FACTOR * (state.wait - 1.0) + 1.0, LONGEST_WAIT),
        )
