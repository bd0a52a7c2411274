"""`xarch pair` and `xarch label`: join the runs of two GPUs, mark what is memory-bound."""

from __future__ import annotations

import csv
from pathlib import Path

import click

import gpu_xarch
from gpu_xarch.errors import InputError
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.memory_bound import THRESHOLD
from proxima_cli.options import FILE, json_option, split_names
from proxima_cli.output import echo_json, echo_table

__all__ = ["label", "pair"]


@click.command()
@click.argument("table", type=FILE)
@click.option("--source", required=True, metavar="GPU", help="The GPU at hand; any for each of the table.")
@click.option("--dest", required=True, metavar="GPU", help="The GPU to predict; any for each of the table.")
@click.option("--out", type=FILE, help="Pair table to write (Parquet).")
@click.option(
    "--on",
    default="application,kernel,input,launch,invocations",
    show_default=True,
    help="Columns that must agree; kernel_base is the kernel's name without template and parameters.",
)
@click.option(
    "--tolerance", type=float, help="Let numbers in the input differ by this share; off unless given."
)
@click.option(
    "--repeats",
    type=click.Choice(["refuse", "mean", "median", "first"]),
    default="refuse",
    show_default=True,
    help="What to do with several runs of one key on one GPU; refuse reports them as ambiguous.",
)
@click.option(
    "--report",
    type=FILE,
    help="CSV with every unmatched and ambiguous run.",
)
@json_option
def pair(
    table: Path,
    source: str,
    dest: str,
    out: Path | None,
    on: str,
    tolerance: float | None,
    repeats: str,
    report: Path | None,
    as_json: bool,
) -> None:
    """Join the runs of two GPUs by key, and report what did not match and why."""
    columns = split_names(on)
    pairing = gpu_xarch.pair(
        gpu_xarch.load_runs(table),
        source=source,
        dest=dest,
        on=columns,
        tolerance=tolerance,
        repeats=repeats,
    )
    if report is not None:
        rows = [
            *(
                {"state": "unmatched", **{k: v for k, v in item.items() if k != "column"}}
                for item in pairing.unmatched
            ),
            *({"state": "ambiguous", **item} for item in pairing.ambiguous),
        ]
        header = ["state", "side", *columns, "why", "source_runs", "dest_runs", "example"]
        with report.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, header)
            writer.writeheader()
            writer.writerows(rows)
    if out is not None and len(pairing.pairs):
        gpu_xarch.write_pairs(pairing, out)
    simulated = int((pairing.pairs["source.simulated"] | pairing.pairs["dest.simulated"]).sum())
    reasons = pairing.reasons()
    if as_json:
        echo_json(
            {
                "source": pairing.source,
                "dest": pairing.dest,
                "on": list(pairing.on),
                "pairs": len(pairing.pairs),
                "simulated": simulated,
                "unmatched": pairing.unmatched,
                "ambiguous": pairing.ambiguous,
                "out": out if len(pairing.pairs) else None,
            }
        )
    else:
        click.echo(
            f"{len(pairing.pairs)} pairs {pairing.source} -> {pairing.dest} on {', '.join(columns)}; "
            f"{len(pairing.unmatched)} runs unmatched, {len(pairing.ambiguous)} keys ambiguous"
        )
        if simulated:
            click.echo(f"SIMULATED: {simulated} of the pairs hold runs made by a model, not measured")
        if reasons:
            echo_table(("unmatched for the", "runs"), sorted(reasons.items()))
        for item in pairing.unmatched[:10]:
            click.echo(f"  {item['side']} {item.get('application', '')} {item['example']}: {item['why']}")
        for item in pairing.ambiguous[:10]:
            counts = f"{item['source_runs']} runs here, {item['dest_runs']} there"
            click.echo(f"  ambiguous: {counts}: {item['example']}")
        if len(pairing.unmatched) > 10 or len(pairing.ambiguous) > 10:
            click.echo("  ... --report FILE lists all")
        if pairing.ambiguous:
            click.echo("repeated runs can be joined with --repeats mean, median or first")
    if not len(pairing.pairs):
        raise InputError(f"no pairs{pairing.hint()}")


def _peaks(values: tuple[str, ...], devices: list[str]) -> dict[str, float]:
    peaks = {}
    for text in values:
        name, equals, number = text.rpartition("=")
        try:
            peak = float(number) * 1e9
        except ValueError:
            raise InputError(f"--peak needs [GPU=]GB/s, got {text!r}: for instance P100=732") from None
        for device in [canonical_device(name)] if equals else devices:
            peaks[device] = peak
    return peaks


@click.command()
@click.argument("table", type=FILE)
@click.option("--out", type=FILE, help="Table to write; without it, TABLE itself.")
@click.option(
    "--threshold", type=float, default=THRESHOLD, show_default=True, help="Share of the peak bandwidth."
)
@click.option(
    "--peak",
    "peaks",
    multiple=True,
    metavar="[GPU=]GB/S",
    help="Peak bandwidth in 10^9 bytes/s; else the data sheet's.",
)
@json_option
def label(table: Path, out: Path | None, threshold: float, peaks: tuple[str, ...], as_json: bool) -> None:
    """Mark the runs that are bound by memory bandwidth: traffic above a share of the peak."""
    frame = gpu_xarch.load_runs(table)
    devices = [str(name) for name in frame["device"].unique()]
    labelled = gpu_xarch.label_runs(frame, threshold=threshold, peaks=_peaks(peaks, devices))
    gpu_xarch.write_runs(labelled, out or table)
    rows = []
    for device, part in labelled.groupby("device", sort=True):
        bound = part["memory_bound"]
        rows.append(
            (
                str(device),
                len(part),
                int((bound == 1).sum()),
                int((bound == 0).sum()),
                int(bound.isna().sum()),
            )
        )
    header = ("device", "runs", "memory_bound", "not_bound", "unknown")
    for device in sorted({str(device) for device in devices} - set(gpu_xarch.gpus())):
        if labelled.loc[labelled["device"] == device, "bandwidth_fraction"].isna().all():
            hint = f"give --peak '{device}=GB/s', or its data sheet by `xarch gpus --add FILE`"
            click.echo(f"{device}: no peak bandwidth is known, its runs are not labelled: {hint}", err=True)
    if as_json:
        echo_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        echo_table(header, rows)
        if frame["simulated"].any():
            click.echo(
                f"SIMULATED: {int(frame['simulated'].sum())} of the runs were made by a model, not measured"
            )
