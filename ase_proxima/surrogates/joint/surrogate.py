"""The Bayesian linear model and the Gaussian process of a molecule as one model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.features import continues
from ase_proxima.surrogates.gradient_gp.kernels import internal_basis, inverse_distances
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.joint.process import Described, JointProcess
from ase_proxima.surrogates.joint.sizes import estimate, most_frames, sizes_of
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.choice import CHOICE_AT, choose_settings
from ase_proxima.surrogates.linear.evidence import Hyperparameters
from ase_proxima.surrogates.linear.labels import expected_misfit, force_size, read_labels
from ase_proxima.surrogates.linear.settings import Blocks, Settings, fitting_blocks
from ase_proxima.surrogates.one_thread import one_thread
from ase_proxima.surrogates.selection import energy_covariance, thinned
from ase_proxima.types import Frame, Prediction

__all__ = ["JointGP"]

FILE = "joint_gp.npz"
FORMAT = 2

LENGTHS = (16.0, 10.0, 10.0)
"""Length scales, 1/Å, of bonded pairs, second neighbours and others. With half of them errors are 1 to 3 % larger after
40 frames (aspirin, alanine dipeptide), with twice these equal; found by the evidence they were no better."""
MAX_LABELS = 7000
"""Largest number of labels by default: 120 frames of aspirin, of which one more takes 0.2 s, and 400 MB."""
LEAST_FRAMES = 20
"""Frames that are held whatever the number of labels."""
MAX_PERMUTATIONS = 40
"""Largest number of permutations; alanine dipeptide with 27 errs 1 % more than with 108, aspirin with 1 for 6 40 %."""
ESTIMATE_AT = (16, 32, 64)
"""Numbers of frames at which only the sizes of the parts are estimated anew."""


class JointGP:
    """Energy and forces of one molecule, by features of each atom's surroundings and by all distances together.

    The energy is the sum of what `BayesianSoap` makes of it, linear in features of pairs and surroundings, and of what
    `GradientGP` makes of it, a Gaussian process on the inverse distances of all pairs. Both parts are found together:
    what many atoms have in common is learnt by the features, from few frames; what depends on the molecule as a whole,
    and on atoms beyond the cutoff, by the process. How large each block of features, the process and the noise are
    maximises the evidence.

    Parameters
    ----------
    max_frames : int, optional
        Largest number of frames in the model, at least 4; by default what makes 7,000 labels, but at least 20.  When
        there are as many a quarter is dropped, as `GradientGP` does.
    max_permutations : int
        Largest number of permutations of equivalent atoms.
    max_features : int
        Largest number of features.

    Notes
    -----
    Cutoff and resolution of the features are chosen as `BayesianSoap` does, at the 1st, 2nd, 4th and 8th frame. Forces
    are exact derivatives of the energy. Standard deviations are those of 15 draws from the posterior.

    Examples
    --------
    >>> from ase import Atoms
    >>> def frame(r):
    ...     energy, slope = (r - 0.74) ** 2, 2 * (r - 0.74)
    ...     forces = [[0, 0, slope], [0, 0, -slope]]
    ...     return Frame(Atoms("H2", [[0, 0, 0], [0, 0, r]]), {"energy": energy, "forces": np.array(forces)})
    >>> model = JointGP()
    >>> model.fit([frame(0.72), frame(0.77)])
    >>> prediction = model.predict(Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]))
    >>> abs(prediction.results["energy"] - 0.01**2) < 1e-3
    True
    """

    incremental = True
    min_frames = 1
    properties = ("energy", "forces")

    def __init__(
        self,
        *,
        max_frames: int | None = None,
        max_permutations: int = MAX_PERMUTATIONS,
        max_features: int = 2000,
    ) -> None:
        if max_frames is not None and not max_frames >= 4:
            raise InputError(f"max_frames must be at least 4, got {max_frames}: allow more frames")
        for name, value in (("max_permutations", max_permutations), ("max_features", max_features)):
            if not value >= 1:
                raise InputError(f"{name} must be at least 1, got {value}: leave it out")
        self.max_frames, self.max_permutations, self.max_features = (
            max_frames,
            max_permutations,
            max_features,
        )
        self._frames: list[Frame] = []
        self._order: list[int] = []

    @one_thread
    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn from `frames`; those that are known already cost nothing.

        Raises
        ------
        InputError
            If there is no frame, or one has other atoms or no sound energy or forces.
        """
        if not frames:
            raise InputError("joint_gp needs at least one frame, got none")
        known = len(self._frames) if continues(self._frames, frames) else 0
        if len(frames) == known:
            return
        if not known:
            self._begin(frames[0])
        for frame in frames[known:]:
            self._molecule.label(frame, self._offset)
        start = max(n for n in CHOICE_AT if n <= len(frames))
        if start > known:
            self._choose(frames[:start])
            self._thin()
        for frame in frames[len(self._frames) :]:
            self._frames.append(frame)
            self._order.append(len(self._frames) - 1)
            if len(self._frames) in ESTIMATE_AT:
                self._estimate(self._hyper)
            elif self._factorised:
                self._process.append(self._described(frame))
            else:
                self._rebuild(self._order)
            self._thin()
        self._process.contract()

    @one_thread
    def predict(self, x: Any) -> Prediction:
        """Energy (eV) and forces (eV/Å) with their standard deviations; NaN where two atoms coincide.

        Raises
        ------
        InputError
            If there was no `fit` yet, or `x` has other atoms.
        """
        self._require_fit()
        self._molecule.check(x)
        energy, forces, energy_std, force_std = self._process.predict(x)
        return Prediction(
            {"energy": self._offset + energy, "forces": forces}, {"energy": energy_std, "forces": force_std}
        )

    def describe(self) -> dict[str, Any]:
        """Settings and sizes in use, for a report; lengths in Å, noise in eV (of one atom) and eV/Å."""
        if not self._frames:
            return {"n_frames": 0}
        return {
            "n_frames": len(self._frames),
            "n_held": len(self._order),
            "n_features": self._basis.n_features,
            **asdict(self._basis.settings),
            "prior_std": dict(zip(self._basis.block_names, (self._hyper.prior**-0.5).tolist(), strict=False)),
            "process_std": float((self._hyper.prior[-1] * self._unit) ** -0.5),
            **{f"noise_{kind}": value**-0.5 for kind, value in sorted(self._hyper.noise.items())},
        }

    # -- learning

    def _begin(self, first: Frame) -> None:
        """Take what stays the same during a run from the first frame."""
        self._molecule = molecule = Molecule.from_atoms(first.x, max_permutations=self.max_permutations)
        self._offset = float(first.results["energy"])
        self._scale = 1.0 / np.array(LENGTHS)[molecule.separations][molecule.groups]
        self._capacity = self.max_frames or max(MAX_LABELS // (1 + molecule.n_internal), LEAST_FRAMES)
        self._frames, self._order = [], []

    def _choose(self, frames: Sequence[Frame]) -> None:
        """Make the basis from `frames`, and learn them."""
        self._frames, self._order = list(frames), list(range(len(frames)))[-self._capacity :]
        species = self._species()
        counts = np.array([float(np.sum(self._molecule.numbers == z)) for z in species])
        base = self._offset * counts / (counts @ counts)
        settings, found = choose_settings(
            frames,
            [read_labels(frame) for frame in frames],
            species,
            base,
            given={},
            max_features=self.max_features,
        )
        blocks = fitting_blocks(len(species), settings, self.max_features)
        self._basis = Basis(species, settings, blocks, [frame.x for frame in frames])
        self._estimate(found)

    def _estimate(self, start: Hyperparameters) -> None:
        """Find the sizes of all parts from frames spread over those held, and factorise anew."""
        n, most = len(self._order), most_frames(1 + self._molecule.n_internal)
        among = np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
        frames = [self._frames[self._order[i]] for i in among]
        misfit = expected_misfit(max(force_size(read_labels(frame)) for frame in frames))
        described = [self._described(frame) for frame in frames]
        self._hyper, self._unit = estimate(described, self._molecule, self._scale, self._basis, misfit, start)
        self._rebuild(self._order)

    def _described(self, frame: Frame) -> Described:
        """Labels of a frame, and its features along its internal directions."""
        labels = self._molecule.label(frame, self._offset)
        directions = internal_basis(inverse_distances(frame.x.positions)[1], self._molecule.n_internal)
        rows = self._basis.rows(frame.x)
        return Described(labels, np.vstack([rows.values, directions.T @ rows.gradient]))

    def _rebuild(self, order: Sequence[int]) -> None:
        """Factorise the frames of `order` one after the other, with the current sizes."""
        self._process = self._empty_process()
        self._order, self._factorised = list(order), True
        for index in self._order:
            self._process.append(self._described(self._frames[index]))

    def _empty_process(self) -> JointProcess:
        sizes = sizes_of(self._hyper, self._unit, self._scale, self._basis, len(self._molecule.numbers))
        return JointProcess(self._molecule, self._basis, sizes, self._capacity)

    def _thin(self) -> None:
        """Drop a quarter of the frames where there are as many as may be held."""
        if len(self._order) >= self._capacity:
            covariance = energy_covariance(self._process.descriptors, self._molecule.images)
            self._rebuild(thinned(self._order, covariance))

    # -- keeping

    def save(self, folder: Path) -> None:
        """Write the basis, the sizes of the parts, their weights, and which frames the model holds."""
        self._require_fit()
        header = {
            "format": FORMAT,
            "given": self._given(),
            "settings": asdict(self._basis.settings),
            "blocks": asdict(self._basis.blocks),
            "noise": dict(self._hyper.noise),
            "unit": self._unit,
            "n_frames": len(self._frames),
            "order": self._order,
        }
        arrays = {f"basis_{name}": array for name, array in self._basis.to_arrays().items()}
        arrays |= {"prior": self._hyper.prior, "dual": self._process.dual, "weights": self._process.weights}
        np.savez(Path(folder) / FILE, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)

    @one_thread
    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Restore what `save` wrote; the frames are factorised again, in the same order, once another one is learnt.

        Raises
        ------
        InputError
            If the folder holds no such model, or it was fitted to other frames or with other settings.
        """
        path = Path(folder) / FILE
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            header = json.loads(str(arrays["header"]))
            n_frames, order = int(header["n_frames"]), [int(i) for i in header["order"]]
            given, unit, noise = header["given"], float(header["unit"]), dict(header["noise"])
            settings, blocks = Settings(**header["settings"]), Blocks(**header["blocks"])
            version = header["format"]  # another one may lack arrays, and is refused below for what it is
            kept = [arrays[name] for name in ("prior", "dual", "weights")] if version == FORMAT else []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a saved joint_gp model ({error}): retrain it") from error
        if (version, given, n_frames) != (FORMAT, self._given(), len(frames)):
            raise InputError(
                f"{path} is of format {version} with {given}, fitted to {n_frames} frames; got format {FORMAT} with "
                f"{self._given()} and {len(frames)} frames: use the same settings and frames, or retrain it"
            )
        prior, dual, weights = kept
        self._begin(frames[0])
        self._frames = list(frames)
        parts = {name.removeprefix("basis_"): a for name, a in arrays.items() if name.startswith("basis_")}
        self._basis = Basis.from_arrays(self._species(), settings, blocks, parts)
        self._hyper, self._unit = Hyperparameters(prior, noise), unit
        self._process, self._order, self._factorised = self._empty_process(), order, False
        self._process.recall(
            (self._molecule.label(self._frames[i], self._offset) for i in order), dual, weights
        )

    def _given(self) -> dict[str, Any]:
        """What the predictions depend on beside the frames, as JSON values."""
        return {
            "max_frames": self.max_frames,
            "max_permutations": self.max_permutations,
            "max_features": self.max_features,
        }

    def _species(self) -> list[int]:
        return sorted({int(z) for z in self._molecule.numbers})

    def _require_fit(self) -> None:
        if not self._frames:
            raise InputError("joint_gp has not been fitted: call fit with at least one frame first")
