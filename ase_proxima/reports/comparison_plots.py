"""Plots of several runs side by side, and of controllers on the calls of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from ase_proxima.reports.plots import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    Panel,
    add_legend,
    as_number,
    draw_panels,
    in_unit,
    set_log_scale,
)
from ase_proxima.reports.report import TIME_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_comparison", "plot_replay"]

SKY = "#56B4E9"


def plot_comparison(comparison: Mapping[str, Any]) -> Figure:
    """Plot runs side by side: target calls, errors, where the time went, radius of gyration.

    Parameters
    ----------
    comparison : mapping
        What `compare_runs` returned.
    """
    reports = comparison["runs"]
    panels: list[Panel] = [partial(_plot_call_bars, reports=reports)]
    for metric in dict.fromkeys(bound["metric"] for report in reports for bound in report["bounds"]):
        panels.append(partial(_plot_error_dots, reports=reports, metric=metric))
    panels.append(partial(_plot_time_bars, reports=reports))
    if any(report["monte_carlo"] for report in reports):
        panels.append(partial(_plot_gyration_dots, reports=reports))
    return draw_panels(panels, "")


def plot_replay(replay: Mapping[str, Any]) -> Figure:
    """Plot the threshold of each replayed controller over the known calls, and what it decided.

    Parameters
    ----------
    replay : mapping
        What `replay_run` returned.
    """
    panels: list[Panel] = [partial(_plot_paths, replay=replay), partial(_plot_decision_bars, replay=replay)]
    return draw_panels(panels, f"{replay['run']}: {replay['n_known']} calls with a known error")


def _set_names(axes: Axes, names: Sequence[str]) -> None:
    """Label horizontal bars, the first on top."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)


def _plot_bars(axes: Axes, parts: Sequence[tuple[str, str, Sequence[float]]]) -> None:
    """Stack horizontal bars: label, colour and one length a bar, of each part."""
    left = np.zeros(len(parts[0][2]))
    for label, colour, lengths in parts:
        axes.barh(range(len(left)), lengths, left=left, height=0.55, color=colour, label=label)
        left += np.asarray(lengths, float)
    add_legend(axes, 3)


def _plot_call_bars(axes: Axes, *, reports: Sequence[Mapping[str, Any]]) -> None:
    parts = [
        (label, colour, [100 * report[name] / report["n_calls"] for report in reports])
        for label, colour, name in (("flagged", RED, "n_target"), ("audited", ORANGE, "n_audit"))
    ]
    _plot_bars(axes, parts)
    _set_names(axes, [report["run"] for report in reports])
    axes.set_xlabel("target calls (% of all calls)")


def _plot_time_bars(axes: Axes, *, reports: Sequence[Mapping[str, Any]]) -> None:
    colours = (RED, BLUE, SKY, PURPLE, GREEN)
    parts = [
        (label, colour, [report[name] for report in reports])
        for (name, label), colour in zip(TIME_NAMES.items(), colours, strict=True)
    ]
    _plot_bars(axes, parts)
    _set_names(axes, [report["run"] for report in reports])
    axes.set_xlabel("time of the calls (s)")


def _plot_error_dots(axes: Axes, *, reports: Sequence[Mapping[str, Any]], metric: str) -> None:
    found: list[Mapping[str, Any]] = [
        next((b for b in report["bounds"] if b["metric"] == metric), {}) for report in reports
    ]
    estimated = [as_number(bound.get("error_estimate")) for bound in found]
    true = [as_number((report["true_error"] or {}).get("mean_trusted")) for report in reports]
    places = np.arange(len(reports))
    series = [
        ("estimated", BLUE, "o", estimated),
        ("bound", INK, "|", [as_number(b.get("bound")) for b in found]),
    ]
    if metric == "energy":
        series.insert(1, ("true", RED, "D", true))
    for label, colour, marker, values in series:
        positive = np.array(values) > 0
        if positive.any():
            size, width = (14, 1.6) if marker == "|" else (5, 1.0)
            axes.plot(
                np.array(values)[positive],
                places[positive],
                marker,
                color=colour,
                markersize=size,
                markeredgewidth=width,
                label=label,
            )
    shown = np.array([value for _, _, _, values in series for value in values if value > 0])
    axes.set_xscale("log")
    if len(shown):  # whole decades, so that two labels at least are seen
        low, high = np.floor(np.log10(0.9 * shown.min())), np.ceil(np.log10(1.1 * shown.max()))
        axes.set_xlim(10.0**low, 10.0**high)
    axes.xaxis.set_minor_formatter("")
    unit = next((bound["unit"] for bound in found if bound), "")
    axes.set_xlabel(f"mean {metric} error over trusted calls{in_unit(unit)}")
    _set_names(axes, [report["run"] for report in reports])
    add_legend(axes)


def _plot_gyration_dots(axes: Axes, *, reports: Sequence[Mapping[str, Any]]) -> None:
    chains = [report["monte_carlo"] or {} for report in reports]
    gyration = [as_number(chain.get("radius_of_gyration")) for chain in chains]
    error = np.nan_to_num([as_number(chain.get("radius_of_gyration_error")) for chain in chains])
    axes.errorbar(gyration, range(len(reports)), xerr=error, fmt="o", color=GREEN, markersize=5, capsize=3)
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel("radius of gyration (Å)")
    _set_names(axes, [report["run"] for report in reports])


def _plot_paths(axes: Axes, *, replay: Mapping[str, Any]) -> None:
    n = np.arange(1, replay["n_known"] + 1)
    axes.plot(n, replay["uncertainty"], ".", color=GREY, markersize=4, label="uncertainty")
    values: list[Any] = [replay["uncertainty"]]
    for entry, colour in zip(
        replay["controllers"], cycle((INK, BLUE, ORANGE, GREEN, PURPLE, RED)), strict=False
    ):
        line = "--" if colour == INK else "-"
        axes.step(
            n, entry["thresholds"], line, where="post", color=colour, linewidth=1.3, label=entry["controller"]
        )
        values.append(entry["thresholds"])
    set_log_scale(axes, values)
    axes.set(xlabel="known call", ylabel="threshold")
    add_legend(axes, 3)


def _plot_decision_bars(axes: Axes, *, replay: Mapping[str, Any]) -> None:
    entries = replay["controllers"]
    _plot_bars(
        axes,
        [
            ("trusted", BLUE, [entry["n_trusted"] - entry["n_audited"] for entry in entries]),
            ("audited", ORANGE, [entry["n_audited"] for entry in entries]),
            ("flagged", RED, [entry["n_flagged"] for entry in entries]),
        ],
    )
    _set_names(axes, [entry["controller"] for entry in entries])
    axes.set_xlabel("known calls")
