"""What a prediction means: time, IPC, throughput and the limit that binds, by launch and in total."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gpu_xarch import InputError, find_gpu
from gpu_xarch.learning.outlook import total_times
from gpu_xarch.learning.prediction import predict_table
from gpu_xarch.learning.rows import training_data
from gpu_xarch.learning.training import Trained, train
from gpu_xarch.models import make_problem
from gpu_xarch.models.kernel import LIMITS
from gpu_xarch.simulator.own_data import own_pairs

METRICS = ["duration", "ipc", "inst_executed", "dram_throughput", "achieved_occupancy"]


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return own_pairs(80, times=True)


def trained(pairs: pd.DataFrame, target: str, model: str = "mechanism") -> Trained:
    return train(training_data(pairs, make_problem(target, "P100", "V100"), metrics=METRICS), model)


def test_a_predicted_time_brings_ipc_traffic_and_the_limit(pairs: pd.DataFrame) -> None:
    frame, _ = predict_table(trained(pairs, "duration"), pairs)
    np.testing.assert_allclose(frame["time"], frame["predicted"])
    np.testing.assert_allclose(frame["old_time"], pairs["source.duration"])
    assert np.median(np.abs(frame["ipc"] / pairs["dest.ipc"] - 1)) < 0.15
    assert np.median(np.abs(frame["dram_throughput"] / pairs["dest.dram_throughput"] - 1)) < 0.2
    assert set(frame["limit"]) <= set(LIMITS)
    bound = frame["memory_bound"] == 1
    assert (frame["bandwidth_fraction"] > 0.75).eq(bound).all()
    assert (frame["dram_throughput"] <= find_gpu("V100").bandwidth).all()
    assert (frame["limit"][bound] == "DRAM").mean() > 0.9
    assert list(frame["run_id"]) == list(pairs["source.run_id"])


def test_a_predicted_ipc_moves_the_time(pairs: pd.DataFrame) -> None:
    model = trained(pairs, "ipc", "old")
    frame, _ = predict_table(model, pairs)
    np.testing.assert_allclose(frame["ipc"], frame["predicted"])
    halved = pairs.assign(**{"source.ipc": pairs["source.ipc"] / 2})
    slower, _ = predict_table(model, halved)
    assert (slower["time"] > 1.2 * frame["time"]).mean() > 0.8


def test_runs_without_what_describes_a_kernel_get_no_time(pairs: pd.DataFrame) -> None:
    model = train(
        training_data(pairs, make_problem("dram_throughput", "P100", "V100"), metrics=["dram_throughput"]),
        "scaled",
    )
    gap = pairs.copy()
    gap.loc[0, "source.inst_executed"] = np.nan
    frame, _ = predict_table(model, gap)
    assert (np.isnan(frame["time"][0]), frame["limit"][0]) == (True, "")
    assert frame["time"][1:].notna().all()
    without, _ = predict_table(model, gap.drop(columns=["source.inst_executed"]))
    assert "time" not in without
    with pytest.raises(InputError, match="no time can be told"):
        total_times(without, "kernel")


def test_times_of_all_launches_are_summed(pairs: pd.DataFrame) -> None:
    frame, _ = predict_table(trained(pairs, "duration"), pairs)
    frame["invocations"] = 3
    totals = total_times(frame, "application")
    assert totals["time"].sum() == pytest.approx(3 * frame["time"].sum())
    assert totals["launches"].sum() == 3 * len(frame)
    assert totals["time"].is_monotonic_decreasing
    np.testing.assert_allclose(totals["speedup"], totals["old_time"] / totals["time"])
    assert len(total_times(frame, "kernel")) == frame[["application", "kernel"]].drop_duplicates().shape[0]
    with pytest.raises(InputError, match="kernel or application"):
        total_times(frame, "input")


def test_short_times_of_few_applications_have_no_upper_end_and_no_warning(pairs: pd.DataFrame) -> None:
    few = pairs[pairs["application"].isin(sorted(set(pairs["application"]))[:3])]
    table, _ = predict_table(trained(few, "duration", "scaled"), few)
    assert (table["low"] < 1e-20).all()
    assert (table["high"] > 1e290).all()
