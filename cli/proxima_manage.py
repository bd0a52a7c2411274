"""`proxima manage`: training beside the simulation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ase_proxima.errors import InputError
from proxima_cli.endings import OneLineCommand
from proxima_cli.output import echo_json

if TYPE_CHECKING:
    from ase_proxima.protocols import Surrogate

__all__ = ["manage"]


@click.command(cls=OneLineCommand, context_settings={"show_default": True})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--surrogate",
    "factory",
    metavar="MODULE:NAME",
    help="Function without arguments that makes the run's surrogate, where that was an object.",
)
@click.option(
    "--poll", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Train where that is due now, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print each version as a line of JSON.")
def manage(run: Path, *, factory: str | None, poll: float, once: bool, as_json: bool) -> None:
    r"""Train the surrogate of RUN in this process, while the simulation goes on in its own.

    The run was made with training="background". New versions are published in the run directory, where the simulation
    finds them. The manager ends when the simulation has ended and there is nothing left to train.

    \b
    proxima manage runs/aluminium --surrogate my_models:make_committee
    """
    from ase_proxima.runs.folder import is_in_use
    from ase_proxima.runs.manager import Manager, settings_of

    surrogate = _surrogate(settings_of(run), factory)
    with Manager(run, surrogate) as manager:
        while True:
            running = is_in_use(run)
            published = manager.step()
            if published is not None:
                if as_json:
                    echo_json(
                        {**vars(published), "window": manager.state.window, "error": manager.state.error}
                    )
                else:
                    seen = f"{manager.state.error:.2f} of the bound" if manager.state.n_trainings > 1 else "-"
                    click.echo(
                        f"version {published.number}: frames {published.first} to {published.last - 1}, trained in "
                        f"{published.train_s:.1f} s; error of the one before on new frames: {seen}"
                    )
            elif once or not running:
                return
            else:
                time.sleep(poll)


def _surrogate(settings: dict[str, Any], factory: str | None) -> Surrogate:
    from ase_proxima import surrogates
    from ase_proxima.protocols import Surrogate
    from ase_proxima.targets.function import import_name

    name = settings["surrogate"]
    if factory is not None:
        make = import_name("surrogate", factory)
        surrogate = make() if callable(make) else make
        if not isinstance(surrogate, Surrogate):
            raise InputError(
                f"--surrogate {factory} gave a {type(surrogate).__name__}: return an object with the Surrogate protocol"
            )
        return surrogate
    if name == "soap_ridge":
        return surrogates.SoapRidge()
    if isinstance(name, str):
        raise InputError(f"the surrogate {name} learns each frame in place: no manager is needed")
    raise InputError(
        f"the run's surrogate is {name['object']}: say how it is made, with --surrogate MODULE:NAME"
    )
