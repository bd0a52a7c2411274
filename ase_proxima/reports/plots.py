"""Plots of runs, as matplotlib figures that no global state knows of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ase_proxima.reports.estimates import running_estimate
from ase_proxima.runs.run_data import BoundData, RunData, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_run", "plot_temperatures"]

# The palette of Okabe and Ito, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY, INK = "#8C8C8C", "#262626"
STRATEGY_STYLES = {
    "proxima": (BLUE, "o"),
    "published": (ORANGE, "s"),
    "fixed": (PURPLE, "^"),
    "baseline": (GREY, "D"),
}
FEW_CALLS = 10

Panel = Callable[["Axes"], None]


def plot_run(run: RunData | str | Path) -> Figure:
    """Plot one run: energy, threshold, slope, errors against the bound, and who answered.

    Parameters
    ----------
    run : RunData or path of a run directory

    Returns
    -------
    matplotlib.figure.Figure
        To be saved with `savefig`; panels for which the run has no data are left out.

    Raises
    ------
    RunDirectoryError
        If the path is not a run directory, holds no call, or is damaged.
    """
    run = run if isinstance(run, RunData) else read_run(run)
    panels: list[Panel] = []
    if run.chain:
        panels += [partial(_plot_energy, run=run), partial(_plot_gyration, run=run)]
    for bound in run.bounds:
        if np.isfinite(bound.uncertainty).any():
            panels.append(partial(_plot_threshold, run=run, bound=bound))
        if np.isfinite(bound.alpha).any():
            panels.append(partial(_plot_alpha, run=run, bound=bound))
        if np.isfinite(bound.error).any():
            panels.append(partial(_plot_error, run=run, bound=bound))
    if run.trusted.any() or not panels:
        panels.append(partial(_plot_use, run=run))
    return draw_panels(panels, _title(run))


def plot_temperatures(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot finished Monte Carlo runs against temperature, one colour a strategy.

    Parameters
    ----------
    summaries : sequence of mapping
        Contents of the runs' summary.json; panels for which they have no data are left out.
    """

    def known(name: str) -> bool:
        return any(as_number(summary.get(name)) > 0 for summary in summaries)

    panels: list[Panel] = [partial(_plot_calls_at, summaries=summaries)]
    if known("error_estimate"):
        panels.append(partial(_plot_error_at, summaries=summaries))
    panels.append(partial(_plot_gyration_at, summaries=summaries))
    if known("speedup"):
        panels.append(partial(_plot_speedup_at, summaries=summaries))
    first = summaries[0]
    return draw_panels(panels, f"{first['molecule']}, {first['target']}")


def draw_panels(panels: Sequence[Panel], title: str) -> Figure:
    """Put panels into two columns; an odd last one spans both."""
    from matplotlib.figure import Figure

    columns = min(len(panels), 2)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.0 * rows + 0.4), dpi=150)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    grid = figure.add_gridspec(rows, columns)
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        last = i == len(panels) - 1 and column == 0
        axes = figure.add_subplot(grid[row, :] if last else grid[row, column])
        panel(axes)
        _style(axes)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color=INK)
    return figure


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="major", color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=INK)
    axes.tick_params(which="minor", labelsize=7, colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9, color=INK)
    axes.title.set(fontsize=9.5, color=INK)


