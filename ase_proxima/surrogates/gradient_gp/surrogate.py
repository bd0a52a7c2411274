"""Gaussian process on inverse distances, learning from energies and forces: the default for molecules.

The energy of a molecule is modelled as a draw from a Gaussian process on the inverse distances of its
pairs of atoms, with the Matern 5/2 covariance averaged over the permutations of equivalent atoms. Energies
and their gradients are labels. A gradient enters as its 3n - 6 components that change distances; the rest
would tell nothing (see `kernels.internal_basis`).

Costs, with n frames of M = n (1 + 3n_atoms - 6) labels, p permutations and d pairs: a prediction takes
O(n p d + M²) operations, a new frame O(M² n_atoms). New length scales take O(M³), but of at most 10 frames
(40 without forces).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.gradient_gp.hyperparameters import (
    Labels,
    Prior,
    optimise_lengths,
    optimise_noise,
)
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.gradient_gp.process import GradientProcess
from ase_proxima.surrogates.one_thread import one_thread
from ase_proxima.surrogates.selection import energy_covariance, thinned
from ase_proxima.types import Frame, Prediction
from ase_proxima.types.identity import same_frame

__all__ = ["GradientGP"]

MAX_LABELS = 3600
"""Largest number of labels by default: 62 frames of aspirin, whose deviations then take 24 ms a call. With 1,500, 26
frames, its error after 64 frames of a run was 0.055 eV/Å where 0.029 is reached without a limit."""

MAX_FRAMES = 60
"""Largest number of frames by default; six times that many where the first has no forces."""

FIRST_OPTIMISATION = 2
"""Number of frames from which length scales are optimised: one frame says too little about several."""

FORMAT = 2


class GradientGP:
    """Gaussian process for one molecule, fitted to energies and forces.

    Each new frame extends the Cholesky factor in place and sets the amplitude anew. The length scales, one
    for bonded pairs, one for second neighbours and one for all others, and then the noise of the labels, are found by
    marginal likelihood when the number of frames reaches 2, 3, 4, 6, 9, 14, ..., each about 1.6 times the one before.

    When `max_frames` are stored, a quarter of them is dropped: the newest quarter stays, the oldest tenth
    goes, and of the rest those stay that the others predict worst (greedy choice by posterior variance, as
    in a pivoted Cholesky decomposition). So costs stay bounded and the model follows a run to new regions.

    Parameters
    ----------
    max_frames : int, optional
        Largest number of frames in the model, at least 4. By default what makes 3,600 labels, but 20 to 60,
        or up to 360 if the first frame has no forces.
    max_permutations : int
        Largest number of permutations of equivalent atoms.
    force_std : bool
        Whether to predict the standard deviations of the forces too, which makes a prediction take
        some three times as long.
    prior : Prior, optional
        What is believed about length scales and amplitude before any data.

    References
    ----------
    Chmiela, Sauceda, Müller and Tkatchenko, Nat. Commun. 9, 3887 (2018), doi:10.1038/s41467-018-06169-2.

    Examples
    --------
    >>> from ase import Atoms
    >>> def frame(r):
    ...     energy, slope = (r - 0.74) ** 2, 2 * (r - 0.74)
    ...     forces = [[0, 0, slope], [0, 0, -slope]]
    ...     return Frame(Atoms("H2", [[0, 0, 0], [0, 0, r]]), {"energy": energy, "forces": forces})
    >>> model = GradientGP()
    >>> model.fit([frame(0.72), frame(0.77)])
    >>> prediction = model.predict(Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]))
    >>> abs(prediction.results["energy"] - 0.01**2) < 1e-4
    True
    """

    incremental = True
    min_frames = 1
    properties = ("energy", "forces")

    def __init__(
        self,
        *,
        max_frames: int | None = None,
        max_permutations: int = 120,
        force_std: bool = False,
        prior: Prior | None = None,
    ) -> None:
        if max_frames is not None and not max_frames >= 4:
            raise InputError(f"max_frames must be at least 4, got {max_frames}: allow more frames")
        if not max_permutations >= 1:
            raise InputError(
                f"max_permutations must be at least 1, got {max_permutations}: 1 switches them off"
            )
        self.max_frames = max_frames
        self.max_permutations = max_permutations
        self.force_std = force_std
        self.prior = self._prior = Prior() if prior is None else prior
        self._frames: list[Frame] = []
        self._labels: dict[int, Labels] = {}
        self._order: list[int] = []
        self._due = FIRST_OPTIMISATION

    @property
    def n_frames(self) -> int:
        """Number of frames in the model, at most `max_frames`."""
        return len(self._order)

    @property
    def length_scales(self) -> np.ndarray:
        """Length scales of bonded pairs, second neighbours and others, as far as there are any, in 1/Å."""
        self._require_fit()
        return self._lengths.copy()

    @property
    def amplitude(self) -> float:
        """Prior variance of the energy, eV²."""
        self._require_fit()
        return self._process.amplitude

    @one_thread
    def fit(self, frames: Sequence[Frame]) -> None:
        """Extend the model by the frames that it has not seen, or start afresh on an unrelated list.

        Parameters
        ----------
        frames : sequence of Frame
            `x` is an `ase.Atoms`; the results have an energy (eV) and may have forces (eV/Å).

        Raises
        ------
        InputError
            If there are no frames, or one has other atoms, no energy or a malformed label.
        """
        if not len(frames):
            raise InputError("gradient_gp needs at least one frame to fit, got none: run the target first")
        if self._continues(frames):
            molecule, offset, start = self._molecule, self._offset, len(self._frames)
        else:
            molecule = Molecule.from_atoms(frames[0].x, max_permutations=self.max_permutations)
            offset, start = float(frames[0].results.get("energy", np.nan)), 0
        new = {index: molecule.label(frames[index], offset) for index in range(start, len(frames))}
        if not start:
            self._start(molecule, frames[0])
        for index, labels in new.items():
            self._labels[index] = labels
            self._process.append(labels)
            self._order.append(index)
            self._frames.append(frames[index])
            if len(self._order) >= self._capacity:
                self._thin()
        if len(self._frames) >= self._due:
            while self._due <= len(self._frames):
                self._due = max(self._due + 1, int(1.62 * self._due))
            self._optimise()
        self._process.contract()

    def predict(self, x: Any) -> Prediction:
        """Predict energy (eV) and forces (eV/Å) with the posterior standard deviation of the energy.

        Parameters
        ----------
        x : ase.Atoms
            The elements of the fit, in the same order.

        Returns
        -------
        Prediction
            `std` has "forces" as well if `force_std` is set. Everything is NaN where two atoms coincide.

        Raises
        ------
        InputError
            If nothing was fitted, or `x` has other atoms.
        """
        self._require_fit()
        self._molecule.check(x)
        std: dict[str, Any] = {}
        if self.force_std:
            energy, forces, std["energy"], std["forces"] = self._process.predict_with_force_std(x.positions)
        else:
            energy, forces, std["energy"] = self._process.predict(x.positions)
        return Prediction({"energy": self._offset + energy, "forces": forces}, std)

    def save(self, folder: Path) -> None:
        """Write which frames the model holds, and its length scales, to `folder`."""
        self._require_fit()
        state = {
            "format": FORMAT,
            "settings": self._settings(),
            "n_frames": len(self._frames),
            "order": self._order,
            "length_scales": self._lengths.tolist(),
            "noise_scale": self._prior.noise_scale,
            "next_optimisation": self._due,
        }
        (Path(folder) / "gradient_gp.json").write_text(json.dumps(state, indent=1))

    @one_thread
    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Factorise the frames that the saved model held, in the same order with the same length scales.

        Raises
        ------
        InputError
            If the folder holds no such model, or it was fitted to other frames or with other settings.
        """
        path = Path(folder) / "gradient_gp.json"
        try:
            state = json.loads(path.read_text())
            order, due = [int(i) for i in state["order"]], int(state["next_optimisation"])
            lengths, n_frames = np.array(state["length_scales"], dtype=float), int(state["n_frames"])
            version, settings, noise = state["format"], state["settings"], state.get("noise_scale", 1.0)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a saved gradient_gp model ({error}): retrain it") from error
        if version != FORMAT:
            raise InputError(f"{path} has format {version}, this version reads {FORMAT}: retrain the model")
        if settings != self._settings():
            raise InputError(
                f"{path} was made with {settings}, got {self._settings()}: use the same settings"
            )
        if n_frames != len(frames):
            raise InputError(
                f"{path} was fitted to {n_frames} frames, got {len(frames)}: pass the same frames"
            )
        molecule = Molecule.from_atoms(frames[0].x, max_permutations=self.max_permutations)
        self._start(molecule, frames[0])
        self._frames, self._due, self._lengths = list(frames), due, lengths
        self._prior = replace(self._prior, noise_scale=float(noise))
        self._labels = {index: molecule.label(frames[index], self._offset) for index in order}
        self._rebuild(order)
        self._process.contract()

    def _settings(self) -> dict[str, Any]:
        """What the predictions depend on beside the frames, as JSON values."""
        prior = json.loads(json.dumps(asdict(self.prior)))
        return {"max_frames": self.max_frames, "max_permutations": self.max_permutations, "prior": prior}

    def _require_fit(self) -> None:
        if not self._frames:
            raise InputError("gradient_gp has not been fitted: call fit with at least one frame first")

    def _continues(self, frames: Sequence[Frame]) -> bool:
        """Whether `frames` begin with those seen so far, judged by the first, the middle and the last."""
        n = len(self._frames)
        return 0 < n <= len(frames) and all(
            same_frame(self._frames[i], frames[i]) for i in {0, n // 2, n - 1}
        )

    def _start(self, molecule: Molecule, first: Frame) -> None:
        self._molecule, self._offset = molecule, float(first.results["energy"])
        self._frames, self._labels = [], {}
        self._due = FIRST_OPTIMISATION
        with_forces = first.results.get("forces") is not None
        per_frame = 1 + molecule.n_internal * with_forces
        most = int(np.clip(MAX_LABELS // per_frame, 20, MAX_FRAMES if with_forces else 6 * MAX_FRAMES))
        self._capacity = self.max_frames or most
        self._n_for_lengths = int(np.clip(200 // per_frame, 6, 10 if with_forces else 40))
        self._prior = self.prior.for_groups(molecule.separations)
        self._lengths = np.array(self._prior.lengths)
        self._rebuild([])

    def _rebuild(self, order: Sequence[int]) -> None:
        """Factorise the frames of `order` one after the other, with the current length scales."""
        self._process = GradientProcess(self._molecule, self._prior, self._lengths, self._capacity)
        self._order = list(order)
        for index in order:
            self._process.append(self._labels[index])

    def _optimise(self) -> None:
        """Find length scales from at most 10 frames (40 without forces) spread over the record."""
        molecule, n = self._molecule, len(self._order)
        positions = np.linspace(0, n - 1, min(n, self._n_for_lengths)).round().astype(int)
        frames = [self._labels[self._order[i]] for i in np.unique(positions)]
        found = frames, molecule.groups, molecule.images
        self._lengths = optimise_lengths(self._lengths, *found, self._prior)
        noise = optimise_noise(self._lengths, *found, self._prior)
        self._prior = replace(self._prior, noise_scale=noise)
        self._rebuild(self._order)

    def _thin(self) -> None:
        """Drop a quarter of the frames, as the class describes."""
        order = thinned(self._order, energy_covariance(self._process.descriptors, self._molecule.images))
        self._labels = {index: self._labels[index] for index in order}
        self._rebuild(order)
