"""`xarch curate`, `xarch next` and `xarch portability`: what to profile, and how portable kernels are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxima_cli.executors import executor_option, fan_out
from proxima_cli.options import FILE, NumberList, json_option, model_seed_option, split_names, threads_option
from proxima_cli.output import echo_json, echo_table, number, step_progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["curate", "next_", "portability"]

_STRATEGIES = ["variance", "diversity", "density", "random"]


@click.command()
@click.argument("pairs", type=FILE)
@click.option("--target", required=True, metavar="METRIC", help="What is predicted on the target GPU.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results."
)
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    type=click.Choice(_STRATEGIES),
    help="Repeat for more; variance and random unless given.",
)
@click.option(
    "--sizes",
    type=NumberList(),
    default="2.5:30:2.5",
    show_default=True,
    help="Training sets, in percent of the pool.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Runs in a batch; 250, or a tenth of the largest set."
)
@click.option(
    "--initial",
    type=click.IntRange(min=2),
    help="Random runs to begin with; 250, or a third of the largest set, at least 20.",
)
@click.option(
    "--test-share", type=float, default=0.3, show_default=True, help="Share of the pairs kept for the test."
)
@model_seed_option
@threads_option
@executor_option(None)
@json_option
def curate(
    pairs: Path,
    target: str,
    out: Path,
    strategies: tuple[str, ...],
    sizes: tuple[float, ...],
    batch: int | None,
    initial: int | None,
    test_share: float,
    seed: int,
    jobs: int,
    where: str | None,
    as_json: bool,
) -> None:
    """Compare ways to choose which runs to profile: learning curves and what the sets are made of."""
    import numpy as np

    from gpu_xarch.advice.curation import curate as choose
    from gpu_xarch.advice.curation import first_batch
    from gpu_xarch.advice.learning_curves import composition, learning_curve, sizes_of
    from gpu_xarch.errors import InputError
    from gpu_xarch.metrics import registry
    from gpu_xarch.tables.pairs import DEST, SOURCE, load_pairs, pair_values
    from gpu_xarch.units import named_in

    table = load_pairs(pairs)
    y = pair_values(table, DEST, [target])[target].to_numpy(float)
    table, y = table[np.isfinite(y)].reset_index(drop=True), y[np.isfinite(y)]
    values = pair_values(table, SOURCE)
    full = [name for name in values if values[name].notna().all()]
    if not full:
        raise InputError("no metric is there for every pair: profile the runs with one set of metrics")
    if not 0 < test_share < 1:
        raise InputError(f"--test-share must be between 0 and 1, got {test_share}")
    X = values[full].to_numpy(float)
    shuffled = np.random.default_rng(seed).permutation(len(y))
    n_pool = round((1 - test_share) * len(y))
    pool, test = shuffled[:n_pool], shuffled[n_pool:]
    if not len(test):
        raise InputError(f"{len(y)} pairs leave none for the test: add pairs or raise --test-share")
    marks = sizes_of(n_pool, [size / 100 for size in sizes])
    first = first_batch(marks[-1]) if initial is None else initial
    orders: dict[str, np.ndarray] = {}
    for strategy in strategies or ("variance", "random"):
        with fan_out(where, jobs) as n_jobs, step_progress(f"choosing by {strategy}") as update:
            orders[strategy] = choose(
                X[pool],
                y[pool],
                marks[-1],
                strategy=strategy,
                batch_size=batch,
                initial=first,
                seed=seed,
                n_jobs=n_jobs,
                on_batch=update,
            )
    with step_progress("scoring") as update:
        curve = learning_curve(orders, X[pool], y[pool], X[test], y[test], marks, on_step=update)
    parts = composition(orders, table["application"].to_numpy(str)[pool], marks)
    simulated = int((table["source.simulated"] | table["dest.simulated"]).sum())
    unit = registry()[target].unit if target in registry() else "unknown"
    curve["unit"] = unit
    curve["simulated"] = parts["simulated"] = bool(simulated)
    mark = "SIMULATED, not measured: " if simulated else ""
    title = f"{mark}{target}, {n_pool} runs to choose from, {len(test)} to test"
    out.mkdir(parents=True, exist_ok=True)
    curve.to_csv(out / "curve.csv", index=False)
    parts.to_csv(out / "composition.csv", index=False)
    for name, figure in _figures(curve, parts, title).items():
        figure.savefig(out / name, dpi=150)
    if as_json:
        echo_json(curve.to_dict("records"))
        return
    echo_table(
        ("strategy", "runs", "MAPE %", "median APE %", named_in("MAE", unit)),
        [
            (row.strategy, row.size_, f"{100 * row.mape:.2f}", f"{100 * row.median_ape:.2f}", number(row.mae))
            for row in curve.rename(columns={"size": "size_"}).itertuples()
        ],
    )
    if marks[0] < first:
        click.echo(f"the first {first} runs are random for every strategy: sets up to that size are the same")
    if len(full) < values.shape[1]:
        click.echo(f"{values.shape[1] - len(full)} metrics that some pairs lack were left out")
    if simulated:
        click.echo(f"SIMULATED: {simulated} of the pairs hold runs made by a model, not measured")
    click.echo(f"wrote curve.csv, composition.csv, curve.png and composition.png under {out}")


def _figures(curve: pd.DataFrame, parts: pd.DataFrame, title: str) -> dict[str, Figure]:
    from gpu_xarch.advice.learning_curves import composition_figure, curve_figure

    return {
        "curve.png": curve_figure(curve, title=title),
        "composition.png": composition_figure(parts, title=title),
    }


@click.command("next")
@click.argument("table", type=FILE)
@click.option("--source", required=True, metavar="GPU", help="The GPU at hand.")
@click.option("--dest", required=True, metavar="GPU", help="The GPU to profile on.")
@click.option("--target", required=True, metavar="METRIC", help="What is to be predicted there.")
@click.option("--n", type=click.IntRange(min=1), default=20, show_default=True, help="Runs to name.")
@click.option(
    "--strategy", type=click.Choice(_STRATEGIES), default="variance", show_default=True, help="How to choose."
)
@click.option(
    "--on",
    default="application,kernel,input,launch,invocations",
    show_default=True,
    help="Columns that make a run of one GPU the same as a run of the other.",
)
@click.option("--out", type=FILE, help="CSV to write.")
@model_seed_option
@threads_option
@executor_option(None)
@json_option
def next_(
    table: Path,
    source: str,
    dest: str,
    target: str,
    n: int,
    strategy: str,
    on: str,
    out: Path | None,
    seed: int,
    jobs: int,
    where: str | None,
    as_json: bool,
) -> None:
    """Name the runs to profile on the target GPU next, and what that should bring."""
    from gpu_xarch.advice.next_runs import next_runs
    from gpu_xarch.tables.runs import load_runs

    columns = split_names(on)
    with fan_out(where, jobs) as n_jobs, step_progress("choosing"):
        found = next_runs(
            load_runs(table),
            source=source,
            dest=dest,
            metric=target,
            n=n,
            strategy=strategy,
            on=columns,
            seed=seed,
            n_jobs=n_jobs,
        )
    if out is not None:
        found.runs.assign(simulated=bool(found.simulated)).to_csv(out, index=False)
    gain = found.gain
    if as_json:
        records = found.runs.astype(object).where(found.runs.notna(), None).to_dict("records")
        told = None if gain is None else {"before": gain.before, "after": gain.after, "random": gain.random}
        facts: dict[str, Any] = {
            "target": target,
            "strategy": strategy,
            "pairs": found.n_pairs,
            "candidates": found.n_candidates,
            "metrics": found.metrics,
            "left_out_metrics": list(found.left_out),
            "simulated": found.simulated,
            "expected_mean_std": told,
            "runs": records,
        }
        echo_json(facts)
        return
    shown = [name for name in found.runs if name not in ("file", "line", "launch", "invocations")]
    echo_table(
        shown,
        [
            [number(value) if isinstance(value, float) else str(value)[:60] for value in row]
            for row in found.runs[shown].itertuples(index=False)
        ],
    )
    click.echo(
        f"{found.n_candidates} runs are on the source alone, {found.n_pairs} on both;"
        f" {found.metrics} metrics, {len(found.left_out)} left out because some runs lack them"
    )
    if gain is not None and gain.before > 0:
        click.echo(
            f"expected: mean standard deviation of {target} over these {found.n_candidates} runs"
            f" {number(gain.before)} now, {number(gain.after)} with these {len(found.runs)}"
            f" ({100 * (gain.after / gain.before - 1):+.0f} %), {number(gain.random)} with as many random ones"
        )
    if found.simulated:
        click.echo(f"SIMULATED: {found.simulated} of the source's runs were made by a model, not measured")


@click.command()
@click.argument("table", type=FILE)
@click.option(
    "--gpu", "gpus", multiple=True, metavar="GPU", help="A platform; repeat for more, all unless given."
)
@click.option(
    "--efficiency",
    type=click.Choice(["bandwidth", "issue", "larger"]),
    default="bandwidth",
    show_default=True,
    help="Share of the peak bandwidth, of the issue width, or the larger of both.",
)
@click.option(
    "--predicted",
    multiple=True,
    type=FILE,
    help="CSV of `xarch predict`, for a GPU without runs; repeatable.",
)
@click.option(
    "--missing",
    type=click.Choice(["leave-out", "unsupported"]),
    default="leave-out",
    show_default=True,
    help="Problems without a run on one of the GPUs: drop them, or call them unsupported (0).",
)
@click.option(
    "--on",
    default="application,kernel,input,launch",
    show_default=True,
    help="Columns that make runs of several GPUs the same problem.",
)
@click.option("--out", type=FILE, help="CSV with every problem.")
@json_option
def portability(
    table: Path,
    gpus: tuple[str, ...],
    efficiency: str,
    predicted: tuple[Path, ...],
    missing: str,
    on: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show the performance portability of every application over a set of GPUs."""
    from gpu_xarch.advice.portability import by_application, portability_table
    from gpu_xarch.tables.runs import load_runs

    frame = load_runs(table)
    simulated = int(frame["simulated"].sum())
    n_predicted = 0
    if predicted:
        frame, n_predicted, more = _with_predictions(frame, predicted)
        simulated += more
    columns = split_names(on)
    found = portability_table(frame, gpus, kind=efficiency, missing=missing, on=columns)
    names = [name for name in found.columns if name in set(frame["device"].astype(str))]
    if out is not None:
        found.assign(simulated=bool(simulated)).to_csv(out, index=False)
    if as_json:
        records = found.astype(object).where(found.notna(), None).to_dict("records")
        echo_json(
            {"efficiency": efficiency, "simulated": simulated, "predicted": n_predicted, "problems": records}
        )
        return
    rows = by_application(found, names)
    echo_table(
        list(rows[0]),
        [[number(value) if isinstance(value, float) else value for value in row.values()] for row in rows],
    )
    click.echo(f"{len(found)} problems; {found.attrs['left_out']} left out because a GPU has no run of them")
    if found.attrs["unmeasured"]:
        click.echo(f"{found.attrs['unmeasured']} runs lack the metrics of this efficiency")
    if n_predicted:
        click.echo(f"PREDICTED: {n_predicted} of the runs are predictions")
    if simulated:
        click.echo(f"SIMULATED: {simulated} of the runs were made by a model, not measured")


def _with_predictions(frame: pd.DataFrame, files: tuple[Path, ...]) -> tuple[pd.DataFrame, int, int]:
    import pandas as pd

    from gpu_xarch.advice.portability import predicted_runs
    from gpu_xarch.errors import InputError

    tables = []
    for file in files:
        try:
            tables.append(pd.read_csv(file, dtype={"application": str, "kernel": str, "input": str}))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no CSV file"
            raise InputError(
                f"cannot read the predictions {file}: {reason}; `xarch predict --out FILE.csv` writes them"
            ) from error
    joined = pd.concat(tables, ignore_index=True)
    runs = predicted_runs(joined)
    both = set(runs["device"]) & set(frame["device"].astype(str))
    if both:
        raise InputError(
            f"the table has runs of {sorted(both)[0]} already: predict GPUs that it has not, or leave it out"
        )
    simulated = int(joined["simulated"].astype(str).eq("True").sum()) if "simulated" in joined else 0
    # predictions have no launches: a problem is then an application, kernel and input
    measured = frame.drop(columns="launch").assign(input=frame["input"].fillna(""))
    measured.attrs.clear()
    return pd.concat([measured, runs], ignore_index=True), len(runs), simulated
