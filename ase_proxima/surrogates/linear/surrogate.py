"""Bayesian linear model of energies, forces and stress on blocks of features, learning in place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.features import continues
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.choice import CHOICE_AT, choose_settings
from ase_proxima.surrogates.linear.evidence import (
    Hyperparameters,
    LabelledRows,
    NormalEquations,
    maximise_evidence,
    solve,
)
from ase_proxima.surrogates.linear.kernels import LANES, Lanes
from ase_proxima.surrogates.linear.labels import (
    Labels,
    Rows,
    expected_hyperparameters,
    expected_misfit,
    force_size,
    labelled_rows,
    noise_from_forces,
    read_labels,
    together,
)
from ase_proxima.surrogates.linear.settings import Blocks, Settings, fitting_blocks
from ase_proxima.surrogates.one_thread import one_thread
from ase_proxima.surrogates.selection import novelty
from ase_proxima.types import Frame, Prediction

__all__ = ["BayesianSoap"]

FILE = "bayesian_soap.npz"
KINDS = ("energy", "forces", "stress")

BELIEF = 2.0
"""Observations' worth of belief in the expected noise."""
MANY_STEPS, FEW_STEPS = 8, 3
"""Steps towards the highest evidence where the basis is made, from where its choice has left off, and where a frame is
added: there it moves little."""
COMPARED = 20
"""Number of latest frames that a new one is compared with."""
REPEAT_DISTANCE = 0.1
"""Displacement, Å, from which on the forces of two frames count as independent."""
SEED = 0
"""Of the draws of the weights."""


