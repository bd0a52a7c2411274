"""Kernels below the roofline of their GPU."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from gpu_xarch import (
    InputError,
    find_gpu,
    ingest,
    load_runs,
    plan_runs,
    roofline_figure,
    roofline_points,
    write_simulation,
)
from gpu_xarch.tables.run_time import run_time
from proxima_cli.xarch import main

P100 = find_gpu("P100")


def runs(flops, moved, time, device="P100", invocations=1):
    return pd.DataFrame(
        {
            "device": device,
            "application": "a",
            "kernel": [f"k{i}(int)" for i in range(len(flops))],
            "input": "",
            "invocations": invocations,
            "flop_count_sp": np.asarray(flops, float),
            "dram_throughput": np.asarray(moved, float) / np.asarray(time, float),
            "duration": np.asarray(time, float),
        }
    )


def test_intensity_rate_and_roof():
    points = roofline_points(runs(flops=[1e9, 1e12], moved=[1e9, 1e9], time=[0.01, 1.0]))
    assert points["intensity"].tolist() == pytest.approx([1000.0, 1.0])
    assert points["rate"].tolist() == pytest.approx([1e12, 1e11])
    assert points["roof"].tolist() == pytest.approx([P100.peak_fp32, P100.bandwidth])
    assert points["bound"].tolist() == ["compute", "memory"]
    assert points["share"].tolist() == pytest.approx([1e12 / P100.peak_fp32, 1e11 / P100.bandwidth])


def test_the_longest_in_all_launches_comes_first():
    points = roofline_points(runs([1e9, 1e9], [1e9, 1e9], [0.01, 0.02], invocations=[9, 1]))
    assert points["time"].tolist() == pytest.approx([0.09, 0.02])


def test_time_follows_from_a_count_and_its_rate_where_none_was_measured():
    frame = pd.DataFrame(
        {
            "duration": [0.5, np.nan, np.nan],
            "l2_read_transactions": [1e6, 1e6, 0.0],
            "l2_read_throughput": [1e9, 32e9, 0.0],
        }
    )
    assert run_time(frame).tolist() == pytest.approx([0.5, 1e-3, np.nan], nan_ok=True)
    assert frame["duration"].isna().sum() == 2


def test_what_cannot_be_placed_is_left_out():
    frame = pd.concat([runs([0.0, 1e9], [1e9, 0.0], [0.1, 0.1]), runs([1e9], [1e9], [0.1], "Voodoo 2")])
    with pytest.raises(
        InputError, match="no run has operations of single precision, traffic, a time and a data sheet"
    ):
        roofline_points(frame)
    assert len(roofline_points(pd.concat([frame, runs([1e9], [1e9], [0.1])], ignore_index=True))) == 1
    with pytest.raises(InputError, match="no run has flop_count_dp: profile it"):
        roofline_points(frame, precision="double")
    with pytest.raises(InputError, match="precision must be one of single, double"):
        roofline_points(frame, precision="half")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roofline")
    write_simulation([find_gpu("P100"), find_gpu("V100")], plan_runs(80), folder / "files", times=True)
    ingest(folder / "files", folder / "runs.parquet")
    return folder / "runs.parquet"


def test_no_simulated_run_is_above_the_roof(simulated):
    for precision in ("single", "double"):
        points = roofline_points(load_runs(simulated), precision=precision)
        assert points["share"].between(0, 1.02).all()
        assert set(points["device"]) == {"P100", "V100"}


def test_figure_has_the_roof_of_each_gpu_and_names_the_longest(simulated):
    points = roofline_points(load_runs(simulated))
    axes = roofline_figure(points).axes[0]
    roofs = [line for line in axes.lines if line.get_label().endswith("peak")]
    assert [line.get_ydata().max() for line in roofs] == pytest.approx(
        [find_gpu(device).peak_fp32 for device in dict.fromkeys(points["device"])]
    )
    dots = [line for line in axes.lines if line.get_label().endswith("runs")]
    assert sum(len(line.get_xdata()) for line in dots) == len(points)
    *numbers, names = (text.get_text() for text in axes.texts)
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    assert names.splitlines()[1] == "1  " + points["kernel"][0].partition("(")[0].partition("<")[0][:28]
    assert tuple(axes.texts[0].xy) == (points["intensity"][0], points["rate"][0])


def test_command(simulated, tmp_path):
    out = tmp_path / "roofline.png"
    done = CliRunner().invoke(
        main, ["roofline", str(simulated), "--out", str(out), "--gpu", "P100", "--most", "3"]
    )
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.output
    assert len(done.stdout.splitlines()) == 6
    assert out.stat().st_size > 10_000
    records = json.loads(CliRunner().invoke(main, ["roofline", str(simulated), "--json"]).output)
    assert {"intensity", "rate", "roof", "share", "bound"} <= set(records[0])
