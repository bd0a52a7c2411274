"""Damaged copies of real profiles: how many are refused, marked, read right, or wrong without a word.

Copies of the nvprof and Nsight Compute files in ../shared/data, drawn at random and each damaged in one way, go through
`ingest` one by one. A copy is wrong where one of its runs has values that no run of the same kernel has in the whole
file. What no reader can see is not tried: a digit flipped, a name misspelt, one unit taken for another of its kind in
a whole row, the unit of a metric that the registry does not know, two columns of like counts exchanged. Writes
benchmarks/results/damaged_profiles.csv and prints it; exits 1 where a copy is wrong without a word.
"""

from __future__ import annotations

import csv
import io
import math
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import pandas as pd
from xarch_heldout import shared_data

from gpu_xarch import InputError, ingest, load_runs
from gpu_xarch.learning.rows import run_values

OUTCOMES = (
    "refused",
    "marked, the rest right",
    "right, whole",
    "right, less of it",
    "wrong, with a word",
    "wrong without a word",
)
STRANGE_UNITS = ("GB/s", "%", "KB", "us")
FOREIGN = ("==512== Warning: something went amiss\n", "Test passed\n", "GPU Device 0: done, 1.5 ms\n", "\n")

_NUMBER = re.compile(r"[\d.,]+\D*$")
#: a run whose device was lost has less of it, and nothing wrong
_UNKNOWN = "unknown: "

Damage = Callable[[list[str], random.Random], str]


def _header(lines: list[str]) -> int:
    """Return the line of the table's header."""
    return next(place for place, line in enumerate(lines) if line.startswith('"'))


def _rows(lines: list[str]) -> list[int]:
    """Return the lines of the table's rows, a row of units left out."""
    return [place for place in range(_header(lines) + 1, len(lines)) if '"' in lines[place]]


def _parse(line: str) -> list[str]:
    return next(csv.reader([line]))


