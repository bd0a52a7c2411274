"""Any scikit-learn regressor as the surrogate of a function."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ase_proxima.errors import InputError
from ase_proxima.surrogates.process_regressor import ProcessRegressor
from ase_proxima.types import Frame, Prediction

__all__ = ["SklearnSurrogate", "default_regressor"]

FILE = "sklearn.json"


def default_regressor() -> Any:
    """A Gaussian process on standardised inputs with a length scale each, which knows its own standard deviation."""
    return make_pipeline(StandardScaler(), ProcessRegressor())


class SklearnSurrogate:
    """A scikit-learn regressor or pipeline, fitted from scratch to all inputs and values at every `fit`.

    Parameters
    ----------
    regressor : object with `fit(X, y)` and `predict(X)`
        It is cloned, and never changed.  Give it a `random_state`, so that a run can be repeated.
    min_frames : int
        Number of values before the first fit.

    Attributes
    ----------
    gives_std
        Whether the regressor's `predict` offers standard deviations (`return_std`).

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> model = SklearnSurrogate(LinearRegression(), min_frames=2)
    >>> model.fit([Frame(np.array([x]), {"value": 2.0 * x}) for x in (0.0, 1.0, 2.0)])
    >>> model.predict(np.array([0.5])).results["value"]
    1.0
    """

    incremental = False
    properties: tuple[str, ...] = ("value",)

    def __init__(self, regressor: Any, *, min_frames: int = 5) -> None:
        if inspect.isclass(regressor) or not (hasattr(regressor, "fit") and hasattr(regressor, "predict")):
            raise InputError(
                f"a scikit-learn regressor is needed, got {regressor!r}: pass an instance of one"
            )
        if not min_frames >= 1:
            raise InputError(f"min_frames must be at least 1, got {min_frames}")
        try:
            self._model = clone(regressor)
        except (TypeError, RuntimeError) as error:
            raise InputError(f"{regressor!r} cannot be cloned by scikit-learn: {error}") from error
        self.min_frames = min_frames
        last = regressor[-1] if hasattr(regressor, "steps") else regressor
        self.gives_std = "return_std" in inspect.signature(last.predict).parameters
        self._shape: tuple[int, ...] | None = None

    def fit(self, frames: Sequence[Frame]) -> None:
        """Fit to the values of `frames` from scratch."""
        X = np.array([np.ravel(frame.x) for frame in frames])
        values = np.array([frame.results["value"] for frame in frames], float)
        self._shape = values.shape[1:]
        with warnings.catch_warnings():
            # It would come again at every fit; whether the model serves is for the error bound to tell.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(X, values.reshape(len(frames), -1) if self._shape else values)

    def predict(self, x: Any) -> Prediction:
        """Value at `x`, with its standard deviation where the regressor knows it.

        Raises
        ------
        InputError
            If there was no `fit` yet.
        """
        if self._shape is None:
            raise InputError("the regressor has not been trained: call fit first")
        X = np.ravel(x)[None]
        if not self.gives_std:
            return Prediction({"value": self._shaped(self._model.predict(X))})
        value, std = self._model.predict(X, return_std=True)
        if np.size(std) != np.size(value):  # one for all numbers of an array
            std = np.broadcast_to(np.ravel(std)[:1], np.size(value))
        return Prediction({"value": self._shaped(value)}, {"value": self._shaped(std)})

    def _shaped(self, values: Any) -> Any:
        return np.array(values, float).reshape(self._shape) if self._shape else float(np.ravel(values)[0])

    def save(self, folder: Path) -> None:
        """Write what the regressor is, for `load` to compare and fit it again."""
        (folder / FILE).write_text(json.dumps({"regressor": repr(self._model)}))

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Fit to `frames` again: scikit-learn's models can be kept as pickles only, which run foreign code.

        Raises
        ------
        InputError
            If the folder is that of another regressor.
        """
        saved = json.loads((folder / FILE).read_text())["regressor"]
        if saved != repr(self._model):
            raise InputError(f"{folder} holds the regressor {saved}, not {self._model!r}")
        self.fit(frames)
