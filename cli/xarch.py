"""The command `xarch`: performance of GPU kernels on another GPU, from profiler metrics."""

from __future__ import annotations

import click

from proxima_cli.endings import OneLineGroup
from proxima_cli.options import HELP_NAMES, version_option
from proxima_cli.xarch_collect import collect
from proxima_cli.xarch_curate import curate, next_, portability
from proxima_cli.xarch_data import info, ingest
from proxima_cli.xarch_model_reports import report, select
from proxima_cli.xarch_models import evaluate, predict, train
from proxima_cli.xarch_pairs import label, pair
from proxima_cli.xarch_reference import gpus, metrics
from proxima_cli.xarch_simulate import simulate

__all__ = ["main"]


@click.group("xarch", cls=OneLineGroup, context_settings=HELP_NAMES)
@version_option
def main() -> None:
    """Predict how a GPU kernel will perform on another GPU, from profiler metrics."""


for command in (
    *(ingest, info, pair, label, metrics, gpus, collect, simulate),
    *(train, predict, evaluate, select, report),
    *(curate, next_, portability),
):
    main.add_command(command)

if __name__ == "__main__":
    main()