def _join(cells: list[str], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return out.getvalue()


def cut(lines: list[str], rng: random.Random) -> str:
    """The end is lost, from any character on."""
    text = "".join(lines)
    return text[: rng.randrange(1, len(text))]


def head_lost(lines: list[str], rng: random.Random) -> str:
    """The first lines are lost, the header at least."""
    return "".join(lines[rng.randrange(_header(lines) + 1, len(lines)) :])


def header_lost(lines: list[str], _: random.Random) -> str:
    """The header alone is lost."""
    at = _header(lines)
    return "".join(lines[:at] + lines[at + 1 :])


def piece_lost(lines: list[str], rng: random.Random) -> str:
    """A piece in the middle is lost, from any character to any other."""
    text = "".join(lines)
    start, end = sorted(rng.sample(range(len(text)), 2))
    return text[:start] + text[end:]


def ends_lost(lines: list[str], rng: random.Random) -> str:
    """Lines run into each other."""
    at = rng.randrange(len(lines))
    return "".join([*lines[:at], lines[at].rstrip("\n"), *lines[at + 1 :]])


def shuffled(lines: list[str], rng: random.Random) -> str:
    """All lines change places."""
    return "".join(rng.sample(lines, len(lines)))


def output_between(lines: list[str], rng: random.Random) -> str:
    """The program's own output, or a message of the profiler, stands within a line."""
    text = "".join(lines)
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(FOREIGN) + text[at:]


def columns_moved(lines: list[str], rng: random.Random) -> str:
    """Two columns, headers and all, change places: nothing is wrong."""
    n = len(_parse(lines[_header(lines)]))
    one, other = rng.sample(range(n), 2)
    return "".join(
        _exchange(line, one, other, n) if place >= _header(lines) else line
        for place, line in enumerate(lines)
    )


def columns_swapped(lines: list[str], rng: random.Random) -> str:
    """Two columns of unlike content change places in the rows, and not in the header."""
    names, rows = _parse(lines[_header(lines)]), _rows(lines)
    first = next(cells for row in rows if len(cells := _parse(lines[row])) == len(names))
    kinds = [
        name if name in ("Min", "Avg", "Max") else "number" if re.fullmatch(r"[\d.,]*%?", cell) else name
        for name, cell in zip(names, first, strict=True)
    ]
    one, other = rng.choice([(i, j) for i in range(len(names)) for j in range(i) if kinds[i] != kinds[j]])
    return "".join(
        _exchange(line, one, other, len(names)) if place in set(rows) else line
        for place, line in enumerate(lines)
    )


def _exchange(line: str, one: int, other: int, n: int) -> str:
    cells = _parse(line) if line.strip() else []
    if len(cells) != n:
        return line
    cells[one], cells[other] = cells[other], cells[one]
    return _join(cells)


def other_delimiter(lines: list[str], rng: random.Random) -> str:
    """A spreadsheet saved the file with other marks between cells, half the time with decimal commas too."""
    delimiter, comma = rng.choice([";", "\t"]), rng.random() < 0.5
    found = lines[: _header(lines)]
    for line in lines[_header(lines) :]:
        cells = _parse(line) if line.strip() else []
        if comma:
            cells = [cell.replace(".", ",") if _NUMBER.match(cell) else cell for cell in cells]
        found.append(_join(cells, delimiter))
    return "".join(found)


def decimal_commas(lines: list[str], _: random.Random) -> str:
    """Decimal commas in place of points, every cell in quotes."""
    rows, exchange = set(_rows(lines)), str.maketrans(",.", ".,")
    found = []
    for place, line in enumerate(lines):
        if place in rows:
            cells = _parse(line)
            line = _join([cell.translate(exchange) if _NUMBER.match(cell) else cell for cell in cells])
        found.append(line)
    return "".join(found)


def strange_unit(lines: list[str], rng: random.Random) -> str:
    """The values of a row, or the row of units, have a unit of another kind."""
    unit_row = _header(lines) + 1
    if '"' not in lines[unit_row]:
        cells = lines[unit_row].rstrip("\n").split(",")
        at = rng.choice([place for place, cell in enumerate(cells) if cell])
        cells[at] = rng.choice(
            [unit for unit in ("KB", "%", "MB/s", "us") if _kind(unit) != _kind(cells[at])]
        )
        return "".join([*lines[:unit_row], ",".join(cells) + "\n", *lines[unit_row + 1 :]])
    names = _parse(lines[_header(lines)])
    # of the metrics of this Nsight Compute page, the unit is known of those in this section
    here = [place for place in _rows(lines) if "Metric Unit" not in names or "Speed Of Light" in lines[place]]
    place = rng.choice(here)
    cells = _parse(lines[place])
    if "Metric Unit" in names:
        at = names.index("Metric Unit")
        cells[at] = rng.choice([unit for unit in ("Kbyte", "%", "us") if _kind(unit) != _kind(cells[at])])
    else:
        now = re.sub(r"^[\d.]+", "", cells[names.index("Avg")])
        unit = rng.choice([unit for unit in STRANGE_UNITS if _kind(unit) != _kind(now)])
        for name in ("Min", "Max", "Avg"):
            at = names.index(name)
            cells[at] = re.sub(r"^([\d.]+)\D*$", rf"\g<1>{unit}", cells[at])
    return "".join([*lines[:place], _join(cells), *lines[place + 1 :]])


def _kind(unit: str) -> str:
    """Tell units of one kind from another by their letters."""
    short = unit.lower().replace("byte", "b")
    return (
        "rate"
        if "/s" in short
        else "bytes"
        if short.endswith("b")
        else "time"
        if short.endswith("s")
        else short
    )


def unit_of_one(lines: list[str], rng: random.Random) -> str:
    """One of the smallest, largest and mean value of a row has a unit 1024 times larger or smaller."""
    names = _parse(lines[_header(lines)])
    rows = [place for place in _rows(lines) if "B/s" in lines[place]]
    if "Avg" not in names or not rows:
        return strange_unit(lines, rng)
    place = rng.choice(rows)
    cells = _parse(lines[place])
    at = names.index(rng.choice(["Min", "Max", "Avg"]))
    units = ["B/s", "KB/s", "MB/s", "GB/s"]
    value, unit = re.fullmatch(r"([\d.]+)(\D+)", cells[at]).groups()  # type: ignore[union-attr]
    near = [other for other, mine in [*pairwise(units), *pairwise(units[::-1])] if mine == unit]
    cells[at] = value + rng.choice(near)
    return "".join([*lines[:place], _join(cells), *lines[place + 1 :]])


DAMAGES: tuple[Damage, ...] = (
    cut,
    head_lost,
    header_lost,
    piece_lost,
    ends_lost,
    shuffled,
    output_between,
    columns_moved,
    columns_swapped,
    other_delimiter,
    decimal_commas,
    strange_unit,
    unit_of_one,
)


@dataclass(frozen=True)
class Profiled:
    """What `ingest` makes of a file: values by metric of each run, with its kernel, and what was said."""

    runs: list[tuple[str, dict[str, float]]]
    said: list[str]

    @property
    def n_values(self) -> int:
        """Count the values."""
        return sum(len(values) for _, values in self.runs)


def read(path: Path) -> Profiled:
    """Read a file by `ingest`."""
    out = path.with_suffix(".parquet")
    try:
        report = ingest([path], out)
    except InputError as error:
        return Profiled([], [str(error)])
    said = [str(problem) for problem in [*report.failed, *report.problems]] + ["no profile"] * report.skipped
    if report.failed or not report.runs:
        return Profiled([], said)
    runs = load_runs(out)
    kernels = (
        runs["device"].astype(str) + ": " + runs["kernel_name"].astype(str) + runs["invocations"].astype(str)
    )
    values = [
        {str(name): float(value) for name, value in row.items() if not math.isnan(value)}
        for row in run_values(runs).to_dict("records")
    ]
    return Profiled(list(zip(kernels, values, strict=True)), said)


def wrong_runs(whole: Profiled, copy: Profiled) -> list[tuple[str, dict[str, float]]]:
    """Return the runs of a copy of which the whole file has no match, with the values that miss the nearest one."""
    found = []
    for kernel, values in copy.runs:
        misses = [
            {name: value for name, value in values.items() if true.get(name) != value}
            for other, true in whole.runs
            if other == kernel or (kernel.startswith(_UNKNOWN) and other.endswith(kernel[len(_UNKNOWN) :]))
        ]
        nearest = min(misses, key=len, default=values)
        if nearest:
            found.append((kernel, nearest))
    return found


def outcome_of(whole: Profiled, copy: Profiled) -> str:
    """Return what became of a damaged copy."""
    if wrong_runs(whole, copy):
        return "wrong, with a word" if copy.said else "wrong without a word"
    if copy.said:
        return "marked, the rest right" if copy.runs else "refused"
    return "right, whole" if copy.n_values == whole.n_values else "right, less of it"


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--copies", default=200, help="Damaged copies, the kinds of damage in turn.")
@click.option("--seed", default=0)
@click.option("--show", is_flag=True, help="Print each copy that is read wrongly.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent / "results" / "damaged_profiles.csv",
)
def main(copies: int, seed: int, show: bool, out: Path) -> None:
    """Run the benchmark."""
    folder, rng = shared_data(), random.Random(seed)  # noqa: S311
    metrics = sorted(folder.glob("nvprof/gtx*/**/*.csv"))
    others = [*sorted(folder.glob("nvprof/trace*/*.csv")), *sorted(folder.glob("ncu/*.log"))]
    if not metrics:
        raise SystemExit(f"no real profiles: neither $XARCH_SHARED_DATA nor {folder} has a folder nvprof")
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(copies):
            # a quarter of the copies are of the few files that are no aggregates
            original = rng.choice(others if rng.random() < 0.25 else metrics)
            text = original.read_text(encoding="utf-8")
            damage = DAMAGES[number % len(DAMAGES)]
            whole, copy = (Path(scratch) / str(number) / name / original.name for name in ("whole", "copy"))
            for path, content in ((whole, text), (copy, damage(text.splitlines(keepends=True), rng))):
                path.parent.mkdir(parents=True)
                path.write_text(content, encoding="utf-8")
            truth, got = read(whole), read(copy)
            outcome = outcome_of(truth, got)
            counts[damage.__name__.replace("_", " "), outcome] += 1
            if show and outcome.startswith("wrong"):
                wrong = wrong_runs(truth, got)
                click.echo(f"{number} {damage.__name__} {original}: {outcome}: {got.said[:2]}")
                click.echo(f"   {len(wrong)} of {len(got.runs)} runs: {wrong[:1]}")
    kinds = [damage.__name__.replace("_", " ") for damage in DAMAGES]
    table = pd.DataFrame(
        [{"damage": kind, **{outcome: counts[kind, outcome] for outcome in OUTCOMES}} for kind in kinds]
    )
    total = {"damage": "all", **{outcome: int(table[outcome].sum()) for outcome in OUTCOMES}}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    table.insert(1, "copies", table[list(OUTCOMES)].sum(axis=1))
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    click.echo(table.to_string(index=False))
    if total["wrong without a word"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
