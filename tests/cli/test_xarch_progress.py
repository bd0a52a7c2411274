"""Progress of the `xarch` commands: a bar where stderr is a terminal, silence elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_xarch.simulator.own_data import own_pairs
from gpu_xarch.tables.pairs import Pairing, write_pairs

SCRIPT = "import sys; from proxima_cli.xarch import main; main(sys.argv[1:])"
ASKED = ("--target", "ipc", "--source", "P100", "--dest", "V100", "--metrics", "ipc,inst_executed")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("progress") / "pairs.parquet"
    write_pairs(Pairing("P100", "V100", (), own_pairs(60), [], []), file)
    return file


def on_terminal(*args: object) -> tuple[str, str]:
    """Run a command with a terminal as stderr; return what it and stdout got."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, *map(str, args)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    assert process.returncode == 0, shown
    return shown.decode(), printed


def test_a_terminal_sees_a_bar_and_a_pipe_none(pairs: Path, tmp_path: Path) -> None:
    model = ("--model", "boosting", "--out", tmp_path / "m.skops")
    shown, printed = on_terminal("train", *ASKED, "--data", pairs, *model)
    assert "training boosting" in shown
    shares = [int(share) for share in re.findall(r"(\d+)%", shown)]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert printed.startswith("boosting for ipc")
    command = [sys.executable, "-c", SCRIPT, "predict", str(tmp_path / "m.skops"), "--data", str(pairs)]
    quiet = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "predicting" not in quiet.stderr
    shown, _ = on_terminal(*command[3:])
    assert "predicting" in shown
