"""What the commands share: options, lists of numbers, and how an error ends a command."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = [
    "MOST_NUMBERS",
    "FigureFile",
    "NumberList",
    "OneLineCommand",
    "OneLineGroup",
    "echo_table",
    "ends_cleanly",
    "json_option",
    "write_figure",
]

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for scripts.")


MOST_NUMBERS = 10_000
"""Of a range, and of the runs of one command: more is a slip."""


class NumberList(click.ParamType):
    """One number, a list `a,b,c`, or a range `first:last:step` with the last one included.

    Examples
    --------
    >>> NumberList().convert("100:300:100", None, None)
    (100.0, 200.0, 300.0)
    """

    name = "number, list or range"

    def __init__(self, number: type = float) -> None:
        self.number = number

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn the text into numbers."""
        if isinstance(value, tuple):
            return value
        try:
            if ":" in value:
                first, last, step = (self.number(part) for part in value.split(":"))
                n = math.floor((last - first) / step + 1e-9)
                if n >= MOST_NUMBERS:
                    self.fail(f"the range {value!r} has more than {MOST_NUMBERS:,} numbers", param, ctx)
                numbers = [first + i * step for i in range(n + 1)]
            else:
                numbers = [self.number(part) for part in value.split(",")]
        except (ValueError, OverflowError, ZeroDivisionError):
            self.fail(f"{value!r} is no number, list a,b,c or range first:last:step", param, ctx)
        if not numbers:
            self.fail(f"the range {value!r} is empty", param, ctx)
        return tuple(numbers)


class OneLineErrors:
    """Mixed into a click command: wrong usage is one line too, and ends with exit code 2."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run the command."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **kwargs)  # type: ignore[misc]
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)  # type: ignore[misc]
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "the command"
            message = " ".join(error.format_message().split()).rstrip(".")
            click.echo(f"error: {message} (see {command} --help)", err=True)
            sys.exit(2)
        except click.Abort:
            sys.exit(130)
        # a command that ended by Context.exit returns its code here, any other one nothing
        sys.exit(code if isinstance(code, int) else 0)


class OneLineCommand(OneLineErrors, click.Command):
    """A command whose wrong usage is told in one line."""


class OneLineGroup(OneLineErrors, click.Group):
    """A group of commands whose wrong usage is told in one line."""


def ends_cleanly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the library's errors into one line: exit code 2 for wrong input, 1 for a run that failed."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from ase_proxima.errors import InputError, ProximaError  # here, so that --help does not wait for ASE

        try:
            return command(*args, **kwargs)
        except ProximaError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2 if isinstance(error, InputError) else 1)
        except OSError as error:  # such as a full disk
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted: what was done is kept; go on with --resume", err=True)
            sys.exit(130)

    return wrapped


def echo_table(table: Table) -> None:
    """Print a table; as wide as it needs to be where there is no terminal, or its columns may not be cut."""
    from rich.console import Console

    console = Console()
    needed = console.measure(table, options=console.options.update(width=500)).maximum
    if not console.is_terminal:
        console = Console(width=max(needed, 80))
    elif needed > console.width and all(column.no_wrap for column in table.columns):
        console = Console(width=needed)
    console.print(table)


class FigureFile(click.Path):
    """A file to draw into; its format is that of its ending, which is checked before anything is done."""

    name = "file"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Turn the text into a path."""
        file: Path = super().convert(value, param, ctx)
        from matplotlib.backend_bases import FigureCanvasBase

        known = sorted(FigureCanvasBase.filetypes)
        if file.suffix[1:].lower() not in known:
            self.fail(f"{file} must end in a picture format such as .png, .pdf or .svg ({', '.join(known)})")
        return file


def write_figure(figure: Figure, file: Path) -> None:
    """Save a figure in the format of the file's ending, and say so.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from ase_proxima.errors import InputError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error}") from error
    click.echo(f"wrote {file}", err=True)
