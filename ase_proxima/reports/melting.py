"""Tables and figures of melting studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ase_proxima.dynamics.melting_fit import liquid_probability
from ase_proxima.reports.formatting import format_number, format_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["melting_lines", "melting_rows", "plot_melting"]

HEADER = ("T [K]", "runs", "liquid", "95 % interval", "steps")


def melting_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table over temperatures, with the columns `HEADER`."""
    return [
        (
            f"{row['temperature_K']:.0f}",
            str(row["n_runs"]),
            f"{row['n_liquid']:g}",
            "{:.0%} - {:.0%}".format(*row["interval"]),
            f"{row['steps']:.0f}",
        )
        for row in summary["temperatures"]
    ]


def melting_lines(summary: Mapping[str, Any]) -> list[str]:
    """What a study found, in lines of text."""
    flat = summary["flat"]
    low, high = summary["interval_K"]
    lines = [
        f"melting point {summary['melting_temperature_K']:.0f} ± {summary['std_K']:.0f} K "
        f"(95 %: {low:.0f} to {high:.0f} K), {summary['n_atoms']} atoms, {summary['n_runs']} runs",
        f"without the heat of fusion as prior: {flat['temperature_K']:.0f} ± {flat['std_K']:.0f} K",
        f"width, 10 to 90 % liquid: {summary['width_K']:.0f} K; "
        f"heat of fusion {summary['heat_of_fusion'] / summary['n_atoms'] * 1000:.0f} meV an atom",
    ]
    if summary["n_undecided"]:
        lines.append(f"{summary['n_undecided']} runs did not decide: give more --steps")
    if summary["n_calls"]:
        lines.append(
            f"target calls: {summary['n_target_runs']} of {summary['n_calls']}; "
            f"trusted {format_share(summary['share_trusted'])}"
        )
    lines.append(
        f"CPU: {format_number(summary['cpu_s'])} s for the runs, "
        f"{format_number(summary['preparation_cpu_s'])} s before them"
    )
    return lines


def plot_melting(summary: Mapping[str, Any]) -> Figure:
    """Plot the share of runs that ended liquid against temperature, with intervals and both fits."""
    from matplotlib.figure import Figure

    from ase_proxima.reports.plots import BLUE, GREY, INK, ORANGE

    rows = summary["temperatures"]
    temperatures = np.array([row["temperature_K"] for row in rows])
    shares = np.array([row["liquid_share"] for row in rows])
    # the interval of a share of 0 or 1 begins at it
    bars = np.abs(np.array([row["interval"] for row in rows]).T - shares)
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    margin = max(summary["width_K"], 20.0)
    grid = np.linspace(temperatures.min() - margin, temperatures.max() + margin, 400)
    flat = summary["flat"]
    for label, melting, heat, color in (
        ("slope about the heat of fusion", summary["melting_temperature_K"], summary["slope"], BLUE),
        ("slope free", flat["temperature_K"], flat["heat"], ORANGE),
    ):
        axes.plot(grid, liquid_probability(grid, melting, heat), color=color, label=label)
    axes.axvspan(*summary["interval_K"], color=BLUE, alpha=0.12, lw=0)
    axes.errorbar(temperatures, shares, bars, fmt="none", ecolor=GREY, lw=1, capsize=2)
    sizes = 14.0 * np.array([row["n_runs"] for row in rows])
    axes.scatter(temperatures, shares, sizes, color=INK, zorder=3, label="runs (area: how many)")
    axes.set(
        xlabel="temperature [K]",
        ylabel="share of runs that ended liquid",
        ylim=(-0.05, 1.05),
        title=(
            f"{summary['structure']} {summary['element']}, {summary['n_atoms']} atoms, {summary['target']}: "
            f"{summary['melting_temperature_K']:.0f} ± {summary['std_K']:.0f} K"
        ),
    )
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize="small")
    return figure
