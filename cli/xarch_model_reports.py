"""`xarch select` and `xarch report`: the few metrics that are worth profiling, and a model on one page."""

from __future__ import annotations

from pathlib import Path

import click

from proxima_cli.options import FILE, json_option, model_seed_option
from proxima_cli.output import echo_json, echo_table, number, percent, step_progress, write_text
from proxima_cli.xarch_models import load_data, problem_options

__all__ = ["report", "select"]


@click.command()
@problem_options
@click.option("--budget", type=float, help="Error to meet; 1.1 times that of all metrics unless given.")
@click.option(
    "--measure",
    type=click.Choice(["median_ape", "mape", "mae"]),
    default="median_ape",
    show_default=True,
    help="Which error; 0.1 is 10 % for the relative ones.",
)
@click.option("--most", type=int, default=9, show_default=True, help="Metrics at most.")
@click.option("--candidates", type=int, default=15, show_default=True, help="Metrics to try, by importance.")
@model_seed_option
@json_option
def select(
    target: str,
    source: str | None,
    dest: str | None,
    data: Path | None,
    metrics: str | None,
    budget: float | None,
    measure: str,
    most: int,
    candidates: int,
    seed: int,
    as_json: bool,
) -> None:
    """Find the smallest set of metrics within an error budget: each one costs replays of the kernel."""
    from gpu_xarch.learning.selection import select_metrics
    from gpu_xarch.units import named_in

    with step_progress("selecting") as update:
        rows = load_data(target, source, dest, data, metrics)
        found = select_metrics(
            rows,
            budget=budget,
            measure=measure,
            most=most,
            candidates=candidates,
            seed=seed,
            on_step=update,
        )
    if as_json:
        echo_json(
            {
                "metrics": found.metrics,
                "steps": [{"metric": name, "error": error} for name, error in found.steps],
                "all_metrics_error": found.full,
                "budget": found.budget,
                "measure": found.measure,
                "met": found.met,
                "simulated_rows": rows.simulated,
            }
        )
        return
    if rows.simulated:
        click.echo(f"SIMULATED: {rows.simulated} of the {len(rows)} rows were made by a model, not measured")

    def shown(value: float) -> str:
        return number(value) if found.measure == "mae" else percent(value) + " %"

    measured = named_in(found.measure, rows.problem.unit) if found.measure == "mae" else found.measure
    echo_table(("metric", f"{measured} with all so far"), [(name, shown(e)) for name, e in found.steps])
    verdict = "met" if found.met else f"not met with {len(found.metrics)} metrics"
    click.echo(f"all {rows.X.shape[1]} metrics: {shown(found.full)}; budget {shown(found.budget)}: {verdict}")
    click.echo(f"--metrics {','.join(found.metrics)}")


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--data", type=FILE, help="The table that the model was trained on; simulated data unless given."
)
@click.option("--out", required=True, type=FILE, help="HTML file to write.")
@click.option("--folds", type=int, default=5, show_default=True, help="Folds of the held-out scores.")
def report(model: Path, data: Path | None, out: Path, folds: int) -> None:
    """Write a report on a model as one HTML file: scores, figures, importance, model card."""
    from gpu_xarch.learning.persistence import load_model
    from gpu_xarch.learning.report import render

    with step_progress("reporting") as update:
        trained = load_model(model)
        problem = trained.problem
        rows = load_data(problem.target, problem.source, problem.dest, data, ",".join(trained.columns))
        page = render(trained, rows, folds=folds, seed=int(trained.card["seed"]), on_step=update)
    write_text(out, page)
    click.echo(f"wrote {out}")
