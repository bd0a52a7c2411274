"""Performance portability against hand-made numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_xarch.advice.portability import (
    by_application,
    efficiencies,
    performance_portability,
    portability_table,
    predicted_runs,
)
from gpu_xarch.errors import InputError


def table(rows):
    return pd.DataFrame(rows, columns=["device", "application", "kernel", "input", "dram_throughput", "ipc"])


RUNS = [
    ("P100", "stream", "copy", "1", 0.5 * 732e9, 1.0),
    ("V100", "stream", "copy", "1", 0.25 * 900e9, 2.0),
    ("P100", "gemm", "mm", "8", 0.1 * 732e9, 2.0),
    ("V100", "gemm", "mm", "8", 0.1 * 900e9, 3.0),
    ("P100", "gemm", "mm", "9", 0.1 * 732e9, 2.0),
]


def test_portability_is_the_harmonic_mean():
    found = portability_table(table(RUNS)).set_index("application")
    assert found.loc["stream", "portability"] == pytest.approx(1 / 3)
    assert found.loc["gemm", "portability"] == pytest.approx(0.1)
    assert found.attrs["left_out"] == 1
    assert list(found.index) == ["gemm", "stream"]  # the least portable first


def test_a_missing_run_can_mean_unsupported():
    found = portability_table(table(RUNS), missing="unsupported")
    assert found[found["input"] == "9"]["portability"].tolist() == [0.0]
    assert len(found) == 3
    assert found.attrs["left_out"] == 0


def test_kinds_of_efficiency():
    frame = table(RUNS)
    np.testing.assert_allclose(efficiencies(frame), [0.5, 0.25, 0.1, 0.1, 0.1])
    issue = efficiencies(frame, "issue")
    assert issue[1] == pytest.approx(0.5)  # V100 issues four
    larger = efficiencies(frame, "larger")
    np.testing.assert_allclose(larger, np.maximum(efficiencies(frame), issue))
    split = frame.drop(columns="dram_throughput").assign(
        dram_read_throughput=frame["dram_throughput"] * 0.75,
        dram_write_throughput=frame["dram_throughput"] / 4,
    )
    np.testing.assert_allclose(efficiencies(split), efficiencies(frame))


def test_runs_without_the_metrics_are_counted():
    frame = table([*RUNS, ("V100", "gemm", "mm", "9", np.nan, 1.0)])
    found = portability_table(frame)
    assert (found.attrs["unmeasured"], found.attrs["left_out"]) == (1, 1)


def test_repeated_runs_count_by_their_mean_and_empty_launches_match():
    frame = table([*RUNS[:2], ("V100", "stream", "copy", "1", 0.75 * 900e9, 2.0)])
    frame["launch"] = pd.array([None, None, None], dtype="Int64")
    found = portability_table(frame)
    assert found["V100"].tolist() == [0.5]
    assert found["portability"].tolist() == [pytest.approx(0.5)]


def test_summary_by_application():
    rows = by_application(portability_table(table(RUNS)), ["P100", "V100"])
    assert [row["application"] for row in rows] == ["gemm", "stream"]
    assert rows[1]["least"] == rows[1]["portability"] == pytest.approx(1 / 3)
    assert rows[0]["problems"] == 1


def test_predictions_become_runs():
    predictions = pd.DataFrame(
        {
            "application": ["stream"] * 2,
            "kernel": ["copy"] * 2,
            "input": ["1"] * 2,
            "dest": ["V100"] * 2,
            "target": ["dram_throughput", "ipc"],
            "predicted": [0.25 * 900e9, 2.0],
        }
    )
    runs = predicted_runs(predictions)
    assert len(runs) == 1
    both = pd.concat([table(RUNS[:1]), runs], ignore_index=True)
    assert portability_table(both)["portability"].tolist() == [pytest.approx(1 / 3)]
    with pytest.raises(InputError, match="has one already"):
        predicted_runs(pd.concat([predictions, predictions]))
    with pytest.raises(InputError, match="column dest"):
        predicted_runs(predictions.drop(columns="dest"))


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8))
def test_between_the_least_and_the_mean(values):
    found = performance_portability(values)
    assert min(values) * (1 - 1e-12) <= found <= np.mean(values) * (1 + 1e-12)
    assert performance_portability([*values, 0.0]) == 0.0
    assert performance_portability([*values, float("nan")]) == 0.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: performance_portability([]), "at least one platform"),
        (lambda: performance_portability([-0.1]), "got -0.1"),
        (lambda: portability_table(table(RUNS), ["P100"]), "two GPUs"),
        (lambda: portability_table(table(RUNS), ["P100", "K40"]), "no runs of the GPU 'K40'"),
        (lambda: portability_table(table(RUNS), missing="zero"), "missing must be"),
        (lambda: portability_table(table([RUNS[0], RUNS[3]])), "no problem ran on all"),
        (lambda: efficiencies(table(RUNS), "flops"), "unknown efficiency"),
        (lambda: efficiencies(table(RUNS).drop(columns="ipc"), "issue"), "no ipc"),
        (lambda: efficiencies(table(RUNS).drop(columns="dram_throughput")), "no dram_read_throughput"),
        (lambda: efficiencies(table([("Voodoo", "a", "k", "1", 1.0, 1.0)])), "no data-sheet facts"),
    ],
)
def test_wrong_requests_are_told(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_problems_are_told_apart_by_the_columns_named():
    runs = [
        ("P100", "stream", "copy", "", 0.5 * 732e9, 1.0),
        ("V100", "stream", "copy", "0", 0.25 * 900e9, 2.0),
    ]
    with pytest.raises(InputError, match="input alone, --on application,kernel leaves it out"):
        portability_table(table(runs))
    found = portability_table(table(runs), on=["application", "kernel"])
    assert found["portability"].tolist() == [pytest.approx(1 / 3)]
    assert list(found.columns) == ["application", "kernel", "P100", "V100", "portability"]
    with pytest.raises(InputError, match="no such column: colour"):
        portability_table(table(runs), on=["application", "colour"])
    with pytest.raises(InputError, match="by application, which is not among kernel"):
        portability_table(table(runs), on=["kernel"])
