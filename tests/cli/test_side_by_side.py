"""Runs side by side: one that fails costs no other one, and Ctrl-C ends all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ase_proxima.errors import InputError, ProximaError
from proxima_cli.proxima_mc import _new_folder
from proxima_cli.side_by_side import run_all

MODULE = """
import os, signal, time
from ase_proxima.errors import InputError

def run_one(run_dir, settings, report):
    report(settings)
    if settings == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if settings == "wrong":
        raise InputError("wrong it is")
    if settings == "full":
        raise OSError(28, "No space left on device")
    return {"settings": settings}

def slow(atoms):
    time.sleep(0.1)
    return float((atoms.positions ** 2).sum())
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import of_a_test

    yield of_a_test
    del sys.modules["of_a_test"]


@pytest.mark.parametrize("kinds", [["wrong", "good", "full"], ["good", "dies", "good too", "wrong"]])
def test_a_run_that_fails_costs_no_other_one(module, kinds):
    tasks = {Path(kind): kind for kind in kinds}
    jobs = 2 if "dies" in kinds else 1
    told = []
    summaries, failures = run_all(tasks, module.run_one, jobs=jobs, report=told.append)
    assert {run.name for run in summaries} == {kind for kind in kinds if kind.startswith("good")}
    assert set(told) <= set(kinds)
    assert isinstance(failures[Path("wrong")], InputError)
    if "dies" in kinds:
        assert isinstance(failures[Path("dies")], ProximaError)
        assert "go on with --resume" in str(failures[Path("dies")])
    else:
        assert failures[Path("full")].errno == 28


def test_two_commands_of_the_same_second_have_a_folder_each(tmp_path):
    wanted = tmp_path / "runs" / "20260101-000000"
    assert [_new_folder(wanted).name for _ in range(3)] == [
        "20260101-000000",
        "20260101-000000-2",
        "20260101-000000-3",
    ]


@pytest.mark.slow
def test_ctrl_c_to_the_command_ends_all_its_processes(module, tmp_path):
    command = [sys.executable, "-c", "from proxima_cli.proxima_mc import main; main()"]
    options = "--target of_a_test:slow --strategy baseline --steps 100000 --seed 1:3:1 --jobs 2 --out runs"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [*command, *options.split()], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        while len(list(tmp_path.glob("runs/*/chain.csv"))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)  # stderr is open in all of them: it ends with the last
    assert process.returncode == 130
    assert told == "interrupted: what was done is kept; go on with --resume\n"
