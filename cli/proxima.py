"""`proxima`: report on run directories, compare them, replay them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxima_cli.endings import OneLineGroup
from proxima_cli.options import HELP_NAMES, json_option, plot_option, seed_option, version_option
from proxima_cli.output import echo_json, json_text, show_table, write_figure, write_text
from proxima_cli.proxima_manage import manage
from proxima_cli.proxima_md import md
from proxima_cli.proxima_train import train

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["main"]


@click.group("proxima", cls=OneLineGroup, context_settings=HELP_NAMES)
@version_option
def main() -> None:
    """Run dynamics, train models, look into run directories: finished, interrupted, or still being written."""


main.add_command(manage)
main.add_command(md)
main.add_command(train)


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
    for file in (plot, None if out is None else out / "report.png"):
        if file is not None:
            from ase_proxima.reports.plots import plot_run

            write_figure(plot_run(data), file)
    if out is not None:
        write_text(out / "report.json", json_text(result) + "\n")
    _show(result, report_table, as_json=as_json)
    if not as_json and (run / "dynamics.json").exists():
        from ase_proxima.reports.md import md_lines, report_md

        for line in md_lines(report_md(run)):
            click.echo(line)


def _show(result: dict[str, Any], table_of: Callable[[dict[str, Any]], Table], *, as_json: bool) -> None:
    """Print a result, once what is written into files is there: the reader of the output may go away."""
    if as_json:
        echo_json(result)
    else:
        show_table(table_of(result))


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@plot_option
@json_option
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
    if plot is not None:
        from ase_proxima.reports.comparison_plots import plot_comparison

        write_figure(plot_comparison(result), plot)
    _show(result, comparison_table, as_json=as_json)


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
@seed_option
@plot_option
@json_option
def replay(run: Path, controllers: tuple[str, ...], plot: Path | None, as_json: bool, **options: Any) -> None:
    r"""Say what another controller would have decided on the calls of RUN whose errors are known.

    \b
    proxima replay runs/methane --controller risk --controller linear --error-bound 0.001
    """
    from ase_proxima.reports.replay import replay_run, replay_table
    from ase_proxima.runs.run_data import read_run

    result = replay_run(read_run(run), controllers, **options)
    if plot is not None:
        from ase_proxima.reports.comparison_plots import plot_replay

        write_figure(plot_replay(result), plot)
    _show(result, replay_table, as_json=as_json)
