"""Figures of models: predicted against true, errors by application, importance, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["bars", "error_by_size", "predicted_against_true"]

#: height of a learning curve's axes over its largest error
ROOM = 1.15


def predicted_against_true(y: Floats, predicted: Mapping[str, Floats], unit: str) -> Figure:
    """Plot predictions of models over true values, on logarithmic axes where the values span decades.

    Parameters
    ----------
    y : ndarray, shape (n_rows,)
    predicted : dict of str to ndarray, shape (n_rows,)
        By the name of the model.
    unit : str
    """
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    axes = figure.add_subplot()
    positive = y[y > 0]
    wide = len(positive) > 0 and positive.max() / positive.min() > 30
    # old = new below, what the models say above
    for order, ((name, values), marker) in enumerate(
        zip(predicted.items(), "+ox^svd", strict=False), start=2
    ):
        axes.plot(y, values, marker, label=name, alpha=0.6, markersize=5, linestyle="none", zorder=order)
    ends = (
        np.array([positive.min() if wide else min(y.min(), 0.0), y.max()])
        if len(positive)
        else np.array([0.0, 1.0])
    )
    axes.plot(ends, ends, color="0.4", linewidth=1)
    if wide:
        axes.set_xscale("log")
        axes.set_yscale("log", nonpositive="clip")
    axes.set_xlabel(f"true, {unit}")
    axes.set_ylabel(f"predicted, {unit}")
    axes.legend()
    return figure


def bars(names: Sequence[str], values: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Plot horizontal bars, one group a name, one colour a series.

    Parameters
    ----------
    names : sequence of str
    values : dict of str to sequence of float
        By series, one value a name; NaN leaves a gap.
    label : str
        Of the axis.
    """
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(7.0, 0.8 + 0.22 * max(len(names), 1) * max(len(values), 1)), layout="constrained"
    )
    axes = figure.add_subplot()
    places = np.arange(len(names), dtype=float)
    height = 0.8 / max(len(values), 1)
    for i, (series, numbers) in enumerate(values.items()):
        axes.barh(places + i * height, list(numbers), height, label=series)
    middle = 0.4 - height / 2
    axes.set_yticks(places + middle, list(names))
    # no band without bars above and below, however many names there are
    axes.set_ylim(len(names) - 0.5 + middle, -0.5 + middle)
    axes.set_xlabel(label)
    if len(values) > 1:
        axes.legend()
    return figure


def error_by_size(sizes: Sequence[int], errors: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Plot held-out errors over the number of training rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, values in errors.items():
        axes.plot(list(sizes), list(values), "o-", label=name)
    axes.set_xlabel("training rows")
    axes.set_ylabel(label)
    axes.set_ylim(
        0, ROOM * max((max(values) for values in errors.values() if len(values)), default=1.0) or 1.0
    )
    axes.legend(loc="lower right")
    return figure
