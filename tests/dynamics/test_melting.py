"""A very short melting study, end to end: command, resume, table, figure."""

import json

import ase.io
import pytest
from ase import units
from click.testing import CliRunner

from ase_proxima.dynamics import coexistence, melting, melting_preparation, phases
from ase_proxima.dynamics.melting import MeltingSettings, Preparation, melt, outcome_of, summarise
from ase_proxima.dynamics.phases import PhasePoint
from ase_proxima.errors import InputError, RunDirectoryError
from proxima_cli.proxima_melt import main

PREPARATION = Preparation(
    1100.0,
    (PhasePoint(660.0, 17.0, 0.08), PhasePoint(880.0, 17.4, 0.13)),
    PhasePoint(880.0, 18.6, 0.2),
    850.0,
    216,
    1.0,
)


def row(T, state, **more):
    return {
        "temperature_K": T, "state": state, "liquid_fraction": 0.4, "step": 700, "cpu_s": 1.0, **more
    }  # fmt: skip


@pytest.fixture
def hasty(monkeypatch):
    """A protocol far too fast for physics."""
    monkeypatch.setattr(phases, "HEATING_K_PER_STEP", 6.0)
    for module in (coexistence, phases):
        monkeypatch.setattr(module, "CHECK_STEPS", 40)
    monkeypatch.setattr(coexistence, "START_STEPS", 10)
    monkeypatch.setattr(coexistence, "BALANCE_STEPS", 6)
    monkeypatch.setattr(coexistence, "MOST_TRIES", 1)
    for module in (melting, melting_preparation):
        monkeypatch.setattr(module, "N_STARTS", 2)
    monkeypatch.setattr(melting_preparation, "SOLID_AT", (0.15, 0.2))
    monkeypatch.setattr(melting_preparation, "LIQUID_AT", 1.0)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], standalone_mode=True)


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_a_study_ends_with_a_melting_point_and_goes_on_with_more_runs(tmp_path):
    options = ["--size", 2, "--strategy", "baseline", "--steps", 160, "--quick", "--temps", "300,2500"]
    out = tmp_path / "study"
    monkey = MeltingSettings(
        size=2, strategy="baseline", most_steps=160, phase_steps=80, temperatures_K=(300.0,)
    )
    summary = melt(monkey, 1, out)
    assert summary["n_atoms"] == 64
    assert summary["temperatures"][0]["n_runs"] == 1
    snapshots = ase.io.read(out / "runs" / "000-300K" / "snapshots.traj", ":")
    assert len(snapshots) == len(melting.read_runs(out)[0]["liquid_fractions"])
    assert snapshots[0].get_forces().shape == (64, 3)
    with pytest.raises(InputError, match="exists already: add --resume"):
        melt(monkey, 2, out)
    again = melt(monkey, 2, out, resume=True)
    assert again["temperatures"][0]["n_runs"] == 2
    first = (out / "runs" / "000-300K" / "run.json").stat().st_mtime_ns
    melt(monkey, 2, out, resume=True)
    assert (out / "runs" / "000-300K" / "run.json").stat().st_mtime_ns == first
    with pytest.raises(RunDirectoryError, match="was made with most_steps = 160, now it is 80"):
        melt(MeltingSettings(**{**vars(monkey), "most_steps": 80}), 2, out, resume=True)

    done = invoke(*options, "--runs", 1, "--out", tmp_path / "other", "--starts", out, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [entry["temperature_K"] for entry in result["temperatures"]] == [300.0, 2500.0]
    assert result["interval_K"][0] < result["melting_temperature_K"] < result["interval_K"][1]
    figure = tmp_path / "melting.png"
    done = invoke(
        *options, "--runs", 1, "--out", tmp_path / "other", "--starts", out, "--resume", "--plot", figure
    )
    assert "melting point" in done.stdout
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "fixed"], "the strategy fixed needs one"),
        (["--threshold", "0.1"], "a threshold goes with the strategy fixed"),
        (["--strategy", "committee"], "needs the folder of its models: give --models"),
        (["--element", "Q"], "fcc Q cannot be built"),
        (["--temps", "900,-3"], "temperatures must be above 0 K, got -3"),
        (["--error-bound", "nan"], "error_bound must be a positive number, got nan"),
        (["--resume"], "--resume needs --out"),
        (["--temps", "warm"], "'warm' is no number"),
        (["--runs", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.splitlines()) == 1


def test_resuming_nothing_is_told(tmp_path):
    done = invoke("--resume", "--out", tmp_path / "nothing")
    assert done.exit_code == 2
    assert "--resume finds no study" in done.output


def test_starts_of_another_cell_are_refused(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "preparation.json").write_text(json.dumps(melting.asdict(PREPARATION)))
    assert Preparation.read(source) == PREPARATION
    with pytest.raises(InputError, match="was prepared with 216 atoms, this study has 64"):
        melt(MeltingSettings(size=2, strategy="baseline"), 1, tmp_path / "study", starts=source)


def test_a_preparation_knows_the_solid_between_its_points_and_the_heat_of_fusion():
    assert PREPARATION.solid_at(770.0) == PhasePoint(770.0, pytest.approx(17.2), pytest.approx(0.105))
    assert PREPARATION.heat == pytest.approx(216 * 0.07)
    assert PREPARATION.half_energy(770.0) == pytest.approx(0.105 + 0.035 + 1.5 * units.kB * 770.0)


def test_a_summary_counts_runs_a_temperature_and_calls():
    runs = [
        row(860.0, "solid", n_calls=100, n_target_runs=10, share_trusted=0.9),
        row(880.0, "liquid", n_calls=300, n_target_runs=6, share_trusted=0.98),
        row(880.0, "undecided", n_calls=100, n_target_runs=4, share_trusted=0.96),
    ]
    summary = summarise(MeltingSettings(size=3), PREPARATION, runs)
    assert [entry["n_liquid"] for entry in summary["temperatures"]] == [0.0, 1.4]
    assert summary["n_undecided"] == 1
    assert (summary["n_calls"], summary["n_target_runs"]) == (500, 20)
    assert summary["share_trusted"] == pytest.approx(0.96)
    assert 840 < summary["melting_temperature_K"] < 900
    assert summary["flat"]["std_K"] > summary["std_K"]
    assert 1.0 < summary["slope"] < 100.0
    assert outcome_of(runs[2]).liquid == 0.4
