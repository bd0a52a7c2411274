"""Runs with one fault each, forked from a process that has everything imported; prints what became of them.

    LD_PRELOAD=faults.so python driver.py FOLDER before|half|full [K ...]

Without K it says how many calls there are that change the run directory.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

from ase.build import molecule

from ase_proxima import ProximaCalculator, RunDirectoryError
from ase_proxima.controllers import RiskController
from ase_proxima.runs.store import discard_unstarted
from ase_proxima.testing import HarmonicWells, NearestFrame, random_walk

MODES = {"before": 0, "half": 1, "full": 2}
N_CALLS = 14
WATER = molecule("H2O")
LIBRARY = ctypes.CDLL(None)


def open_run(path):
    """A calculator that goes on with what is there, or begins."""
    nearest = NearestFrame(incremental=True)
    parts = {
        "surrogate": nearest,
        "uncertainty": nearest,
        "controller": RiskController(0.05, audit_rate=0.3, prior_ratio=0.5),
    }
    target = HarmonicWells(WATER.positions)
    if path.exists() and not discard_unstarted(path):
        return ProximaCalculator.resume(path, target, **parts)
    return ProximaCalculator(target, run_dir=path, error_bound=0.05, error_metric="energy", **parts)


def play(path, answers):
    """Make all calls that are left, each answer written down outside the run directory."""
    calc = open_run(path)
    with answers.open("a") as log:
        for step, atoms in enumerate(random_walk(WATER, N_CALLS)):
            if step >= max(calc.stats.n_calls - 1, 0):
                energy = calc.get_property("energy", atoms)
                log.write(json.dumps([step, energy, calc.last_decision.value]) + "\n")
                log.flush()
    calc.close()


def forked(path, answers, fault=None):
    """Play in a child, with a fault or none; return what it says, nothing where it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        message = "done"
        try:
            if fault:
                LIBRARY.fault_arm(str(path).encode(), ctypes.c_long(fault[1]), MODES[fault[0]])
            play(path, answers)
            if fault and not fault[1]:
                message = str(LIBRARY.fault_count())
        except RunDirectoryError as error:
            message = f"refused: {error}"
        except BaseException as error:
            message = f"traceback: {type(error).__name__}: {error}"
        LIBRARY.fault_disarm()
        os.write(writer, message.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return file.read()


def judge(folder, mode, k, expected):
    """Run with a fault at the k-th call, resume, and say whether both gave what a run without faults gives."""
    path, answers = folder / "run", folder / "answers"
    shutil.rmtree(path, ignore_errors=True)
    answers.unlink(missing_ok=True)
    first = forked(path, answers, (mode, k))
    second = forked(path, answers)
    given = [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []
    wrong = [row for row in given if row != expected[row[0]]]
    complete = {row[0] for row in given} == set(range(N_CALLS))
    good = first in ("", "done") or first.startswith("refused: ")
    return {
        "k": k,
        "mode": mode,
        "first": first,
        "second": second,
        "held": good and second == "done" and complete and not wrong,
    }


def main(folder, mode, ks):
    """Print one line of JSON a fault."""
    warnings.simplefilter("ignore")
    folder = Path(folder)
    path, answers = folder / "run", folder / "answers"
    count = forked(path, answers, (mode, 0 if mode != "full" else 10**9))
    expected = [json.loads(line) for line in answers.read_text().splitlines()]
    if not ks:
        LIBRARY.fault_disarm()
        print(json.dumps({"n": int(count)}))
        return
    for k in ks:
        print(json.dumps(judge(folder, mode, k, expected)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(k) for k in sys.argv[3:]])
