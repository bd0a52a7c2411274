"""The settings of highest evidence on the first frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ase_proxima.surrogates.linear.basis import Basis, Settings
from ase_proxima.surrogates.linear.evidence import Hyperparameters, LabelledRows, maximise_evidence
from ase_proxima.surrogates.linear.labels import Labels, expected_hyperparameters, labelled_rows
from ase_proxima.surrogates.linear.settings import candidates, fitting_blocks
from ase_proxima.types import Frame

__all__ = ["choose_settings"]

FORCE_ROWS = 240
"""Force components, of atoms drawn from all frames, on which candidates are compared."""
STEPS = 15
"""Steps towards the highest evidence: after so many the candidates' order does not change any more."""
STRUCTURES = 2
"""Frames that set scales and components while candidates are compared."""


def choose_settings(
    frames: Sequence[Frame],
    labels: Sequence[Labels],
    species: Sequence[int],
    base: np.ndarray,
    *,
    given: Mapping[str, Any],
    max_features: int,
) -> tuple[Settings, Hyperparameters | None]:
    """Settings of highest evidence among the candidates that agree with those `given`, and its hyperparameters."""
    suited = candidates([frame.x for frame in frames])
    options = list(dict.fromkeys(replace(option, **given) for option in suited))
    if len(options) == 1:
        return options[0], None
    rng = np.random.default_rng(0)
    share = max(1, FORCE_ROWS // (3 * len(frames)))
    drawn = [np.sort(rng.permutation(len(frame.x))[:share]) for frame in frames]
    found = []
    for settings in options:
        blocks = fitting_blocks(len(species), settings, max_features)
        basis = Basis(species, settings, blocks, [frame.x for frame in frames[-STRUCTURES:]])
        parts = [
            labelled_rows(basis, frame, label, base, wanted)
            for frame, label, wanted in zip(frames, labels, drawn, strict=True)
        ]
        kinds = list(dict.fromkeys(kind for part in parts for kind in part))
        rows = {}
        for kind in kinds:
            X = np.concatenate([part[kind][0] for part in parts if kind in part])
            y = np.concatenate([part[kind][1] for part in parts if kind in part])
            rows[kind] = (X, y, np.ones(len(y)))
        start = expected_hyperparameters(len(basis.block_names), kinds)
        hyper, evidence = maximise_evidence(
            LabelledRows(rows, basis.block),
            start,
            basis.block,
            expected=start,
            held=(len(start.prior) - 1,),
            max_iter=STEPS,
        )
        found.append((evidence, settings, hyper))
    _, settings, hyper = max(found, key=lambda option: option[0])
    return settings, hyper
