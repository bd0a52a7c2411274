"""`xarch train` and `evaluate`: models of a metric on another GPU."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxima_cli.executors import executor_option, fan_out
from proxima_cli.options import FILE, json_option, model_seed_option, split_names, threads_option
from proxima_cli.output import echo_json, echo_table, json_text, number, percent, step_progress, write_text

if TYPE_CHECKING:
    from gpu_xarch.learning.rows import TrainingData
    from gpu_xarch.models.problem import Problem

__all__ = ["evaluate", "load_data", "problem_options", "train"]


def problem_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is predicted from what."""
    for option in reversed(
        (
            click.option(
                "--target",
                required=True,
                metavar="METRIC",
                help="ipc, dram_throughput, memory_bound or any metric.",
            ),
            click.option("--source", metavar="GPU", help="The GPU at hand."),
            click.option("--dest", metavar="GPU", help="The GPU to predict; the source itself unless given."),
            click.option(
                "--data",
                type=FILE,
                help="Table of pairs (of runs, for one GPU); simulated data unless given.",
            ),
            click.option("--metrics", metavar="NAMES", help="Learn from these metrics alone, with commas."),
        )
    ):
        command = option(command)
    return command


def load_data(
    target: str, source: str | None, dest: str | None, data: Path | None, metrics: str | None
) -> TrainingData:
    """Return the rows that the options of a command ask for."""
    from gpu_xarch.errors import InputError
    from gpu_xarch.learning.rows import training_data
    from gpu_xarch.models import make_problem
    from gpu_xarch.simulator.own_data import DESCRIPTION, DEST, SOURCE, own_pairs
    from gpu_xarch.tables.load import load_table

    names = split_names(metrics) if metrics is not None else None
    if data is None:
        problem = make_problem(target, source or SOURCE, dest or DEST)
        if {problem.source, problem.dest} - {SOURCE, DEST}:
            raise InputError(f"without --data there are only simulated pairs {SOURCE} -> {DEST}: give --data")
        click.echo(DESCRIPTION, err=True)
        return training_data(own_pairs(times=problem.target == "duration"), problem, metrics=names)
    table = load_table(data)
    if source is None:
        raise InputError("--source is needed with --data: name the GPU at hand")
    return training_data(table, make_problem(target, source, dest), metrics=names)


