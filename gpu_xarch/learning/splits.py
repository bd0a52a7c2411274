"""What is left out together: rows at random, kernels, whole applications, or whole suites of programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.tables.applications import application_key
from gpu_xarch.tables.kernel_names import base_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SPLITS", "application_names", "groups_of", "held_out_split", "split"]

SPLITS = ("random", "kernel", "application", "suite")


def split(data: TrainingData, how: str, folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Yield the row numbers of training and test parts, drawn anew by each seed; suites are left out one by one.

    Raises
    ------
    InputError
        If the kind of split is unknown, or there are too few groups to leave one out.
    """
    import numpy as np
    from sklearn.model_selection import KFold, LeaveOneGroupOut

    if how not in SPLITS:
        raise InputError(f"the split must be one of {', '.join(SPLITS)}, got {how!r}")
    places = np.arange(len(data))
    if how == "random":
        yield from KFold(min(folds, len(data)), shuffle=True, random_state=seed).split(places)
        return
    groups = groups_of(data, how)
    n_groups = len(set(groups))
    if n_groups < 2:
        named = groups[0] or "of unknown name"
        raise InputError(f"there is one {how} alone, {named}: nothing can be left out, use --split random")
    fold_of = groups if how == "suite" else _folds(groups, min(folds, n_groups), seed)
    yield from LeaveOneGroupOut().split(places, groups=fold_of)


def _folds(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.intp]:
    """Return the fold of each row: groups in random order, each to the fold that has fewest rows.

    scikit-learn's GroupKFold balances the rows without a draw, or draws groups and does not balance the rows.
    """
    import numpy as np

    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    sizes, counts = np.bincount(codes), np.zeros(folds, dtype=int)
    fold = np.empty(len(sizes), dtype=np.intp)
    for code in np.random.default_rng(seed).permutation(len(sizes)):
        fold[code] = int(counts.argmin())
        counts[fold[code]] += sizes[code]
    drawn: NDArray[np.intp] = fold[codes]
    return drawn


def application_names(data: TrainingData) -> list[str]:
    """Return the application of each row, spelt alike wherever it comes from."""
    return [application_key(name) for name in data.keys["application"]]


def groups_of(data: TrainingData, how: str) -> list[str]:
    """Return what each row is kept together with: its suite, application or kernel; itself for "random".

    Applications that share a kernel, as those built on one library do, are one group named after the first of them;
    so are the rows of one kernel in several applications.
    """
    if how == "random":
        return [str(i) for i in range(len(data))]
    if how == "suite":
        return list(data.keys["suite"])
    kernels = [base_name(kernel) for kernel in data.keys["kernel"]]
    names = application_names(data)
    if how == "kernel":
        return kernels
    first: dict[str, str] = {}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    for name, kernel in zip(names, kernels, strict=True):
        one, other = sorted((find(name), find(first.setdefault(kernel, name))))
        root[other] = one
    return [find(name) for name in names]


def held_out_split(data: TrainingData) -> str:
    """Return the strictest split by groups that the rows allow: "application", else "kernel", else "random"."""
    return next((how for how in ("application", "kernel") if len(set(groups_of(data, how))) > 1), "random")
