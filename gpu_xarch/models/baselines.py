"""Predictions without learning: what a model must beat.

All models are scikit-learn regressors that take a data frame of the source's metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from gpu_xarch.errors import InputError
from gpu_xarch.models.features import LAUNCH_S, make_features
from gpu_xarch.models.problem import Problem
from gpu_xarch.progress import OnStep, silent
from gpu_xarch.tables.memory_bound import THRESHOLD

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gpu_xarch.specs import GpuSpec

    Floats = NDArray[np.float64]

__all__ = ["DataSheetScaled", "MeanValue", "OldIsNew", "Roofline"]


class OldIsNew(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The value on the new GPU is that on the old one."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def fit(self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent) -> OldIsNew:
        """Learn nothing; fail early where the old value is not there."""
        self.problem.old(X.iloc[:0])
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return the old values, shape (n_runs,)."""
        return self.problem.old(X)


class DataSheetScaled(OldIsNew):
    """The old value times the ratio of what the data sheets state, at most the peak."""

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return the scaled values, shape (n_runs,)."""
        scaled: Floats = np.minimum(self.problem.old(X) * self.problem.scale_of(X), self.problem.cap_of(X))
        return scaled


class Roofline(OldIsNew):
    """The old value, slowed down where traffic or a launch takes longer than the instructions.

    A kernel's run time on the destination is the longest of its old time scaled by the peak of operations (by
    multiprocessors and clock, where a rate is predicted), its memory traffic over the peak bandwidth, and a launch. IPC
    falls as the time grows beyond the first; the throughput is the traffic over the time (Williams et al. 2009,
    doi:10.1145/1498765.1498785).
    """

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return the bounded values, shape (n_runs,).

        Raises
        ------
        InputError
            If a GPU is not in the data-sheet table, or the time of a run does not follow from its metrics.
        """
        source, dest = self.problem.spec("source"), self.problem.spec("dest")
        if source is None or dest is None:
            raise InputError("the roofline needs data sheets of both GPUs: `xarch gpus` lists those known")
        features = make_features(X, source=source, dest=dest)
        if "log roofline" not in features:
            raise InputError("the roofline needs inst_executed and ipc, or duration, of the runs")
        if self.problem.unit == "s":
            return _longest(features, source, dest)
        slowdown = np.exp(features["log roofline"].to_numpy())
        old = self.problem.old(X)
        if self.problem.classifies:
            speed = dest.sms * dest.boost_hz / (source.sms * source.boost_hz)
            moved = X["dram_throughput"].to_numpy(float) * speed * slowdown
            bound: Floats = (moved > THRESHOLD * dest.bandwidth).astype(float)
            return bound
        if self.problem.unit == "bytes/s":
            speed = dest.sms * dest.boost_hz / (source.sms * source.boost_hz)
            old = old * speed
        bounded: Floats = np.minimum(old * slowdown, self.problem.cap)
        return bounded


def _longest(features: pd.DataFrame, source: GpuSpec, dest: GpuSpec) -> Floats:
    """Return the seconds that operations, traffic or a launch need on the destination, the longest of them."""
    old = np.exp(features["log time"].to_numpy())
    longest = np.maximum(old * source.peak_fp32 / dest.peak_fp32, LAUNCH_S)
    if "log memory over compute" in features:
        # the feature is over the time that multiprocessors and clock alone would give
        same_ipc = old * source.sms * source.boost_hz / (dest.sms * dest.boost_hz)
        longest = np.maximum(longest, same_ipc * np.exp(features["log memory over compute"].to_numpy()))
    found: Floats = longest
    return found


class MeanValue(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The mean of the training rows: the baseline where old and new GPU are the same."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def fit(self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent) -> MeanValue:
        """Take the mean of `y`."""
        self.mean_ = float(y.mean())
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return the mean for every run, shape (n_runs,)."""
        return np.full(len(X), self.mean_)
