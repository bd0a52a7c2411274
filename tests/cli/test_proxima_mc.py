"""`proxima-mc` from the outside: tables, resuming, bad input."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from click.testing import CliRunner

from ase_proxima.apps.monte_carlo_run import Progress
from ase_proxima.targets import parse_target
from ase_proxima.types import Stats
from proxima_cli.proxima import main as proxima
from proxima_cli.proxima_mc import _ProgressBars, main

DOCS = Path(__file__).resolve().parents[2] / "docs" / "monte-carlo.md"
pytestmark = pytest.mark.xtb
FAST = ["--target", "xtb:GFN2", "--steps", "40"]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def summaries(*arguments):
    result = run(*FAST, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_table_names_what_was_asked_for(tmp_path):
    result = run(*FAST, "--temp", "300,500", "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.split()[1:2] == ["41"]] == [
        ["300", "41"],
        ["500", "41"],
    ]
    assert "strategy: proxima; bound of the mean error: 0.002 eV" in result.stdout
    assert (tmp_path / "r" / "T0300K-s1" / "summary.json").exists()


def test_runs_side_by_side_are_those_made_one_by_one(tmp_path):
    together = summaries("--temp", "300", "--seed", "1,2", "--jobs", "2", "--out", tmp_path / "a")
    alone = summaries("--temp", "300", "--seed", "2", "--out", tmp_path / "b")
    assert together[1]["energy"] == pytest.approx(alone[0]["energy"], abs=1e-9)
    assert together[1]["n_target"] == alone[0]["n_target"]
    assert together[0]["energy"] != together[1]["energy"]


def test_strategies_go_through_the_structures_of_a_reference(tmp_path):
    [exact] = summaries("--strategy", "baseline", "--out", tmp_path / "exact")
    [ours] = summaries("--reference", tmp_path / "exact", "--out", tmp_path / "ours")
    assert exact["n_target"] == exact["n_calls"] == 41
    assert 0 < ours["n_target"] + ours["n_audit"] < 41
    assert ours["radius_of_gyration"] == exact["radius_of_gyration"]
    assert ours["energy"] == pytest.approx(exact["energy"], abs=0.002)


def test_a_run_cut_short_resumes_to_the_same_chain(tmp_path):
    emt = ["--target", "emt"]  # the same to the last bit, however often it is asked
    [whole] = summaries(*emt, "--out", tmp_path / "whole")
    run(*emt, "--steps", "15", "--out", tmp_path / "part")
    [resumed] = summaries(*emt, "--out", tmp_path / "part", "--resume")
    assert resumed["energy"] == whole["energy"]
    assert resumed["n_target"] == whole["n_target"]
    chains = [(tmp_path / name / "chain.csv").read_text() for name in ("whole", "part")]
    assert chains[0] == chains[1]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes of a session in /proc")
def test_nothing_is_left_running_when_the_command_is_killed(tmp_path):
    command = [sys.executable, "-c", "from proxima_cli.proxima_mc import main; main()"]
    options = [
        "--target",
        "emt",
        "--steps",
        "1000000",
        "--seed",
        "1,2",
        "--jobs",
        "2",
        "--out",
        str(tmp_path / "r"),
    ]
    with subprocess.Popen([*command, *options], start_new_session=True) as process:
        wait_until(lambda: len(list(tmp_path.glob("r/*/chain.csv"))) == 2, 120)
        assert len(in_session(process.pid)) >= 4
        process.kill()
    wait_until(lambda: not in_session(process.pid), 60)


def in_session(leader):
    """Processes of a session that live."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(file.parent.name), file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        if int(rest[3]) == leader and rest[0] != "Z":
            found.append(pid)
    return found


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("estimate", "shown"), [(float("nan"), ""), (0.0, ""), (0.0012, "  error ~1.2e-03 eV")]
)
def test_the_progress_bar_shows_an_error_once_one_is_known(estimate, shown, tmp_path):
    bars = _ProgressBars([tmp_path], 10)
    bars.update(Progress(tmp_path.name, 3, 10, 0.5, Stats(n_calls=3, n_target=3, error_estimate=estimate)))
    numbers = bars._bars.tasks[0].fields["numbers"]
    assert numbers.endswith(f"trusted 0%  target 3{shown}")


def test_a_finished_run_resumed_keeps_its_summary(tmp_path):
    first = summaries("--out", tmp_path / "r")
    assert summaries("--out", tmp_path / "r", "--resume") == first


