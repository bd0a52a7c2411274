"""What the commands share: options, lists of numbers, and how an error ends a command."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from ase_proxima.errors import InputError, ProximaError

__all__ = ["NumberList", "echo_json", "ends_cleanly", "json_option"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for scripts.")


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
                n = int((last - first) / step + 1e-9)
                numbers = [first + i * step for i in range(n + 1)]
            else:
                numbers = [self.number(part) for part in value.split(",")]
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number, list a,b,c or range first:last:step", param, ctx)
        if not numbers:
            self.fail(f"the range {value!r} is empty", param, ctx)
        return tuple(numbers)


def ends_cleanly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the library's errors into one line: exit code 2 for wrong input, 1 for a run that failed."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ProximaError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2 if isinstance(error, InputError) else 1)
        except KeyboardInterrupt:
            click.echo("interrupted: what was done is kept; go on with --resume", err=True)
            sys.exit(130)

    return wrapped


def echo_json(data: Mapping[str, Any] | list[Any]) -> None:
    """Print data as JSON, numbers that JSON does not know as null."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
            return value
        return None if isinstance(value, float) else value

    click.echo(json.dumps(clean(data), indent=2))
