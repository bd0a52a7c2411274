"""Plain tables and progress for the `xarch` commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

__all__ = [
    "FILE",
    "echo_table",
    "file_progress",
    "number",
    "percent",
    "split_names",
    "step_progress",
    "write_text",
]

FILE = click.Path(path_type=Path, dir_okay=False)


def split_names(text: str) -> list[str]:
    """Return the names in a list with commas.

    Examples
    --------
    >>> split_names("application, kernel,")
    ['application', 'kernel']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


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


def write_text(path: Path, text: str) -> None:
    """Write a file whose name the user gave.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    from gpu_xarch.errors import InputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def echo_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns, numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(header, *texts, strict=True)]
    right = [bool(texts) and all(_is_number(row[i]) for row in texts) for i in range(len(header))]
    for row in [list(header), *texts]:
        cells = [
            cell.rjust(width) if side else cell.ljust(width)
            for cell, width, side in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True


@contextmanager
def _bar(title: str) -> Iterator[Callable[[str, float, float], None]]:
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
    with _bar(title) as update:
        yield lambda path, index, total: update(path.name[:40], index, total)


@contextmanager
def step_progress(title: str) -> Iterator[Callable[[float, float], None]]:
    """Show a bar over steps on a terminal, nothing elsewhere."""
    with _bar(title) as update:
        yield lambda done, total: update("", done, total)
