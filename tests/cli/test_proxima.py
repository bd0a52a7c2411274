"""The command `proxima`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from proxima_cli.output import json_text
from proxima_cli.proxima import main


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_imports_neither_ase_nor_matplotlib():
    script = (
        "import sys; from proxima_cli.proxima import main; main(['--help'], standalone_mode=False); "
        "print({'ase', 'matplotlib', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_report_as_json(write_run):
    result = invoke("report", write_run(), "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["n_target_runs"] == 3
    assert report["bounds"][0]["error_estimate"] == pytest.approx(0.002)
    assert report["wall_s"] is None


def test_report_as_a_table_with_plots(write_run, tmp_path):
    out, plot = tmp_path / "out", tmp_path / "run.svg"
    result = invoke("report", write_run(), "--out", out, "--plot", plot)
    assert result.exit_code == 0, result.output
    assert "held (estimated)" in result.stdout
    assert (out / "report.png").stat().st_size > 10_000
    assert json.loads((out / "report.json").read_text())["n_calls"] == 4
    assert plot.read_text().startswith("<?xml")


def test_compare(write_run, tmp_path):
    calls = [(float("nan"), float("nan"), "", "target", 1.0)] * 4
    baseline = write_run("baseline", calls, energies=[0.0, 1.0, 2.0, 3.0], controller="baseline")
    run = write_run("proxima", energies=[0.0, 1.0, 2.004, 3.0])
    result = invoke("compare", baseline, run, "--json")
    assert json.loads(result.stdout)["runs"][1]["true_error"]["mean_trusted"] == pytest.approx(0.004)
    result = invoke("compare", baseline, run, "--plot", tmp_path / "compare.png")
    assert result.exit_code == 0
    assert "true mean error" in result.stdout
    assert (tmp_path / "compare.png").exists()


def test_replay(write_run, tmp_path):
    path = write_run()
    options = ("--controller", "fixed:0.5", "--controller", "linear", "--error-bound", "0.01")
    result = invoke("replay", path, *options, "--json")
    replay = json.loads(result.stdout)
    assert replay["error_bound"] == 0.01
    assert [entry["controller"] for entry in replay["controllers"]] == [
        "(the run)",
        "fixed:0.5",
        "linear",
    ]
    result = invoke("replay", path, *options, "--plot", tmp_path / "replay.png")
    assert result.exit_code == 0
    assert "Only calls on which the target ran are known" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "nowhere"), "error: nowhere is not a run directory"),
        (("compare", "nowhere"), "error: nowhere is not a run directory"),
        (("replay", "nowhere", "--controller", "risk"), "error: nowhere is not a run directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [("report",), ("compare",), ("replay", "--controller", "risk")], ids=lambda c: c[0]
)
def test_a_picture_format_that_is_none_is_bad_input_before_anything_is_printed(command, write_run, tmp_path):
    name, *options = command
    result = invoke(name, write_run(), *options, "--plot", tmp_path / "run.foo")
    assert result.exit_code == 2
    assert "run.foo must end in a picture format such as .png" in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_json_knows_no_nan_and_no_numbers_of_numpy():
    data = {"a": np.float64("nan"), "b": (np.int64(3), np.array([1.5, np.inf])), "c": Path("x"), "d": True}
    assert json.loads(json_text(data)) == {"a": None, "b": [3, [1.5, None]], "c": "x", "d": True}
