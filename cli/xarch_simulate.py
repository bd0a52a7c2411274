"""`xarch simulate`: nvprof files of an analytic model, for a first try without data."""

from __future__ import annotations

from pathlib import Path

import click

import gpu_xarch
from proxima_cli.options import model_seed_option
from proxima_cli.output import file_progress

__all__ = ["simulate"]


@click.command()
@click.option(
    "--gpu", "gpu_names", multiple=True, required=True, metavar="GPU", help="Device; repeat for more."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the files."
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=2000, show_default=True, help="Rows of the table by GPU."
)
@click.option("--application", "applications", multiple=True, help="Only this application; repeat for more.")
@click.option(
    "--noise", type=float, default=0.01, show_default=True, help="Spread of the run time, as a share."
)
@model_seed_option
@click.option("--times", is_flag=True, help="Write traces with the times of the launches, too.")
@click.option(
    "--runs-per-file",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Rows in a file, about.",
)
def simulate(
    gpu_names: tuple[str, ...],
    out: Path,
    runs: int,
    applications: tuple[str, ...],
    noise: float,
    seed: int,
    times: bool,
    runs_per_file: int,
) -> None:
    """Write nvprof files of known applications as an analytic model sees them on the named GPUs.

    The numbers are computed, not measured. Files, tables and reports made of them say so.
    """
    gpus = [gpu_xarch.find_gpu(name) for name in gpu_names]
    plan = gpu_xarch.plan_runs(runs, applications)
    with file_progress("simulating") as update:
        files = gpu_xarch.write_simulation(
            gpus, plan, out, noise=noise, seed=seed, runs_per_file=runs_per_file, times=times, on_file=update
        )
    click.echo(f"SIMULATED: {len(plan)} runs for each of {len(gpus)} GPUs in {len(files)} files under {out}")
