"""`proxima md`: molecular dynamics with an error-bounded surrogate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ase_proxima.errors import InputError
from proxima_cli.endings import ResumableCommand
from proxima_cli.options import (
    json_option,
    models_option,
    plot_option,
    prior_option,
    seed_option,
    strategy_option,
    surrogate_option,
)
from proxima_cli.output import echo_json, progress_bar, write_figure

if TYPE_CHECKING:
    from ase_proxima.dynamics.md import Progress

__all__ = ["md"]


@click.command(cls=ResumableCommand, context_settings={"show_default": True})
@click.argument("structure")
@click.option("--target", required=True, help="What gives the exact forces; see the docs.")
@click.option(
    "--error-bound", type=float, required=True, help="Mean error to hold, in the unit of the metric."
)
@click.option("--error-metric", help="See the docs of ProximaCalculator.  [default: force_max]")
@click.option(
    "--ensemble",
    type=click.Choice(["nve", "nvt", "npt", "npt-z"]),
    default="nvt",
    help="Constant energy; thermostat; thermostat and barostat, isotropic or along z only.",
)
@click.option(
    "--temp", "temperature_K", type=float, help="Temperature in K; without it nve takes the momenta."
)
@click.option("--steps", type=click.IntRange(min=1), default=1000, help="Steps in all.")
@click.option("--timestep", "timestep_fs", type=float, default=1.0, help="In fs.")
@click.option("--pressure", "pressure_GPa", type=float, default=0.0, help="In GPa, for npt and npt-z.")
@surrogate_option
@prior_option
@click.option(
    "--blending",
    type=click.IntRange(min=0),
    help="Calls of a ramp between target and surrogate, 0 for none.  [default: 10 in nve, else 0]",
)
@strategy_option
@click.option("--threshold", type=float, help="Threshold of the fixed strategy, in the unit of the metric.")
@models_option
@click.option("--interval", type=click.IntRange(min=1), default=10, help="Steps between two frames kept.")
@seed_option
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/md-TIME]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@plot_option
@json_option
def md(
    structure: str,
    *,
    steps: int,
    out: Path | None,
    resume: bool,
    plot: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run molecular dynamics of STRUCTURE, a file or a name of ASE's g2 collection.

    \b
    proxima md slab.xyz --target emt --error-bound 0.05 --temp 600 --steps 5000
    proxima md CH4 --target xtb:GFN2 --error-bound 0.05 --ensemble nve --temp 300 --timestep 0.5
    """  # noqa: D301  click takes the backspace for "keep these lines as they are"
    from ase_proxima.apps.structures import load_structure
    from ase_proxima.dynamics.md import MDSettings, run_md
    from ase_proxima.reports.md import md_lines, plot_md, report_md

    if resume and out is None:
        raise InputError("--resume needs --out: name the run directory to go on with")
    if resume and out is not None and not out.exists():
        raise InputError(f"--resume finds no run in {out}: name its folder, or leave --resume out")
    out = out or Path("runs") / datetime.now(timezone.utc).strftime("md-%Y%m%d-%H%M%S")
    atoms = load_structure(structure)
    chosen = MDSettings(**settings)
    chosen.check(atoms)
    if chosen.ensemble == "nve" and chosen.blending is None and chosen.calls_of_a_ramp:
        click.echo(
            f"note: constant energy: answers pass over in {chosen.calls_of_a_ramp} calls; "
            "--blending 0 switches at once",
            err=True,
        )
    with progress_bar("md") as update:

        def show(progress: Progress) -> None:
            stats = progress.stats
            numbers = f"{progress.temperature_K:.0f} K, trusted {stats.share_trusted:.0%}"
            if isinstance(stats.error_estimate, float) and stats.error_estimate > 0:
                numbers += f", error ~{stats.error_estimate:.1e}"
            update(numbers, progress.step, progress.n_steps)

        summary = run_md(atoms, chosen, steps, out, resume=resume, on_progress=show)
    report = report_md(out)
    if plot is not None:
        write_figure(plot_md(report), plot)
    del report["columns"]
    if as_json:
        echo_json({**report, "summary": summary})
        return
    for line in md_lines(report):
        click.echo(line)
    n_runs = summary["n_target"] + summary["n_audit"]
    click.echo(f"target runs {n_runs:,} of {summary['n_calls']:,} calls; {_mean_error(summary)}")
    for note in summary["notes"]:
        click.echo(f"note: {note}", err=True)
    click.echo(f"run in {out}; see it again with: proxima report {out}")


def _mean_error(summary: Mapping[str, Any]) -> str:
    """What is known of the mean error over the trusted calls, in words."""
    if not summary["n_audit"] + summary["n_surrogate"]:
        return "none was trusted"
    estimate = summary["error_estimate"]
    return "estimated mean error " + (f"{estimate:.2g}" if isinstance(estimate, float) else str(estimate))
