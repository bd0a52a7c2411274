"""How a command ends: the exit code of each error, said in one line, whatever the terminal can show."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import Any, TextIO

import click

__all__ = ["OneLineCommand", "OneLineGroup", "ResumableCommand", "exit_code", "tell"]

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130

SPELLED = {
    "Å": "A",
    "±": "+/-",
    "×": "x",
    "²": "^2",
    "³": "^3",
    "→": "->",
    "–": "-",
    "…": "...",
    "≤": "<=",
    "─": "-",
}
"""What a terminal that does not know the character is shown; a question mark stands for any other one."""

OF_THE_PATH = (
    FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError, BrokenPipeError,
)  # fmt: skip
"""Errors of the system that another path, or another reader of the output, would mend."""


def exit_code(error: Exception) -> int | None:
    """Exit code of an error that a command tells in one line; None for any other, which is a bug.

    Wrong input ends with 2, a run that failed with 1. An error of the system, such as a full disk, is a run that
    failed, unless the path that was named cannot be used.
    """
    for package, base in (("ase_proxima", "ProximaError"), ("gpu_xarch", "XarchError")):
        module = sys.modules.get(f"{package}.errors")  # an error of a package that was not loaded cannot be
        if module is not None and isinstance(error, getattr(module, base)):
            return WRONG_INPUT if isinstance(error, module.InputError) else FAILED
    sqlite = sys.modules.get("sqlite3")
    if sqlite is not None and isinstance(
        error, sqlite.Error
    ):  # a full disk again, or a run directory out of order
        return FAILED
    if isinstance(error, OSError):
        return WRONG_INPUT if isinstance(error, OF_THE_PATH) or error.errno is None else FAILED
    return None


def _one_line(error: Exception) -> str:
    if isinstance(error, BrokenPipeError):
        return "the reader of the output is gone: what was written into files is kept"
    if isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)} cannot be used: " if error.filename is not None else ""
        return f"{place}{error.strerror}"
    return " ".join(str(error).split())


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLED.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


SPELL = "proxima_cli.spell"
codecs.register_error(SPELL, _spell)


class _Ascii(io.TextIOWrapper):
    """Spells out what an ASCII terminal lacks; it claims to be UTF-8, for click would write that to such a one."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream.detach(), encoding="utf-8", line_buffering=True)

    def write(self, text: str) -> int:
        """Write a text."""
        return super().write(text.encode("ascii", SPELL).decode("ascii"))


def _spelling(stream: TextIO) -> TextIO:
    """Return a stream that takes characters which the terminal lacks, and file names that are no text."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if codecs.lookup(stream.encoding).name == "ascii":
        return _Ascii(stream)
    stream.reconfigure(errors=SPELL)
    return stream


def _let_go_of_output() -> None:
    """Drop what a closed pipe or a full disk did not take, so that Python does not try again when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # there may be no reader of this either
        click.echo(line, err=True)


def tell(error: Exception, *, of: str = "") -> int:
    """Say an error that has an exit code in one line, `of` before it, and return the code."""
    code = exit_code(error)
    if code is None:
        raise error
    _say(f"error: {of}{_one_line(error)}")
    return code


class OneLineErrors:
    """Mixed into a click command: whatever goes wrong is said in one line.

    Attributes
    ----------
    interrupted
        What is said after Ctrl-C.
    """

    interrupted = "interrupted"

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command's function."""
        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except KeyboardInterrupt:
            _say(self.interrupted)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if exit_code(error) is None:
                raise
            code = tell(error)
            _let_go_of_output()
            ctx.exit(code)

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run the command, and end the process."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **kwargs)  # type: ignore[misc]
        sys.stdout, sys.stderr = _spelling(sys.stdout), _spelling(sys.stderr)
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)  # type: ignore[misc]
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(WRONG_INPUT)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "the command"
            message = " ".join(error.format_message().split()).rstrip(".")
            _say(f"error: {message} (see {command} --help)")
            sys.exit(WRONG_INPUT)
        except click.Abort:
            sys.exit(INTERRUPTED)
        # a command that ended by Context.exit returns its code here, any other one nothing
        sys.exit(code if isinstance(code, int) else 0)


class OneLineCommand(OneLineErrors, click.Command):
    """A command whose errors are told in one line."""


class ResumableCommand(OneLineCommand):
    """A command that goes on with `--resume` where it was interrupted."""

    interrupted = "interrupted: what was done is kept; go on with --resume"


class OneLineGroup(OneLineErrors, click.Group):
    """A group of commands whose errors are told in one line."""