class BayesianSoap:
    r"""Energy, forces and stress, linear in features of pairs and of the densities around the atoms.

    The features come in blocks (see `Basis`): functions of the distance for each pair of species, power spectra (SOAP)
    of the density of all neighbours and of species, and products of principal components of these spectra.  Forces and
    stress are exact derivatives of the energy.  Energies, forces and (in cells periodic along three axes) stresses of
    all frames enter one set of normal equations for each kind, which a new frame adds to.  The precision of the prior
    of each block and the noise of each kind maximise the evidence.

    Parameters
    ----------
    r_cut, width
        Cutoff and width of the atoms' Gaussians, in Å.
    n_max, l_max
        Number of radial functions, highest degree.
    max_features
        Largest number of features.

    Notes
    -----
    Scales, means and principal components follow from the first frames, their atoms displaced at random by 0.1 Å (by a
    fixed seed), and are found anew at the 1st, 2nd, 4th and 8th frame and whenever a frame has a species that none had
    before; in between and after that the sums grow in place, and earlier frames are not looked at again.  The weights
    of each block are scaled such that a unit prior means force components of 1 eV/Å on such atoms, so that a perfect
    crystal, whose forces say nothing, leaves the uncertainty where it was expected.

    The labels are exact, and the noise is what the model cannot describe; it is part of the standard
    deviation of a prediction.  Energy and virial noise grow with the square root of the number of atoms.
    Forces on structures hardly displaced from one another repeat what the model cannot describe, so that they
    would feign a small noise: those of a frame near an earlier one count less, down to a quarter.
    Hyperparameters are estimated anew at frame counts that depend on nothing but the count, so that growing
    in place and fitting afresh give the same model, bit for bit.

    Standard deviations are those of 15 draws of the weights from the posterior, by a fixed seed, which are carried
    through the same pass as the mean; a call never forms the derivatives of the features.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013); MacKay, Neural Comput. 4, 415 (1992).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> atoms = bulk("Cu", cubic=True) * 2
    >>> atoms.rattle(0.1, seed=1)
    >>> atoms.calc = EMT()
    >>> results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    >>> surrogate = BayesianSoap(n_max=4, l_max=3)
    >>> surrogate.fit([Frame(atoms, results)])
    >>> atoms.rattle(0.05, seed=2)
    >>> error = surrogate.predict(atoms).results["forces"] - atoms.get_forces()
    >>> bool(np.abs(error).mean() < 0.1 * np.abs(atoms.get_forces()).mean())
    True
    """

    incremental = True
    min_frames = 1

    def __init__(
        self,
        *,
        r_cut: float | None = None,
        width: float | None = None,
        n_max: int | None = None,
        l_max: int | None = None,
        max_features: int = 2000,
    ) -> None:
        if not max_features >= 1:
            raise InputError(f"max_features must be positive, got {max_features}: the default is 2000")
        given: dict[str, Any] = {"r_cut": r_cut, "width": width, "n_max": n_max, "l_max": l_max}
        self._given = {name: value for name, value in given.items() if value is not None}
        if self._given:
            replace(Settings(1.0, 1.0, 1, 1), **self._given)
        self._max_features = max_features
        self._reset()

    def _reset(self) -> None:
        self.properties: tuple[str, ...] = KINDS
        self._frames: list[Frame] = []
        self._basis: Basis | None = None
        self._sums: dict[str, NormalEquations] = {}
        self._base, self._largest = np.zeros(0), 0.0
        self._hyper = Hyperparameters(np.ones(1), {})
        self._weights = np.zeros((0, LANES))
        self._lanes: Lanes | None = None

    @one_thread
    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn from `frames`; those that are known already cost nothing.

        Raises
        ------
        InputError
            If there is no frame, or one has no sound energy or other label.
        """
        if not frames:
            raise InputError("BayesianSoap needs at least one frame, got none")
        known = len(self._frames) if continues(self._frames, frames) else 0
        labels = [read_labels(frame) for frame in frames[known:]]
        if not labels:
            return
        if not known:
            self._reset()
        start = _latest_start(frames)
        if start > known:
            labels = [*(read_labels(frame) for frame in frames[:known]), *labels]
            self._start(frames[:start], labels[:start])
            known, labels = start, labels[start:]
        for frame, label in zip(frames[known:], labels, strict=True):
            self._add(frame, label)
            if _estimates_at(len(self._frames)):
                self._estimate(self._hyper, self._sums, FEW_STEPS)
        self._draw()

    @one_thread
    def predict(self, x: Any) -> Prediction:
        """Energy, forces and, in a cell periodic along three axes, stress, with standard deviations.

        All are NaN where `x` has a species that no training frame had.

        Raises
        ------
        InputError
            If there was no `fit` yet.
        """
        if self._basis is None or self._lanes is None:
            raise InputError("BayesianSoap has not been trained: call fit first")
        n_atoms, periodic = len(x), bool(x.pbc.all())
        if not self._basis.knows(x):
            return Prediction(_nothing(n_atoms, periodic), _nothing(n_atoms, periodic))
        energies, forces, virials = self._basis.energies_and_forces(x, self._lanes)
        results: dict[str, Any] = {
            "energy": float(self._base @ self._basis.counts(x)) + float(energies[0]),
            "forces": np.ascontiguousarray(forces[:, :, 0]),
        }
        std: dict[str, Any] = {
            "energy": float(np.sqrt(_spread(energies) + n_atoms * self._variance("energy"))),
            "forces": np.sqrt(_spread(forces) + self._variance("forces")),
        }
        if periodic:
            volume = x.get_volume()
            results["stress"] = virials[:, 0] / volume
            std["stress"] = np.sqrt(_spread(virials) + n_atoms * self._variance("stress")) / volume
        return Prediction(results, std)

    def describe(self) -> dict[str, Any]:
        """Settings and hyperparameters in use, for a report; lengths in Å, noise in eV and eV/Å.

        The noise of energy and virial is that of one atom.
        """
        if self._basis is None:
            return {"n_frames": 0, **self._given}
        priors = self._hyper.prior[: len(self._basis.block_names)] ** -0.5
        return {
            "n_frames": len(self._frames),
            "n_features": self._basis.n_features,
            "species": list(self._basis.species),
            **asdict(self._basis.settings),
            "blocks": asdict(self._basis.blocks),
            "prior_std": dict(zip(self._basis.block_names, priors.tolist(), strict=True)),
            **{f"noise_{kind}": value**-0.5 for kind, value in sorted(self._hyper.noise.items())},
        }

    # -- learning

    def _start(self, frames: Sequence[Frame], labels: Sequence[Labels]) -> None:
        """Make the basis from `frames`, and learn them."""
        species = sorted({int(z) for frame in frames for z in frame.x.numbers})
        counts = np.array([[np.sum(frame.x.numbers == z) for z in species] for frame in frames], dtype=float)
        self._base = np.linalg.lstsq(counts, np.array([label.energy for label in labels]), rcond=1e-6)[0]
        first = list(range(min(len(frames), CHOICE_AT[-1])))
        first[-1] = len(frames) - 1  # which may have the new species
        settings, found = choose_settings(
            [frames[n] for n in first],
            [labels[n] for n in first],
            species,
            self._base,
            given=self._given,
            max_features=self._max_features,
        )
        blocks = fitting_blocks(len(species), settings, self._max_features)
        self._basis = Basis(species, settings, blocks, [frames[n].x for n in first])
        self.properties = KINDS if frames[0].x.pbc.all() else KINDS[:2]
        self._sums, self._frames, self._largest = {}, [], 0.0
        self._hyper = Hyperparameters(np.ones(len(self._basis.block_names) + 1), {})
        listed: list[Rows] = []
        n_rows = 0
        for frame, label in zip(frames, labels, strict=True):
            rows = self._add(frame, label)
            n_rows += sum(len(y) for _, y, _ in rows.values())
            listed = [*listed, rows] if n_rows <= self._basis.n_features else []
        data = together(listed, self._basis.block) if n_rows <= self._basis.n_features else self._sums
        expected = self._expected()
        start = expected
        if len(found.prior) == len(expected.prior):
            noise = {kind: found.noise.get(kind, value) for kind, value in expected.noise.items()}
            start = Hyperparameters(found.prior, noise)
        self._estimate(start, data, MANY_STEPS)

    def _add(self, frame: Frame, labels: Labels) -> Rows:
        """Add the rows of a frame to the sums; return them."""
        assert self._basis is not None  # noqa: S101
        known = [known.x for known in self._frames[-COMPARED:]]
        weight = novelty(frame.x, known, REPEAT_DISTANCE)
        found = labelled_rows(self._basis, frame, labels, self._base, weight=weight)
        for kind, (X, y, count) in found.items():
            sums = self._sums.get(kind) or NormalEquations.empty(X.shape[1])
            self._sums[kind] = sums.plus(X, y, count)
        self._frames.append(frame)
        self._largest = max(self._largest, force_size(labels))
        missing = {k: v for k, v in self._expected().noise.items() if k not in self._hyper.noise}
        self._hyper = replace(self._hyper, noise={**self._hyper.noise, **missing})
        return found

    def _estimate(
        self, start: Hyperparameters, data: Mapping[str, NormalEquations] | LabelledRows, steps: int
    ) -> None:
        """Take the hyperparameters of the highest evidence that is found from `start`."""
        assert self._basis is not None  # noqa: S101
        expected = self._expected()
        self._hyper, _ = maximise_evidence(
            data,
            start,
            self._basis.block,
            expected=expected,
            held=(len(expected.prior) - 1,),
            strength=BELIEF,
            max_iter=steps,
        )

    def _draw(self) -> None:
        """Solve for the weights and draw those of the standard deviations."""
        assert self._basis is not None  # noqa: S101
        posterior = solve(self._sums, self._hyper, self._basis.block)
        self._weights = np.column_stack([posterior.mean, posterior.samples(LANES - 1, SEED)])
        self._lanes = self._basis.lanes(self._weights)

    def _expected(self) -> Hyperparameters:
        """Hyperparameters in which there is some belief, whatever the labels."""
        n_blocks, forces = len(self._hyper.prior) - 1, self._hyper.noise.get("forces")
        return expected_hyperparameters(n_blocks, list(self._sums), expected_misfit(self._largest), forces)

    def _variance(self, kind: str) -> float:
        """Noise variance of `kind`, expected from the forces' where no frame had this label."""
        noise = self._hyper.noise
        return 1.0 / noise.get(
            kind, noise_from_forces(kind, noise.get("forces", expected_misfit(self._largest) ** -2))
        )

    # -- keeping

    def save(self, folder: Path) -> None:
        """Write the basis, the sums, the hyperparameters and the weights into `folder`."""
        if self._basis is None or self._lanes is None:
            raise InputError("BayesianSoap has not been trained: nothing to save")
        arrays = {
            "base": self._base,
            "weights": self._weights,
            "prior": self._hyper.prior,
            **{f"basis_{name}": array for name, array in self._basis.to_arrays().items()},
        }
        lower = np.tril_indices(self._basis.n_features)
        for kind, part in self._sums.items():
            arrays[f"gram_{kind}"] = part.gram[lower]
            arrays[f"moment_{kind}"] = part.moment
            arrays[f"square_{kind}"] = np.array(part.square)
            arrays[f"count_{kind}"] = np.array(part.count)
        header = {
            "species": self._basis.species,
            "settings": asdict(self._basis.settings),
            "blocks": asdict(self._basis.blocks),
            "max_features": self._max_features,
            "properties": self.properties,
            "noise": dict(self._hyper.noise),
            "kinds": list(self._sums),
        }
        np.savez(folder / FILE, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)

    @one_thread
    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Restore what `save` wrote.

        Raises
        ------
        InputError
            If it was written with other settings.
        """
        with np.load(folder / FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(str(arrays["header"]))
        stored_settings = {name: header["settings"][name] for name in self._given}
        if stored_settings != self._given or header["max_features"] != self._max_features:
            raise InputError(
                f"the stored BayesianSoap has the settings {header['settings']} and max_features "
                f"{header['max_features']}, got {self._given} and {self._max_features}: "
                "use the settings of the stored run"
            )
        self._reset()
        self.properties = tuple(header["properties"])
        parts = {name.removeprefix("basis_"): a for name, a in arrays.items() if name.startswith("basis_")}
        self._basis = Basis.from_arrays(
            header["species"], Settings(**header["settings"]), Blocks(**header["blocks"]), parts
        )
        self._base, self._weights = arrays["base"], arrays["weights"]
        self._hyper = Hyperparameters(arrays["prior"], header["noise"])
        for kind in header["kinds"]:
            sums = NormalEquations.empty(self._basis.n_features)
            sums.gram[np.tril_indices(len(sums.gram))] = arrays[f"gram_{kind}"]
            sums.gram[:] += np.tril(sums.gram, -1).T
            sums.moment[:] = arrays[f"moment_{kind}"]
            self._sums[kind] = replace(
                sums, square=float(arrays[f"square_{kind}"]), count=float(arrays[f"count_{kind}"])
            )
        self._lanes = self._basis.lanes(self._weights)
        self._frames = list(frames)
        self._largest = max((force_size(read_labels(frame)) for frame in frames), default=0.0)


def _nothing(n_atoms: int, periodic: bool) -> dict[str, Any]:
    """Results of which none is known."""
    results: dict[str, Any] = {"energy": float("nan"), "forces": np.full((n_atoms, 3), np.nan)}
    if periodic:
        results["stress"] = np.full(6, np.nan)
    return results


def _spread(lanes: np.ndarray) -> Any:
    """Variance from the draws, which are deviations from the mean."""
    return np.square(lanes[..., 1:]).mean(axis=-1)


def _latest_start(frames: Sequence[Frame]) -> int:
    """Largest number of frames at which the basis is made anew.

    Examples
    --------
    >>> from ase import Atoms
    >>> frames = [Frame(Atoms("Ar"), {})] * 12
    >>> [_latest_start(frames[:n]) for n in (1, 3, 12)], _latest_start([*frames, Frame(Atoms("Kr"), {}), *frames])
    ([1, 2, 8], 13)
    """
    start = max(n for n in CHOICE_AT if n <= len(frames))
    known: set[int] = set()
    for count, frame in enumerate(frames, 1):
        species = set(frame.x.numbers.tolist())
        if not species <= known and count > start:
            start = count
        known |= species
    return start


def _estimates_at(count: int) -> bool:
    """Whether hyperparameters are estimated anew at this number of frames, less often the more there are.

    Examples
    --------
    >>> [n for n in range(1, 40) if _estimates_at(n)]
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    """
    step = 1 << max(0, count.bit_length() - 2)
    return count % step == 0
