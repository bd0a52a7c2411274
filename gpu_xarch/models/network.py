"""A small feed-forward network with skips, trained by Adam on the squared error, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

__all__ = ["Cell", "fit_network", "run_network"]

Layers = list[tuple[str, tuple[int, ...]]]


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
    """Return the activation, written over its argument."""
    import numpy as np

    if kind == "relu":
        return np.maximum(z, 0.0, out=z)
    if kind == "tanh":
        return np.tanh(z, out=z)
    if kind == "sigmoid":
        z *= 0.5
        np.tanh(z, out=z)
        z += 1.0
        z *= 0.5
    return z


def _times_slope(kind: str, a: Floats, delta: Floats) -> Floats:
    """Return delta times the derivative of an activation, from its output; written over delta."""
    import numpy as np

    if kind == "relu":
        delta *= a > 0
    elif kind == "tanh":
        slope = np.multiply(a, a)
        np.subtract(1.0, slope, out=slope)
        delta *= slope
    elif kind == "sigmoid":
        slope = np.subtract(1.0, a)
        slope *= a
        delta *= slope
    return delta


def _places(cells: Sequence[Cell]) -> Layers:
    """Return activation and inputs of every layer; the last is the linear output."""
    layers = [(cell.activation, (i, *cell.skips)) for i, cell in enumerate(cells)]
    return [*layers, ("linear", (len(cells),))]


def _forward(weights: list[list[Floats]], layers: Layers, X: Floats) -> list[Floats]:
    outputs = [X]
    for (kind, places), (bias, *matrices) in zip(layers, weights, strict=True):
        z = outputs[places[0]] @ matrices[0]
        for place, matrix in zip(places[1:], matrices[1:], strict=True):
            z += outputs[place] @ matrix
        z += bias
        outputs.append(_activate(kind, z))
    return outputs


def run_network(weights: list[list[Floats]], cells: Sequence[Cell], X: Floats) -> Floats:
    """Return the output of a fitted network, shape (n_rows,), in double precision."""
    import numpy as np

    rows = np.asarray(X, dtype=weights[0][0].dtype)
    output: Floats = _forward(weights, _places(cells), rows)[-1][:, 0].astype(np.float64)
    return output


def fit_network(
    cells: Sequence[Cell], X: Floats, y: Floats, *, epochs: int, batch: int, rate: float = 1e-3, seed: int = 0
) -> list[list[Floats]]:
    """Train a network in single precision.

    All weights lie in one array, so that a step of Adam is a few operations on it whatever the number of layers.

    Parameters
    ----------
    cells : sequence of Cell
    X, y : ndarray, shape (n_rows, n_features) and (n_rows,)
        Scaled inputs and target.
    epochs, batch : int
    rate : float
        Step of Adam (Kingma and Ba 2015, arXiv:1412.6980), with its usual decay rates. Over the last half of the
        epochs it goes down to nothing, linearly: at the same number of epochs the error is then lower.
    seed : int

    Returns
    -------
    list of list of ndarray of float32
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
    rows, answers = np.asarray(X, dtype=np.float32), np.asarray(y, dtype=np.float32)
    layers = _places(cells)
    widths = [rows.shape[1], *(cell.units for cell in cells), 1]
    shapes = [
        [(widths[i + 1],), *((widths[place], widths[i + 1]) for place in places)]
        for i, (_, places) in enumerate(layers)
    ]
    size = sum(math.prod(shape) for layer in shapes for shape in layer)
    values, slopes, mean, square, work = (np.zeros(size, dtype=np.float32) for _ in range(5))
    weights, gradients = _views(values, shapes), _views(slopes, shapes)
    for layer in weights:
        for matrix in layer[1:]:
            limit = np.sqrt(6.0 / sum(matrix.shape))
            matrix[:] = rng.uniform(-limit, limit, matrix.shape)
    steps = epochs * -(-len(answers) // batch)
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(answers))
        for start in range(0, len(answers), batch):
            part = order[start : start + batch]
            _gradients(weights, layers, rows[part], answers[part], gradients)
            share = rate * min(1.0, 2.0 * (steps - step) / steps)
            step += 1
            # m and v of Adam, and the step, in place: m += 0.1 (g - m), v += 0.001 (g² - v), w -= s m / (√v + ε)
            mean *= 0.9
            np.multiply(slopes, 0.1, out=work)
            mean += work
            square *= 0.999
            np.multiply(slopes, slopes, out=work)
            work *= 0.001
            square += work
            np.sqrt(square, out=work)
            work += 1e-8
            np.divide(mean, work, out=work)
            work *= share * np.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
            values -= work
    return [[part.copy() for part in layer] for layer in weights]


def _views(flat: Floats, shapes: list[list[tuple[int, ...]]]) -> list[list[Floats]]:
    """Return parts of one array in the layout of the weights."""
    found, start = [], 0
    for layer in shapes:
        views = []
        for shape in layer:
            stop = start + math.prod(shape)
            views.append(flat[start:stop].reshape(shape))
            start = stop
        found.append(views)
    return found


def _gradients(
    weights: list[list[Floats]], layers: Layers, X: Floats, y: Floats, into: list[list[Floats]]
) -> None:
    """Write the gradient of half the mean squared error into arrays laid out like the weights."""
    import numpy as np

    outputs = _forward(weights, layers, X)
    back = {len(layers): (outputs[-1] - y[:, None]) / len(y)}
    for i in range(len(layers) - 1, -1, -1):
        kind, places = layers[i]
        delta = _times_slope(kind, outputs[i + 1], back.pop(i + 1))
        np.sum(delta, axis=0, out=into[i][0])
        for place, matrix, slope in zip(places, weights[i][1:], into[i][1:], strict=True):
            np.matmul(outputs[place].T, delta, out=slope)
            if place:
                sent = delta @ matrix.T
                back[place] = np.add(back[place], sent, out=sent) if place in back else sent
