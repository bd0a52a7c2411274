"""What the commands print and write: tables, JSON, figures, progress."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = [
    "echo_json",
    "echo_table",
    "file_progress",
    "json_text",
    "number",
    "percent",
    "progress_bar",
    "show_table",
    "step_progress",
    "write_figure",
    "write_text",
]

WIDEST = 500
"""Columns of text in which a table is laid out to see how wide it would like to be."""

NARROWEST = 80
"""Columns of text that a table may take where there is no terminal."""


def number(value: float) -> str:
    """Return a value in a few digits.

    Examples
    --------
    >>> number(0.727098), number(484400000000.0), number(3.0)
    ('0.7271', '4.844e+11', '3')
    """
    return f"{value:.4g}"


def percent(value: float) -> str:
    """Return a share as percent.

    Examples
    --------
    >>> percent(0.1234)
    '12.3'
    """
    return f"{100 * value:.1f}"


def json_text(data: Any) -> str:
    """Data as JSON; NaN and infinities become null, numbers of NumPy plain ones, paths and the like text.

    Examples
    --------
    >>> print(json_text({"error": float("nan"), "n": [1.0]}))
    {
      "error": null,
      "n": [
        1.0
      ]
    }
    """
    return json.dumps(_finite(data), indent=2, allow_nan=False)


def echo_json(data: Any) -> None:
    """Print data as JSON."""
    click.echo(json_text(data))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "dtype"):
        return _finite(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def show_table(table: Table) -> None:
    """Print a table; as wide as it needs to be where there is no terminal, or its columns may not be cut."""
    from rich.console import Console

    def console(width: int | None = None) -> Console:
        # names of kernels have brackets and colons in them, which are no markup
        return Console(
            file=StringIO(),
            width=width,
            force_terminal=terminal,
            markup=False,
            emoji=False,
            highlight=False,
        )

    terminal = sys.stdout is not None and sys.stdout.isatty()
    chosen = console()
    needed = chosen.measure(table, options=chosen.options.update(width=WIDEST)).maximum
    if not terminal:
        chosen = console(max(needed, NARROWEST))
    elif needed > chosen.width and all(column.no_wrap for column in table.columns):
        chosen = console(needed)
    chosen.print(table)
    text = chosen.file.getvalue()  # type: ignore[attr-defined]
    click.echo("\n".join(line.rstrip() for line in text.splitlines()))


def echo_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns, numbers to the right."""
    from rich.table import Table

    texts = [[str(cell) for cell in row] for row in rows]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for i, name in enumerate(header):
        numbers = bool(texts) and all(_is_number(row[i]) for row in texts)
        table.add_column(name, justify="right" if numbers else "left", no_wrap=True)
    for row in texts:
        table.add_row(*row)
    show_table(table)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True


def write_text(path: Path, text: str) -> None:
    """Write a file whose name the user gave, and the folders above it that are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_figure(figure: Figure, file: Path) -> None:
    """Save a figure in the format of the file's ending, and say so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    click.echo(f"wrote {file}", err=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, float, float], None]]:
    """Show a bar on a terminal, from the first moment on, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # what is printed meanwhile, such as a table, must go where it would go without a bar
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(title, total=None)

        def update(what: str, done: float, total: float) -> None:
            progress.update(task, total=total, completed=done, description=f"{title} {what}".rstrip())

        yield update


@contextmanager
def file_progress(title: str) -> Iterator[Callable[[Path, int, int], None]]:
    """Show a bar over files on a terminal, nothing elsewhere."""
    with progress_bar(title) as update:
        yield lambda path, index, total: update(path.name[:40], index, total)


@contextmanager
def step_progress(title: str) -> Iterator[Callable[[float, float], None]]:
    """Show a bar over steps on a terminal, nothing elsewhere."""
    with progress_bar(title) as update:
        yield lambda done, total: update("", done, total)
