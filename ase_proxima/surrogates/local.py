"""A surrogate that has the forces on the atoms of which it is unsure computed by a target on part of the atoms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_proxima.errors import InputError
from ase_proxima.protocols import PartTarget, Surrogate
from ase_proxima.surrogates.features import continues
from ase_proxima.surrogates.wrapper import Wrapper
from ase_proxima.types import Frame, Prediction
from ase_proxima.types.identity import fingerprint

__all__ = ["WithLocalTarget"]

UNSURE = 0.9
"""Share of the threshold from which on an atom's force is computed: the threshold may fall before the next frame."""
THINNEST = 4.0
"""Å: the thinnest shell that is tried; less is not even the nearest neighbours' neighbours of a metal."""
STEP = 1.0
"""Å: by how much a shell grows until it is enough; a third of the distance of nearest neighbours or so."""
N_CHECKED = 1
"""Atoms of a frame, the least sure ones, on which a shell is tried: each costs a part of its own."""
FILE, INNER = "local.json", "surrogate"


class WithLocalTarget(Wrapper):
    """Answers as the surrogate inside, with the target's forces on the atoms of which that is unsure.

    At each frame that it learns, a shell is tried on the atoms of which the surrogate is least sure, against the forces
    that the target gave for the whole, and made thicker until it is enough.

    Parameters
    ----------
    surrogate : Surrogate
        One that knows the standard deviations of the forces.
    target : PartTarget
    threshold : callable
        `threshold() -> float`: deviation of the least sure atom's force below which the whole answer is trusted at
        present, in eV/Å. It is asked for at each new frame; no part is computed where it is not finite.

    Attributes
    ----------
    unsure
        Deviation of an atom's force from which on the target computes it, in eV/Å; NaN where nothing is trusted.
    thickness
        Of the shell in Å; None before the first frame, and where no shell is enough.
    n_local, n_computed, n_core
        Answers with forces of the target, and in all of them the atoms that it computed and those that were unsure.
    n_checked
        Atoms that it computed to try shells.

    Raises
    ------
    InputError
        If no shell is enough at the first frame, or the surrogate knows no deviations.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        target: PartTarget,
        *,
        threshold: Callable[[], float],
    ) -> None:
        super().__init__(surrogate)
        self.target = target
        self.threshold = threshold
        self.unsure = math.nan
        self.thickness: float | None = None
        self.n_local = self.n_core = self.n_computed = self.n_checked = 0
        self._frames: list[Frame] = []
        self._latest: tuple[str, list[int], NDArray[np.float64] | None] = ("", [], None)

    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn the frames, and see at the latest whether the shell is thick enough."""
        self.surrogate.fit(frames)
        if not self._frames or not continues(self._frames, frames):
            self._frames, self.thickness, self.n_checked = [], THINNEST, 0
        if self.thickness is not None and len(frames) > len(self._frames):
            is_first = not self.n_checked
            self.thickness = self._enough(frames[-1], self.thickness)
            if self.thickness is None and is_first:
                raise InputError(
                    f"no part of the {len(frames[-1].x)} atoms that is small enough gives the forces in the whole to "
                    f"{self.target.tolerance:g} eV/Å: the target is not short-ranged enough for a structure of this "
                    "size, use it as a whole"
                )
        threshold = UNSURE * self.threshold()
        self.unsure = threshold if self.target.tolerance < threshold < math.inf else math.nan
        self._frames = list(frames)
        self._latest = ("", [], None)

    def _enough(self, frame: Frame, thickness: float) -> float | None:
        """Thickness with which the forces on the least sure atoms are right; None if there is none."""
        spread = _spread(self.surrogate.predict(frame.x))
        core = np.argsort(spread, kind="stable")[-N_CHECKED:].tolist()
        wanted = np.asarray(frame.results["forces"])[core]
        if np.linalg.norm(wanted, axis=1).max() < self.target.tolerance:
            return thickness  # forces that vanish by symmetry in parts too show nothing
        while True:
            found = self.target.forces_on(frame.x, core, thickness)
            if found is None:
                return None
            forces, n_atoms = found
            self.n_checked += n_atoms
            if np.linalg.norm(forces - wanted, axis=1).max() <= self.target.tolerance:
                return thickness
            thickness += STEP

    def predict(self, x: Any) -> Prediction:
        """Prediction of the surrogate, with the target's forces on a few atoms where it is unsure of a few."""
        prediction = self.surrogate.predict(x)
        if (
            self.thickness is None
            or not self.n_checked
            or math.isnan(self.unsure)
            or "forces" not in prediction.results
        ):
            return prediction
        core = np.flatnonzero(~(_spread(prediction) < self.unsure)).tolist()
        if not core:
            return prediction
        identity = fingerprint(x)
        if self._latest[:2] != (identity, core):
            self._latest = identity, core, self._computed(x, core, self.thickness)
        exact = self._latest[2]
        if exact is None:
            return prediction
        forces, std = (np.array(of["forces"], float) for of in (prediction.results, prediction.std))
        forces[core], std[core] = exact, self.target.tolerance / np.sqrt(3.0)
        return Prediction({**prediction.results, "forces": forces}, {**prediction.std, "forces": std})

    def _computed(self, x: Any, core: list[int], thickness: float) -> NDArray[np.float64] | None:
        """Forces of the target on the core; None where it fails, or the part is too large: then it gets the whole."""
        try:
            found = self.target.forces_on(x, core, thickness)
        except (InputError, NotImplementedError):
            raise
        except Exception:  # foreign code: the call of the whole, which follows, tells of what is wrong
            return None
        if found is None:
            return None
        forces, n_atoms = found
        self.n_local += 1
        self.n_core += len(core)
        self.n_computed += n_atoms
        return forces

    @property
    def notes(self) -> tuple[str, ...]:
        """What the target computed in parts, and what the surrogate has to say."""
        inside = tuple(getattr(self.surrogate, "notes", ()))
        if not self.n_checked:
            return inside
        if self.thickness is None:
            lost = "no shell is thick enough any more: the target computes whole structures alone"
            return (*inside, lost)
        return (
            *inside,
            f"the target computed part of the atoms at {self.n_local:,} calls: {self.n_computed:,} atoms for "
            f"{self.n_core:,} of which the surrogate was unsure, with a shell of {self.thickness:g} Å, and "
            f"{self.n_checked:,} atoms to find it",
        )

    def save(self, folder: Path) -> None:
        """Write the thickness and the counts, and the surrogate in a folder of its own."""
        names = ("unsure", "thickness", "n_local", "n_core", "n_computed", "n_checked")
        (folder / FILE).write_text(json.dumps({name: getattr(self, name) for name in names}))
        (folder / INNER).mkdir()
        self.surrogate.save(folder / INNER)

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Restore what `save` wrote.

        Raises
        ------
        InputError
            If the folder was written without a target on part of the atoms.
        """
        try:
            state = json.loads((folder / FILE).read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder / FILE} does not hold the shell of a target on part of the atoms ({error})"
            ) from error
        for name, value in state.items():
            setattr(self, name, value)
        self.surrogate.load(folder / INNER, frames)
        self._frames = list(frames)
        self._latest = ("", [], None)


def _spread(prediction: Prediction) -> NDArray[np.float64]:
    """Standard deviation of each atom's force, shape (n_atoms,), in eV/Å.

    Raises
    ------
    InputError
        If the surrogate does not know it.
    """
    std = prediction.std.get("forces")
    if std is None:
        raise InputError(
            "this surrogate knows no standard deviation of the forces, without which a target on part of the atoms "
            "has no part to compute: use bayesian_soap or gradient_gp"
        )
    return np.asarray(np.linalg.norm(np.asarray(std), axis=1))
