"""Targets that return what they should not, raise, exit, hang, crash, or are killed: a part of `adversity.py`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import interrupts
import numpy as np
from trial import Row, judged, row_of, said_of

from ase_proxima import InputError, ProximaCalculator, TargetError, proxima
from ase_proxima.targets import parse_target
from ase_proxima.testing import HarmonicWells

__all__ = ["targets"]

FIRST = (0, 1, 3, 6)
"""Runs of the target at which a fault comes."""
TIMES = (1, 2)
"""Runs in a row that fail: the second is that of the same call, which fails then."""
WAYS = interrupts.WAYS[:3]
TIMEOUT_S = 1.0


class Faulty(HarmonicWells):
    """Wells whose results, at some of their runs, pass through `fault`."""

    def __init__(self, fault: Callable[[dict[str, Any]], Any], runs: range) -> None:
        super().__init__(interrupts.WATER.positions)
        self.fault, self.runs = fault, runs

    def calculate(self, *arguments: Any, **named: Any) -> None:
        """Fill in the results, or do what the fault does."""
        super().calculate(*arguments, **named)
        if self.n_runs - 1 in self.runs:
            self.results = self.fault(self.results)


def _with(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda results: {**results, name: change(results[name])}


def _raise(error: BaseException) -> Any:
    raise error


RESULT_FAULTS: dict[str, list[Callable[[dict[str, Any]], Any]]] = {
    "results of a wrong shape": [
        _with("forces", lambda forces: forces[:1]),
        _with("forces", lambda forces: forces.T[:, :2]),
        _with("forces", lambda forces: forces.ravel()),
        _with("energy", lambda energy: np.full(2, energy)),
        _with("stress", lambda stress: stress[:5]),
    ],
    "results of a wrong kind": [
        _with("forces", lambda forces: forces + 0j),
        _with("forces", lambda forces: np.ma.masked_less(forces, 0.0)),
        _with("forces", lambda forces: forces.astype(str)),
        _with("energy", lambda _: None),
    ],
    "NaN and infinity": [
        _with("energy", lambda _: float("nan")),
        _with("energy", lambda _: float("inf")),
        _with("forces", lambda forces: forces * np.nan),
    ],
    "exceptions of the target": [
        lambda _: _raise(RuntimeError("it did not\nconverge")),
        lambda _: _raise(MemoryError()),
        lambda _: _raise(StopIteration()),
        lambda _: _raise(OSError(28, "No space left on device")),
    ],
    "SystemExit in the target": [
        lambda _: sys.exit(3),
        lambda _: sys.exit("no licence"),
        lambda _: sys.exit(),
    ],
}

WELLS = f'''
import ctypes
import os
import signal
import sys
import time

import numpy as np

from ase_proxima.testing import HarmonicWells

WELLS = HarmonicWells(np.array({interrupts.WATER.positions.tolist()}))


def wells(atoms):
    """Energy and forces, and before them, at the runs in FAULT, what is told there."""
    number = os.path.getsize("asked") if os.path.exists("asked") else 0
    with open("asked", "a") as file:
        file.write("x")
    what, _, runs = os.environ.get("FAULT", "").partition(" ")
    if str(number) in runs.split():
        if what == "hang":
            time.sleep(3600)
        if what == "leave":
            os._exit(3)
        if what == "exit":
            sys.exit(3)
        if what == "crash":
            ctypes.string_at(0)
        os.kill(os.getpid(), signal.SIGKILL)
    return {{name: WELLS.get_property(name, atoms) for name in ("energy", "forces")}}
'''
PROCESS_FAULTS = {
    "hangs": "hang",
    "exits of the target's process": "leave",
    "SystemExit in the target's process": "exit",
    "segmentation faults": "crash",
    "killed workers": "kill",
}


def asked_through(calc: ProximaCalculator, folder: Path) -> tuple[list[Any], str]:
    """Answers to all calls, each asked once more where the target failed, and what was said of it."""
    answers, said = [], ""
    for atoms in interrupts.INPUTS[: interrupts.N_CALLS]:
        try:
            answers.append(interrupts.ask(calc, atoms))
        except TargetError as error:
            said = said_of(error, folder)
            saved = list((folder / "failed").iterdir())
            said += "" if saved else "\nthe structure is not saved"
            answers.append(interrupts.ask(calc, atoms))
    return answers, said


def targets(folder: Path) -> Iterator[Row]:
    """Faults of targets in this process, by the calculator and by a decorated function, then in one of their own."""
    expected = dict[str, Any]()
    for way in WAYS:
        expected[way], _ = interrupts.undisturbed(folder / f"whole-{way}", way)
    for kind, faults in RESULT_FAULTS.items():
        for way in WAYS:
            for fault in faults:
                for first, times in product(FIRST, TIMES):
                    run = folder / "run"
                    shutil.rmtree(run, ignore_errors=True)
                    target = Faulty(fault, range(first, first + times))
                    yield _faulty(kind, f"{way}, {times} from run {first}", run, way, target, expected[way])
        yield from _functions(kind, faults, folder)
    for kind, what in PROCESS_FAULTS.items():
        yield from _in_a_process(kind, what, folder)


def _faulty(kind: str, where: str, run: Path, way: str, target: Any, expected: list[Any]) -> Row:
    """A run whose target has a fault, to its end and through a resume."""
    said = ""
    try:
        calc = interrupts.begin(run, way, target=target)
        answers, said = asked_through(calc, run)
        calc.close()
        calc = interrupts.resume(run, way, target)
        answers += [interrupts.ask(calc, atoms) for atoms in interrupts.INPUTS[interrupts.N_CALLS :]]
        calc.close()
        outcome = judged(answers, expected, was_told=bool(said))
    except Exception as error:  # whatever is left then is the outcome
        outcome, said = "refused", said_of(error, run)
    return row_of("targets", kind, where, outcome, said)


def _functions(kind: str, faults: list[Callable[[dict[str, Any]], Any]], folder: Path) -> Iterator[Row]:
    """The same of a decorated function, which has one array for a result."""
    inputs = np.random.default_rng(3).normal(size=(30, 4))

    def answers_of(fault: Callable[[dict[str, Any]], Any] | None, runs: range) -> tuple[list[Any], str]:
        asked, said, answers = 0, "", []

        @proxima(error_bound=0.05, when_not_worthwhile="ignore")
        def function(x: np.ndarray) -> np.ndarray:
            nonlocal asked
            asked += 1
            value = np.outer(np.sin(x), x[:3])
            if fault is None or asked - 1 not in runs:
                return value
            changed = fault({"energy": value, "forces": value, "stress": value})
            return next((new for new in changed.values() if new is not value), value)

        for x in inputs:
            for _ in range(1 + len(runs)):  # once more for each run that may fail
                try:
                    answers.append((function(x).tolist(), function.last_decision))
                    break
                except (TargetError, InputError) as error:
                    said = said_of(error, folder)
        return answers, said

    expected, _ = answers_of(None, range(0))
    for fault in faults:  # not at the first run, which says what shape the others have
        for first, times in product(FIRST[1:], TIMES):
            try:
                answers, said = answers_of(fault, range(first, first + times))
                outcome = judged(answers, expected, was_told=bool(said))
            except Exception as error:  # whatever is left then is the outcome
                outcome, said = "refused", said_of(error, folder)
            yield row_of("targets", kind, f"function, {times} from run {first}", outcome, said)


def _in_a_process(kind: str, what: str, folder: Path) -> Iterator[Row]:
    """A fault of a target with a limit on its time, in a run of the calculator."""
    place = folder / "module"
    place.mkdir(exist_ok=True)
    (place / "deep_wells.py").write_text(WELLS)
    way, before = WAYS[0], os.getcwd()

    def through(runs: str) -> tuple[list[Any], str]:
        run = place / "run"
        shutil.rmtree(run, ignore_errors=True)
        (place / "asked").unlink(missing_ok=True)
        os.environ["FAULT"] = f"{what} {runs}"
        target = parse_target(f"deep_wells:wells,timeout={TIMEOUT_S}")
        with closing(target):
            calc = interrupts.begin(run, way, target=target)
            answers, said = asked_through(calc, run)
            calc.close()
        return answers, said

    os.chdir(place)
    try:
        expected, _ = through("")
        for runs in ("0", "0 1", "2", "2 3", "1 3", "4 5"):
            try:
                answers, said = through(runs)
                outcome = judged(answers, expected, was_told=bool(said))
            except Exception as error:  # whatever is left then is the outcome
                outcome, said = "refused", said_of(error, place)
            yield row_of("targets", kind, f"runs {runs}", outcome, said)
    finally:
        os.chdir(before)
        os.environ.pop("FAULT", None)
