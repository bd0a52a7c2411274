"""How good training sets of several sizes are, what they are made of, and both as figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_xarch.advice.curation import acquisition_forest
from gpu_xarch.errors import InputError
from gpu_xarch.learning.scores import score
from gpu_xarch.progress import OnStep, silent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "PUBLISHED_SIZES",
    "composition",
    "composition_figure",
    "curve_figure",
    "learning_curve",
    "sizes_of",
]

Indices = NDArray[np.intp]
#: shares of the pool at which the published study compares training sets
PUBLISHED_SIZES = tuple(round(0.025 * step, 3) for step in range(1, 13))


_DASHES = {"variance": "-", "diversity": "-.", "density": ":", "random": "--"}
#: of the applications in a figure, told apart by eye; the last one is of all others
_COLOURS = (
    *("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive"),
    *("tab:cyan", "gold", "navy", "black", "0.8"),
)


#: columns of a curve, as `score` names them
MEASURES = ("mape", "median_ape", "mae")


def sizes_of(n_pool: int, shares: Sequence[float] = PUBLISHED_SIZES) -> tuple[int, ...]:
    """Return numbers of runs for shares of the pool.

    Raises
    ------
    InputError
        If the shares are not rising, not in (0, 1], or come to fewer than two runs.

    Examples
    --------
    >>> sizes_of(22603)[:3], sizes_of(22603)[-1]
    ((565, 1130, 1695), 6781)
    """
    if not shares or any(not 0 < share <= 1 for share in shares):
        raise InputError(f"sizes must be shares above 0 and at most 1 of the pool, got {list(shares)}")
    sizes = tuple(round(share * n_pool) for share in shares)
    if sizes[0] < 2 or any(one >= two for one, two in pairwise(sizes)):
        raise InputError(
            f"sizes of a pool of {n_pool} runs come to {sizes}: they must rise and start at two runs or more"
        )
    return sizes


def learning_curve(
    orders: Mapping[str, Indices],
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    sizes: Sequence[int],
    make_model: Callable[[], Any] = acquisition_forest,
    *,
    on_step: OnStep = silent,
) -> pd.DataFrame:
    """Fit a model on the beginning of each order, and score it on the test rows.

    Parameters
    ----------
    orders : mapping of str to ndarray of int
        What `curate` returned, by strategy.
    X, y : array_like
        The pool.
    X_test, y_test : array_like
        Rows that are in no training set.
    sizes : sequence of int
        Sizes of the training sets.
    make_model : callable
        Returns an estimator of scikit-learn, not fitted.
    on_step : callable
        Told how many of the fits are done: one a strategy and size.

    Returns
    -------
    pandas.DataFrame
        Columns strategy, size, mape, median_ape (shares, over rows whose true value is above 0), mae (unit of `y`).
    """
    import pandas as pd
    from sklearn.model_selection import cross_validate

    rows, answers = np.concatenate([X, X_test]), np.concatenate([y, y_test]).astype(np.float64)
    test = np.arange(len(rows) - len(np.asarray(X_test)), len(rows))
    n_done = 0

    def measured(model: Any, X: Any, y: Any) -> dict[str, float]:
        nonlocal n_done
        n_done += 1
        on_step(n_done, len(orders) * len(sizes))
        found = score(y, model.predict(X))
        return {name: found[name] for name in MEASURES}

    curves = []
    for strategy, order in orders.items():
        if max(sizes) > len(order):
            raise InputError(
                f"the order of {strategy} has {len(order)} runs, a size of {max(sizes)} is asked for"
            )
        parts = [(order[:size], test) for size in sizes]
        found = cross_validate(make_model(), rows, answers, cv=parts, scoring=measured, error_score="raise")
        scores = {name: found[f"test_{name}"] for name in MEASURES}
        curves.append(pd.DataFrame({"strategy": strategy, "size": sizes, **scores}))
    return pd.concat(curves, ignore_index=True)


def composition(
    orders: Mapping[str, Indices], applications: Sequence[str], sizes: Sequence[int]
) -> pd.DataFrame:
    """Return how many runs of each application are in each training set.

    Returns
    -------
    pandas.DataFrame
        Columns strategy, size, application, runs, share; the strategy "pool" has the whole pool.
    """
    import pandas as pd

    names = np.asarray(applications, dtype=str)
    known = sorted(set(names.tolist()))
    found = []
    for strategy, order, marks in [
        ("pool", np.arange(len(names)), [len(names)]),
        *((strategy, order, list(sizes)) for strategy, order in orders.items()),
    ]:
        for size in marks:
            part = names[order[:size]]
            for name in known:
                runs = int((part == name).sum())
                found.append((strategy, size, name, runs, runs / size))
    return pd.DataFrame(found, columns=["strategy", "size", "application", "runs", "share"])


def curve_figure(
    curve: pd.DataFrame,
    *,
    title: str,
    score: str = "mape",
    lines: Mapping[str, float] | None = None,
) -> Figure:
    """Draw a learning curve: one line a strategy, the score over the size.

    Lines of one model have one colour; without models each strategy has its own. Strategies differ in their dashes.

    Parameters
    ----------
    curve : pandas.DataFrame
        What `learning_curve` returned; a column "model" makes one line a model and strategy.
    title : str
        Stands above; says where the data are from.
    score : str
        Column to draw: "mape" and "median_ape" become percentages.
    lines : mapping of str to float, optional
        Scores to draw across, such as that of "old = new".
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    factor = 100.0 if score.endswith("ape") else 1.0
    figure = Figure(figsize=(8.2, 4.5), layout="constrained")
    axes = figure.add_subplot()
    by = [name for name in ("model", "strategy") if name in curve.columns]
    firsts = [str(name) for name in curve[by[0]].unique()]
    for names, part in curve.groupby(by, sort=False):
        axes.plot(
            part["size"],
            factor * part[score],
            _DASHES.get(str(names[-1]), "-"),
            color=f"C{firsts.index(str(names[0]))}",
            marker="o",
            markersize=3,
            label=", ".join(str(name) for name in names),
        )
    for name, value in (lines or {}).items():
        axes.axhline(factor * value, color="0.4", linewidth=0.8, label=name)
    axes.set_yscale("log")
    # plain numbers at 1, 2, 5 and 10 even where the axis spans less than a decade
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(left=0)
    axes.set_xlabel("runs profiled on the target GPU")
    axes.set_ylabel({"mape": "MAPE, %", "median_ape": "median APE, %"}.get(score, score))
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def composition_figure(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw what the training sets are made of: bars by size, one panel a strategy, the pool on the left.

    The twelve applications with the most runs in the pool have a colour each, where there are more than thirteen.

    Parameters
    ----------
    table : pandas.DataFrame
        What `composition` returned.
    title : str
        Stands above; says where the data are from.
    """
    from matplotlib.figure import Figure

    strategies = [str(name) for name in table["strategy"].unique()]
    pool = table[table["strategy"] == "pool"].sort_values("share", ascending=False, kind="stable")
    names = [str(name) for name in pool["application"]]
    if len(names) > len(_COLOURS):
        kept = names[: len(_COLOURS) - 1]
        rest = f"{len(names) - len(kept)} others"
        shown = table["application"].where(table["application"].isin(kept), rest)
        table, names = table.assign(application=shown), [*kept, rest]
    counts = table.groupby(["strategy", "size", "application"], sort=False)["share"].sum()
    width = [1.0 if name == "pool" else 5.0 for name in strategies]
    figure = Figure(figsize=(2.0 + sum(width), 4.8), layout="constrained")
    panels = figure.subplots(1, len(strategies), sharey=True, width_ratios=width, squeeze=False)[0]
    for axes, strategy in zip(panels, strategies, strict=True):
        shares = counts[strategy].unstack("application")[names]
        bottom = np.zeros(len(shares))
        for name, colour in zip(names, _COLOURS, strict=False):
            axes.bar(
                [str(size) for size in shares.index],
                shares[name],
                bottom=bottom,
                color=colour,
                label=name,
            )
            bottom += shares[name].to_numpy()
        axes.set_title(strategy, fontsize=10)
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    panels[0].set_ylabel("share of the runs")
    figure.supxlabel("runs in the set", fontsize=9)
    figure.suptitle(title, fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    # from top to bottom as the bars are
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", fontsize=7)
    return figure
