"""The command `xarch`: performance of GPU kernels on another GPU, from profiler metrics."""

from __future__ import annotations

from typing import Any

import click

from gpu_xarch.errors import InputError, XarchError
from proxima_cli.options import OneLineGroup
from proxima_cli.xarch_collect import collect
from proxima_cli.xarch_curate import curate, next_, portability
from proxima_cli.xarch_data import info, ingest
from proxima_cli.xarch_model_reports import report, select
from proxima_cli.xarch_models import evaluate, predict, train
from proxima_cli.xarch_pairs import label, pair
from proxima_cli.xarch_reference import gpus, metrics
from proxima_cli.xarch_simulate import simulate

__all__ = ["main"]


class XarchGroup(OneLineGroup):
    """Turns the library's errors into one line: bad input exits with 2, a run that failed with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except XarchError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2 if isinstance(error, InputError) else 1)


@click.group(cls=XarchGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ase-proxima", prog_name="xarch")
def main() -> None:
    """Predict how a GPU kernel will perform on another GPU, from profiler metrics."""


for command in (
    *(ingest, info, pair, label, metrics, gpus, collect, simulate),
    *(train, predict, evaluate, select, report),
):
    main.add_command(command)

for command in (curate, next_, portability):
    main.add_command(command)

if __name__ == "__main__":
    main()