def add_legend(axes: Axes, columns: int = 3) -> None:
    """Put a legend above the panel, where it hides no data."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        fontsize=7.5,
        frameon=False,
        borderaxespad=0.1,
        handlelength=1.6,
        columnspacing=1.2,
    )


def _title(run: RunData) -> str:
    settings = (run.simulation or {}).get("monte_carlo")
    if not settings:
        return f"{run.name}: {run.n_calls} calls"
    return "{molecule} at {temperature_K:g} K, {target}, strategy {strategy}".format(**settings)


def in_unit(text: str) -> str:
    """Unit in brackets for the label of an axis; nothing for none."""
    return f" ({text})" if text else ""


def set_log_scale(axes: Axes, values: Sequence[Any]) -> None:
    """Use a logarithmic axis around the positive values, outliers below its middle left out."""
    data = np.concatenate([np.atleast_1d(np.asarray(value, float)) for value in values])
    data = data[np.isfinite(data) & (data > 0)]
    if not len(data):
        return
    axes.set_yscale("log")
    low, high = max(data.min(), np.quantile(data, 0.01) / 3, data.max() * 1e-7), data.max()
    axes.set_ylim(low / 2, high * 2)


def _plot_energy(axes: Axes, *, run: RunData) -> None:
    chain = run.chain
    assert chain is not None  # noqa: S101  the panel is for runs with a chain
    step, energy = chain.step, chain.energy
    axes.plot(step, energy - energy[0], color=BLUE, linewidth=1.0, label="chain", zorder=3)
    answered = np.flatnonzero(np.isfinite(chain.proposed_energy))  # the step of each call
    ran = answered[[int(call) for call in run.step[~run.surrogate] if call < len(answered)]]
    if run.trusted.any():
        axes.plot(
            step[ran],
            chain.proposed_energy[ran] - energy[0],
            ".",
            color=RED,
            markersize=3.5,
            label="target ran",
            zorder=2,
        )
    axes.set(xlabel="step", ylabel="energy above the start (eV)")
    add_legend(axes)


def _plot_gyration(axes: Axes, *, run: RunData) -> None:
    assert run.chain is not None  # noqa: S101  the panel is for runs with a chain
    step, gyration = run.chain.step, run.chain.radius_of_gyration
    axes.plot(step, gyration, color=GREEN, linewidth=0.8, alpha=0.6, label="chain")
    mean = np.cumsum(gyration) / np.arange(1, len(gyration) + 1)
    axes.plot(step, mean, color=INK, linewidth=1.3, label="running mean")
    axes.set(xlabel="step", ylabel="radius of gyration (Å)")
    axes.ticklabel_format(axis="y", useOffset=False)
    add_legend(axes)


def _of(run: RunData, bound: BoundData) -> str:
    """Name of the metric, where there are several to tell apart."""
    return f", {bound.metric}" if len(run.bounds) > 1 else ""


def _plot_threshold(axes: Axes, *, run: RunData, bound: BoundData) -> None:
    for mask, colour, label in (
        (run.surrogate, BLUE, "trusted"),
        (run.target, RED, "flagged"),
        (run.audit, ORANGE, "audited"),
    ):
        if mask.any():
            size = 2 if label == "trusted" else 4
            axes.plot(
                run.step[mask], bound.uncertainty[mask], ".", color=colour, markersize=size, label=label
            )
    axes.step(run.step, bound.threshold, where="post", color=INK, linewidth=1.2, label="threshold")
    set_log_scale(axes, [bound.uncertainty, bound.threshold])
    axes.set(xlabel="call", ylabel=f"uncertainty{_of(run, bound)}")
    add_legend(axes, 4)


def _plot_alpha(axes: Axes, *, run: RunData, bound: BoundData) -> None:
    axes.step(run.step, bound.alpha, where="post", color=PURPLE, linewidth=1.2)
    set_log_scale(axes, [bound.alpha])
    unit = f"{bound.unit} per unit" if bound.unit else "per unit"
    axes.set(xlabel="call", ylabel=f"alpha{_of(run, bound)}\n({unit} of uncertainty)")


def _plot_error(axes: Axes, *, run: RunData, bound: BoundData) -> None:
    for mask, colour, marker, label in (
        (run.target, RED, ".", "seen, flagged"),
        (run.audit, ORANGE, "D", "seen, audited"),
    ):
        shown = mask & (bound.error > 0)
        if shown.any():
            size = 4 if marker == "." else 3.5
            axes.plot(run.step[shown], bound.error[shown], marker, color=colour, markersize=size, label=label)
    mean, basis = running_estimate(run, bound)
    values = [bound.error, bound.bound]
    if basis:
        counted = np.cumsum(run.trusted)
        mean = np.where((counted >= FEW_CALLS) & (mean > 0), mean, math.nan)
        axes.plot(run.step, mean, color=BLUE, linewidth=1.4, label="mean over trusted, estimated")
        values.append(mean[-1])
    if math.isfinite(bound.bound):
        axes.axhline(bound.bound, color=INK, linewidth=1.1, linestyle="--", label="bound")
    set_log_scale(axes, values)
    axes.set(xlabel="call", ylabel=f"error{_of(run, bound)}{in_unit(bound.unit)}")
    add_legend(axes, 2)


def _plot_use(axes: Axes, *, run: RunData) -> None:
    n = np.arange(1, run.n_calls + 1)
    parts = [(run.surrogate, "surrogate", BLUE), (run.audit, "audited", ORANGE), (run.target, "flagged", RED)]
    shown = [part for part in parts if part[0].any()]
    axes.stackplot(
        run.step,
        *(100 * np.cumsum(mask) / n for mask, _, _ in shown),
        labels=[label for _, label, _ in shown],
        colors=[colour for _, _, colour in shown],
        alpha=0.85,
        linewidth=0,
    )
    axes.set(xlabel="call", ylabel="share of the calls so far (%)", ylim=(0, 100))
    axes.margins(x=0)
    add_legend(axes)


def _by_strategy(
    summaries: Sequence[Mapping[str, Any]], *names: str
) -> list[tuple[str, dict[str, Any], list[np.ndarray]]]:
    """Name, line style and arrays (temperature and the named values, by temperature) of each strategy."""
    result = []
    for strategy in dict.fromkeys(summary["strategy"] for summary in summaries):
        rows = sorted(
            (tuple(as_number(summary.get(name)) for name in ("temperature_K", *names)))
            for summary in summaries
            if summary["strategy"] == strategy
        )
        colour, marker = STRATEGY_STYLES.get(strategy, (GREEN, "v"))
        style = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.2, "label": strategy}
        result.append((strategy, style, list(np.array(rows, float).T)))
    return result


def as_number(value: Any) -> float:
    """Number, NaN for what is none."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def _show_zero(axes: Axes) -> None:
    """Let the axis begin at zero, with a margin for the markers at both ends: that of matplotlib is one of the data."""
    top = axes.dataLim.y1 if axes.dataLim.y1 > 0 else 1.0
    axes.set_ylim(-0.04 * top, 1.08 * top)


