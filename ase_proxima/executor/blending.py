"""Gradual switches between surrogate and target, and the ledger of the work that they do on a trajectory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.types import Prediction, Results

__all__ = [
    "BlendState",
    "Blending",
    "energy_gap",
    "energy_of",
    "mix",
    "retrained",
    "settle",
]

DROP_RATIO = 2.0
"""Uncertainty over threshold from which the surrogate is dropped at once; at 1 every way down would be such a kick."""


@dataclass(frozen=True, slots=True)
class BlendState:
    """Where the answers stand between target and surrogate.

    Attributes
    ----------
    phase
        Place on the ramp: 0 is the target alone, `n_steps` the surrogate alone.
    share
        Share of the surrogate in the latest answer.
    stay
        Calls that the target must still answer alone before a ramp up may begin.
    work
        Ledger, in eV: what the switches so far have added to the energy without work of forces.
    gap
        Surrogate's energy minus the target's at the latest call, in eV; NaN where one is not known.
    frame_energy
        Surrogate's energy at the latest frame, in eV; NaN where there was none.
    n_switches, n_drops
        Ramps begun, up or down, and drops at once, which count as switches too.
    n_unknown
        Changes of the share whose work is not known, as the surrogate had no finite answer.
    """

    phase: int = 0
    share: float = 0.0
    stay: int = 0
    work: float = 0.0
    gap: float = math.nan
    frame_energy: float = math.nan
    n_switches: int = 0
    n_drops: int = 0
    n_unknown: int = 0


@dataclass(frozen=True)
class Blending:
    """Cosine ramps from target to surrogate and back, in place of switches from one call to the next.

    On every call of a ramp the target runs. The answer is `(1 - w) F + w S` with the share
    `w = (1 - cos(pi phase / n_steps)) / 2`, so that its uncertainty is `w u` and its error `w e`.
    A ramp down begins with the first flagged call and turns back up where the surrogate is trusted again; above
    `DROP_RATIO` times the threshold the target takes over at once. After the way down the target answers for
    `n_steps` calls at least.

    Parameters
    ----------
    n_steps : int
        Length of a ramp, in calls; 1 is a switch at once whose work is known.

    Raises
    ------
    InputError
        If it is not a positive integer.

    Examples
    --------
    >>> blending, state = Blending(2), BlendState()
    >>> shares = []
    >>> for _ in range(3):
    ...     state = blending.advance(state, trusted=True, ratio=0.5)
    ...     shares.append(state.share)
    >>> shares
    [0.5, 1.0, 1.0]
    """

    n_steps: int

    def __post_init__(self) -> None:
        if isinstance(self.n_steps, bool) or not isinstance(self.n_steps, int) or not self.n_steps >= 1:
            raise InputError(
                f"blending must be a number of calls, at least 1, or None, got {self.n_steps!r}: 10 is usual"
            )

    def advance(self, state: BlendState, *, trusted: bool, ratio: float) -> BlendState:
        """Take the share of the next call.

        Parameters
        ----------
        trusted
            Whether the controller trusts the surrogate on this call.
        ratio
            Uncertainty over threshold; NaN where unknown.
        """
        phase, stay, n_switches, n_drops = state.phase, state.stay, state.n_switches, state.n_drops
        if trusted and not stay:
            n_switches += phase == 0
            phase = min(phase + 1, self.n_steps)
        elif phase and ratio < DROP_RATIO:
            n_switches += phase == self.n_steps
            phase -= 1
        elif phase:
            n_switches += 1
            n_drops += 1
            phase = 0
        stay = self.n_steps if state.phase and not phase else max(stay - 1, 0)
        share = (1.0 - math.cos(math.pi * phase / self.n_steps)) / 2.0
        return replace(state, phase=phase, share=share, stay=stay, n_switches=n_switches, n_drops=n_drops)

    def is_ramp(self, before: BlendState, state: BlendState) -> bool:
        """Whether both target and surrogate are needed, as the share changes or lies between 0 and 1."""
        return state.phase != before.phase or 0 < state.phase < self.n_steps


def settle(before: BlendState, state: BlendState, gap: float) -> BlendState:
    """Enter a call into the ledger.

    The energy is `E = F + w (S - F)`. The forces do the work that changes `F` and `S`; a change of `w` adds
    `dw (S - F)` that no force has done. As the integrator uses the forces at both ends of a step, `S - F` is the mean
    of the two ends where both are known.

    Parameters
    ----------
    before, state
        Before and after `Blending.advance`.
    gap
        Surrogate's energy minus the target's, in eV; NaN where one of them was not asked for or is not finite.
    """
    change = state.share - before.share
    if not change:
        return replace(state, gap=gap)
    if not math.isfinite(gap):
        return replace(state, gap=math.nan, n_unknown=state.n_unknown + 1)
    mean = (gap + before.gap) / 2.0 if math.isfinite(before.gap) else gap
    return replace(state, gap=gap, work=state.work + change * mean)


def retrained(state: BlendState, energy: float) -> BlendState:
    """Enter a new version of the surrogate, which has `energy` (eV) at the latest frame, into the ledger."""
    change = state.share * (energy - state.frame_energy)
    return replace(state, work=state.work + change) if math.isfinite(change) else state


def mix(target: Results, surrogate: Results, share: float) -> Results:
    """Results of the target and of the surrogate, added up by their shares.

    Examples
    --------
    >>> mix({"energy": 1.0}, {"energy": 3.0}, 0.25)
    {'energy': 1.5}
    """
    mixed = {
        name: (1.0 - share) * np.asarray(value, float) + share * np.asarray(surrogate[name], float)
        for name, value in target.items()
        if name in surrogate
    }
    return {name: value if np.ndim(value) else float(value) for name, value in mixed.items()}


def energy_of(prediction: Prediction | None) -> float:
    """Energy that the surrogate predicts, in eV; NaN where it predicts none."""
    return math.nan if prediction is None else float(prediction.results.get("energy", math.nan))


def energy_gap(target: Results, prediction: Prediction | None) -> float:
    """Surrogate's energy minus the target's, in eV; NaN where one is not known."""
    return energy_of(prediction) - float(target.get("energy", math.nan))
