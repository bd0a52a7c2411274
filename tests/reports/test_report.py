"""Reports say what the files of a run say, whatever state the run is in."""

import io
import json
import math
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ase_proxima import ProximaCalculator, RunDirectoryError
from ase_proxima.reports.comparison import compare_runs, comparison_table
from ase_proxima.reports.comparison_plots import plot_comparison
from ase_proxima.reports.estimates import estimate_errors
from ase_proxima.reports.formatting import format_with_error
from ase_proxima.reports.plots import plot_run, plot_temperatures
from ase_proxima.reports.report import report_run, report_table
from ase_proxima.reports.run_table import run_table
from ase_proxima.runs.run_data import read_run

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")


def text_of(table, width=200):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def emt_run(tmp_path_factory):
    """A real run of 30 calls, its calculator closed, and its statistics."""
    path = tmp_path_factory.mktemp("runs") / "emt"
    rng = np.random.default_rng(0)
    atoms = molecule("H2O")
    atoms.calc = ProximaCalculator(
        EMT(), error_bound=0.05, error_metric="energy", run_dir=path, audit_rate=0.2
    )
    start = atoms.positions.copy()
    for _ in range(30):
        atoms.positions = start + rng.normal(0.0, 0.02, start.shape)
        atoms.get_potential_energy()
    stats = atoms.calc.stats
    atoms.calc.close()
    return path, stats


def test_a_report_has_the_errors_of_every_property_that_the_run_saw(emt_run):
    path, stats = emt_run
    report = report_run(read_run(path))
    assert set(stats.errors_seen) == {"energy", "force_max"}
    for name, unit in (("energy", "eV"), ("force_max", "eV/Å")):
        seen = report["errors_seen"][name]
        assert seen["unit"] == unit
        for what, value in asdict(stats.errors_seen[name]).items():
            assert seen[what] == pytest.approx(value)
    [line] = [line for line in text_of(report_table(report)).splitlines() if "(force_max)" in line]
    largest = stats.errors_seen["force_max"].largest
    assert f"{stats.errors_seen['force_max'].n}: median" in line
    assert float(line.split("largest ")[1].split()[0]) == pytest.approx(largest, rel=0.1)
    assert "NaN" not in json.dumps(report["errors_seen"])


def test_a_report_counts_what_the_run_counted(emt_run):
    path, stats = emt_run
    report = report_run(read_run(path))
    for name in ("n_calls", "n_target", "n_audit", "n_surrogate", "n_target_runs", "model_version"):
        assert report[name] == getattr(stats, name)
    assert report["share_trusted"] == pytest.approx(stats.share_trusted)
    assert report["time_target"] == pytest.approx(stats.time_target)
    assert report["bounds"][0]["error_upper"] == pytest.approx(stats.error_upper, nan_ok=True)
    assert report["bounds"][0]["error_estimate"] == pytest.approx(stats.error_estimate, rel=1e-6)


def test_a_report_takes_no_lock_and_changes_no_file(emt_run, tmp_path):
    path, _ = emt_run
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    (copy / "lock").unlink()
    before = {file.name: file.stat().st_mtime_ns for file in copy.iterdir()}
    report_run(read_run(copy))
    assert {file.name: file.stat().st_mtime_ns for file in copy.iterdir()} == before


def test_the_audited_residual_is_weighted_by_its_probability(write_run):
    bound = report_run(read_run(write_run()))["bounds"][0]
    # trusted: 0.005 * 0.2 = 0.001; audited: 0.001 + (0.002 - 0.001) / 0.5 = 0.003
    assert bound["error_estimate"] == pytest.approx(0.002)
    assert bound["error_estimate_se"] == pytest.approx(math.sqrt(0.5 * (0.001 / 0.5) ** 2) / 2)
    assert bound["verdict"] == "held (estimated)"


def test_a_bound_over_all_calls_counts_target_calls_as_zero(write_run):
    bound = report_run(read_run(write_run(bound_over="all")))["bounds"][0]
    assert bound["error_estimate"] == pytest.approx(0.004 / 4)


def test_a_controller_state_of_another_version_costs_only_the_upper_limit(write_run):
    path = write_run(controller="linear")
    saved = json.loads((path / "state.json").read_text())
    saved["run"] = {"counts": {"n_calls": 4}, "controllers": [{"slope": 1.0}]}
    (path / "state.json").write_text(json.dumps(saved))
    report = report_run(read_run(path))
    assert math.isnan(report["bounds"][0]["error_upper"])
    assert any("another version" in note for note in report["notes"])


def test_without_audits_the_estimate_is_called_extrapolated(write_run):
    calls = [(0.5, float("nan"), 0.01, "target", 1.0), (0.1, float("nan"), "", "surrogate", 0.0)]
    report = report_run(read_run(write_run(calls=calls)))
    assert report["bounds"][0]["error_estimate"] == pytest.approx(0.002)
    assert report["bounds"][0]["verdict"] == "held (extrapolated)"
    assert any("no audits" in note for note in report["notes"])


