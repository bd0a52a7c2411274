"""The published perceptrons: two hidden layers of rectified units, Adam, squared error."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from gpu_xarch.models.problem import Problem
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Mlp", "bend", "bounded"]

#: factor beyond the target's values in training up to which a network is believed; on a suite left out perceptrons
#: were off by powers of ten without it
REACH = 2.0


def bend(values: Floats) -> Floats:
    """Return sign(x) log(1 + |x|): metrics range over nine decades, which no network likes.

    Examples
    --------
    >>> import numpy as np
    >>> bend(np.array([0.0, -1.0, 1e9])).round(2).tolist()
    [0.0, -0.69, 20.72]
    """
    bent: Floats = np.sign(values) * np.log1p(np.abs(values))
    return bent


def bounded(predicted: Floats, seen: tuple[float, float], cap: Floats | float) -> Floats:
    """Return predictions of a network, at most twice beyond the least and greatest value seen, and possible.

    Examples
    --------
    >>> bounded(np.array([-3.0, 1.0, 1e9]), (0.5, 2.5), 4.0).tolist()
    [0.25, 1.0, 4.0]
    """
    least, most = seen
    held: Floats = np.clip(predicted, least / REACH, np.minimum(most * REACH, cap))
    return held


class Mlp(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Multi-layer perceptron of scikit-learn; inputs and target scaled on the training rows.

    The publication does not say how it scaled. Standardised as they are, counts and throughputs make a network
    that is far off wherever one of them exceeds the training rows; so the inputs are bent into logarithms first,
    and predictions are `bounded`.

    Parameters
    ----------
    problem : Problem
    hidden : tuple of int
        Units of the hidden layers.
    epochs : int, optional
        100 for the same GPU and 1,000 across GPUs, as published, unless given.
    batch : int, optional
        250 across GPUs as published; 32 for the same GPU.
    seed : int
    """

    def __init__(
        self,
        problem: Problem,
        *,
        hidden: tuple[int, ...] = (64, 64),
        epochs: int | None = None,
        batch: int | None = None,
        seed: int = 0,
    ) -> None:
        self.problem = problem
        self.hidden = hidden
        self.epochs = epochs
        self.batch = batch
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: Floats, *, groups: Any = None, on_step: OnStep = silent) -> Mlp:
        """Train for the given number of epochs, without stopping early."""
        epochs = self.epochs or (100 if self.problem.same_gpu else 1000)
        batch = self.batch or (32 if self.problem.same_gpu else 250)
        net = MLPRegressor(
            hidden_layer_sizes=self.hidden,
            batch_size=min(batch, len(y)),
            max_iter=epochs,
            n_iter_no_change=epochs,
            random_state=self.seed,
        )
        scaled = make_pipeline(FunctionTransformer(bend), StandardScaler(), net)
        self.estimator_ = TransformedTargetRegressor(scaled, transformer=StandardScaler())
        self.seen_ = float(y.min()), float(y.max())
        with warnings.catch_warnings():
            # the number of epochs is the published one, whether converged or not
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.estimator_.fit(X.to_numpy(float), y)
        on_step(1, 1)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions within what is possible, shape (n_runs,)."""
        return bounded(self.estimator_.predict(X.to_numpy(float)), self.seen_, self.problem.cap_of(X))
