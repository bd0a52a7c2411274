"""The pipe to a worker, with small programs at its other end."""

from __future__ import annotations

import sys

import pytest

from ase_proxima.targets.worker_process import WorkerDiedError, WorkerProcess, WorkerTimeoutError

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def worker(script: str, tmp_path, **settings) -> WorkerProcess:
    return WorkerProcess([sys.executable, "-c", script], script=script, scratch_parent=tmp_path, **settings)


def test_floats_come_back_bit_for_bit(tmp_path):
    values = [0.1, 1 / 3, -1e-300, 2.0**70]
    with worker(ECHO, tmp_path) as echo:
        assert echo.ask({"values": values})["values"] == values


def test_answers_are_matched_to_requests(tmp_path):
    stale = "import sys\nfor line in sys.stdin: print('{\"id\": 1}', flush=True)"
    with worker(stale, tmp_path) as program:
        assert program.ask({}) == {"id": 1}
        with pytest.raises(WorkerDiedError, match="it answered"):
            program.ask({})
        assert not program.usable


def test_death_is_reported_with_code_and_last_words(tmp_path):
    dying = "import sys\nsys.stdin.readline()\nprint('oh no', file=sys.stderr)\nsys.exit(3)"
    with (
        worker(dying, tmp_path) as program,
        pytest.raises(WorkerDiedError, match="exit code 3, last words: oh no"),
    ):
        program.ask({})
    assert list(tmp_path.iterdir()) == []


def test_silence_is_cut_short(tmp_path):
    with worker("import time\ntime.sleep(60)", tmp_path) as program:
        with pytest.raises(WorkerTimeoutError, match=r"no answer within 0\.2 s"):
            program.ask({}, timeout_s=0.2)
        assert not program.usable


def test_worker_that_ignores_the_end_of_its_input_is_killed(tmp_path, monkeypatch, is_running):
    monkeypatch.setattr("ase_proxima.targets.worker_process._CLOSE_S", 0.2)
    deaf = worker("import time\ntime.sleep(60)", tmp_path)
    assert is_running(deaf.pid)
    deaf.close()
    assert not is_running(deaf.pid)


def test_program_that_does_not_exist_leaves_no_scratch(tmp_path):
    with pytest.raises(WorkerDiedError, match="cannot start /no/such/python"):
        WorkerProcess(["/no/such/python", "x.py"], script="x.py", scratch_parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scratch_is_the_first_argument_and_the_working_directory(tmp_path):
    tell = (
        "import json, os, sys\nsys.stdin.readline()\n"
        "print(json.dumps({'id': 1, 'a': sys.argv[1], 'b': os.getcwd()}))"
    )
    with worker(tell, tmp_path) as program:
        answer = program.ask({})
        assert answer["a"] == answer["b"] == str(program.scratch)
