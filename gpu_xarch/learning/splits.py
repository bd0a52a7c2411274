"""What is left out together: rows at random, kernels or whole applications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.learning.rows import TrainingData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["SPLITS", "groups_of", "held_out_split", "split"]

SPLITS = ("random", "kernel", "application")


def split(data: TrainingData, how: str, folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Yield the row numbers of training and test parts.

    Raises
    ------
    InputError
        If the kind of split is unknown, or there are too few groups to leave one out.
    """
    import numpy as np
    from sklearn.model_selection import GroupKFold, KFold

    if how not in SPLITS:
        raise InputError(f"the split must be one of {', '.join(SPLITS)}, got {how!r}")
    places = np.arange(len(data))
    if how == "random":
        yield from KFold(min(folds, len(data)), shuffle=True, random_state=seed).split(places)
        return
    groups = groups_of(data, how)
    n_groups = len(set(groups))
    if n_groups < 2:
        raise InputError(
            f"there is one {how} alone, {groups[0]}: nothing can be left out, use --split random"
        )
    yield from GroupKFold(min(folds, n_groups)).split(places, groups=groups)


def groups_of(data: TrainingData, how: str) -> list[str]:
    """Return what each row is kept together with: its application or kernel; itself for "random"."""
    from gpu_xarch.tables.applications import application_key

    names = [application_key(name) for name in data.keys["application"]]
    if how == "application":
        return names
    if how == "random":
        return [str(i) for i in range(len(data))]
    return [f"{name} {kernel}" for name, kernel in zip(names, data.keys["kernel"], strict=True)]


def held_out_split(data: TrainingData) -> str:
    """Return the strictest split that the rows allow: "application", else "kernel", else "random"."""
    return next((how for how in ("application", "kernel") if len(set(groups_of(data, how))) > 1), "random")
