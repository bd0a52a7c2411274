"""How every command ends: one line and an exit code, on any terminal, with or without a reader."""

import errno
import importlib
import os
import sqlite3
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ase_proxima.errors import InputError, TargetError
from gpu_xarch.errors import CollectError
from gpu_xarch.errors import InputError as XarchInputError
from proxima_cli.endings import OneLineCommand, exit_code
from proxima_cli.output import echo_table

SCRIPTS = {
    script.name: script.value.partition(":")[0]
    for script in entry_points(group="console_scripts")
    if script.value.startswith("proxima_cli.")
}


def command_named(name):
    return importlib.import_module(SCRIPTS[name]).main


def shell(line, folder, **environment):
    """Result of a line of bash, in which a command's name runs it."""
    functions = "".join(
        f'{name}() {{ {sys.executable} -c \'from {module} import main; main(prog_name="{name}")\' "$@"; }}\n'
        for name, module in SCRIPTS.items()
    )
    return subprocess.run(
        ["bash", "-c", f"{functions}{line}"],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace",
    )  # fmt: skip


def ends_with(error):
    """Result of a command that raises an error."""

    @click.command(cls=OneLineCommand)
    def command():
        raise error

    return CliRunner().invoke(command)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no such metric"), 2, "error: no such metric"),
        (XarchInputError("no\nsuch\nGPU"), 2, "error: no such GPU"),
        (TargetError("it failed"), 1, "error: it failed"),
        (CollectError("ncu failed"), 1, "error: ncu failed"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), 2, "error: a/b cannot be used: Not a dir"),
        (sqlite3.OperationalError("disk I/O error"), 1, "error: disk I/O error"),
        (OSError("Cannot save file into a non-existent directory: 'x'"), 2, "error: Cannot save file into"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "error: the reader of the output is gone"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_error_is_one_line_with_its_exit_code(error, code, line):
    result = ends_with(error)
    assert result.exit_code == code
    assert result.stderr.strip().startswith(line)
    assert result.stderr.strip().count("\n") == 0


def test_a_bug_keeps_its_traceback():
    assert exit_code(ZeroDivisionError("x")) is None
    assert isinstance(ends_with(ZeroDivisionError("x")).exception, ZeroDivisionError)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_knows_its_version_its_help_and_wrong_usage(name):
    runner, command = CliRunner(), command_named(name)
    assert runner.invoke(command, ["--version"]).stdout.startswith(f"{name}, version ")
    assert runner.invoke(command, ["-h"]).stdout == runner.invoke(command, ["--help"]).stdout != ""
    wrong = runner.invoke(command, ["--no-such-option"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: No such option")
    assert wrong.stderr.endswith(f"(see {name} --help)\n")


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "afile").write_text("x")
    (tmp_path / "p.csv").write_text(
        "==1== NVPROF is profiling process 1, command: ./a 7\n"
        '"Device","Kernel","Invocations","Metric Name","Metric Description","Min","Max","Avg"\n'
        '"Tesla K40c (0)","k()",1,"ipc","Executed IPC",0.5,0.5,0.5\n'
    )
    done = shell("xarch ingest p.csv --out afile/t.parquet", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "afile" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_figure_below_a_file_is_one_line(tmp_path, write_run):
    (tmp_path / "afile").write_text("x")
    done = shell(f"proxima report {write_run()} --plot afile/x/run.png", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: afile/x cannot be used: Not a directory")


def test_a_reader_that_goes_away_costs_one_line_and_no_file(tmp_path, write_run):
    done = shell(
        f"(sleep 0.5; proxima report {write_run()} --out out; echo $? >code) | true; sleep 0.1", tmp_path
    )
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("wrote ")]
    assert line.startswith("error: the reader of the output is gone")
    assert (tmp_path / "code").read_text() == "2\n"
    assert (tmp_path / "out" / "report.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(tmp_path, write_run):
    done = shell(f"proxima report {write_run()} >/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_terminal_of_ascii_shows_every_number(tmp_path, write_run):
    run = write_run(energies=[0.0, 1.0, 2.0, 3.0])
    plain, ascii_only = (
        shell(f"proxima report {run}", tmp_path, PYTHONIOENCODING=encoding) for encoding in ("utf-8", "ascii")
    )
    assert (ascii_only.returncode, ascii_only.stderr) == (0, "")
    assert ascii_only.stdout.isascii()
    assert " Å" in plain.stdout
    assert " A\n" in ascii_only.stdout
    for character, spelled in (("Å", "A"), ("±", "+/-"), ("─", "-")):
        plain.stdout = plain.stdout.replace(character, spelled)
    assert plain.stdout.split() == ascii_only.stdout.split()


def test_brackets_and_colons_of_kernel_names_are_printed_as_they_are():
    name = "void k<int [4]>(float) [with T = a::b] :warning:"
    result = CliRunner().invoke(click.command()(lambda: echo_table(("kernel", "n"), [(name, 3), ("b", "-")])))
    assert result.stdout.splitlines()[1] == f"{name}  3"
