"""Reports of trainings of DeePMD-kit committees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_proxima.reports.formatting import format_number
from ase_proxima.surrogates.deepmd_training import read_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COMMITTEE_HEADER", "committee_rows", "plot_curves"]

COMMITTEE_HEADER = ("model", "energy RMSE [meV/atom]", "force RMSE [eV/Å]")


def committee_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table over models, with the columns `COMMITTEE_HEADER`."""
    return [
        (row["model"], format_number(row["energy_rmse"] * 1000), format_number(row["force_rmse"]))
        for row in summary["models"]
    ]


def plot_curves(folder: Path) -> Figure:
    """Plot the learning curves of a training: force errors on frames held out, and on those trained on."""
    from matplotlib.figure import Figure

    from ase_proxima.reports.plots import BLUE, GREEN, ORANGE, PURPLE, RED

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    colors = (BLUE, ORANGE, GREEN, RED, PURPLE)
    for i, place in enumerate(sorted(folder.glob("training-*"))):
        curve = read_curve(place)
        if len(curve):
            color = colors[i % len(colors)]
            axes.plot(curve[:, 0], curve[:, 1], color=color, label=f"model {i}, held out")
            axes.plot(curve[:, 0], curve[:, 2], color=color, ls=":", lw=1)
    axes.set(xlabel="step", ylabel="RMSE of the forces in a batch [eV/Å]", yscale="log")
    axes.legend(frameon=False, title="dotted: trained on")
    return figure
