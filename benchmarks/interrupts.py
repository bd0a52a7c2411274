"""Interrupt a run at lines of executor, store and calculator, as Ctrl-C in a notebook does, and see whether it goes on.

    python benchmarks/interrupts.py [--every 13] [--phase calls] [--out benchmarks/results/interrupts.csv]

A run of 8 calls on a target known in closed form, in a run directory. At every 13th line that is run of `executor/`,
of `runs/` and of `calculator/`, a KeyboardInterrupt is raised: while the calculator is made, in its calls, and while
it is resumed. What was interrupted is then made again, the calls with the same object, and all after it. Each
interrupt is one row: where it came, and what became of the run:

- `exact`: it went on as if nothing had been, with the same answers and decisions, and so does a resume of it;
- `told`: the next call said at once to close it and resume, and the resume went on with the same answers and decisions;
- `refused`: a call said something else;
- `silent`: an answer or a decision was another one, and nothing was said.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator

import ase_proxima
from ase_proxima import ProximaCalculator, RunDirectoryError
from ase_proxima.controllers import RiskController
from ase_proxima.testing import HarmonicWells, NearestFrame, random_walk

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(ase_proxima.__file__).parent
ROOMS = ("executor", "runs", "calculator")
"""Where interrupts come."""
N_CALLS, N_AFTER, N_OTHER = 8, 3, 3
"""Calls of the interrupted run, of the resume after it, and of the other walker before it."""
WATER = molecule("H2O")
INPUTS = list(random_walk(WATER, N_CALLS + N_AFTER))
WAYS = ("in place", "by versions", "blended", "shared")
"""How the surrogate learns, the answers pass from one to the other, or frames come from another walker."""
PHASES = ("create", "calls", "resume")
"""What is interrupted."""
OUTCOMES = ("exact", "told", "refused", "silent")

Answer = tuple[float, str]


def arguments(way: str) -> dict[str, Any]:
    """What is no word or number, and so is not kept in the run directory."""
    nearest = NearestFrame(incremental=way != "by versions")
    controller = RiskController(0.05, audit_rate=0.3, prior_ratio=0.5)
    return {"surrogate": nearest, "uncertainty": nearest, "controller": controller}


def begin(
    folder: Path, way: str, shared: Path | None = None, target: Calculator | None = None
) -> ProximaCalculator:
    """A new run; `shared` is the database of the walkers, by default one beside the folder."""
    return ProximaCalculator(
        target or HarmonicWells(WATER.positions),
        run_dir=folder,
        share=(shared or folder.with_suffix(".db")) if way == "shared" else None,
        error_bound=0.05,
        error_metric="energy",
        training=3 if way == "by versions" else "lazy",
        blending=3 if way == "blended" else None,
        **arguments(way),
    )


def resume(folder: Path, way: str, target: Calculator | None = None) -> ProximaCalculator:
    """The same run, gone on with."""
    return ProximaCalculator.resume(folder, target or HarmonicWells(WATER.positions), **arguments(way))


def prepare(folder: Path, way: str) -> None:
    """Let another walker pay for some frames, where frames are shared."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if way == "shared":
        other = begin(folder.with_suffix(".other"), way, folder.with_suffix(".db"))
        for atoms in random_walk(WATER, N_OTHER, seed=7):
            ask(other, atoms)
        other.close()


def ask(calc: ProximaCalculator, atoms: Atoms) -> Answer:
    """Energy of a structure, and who gave it."""
    energy = float(calc.get_property("energy", atoms))
    assert calc.last_decision is not None  # noqa: S101  it has just decided
    return energy, calc.last_decision.value


def ask_the_rest(calc: ProximaCalculator, answers: list[Answer]) -> None:
    """Make the calls before the resume that are left."""
    while len(answers) < N_CALLS:
        answers.append(ask(calc, INPUTS[len(answers)]))


@cache
def place_of(file: str) -> str | None:
    """Place of a file in the package, where interrupts come there."""
    path = Path(file)
    if not path.is_relative_to(PACKAGE):
        return None
    inside = path.relative_to(PACKAGE)
    return str(inside) if inside.parts[0] in ROOMS else None


