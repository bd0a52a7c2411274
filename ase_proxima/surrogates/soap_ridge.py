"""Bayesian ridge regression of energies on SOAP features, the published surrogate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import BayesianRidge

from ase_proxima.errors import InputError
from ase_proxima.surrogates.features import FrameRows, check_composition, composition, import_dscribe
from ase_proxima.types import Frame, Prediction

__all__ = ["SoapRidge"]

FILE = "soap_ridge.npz"

LEAST_GAIN = 1e-4
"""Precision that the data must add to an axis, as a share of the prior's, for the axis to stay. Of methane 102 axes of
225 do; energies change by 5e-10 eV and standard deviations by 3e-7 of themselves at most."""


class SoapRidge:
    """Energy of a molecule or cell of fixed composition, learned from energies alone.

    The SOAP power spectra of all atoms (DScribe) are summed over the atoms of each species, centred
    and scaled as one; scikit-learn's `BayesianRidge` fits the energy to them, from scratch at every `fit`.

    Parameters
    ----------
    r_cut
        Cutoff in Å.
    n_max, l_max
        Number of radial functions, highest degree of the spherical harmonics.
    sigma
        Width of the Gaussians that stand for atoms, in Å.

    Notes
    -----
    The ridge's prior does not change under rotation of the features, so the regression runs along the principal
    axes of the training frames, one a frame at most, on which its coefficients are independent.  Axes of which the
    energies say next to nothing are left out, so that a call costs the same as frames come in.  What lies outside of
    the others has the prior's variance, which is added to the standard deviation.

    References
    ----------
    Zamora et al., ICS 2021, doi:10.1145/3447818.3460370; Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115
    (2013); MacKay, Neural Comput. 4, 415 (1992).

    Examples
    --------
    >>> from ase.build import molecule
    >>> frames = []
    >>> for i, shift in enumerate([-0.02, -0.01, 0.0, 0.01]):
    ...     water = molecule("H2O")
    ...     water.set_distance(0, 1, 0.96 + shift)
    ...     frames.append(Frame(water, {"energy": 20.0 * shift**2}, i))
    >>> surrogate = SoapRidge()
    >>> surrogate.fit(frames)
    >>> water.set_distance(0, 1, 0.975)
    >>> abs(surrogate.predict(water).results["energy"] - 0.0045) < 1e-3
    True
    """

    incremental = False
    min_frames = 2
    properties: tuple[str, ...] = ("energy",)

    def __init__(self, *, r_cut: float = 4.0, n_max: int = 6, l_max: int = 4, sigma: float = 0.3) -> None:
        for name, value in (("r_cut", r_cut), ("n_max", n_max), ("sigma", sigma)):
            if not value > 0:
                raise InputError(f"{name} must be positive, got {value}: leave it out for the default")
        if not 0 <= l_max <= 20:
            raise InputError(f"l_max must be between 0 and 20, got {l_max}: leave it out for the default")
        self.settings = {"r_cut": r_cut, "n_max": n_max, "l_max": l_max, "sigma": sigma}
        self._numbers: tuple[int, ...] = ()
        self._periodic = False
        self._soap: Any = None
        self._rows = FrameRows(self._features)
        self._model: dict[str, np.ndarray] = {}

    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn the energies of `frames` from scratch; known features are not computed again.

        Raises
        ------
        InputError
            If there are fewer than two frames, or their compositions differ.
        """
        if len(frames) < self.min_frames:
            raise InputError(f"SoapRidge needs at least {self.min_frames} frames, got {len(frames)}")
        self._set_system(composition(frames[0].x), bool(frames[0].x.pbc.any()))
        self._rows.update(frames)
        features = self._rows.values
        energies = np.array([float(frame.results["energy"]) for frame in frames])
        mean = features.mean(axis=0)
        # One scale for all: features that hardly vary carry little but noise, and must not be blown up.
        scale = float(np.sqrt(np.mean((features - mean) ** 2))) or 1.0
        offset, spread = energies.mean(), energies.std()
        spread = spread if spread > 0 else 1.0
        scaled = (features - mean) / scale
        axes = np.linalg.svd(scaled, full_matrices=False)[2][: max(1, len(frames) - 1)]
        projected = scaled @ axes.T
        ridge = BayesianRidge(fit_intercept=False)
        ridge.fit(projected, (energies - offset) / spread)
        known = ridge.alpha_ * np.sum(projected**2, axis=0)  # precision that the data add on each axis
        stays = known >= LEAST_GAIN * ridge.lambda_
        self._model = {
            "numbers": np.array(self._numbers),
            "periodic": np.array(self._periodic),
            "mean": mean,
            "scale": np.array(scale),
            "axes": np.ascontiguousarray(axes[stays]),
            "coef": ridge.coef_[stays],
            "variances": 1.0 / (known[stays] + ridge.lambda_),
            "noise_variance": np.array(1.0 / ridge.alpha_),
            "prior_variance": np.array(1.0 / ridge.lambda_),
            "offset": np.array(offset),
            "spread": np.array(spread),
        }

    def predict(self, x: Any) -> Prediction:
        """Energy of `x` in eV and its standard deviation, noise included.

        Raises
        ------
        InputError
            If there was no `fit` yet, or `x` is of another composition.
        """
        if not self._model:
            raise InputError("SoapRidge has not been trained: call fit first")
        model = self._model
        row = (self._features(x) - model["mean"]) / model["scale"]
        z = model["axes"] @ row
        outside = max(0.0, float(row @ row - z @ z))
        variance = z * z @ model["variances"] + model["noise_variance"] + model["prior_variance"] * outside
        spread = float(model["spread"])
        return Prediction(
            {"energy": float(model["offset"]) + spread * float(z @ model["coef"])},
            {"energy": spread * float(np.sqrt(variance))},
        )

    def save(self, folder: Path) -> None:
        """Write the coefficients into `folder`."""
        if not self._model:
            raise InputError("SoapRidge has not been trained: nothing to save")
        settings = {f"setting_{name}": np.array(value) for name, value in self.settings.items()}
        np.savez(folder / FILE, allow_pickle=False, **self._model, **settings)

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:  # noqa: ARG002
        """Restore the coefficients from `folder`; features of `frames` are computed at the next `fit`.

        Raises
        ------
        InputError
            If they were written with other settings.
        """
        with np.load(folder / FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        settings = {name: arrays.pop(f"setting_{name}").item() for name in self.settings}
        if settings != self.settings:
            raise InputError(f"the stored SoapRidge has the settings {settings}, got {self.settings}")
        self._set_system(tuple(int(z) for z in arrays["numbers"]), bool(arrays["periodic"]))
        self._model = arrays

    def _set_system(self, numbers: tuple[int, ...], periodic: bool) -> None:
        if numbers == self._numbers and periodic == self._periodic:
            return
        self._numbers, self._periodic = numbers, periodic
        self._species = sorted(set(numbers))
        self._soap = import_dscribe().SOAP(species=self._species, periodic=periodic, **self.settings)
        self._rows = FrameRows(self._features)
        self._model = {}

    def _features(self, atoms: Any) -> np.ndarray:
        check_composition(atoms, self._numbers, "SoapRidge")
        spectra = self._soap.create(atoms)
        return np.concatenate([spectra[atoms.numbers == z].sum(axis=0) for z in self._species])
