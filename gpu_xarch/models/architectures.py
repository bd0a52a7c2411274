"""The published space of perceptrons with skips: what may be chosen, and the network that choices mean.

A candidate has up to ten cells, each an identity or a dense layer of 16 to 96 units with a linear, rectified,
tanh or sigmoid activation, and may add the output of any of the three cells before it through a projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Cell", "cells_of", "search_space"]

CELLS, SKIPS = 10, 3
UNITS = tuple(range(16, 97, 16))
ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")


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


def search_space() -> dict[str, Any]:
    """Return the choices by name: a cell's layer, and its skips to the three cells before.

    Examples
    --------
    >>> space = search_space()
    >>> len(space), len(space["cell0"]), "skip4_1" in space
    (34, 25, True)
    """
    layers = ["identity", *(f"{units}-{kind}" for units in UNITS for kind in ACTIVATIONS)]
    space: dict[str, Any] = {}
    for cell in range(CELLS):
        space[f"cell{cell}"] = layers
        for back in range(1, min(SKIPS, cell) + 1):
            space[f"skip{cell}_{back}"] = [0, 1]
    return space


def cells_of(choices: Mapping[str, Any]) -> list[Cell]:
    """Turn choices into layers; identities vanish, skips go to the outputs that are left.

    Examples
    --------
    >>> cells_of({"cell0": "16-relu", "cell1": "identity", "cell2": "32-tanh", "skip2_1": 0, "skip2_2": 1})
    [Cell(units=16, activation='relu', skips=()), Cell(units=32, activation='tanh', skips=(0,))]
    """
    cells: list[Cell] = []
    # where the input of each published cell stands among the outputs that are left
    inputs = []
    for cell in range(CELLS):
        layer = str(choices.get(f"cell{cell}", "identity"))
        inputs.append(len(cells))
        if layer == "identity":
            continue
        units, kind = layer.split("-")
        told = {
            inputs[cell - back]
            for back in range(1, SKIPS + 1)
            if int(choices.get(f"skip{cell}_{back}", 0) or 0)
        }
        cells.append(Cell(int(units), kind, tuple(sorted(told - {len(cells)}))))
    return cells