@given(
    p=st.floats(0.05, 1.0),
    slope=st.floats(0.0, 10.0),
    errors=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6),
)
def test_the_estimate_is_unbiased_over_the_draw_of_the_audits(p, slope, errors):
    # Mean over all 2^n outcomes of the audits, each at its probability, of the estimated sum of errors.
    n, expected = len(errors), 0.0
    for outcome in range(2**n):
        audited = np.array([outcome >> i & 1 for i in range(n)], bool)
        weight = float(np.prod(np.where(audited, p, 1 - p)))
        run = FakeRun(audited, np.full(n, p))
        seen = np.where(audited, errors, np.nan)
        bound = FakeBound(np.ones(n), np.full(n, slope), seen)
        expected += weight * float(estimate_errors(run, bound)[0].sum())
    assert expected == pytest.approx(sum(errors), abs=1e-8)


class FakeRun:
    def __init__(self, audit, probability):
        self.audit, self.trusted, self.audit_probability = audit, np.ones(len(audit), bool), probability


class FakeBound:
    def __init__(self, uncertainty, alpha, error):
        self.uncertainty, self.alpha, self.error = uncertainty, alpha, error


def test_a_cut_last_line_is_left_out(write_run):
    path = write_run(energies=[0.0, 1.0, 2.0, 3.0])
    for name in ("steps.csv", "chain.csv"):
        with (path / name).open("a") as file:
            file.write("4,s4,0.")
    report = report_run(read_run(path))
    assert report["n_calls"] == 4
    assert report["monte_carlo"]["energy"] == pytest.approx(1.5)
    assert report["status"] == "unfinished, 3 of 3 steps"


def test_a_summary_of_fewer_calls_is_not_believed(write_run):
    path = write_run(energies=[0.0, 1.0, 2.0, 3.0])
    (path / "summary.json").write_text(json.dumps({"n_calls": 3, "wall_s": 9.0, "baseline_energy_s": 9.0}))
    report = report_run(read_run(path))
    assert math.isnan(report["wall_s"])
    assert report["baseline_energy_s"] == pytest.approx(2.0 / 3)
    (path / "summary.json").write_text(json.dumps({"n_calls": 4, "wall_s": 8.0, "baseline_energy_s": 6.0}))
    assert report_run(read_run(path))["speedup"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{", "state.json is damaged"),
        ("state.json", "[]", "state.json is damaged"),
        ("state.json", "{}", "no settings"),
        ("state.json", None, "no state.json"),
        ("steps.csv", None, "no steps.csv"),
        ("steps.csv", "step,decision\n", "holds no call yet"),
        ("steps.csv", "step,decision\n0,target\n", "has no column 'structure'"),
        ("steps.csv", "step,decision\n0,perhaps\n", "'perhaps' is no decision"),
        ("simulation.json", "nonsense", "simulation.json is damaged"),
        ("chain.csv", "step,energy\n0,1.0\n", "has no column 'proposed_energy'"),
    ],
)
def test_a_damaged_run_directory_is_named(write_run, name, content, message):
    path = write_run(energies=[0.0])
    (path / name).unlink(missing_ok=True)
    if content is not None:
        (path / name).write_text(content)
    with pytest.raises(RunDirectoryError, match=message):
        read_run(path)


def test_a_word_among_the_numbers_is_named_with_its_line(write_run):
    path = write_run()
    text = (path / "steps.csv").read_text()
    (path / "steps.csv").write_text(text.replace("0.8", "much"))
    with pytest.raises(RunDirectoryError, match="line 3: uncertainty must be a number, got 'much'"):
        read_run(path)


def test_several_bounds_are_reported_apart(write_run):
    path = write_run(error_bound={"energy": 0.002, "force_max": 0.1})
    lines = (path / "steps.csv").read_text().splitlines()
    header = lines[0].split(",")
    several = [4, 5, 6, 7]
    names = [f"{header[i]}_{metric}" for i in several for metric in ("energy", "force_max")]
    rows = [",".join([*header[:4], *names, *header[8:]])]
    for line in lines[1:]:
        values = line.split(",")
        doubled = [values[i] for i in several for _ in range(2)]
        rows.append(",".join([*values[:4], *doubled, *values[8:]]))
    (path / "steps.csv").write_text("\n".join(rows) + "\n")
    data = read_run(path)
    bounds = report_run(data)["bounds"]
    assert [(bound["metric"], bound["bound"], bound["unit"]) for bound in bounds] == [
        ("energy", 0.002, "eV"),
        ("force_max", 0.1, "eV/Å"),
    ]
    assert len(plot_run(data).axes) == 7


def test_true_errors_come_from_the_baseline_with_the_same_structures(write_run):
    baseline_calls = [(float("nan"), float("nan"), "", "target", 1.0)] * 4
    baseline = read_run(
        write_run("baseline", baseline_calls, energies=[0.0, 1.0, 2.0, 3.0], controller="baseline")
    )
    run = read_run(write_run("proxima", energies=[0.0, 1.0, 2.004, 3.0]))
    comparison = compare_runs([baseline, run])
    true = comparison["runs"][1]["true_error"]
    assert true["n_shared"] == 4
    assert true["n_surrogate"] == 1
    assert true["mean_trusted"] == pytest.approx(0.004)
    assert true["mean_all"] == pytest.approx(0.001)
    assert comparison["runs"][0]["true_error"] is None
    table = text_of(comparison_table(comparison))
    assert "true mean error, trusted calls (eV)" in table
    assert "0.004" in table
    assert len(plot_comparison(comparison).axes) == 4


