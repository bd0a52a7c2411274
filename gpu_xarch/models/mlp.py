"""The published perceptrons: two hidden layers of rectified units, Adam, squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpu_xarch.models.problem import Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Mlp", "bend"]


def bend(values: Floats) -> Floats:
    """Return sign(x) log(1 + |x|): metrics range over nine decades, which no network likes.

    Examples
    --------
    >>> import numpy as np
    >>> bend(np.array([0.0, -1.0, 1e9])).round(2).tolist()
    [0.0, -0.69, 20.72]
    """
    import numpy as np

    bent: Floats = np.sign(values) * np.log1p(np.abs(values))
    return bent


class Mlp:
    """Multi-layer perceptron of scikit-learn; inputs and target scaled on the training rows.

    The publication does not say how it scaled. Standardised as they are, counts and throughputs make a network
    that is far off wherever one of them exceeds the training rows; so the inputs are bent into logarithms first.

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
        self.hidden, self.seed = hidden, seed
        self.epochs = epochs or (100 if problem.same_gpu else 1000)
        self.batch = batch or (32 if problem.same_gpu else 250)
        self.estimator: Any = None
        self.low, self.spread = float("nan"), float("nan")

    def fit(self, X: pd.DataFrame, y: Floats) -> Mlp:
        """Train for the given number of epochs, without stopping early."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        self.low, self.spread = float(y.mean()), float(y.std()) or 1.0
        net = MLPRegressor(
            hidden_layer_sizes=self.hidden,
            activation="relu",
            solver="adam",
            batch_size=min(self.batch, len(y)),
            max_iter=self.epochs,
            n_iter_no_change=self.epochs,
            random_state=self.seed,
        )
        self.estimator = make_pipeline(FunctionTransformer(bend), StandardScaler(), net)
        with warnings.catch_warnings():
            # the number of epochs is the published one, whether converged or not
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.estimator.fit(X.to_numpy(float), (y - self.low) / self.spread)
        return self

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return predictions, shape (n_runs,)."""
        predicted: Floats = self.estimator.predict(X.to_numpy(float)) * self.spread + self.low
        return predicted
