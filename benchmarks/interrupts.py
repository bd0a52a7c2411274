"""Interrupt a run at lines of executor, store and calculator, as Ctrl-C in a notebook does, and see whether it goes on.

    python benchmarks/interrupts.py [--every 13] [--out benchmarks/results/interrupts.csv]

A run of 8 calls on a target known in closed form, in a run directory. At every 13th line that is run of `executor/`,
of `runs/` and of `calculator.py`, a KeyboardInterrupt is raised; the call is then made again with the same object, and
those after it. Each interrupt is one row: where it came, and what became of the run:

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
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from ase import Atoms
from ase.build import molecule

import ase_proxima
from ase_proxima import ProximaCalculator, RunDirectoryError
from ase_proxima.controllers import RiskController
from ase_proxima.testing import HarmonicWells, NearestFrame, random_walk

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(ase_proxima.__file__).parent
ROOMS = ("executor", "runs", "calculator.py")
"""Where interrupts come."""
N_CALLS, N_AFTER = 8, 3
"""Calls of the interrupted run, and calls of the resume after it."""
WATER = molecule("H2O")
INPUTS = list(random_walk(WATER, N_CALLS + N_AFTER))
WAYS = ("in place", "by versions", "blended")
"""How the surrogate learns, or the answers pass from one to the other."""
OUTCOMES = ("exact", "told", "refused", "silent")

Answer = tuple[float, str]


def arguments(way: str) -> dict[str, Any]:
    """What is no word or number, and so is not kept in the run directory."""
    nearest = NearestFrame(incremental=way != "by versions")
    controller = RiskController(0.05, audit_rate=0.3, prior_ratio=0.5)
    return {"surrogate": nearest, "uncertainty": nearest, "controller": controller}


def begin(folder: Path, way: str) -> ProximaCalculator:
    """A new run."""
    return ProximaCalculator(
        HarmonicWells(WATER.positions),
        run_dir=folder,
        error_bound=0.05,
        error_metric="energy",
        training=3 if way == "by versions" else "lazy",
        blending=3 if way == "blended" else None,
        **arguments(way),
    )


def resume(folder: Path, way: str) -> ProximaCalculator:
    """The same run, gone on with."""
    return ProximaCalculator.resume(folder, HarmonicWells(WATER.positions), **arguments(way))


def ask(calc: ProximaCalculator, atoms: Atoms) -> Answer:
    """Energy of a structure, and who gave it."""
    energy = float(calc.get_property("energy", atoms))
    assert calc.last_decision is not None  # noqa: S101  it has just decided
    return energy, calc.last_decision.value


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


def undisturbed(folder: Path, way: str) -> tuple[list[Answer], list[str]]:
    """Answers of a run without interrupts, the last of them after a resume; and the lines that were run."""
    lines: list[str] = []
    calc = begin(folder, way)
    with traced(lambda frame: lines.append(line_of(frame))):
        answers = [ask(calc, atoms) for atoms in INPUTS[:N_CALLS]]
    calc.close()
    calc = resume(folder, way)
    answers += [ask(calc, atoms) for atoms in INPUTS[N_CALLS:]]
    calc.close()
    return answers, lines


def interrupted(folder: Path, way: str, number: int, expected: list[Answer]) -> dict[str, Any]:
    """Outcome of an interrupt at the line of that number."""
    n_lines, place, answers = 0, "", []

    def interrupt(frame: FrameType) -> None:
        nonlocal n_lines, place
        n_lines += 1
        if n_lines == number:
            place = line_of(frame)
            raise KeyboardInterrupt

    calc = begin(folder, way)
    try:
        with traced(interrupt):
            for atoms in INPUTS[:N_CALLS]:
                answers.append(ask(calc, atoms))
    except KeyboardInterrupt:
        pass
    stopped, outcome, said = len(answers), "exact", ""
    try:
        answers += [ask(calc, atoms) for atoms in INPUTS[len(answers) : N_CALLS]]
    except RunDirectoryError as error:
        said = str(error)
        at_once = len(answers) == stopped and "close it and resume" in said
        outcome = "told" if at_once else "refused"
    except Exception as error:  # whatever an interrupt has left behind
        outcome, said = "refused", f"{type(error).__name__}: {error}"
    calc.close()
    try:
        calc = resume(folder, way)
        answers += [ask(calc, atoms) for atoms in INPUTS[len(answers) :]]
        calc.close()
    except Exception as error:  # the same
        outcome, said = "refused", f"after a resume, {type(error).__name__}: {error}"
    if outcome != "refused" and answers != expected:
        outcome = "silent"
    said = " ".join(said.replace(str(folder), "RUN").split())
    return {"way": way, "line": number, "place": place, "call": stopped, "outcome": outcome, "said": said}


def main() -> None:
    """Try the interrupts, write one row each, print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=13, help="interrupt at every so many lines")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "interrupts.csv")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with options.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as temporary:
        writer = csv.DictWriter(file, ["way", "line", "place", "call", "outcome", "said"])
        writer.writeheader()
        for way in WAYS:
            folder = Path(temporary) / way.replace(" ", "-")
            expected, lines = undisturbed(folder / "whole", way)
            found: Counter[str] = Counter()
            for number in range(1, len(lines) + 1, options.every):
                row = interrupted(folder / str(number), way, number, expected)
                writer.writerow(row)
                found[row["outcome"]] += 1
            counts = ", ".join(f"{outcome} {found[outcome]}" for outcome in OUTCOMES)
            print(f"{way}: {sum(found.values())} interrupts in {len(lines)} lines: {counts}")


if __name__ == "__main__":
    main()
