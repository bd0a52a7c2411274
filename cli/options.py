"""Options that several commands share, and the types of what is given on a command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = [
    "FILE",
    "HELP_NAMES",
    "MOST_NUMBERS",
    "FigureFile",
    "NumberList",
    "jobs_option",
    "json_option",
    "plot_option",
    "prior_option",
    "seed_option",
    "split_names",
    "surrogate_option",
    "version_option",
]

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
"""Settings of every command's context."""

MOST_NUMBERS = 10_000
"""Of a range, and of the runs of one command: more is a slip."""

FILE = click.Path(path_type=Path, dir_okay=False)


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


class ThreadCount(click.ParamType):
    """Number of parallel jobs as joblib counts them: -1 is all cores, -2 all but one.

    Examples
    --------
    >>> ThreadCount().convert("-1", None, None)
    -1
    """

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number that is not zero."""
        number: int = click.INT.convert(value, param, ctx)
        if not number:
            self.fail("0 is no number of jobs: write 1 or more, or -1 for all cores", param, ctx)
        return number


def split_names(text: str) -> list[str]:
    """Return the names in a list with commas.

    Examples
    --------
    >>> split_names("application, kernel,")
    ['application', 'kernel']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for scripts.")
plot_option = click.option(
    "--plot", type=FigureFile(), metavar="FILE", help="Draw it into a .png, .pdf or .svg file."
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all that is random."
)
model_seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),  # what scikit-learn takes
    default=0,
    show_default=True,
    help="Seed of all that is random.",
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="What is done side by side, a core each.",
)
threads_option = click.option(
    "--jobs", type=ThreadCount(), default=1, show_default=True, help="Parallel jobs; -1 for all cores."
)
prior_option = click.option(
    "--prior", help="Calculator whose answers the surrogate corrects, such as xtb:GFN2."
)

surrogate_option = click.option(
    "--surrogate",
    type=click.Choice(["auto", "gradient_gp", "joint_gp", "bayesian_soap", "soap_ridge"]),
    default="auto",
    show_default=True,
    help="What learns; see the docs of ProximaCalculator.",
)
strategy_option = click.option(
    "--strategy",
    type=click.Choice(["proxima", "fixed", "committee", "baseline"]),
    default="proxima",
    help="How a surrogate is used.",
)
models_option = click.option(
    "--models",
    type=click.Path(file_okay=False),
    help="Folder of models that proxima train deepmd made, for the strategies committee and fixed.",
)


def version_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--version`, which names the command that it was given to."""
    return click.version_option(package_name="ase-proxima")(command)
