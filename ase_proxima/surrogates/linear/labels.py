"""Labels of frames: read and checked once, and laid beside the rows of their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.evidence import Hyperparameters, LabelledRows
from ase_proxima.types import Frame

__all__ = [
    "Labels",
    "Rows",
    "expected_hyperparameters",
    "expected_misfit",
    "force_size",
    "labelled_rows",
    "noise_from_forces",
    "read_labels",
    "together",
]

Rows = Mapping[str, tuple[np.ndarray, np.ndarray, float]]
"""Features and labels of each kind, and how many independent rows each of them counts as."""

EXPECTED_MISFIT, MISFIT_SHARE = 0.05, 0.05
"""Expected standard deviation of what the model cannot describe: at most this, eV/Å, and this share of the root mean
square force, so that weak forces are not smoothed away."""
SYMMETRIC = 1e-6
"""Forces, eV/Å, below which they are zero by symmetry and say nothing of their size elsewhere."""
ENERGY_DISTANCE = 0.1
"""Distance, Å, over which a misfit of the forces makes that of an atom's energy."""
VIRIAL_DISTANCE = 1.0
"""The same for an atom's virial."""
OFFSET_STD = 10.0
"""Prior standard deviation of a species' energy beyond what the first frames say, in eV; energies an atom differ by as
much between a bond and none."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Checked labels of a frame: energy in eV, negative forces (3 n_atoms,) and virials (6,), where it has them."""

    energy: float
    slopes: np.ndarray | None
    virials: np.ndarray | None


def read_labels(frame: Frame) -> Labels:
    """Read and check the labels of a frame.

    Raises
    ------
    InputError
        If a label is not finite or has another shape, or the energy is missing.
    """
    n_atoms, slopes, virials = len(frame.x), None, None
    energy = frame.results.get("energy")
    if energy is None or not np.isfinite(energy):
        raise InputError(
            f"BayesianSoap needs a finite energy in each frame, got {energy} at step {frame.step}"
        )
    if "forces" in frame.results:
        slopes = -_array(frame, "forces", (n_atoms, 3)).ravel()
    if "stress" in frame.results and frame.x.pbc.all():
        virials = _array(frame, "stress", (6,)) * frame.x.get_volume()
    return Labels(float(energy), slopes, virials)


def labelled_rows(
    basis: Basis,
    frame: Frame,
    labels: Labels,
    base: np.ndarray,
    *,
    wanted: np.ndarray | None = None,
    weight: float = 1.0,
) -> Rows:
    """Rows of a frame: of its energy less that of the species, `base`, forces and virials.

    Energies and virials are divided by the root of the number of atoms, with which their noise grows.

    Parameters
    ----------
    wanted
        Atoms whose forces are taken; by default all, and the virials as well.
    weight
        How many independent rows each row of a force counts as.
    """
    rows = basis.rows(frame.x, wanted)
    root = np.sqrt(len(frame.x))
    energy = labels.energy - float(base @ basis.counts(frame.x))
    found: dict[str, tuple[np.ndarray, np.ndarray, float]] = {
        "energy": (rows.values[None] / root, np.array([energy / root]), 1.0)
    }
    if labels.slopes is not None:
        slopes = labels.slopes if wanted is None else labels.slopes.reshape(-1, 3)[wanted].ravel()
        found["forces"] = (rows.gradient, slopes, weight)
    if labels.virials is not None and rows.strain is not None:
        found["stress"] = (rows.strain / root, labels.virials / root, 1.0)
    return found


def together(frames: Sequence[Rows], block: np.ndarray) -> LabelledRows:
    """Rows of several frames as one, for features of these blocks."""
    rows = {}
    for kind in dict.fromkeys(kind for found in frames for kind in found):
        parts = [found[kind] for found in frames if kind in found]
        rows[kind] = (
            np.concatenate([X for X, _, _ in parts]),
            np.concatenate([y for _, y, _ in parts]),
            np.concatenate([np.full(len(y), weight) for _, y, weight in parts]),
        )
    return LabelledRows(rows, block)


def noise_from_forces(kind: str, forces: float) -> float:
    """Noise precision of a kind that that of the forces implies.

    Examples
    --------
    >>> noise_from_forces("energy", 1.0), noise_from_forces("stress", 1.0)
    (100.0, 1.0)
    """
    return forces / {"energy": ENERGY_DISTANCE, "forces": 1.0, "stress": VIRIAL_DISTANCE}[kind] ** 2


def force_size(labels: Labels) -> float:
    """Root mean square of the force components in eV/Å; 0 where there are none."""
    return 0.0 if labels.slopes is None else float(np.sqrt(np.mean(labels.slopes**2)))


def expected_misfit(largest: float) -> float:
    """Expected standard deviation of what the model cannot describe in eV/Å, by the `largest` size of the forces.

    Examples
    --------
    >>> expected_misfit(0.01), expected_misfit(8.0), expected_misfit(0.0)
    (0.0005, 0.05, 0.05)
    """
    return min(MISFIT_SHARE * largest, EXPECTED_MISFIT) if largest > SYMMETRIC else EXPECTED_MISFIT


def expected_hyperparameters(
    n_blocks: int, kinds: Sequence[str], misfit: float, forces: float | None = None
) -> Hyperparameters:
    """Hyperparameters before any label is seen; the last block holds the energies of the species.

    Parameters
    ----------
    misfit
        Expected standard deviation of what the model cannot describe, eV/Å.
    forces
        Noise precision of the forces, where it is known, from which that of the other kinds follows.
    """
    prior = np.append(np.ones(n_blocks), OFFSET_STD**-2)
    noise = {kind: noise_from_forces(kind, misfit**-2 if forces is None else forces) for kind in kinds}
    if "forces" in noise:
        noise["forces"] = misfit**-2
    return Hyperparameters(prior, noise)


def _array(frame: Frame, name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = np.asarray(frame.results[name], dtype=float)
    if value.shape != shape or not np.isfinite(value).all():
        raise InputError(
            f"{name} must be finite and of shape {shape}, got shape {value.shape} at step {frame.step}"
        )
    return value
