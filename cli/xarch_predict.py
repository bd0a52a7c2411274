"""`xarch predict`: every run of a table on another GPU, by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxima_cli.options import FILE, json_option
from proxima_cli.output import echo_json, echo_table, number, step_progress, write_text

if TYPE_CHECKING:
    import pandas as pd

    from gpu_xarch.learning.training import Trained

__all__ = ["predict"]


@click.command()
@click.argument("model", type=FILE)
@click.option("--data", required=True, type=FILE, help="Table of runs or pairs with the source's metrics.")
@click.option("--dest", metavar="GPU", help="Check that the model predicts this GPU.")
@click.option("--out", type=FILE, help="CSV to write; printed unless given.")
@click.option("--impute", is_flag=True, help="Fill in missing metrics by the median of the training rows.")
@click.option("--level", type=float, default=0.9, show_default=True, help="Coverage of the intervals.")
@click.option(
    "--by",
    type=click.Choice(["kernel", "application"]),
    help="Sum the times of all launches instead of rows by run.",
)
@json_option
def predict(
    model: Path,
    data: Path,
    dest: str | None,
    out: Path | None,
    impute: bool,
    level: float,
    by: str | None,
    as_json: bool,
) -> None:
    """Predict every run of the model's source GPU in a table.

    Beside the target stand the time, IPC and memory throughput that go with it, and the limit that binds.
    """
    from gpu_xarch.learning.outlook import total_times
    from gpu_xarch.learning.persistence import load_model
    from gpu_xarch.learning.prediction import TOLERANCE, predict_table
    from gpu_xarch.tables.load import load_table

    with step_progress("predicting") as update:
        trained = load_model(model)
        frame, imputed = predict_table(
            trained, load_table(data), dest=dest, impute=impute, level=level, on_step=update
        )
    if imputed:
        named = ", ".join(f"{name} ({count})" for name, count in imputed.items())
        click.echo(f"imputed by the median of the training rows: {named}", err=True)
    if frame.attrs["without_old"]:
        click.echo(
            f"{frame.attrs['without_old']} runs without {trained.problem.target}, the old value itself, are left out",
            err=True,
        )
    shown = frame if by is None else total_times(frame, by)
    if out is not None:
        write_text(out, shown.to_csv(index=False))
        what = "predictions" if by is None else f"{by}s"
        click.echo(f"{len(shown)} {what} written to {out}", err=True)
    if as_json:
        echo_json(shown.to_dict("records"))
    elif out is None:
        if by is None:
            _echo_predictions(trained, frame)
        else:
            echo_table(list(shown.columns), [[_cell(value) for value in row] for row in shown.to_numpy()])
    if not trained.problem.same_gpu and "time" not in frame:
        click.echo(
            "no time, IPC or limit beside the target: they need ipc and inst_executed of the runs, and data sheets",
            err=True,
        )
    far = int(frame["out_of_domain"].sum())
    n_groups, needed = len(set(trained.groups)), frame.attrs["groups_needed"]
    if "low" in frame and n_groups < needed:
        click.echo(
            f"intervals span all that is possible: {n_groups} applications to learn from, {level:.0%} needs {needed}",
            err=True,
        )
    if frame.attrs["new_gpus"]:
        click.echo(
            f"the model has learnt from no pair with {', '.join(frame.attrs['new_gpus'])}: intervals and flags are "
            "those of other GPUs",
            err=True,
        )
    if not frame.attrs["proven"]:
        click.echo(
            "no prediction is to be relied on: on applications left out the model was mostly off by more than"
            f" {TOLERANCE:.0%}, or there were too few of them to tell ({len(set(trained.groups))})",
            err=True,
        )
    elif far:
        click.echo(
            f"{far} of {len(frame)} runs are flagged: {_FLAGGED[trained.problem.classifies]}", err=True
        )
    if trained.card["simulated_rows"]:
        click.echo("SIMULATED: the model has learnt from runs that a model made, not measured", err=True)


#: columns of a printed prediction, and what they are called there
_PRINTED = {
    "run_id": "run",
    "application": "application",
    "kernel": "kernel",
    "input": "input",
    "launch": "launch",
    "invocations": "launches",
    "predicted": "",
    "probability": "probability",
    "low": "low",
    "high": "high",
    "time": "time, s",
    "ipc": "ipc",
    "dram_throughput": "DRAM, bytes/s",
    "memory_bound": "memory-bound",
    "limit": "limit",
    "out_of_domain": "flagged",
}
#: what a flag says of numbers, and of labels
_FLAGGED = (
    "an error above 25 % is expected, or values were imputed",
    "unlike what the model has learnt from",
)
_RUN_DIGITS, _CELL = 8, 32  # of a run's id, of any text


def _echo_predictions(trained: Trained, frame: pd.DataFrame) -> None:
    """Print what is predicted; what is the same in every row stands above, what is empty or said twice nowhere."""
    from gpu_xarch.units import named_in

    problem, (source, dest) = (
        trained.problem,
        (", ".join(frame[side].unique()) for side in ("source", "dest")),
    )
    where = f"on {source}" if problem.same_gpu else f"{source} -> {dest}"
    click.echo(f"{problem.target}: {len(frame)} runs, {where}, by {trained.name}")
    again = {"duration": "time"}.get(problem.target, problem.target)
    columns = [one for one in _PRINTED if one in frame and one != again and frame[one].notna().any()]
    rows = frame[columns].assign(out_of_domain=frame["out_of_domain"].map({True: "yes", False: ""}))
    if "memory_bound" in rows:
        rows["memory_bound"] = rows["memory_bound"].map({1.0: "yes", 0.0: ""}).fillna("")
    if "run_id" in rows:
        rows["run_id"] = rows["run_id"].astype(str).str[:_RUN_DIGITS]
    named = _PRINTED | {"predicted": named_in(problem.target, problem.unit)}
    echo_table([named[one] for one in columns], [[_cell(value) for value in row] for row in rows.to_numpy()])


def _cell(value: object) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return number(value)
    text = str(value)
    return text if len(text) <= _CELL else text[: _CELL - 3] + "..."
