"""Bayesian linear model on summed SOAP power spectra, learning energies, forces and stress in place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.features import continues
from ase_proxima.surrogates.linear.basis import FeatureRows, PowerSpectrum, SoapSettings, default_settings
from ase_proxima.surrogates.linear.evidence import (
    Hyperparameters,
    NormalEquations,
    Posterior,
    maximise_evidence,
    solve,
)
from ase_proxima.surrogates.selection import novelty
from ase_proxima.types import Frame, Prediction

__all__ = ["BayesianSoap"]

FILE = "bayesian_soap.npz"
KINDS = ("energy", "forces", "stress")

RATTLE = 0.1
"""Random displacement, in Å, at which the features are scaled."""
PRIOR_FORCE = 1.0
"""Expected size of a force component on atoms so displaced, in eV/Å."""
EXPECTED_MISFIT = 0.05
"""Expected standard deviation of what the model cannot describe, in eV/Å."""
COMPARED = 20
"""Number of latest frames that a new one is compared with."""
OFFSET_SCALE = 10.0
"""Prior standard deviation of a species' energy, in units of that of the other weights."""


class BayesianSoap:
    r"""Energy, forces and stress, linear in SOAP power spectra summed over the atoms of each species.

    The energy is :math:`E = \sum_s n_s \epsilon_s + w \cdot \sum_i (p_i - \bar p_{s_i})`; forces and stress
    are its exact derivatives.  Energies, forces and (in cells periodic along three axes) stresses of all
    frames enter one set of normal equations for each kind, which a new frame adds to.  The precision of the
    prior of `w` and the noise of each kind maximise the evidence.

    Parameters
    ----------
    r_cut, width
        Cutoff and width of the atoms' Gaussians, in Å.  By default both follow from the covalent radii.
    n_max, l_max
        Number of radial functions, highest degree.  By default the richest basis below `max_features`.
    max_features
        Largest number of features of the default basis.
    scaling
        Exponent, 0 to 1: features are divided by this power of their size, so that 1 puts all on one level
        and 0 keeps them as they are.  Levelled features learn from fewer frames where there are several
        species.

    Notes
    -----
    Scales, mean spectra and energy offset are fixed by the first frame: its atoms, displaced at random by
    0.1 Å (by a fixed seed), give the sizes of the features, and the weights are scaled such that a unit
    prior means force components of 1 eV/Å there.  So the sums stay valid as frames are added, and a perfect
    crystal, whose forces say nothing, leaves the uncertainty where it was expected.

    The labels are exact, and the noise is what the model cannot describe; it is part of the standard
    deviation of a prediction.  Energy and virial noise grow with the square root of the number of atoms.
    Forces on structures hardly displaced from one another repeat what the model cannot describe, so that they
    would feign a small noise: those of a frame near an earlier one count less, down to a quarter.
    Hyperparameters are estimated anew at frame counts that depend on nothing but the count, so that growing
    in place and fitting afresh give the same model, bit for bit.

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
        max_features: int = 1000,
        scaling: float = 1.0,
    ) -> None:
        if not 0 <= scaling <= 1:
            raise InputError(f"scaling must be between 0 and 1, got {scaling}: the default is 1")
        if not max_features >= 1:
            raise InputError(f"max_features must be positive, got {max_features}: the default is 1000")
        given: dict[str, Any] = {"r_cut": r_cut, "width": width, "n_max": n_max, "l_max": l_max}
        self._given = {name: value for name, value in given.items() if value is not None}
        if self._given:
            replace(SoapSettings(1.0, 1.0, 1, 1), **self._given)
        self._max_features = max_features
        self._scaling = scaling
        self._reset()

    def _reset(self) -> None:
        self.properties: tuple[str, ...] = KINDS
        self._frames: list[Frame] = []
        self._spectrum: PowerSpectrum | None = None
        self._sums: dict[str, NormalEquations] = {}
        self._hyper = Hyperparameters(1.0, {})
        self._posterior: Posterior | None = None

    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn from `frames`; those that are known already cost nothing.

        Raises
        ------
        InputError
            If there is no frame, one has no energy, or one has a species that the first had not.
        """
        if not frames:
            raise InputError("BayesianSoap needs at least one frame, got none")
        if not continues(self._frames, frames):
            self._reset()
        if self._spectrum is None:
            self._start(frames[0])
        for frame in frames[len(self._frames) :]:
            self._add(frame)
        self._posterior = solve(self._sums, self._hyper)

    def predict(self, x: Any) -> Prediction:
        """Energy, forces and, in a cell periodic along three axes, stress, with standard deviations.

        Raises
        ------
        InputError
            If there was no `fit` yet, or `x` has a species that no training frame had.
        """
        if self._spectrum is None or self._posterior is None:
            raise InputError("BayesianSoap has not been trained: call fit first")
        posterior, noise = self._posterior, self._hyper.noise
        n_atoms = len(x)
        rows = self._scaled(self._spectrum.compute(x), x)
        value = rows.values
        energy = float(self._base @ self._counts(x)) + float(value @ posterior.mean)
        variance = posterior.variance(value[None])[0] + n_atoms * self._variance("energy", noise)
        results: dict[str, Any] = {
            "energy": energy,
            "forces": -(rows.gradient @ posterior.mean).reshape(n_atoms, 3),
        }
        std: dict[str, Any] = {
            "energy": float(np.sqrt(variance)),
            "forces": np.sqrt(posterior.variance(rows.gradient) + self._variance("forces", noise)).reshape(
                n_atoms, 3
            ),
        }
        if rows.strain is not None:
            volume = x.get_volume()
            results["stress"] = rows.strain @ posterior.mean / volume
            variances = posterior.variance(rows.strain) + n_atoms * self._variance("stress", noise)
            std["stress"] = np.sqrt(variances) / volume
        return Prediction(results, std)

    def describe(self) -> dict[str, Any]:
        """Settings and hyperparameters in use, for a report; lengths in Å, noise in eV and eV/Å.

        The noise of energy and virial is that of one atom.
        """
        if self._spectrum is None:
            return {"n_frames": 0, **self._given}
        return {
            "n_frames": len(self._frames),
            "n_features": self._spectrum.n_features,
            "species": list(self._spectrum.species),
            **asdict(self._spectrum.settings),
            "scaling": self._scaling,
            "prior_std": self._hyper.prior**-0.5,
            **{f"noise_{kind}": value**-0.5 for kind, value in sorted(self._hyper.noise.items())},
        }

    def _start(self, frame: Frame) -> None:
        """Fix the species, the scales and the offsets by the first frame."""
        atoms = frame.x
        species = sorted({int(z) for z in atoms.numbers})
        settings = replace(default_settings(species, max_features=self._max_features), **self._given)
        self._spectrum = PowerSpectrum(species, settings)
        self.properties = KINDS if atoms.pbc.all() else KINDS[:2]
        counts = self._counts(atoms)
        self._base = _number(frame, "energy") * counts / float(counts @ counts)
        displaced = atoms.copy()
        displaced.positions += np.random.default_rng(0).normal(0.0, RATTLE, (len(atoms), 3))
        rows = self._spectrum.compute(displaced)
        size = np.sqrt(np.mean(rows.gradient**2, axis=0))
        largest = size.max()
        if not largest > 0:
            size[:], largest = 1.0, 1.0
        scale = np.maximum(size / largest, 1e-6) ** -self._scaling
        self._scale = PRIOR_FORCE * scale / (np.linalg.norm(scale * size) or 1.0)
        width = len(self._scale) // len(species)
        self._mean = rows.values / np.repeat(counts, width)
        self._sums = {}
        self._hyper = Hyperparameters(1.0, {})

    def _add(self, frame: Frame) -> None:
        assert self._spectrum is not None  # noqa: S101
        atoms, n_atoms = frame.x, len(frame.x)
        rows = self._scaled(self._spectrum.compute(atoms), atoms)
        energy = _number(frame, "energy") - float(self._base @ self._counts(atoms))
        root = np.sqrt(n_atoms)
        labels = {"energy": (rows.values[None] / root, np.array([energy / root]))}
        if "forces" in frame.results:
            labels["forces"] = (rows.gradient, -_array(frame, "forces", (n_atoms, 3)).ravel())
        if "stress" in frame.results and rows.strain is not None:
            virial = _array(frame, "stress", (6,)) * atoms.get_volume()
            labels["stress"] = (rows.strain / root, virial / root)
        weight = novelty(atoms, [known.x for known in self._frames[-COMPARED:]], RATTLE)
        for kind, (X, y) in labels.items():
            sums = self._sums.get(kind) or NormalEquations.empty(X.shape[1])
            self._sums[kind] = sums.plus(X, y, weight if kind == "forces" else 1.0)
        self._frames.append(frame)
        if _estimates_at(len(self._frames)):
            expected = self._expected()
            noise = {kind: self._hyper.noise.get(kind, value) for kind, value in expected.noise.items()}
            self._hyper = maximise_evidence(
                self._sums, replace(self._hyper, noise=noise), expected=expected, strength=2.0
            )
        else:
            missing = {k: v for k, v in self._expected().noise.items() if k not in self._hyper.noise}
            self._hyper = replace(self._hyper, noise={**self._hyper.noise, **missing})

    def _expected(self) -> Hyperparameters:
        """Noise that a force misfit implies for energies (over 0.1 Å) and virials (over 1 Å) of an atom."""
        forces = self._hyper.noise.get("forces", EXPECTED_MISFIT**-2)
        noise = {"energy": forces / 0.1**2, "forces": EXPECTED_MISFIT**-2, "stress": forces}
        return Hyperparameters(1.0, {kind: noise[kind] for kind in self._sums})

    def _variance(self, kind: str, noise: Mapping[str, float]) -> float:
        """Noise variance of `kind`, expected from the forces' where no frame had this label."""
        if kind in noise:
            return 1.0 / noise[kind]
        forces = 1.0 / noise.get("forces", EXPECTED_MISFIT**-2)
        return {"energy": 0.01 * forces, "forces": forces, "stress": forces}[kind]

    def _counts(self, atoms: Any) -> np.ndarray:
        assert self._spectrum is not None  # noqa: S101
        return np.array([float(np.sum(atoms.numbers == z)) for z in self._spectrum.species])

    def _scaled(self, rows: FeatureRows, atoms: Any) -> FeatureRows:
        """Centre and scale the features, and append the number of atoms of each species."""
        counts = self._counts(atoms)
        n_species = len(counts)
        size = len(self._scale)
        values = np.empty(size + n_species)
        centre = self._mean * np.repeat(counts, size // n_species)
        values[:size] = (rows.values - centre) * self._scale
        values[size:] = OFFSET_SCALE * counts
        gradient = np.zeros((len(rows.gradient), size + n_species))
        np.multiply(rows.gradient, self._scale, out=gradient[:, :size])
        strain = None
        if rows.strain is not None:
            strain = np.zeros((6, size + n_species))
            np.multiply(rows.strain, self._scale, out=strain[:, :size])
        return FeatureRows(values, gradient, strain)

    def save(self, folder: Path) -> None:
        """Write the sums, the hyperparameters and the posterior into `folder`."""
        if self._spectrum is None or self._posterior is None:
            raise InputError("BayesianSoap has not been trained: nothing to save")
        arrays = {
            "base": self._base,
            "scale": self._scale,
            "mean": self._mean,
            "weights": self._posterior.mean,
            "root": self._posterior.root,
            "log_det_precision": np.array(self._posterior.log_det_precision),
        }
        for kind, part in self._sums.items():
            arrays[f"gram_{kind}"] = part.gram
            arrays[f"moment_{kind}"] = part.moment
            arrays[f"square_{kind}"] = np.array(part.square)
            arrays[f"count_{kind}"] = np.array(part.count)
        header = {
            "species": self._spectrum.species,
            "settings": asdict(self._spectrum.settings),
            "scaling": self._scaling,
            "properties": self.properties,
            "prior": self._hyper.prior,
            "noise": dict(self._hyper.noise),
            "kinds": list(self._sums),
        }
        np.savez(folder / FILE, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)

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
        if stored_settings != self._given or header["scaling"] != self._scaling:
            raise InputError(
                f"the stored BayesianSoap has the settings {header['settings']}, got {self._given}: "
                "use the settings of the stored run"
            )
        self._reset()
        self._spectrum = PowerSpectrum(header["species"], SoapSettings(**header["settings"]))
        self.properties = tuple(header["properties"])
        self._base, self._scale, self._mean = arrays["base"], arrays["scale"], arrays["mean"]
        self._hyper = Hyperparameters(header["prior"], header["noise"])
        self._sums = {
            kind: NormalEquations(
                arrays[f"gram_{kind}"],
                arrays[f"moment_{kind}"],
                float(arrays[f"square_{kind}"]),
                float(arrays[f"count_{kind}"]),
            )
            for kind in header["kinds"]
        }
        self._posterior = Posterior(arrays["weights"], arrays["root"], float(arrays["log_det_precision"]))
        self._frames = list(frames)


def _estimates_at(count: int) -> bool:
    """Whether hyperparameters are estimated anew at this number of frames: at each up to 8, then rarely.

    Examples
    --------
    >>> [n for n in range(1, 40) if _estimates_at(n)]
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    """
    step = 1 << max(0, count.bit_length() - 3)
    return count % step == 0


def _number(frame: Frame, name: str) -> float:
    value = frame.results.get(name)
    if value is None or not np.isfinite(value):
        raise InputError(
            f"BayesianSoap needs a finite {name} in each frame, got {value} at step {frame.step}"
        )
    return float(value)


def _array(frame: Frame, name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = np.asarray(frame.results[name], dtype=float)
    if value.shape != shape or not np.isfinite(value).all():
        raise InputError(
            f"{name} must be finite and of shape {shape}, got shape {value.shape} at step {frame.step}"
        )
    return value