@click.command()
@problem_options
@click.option(
    "--model",
    "name",
    type=click.Choice(
        ["auto", "mechanism", "forest", "boosting", "mlp", "nas", "old", "scaled", "roofline", "mean"]
    ),
    default="auto",
    show_default=True,
    help="Which model.",
)
@click.option("--out", type=FILE, help="Model file to write; TARGET-SOURCE-DEST.skops unless given.")
@model_seed_option
@threads_option
@executor_option(None)
@click.option("--budget", type=click.IntRange(min=1), help="nas: candidates to try (100).")
@click.option("--best", type=click.IntRange(min=1), help="nas: how many to train again and average (50).")
@click.option(
    "--evaluator",
    type=click.Choice(["thread", "process", "ray", "mpicomm"]),
    help="nas: where candidates are tried (process).",
)
@click.option(
    "--search", type=click.Choice(["evolution", "bayesian"]), help="nas: how they are chosen (evolution)."
)
@click.option(
    "--search-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="nas: keep what was tried here; a search that finds some goes on from it.",
)
@json_option
def train(
    target: str,
    source: str | None,
    dest: str | None,
    data: Path | None,
    metrics: str | None,
    name: str,
    out: Path | None,
    seed: int,
    jobs: int,
    where: str | None,
    budget: int | None,
    best: int | None,
    evaluator: str | None,
    search: str | None,
    search_dir: Path | None,
    as_json: bool,
) -> None:
    """Learn to predict a metric, and write the model.

    The scores shown are of models that had not seen the application that they were asked for.
    """
    from gpu_xarch.errors import InputError
    from gpu_xarch.learning.persistence import save_model
    from gpu_xarch.learning.training import HELD_OUT
    from gpu_xarch.learning.training import train as fit

    told = {
        "budget": budget,
        "best": best,
        "evaluator": evaluator,
        "search": search,
        "folder": str(search_dir) if search_dir is not None else None,
    }
    options = {key: value for key, value in told.items() if value is not None}
    if options and name != "nas":
        spelt = "search-dir" if "folder" in options else next(iter(options))
        raise InputError(f"--{spelt} is an option of --model nas, got --model {name}")
    with fan_out(where, jobs) as n_jobs, step_progress(f"training {name}") as update:
        rows = load_data(target, source, dest, data, metrics)
        trained = fit(rows, name, seed=seed, n_jobs=n_jobs, on_step=update, **options)
    out = out or _model_file(trained.problem)
    save_model(trained, out)
    if as_json:
        echo_json(trained.card)
        return
    problem, card = trained.problem, trained.card
    where = f"on {problem.source}" if problem.same_gpu else f"{problem.source} -> {problem.dest}"
    click.echo(
        f"{name} for {problem.target} {where}: {card['rows']} rows of {card['applications']} applications, "
        f"{card['metrics']} metrics, {len(card['left_out_metrics'])} left out"
    )
    if card["imputed_values"]:
        named = ", ".join(f"{one} ({count})" for one, count in card["imputed_values"].items())
        click.echo(f"gaps imputed by the median of the other rows: {named}")
    if card["rows_without_target"]:
        click.echo(
            f"{card['rows_without_target']} rows left out: they lack {problem.target}, ipc or inst_executed"
        )
    if card["refused_values"]:
        click.echo(f"{card['refused_values']} values of these rows were refused, as no device can have them")
    if card["simulated_rows"]:
        click.echo(f"SIMULATED: {card['simulated_rows']} of the rows were made by a model, not measured")
    _echo_unknown(problem)
    for how, said in HELD_OUT.items():
        if scores := card.get(f"held_out_{how}"):
            click.echo(f"{said}: {_score_line(scores, problem)}")
    click.echo(f"wrote {out}")
    for command in _next_commands(out, data):
        click.echo(f"next: {command}")


def _score_line(scores: dict[str, float], problem: Problem) -> str:
    """Say how good held-out predictions were, with a 90 % interval over applications."""
    first = "accuracy" if problem.classifies else "median_ape"
    low, high = (percent(scores[f"{first}_{end}"]) for end in ("low", "high"))
    told = f"{percent(scores[first])} % (90 %: {low} to {high} %)"
    if problem.classifies:
        return (
            f"accuracy {told}, false positives {percent(scores['false_positive_rate'])} %, false negatives "
            f"{percent(scores['false_negative_rate'])} %"
        )
    return f"median error {told}, mean absolute error {number(scores['mae'])} {problem.unit}"


def _model_file(problem: Problem) -> Path:
    """Return the name of a model's file: ipc-P100-V100.skops, blanks of a GPU's name as underscores."""
    return Path(
        "-".join(dict.fromkeys((problem.target, problem.source, problem.dest))).replace(" ", "_") + ".skops"
    )


def _next_commands(model: Path, data: Path | None) -> tuple[str, str]:
    """Return the commands that use a model: on the table that it was trained on, or on profiles still to read."""
    name = shlex.quote(str(model))
    if data is None:
        return ("xarch ingest PROFILES --out runs.parquet", f"xarch predict {name} --data runs.parquet")
    table = shlex.quote(str(data))
    report = shlex.quote(str(model.with_suffix(".html")))
    return (f"xarch predict {name} --data {table}", f"xarch report {name} --data {table} --out {report}")


