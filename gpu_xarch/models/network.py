"""Small feed-forward networks with skips, in PyTorch (extra `nas`); their weights are NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpu_xarch.models.architectures import Cell

    Floats = NDArray[np.floating[Any]]

__all__ = ["fit_network", "one_thread", "run_network"]

ACTIVATIONS = {"linear": nn.Identity(), "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


class Network(nn.Module):  # type: ignore[misc]
    """Dense layers, each of the output before it and of those that it skips to, and a linear output.

    A projection that is added is the same as a dense layer of both inputs beside each other.

    Parameters
    ----------
    n_features : int
    cells : sequence of Cell
    """

    def __init__(self, n_features: int, cells: Sequence[Cell]) -> None:
        super().__init__()
        self.cells = tuple(cells)
        widths = [n_features, *(cell.units for cell in cells)]
        inputs = [sum(widths[place] for place in (number, *cell.skips)) for number, cell in enumerate(cells)]
        # without initial values, which would be drawn from PyTorch's global generator
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, n_in, n_out)
            for n_in, n_out in zip([*inputs, widths[-1]], [*widths[1:], 1], strict=True)
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the output, shape (n_rows,)."""
        outputs = [rows]
        for cell, layer in zip(self.cells, self.layers, strict=False):
            inputs = torch.cat([outputs[place] for place in (-1, *cell.skips)], dim=1)
            outputs.append(ACTIVATIONS[cell.activation](layer(inputs)))
        return self.layers[-1](outputs[-1])[:, 0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: a matrix product of these networks is too small to gain from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_network(weights: dict[str, Floats], cells: Sequence[Cell], X: Floats) -> NDArray[np.float64]:
    """Return the output of a fitted network, shape (n_rows,), in double precision."""
    network = Network(X.shape[1], cells)
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    with torch.inference_mode():
        output: NDArray[np.float64] = network(torch.tensor(X, dtype=torch.float32)).double().numpy()
    return output


@one_thread()
def fit_network(
    cells: Sequence[Cell], X: Floats, y: Floats, *, epochs: int, batch: int, rate: float = 1e-3, seed: int = 0
) -> dict[str, Floats]:
    """Train a network on the squared error, in single precision.

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
    dict of str to ndarray of float32
        Glorot's initial values trained, by PyTorch's names: weight and bias of each layer.

    Examples
    --------
    >>> from gpu_xarch.models.architectures import Cell
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> cells = [Cell(16, "tanh"), Cell(16, "relu", (0,))]
    >>> weights = fit_network(cells, X, X[:, 0] ** 2, epochs=300, batch=16, rate=0.01)
    >>> bool(np.abs(run_network(weights, cells, X) - X[:, 0] ** 2).mean() < 0.05)
    True
    """
    generator = torch.Generator().manual_seed(seed)
    network = Network(X.shape[1], cells)
    for layer in network.layers:
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    rows, answers = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    steps = epochs * -(-len(answers) // batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
    slowing = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2.0 * (steps - step) / steps)
    )
    for _ in range(epochs):
        for part in torch.randperm(len(answers), generator=generator).split(batch):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(rows[part]), answers[part]).backward()
            optimizer.step()
            slowing.step()
    return {name: value.numpy() for name, value in network.state_dict().items()}
