"""A sample of the faults of targets, and of others who want a run, that `benchmarks/adversity.py` tries."""

import importlib
import sys
from itertools import islice
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


@pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")
@pytest.mark.parametrize(
    ("module", "part", "n"), [("disturbed_runs", "processes", 24), ("faulty_targets", "targets", 60)]
)
def test_a_fault_is_survived_exactly_or_told_in_one_line(module, part, n, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    trials = getattr(importlib.import_module(module), part)(tmp_path)
    rows = list(islice(trials, n))
    assert len(rows) == n
    assert [row for row in rows if row["outcome"] not in ("exact", "told")] == []
    assert {row["outcome"] for row in rows} & {"told"}