@click.command()
@problem_options
@click.option(
    "--model",
    "names",
    multiple=True,
    default=("forest", "auto"),
    show_default=True,
    help="Model to score; repeat for more. The baselines are always shown.",
)
@click.option(
    "--split",
    type=click.Choice(["random", "kernel", "application", "suite"]),
    default="application",
    show_default=True,
    help="What is left out together.",
)
@click.option("--folds", type=int, default=10, show_default=True, help="Folds, at most one a group.")
@click.option(
    "--repeats",
    type=int,
    default=1,
    show_default=True,
    help="How often, each time with folds of another seed.",
)
@click.option("--nested", is_flag=True, help="Choose hyper-parameters on inner folds of each training part.")
@model_seed_option
@threads_option
@executor_option(None)
@click.option("--by-application", is_flag=True, help="Print the scores of each application too.")
@click.option("--out", type=FILE, help="JSON file for the scores, by application too.")
@json_option
def evaluate(
    target: str,
    source: str | None,
    dest: str | None,
    data: Path | None,
    metrics: str | None,
    names: tuple[str, ...],
    split: str,
    folds: int,
    repeats: int,
    nested: bool,
    seed: int,
    jobs: int,
    where: str | None,
    by_application: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score models on rows that they did not see, beside old = new and the other baselines."""
    from gpu_xarch.learning.evaluation import evaluate as cross_validate

    with fan_out(where, jobs) as n_jobs, step_progress("evaluating") as update:
        rows = load_data(target, source, dest, data, metrics)
        result = cross_validate(
            rows,
            names,
            split_by=split,
            folds=folds,
            repeats=repeats,
            nested=nested,
            seed=seed,
            n_jobs=n_jobs,
            on_step=update,
        )
    with step_progress("drawing intervals"):
        scores = result.scores(seed=seed)
    report = {
        "target": rows.problem.target,
        "unit": rows.problem.unit,
        "source": rows.problem.source,
        "dest": rows.problem.dest,
        "split": split,
        "rows": len(rows),
        "simulated_rows": rows.simulated,
        "scores": scores,
        "by_application": {name: result.by("application", name) for name in result.predictions},
        "words": [result.words(name) for name in names],
        "options": result.options,
    }
    if out is not None:
        write_text(out, json_text(report) + "\n")
    if as_json:
        echo_json(report)
        return
    if rows.simulated:
        click.echo(f"SIMULATED: {rows.simulated} of the {len(rows)} rows were made by a model, not measured")
    _echo_unknown(rows.problem)
    _echo_scores(scores, label=rows.problem.classifies, unit=rows.problem.unit)
    if by_application:
        header = ("application", "rows", *result.predictions)
        parts = [result.by("application", name) for name in result.predictions]
        one = "accuracy" if rows.problem.classifies else "mape"
        echo_table(
            header,
            [
                (row[0]["application"], int(row[0]["n"]), *(percent(p[one]) for p in row))
                for row in zip(*parts, strict=True)
            ],
        )
    for name in names:
        click.echo(result.words(name))


def _echo_unknown(problem: Problem) -> None:
    """Say which GPU of a problem between two has no data sheet, and what that costs."""
    from gpu_xarch.models import ANY

    sides = {getattr(problem, side) for side in ("source", "dest") if problem.spec(side) is None} - {ANY}
    if sides and not problem.same_gpu:
        click.echo(
            f"no data sheet of {', '.join(sorted(sides))}: the mechanism is old = new, and only what the pairs teach "
            "is added (xarch gpus --add FILE)"
        )


def _echo_scores(scores: list[dict[str, Any]], *, label: bool, unit: str) -> None:
    from gpu_xarch.units import named_in, squared

    if label:
        header: tuple[str, ...] = ("model", "accuracy %", "90 %", "false positives %", "false negatives %")
        rows = [
            (
                s["model"],
                percent(s["accuracy"]),
                f"{percent(s['accuracy_low'])}..{percent(s['accuracy_high'])}",
                percent(s["false_positive_rate"]),
                percent(s["false_negative_rate"]),
            )
            for s in scores
        ]
        echo_table(header, rows)
        return
    mae, mse = named_in("MAE", unit), named_in("MSE", squared(unit))
    header = ("model", "median APE %", "90 %", "MAPE %", "90 %", mae, "90 %", mse, "R2", "harmonic %")
    echo_table(
        header,
        [
            (
                s["model"],
                percent(s["median_ape"]),
                f"{percent(s['median_ape_low'])}..{percent(s['median_ape_high'])}",
                percent(s["mape"]),
                f"{percent(s['mape_low'])}..{percent(s['mape_high'])}",
                number(s["mae"]),
                f"{number(s['mae_low'])}..{number(s['mae_high'])}",
                number(s["mse"]),
                f"{s['r2']:.3f}",
                percent(s["harmonic_mean"]),
            )
            for s in scores
        ],
    )
