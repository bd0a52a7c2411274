"""`xarch ingest` and `xarch info`: profiles into a table, and what the table holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import gpu_xarch
from gpu_xarch.errors import InputError
from gpu_xarch.profiles.readers.table import load_map, table_reader
from gpu_xarch.tables.applications import Naming
from proxima_cli.options import FILE, json_option
from proxima_cli.output import echo_json, echo_table, file_progress, number

__all__ = ["info", "ingest"]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=FILE, help="Table to write or add to.")
@click.option("--app-from", metavar="REGEX", help="Find (?P<application>...) and (?P<input>...) in the path.")
@click.option(
    "--manifest",
    type=FILE,
    help="CSV with file, application, input, device; file may hold * and goes before all else.",
)
@click.option("--device", default="", metavar="GPU", help="The device of files that do not name theirs.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["auto", "table"]),
    default="auto",
    show_default=True,
    help="auto: nvprof or Nsight Compute, by content. table: CSV read through --map.",
)
@click.option(
    "--map", "column_map", metavar="MAP", help="Column map of --format table: a JSON file or gpuperfpredict."
)
@click.option(
    "--decimal",
    type=click.Choice([".", ","]),
    help="Mark before decimals in numbers of Nsight Compute and of tables; found out from each file unless given.",
)
@click.option(
    "--show-problems", type=click.IntRange(min=0), default=20, show_default=True, help="How many to print."
)
@json_option
@click.pass_context
def ingest(
    ctx: click.Context,
    paths: tuple[Path, ...],
    out: Path,
    app_from: str | None,
    manifest: Path | None,
    device: str,
    file_format: str,
    column_map: str | None,
    decimal: str | None,
    show_problems: int,
    as_json: bool,
) -> None:
    """Read profiles of nvprof and Nsight Compute from files and folders into one table.

    The format is found by content, gzip or not. Files that the table holds already add nothing. Exit code 1
    says that at least one file failed; the others are in the table all the same.
    """
    if (file_format == "table") != (column_map is not None):
        raise InputError("--format table and --map MAP go together: give both or none")
    naming = Naming.of(manifest, app_from, device)
    reader = table_reader(load_map(column_map), decimal=decimal) if column_map is not None else None
    with file_progress("reading") as update:
        report = gpu_xarch.ingest(paths, out, naming=naming, reader=reader, decimal=decimal, on_file=update)
    if as_json:
        echo_json(
            {
                "out": out,
                "files": report.files,
                "read": report.read,
                "already": report.already,
                "skipped": report.skipped,
                "failed": [
                    {"file": p.file, "line": p.line, "kind": p.kind, "message": p.message}
                    for p in report.failed
                ],
                "problems": [
                    {"file": p.file, "line": p.line, "kind": p.kind, "message": p.message}
                    for p in report.problems
                ],
                "n_problems": report.n_problems,
                "runs": report.runs,
                "new": report.new,
                "duplicate": report.duplicate,
                "merged": report.merged,
                "refused": report.refused,
                "unknown_metrics": dict(report.unknown),
            }
        )
    else:
        for problem in report.problems[:show_problems]:
            click.echo(str(problem), err=True)
        if report.n_problems > show_problems:
            click.echo(f"... {report.n_problems - show_problems} more problems (--show-problems)", err=True)
        for problem in report.failed:
            click.echo(f"failed: {problem}", err=True)
        if report.unknown:
            names = ", ".join(f"{name} ({count} runs)" for name, count in sorted(report.unknown.items())[:20])
            more = f" and {len(report.unknown) - 20} more" if len(report.unknown) > 20 else ""
            click.echo(f"metrics the registry does not know, kept under their own names: {names}{more}")
        click.echo(
            f"{report.files} files: {report.read} read, {report.already} held already, "
            f"{report.skipped} no profiles, {len(report.failed)} failed"
        )
        click.echo(
            f"{report.new} runs added to {out}, {report.duplicate} held already, "
            f"{report.merged} joined to others, {report.refused} values refused, {report.n_problems} problems"
        )
    ctx.exit(1 if report.failed else 0)


@click.command()
@click.argument("table", type=FILE)
@json_option
def info(table: Path, as_json: bool) -> None:
    """Describe a table: devices, applications, metrics, repetitions, and values that cannot be."""
    facts = gpu_xarch.describe(gpu_xarch.load_runs(table))
    if as_json:
        echo_json(facts)
        return
    _print_info(table, facts)


def _print_info(table: Path, facts: dict[str, Any]) -> None:
    tools = ", ".join(f"{tool} {count}" for tool, count in facts["tools"].items())
    click.echo(
        f"{table}: {facts['runs']} runs from {facts['files']} files ({tools}), {facts['metrics']} metrics"
    )
    if facts["simulated"]:
        click.echo(f"SIMULATED: {facts['simulated']} of the runs were made by a model, not measured")
    click.echo()
    columns = ("device", "runs", "simulated", "applications", "kernels", "metrics", "launches")
    rows = [[device[name] for name in columns] for device in facts["devices"]]
    echo_table(columns, rows)
    for device in facts["devices"]:
        if not device["known"]:
            click.echo(
                f"{device['device']}: no data-sheet facts, so peaks are not checked (xarch gpus --add FILE)"
            )
    click.echo()
    names = ", ".join(f"{name} {count}" for name, count in facts["applications"].items())
    click.echo(f"applications ({len(facts['applications'])}): {names}")
    missing = facts["missing"]
    if missing:
        text = ", ".join(
            f"{name} {count}" for name, count in sorted(missing.items(), key=lambda item: -item[1])
        )
        click.echo(f"missing in some runs ({len(missing)} metrics): {text}")
    if facts["unknown_metrics"]:
        click.echo(f"not in the registry: {', '.join(facts['unknown_metrics'])}")
    repeated = facts["repeated"]
    click.echo(f"repeated: {repeated['runs']} runs beyond the first of {repeated['keys']} keys")
    if facts["refused"]:
        names = ", ".join(f"{name} {count}" for name, count in facts["refused"].items())
        click.echo(f"left out at ingest, as no device can have them: {names}")
    if facts["impossible"]:
        click.echo("\nvalues that cannot be:")
        names_ = ("device", "metric", "why", "runs", "worst", "limit", "example")
        echo_table(
            names_,
            [
                [number(item[name]) if name in ("worst", "limit") else item[name] for name in names_]
                for item in facts["impossible"]
            ],
        )
    else:
        click.echo("no value outside its physical range")
    if facts["outliers"]:
        click.echo("\nfarthest from the median of their metric (in median deviations of the logarithm):")
        rows = [
            [
                item["device"],
                item["metric"],
                *(number(item[name]) for name in ("value", "median", "distance")),
                item["example"],
            ]
            for item in facts["outliers"]
        ]
        echo_table(("device", "metric", "value", "median", "distance", "file"), rows)
