"""`xarch collect`: profile a program with the tool and the metrics that fit its GPU."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gpu_xarch.profiles.collect import collect as run
from gpu_xarch.profiles.collect import detect_gpu, known_capability, metric_set, plan_collection, times_plan

__all__ = ["collect"]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--metrics",
    "metric_names",
    default="published",
    show_default=True,
    help="published, memory-bound, ipc, roofline, or names with commas.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("profile.csv"), show_default=True,
    help="File for the profile.",
)  # fmt: skip
@click.option(
    "--device", "index", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the GPU."
)
@click.option(
    "--gpu", "gpu_name", metavar="GPU", help="Take this GPU's capability instead of asking the driver."
)
@click.option(
    "--tool",
    type=click.Choice(["auto", "nvprof", "ncu"]),
    default="auto",
    show_default=True,
    help="Profiler.",
)
@click.option("--kernels", metavar="REGEX", help="Only kernels whose name matches.")
@click.option("--launches", type=click.IntRange(min=1), help="At most so many launches (Nsight Compute).")
@click.option("--per-launch", is_flag=True, help="nvprof: a row for each launch instead of the mean.")
@click.option(
    "--times", is_flag=True, help="nvprof: run the program once more for the times of its launches."
)
@click.option("--dry-run", is_flag=True, help="Print the command and do not run it.")
def collect(
    program: tuple[str, ...],
    metric_names: str,
    out: Path,
    index: int,
    gpu_name: str | None,
    tool: str,
    kernels: str | None,
    launches: int | None,
    per_launch: bool,
    times: bool,
    dry_run: bool,
) -> None:
    """Profile PROGRAM (after --) into a file that ingest reads, with no more counters than needed."""
    name, capability = known_capability(gpu_name) if gpu_name else detect_gpu(index)
    plan = plan_collection(
        program,
        out,
        metrics=metric_set(metric_names),
        capability=capability,
        device=name,
        index=index,
        tool=tool,
        kernels=kernels,
        launches=launches,
        per_launch=per_launch,
    )
    if plan.missing:
        click.echo(f"not available with {plan.tool}: {', '.join(plan.missing)}", err=True)
    second = times_plan(plan, index) if times else None
    plans = [plan] if second is None else [plan, second]
    for one in plans:
        click.echo(one.shell)
        if not dry_run:
            run(one)
    if not dry_run:
        files = shlex.join(str(one.out) for one in plans)
        click.echo(f"wrote {files}; next: xarch ingest {files} --out runs.parquet")
