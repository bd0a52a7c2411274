"""`proxima-melt`: the melting point of a solid, from cells that are half molten."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ase_proxima.errors import InputError
from proxima_cli.endings import ResumableCommand
from proxima_cli.executors import executor_option, open_place
from proxima_cli.options import (
    HELP_NAMES,
    NumberList,
    jobs_option,
    json_option,
    models_option,
    plot_option,
    prior_option,
    seed_option,
    strategy_option,
    version_option,
)
from proxima_cli.output import echo_json, echo_table, progress_bar, write_figure

if TYPE_CHECKING:
    from ase_proxima.dynamics.melting import Progress

QUICK = {"size": 3, "phase_steps": 3000}
"""What --quick stands for, where it is not given."""


class _Temperatures(NumberList):
    name = "auto or list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value is None or value == "auto" else super().convert(value, param, ctx)


@click.command("proxima-melt", cls=ResumableCommand, context_settings={"show_default": True, **HELP_NAMES})
@click.option(
    "--structure", type=click.Choice(["fcc", "bcc", "diamond"]), default="fcc", help="Of the solid."
)
@click.option("--element", default="Al", help="Chemical symbol.")
@click.option("--a", type=float, help="Lattice constant in Å to begin with.  [default: ASE's]")
@click.option(
    "--size",
    type=click.IntRange(min=2),
    help="Cubic cells along x and y, and along z in each half.  [default: 4; 3 with --quick]",
)
@click.option(
    "--temps",
    "temperatures",
    type=_Temperatures(),
    default="auto",
    help="Temperatures in K; auto chooses them.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=24,
    help="Runs in all; at each temperature of a list.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20_000,
    help="Steps from which on a run is given up as undecided.",
)
@click.option("--target", default="emt", help="What gives the exact forces; see the docs.")
@click.option("--error-bound", default=0.03, help="Mean error to hold, in the unit of the metric.")
@click.option("--error-metric", default="force_mae", help="See the docs of ProximaCalculator.")
@strategy_option
@click.option("--threshold", type=float, help="Threshold of the fixed strategy, in eV/Å.")
@models_option
@prior_option
@click.option("--quick", is_flag=True, help="A small cell, and shorter runs of the pure phases.")
@click.option(
    "--starts",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of another study of the same cell, whose half-melted starts are taken.",
)
@seed_option
@jobs_option
@executor_option("processes")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the study.  [default: runs/melt-TIME]"
)
@click.option("--resume", is_flag=True, help="Go on with the study in --out.")
@plot_option
@json_option
@version_option
def main(
    *,
    size: int | None,
    temperatures: tuple[float, ...] | None,
    runs: int,
    steps: int,
    models: str | None,
    quick: bool,
    starts: Path | None,
    jobs: int,
    where: str,
    out: Path | None,
    resume: bool,
    plot: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Find the melting point of a crystal from cells that are half solid, half liquid.

    A crystal is heated until it melts, the volumes of solid and liquid are measured, and one half of a crystal is
    melted. That cell is run at several temperatures until it is all solid or all liquid, and the melting point is
    fitted.

    \b
    proxima-melt --quick --target asap --strategy baseline --plot melting.png
    proxima-melt --element Cu --target emt --size 4 --runs 30 --jobs 2 --out runs/copper
    """  # noqa: D301  click takes the backspace for "keep these lines as they are"
    from ase_proxima.dynamics.melting import MeltingSettings, melt
    from ase_proxima.reports.melting import HEADER, melting_lines, melting_rows, plot_melting

    if resume and out is None:
        raise InputError("--resume needs --out: name the folder of the study to go on with")
    out = out or Path("runs") / datetime.now(timezone.utc).strftime("melt-%Y%m%d-%H%M%S")
    study = MeltingSettings(
        size=size or (QUICK["size"] if quick else MeltingSettings.size),
        temperatures_K=temperatures,
        most_steps=steps,
        models=None if models is None else str(Path(models)),
        phase_steps=QUICK["phase_steps"] if quick else MeltingSettings.phase_steps,
        **settings,
    )
    with ExitStack() as stack:
        executor = None
        if where != "processes":
            place = stack.enter_context(open_place(where, jobs))
            place.check_files({"--models": study.models})
            executor, jobs = place.executor, place.n_workers
        update = stack.enter_context(progress_bar("melting"))

        def show(progress: Progress) -> None:
            update(progress.doing, progress.n_done, progress.n_runs)

        result = melt(
            study,
            runs,
            out.absolute(),
            starts=None if starts is None else starts.absolute(),
            resume=resume,
            jobs=jobs,
            executor=executor,
            on_progress=show,
        )
    if as_json:
        echo_json(result)
    else:
        echo_table(HEADER, melting_rows(result))
        for line in melting_lines(result):
            click.echo(line)
        click.echo(f"runs and their snapshots in {out}")
    if plot is not None:
        write_figure(plot_melting(result), plot)
