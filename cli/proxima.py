"""`proxima`: report on run directories, compare them, replay them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxima_cli.json_output import echo_json, json_text
from proxima_cli.options import (
    FigureFile,
    OneLineGroup,
    echo_table,
    ends_cleanly,
    json_option,
    write_figure,
)

if TYPE_CHECKING:
    from ase_proxima.runs.run_data import RunData

__all__ = ["main"]

plot_option = click.option(
    "--plot", type=FigureFile(), metavar="FILE", help="Draw it into a .png, .pdf or .svg file."
)


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ase-proxima")
def main() -> None:
    """Look into run directories: finished, interrupted, or still being written."""


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@plot_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write report.json and report.png into it.",
)
@json_option
@ends_cleanly
def report(run: Path, plot: Path | None, out: Path | None, as_json: bool) -> None:
    r"""Say what RUN cost, how far off it was, and where the time went.

    \b
    proxima report runs/methane
    proxima report runs/methane --plot methane.pdf
    """
    from ase_proxima.reports.report import report_run, report_table
    from ase_proxima.runs.run_data import read_run

    data = read_run(run)
    result = report_run(data)
    if as_json:
        echo_json(result)
    else:
        echo_table(report_table(result))
    if plot is not None:
        _draw(data, plot)
    if out is not None:
        _draw(data, out / "report.png")
        (out / "report.json").write_text(json_text(result) + "\n")


def _draw(data: RunData, file: Path) -> None:
    from ase_proxima.reports.plots import plot_run

    write_figure(plot_run(data), file)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@plot_option
@json_option
@ends_cleanly
def compare(runs: tuple[Path, ...], plot: Path | None, as_json: bool) -> None:
    r"""Set RUNS side by side, with true errors where one of them is a baseline.

    A run made with --reference BASELINE asks for the baseline's structures, so that the error of every call
    that the surrogate answered is known.

    \b
    proxima compare runs/baseline runs/proxima runs/published
    """
    from ase_proxima.reports.comparison import compare_runs, comparison_table
    from ase_proxima.runs.run_data import read_run

    result = compare_runs([read_run(run) for run in runs])
    if as_json:
        echo_json(result)
    else:
        echo_table(comparison_table(result))
    if plot is not None:
        from ase_proxima.reports.comparison_plots import plot_comparison

        write_figure(plot_comparison(result), plot)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--controller",
    "controllers",
    multiple=True,
    required=True,
    metavar="NAME",
    help="risk, linear, fixed:THRESHOLD or baseline; may be given several times.",
)
@click.option("--error-bound", type=float, help="Bound to hold.  [default: that of the run]")
@click.option("--metric", help="Error metric, where the run holds several bounds.")
@click.option(
    "--bound-over",
    type=click.Choice(["trusted", "all"]),
    help="Calls that the bound is a mean over.  [default: as in the run]",
)
@click.option("--audit-rate", type=float, help="Probability of an audit.  [default: as in the run]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the audits.")
@plot_option
@json_option
@ends_cleanly
def replay(run: Path, controllers: tuple[str, ...], plot: Path | None, as_json: bool, **options: Any) -> None:
    r"""Say what another controller would have decided on the calls of RUN whose errors are known.

    \b
    proxima replay runs/methane --controller risk --controller linear --error-bound 0.001
    """
    from ase_proxima.reports.replay import replay_run, replay_table
    from ase_proxima.runs.run_data import read_run

    result = replay_run(read_run(run), controllers, **options)
    if as_json:
        echo_json(result)
    else:
        echo_table(replay_table(result))
    if plot is not None:
        from ase_proxima.reports.comparison_plots import plot_replay

        write_figure(plot_replay(result), plot)
