"""Ctrl-C at lines of a run, which then goes on with the same object, or says at once that it is to be resumed."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "interrupts.py"


@pytest.fixture(scope="module")
def interrupts():
    spec = importlib.util.spec_from_file_location("interrupts", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outcomes(interrupts, folder, way, numbers, expected, phase="calls"):
    places = ((number, folder / f"{phase}-{number}") for number in numbers)
    return [interrupts.interrupted(place, way, phase, number, expected) for number, place in places]


@pytest.mark.parametrize("way", ["in place", "by versions", "blended", "shared"])
def test_an_interrupt_is_survived_exactly_or_told_at_once(interrupts, tmp_path, way):
    expected, lines = interrupts.undisturbed(tmp_path / "whole", way)
    assert len(lines["calls"]) > 5000
    rows = outcomes(interrupts, tmp_path, way, range(100, len(lines["calls"]), 701), expected)
    assert [row for row in rows if row["outcome"] not in ("exact", "told")] == []
    assert Counter(row["outcome"] for row in rows)["exact"] > 2


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a file that was just being opened
@pytest.mark.parametrize("phase", ["create", "resume"])
def test_a_calculator_is_made_or_resumed_again_where_that_was_interrupted(interrupts, tmp_path, phase):
    expected, lines = interrupts.undisturbed(tmp_path / "whole", "shared")
    numbers = range(1, len(lines[phase]), len(lines[phase]) // 30)
    rows = outcomes(interrupts, tmp_path, "shared", numbers, expected, phase)
    assert len(rows) >= 30
    assert [row for row in rows if row["outcome"] != "exact"] == []


def test_an_interrupt_where_a_call_begins_and_ends_or_a_distance_is_measured(interrupts, tmp_path):
    expected, lines = interrupts.undisturbed(tmp_path / "whole", "in place")
    lines = lines["calls"]
    places = dict(zip(reversed(lines), range(len(lines), 0, -1), strict=True))  # the first time of each line
    numbers = [number for place, number in places.items() if "guard" in place or "reach" in place]
    assert len(numbers) > 20
    rows = outcomes(interrupts, tmp_path, "in place", numbers, expected)
    assert [row for row in rows if row["outcome"] not in ("exact", "told")] == []
    assert any("was interrupted just as it began or ended" in row["said"] for row in rows)
