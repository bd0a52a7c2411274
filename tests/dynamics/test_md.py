"""Molecular dynamics in run directories: ensembles, exact resuming, reports, the command."""

import json
import os

import ase.constraints
import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet
from click.testing import CliRunner

from ase_proxima.dynamics import md
from ase_proxima.dynamics.md import MDSettings, read_md, run_md
from ase_proxima.dynamics.phases import thermalise
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.reports.md import diffusion, md_lines, plot_md, report_md
from ase_proxima.surrogates.committee import Committee
from ase_proxima.testing import HarmonicWells
from proxima_cli.proxima import main


def crystal():
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.positions += np.random.default_rng(0).normal(0, 0.01, (32, 3))
    return atoms


def settings(ensemble="nvt", **more):
    options = {"target": "emt", "error_bound": 0.1, "ensemble": ensemble, "timestep_fs": 4.0, "interval": 4}
    return MDSettings(**{**options, "temperature_K": 300.0, **more})


def wells(*stiffnesses):
    """Cheap calculators without a history: each atom in a well of its own."""
    return [HarmonicWells(crystal().positions, stiffness) for stiffness in stiffnesses]


def cheap_parts(*_args, **_options):
    committee = Committee(wells(1.9, 2.2))
    return {"surrogate": committee, "training": "never", "controller": "fixed:0.02"}


def rows_of(run_dir):
    return (run_dir / "md.csv").read_text()


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt", "npt-z"])
def test_a_killed_run_goes_on_to_the_last_bit(ensemble, tmp_path, monkeypatch):
    monkeypatch.setattr(md, "parse_target", lambda _spec, atoms: wells(2.0)[0])
    monkeypatch.setattr(md, "strategy_parts", cheap_parts)
    chosen = settings(ensemble)
    run_md(crystal(), chosen, 10, tmp_path / "whole")
    replace, states = os.replace, []

    def dies(source, destination):
        if str(destination).endswith("dynamics.npz"):
            states.append(destination)
            if len(states) == 6:  # row and frame of the step are written, its state is not
                raise KeyboardInterrupt
        replace(source, destination)

    monkeypatch.setattr(md.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        run_md(crystal(), chosen, 10, tmp_path / "cut")
    monkeypatch.setattr(md.os, "replace", replace)
    run_md(crystal(), chosen, 8, tmp_path / "cut", resume=True)
    run_md(crystal(), chosen, 10, tmp_path / "cut", resume=True)
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")
    name = "trajectory.xyz"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with np.load(tmp_path / "cut" / "dynamics.npz") as a, np.load(tmp_path / "whole" / "dynamics.npz") as b:
        assert all(np.array_equal(a[name], b[name]) for name in b.files)
    counts = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("cut", "whole")]
    assert counts[0]["n_calls"] == counts[1]["n_calls"] == 11
    assert counts[0]["n_target"] == counts[1]["n_target"]


def test_constant_energy_is_constant_and_blended_without_being_asked(tmp_path):
    chosen = settings("nve", strategy="baseline", timestep_fs=2.0)
    run_md(crystal(), chosen, 40, tmp_path / "run")
    report = report_md(tmp_path / "run")
    assert abs(report["drift_meV_per_atom"]) < 0.1
    assert report["temperature_K"] < 225
    assert any(line.startswith("below the 300 K of the momenta at the start") for line in md_lines(report))
    assert report["blending"] is None
    assert settings("nve").calls_of_a_ramp == 10
    assert settings("nve", blending=0).calls_of_a_ramp is None
    assert settings("nvt").calls_of_a_ramp is None
    assert settings("nvt", blending=5).calls_of_a_ramp == 5


def test_a_thermostat_reaches_its_temperature_and_a_barostat_its_pressure(tmp_path):
    hot = bulk("Cu", cubic=True, a=3.45) * (2, 2, 2)
    chosen = settings("npt", strategy="baseline", timestep_fs=4.0, temperature_K=600.0)
    run_md(hot, chosen, 200, tmp_path / "run")
    _, rows, start = read_md(tmp_path / "run")
    temperatures = [float(row["temperature"]) for row in rows[100:]]
    assert np.mean(temperatures) == pytest.approx(600.0, abs=100.0)
    volumes = [float(row["volume"]) for row in rows]
    assert volumes[0] == pytest.approx(start.get_volume(), rel=1e-6)
    assert np.mean(volumes[100:]) / 32 == pytest.approx(12.1, abs=0.5)  # from 10.3, in 0.4 ps


