"""The command `xarch`: performance of GPU kernels on another GPU, from profiler metrics."""

from __future__ import annotations

import click

from proxima_cli.endings import OneLineGroup
from proxima_cli.options import HELP_NAMES, version_option
from proxima_cli.xarch_collect import collect
from proxima_cli.xarch_curate import curate, next_, portability
from proxima_cli.xarch_data import info, ingest
from proxima_cli.xarch_model_reports import report, select
from proxima_cli.xarch_models import evaluate, train
from proxima_cli.xarch_pairs import label, pair
from proxima_cli.xarch_predict import predict
from proxima_cli.xarch_reference import gpus, metrics
from proxima_cli.xarch_simulate import simulate
from proxima_cli.xarch_views import compare, export, roofline

__all__ = ["main"]


#: commands in the order of the work, by what they are for
SECTIONS = {
    "From profiles to a table": (simulate, collect, ingest, info, export),
    "A look at the runs": (label, roofline, compare),
    "Prediction for another GPU": (pair, train, predict, evaluate, select, report),
    "What to profile next": (next_, curate, portability),
    "Reference": (metrics, gpus),
}


class PipelineGroup(OneLineGroup):
    """Lists its commands in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands, section by section."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(one.name), one.get_short_help_str(90)) for one in commands])


@click.group("xarch", cls=PipelineGroup, context_settings=HELP_NAMES)
@version_option
def main() -> None:
    """Predict how a GPU kernel will perform on another GPU, from profiler metrics."""


for section in SECTIONS.values():
    for command in section:
        main.add_command(command)

if __name__ == "__main__":
    main()
