"""`proxima train`: models for committees, from the frames of a run."""

from __future__ import annotations

from pathlib import Path

import click

from proxima_cli.endings import OneLineGroup, ResumableCommand
from proxima_cli.options import json_option, plot_option
from proxima_cli.output import echo_json, echo_table, progress_bar, write_figure

__all__ = ["train"]


@click.group(cls=OneLineGroup)
def train() -> None:
    """Train models on the frames of a run."""


@train.command(cls=ResumableCommand, context_settings={"show_default": True})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--models", "n_models", type=click.IntRange(min=2), default=3, help="Models of different seeds."
)
@click.option(
    "--steps", "n_steps", type=click.IntRange(min=1), default=2000, help="Of each model, rounded up."
)
@click.option("--net", type=click.Choice(["small", "large"]), default="small", help="Size of the networks.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, help="Of the first model; the others count on."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the models.  [default: RUN/deepmd]")
@click.option("--resume", is_flag=True, help="Go on with the training in --out.")
@plot_option
@json_option
def deepmd(
    run: Path,
    *,
    n_models: int,
    n_steps: int,
    net: str,
    seed: int,
    out: Path | None,
    resume: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    r"""Train a committee of DeePMD-kit models on the target's results that RUN has stored.

    \b
    proxima train deepmd runs/aluminium --models 3 --steps 2000 --plot curves.png
    """
    from ase_proxima.reports.deepmd import COMMITTEE_HEADER, committee_rows, plot_curves
    from ase_proxima.runs.frames import read_frames
    from ase_proxima.surrogates.deepmd import check_installed
    from ase_proxima.surrogates.deepmd_training import TrainingPlan, train_committee

    plan = TrainingPlan(n_models, n_steps, net, seed)
    frames = read_frames(run)
    check_installed()
    folder = out or run / "deepmd"
    with progress_bar("training") as update:
        summary = train_committee(frames, folder, plan, resume=resume, on_progress=update)
    if as_json:
        echo_json({**summary, "folder": str(folder)})
    else:
        echo_table(COMMITTEE_HEADER, committee_rows(summary))
        click.echo(
            f"trained on {summary['n_train']} frames, {summary['n_held_out']} held out; models in {folder}"
        )
    if plot is not None:
        write_figure(plot_curves(folder), plot)
