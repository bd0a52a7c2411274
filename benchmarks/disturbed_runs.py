"""Run directories that are harmed, others who want to go on with a run, and kills: parts of `adversity.py`."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import interrupts
import numpy as np
from trial import NOBODY, Row, in_child, judged, row_of, said_of

from ase_proxima import InputError, ProximaCalculator, RunDirectoryError
from ase_proxima.runs.folder import lock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))
import driver

__all__ = ["directories", "kills", "processes"]

AFTER = (1, 3, 6)
"""Calls after which a fault comes."""
WAYS = interrupts.WAYS[:3]


@contextmanager
def locked_database(run: Path) -> Iterator[None]:
    """Hold the database for writing, as another program may."""
    with closing(sqlite3.connect(run / "frames.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def read_only(run: Path) -> Iterator[None]:
    """Take the right to write from all."""
    rights = {path: path.stat().st_mode for path in (*run.rglob("*"), run)}
    for path, mode in rights.items():
        path.chmod(mode & ~0o222)
    yield
    for path, mode in rights.items():
        path.chmod(mode)


@contextmanager
def moved(run: Path) -> Iterator[None]:
    """Move the folder away, and back in the end."""
    run.rename(run.with_name("elsewhere"))
    yield
    if run.exists():
        shutil.rmtree(run)
    run.with_name("elsewhere").rename(run)


@contextmanager
def old_lock_file(run: Path) -> Iterator[None]:
    """Leave the lock of a process that died long ago."""
    (run / "frames.db.lock").touch()
    yield


DIRECTORY_FAULTS = {
    "database locked by another program": locked_database,
    "lock file of a dead process": old_lock_file,
    "directory read-only": read_only,
    "directory moved away": moved,
}


def directories(folder: Path) -> Iterator[Row]:
    """Faults of the run directory while a run goes on, and when it is resumed."""
    folder.chmod(0o755)
    for way in WAYS:
        expected, _ = interrupts.undisturbed(folder / f"whole-{way}", way)
        for after in (*AFTER, interrupts.N_CALLS):
            for kind, fault in DIRECTORY_FAULTS.items():
                place = folder / "place"
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(mode=0o777)
                place.chmod(0o777)
                trial = kind, fault, place / "run", way, after, expected
                yield in_child(_harmed, *trial, user=NOBODY)
            shutil.rmtree(folder / "place")
            yield in_child(_gone, folder / "gone", way, after, expected)
    for way in WAYS:
        place = folder / "barred"
        place.mkdir(mode=0o555, exist_ok=True)
        yield in_child(_barred, place / "run", way, user=NOBODY)


def _harmed(kind: str, fault: Any, run: Path, way: str, after: int, expected: list[Any]) -> Row:
    """A run whose directory is harmed after some calls, and mended before it is resumed."""
    where, said, answers = f"{way}, after call {after}", "", []
    try:
        calc = interrupts.begin(run, way)
        answers += [interrupts.ask(calc, atoms) for atoms in interrupts.INPUTS[:after]]
        if after == interrupts.N_CALLS:
            calc.close()
        with fault(run):
            try:
                if after == interrupts.N_CALLS:
                    interrupts.resume(run, way).close()
                else:
                    interrupts.ask_the_rest(calc, answers)
            except (RunDirectoryError, OSError) as error:
                said = said_of(error, run)
                if isinstance(error, OSError):
                    return row_of("directories", kind, where, "refused", said)
            calc.close()
        calc = interrupts.resume(run, way)
        answers += [interrupts.ask(calc, atoms) for atoms in interrupts.INPUTS[len(answers) :]]
        calc.close()
        outcome = judged(answers, expected, was_told=bool(said))
    except Exception as error:  # whatever is left then is the outcome
        outcome, said = "refused", said_of(error, run)
    return row_of("directories", kind, where, outcome, said)


def _gone(run: Path, way: str, after: int, expected: list[Any]) -> Row:
    """A run whose directory is deleted under it: it must say so by its end, and give right answers until then."""
    kind, where = "directory deleted", f"{way}, after call {after}"
    shutil.rmtree(run, ignore_errors=True)
    calc = interrupts.begin(run, way)
    answers = [interrupts.ask(calc, atoms) for atoms in interrupts.INPUTS[:after]]
    if after == interrupts.N_CALLS:
        calc.close()
    shutil.rmtree(run)
    try:
        if after == interrupts.N_CALLS:
            interrupts.resume(run, way)
        interrupts.ask_the_rest(calc, answers)
        calc.close()
        return row_of("directories", kind, where, "silent", "")
    except RunDirectoryError as error:
        right = answers == expected[: len(answers)]
        return row_of("directories", kind, where, "told" if right else "silent", said_of(error, run))


def _barred(run: Path, way: str) -> Row:
    """A run that is begun where nothing may be written."""
    try:
        interrupts.begin(run, way)
        outcome, said = "silent", ""
    except RunDirectoryError as error:
        outcome, said = "told", said_of(error, run.parent)
    return row_of("directories", "begun in a read-only directory", way, outcome, said)


def _refused(run: Path, action: Callable[[], Any]) -> str:
    """What an action is refused with, nothing where it is not."""
    try:
        action()
        return ""
    except InputError as error:
        return said_of(error, run)


def _refused_in_child(run: Path, action: Callable[[], Any]) -> str:
    """The same in a forked process, whose other errors are no refusal."""
    row = in_child(lambda: {"said": _refused(run, action)})
    if "outcome" in row:
        raise RuntimeError(row["said"])
    return str(row["said"])


def _by_fork(run: Path, calc: ProximaCalculator, x: Any) -> str:
    return _refused_in_child(run, lambda: interrupts.ask(calc, x))


def _by_fork_that_closes(run: Path, calc: ProximaCalculator, x: Any) -> str:
    def close_and_ask() -> None:
        calc.close()
        interrupts.ask(calc, x)

    return _refused_in_child(run, close_and_ask)


def _by_thread(run: Path, calc: ProximaCalculator, x: Any) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(_refused(run, lambda: interrupts.ask(calc, x))))
    thread.start()
    thread.join()
    return found[0]


def _by_resume(run: Path, _calc: ProximaCalculator, _x: Any) -> str:
    return _refused_in_child(run, lambda: interrupts.resume(run, WAYS[0]))


def _by_another_run(run: Path, _calc: ProximaCalculator, _x: Any) -> str:
    return _refused_in_child(run, lambda: interrupts.begin(run, WAYS[0]))


def _by_discarding(run: Path, _calc: ProximaCalculator, _x: Any) -> str:
    return _refused(run, lambda: lock(run))


OTHERS = {
    "forks that go on": _by_fork,
    "forks that close the run": _by_fork_that_closes,
    "threads": _by_thread,
    "resumes while the run goes on": _by_resume,
    "new runs in its directory": _by_another_run,
    "its lock taken by another": _by_discarding,
}


def processes(folder: Path) -> Iterator[Row]:
    """Others who want to go on with a run, each of whom must be refused, and the run goes on exactly."""
    for way in WAYS:
        expected, _ = interrupts.undisturbed(folder / f"whole-{way}", way)
        for kind, other in OTHERS.items():
            for after in range(1, interrupts.N_CALLS):
                run = folder / "run"
                shutil.rmtree(run, ignore_errors=True)
                said, answers = "", []
                try:
                    calc = interrupts.begin(run, way)
                    answers += [interrupts.ask(calc, atoms) for atoms in interrupts.INPUTS[:after]]
                    said = other(run, calc, interrupts.INPUTS[after])
                    interrupts.ask_the_rest(calc, answers)
                    calc.close()
                    calc = interrupts.resume(run, way)
                    answers += [interrupts.ask(calc, atoms) for atoms in interrupts.INPUTS[len(answers) :]]
                    calc.close()
                    outcome = judged(answers, expected, was_told=True) if said else "silent"
                except Exception as error:  # whatever is left then is the outcome
                    outcome, said = "refused", said_of(error, run)
                yield row_of("processes", kind, f"{way}, after call {after}", outcome, said)


def kills(folder: Path, tries: int = 50) -> Iterator[Row]:
    """SIGKILL at random times of runs in processes of their own, each resumed in another."""
    rng, names = np.random.default_rng(0), list(driver.KINDS)
    expected, lasts = {}, {}
    for name in names:
        path, log = folder / "whole", folder / "log"
        start = _begun(name, path, log)
        lasts[name] = start.wait_for_end()
        expected[name] = driver.KINDS[name].outcome(path, log)
        shutil.rmtree(path)
        log.unlink()
    for number in range(tries):
        name, path, log = names[number % len(names)], folder / f"run-{number}", folder / f"log-{number}"
        after_s = float(rng.uniform(0.0, lasts[name]))
        calls = _begun(name, path, log).kill_after(after_s)
        done = _begun(name, path, log)
        done.wait_for_end()
        said = done.said()
        same = said == "done" and driver.KINDS[name].outcome(path, log) == expected[name]
        where = f"{name}, {after_s:.2f} s after its directory, {calls} calls made"
        outcome = "exact" if same else "silent" if said == "done" else "refused"
        yield row_of("kills", "live kills", where, outcome, "" if said == "done" else said)


class _begun:  # noqa: N801  reads as a verb
    """A run of one of the driver's kinds in a Python of its own."""

    def __init__(self, name: str, path: Path, log: Path) -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(Path(driver.__file__).parent)!r}); import driver, warnings; "
            "warnings.simplefilter('ignore'); from pathlib import Path; import os; out = os.dup(1); "
            f"said = driver.KINDS[{name!r}].play(Path({str(path)!r}), Path({str(log)!r})); os.write(out, said.encode())"
        )
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_for_directory(self) -> None:
        while not self.path.exists() and self.process.poll() is None:
            time.sleep(0.001)

    def wait_for_end(self) -> float:
        """Seconds from the run's directory to the end."""
        self._wait_for_directory()
        start = time.monotonic()
        self.process.wait()
        return time.monotonic() - start

    def kill_after(self, seconds: float) -> int:
        """Kill it so long after its directory was made; the calls that it has made by then."""
        self._wait_for_directory()
        time.sleep(seconds)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        steps = self.path / "steps.csv"
        return max(steps.read_bytes().count(b"\n") - 1, 0) if steps.exists() else 0

    def said(self) -> str:
        """What it said in the end."""
        return self.process.communicate()[0].decode()