def _plot_calls_at(axes: Axes, *, summaries: Sequence[Mapping[str, Any]]) -> None:
    for _, style, (kelvin, calls, flagged, audits) in _by_strategy(
        summaries, "n_calls", "n_target", "n_audit"
    ):
        axes.plot(kelvin, 100 * (flagged + audits) / calls, **style)
    axes.set(xlabel="temperature (K)", ylabel="target calls (% of all calls)")
    _show_zero(axes)
    add_legend(axes, 4)


def _plot_error_at(axes: Axes, *, summaries: Sequence[Mapping[str, Any]]) -> None:
    values: list[Any] = []
    for strategy, style, (kelvin, error) in _by_strategy(summaries, "error_estimate"):
        if strategy != "baseline":
            axes.plot(kelvin, np.where(error > 0, error, math.nan), **style)
            values.append(error)
    for i, bound in enumerate(sorted({as_number(summary.get("error_bound")) for summary in summaries})):
        axes.axhline(bound, color=INK, linewidth=1.1, linestyle="--", label=None if i else "bound")
        values.append(bound)
    set_log_scale(axes, values)
    axes.set(xlabel="temperature (K)", ylabel="estimated mean error (eV)")
    add_legend(axes, 4)


def _plot_gyration_at(axes: Axes, *, summaries: Sequence[Mapping[str, Any]]) -> None:
    names = ("radius_of_gyration", "radius_of_gyration_error")
    strategies = _by_strategy(summaries, *names)
    for i, (_, style, (kelvin, gyration, error)) in enumerate(strategies):
        aside = 3.0 * (i - (len(strategies) - 1) / 2)  # side by side, so that all error bars are seen
        axes.errorbar(kelvin + aside, gyration, np.nan_to_num(error), capsize=2.5, **style)
    axes.set(xlabel="temperature (K)", ylabel="radius of gyration (Å)")
    axes.ticklabel_format(axis="y", useOffset=False)
    add_legend(axes, 4)


def _plot_speedup_at(axes: Axes, *, summaries: Sequence[Mapping[str, Any]]) -> None:
    for _, style, (kelvin, speedup) in _by_strategy(summaries, "speedup"):
        axes.plot(kelvin, speedup, **style)
    axes.axhline(1.0, color=INK, linewidth=1.0, linestyle=":", label="no gain")
    axes.set(xlabel="temperature (K)", ylabel="speedup over the baseline")
    _show_zero(axes)
    add_legend(axes, 4)
