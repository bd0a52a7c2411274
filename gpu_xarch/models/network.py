"""A small feed-forward network with skips, trained by Adam on the squared error, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Cell", "fit_network", "run_network"]


@dataclass(frozen=True)
class Cell:
    """A dense layer and what is added to its output.

    Parameters
    ----------
    units : int
    activation : str
        "linear", "relu", "tanh" or "sigmoid".
    skips : tuple of int
        Places (0 is the input, i the output of cell i) whose projections are added before the activation.
    """

    units: int
    activation: str
    skips: tuple[int, ...] = ()


def _activate(kind: str, z: Floats) -> Floats:
    import numpy as np

    if kind == "relu":
        return np.maximum(z, 0.0)
    if kind == "tanh":
        return np.tanh(z)
    if kind == "sigmoid":
        return 0.5 * (1.0 + np.tanh(0.5 * z))
    return z


def _slope(kind: str, a: Floats) -> Floats | float:
    """Return the derivative of an activation, from its output."""
    if kind == "relu":
        return (a > 0).astype(float)
    if kind == "tanh":
        return 1.0 - a * a
    if kind == "sigmoid":
        return a * (1.0 - a)
    return 1.0


def _places(cells: Sequence[Cell]) -> list[tuple[str, tuple[int, ...]]]:
    """Return activation and inputs of every layer; the last is the linear output."""
    layers = [(cell.activation, (i, *cell.skips)) for i, cell in enumerate(cells)]
    return [*layers, ("linear", (len(cells),))]


def _forward(
    weights: list[list[Floats]], layers: list[tuple[str, tuple[int, ...]]], X: Floats
) -> list[Floats]:
    outputs = [X]
    for (kind, places), (bias, *matrices) in zip(layers, weights, strict=True):
        z = bias + sum(outputs[place] @ matrix for place, matrix in zip(places, matrices, strict=True))
        outputs.append(_activate(kind, z))
    return outputs


def run_network(weights: list[list[Floats]], cells: Sequence[Cell], X: Floats) -> Floats:
    """Return the output of a fitted network, shape (n_rows,)."""
    output: Floats = _forward(weights, _places(cells), X)[-1][:, 0]
    return output


def fit_network(
    cells: Sequence[Cell], X: Floats, y: Floats, *, epochs: int, batch: int, rate: float = 1e-3, seed: int = 0
) -> list[list[Floats]]:
    """Train a network.

    Parameters
    ----------
    cells : sequence of Cell
    X, y : ndarray, shape (n_rows, n_features) and (n_rows,)
        Scaled inputs and target.
    epochs, batch : int
    rate : float
        Step of Adam (Kingma and Ba 2015, arXiv:1412.6980), with its usual decay rates.
    seed : int

    Returns
    -------
    list of list of ndarray
        For each layer its bias and one matrix an input, Glorot's initial values trained.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> cells = [Cell(16, "tanh"), Cell(16, "relu", (0,))]
    >>> weights = fit_network(cells, X, X[:, 0] ** 2, epochs=300, batch=16, rate=0.01)
    >>> bool(np.abs(run_network(weights, cells, X) - X[:, 0] ** 2).mean() < 0.05)
    True
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    layers = _places(cells)
    widths = [X.shape[1], *(cell.units for cell in cells), 1]
    weights: list[list[Floats]] = []
    for i, (_, places) in enumerate(layers):
        wide = widths[i + 1]
        matrices = []
        for place in places:
            limit = np.sqrt(6.0 / (widths[place] + wide))
            matrices.append(rng.uniform(-limit, limit, (widths[place], wide)))
        weights.append([np.zeros(wide), *matrices])
    means: list[list[Any]] = [[np.zeros_like(w) for w in layer] for layer in weights]
    squares: list[list[Any]] = [[np.zeros_like(w) for w in layer] for layer in weights]
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for start in range(0, len(y), batch):
            rows = order[start : start + batch]
            step += 1
            gradients = _gradients(weights, layers, X[rows], y[rows])
            scale = rate * np.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
            for layer, mean, square, slopes in zip(weights, means, squares, gradients, strict=True):
                for w, m, v, slope in zip(layer, mean, square, slopes, strict=True):
                    m += 0.1 * (slope - m)
                    v += 0.001 * (slope * slope - v)
                    w -= scale * m / (np.sqrt(v) + 1e-8)
    return weights


def _gradients(
    weights: list[list[Floats]], layers: list[tuple[str, tuple[int, ...]]], X: Floats, y: Floats
) -> list[list[Floats]]:
    """Return the gradient of half the mean squared error, in the layout of the weights."""
    import numpy as np

    outputs = _forward(weights, layers, X)
    back: list[Floats] = [np.zeros_like(output) for output in outputs]
    back[-1] = (outputs[-1] - y[:, None]) / len(y)
    found: list[list[Floats]] = [[] for _ in layers]
    for i in range(len(layers) - 1, -1, -1):
        kind, places = layers[i]
        delta = back[i + 1] * _slope(kind, outputs[i + 1])
        found[i] = [delta.sum(axis=0)]
        for place, matrix in zip(places, weights[i][1:], strict=True):
            found[i].append(outputs[place].T @ delta)
            if place:
                back[place] = back[place] + delta @ matrix.T
    return found
