"""The option --exact of `proxima-mc`."""

import json
import math
import re

import pytest
from click.testing import CliRunner

from proxima_cli.proxima import main as proxima
from proxima_cli.proxima_mc import main

ARGUMENTS = (
    "--molecule",
    "N2",
    "--target",
    "emt",
    "--perturb",
    "0.03",
    "--exact",
    "--burn-in",
    "60",
    "--steps",
    "12",
)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_an_exact_run_ends_with_its_table_and_goes_on(tmp_path):
    out = tmp_path / "run"
    result = invoke(*ARGUMENTS, "--out", out)
    assert result.exit_code == 0, result.output
    assert "ESS: effective number of samples" in result.stdout
    assert f"again with: proxima report {out}, their training" in result.stdout
    assert f"proxima report {out / 'burn-in'}" in result.stdout
    chain = (out / "chain.csv").read_text().splitlines()
    assert len(chain) == 14
    again = invoke(*ARGUMENTS, "--out", out, "--resume", "--steps", "15", "--json")
    (summary,) = json.loads(again.stdout)
    assert (summary["strategy"], summary["n_outer"], summary["burn_in"]) == ("exact", 15, 60)
    assert summary["n_target_chain"] <= 15
    assert (out / "chain.csv").read_text().splitlines()[:14] == chain


def report(folder, *options):
    result = CliRunner().invoke(proxima, ["report", str(folder), *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_report_of_an_exact_run_says_what_means_something(tmp_path):
    out = tmp_path / "run"
    (summary,) = json.loads(invoke(*ARGUMENTS, "--out", out, "--steps", "40", "--json").stdout)
    numbers = json.loads(report(out, "--json"))
    exact = numbers["exact"]
    for name in ("inner_steps", "n_target_chain", "n_target_trials", "n_target_burn_in", "acceptance"):
        assert exact[name] == summary[name]
    assert numbers["monte_carlo"]["radius_of_gyration"] == pytest.approx(summary["radius_of_gyration"])
    assert numbers["wall_s"] == summary["wall_s"]
    assert exact["ess_per_target_call"] == pytest.approx(1.0, abs=0.5)
    n_samples = exact["ess_per_target_call"] * summary["n_target_chain"]
    assert exact["chain_s_per_sample"] == pytest.approx(summary["chain_s"] / n_samples)
    assert (numbers["bounds"], numbers["speedup"], numbers["speedup_long_run"]) == ([], None, None)
    text = report(out)
    for shown in ("accepted by the target", "an independent sample", "made with --exact", "wall time"):
        assert shown in text
    for hidden in ("speedup", "mean error", "upper limit", "bound", "baseline"):
        assert hidden not in text
    assert "mean error, estimated" in report(out / "burn-in")


def test_what_a_short_chain_cannot_tell_is_left_out(tmp_path):
    out = tmp_path / "run"
    result = invoke(*ARGUMENTS, "--out", out, "--burn-in", "30", "--steps", "5")
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["reliable_error_bars"] is False
    assert all(math.isnan(summary[name]) for name in ("ess_per_target_call", "ess_gain"))
    assert math.isnan(summary["plain_ess_per_target_call"])
    text = " ".join(result.stdout.split())
    assert "* shorter than 20 autocorrelation times: the error bar itself is uncertain" in text
    assert re.search(r" ± \S+ \* ", text)
    assert "the burn-in is shorter than 20 autocorrelation times: too short to tell the gain" in text
    shown = " ".join(report(out).split())
    assert shown.count("the chain is shorter than 20 autocorrelation times") == 1
    assert "gain " not in shown.replace("tell the gain", "")
    (out / "summary.json").unlink()
    assert "the chain is shorter than 20 autocorrelation times" in " ".join(report(out).split())


def test_the_report_of_an_interrupted_exact_run_counts_what_there_is(tmp_path):
    out = tmp_path / "run"
    invoke(*ARGUMENTS, "--out", out)
    (out / "summary.json").unlink()
    exact = json.loads(report(out, "--json"))["exact"]
    assert (exact["n_target_burn_in"], exact["ess_gain"], exact["chain_s_per_sample"]) == (None, None, None)
    assert 0 < exact["n_target_chain"] <= 12
    assert "an independent sample" not in report(out)
    (out / "chain.csv").unlink()
    assert json.loads(report(out, "--json"))["exact"]["inner_steps"] is None


def test_an_exact_run_is_no_baseline_to_compare_with(tmp_path):
    out = tmp_path / "run"
    invoke(*ARGUMENTS, "--out", out)
    result = CliRunner().invoke(proxima, ["compare", str(out), str(out / "burn-in")])
    assert result.exit_code == 0, result.output
    assert "no run among these asked the target for every structure" in " ".join(result.stdout.split())


def test_several_temperatures_side_by_side_with_plots(tmp_path):
    out = tmp_path / "runs"
    options = ("--temp", "300,600", "--inner-steps", "5", "--jobs", "2", "--plot", "--out", out)
    result = invoke(*ARGUMENTS, *options)
    assert result.exit_code == 0, result.output
    for name in ("T0300K-s1", "T0600K-s1"):
        assert json.loads((out / name / "summary.json").read_text())["inner_steps"] == 5
        assert (out / name / "run.png").stat().st_size > 10_000
    assert (out / "temperatures.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--burn-in", "5"), "--burn-in and --inner-steps belong to --exact"),
        (("--inner-steps", "5"), "--burn-in and --inner-steps belong to --exact"),
        (("--exact", "--strategy", "published"), "exact sampling trains its surrogate"),
        (("--exact", "--burn-in", "0"), "the burn-in must have at least 1 step, got 0"),
        (("--exact", "--inner-steps", "-1"), "the number of inner steps must be at least 1, got -1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    result = invoke("--target", "emt", "--molecule", "N2", "--out", tmp_path / "run", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
