"""Sizes of the parts of the joint model: blocks of features, process and noise, by the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ase_proxima.surrogates.gradient_gp.kernels import covariance_blocks
from ase_proxima.surrogates.gradient_gp.molecule import Molecule
from ase_proxima.surrogates.joint.process import Described, Sizes
from ase_proxima.surrogates.linear.basis import Basis
from ase_proxima.surrogates.linear.evidence import Hyperparameters, LabelledRows, maximise_evidence
from ase_proxima.surrogates.linear.labels import expected_hyperparameters, noise_from_forces

__all__ = ["estimate", "most_frames", "sizes_of"]

LABELS = 1200
"""Labels from which sizes are estimated, 1 to 3 s of the processor. With half as many the errors of alanine dipeptide
are 9 % larger after 40 frames and 12 % after 80."""
FRAMES = (4, 20)
"""Fewest and most frames that they are of."""
BELIEF = 0.01
"""Observations' worth of belief in the expected noise. Between them the parts describe nearly everything, and few
labels are left over to say how small the noise is: with 2 the errors for springs and charges are 3 times as large,
those of aspirin the same."""
STEPS = 20
"""Steps towards the highest evidence."""


def most_frames(labels_per_frame: int) -> int:
    """Return the number of frames from which sizes are estimated.

    Examples
    --------
    >>> most_frames(10), most_frames(94), most_frames(300)
    (20, 12, 4)
    """
    return int(np.clip(LABELS // labels_per_frame, *FRAMES))


def estimate(
    frames: Sequence[Described],
    molecule: Molecule,
    scale: np.ndarray,
    basis: Basis,
    misfit: float,
    start: Hyperparameters,
) -> tuple[Hyperparameters, float]:
    """Find the precisions of highest evidence.

    Energies are divided by the root of the number of atoms, as the linear model does.

    Parameters
    ----------
    frames
    molecule
    scale : (d,) array
        Inverse length scales, Å.
    basis
    misfit
        Expected noise of the forces, eV/Å.
    start
        Hyperparameters of this model, or of the features alone.

    Returns
    -------
    Hyperparameters
        One prior precision for each block of features, one of the species' energies, which stays, one of the process.
    unit : float
        Mean variance, in (eV/Å)², of a force label in a process with an amplitude of 1 eV²; by it the process is
        divided to stand beside the blocks.
    """
    shrink = np.ones(1 + molecule.n_internal)
    shrink[0] = len(molecule.numbers) ** -0.5
    values = np.array([frame.labels.values for frame in frames]) * shrink
    rows = np.array([frame.rows for frame in frames]) * shrink[:, None]
    covariance = _covariance(frames, molecule, scale) * shrink[:, None, None] * shrink
    known = np.isfinite(values)
    of_forces = np.broadcast_to(np.arange(known.shape[1]) > 0, known.shape)
    places = {"energy": np.flatnonzero(known & ~of_forces), "forces": np.flatnonzero(known & of_forces)}
    data = {
        kind: (rows.reshape(-1, rows.shape[2])[among], values.ravel()[among], np.ones(len(among)))
        for kind, among in places.items()
        if len(among)
    }
    square = covariance.reshape(known.size, -1)
    unit = float(np.diagonal(square)[places["forces"]].mean()) if "forces" in data else 1.0
    together = np.concatenate(list(places.values()))
    n_blocks = len(basis.block_names)
    expected = expected_hyperparameters(n_blocks, list(data), misfit)
    expected = replace(expected, prior=np.append(expected.prior, 1.0))
    prior = start.prior if len(start.prior) == n_blocks + 2 else expected.prior.copy()
    if len(start.prior) == n_blocks + 1:
        prior[: n_blocks + 1] = start.prior
    found, _ = maximise_evidence(
        LabelledRows(data, basis.block, square[np.ix_(together, together)] / unit),
        Hyperparameters(
            prior, {kind: start.noise.get(kind, value) for kind, value in expected.noise.items()}
        ),
        basis.block,
        expected=expected,
        held=(n_blocks,),
        strength=BELIEF,
        max_iter=STEPS,
    )
    return found, unit


def sizes_of(hyper: Hyperparameters, unit: float, scale: np.ndarray, basis: Basis, n_atoms: int) -> Sizes:
    """Sizes that hyperparameters in that `unit` stand for."""
    variances = 1.0 / hyper.prior
    forces = hyper.noise.get("forces", hyper.noise["energy"] / noise_from_forces("energy", 1.0))
    return Sizes(
        weights=np.sqrt(variances[basis.block]),
        amplitude=float(variances[-1] / unit),
        scale=scale,
        energy_noise=n_atoms / hyper.noise["energy"],
        force_noise=1.0 / forces,
    )


def _covariance(frames: Sequence[Described], molecule: Molecule, scale: np.ndarray) -> np.ndarray:
    """Covariance of the labels in a process of unit amplitude, (n, 1 + m, n, 1 + m)."""
    q = np.array([frame.labels.q for frame in frames]) * scale
    directions = np.array([frame.labels.basis for frame in frames]) * scale
    images = molecule.images
    blocks = [
        covariance_blocks(q, directions, one[images], along[:, images].swapaxes(0, 1))
        for one, along in zip(q, directions, strict=True)
    ]
    return np.stack(blocks, axis=2)
