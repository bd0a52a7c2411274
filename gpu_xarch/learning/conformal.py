"""Conformal intervals by application: how far a prediction may be off.

`gpu_xarch.learning.domain` tells which rows a model has nothing to go by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_xarch.errors import InputError

__all__ = ["GroupConformal", "group_quantile"]

Floats = NDArray[np.float64]


def _grouped(groups: ArrayLike, length: int) -> tuple[NDArray[np.intp], int]:
    labels = np.asarray(groups)
    if labels.shape != (length,):
        raise InputError(f"groups must have shape ({length},), got {labels.shape}: one name a row")
    names, codes = np.unique(labels.astype(str), return_inverse=True)
    return codes.reshape(-1), len(names)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level must be between 0 and 1, got {level}: 0.9 for 90 % intervals")


def _finite(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name} must have shape (n_rows,) with some rows, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite, row {int(np.argmin(np.isfinite(array)))} is not")
    return array


def group_quantile(scores: ArrayLike, groups: ArrayLike, *, level: float = 0.9) -> float:
    """Return the value that the score of a row of a new group stays below, with probability `level`.

    Each of the K groups weighs 1 / (K + 1), shared evenly by its rows, and the new group's 1 / (K + 1) stands at
    infinity. The value is interpolated between the two scores round the level, as the larger of them alone covers too
    much with few groups. If groups are exchangeable the coverage is at least level - 1 / (K + 1) whatever the scores,
    and at least the level where a score reaches it exactly, as (K + 1) level does with one row a group where it is an
    integer. With fewer than level / (1 - level) groups (nine for 90 %) the answer is infinite, because nothing smaller
    can be promised.

    Parameters
    ----------
    scores : array_like, shape (n_rows,)
        Larger is worse, such as absolute residuals.
    groups : array_like, shape (n_rows,)
        Group of each row, such as the application. One group a row gives split conformal prediction.
    level : float
        Wanted coverage.

    Raises
    ------
    InputError
        If the level is not between 0 and 1, a score is not finite, or the shapes differ.

    References
    ----------
    Lee, Barber, Willett, arXiv:2306.06342 (2023), hierarchical conformal prediction; Beran and Hall, J. R. Stat. Soc. B
    55, 643 (1993), interpolated prediction intervals.

    Examples
    --------
    >>> group_quantile([1.0, 2.0, 3.0, 4.0], ["a", "b", "c", "d"], level=0.6)
    3.0
    >>> group_quantile([1.0, 2.0, 3.0, 4.0], ["a", "b", "c", "d"], level=0.7)
    3.5
    >>> group_quantile([1.0, 2.0, 3.0, 4.0], ["a", "b", "c", "d"], level=0.9)
    inf
    """
    _check_level(level)
    values = _finite("scores", scores)
    codes, n_groups = _grouped(groups, len(values))
    weights = (1.0 / np.bincount(codes, minlength=n_groups))[codes] / (n_groups + 1)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(np.interp(level, reached, values[order])) if level <= reached[-1] + 1e-12 else float("inf")


@dataclass(frozen=True)
class GroupConformal:
    """Intervals that hold for rows of a group that was never seen.

    Make one with `calibrate`, from predictions of models that had not seen the group of the row they predict. If one
    model that saw none of the calibration groups made all of them (split conformal), the coverage of
    rows of a new exchangeable group is that of `group_quantile`. If leave-one-group-out models made them and the
    intervals are put round the model fitted on everything, that is approximate: close where leaving one group
    out changes little.

    Parameters
    ----------
    level : float
        Coverage asked for.
    quantile : float
        Half the width, in units of `scale`; infinite where there are too few groups.
    n_groups : int
        Groups it was calibrated on.

    Examples
    --------
    >>> y, predicted = np.arange(30.0), np.arange(30.0) + np.tile([0.5, -1.0, 0.2], 10)
    >>> intervals = GroupConformal.calibrate(y, predicted, np.repeat(np.arange(15), 2), level=0.8)
    >>> intervals.interval([5.0])
    (array([4.]), array([6.]))
    """

    level: float
    quantile: float
    n_groups: int

    @classmethod
    def calibrate(
        cls,
        y: ArrayLike,
        predicted: ArrayLike,
        groups: ArrayLike,
        *,
        scale: ArrayLike | None = None,
        level: float = 0.9,
    ) -> GroupConformal:
        """Learn the width from rows that the model had not seen.

        Parameters
        ----------
        y, predicted : array_like, shape (n_rows,)
            True values and predictions; pass logarithms for intervals that are factors.
        groups : array_like, shape (n_rows,)
            Application of each row.
        scale : array_like, shape (n_rows,), optional
            How uncertain each prediction is said to be, above 0 (a standard deviation): intervals become
            proportional to it. Without it they are all of one width.
        level : float
            Wanted coverage.

        Raises
        ------
        InputError
            If shapes differ, a value is not finite, or a scale is not above 0.
        """
        truth, guess = _finite("y", y), _finite("predicted", predicted)
        if truth.shape != guess.shape:
            raise InputError(f"y has {len(truth)} rows, predicted has {len(guess)}: pass one for each")
        scores = np.abs(truth - guess) / _scales(scale, len(truth))
        _, n_groups = _grouped(groups, len(truth))
        return cls(level, group_quantile(scores, groups, level=level), n_groups)

    def interval(self, predicted: ArrayLike, scale: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Return lower and upper ends, each of shape (n_points,), in the unit of `predicted`."""
        guess = np.asarray(predicted, dtype=np.float64)
        width = self.quantile * _scales(scale, len(guess))
        return guess - width, guess + width


def _scales(scale: ArrayLike | None, length: int) -> Floats:
    if scale is None:
        return np.ones(length)
    values = _finite("scale", scale)
    if values.shape != (length,):
        raise InputError(f"scale must have shape ({length},), got {values.shape}: one number a row")
    if not (values > 0).all():
        raise InputError(f"scale must be above 0, got {values.min()}: add a floor to the standard deviation")
    return values