def test_a_comparison_without_a_baseline_says_so(write_run):
    comparison = compare_runs([read_run(write_run())])
    assert comparison["notes"] == [
        "no run among these asked the target for every structure: true errors are not known"
    ]


def test_the_table_of_a_run_has_its_numbers(write_run):
    table = text_of(report_table(report_run(read_run(write_run(energies=[0.0, 1.0, 2.0, 3.0])))))
    for line in ("3: 2 flagged, 1 audits", "0.002 ± 0.0007 eV", "held (estimated)", "50.0 %", "2.0 s"):
        assert line in table
    words = " ".join(table.split())
    assert "mean error, estimated 0.002 ±" in words
    assert "threshold 0.3, in the unit of the uncertainty" in words
    assert "alpha 0.005 eV per unit of uncertainty" in words


def test_where_no_call_was_trusted_nothing_is_called_estimated(write_run):
    calls = [(float("nan"), float("nan"), "", "target", 1.0)] * 4
    path = write_run(calls=calls, energies=[0.0, 1.0, 2.0, 3.0], controller="baseline")
    words = " ".join(text_of(report_table(report_run(read_run(path)))).split())
    assert "mean error 0 eV" in words
    assert "estimated" not in words
    summary = {"temperature_K": 500.0, "strategy": "baseline", "n_calls": 4}
    assert "estimated" not in text_of(run_table([summary]))
    assert "estimated" in text_of(run_table([summary, {**summary, "strategy": "fixed"}]))


def test_markers_and_lines_against_temperature_keep_off_the_frame():
    rows = [(300.0, 92, 1.0), (500.0, 100, 0.98)]
    summaries = [
        {
            "molecule": "CH4", "target": "emt", "strategy": "proxima", "temperature_K": kelvin, "n_calls": 100,
            "n_target": n, "n_audit": 0, "speedup": speedup, "error_estimate": 0.001,
        }
        for kelvin, n, speedup in rows
    ]  # fmt: skip
    calls, _, _, speedup = plot_temperatures(summaries).axes
    for axes, highest in ((calls, 100.0), (speedup, 1.0)):
        bottom, top = axes.get_ylim()
        left, right = axes.get_xlim()
        assert bottom < 0
        assert top == pytest.approx(1.08 * highest)
        assert left < 300.0 - 5
        assert right > 500.0 + 5
    exact = [{**summary, "error_estimate": 0.0, "speedup": None} for summary in summaries]
    labels = [axes.get_ylabel() for axes in plot_temperatures(exact).axes]
    assert labels == ["target calls (% of all calls)", "radius of gyration (Å)"]


def test_the_closing_table_has_a_row_a_run_and_the_seed_where_seeds_differ():
    summary = {
        "temperature_K": 500.0, "strategy": "proxima", "seed": 1, "n_calls": 1001, "n_target": 14, "n_audit": 3,
        "error_estimate": 0.00032, "error_bound": 0.002, "radius_of_gyration": 0.545013,
        "radius_of_gyration_error": 0.00094, "acceptance": 0.605, "wall_s": 10.0, "baseline_energy_s": 0.15,
        "speedup": 15.015, "molecule": "CH4", "target": "emt",
    }  # fmt: skip
    table = text_of(run_table([summary]), width=80)
    assert "seed" not in table
    for value in ("500", "1,001", "17", "0.00032", "0.5450 ± 0.0009", "60.5 %", "150", "15.0x"):
        assert value in table
    assert "strategy: proxima; bound of the mean error: 0.002 eV" in table
    other = {**summary, "seed": 2, "radius_of_gyration_error": float("nan")}
    assert "seed" in text_of(run_table([summary, other]))
    other = {**summary, "strategy": "published", "error_bound": 0.003}
    both = text_of(run_table([summary, other]))
    for value in ("proxima", "published", "0.002", "0.003"):
        assert value in both
    assert len(plot_temperatures([summary, other]).axes) == 4


@pytest.mark.parametrize(("trusted", "panels"), [(True, 6), (False, 2)])
def test_panels_without_data_are_left_out(write_run, tmp_path, trusted, panels):
    calls = None if trusted else [(float("nan"), float("nan"), "", "target", 1.0)] * 4
    path = write_run(energies=[0.0, 1.0, 2.0, 3.0], **({"calls": calls} if calls else {}))
    figure = plot_run(path)
    assert len(figure.axes) == panels
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    figure.savefig(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e-1))
def test_a_value_is_shown_to_the_digit_of_its_error(value, error):
    shown, shown_error = (float(part) for part in format_with_error(value, error).split(" ± "))
    assert abs(shown - value) <= error
    assert shown_error == pytest.approx(error, rel=0.5)
