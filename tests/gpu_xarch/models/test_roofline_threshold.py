"""The roofline calls a kernel memory-bound by the same share of the peak as `label_runs`."""

import numpy as np
import pandas as pd
import pytest

from gpu_xarch import find_gpu, label_runs, make_problem
from gpu_xarch.models.baselines import Roofline
from gpu_xarch.tables.memory_bound import THRESHOLD


def runs(share):
    """Kernels of P100 that move `share` of its peak bandwidth for a hundredth of a second."""
    spec = find_gpu("P100")
    share = np.asarray(share)
    time = 0.01
    return pd.DataFrame(
        {
            "device": "P100",
            "dram_throughput": share * spec.bandwidth,
            "duration": time,
            "inst_executed": 1e6,
            "ipc": 1.0,
        }
    )


def test_published_threshold():
    assert THRESHOLD == 0.75


@pytest.mark.parametrize("device", ["P100", "GTX 1080 Ti"])
def test_threshold_in_the_roofline(device):
    source, dest = find_gpu("P100"), find_gpu(device)
    speed = dest.sms * dest.boost_hz / (source.sms * source.boost_hz)
    # where the instructions set the pace, the throughput on the other GPU is the old one times its speed
    there = np.array([0.70, 0.74, 0.76, 0.80])
    frame = runs(there * dest.bandwidth / speed / source.bandwidth)
    bound = Roofline(make_problem("memory_bound", "P100", device)).predict(frame.drop(columns="device"))
    assert bound.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_the_label_of_the_same_runs_agrees():
    frame = runs([0.70, 0.74, 0.76, 0.80])
    assert label_runs(frame)["memory_bound"].tolist() == [0.0, 0.0, 1.0, 1.0]
