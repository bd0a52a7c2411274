"""Runs with one fault each, forked from a process that has everything imported; prints what became of them.

    LD_PRELOAD=faults.so python driver.py FOLDER KIND before|half|full [K ...]

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

import ase.io
import pandas as pd
from ase.build import molecule
from ase.db import connect

from ase_proxima import ProximaCalculator, RunDirectoryError
from ase_proxima.controllers import RiskController
from ase_proxima.runs.folder import discard_unstarted
from ase_proxima.testing import HarmonicWells, NearestFrame, random_walk
from proxima_cli import proxima, proxima_mc

MODES = {"before": 0, "half": 1, "full": 2}
N_CALLS = 14
WATER = molecule("H2O")
LIBRARY = ctypes.CDLL(None)


class Script:
    """A loop of one's own round the calculator, each answer written down outside the run directory."""

    def play(self, path, log):
        """Make all calls that are left; return what was refused."""
        try:
            calc = self._open(path)
            with log.open("a") as answers:
                for step, atoms in enumerate(random_walk(WATER, N_CALLS)):
                    if step >= max(calc.stats.n_calls - 1, 0):
                        energy = calc.get_property("energy", atoms)
                        answers.write(json.dumps([step, energy, calc.last_decision.value]) + "\n")
                        answers.flush()
            calc.close()
        except RunDirectoryError as error:
            return f"refused: {error}"
        return "done"

    def _open(self, path):
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

    def outcome(self, path, log):
        """All answers that were given, those before the fault too."""
        return sorted({*log.read_text().splitlines()})


class Command:
    """A command, which is resumed where it has begun, and started again where it says that it has not."""

    def __init__(self, command, arguments):
        self.command, self.arguments = command, arguments

    def play(self, path, log):
        """Start or resume; return what the command said where it did not end well."""
        said = self.resume(path, log) if path.exists() else "not begun"
        return said if said == "done" else self._run([*self.arguments, "--out", str(path)], log, said)

    def resume(self, path, log):
        """Resume; return what the command said where it did not end well."""
        return self._run([*self.arguments, "--out", str(path), "--resume"], log)

    def _run(self, arguments, log, before=""):
        with log.open("w") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            try:
                self.command.main(arguments)
                code = 0
            except SystemExit as end:
                code = end.code or 0
            sys.stdout.flush()
            sys.stderr.flush()
        said = log.read_text()
        if not code:
            return "done"
        if "Traceback" in said or code not in (1, 2):
            return f"traceback: {said}"
        last = " ".join(said.split())
        return f"refused: {last}" if before in ("", "not begun") else f"refused: {before}; then: {last}"

    def outcome(self, path, log):
        """Tables, frames and last structures, without what depends on the clock."""
        tables = {}
        for file in sorted(path.rglob("*.csv")):
            table = pd.read_csv(file)
            same = [name for name in table if not name.startswith(("time", "seal"))]
            tables[str(file.relative_to(path))] = table[same].to_csv()
        with connect(path / "frames.db") as database:
            tables["frames"] = [
                (row.id, row.positions.tolist(), row.get("energy")) for row in database.select()
            ]
        for file in sorted(path.glob("*.traj")):
            tables[file.name] = [atoms.positions.tolist() for atoms in ase.io.iread(file)]
        return tables


def mc(*arguments):
    """Monte Carlo of water with a target that costs nothing."""
    return Command(
        proxima_mc.main,
        ["--molecule", "H2O", "--target", "emt", "--perturb", "0.01", "--error-bound", "0.02", *arguments],
    )


def md(*arguments):
    """Molecular dynamics of water with that target."""
    fixed = ["md", "H2O", "--target", "emt", "--error-bound", "0.5", "--temp", "300", "--interval", "4"]
    return Command(proxima.main, [*fixed, *arguments])


KINDS = {
    "script": Script(),
    "mc proxima": mc("--steps", "10"),
    "mc published": mc("--steps", "10", "--strategy", "published"),
    "mc exact": mc("--steps", "3", "--exact", "--burn-in", "6", "--inner-steps", "2"),
    "md": md("--steps", "10"),
}


def forked(play, path, log, fault=None):
    """Play in a child, with a fault or none; return what it says, nothing where it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            if fault:
                LIBRARY.fault_arm(str(path).encode(), ctypes.c_long(fault[1]), MODES[fault[0]])
            message = play(path, log)
            if fault and not fault[1]:
                message = str(LIBRARY.fault_count()) if message == "done" else message
        except BaseException as error:
            message = f"traceback: {type(error).__name__}: {error}"
        if fault:
            LIBRARY.fault_disarm()
        os.write(writer, message.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def import_all(play, path, log):
    """Play in this process, so that the children forked from it have everything imported."""
    outputs = [os.dup(number) for number in (1, 2)]
    said = play(path, log)
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    shutil.rmtree(path)
    log.unlink()
    assert said == "done", said


def judge(kind, folder, mode, k, expected):
    """Run with a fault at the k-th call, resume, and say whether both gave what a run without faults gives."""
    path, log = folder / "run", folder / "log"
    shutil.rmtree(path, ignore_errors=True)
    log.unlink(missing_ok=True)
    first = forked(kind.play, path, log, (mode, k))
    second = forked(kind.play, path, log)
    good = first in ("", "done") or first.startswith("refused: ")
    same = second == "done" and kind.outcome(path, log) == expected
    return {"k": k, "mode": mode, "first": first, "second": second, "held": good and same}


def main(folder, name, mode, ks):
    """Print one line of JSON a fault."""
    warnings.simplefilter("ignore")
    kind, folder = KINDS[name], Path(folder)
    path, log = folder / "run", folder / "log"
    shutil.rmtree(path, ignore_errors=True)
    log.unlink(missing_ok=True)
    import_all(kind.play, path, log)
    count = forked(kind.play, path, log, (mode, 0 if mode != "full" else 10**9))
    expected = kind.outcome(path, log)
    if not ks:
        print(json.dumps({"n": int(count)}))
    for k in ks:
        print(json.dumps(judge(kind, folder, mode, k, expected)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [int(k) for k in sys.argv[4:]])
