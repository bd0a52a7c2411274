"""`xarch metrics` and `xarch gpus`: what the package knows about metrics and devices."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import find_metric, registry
from gpu_xarch.metrics import published as published_names
from gpu_xarch.specs import find_gpu, user_file
from gpu_xarch.specs import gpus as known_gpus
from gpu_xarch.specs.own import add_gpus
from proxima_cli.options import FILE, json_option
from proxima_cli.output import echo_json, echo_table, number

__all__ = ["gpus", "metrics"]


@click.command()
@click.argument("name", required=False)
@click.option("--kind", help="Only metrics of this family, such as stall or cache.")
@click.option("--published", is_flag=True, help="Only the 116 metrics that P100 and V100 share.")
@json_option
def metrics(name: str | None, kind: str | None, published: bool, as_json: bool) -> None:
    """Show the metric registry, or the entry of NAME (a name, alias, label or Nsight Compute metric)."""
    if name is not None:
        chosen = [find_metric(name)]
    else:
        chosen = list(registry().values())
        if published:
            chosen = [metric for metric in chosen if metric.name in published_names()]
        if kind is not None:
            kinds = sorted({metric.kind for metric in chosen})
            if kind not in kinds:
                raise InputError(f"no metrics of the kind {kind!r}: there are {', '.join(kinds)}")
            chosen = [metric for metric in chosen if metric.kind == kind]
    if as_json:
        echo_json([asdict(metric) | {"ncu_expression": metric.ncu_expression} for metric in chosen])
    elif name is not None:
        metric = chosen[0]
        for title, text in (
            ("name", metric.name),
            ("unit", metric.unit),
            ("kind", metric.kind),
            ("what", metric.description),
            ("nvprof labels", ", ".join(metric.labels)),
            ("nvprof aliases", ", ".join(metric.aliases)),
            ("Nsight Compute", metric.ncu_expression),
            ("note", metric.note),
        ):
            if text:
                click.echo(f"{title + ':':16}{text}")
    else:
        echo_table(
            ("name", "unit", "kind", "what"), [(m.name, m.unit, m.kind, m.description) for m in chosen]
        )


@click.command()
@click.argument("name", required=False)
@click.option(
    "--add",
    type=FILE,
    help="Add the data sheets of this file to your own: TOML, or the output of deviceQuery or nvidia-smi -q.",
)
@json_option
def gpus(name: str | None, add: Path | None, as_json: bool) -> None:
    """Show data-sheet facts of all known GPUs, or those of NAME with their source."""
    if add is not None:
        if name is not None:
            raise InputError(f"--add takes the names from {add}: leave {name} out")
        added = ", ".join(spec.name for spec in add_gpus(add))
        click.echo(f"added {added} to {user_file()}")
        return
    chosen = [find_gpu(name)] if name is not None else list(known_gpus().values())
    if as_json:
        echo_json(
            [asdict(spec) | {"peak_fp32": spec.peak_fp32, "peak_fp64": spec.peak_fp64} for spec in chosen]
        )
    elif name is not None:
        spec = chosen[0]
        for title, text in (
            ("name", spec.name),
            ("architecture", f"{spec.architecture}, compute capability {spec.compute_capability}"),
            ("multiprocessors", f"{spec.sms}, each {spec.fp32_lanes} FP32 and {spec.fp64_lanes} FP64 lanes"),
            ("clock", f"{spec.base_hz / 1e6:g} to {spec.boost_hz / 1e6:g} MHz"),
            ("bandwidth", f"{spec.bandwidth / 1e9:g}e9 bytes/s"),
            ("memory", f"{number(spec.memory / 2**30)} GiB, L2 {spec.l2 / 2**10:g} KiB"),
            ("L1 and shared", f"{spec.l1 >> 10} KiB, shared at most {spec.shared >> 10} KiB"),
            ("limits of an SM", f"{spec.warps} warps, {spec.blocks} blocks, {spec.registers} registers"),
            ("issue width", f"{spec.issue_width} warp instructions a cycle"),
            ("peak", f"{number(spec.peak_fp32 / 1e12)} FP32, {number(spec.peak_fp64 / 1e12)} FP64 Tflop/s"),
            ("source", spec.source),
        ):
            click.echo(f"{title + ':':17}{text}")
    else:
        rows = [
            (
                *(spec.name, spec.architecture, spec.compute_capability, spec.sms),
                *(f"{spec.boost_hz / 1e6:g}", f"{spec.bandwidth / 1e9:g}"),
                *(number(spec.memory / 2**30), f"{spec.l2 / 2**10:g}"),
                number(spec.peak_fp32 / 1e12),
            )
            for spec in chosen
        ]
        echo_table(("name", "architecture", "cc", "SMs", "MHz", "1e9 B/s", "GiB", "L2 KiB", "Tflop/s"), rows)