@contextmanager
def traced(on_line: Callable[[FrameType], None]) -> Iterator[None]:
    """Call `on_line` before each line that is run in `ROOMS`."""

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            on_line(frame)
        return local

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if place_of(frame.f_code.co_filename) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def line_of(frame: FrameType) -> str:
    """Where a frame is, as file and line."""
    return f"{place_of(frame.f_code.co_filename)}:{frame.f_lineno}"


def undisturbed(folder: Path, way: str) -> tuple[list[Answer], dict[str, list[str]]]:
    """Answers of a run without interrupts, the last of them after a resume; and the lines that were run, by phase."""
    lines: dict[str, list[str]] = {phase: [] for phase in PHASES}

    def noted(phase: str) -> AbstractContextManager[None]:
        return traced(lambda frame: lines[phase].append(line_of(frame)))

    prepare(folder, way)
    with noted("create"):
        calc = begin(folder, way)
    with noted("calls"):
        answers = [ask(calc, atoms) for atoms in INPUTS[:N_CALLS]]
    calc.close()
    with noted("resume"):
        calc = resume(folder, way)
    answers += [ask(calc, atoms) for atoms in INPUTS[N_CALLS:]]
    calc.close()
    return answers, lines


def interrupted(folder: Path, way: str, phase: str, number: int, expected: list[Answer]) -> dict[str, Any]:
    """Outcome of an interrupt at the line of that number in a phase."""
    n_lines, place, said, stopped = 0, "", "", 0
    answers: list[Answer] = []

    def interrupt(frame: FrameType) -> None:
        nonlocal n_lines, place
        n_lines += 1
        if n_lines == number:
            place = line_of(frame)
            raise KeyboardInterrupt

    def tried(now: str, action: Callable[[], Any]) -> Any:
        """Do something, and once more where it is what was interrupted."""
        if now != phase:
            return action()
        try:
            with traced(interrupt):
                return action()
        except KeyboardInterrupt:
            nonlocal stopped
            stopped = len(answers)
            return action()

    prepare(folder, way)
    outcome = "exact"
    try:
        calc = tried("create", lambda: begin(folder, way))
        try:
            tried("calls", lambda: ask_the_rest(calc, answers))
        except RunDirectoryError as error:
            said = str(error)
            at_once = len(answers) <= stopped + 1  # the call itself is answered where it had just ended
            outcome = "told" if at_once and "close it and resume" in said else "refused"
        calc.close()
        calc = tried("resume", lambda: resume(folder, way))
        answers += [ask(calc, atoms) for atoms in INPUTS[len(answers) :]]
        calc.close()
    except Exception as error:  # whatever an interrupt has left behind
        outcome, said = "refused", f"{type(error).__name__}: {error}"
    if outcome != "refused" and answers != expected:
        outcome = "silent"
    said = " ".join(said.replace(str(folder), "RUN").split())
    return {"way": way, "phase": phase, "line": number, "place": place, "outcome": outcome, "said": said}


def main() -> None:
    """Try the interrupts, write one row each, print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=13, help="interrupt at every so many lines")
    parser.add_argument("--phase", action="append", choices=PHASES, help="one of them; by default all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "interrupts.csv")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with options.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as temporary:
        writer = csv.DictWriter(file, ["way", "phase", "line", "place", "outcome", "said"])
        writer.writeheader()
        for way in WAYS:
            folder = Path(temporary) / way.replace(" ", "-")
            expected, lines = undisturbed(folder / "whole", way)
            for phase in options.phase or PHASES:
                found: Counter[str] = Counter()
                for number in range(1, len(lines[phase]) + 1, options.every):
                    row = interrupted(folder / f"{phase}-{number}", way, phase, number, expected)
                    writer.writerow(row)
                    found[row["outcome"]] += 1
                counts = ", ".join(f"{outcome} {found[outcome]}" for outcome in OUTCOMES)
                print(f"{way}, {phase}: {found.total()} interrupts in {len(lines[phase])} lines: {counts}")


if __name__ == "__main__":
    main()
