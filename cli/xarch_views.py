"""`xarch compare`, `xarch roofline` and `xarch export`: what people look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import gpu_xarch
from gpu_xarch.errors import InputError
from proxima_cli.options import FILE, FigureFile, json_option, split_names
from proxima_cli.output import echo_json, echo_table, number, percent, write_figure, write_text

__all__ = ["compare", "export", "roofline"]

_NAME = 44  # characters of a kernel's name in a table


def _short(text: object) -> str:
    name = str(text)
    return name if len(name) <= _NAME else name[: _NAME - 3] + "..."


@click.command()
@click.argument("before", type=FILE)
@click.argument("after", type=FILE)
@click.option("--gpu", metavar="GPU", help="The GPU, where both tables have several.")
@click.option(
    "--on",
    default="application,kernel,input,launch,invocations",
    show_default=True,
    help="Columns that must agree; kernel_base is the kernel's name without template and parameters.",
)
@click.option("--metrics", metavar="NAMES", help="Compare these metrics alone, with commas.")
@click.option("--most", type=click.IntRange(min=1), default=10, show_default=True, help="Rows of each table.")
@click.option("--out", type=FILE, help="CSV with every change of every metric.")
@json_option
def compare(
    before: Path,
    after: Path,
    gpu: str | None,
    on: str,
    metrics: str | None,
    most: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare two tables of runs on one GPU, BEFORE and AFTER a change: times first, then what changed most."""
    found = gpu_xarch.compare_runs(
        gpu_xarch.load_runs(before),
        gpu_xarch.load_runs(after),
        gpu=gpu,
        on=split_names(on),
        metrics=split_names(metrics) if metrics is not None else None,
    )
    if out is not None:
        write_text(out, found.changes.to_csv(index=False))
    alone = {
        side: sum(item["side"] == side for item in found.pairing.unmatched) for side in ("source", "dest")
    }
    if as_json:
        echo_json(
            {
                "device": found.device,
                "speedup": found.speedup,
                "only_before": alone["source"],
                "only_after": alone["dest"],
                "kernels": found.kernels.to_dict("records"),
                "changes": found.changes.head(most).to_dict("records"),
            }
        )
        return
    click.echo(
        f"{len(found.kernels)} runs on {found.device} in both; {alone['source']} before alone, "
        f"{alone['dest']} after alone"
    )
    _echo_times(found, most)
    changed = found.changes[(found.changes["metric"] != "duration") & (found.changes["size"] > 0)]
    rows = [
        (
            _short(row["kernel"]),
            row["metric"],
            number(row["before"]),
            number(row["after"]),
            _change(row["change"]),
        )
        for row in changed.head(most).to_dict("records")
    ]
    click.echo("\nwhat changed most:" if rows else "\nno other metric changed")
    if rows:
        echo_table(("kernel", "metric", "before", "after", "change %"), rows)
    if out is not None:
        click.echo(f"wrote {out}", err=True)


def _change(value: float) -> str:
    return f"{100 * value:+.1f}" if value == value else "-"


def _echo_times(found: Any, most: int) -> None:
    timed = found.kernels.dropna(subset=["speedup"])
    if timed.empty:
        click.echo("no times in both tables: profile them (see docs/xarch.md) to see what became faster")
        return
    rows = [
        (
            row["application"],
            _short(row["kernel"]),
            int(row["invocations"]),
            *(number(1e6 * row[side]) for side in ("before", "after")),
            number(row["speedup"]),
        )
        for row in timed.head(most).to_dict("records")
    ]
    echo_table(("application", "kernel", "launches", "before us", "after us", "speedup"), rows)
    if len(timed) > most:
        click.echo(f"... {len(timed) - most} more (--most), by time saved or lost")
    click.echo(f"all launches together: {found.speedup:.3g} times as fast as before")


@click.command()
@click.argument("table", type=FILE)
@click.option("--out", type=FigureFile(), help="Figure to draw, in the format of its ending.")
@click.option("--gpu", metavar="GPU", help="Runs of this GPU alone.")
@click.option(
    "--precision",
    type=click.Choice(["single", "double"]),
    default="single",
    show_default=True,
    help="Which operations are counted.",
)
@click.option("--most", type=click.IntRange(min=1), default=10, show_default=True, help="Rows to print.")
@json_option
def roofline(
    table: Path, out: Path | None, gpu: str | None, precision: str, most: int, as_json: bool
) -> None:
    """Show how far kernels are below the roofline of their GPU, and draw it."""
    runs = gpu_xarch.load_runs(table)
    points = gpu_xarch.roofline_points(runs, gpu=gpu, precision=precision)
    if out is not None:
        write_figure(gpu_xarch.roofline_figure(points, precision=precision), out)
    if as_json:
        echo_json(points.to_dict("records"))
        return
    shown = runs if gpu is None else runs[runs["device"] == points["device"].iloc[0]]
    click.echo(
        f"{len(points)} of {len(shown)} runs have operations of {precision} precision, traffic and a time; the longest:"
    )
    rows = [
        (
            row["device"],
            row["application"],
            _short(row["kernel"]),
            number(row["intensity"]),
            number(row["rate"] / 1e9),
            percent(row["share"]),
            row["bound"],
        )
        for row in points.head(most).to_dict("records")
    ]
    echo_table(("device", "application", "kernel", "op/byte", "1e9 op/s", "% of roof", "bound"), rows)
    if shown["simulated"].any():
        click.echo("SIMULATED: runs of the table were made by a model, not measured")


@click.command()
@click.argument("table", type=FILE)
@click.option("--out", required=True, type=FILE, help="CSV to write.")
@click.option("--metrics", metavar="NAMES", help="These metrics alone, with commas, beside what each run is.")
@click.option("--gpu", metavar="GPU", help="Runs of this GPU alone.")
@click.option("--units", is_flag=True, help="Write units behind the names: duration [s].")
def export(table: Path, out: Path, metrics: str | None, gpu: str | None, units: bool) -> None:
    """Write a table of runs or pairs as CSV, in SI units."""
    frame = gpu_xarch.load_table(table)
    text, rows = gpu_xarch.export_csv(
        frame, metrics=split_names(metrics) if metrics is not None else None, gpu=gpu, with_units=units
    )
    if not rows:
        raise InputError(f"no rows to write: {table} has none{f' of {gpu}' if gpu else ''}")
    write_text(out, text)
    click.echo(f"{rows} rows written to {out}")