def test_plots_are_written(tmp_path):
    result = run(*FAST, "--temp", "300,400", "--out", tmp_path / "r", "--plot")
    assert result.exit_code == 0, result.output
    for place in ("temperatures.png", "T0300K-s1/run.png", "T0400K-s1/run.png"):
        assert (tmp_path / "r" / place).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--molecule", "Unobtainium"], "unknown molecule 'Unobtainium'"),
        (["--molecule", "folder/water.xyz"], "there is no file 'folder/water.xyz'"),
        (["--target", "emd"], "unknown target 'emd'"),
        (["--temp", "300:200:100"], "range '300:200:100' is empty"),
        (["--temp", "1:inf:1"], "'1:inf:1' is no number, list"),
        (["--target", "xtb:GFN9"], "GFN9"),
        (["--temp", "-5"], "temperature must be positive and finite, got -5.0 K"),
        (["--temp", "1e400"], "temperature must be positive and finite, got inf K"),
        (["--temp", "300,nan"], "temperature must be positive and finite, got nan K"),
        (["--perturb", "inf"], "perturbation must be positive and finite, got inf"),
        (["--seed", "1:100000000:1"], "range '1:100000000:1' has more than 10,000 numbers"),
        (["--seed", "1:1000:1", "--temp", "1:11:1"], "--temp and --seed ask for 11,000 runs: ask for 10,000"),
        (["--threshold", "3"], "--threshold and --retrain-interval belong to --strategy fixed"),
        (["--strategy", "published", "--retrain-interval", "9"], "belong to --strategy fixed: add it, or"),
        (["--resume", "--out", "typo"], "--resume finds none of these runs in typo: name their folder"),
        (["--resume", "--out", "typo", "--exact"], "--resume finds none of these runs in typo"),
        (["--resume", "--out", "typo", "--temp", "300,500"], "--resume finds none of these runs in typo"),
        (["--temp", "500,500"], "--temp and --seed ask for T0500K-s1 twice"),
        (["--temp", "500.00001,500.00002"], "--temp and --seed ask for T0500K-s1 twice"),
        (["--seed", "3,3"], "--temp and --seed ask for T0500K-s3 twice"),
        (["--temp", "warm"], "'warm' is no number, list a,b,c or range first:last:step"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--perturb", "0"], "perturbation must be positive and finite, got 0.0"),
        (["--seed", "-1"], "seed must not be negative, got -1"),
        (["--error-bound", "-1", "--temp", "300,500"], "error_bound must be a positive number, got -1.0"),
        (
            ["--strategy", "fixed", "--threshold", "-1", "--seed", "1,2"],
            "threshold must not be negative, got -1.0",
        ),
        (["--strategy", "fixed", "--retrain-interval", "0", "--seed", "1,2"], "must be at least 1, got 0"),
        (["--strategy", "hope"], "'hope' is not one of"),
        (["--surrogate", "hope"], "'hope' is not one of"),
        (["--prior", "emd"], "unknown target 'emd'"),
        (["--prior", "xtb"], "the prior 'xtb' is the target 'xtb:GFN2'"),
        (["--prior", "xtb:gfn2-xtb"], "the prior 'xtb:gfn2-xtb' is the target 'xtb:GFN2'"),
        (
            ["--prior", "xtb:GFN1", "--strategy", "published"],
            "goes with the strategy proxima, got 'published'",
        ),
        (
            ["--surrogate", "soap_ridge", "--strategy", "baseline"],
            "with the strategy proxima, got 'baseline'",
        ),
        (["--prior", "emt", "--charge", "1"], "target 'emt' does not know of the charge 1"),
        (
            ["--prior", "xtb:GFN1,charge=2"],
            "would compute CH4 with charge 2, multiplicity 1, the target with charge 0",
        ),
        (["--out", __file__], "is no folder: choose another --out"),
        (["--resume"], "--resume needs --out"),
        (["--reference", "nowhere"], "nowhere is no Monte Carlo run"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("--target", "xtb:GFN2", "--steps", "5", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


WATER = '3\nProperties=species:S:1:pos:R:3:move_mask:L:1 pbc="F F F"\n' + (
    "O {z} 0 0.1193 F\nH 0 {y} -0.4770 T\nH 0 -{y} -0.4770 T\n"
)


@pytest.mark.parametrize("options", [[], ["--strategy", "baseline"], ["--exact", "--burn-in", "30"]])
def test_a_fixed_oxygen_does_not_move(options, tmp_path):
    (tmp_path / "water.xyz").write_text(WATER.format(y=0.7632, z=0))
    result = run(
        *FAST, "--target", "emt", "--molecule", tmp_path / "water.xyz", *options, "--out", tmp_path / "r"
    )
    assert result.exit_code == 0, result.output
    seen = [row.positions for row in ase.db.connect(tmp_path / "r" / "frames.db").select()]
    assert len(seen) > 3
    assert {tuple(positions[0]) for positions in seen} == {(0.0, 0.0, 0.1193)}
    assert len({tuple(positions[1]) for positions in seen}) > 1


def test_what_looks_like_a_slip_in_a_structure_gets_a_word(tmp_path):
    file = tmp_path / "water.xyz"
    file.write_text(WATER.format(y=1.4422, z=0).replace("0.1193", "0.2254").replace("0.4770", "0.9014"))
    result = run(*FAST, "--target", "emt", "--molecule", file, "--out", tmp_path / "r")
    assert result.exit_code == 0
    [warning] = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "those in Bohr are to be multiplied by 0.5292" in warning


def test_a_run_killed_before_its_first_call_is_resumed(tmp_path):
    (tmp_path / "r" / "models").mkdir(parents=True)
    assert "exists already: add --resume" in run(*FAST, "--out", tmp_path / "r").stderr
    [resumed] = summaries("--out", tmp_path / "r", "--resume")
    assert resumed["n_calls"] == 41


def test_resuming_begins_those_of_several_runs_that_are_missing(tmp_path):
    emt = ["--target", "emt", "--steps", "5"]
    assert run(*emt, "--temp", "300", "--out", tmp_path / "r" / "T0300K-s1").exit_code == 0
    result = run(*emt, "--temp", "300,500", "--out", tmp_path / "r", "--resume", "--json")
    assert [summary["n_calls"] for summary in json.loads(result.stdout)] == [6, 6]


@pytest.mark.parametrize("exact", [[], ["--exact", "--burn-in", "20", "--inner-steps", "3"]])
def test_a_run_resumed_with_fewer_steps_is_refused_and_left_alone(exact, tmp_path):
    emt = ["--target", "emt", "--molecule", "N2", *exact, "--out", tmp_path / "r"]
    assert run(*emt, "--steps", "8").exit_code == 0
    before = {file: file.read_bytes() for file in (tmp_path / "r").glob("*.[jc]s*")}
    result = run(*emt, "--steps", "5", "--resume")
    assert result.exit_code == 2
    assert "the run already has 8 steps, more than the 5 asked for: ask for 8 or more" in result.stderr
    assert result.stderr.count("\n") == 1
    assert {file: file.read_bytes() for file in before} == before


def test_a_run_directory_in_use_is_not_overwritten(tmp_path):
    summaries("--out", tmp_path / "r")
    result = run(*FAST, "--out", tmp_path / "r")
    assert result.exit_code == 2
    assert "exists already: add --resume" in result.stderr


def test_resuming_with_other_settings_names_the_setting(tmp_path):
    summaries("--out", tmp_path / "r")
    result = run(*FAST, "--out", tmp_path / "r", "--resume", "--perturb", "0.01")
    assert result.exit_code == 2
    assert "was made with perturb = 0.003, now it is 0.01" in result.stderr


H2 = ["--molecule", "H2", "--target", "xtb:GFN2", "--steps", "20"]


def test_a_prior_is_corrected_in_the_charge_of_the_run(tmp_path):
    ion = [*H2, "--charge", "1", "--prior", "xtb:GFN1", "--out", tmp_path / "r"]
    result = run(*ion)
    assert result.exit_code == 0, result.output
    assert "prior: xtb:GFN1" in result.stdout
    saved = json.loads((tmp_path / "r" / "simulation.json").read_text())["monte_carlo"]
    assert (saved["surrogate"], saved["prior"], saved["charge"]) == ("auto", "xtb:GFN1", 1)
    [*_, kept] = sorted((tmp_path / "r" / "models").glob("*/prior.json"))
    frame = next(ase.db.connect(tmp_path / "r" / "frames.db").select()).toatoms()
    first = json.loads(kept.read_text())["values"][0]["energy"]
    for charge, same in ((1, True), (0, False)):
        bare = Atoms(frame.numbers, frame.positions)
        bare.calc = parse_target(f"xtb:GFN1,charge={charge}")
        assert (bare.get_potential_energy() == pytest.approx(first, abs=1e-6)) == same
    refused = run(*ion[:-4], "--out", tmp_path / "r", "--resume")
    assert refused.exit_code == 2
    assert "was made with prior = 'xtb:GFN1', now it is None" in refused.stderr
    report = CliRunner().invoke(proxima, ["report", str(tmp_path / "r")])
    assert re.search(r"prior +xtb:GFN1", report.stdout)


def test_a_run_with_a_prior_resumes_to_the_same_chain(tmp_path):
    ours = ["--prior", "xtb:GFN1", "--surrogate", "bayesian_soap"]
    for steps, *more in ((20, "whole"), (9, "part"), (20, "part", "--resume")):
        result = run(*H2[:-1], steps, *ours, "--out", tmp_path / more[0], *more[1:])
        assert result.exit_code == 0, result.output
    assert "surrogate: bayesian_soap; prior: xtb:GFN1" in result.stdout
    chains = [(tmp_path / name / "chain.csv").read_text() for name in ("whole", "part")]
    assert chains[0] == chains[1]


def test_the_surrogate_asked_for_is_the_one_that_learns(tmp_path):
    assert run(*H2, "--surrogate", "soap_ridge", "--out", tmp_path / "r").exit_code == 0
    settings = json.loads((tmp_path / "r" / "state.json").read_text())["settings"]
    assert settings["surrogate"] == "soap_ridge"


def test_a_target_that_fails_leaves_the_other_runs_alone(tmp_path, monkeypatch):
    module = tmp_path / "failing.py"
    module.write_text(
        "def energy(atoms):\n"
        "    if atoms.positions[0, 0] > 0.004:\n"
        "        raise RuntimeError('SCF did not converge')\n"
        "    return {'energy': float(((atoms.positions) ** 2).sum()), 'forces': -2 * atoms.positions}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--target", "failing:energy", "--steps", "60", "--strategy", "baseline"]
    result = run(*options, "--seed", "1,2,3", "--out", tmp_path / "r")
    assert result.exit_code == 1
    assert "SCF did not converge" in result.stderr
    saved = re.findall(r"the structure is in (\S+)", result.stderr)
    assert saved
    assert all(Path(place).exists() for place in saved)
    failed = Path(saved[0]).parents[1]
    module.write_text(module.read_text().replace("> 0.004", "> 4e9"))
    monkeypatch.delitem(__import__("sys").modules, "failing")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    again = run(*options, "--seed", failed.name[-1], "--out", failed, "--resume", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)[0]["n_calls"] == 61


@pytest.mark.psi4
def test_psi4_sets_the_published_example(tmp_path):
    result = run("--steps", "25", "--out", tmp_path / "r", "--json")
    assert result.exit_code == 0, result.output
    [summary] = json.loads(result.stdout)
    assert summary["target"] == "psi4:HF/6-31G*"
    assert summary["n_calls"] == 26
    assert summary["n_target"] + summary["n_audit"] < 20
    assert summary["energy"] == pytest.approx(-1093.7, abs=0.5)


DYING = '''
"""A spring whose process ends without a word once the positions have gone far enough in one of the runs."""
import os

import numpy as np
from ase.build import molecule


def spring(atoms) -> float:
    gaps = atoms.positions - molecule("H2O").positions
    if os.environ["DIES_BEYOND"] and np.abs(gaps).max() > float(os.environ["DIES_BEYOND"]):
        np.save("asked", atoms.positions)
        os._exit(9)
    return float((gaps * gaps).sum())
'''


def test_a_process_that_dies_costs_its_own_run_and_leaves_the_structure(tmp_path, monkeypatch):
    (tmp_path / "dying_water.py").write_text(DYING)
    monkeypatch.chdir(tmp_path)
    common = [
        "--molecule",
        "H2O",
        "--target",
        "dying_water:spring",
        "--strategy",
        "baseline",
        "--steps",
        "30",
    ]
    # 0.01 K hardly lets the atoms go: only the other run gets beyond.
    both = [*common, "--perturb", "0.02", "--temp", "0.01,2000", "--jobs", "2", "--out", tmp_path / "r"]
    monkeypatch.setenv("DIES_BEYOND", "0.08")
    result = run(*both)
    assert result.exit_code == 1
    assert (tmp_path / "r" / "T0.01K-s1" / "summary.json").exists()
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    place = line.partition("the structure that it was busy with is in ")[2]
    assert np.allclose(ase.io.read(place).positions, np.load(tmp_path / "asked.npy"), atol=1e-7)
    monkeypatch.setenv("DIES_BEYOND", "")
    assert run(*both, "--resume").exit_code == 0
    assert (tmp_path / "r" / "T2000K-s1" / "summary.json").exists()