def test_without_a_temperature_the_momenta_of_the_structure_are_taken(tmp_path):
    atoms = crystal()
    with pytest.raises(InputError, match="has no momenta to start with: give --temp"):
        run_md(atoms, settings("nve", temperature_K=None), 1, tmp_path / "run")
    thermalise(atoms, 250.0, np.random.default_rng(3))
    run_md(atoms, settings("nve", temperature_K=None, strategy="baseline"), 1, tmp_path / "run")
    _, rows, _ = read_md(tmp_path / "run")
    assert float(rows[0]["temperature"]) == pytest.approx(atoms.get_temperature(), abs=1e-3)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"ensemble": "nph"}, "unknown ensemble 'nph'"),
        ({"timestep_fs": float("nan")}, "time step must be positive, got nan"),
        ({"timestep_fs": 500.0}, "time step of 500 fs is no dynamics, the most is 20"),
        ({"temperature_K": -1.0}, "temperature must be above 0 K"),
        ({"temperature_K": None}, "a temperature is needed for the ensemble nvt"),
        ({"pressure_GPa": float("inf")}, "pressure must be a number"),
        (
            {"pressure_GPa": 2.0},
            "the ensemble nvt has no barostat for a pressure of 2 GPa: choose npt or npt-z",
        ),
        ({"interval": 0}, "interval must be at least 1"),
        ({"strategy": "fixed"}, "the strategy fixed needs one"),
        ({"models": "here"}, "models go with the strategies committee and fixed, got 'proxima'"),
        ({"surrogate": "hope"}, "unknown surrogate 'hope': use one of auto, gradient_gp"),
        ({"surrogate": "gradient_gp", "strategy": "baseline"}, "got 'gradient_gp' with 'baseline'"),
        ({"prior": "EMT"}, "the prior 'EMT' is the target 'emt'"),
    ],
)
def test_settings_that_cannot_be_are_told_in_one_line(more, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run_md(crystal(), settings(**more), 1, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_surrogate_asked_for_is_that_of_the_run(tmp_path):
    run_md(crystal(), settings(surrogate="bayesian_soap"), 1, tmp_path / "run")
    assert (
        json.loads((tmp_path / "run" / "state.json").read_text())["settings"]["surrogate"] == "bayesian_soap"
    )
    with pytest.raises(RunDirectoryError, match="made with surrogate = 'bayesian_soap', now it is 'auto'"):
        run_md(crystal(), settings(), 2, tmp_path / "run", resume=True)


def test_a_barostat_needs_a_periodic_structure_that_is_free():
    with pytest.raises(InputError, match="periodic along all axes"):
        settings("npt").check(molecule("CH4"))
    held = crystal()
    held.set_constraint(ase.constraints.FixAtoms([0]))
    with pytest.raises(InputError, match="cannot hold atoms"):
        settings("npt-z").check(held)


def test_a_run_is_resumed_with_the_same_or_refused(tmp_path):
    chosen = settings(strategy="baseline")
    run_md(crystal(), chosen, 3, tmp_path / "run")
    other = crystal()
    other.positions[0, 0] += 0.1
    with pytest.raises(RunDirectoryError, match="started from another structure"):
        run_md(other, chosen, 4, tmp_path / "run", resume=True)
    with pytest.raises(RunDirectoryError, match=r"was made with timestep_fs = 4\.0, now it is 2\.0"):
        run_md(crystal(), settings(strategy="baseline", timestep_fs=2.0), 4, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="already has 3 steps, more than the 2 asked for"):
        run_md(crystal(), chosen, 2, tmp_path / "run", resume=True)
    with pytest.raises(RunDirectoryError, match="exists already"):
        run_md(crystal(), chosen, 4, tmp_path / "run")
    (tmp_path / "run" / "md.csv").write_text("step\n")
    with pytest.raises(RunDirectoryError, match=r"md\.csv is shorter than the run left it"):
        run_md(crystal(), chosen, 4, tmp_path / "run", resume=True)
    with pytest.raises(RunDirectoryError, match="is no run of molecular dynamics"):
        report_md(tmp_path)


@pytest.mark.parametrize("name", ["md.csv", "trajectory.xyz"])
def test_a_file_that_was_edited_or_is_gone_is_refused(name, tmp_path):
    chosen = settings(strategy="baseline", interval=1)
    run_md(crystal(), chosen, 3, tmp_path / "run")
    file = tmp_path / "run" / name
    written = file.read_text()
    place = max(i for i, letter in enumerate(written) if letter.isdigit())
    file.write_text(written[:place] + str((int(written[place]) + 1) % 10) + written[place + 1 :])
    with pytest.raises(RunDirectoryError, match="is not what this run wrote: some of its bytes are others"):
        run_md(crystal(), chosen, 4, tmp_path / "run", resume=True)
    file.unlink()
    with pytest.raises(RunDirectoryError, match=f"{name} is gone: take the files from a copy"):
        run_md(crystal(), chosen, 4, tmp_path / "run", resume=True)
    file.write_text(written + "what a kill left")
    assert run_md(crystal(), chosen, 4, tmp_path / "run", resume=True)["n_steps"] == 4
    assert "what a kill left" not in file.read_text()


@pytest.mark.parametrize(("spacing_fs", "known"), [(500.0, True), (10.0, False)])
def test_diffusion_is_a_sixth_of_the_slope_once_vibrations_have_passed(spacing_fs, known):
    t = np.arange(6) * spacing_fs
    found = diffusion({"t": t.tolist(), "msd": (0.3 + 6e-4 * t).tolist()})
    assert found == (pytest.approx(1e-4) if known else None)


def test_a_report_says_where_a_run_blew_up(tmp_path):
    crowded = bulk("Cu", cubic=True, a=2.6) * (2, 2, 2)
    crowded.rattle(0.3, seed=1)
    run_md(crowded, settings(strategy="baseline", timestep_fs=5.0), 20, tmp_path / "run")
    report = report_md(tmp_path / "run")
    assert report["temperature_K"] > 10 * report["temperature_set_K"]
    assert any(line.startswith("far above the 300 K of the thermostat") for line in md_lines(report))


def test_a_report_knows_structure_and_displacement(tmp_path):
    run_dir = tmp_path / "run"
    run_md(crystal(), settings("nve", strategy="baseline", interval=1), 24, run_dir)
    report = report_md(run_dir)
    r, g = np.array(report["rdf"]["r"]), np.array(report["rdf"]["g"])
    assert r[np.argmax(g)] == pytest.approx(2.55, abs=0.15)
    assert g[r < 2.0].max() == 0.0
    assert report["msd"]["t"][1] == 4.0
    assert 0 < report["msd"]["msd"][4] < 0.1
    assert report["diffusion_A2_per_fs"] is None
    assert any(line.startswith("energy drift") for line in md_lines(report))
    figure = plot_md(report)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "temperature (K)",
        "energy (meV an atom)",
        "g(r)",
        "mean-square displacement (Å²)",
    ]
    figure.savefig(tmp_path / "md.png")
    assert (tmp_path / "md.png").stat().st_size > 20_000
    with (run_dir / "trajectory.xyz").open("a") as file:  # as a kill leaves it
        file.write("32\nLatt")
    assert report_md(run_dir)["rdf"] == report["rdf"]


def test_the_command_runs_reports_and_resumes(tmp_path):
    structure, out = tmp_path / "cu.xyz", tmp_path / "run"
    ase.io.write(structure, crystal())
    options = ["md", structure, "--target", "emt", "--error-bound", 0.1, "--temp", 300, "--timestep", 4]
    options += ["--ensemble", "nve", "--strategy", "baseline", "--out", out]

    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    done = invoke(*options, "--steps", 4)
    assert done.exit_code == 0, done.output
    assert "target runs 5 of 5 calls; none was trusted" in done.stdout
    done = invoke(*options, "--steps", 6, "--resume", "--json", "--plot", tmp_path / "md.png")
    assert json.loads(done.stdout)["n_steps"] == 6
    assert (tmp_path / "md.png").exists()
    done = invoke("report", out)
    assert "energy drift" in done.stdout
    done = invoke(*options, "--resume", "--out", tmp_path / "nothing")
    assert done.exit_code == 2
    assert "--resume finds no run" in done.output


def test_constant_energy_without_a_word_on_blending_is_told(tmp_path):
    options = "--target emt --error-bound 0.1 --ensemble nve --temp 300 --steps 2 --out"
    done = CliRunner().invoke(main, ["md", "H2O", *options.split(), str(tmp_path / "run")])
    assert "answers pass over in 10 calls; --blending 0 switches at once" in done.stderr
    assert "ramps of 10 calls" in done.stdout


def test_steps_of_dynamics_are_those_of_ase(tmp_path):
    atoms = crystal()
    thermalise(atoms, 300.0, np.random.default_rng(1))
    run_md(atoms, settings("nve", temperature_K=None, strategy="baseline"), 5, tmp_path / "run")
    atoms.calc = EMT()
    VelocityVerlet(atoms, 4.0 * units.fs).run(5)
    _, rows, _ = read_md(tmp_path / "run")
    assert float(rows[-1]["kinetic"]) == pytest.approx(atoms.get_kinetic_energy(), rel=1e-9)
