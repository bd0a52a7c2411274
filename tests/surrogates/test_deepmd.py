"""DeePMD-kit committees: data as it reads them, plans, and a tiny committee that is trained for real."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from click.testing import CliRunner

from ase_proxima import InputError, ProximaCalculator
from ase_proxima.runs.frames import read_frames
from ase_proxima.surrogates import DeepMD, deepmd_worker
from ase_proxima.surrogates.deepmd import load_committee, load_model
from ase_proxima.surrogates.deepmd_training import TrainingPlan, export_frames, read_curve, train_committee
from ase_proxima.types import Frame
from proxima_cli.proxima import main


def frame_of(atoms, step=0, seed=0, size=0.1):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0, size, atoms.positions.shape)
    target = EMT()
    names = ("energy", "forces", *["stress"] * bool(atoms.pbc.all()))
    return Frame(atoms, {name: target.get_property(name, atoms) for name in names}, step)


def test_the_scores_lie_beside_a_plan_of_relative_path_though_training_changes_the_folder(
    tmp_path, monkeypatch
):
    (tmp_path / "deepmd" / "training-0").mkdir(parents=True)
    (tmp_path / "deepmd" / "plan.json").write_text(
        json.dumps(
            {"folders": [str(tmp_path / "deepmd" / "training-0")], "models": ["none.pb"], "held_out": []}
        )
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deepmd_worker, "_train", lambda folder, model: os.chdir(folder))
    monkeypatch.setattr(deepmd_worker, "_score", lambda model, held_out: {"force_rmse": 0.1})
    deepmd_worker.main("deepmd/plan.json")
    assert json.loads((tmp_path / "deepmd" / "scores.json").read_text()) == [{"force_rmse": 0.1}]


ALUMINIUM = bulk("Al", cubic=True, a=4.05) * (2, 2, 2)


def test_frames_are_written_in_the_order_of_the_run_and_the_latest_are_held_out(tmp_path):
    frames = [frame_of(ALUMINIUM, step, step) for step in range(11)]
    train, held_out, species = export_frames(frames, tmp_path)
    assert species == ["Al"]
    energies = [np.load(f"{systems[0]}/set.000/energy.npy") for systems in (train, held_out)]
    assert np.concatenate(energies).tolist() == [frame.results["energy"] for frame in frames]
    assert [len(part) for part in energies] == [8, 3]
    assert np.load(f"{train[0]}/set.000/coord.npy").shape == (8, 96)
    assert (tmp_path / "train" / "000" / "type.raw").read_text().split() == ["0"] * 32


def test_virials_are_minus_stress_times_volume(tmp_path):
    frames = [frame_of(ALUMINIUM, step, step) for step in range(6)]
    train, _, _ = export_frames(frames, tmp_path)
    virial = np.load(f"{train[0]}/set.000/virial.npy")[0].reshape(3, 3)
    stretched = ALUMINIUM.copy()
    strain = 1e-5
    energies = []
    for sign in (-1, 1):  # the virial is minus the derivative of the energy by the strain
        stretched = frames[0].x.copy()
        stretched.set_cell(
            stretched.cell @ (np.eye(3) + sign * strain * np.diag([1, 0, 0])), scale_atoms=True
        )
        energies.append(EMT().get_property("energy", stretched))
    assert virial[0, 0] == pytest.approx(-(energies[1] - energies[0]) / (2 * strain), rel=1e-3)
    assert virial == pytest.approx(virial.T)


def test_molecules_and_mixtures_are_systems_of_their_own(tmp_path):
    frames = [frame_of(molecule(name), step, step) for step in range(6) for name in ("H2O", "CO2")]
    train, held_out, species = export_frames(frames, tmp_path)
    assert (len(train), len(held_out)) == (2, 2)
    assert species == ["C", "H", "O"]
    assert (tmp_path / "train" / "000" / "nopbc").exists()
    assert not (tmp_path / "train" / "000" / "set.000" / "virial.npy").exists()
    assert (tmp_path / "train" / "001" / "type.raw").read_text().split() == ["0", "2", "2"]


def test_too_few_frames_or_none_with_forces_are_told(tmp_path):
    with pytest.raises(InputError, match="at least 5 frames of one composition, got 2"):
        export_frames([frame_of(ALUMINIUM, i) for i in range(2)], tmp_path)
    with pytest.raises(InputError, match="lacks one of them"):
        export_frames([Frame(ALUMINIUM, {"energy": 1.0})], tmp_path)


@pytest.mark.parametrize(("steps", "rounded"), [(1, 1), (19, 19), (20, 20), (1013, 1050), (2000, 2000)])
def test_steps_are_a_multiple_of_the_distance_between_checkpoints(steps, rounded):
    plan = TrainingPlan(n_steps=steps)
    assert plan.rounded_steps == rounded
    assert plan.rounded_steps % plan.mark == 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (TrainingPlan(n_models=1), "at least 2 models"),
        (TrainingPlan(n_steps=0), "steps must be at least 1"),
        (TrainingPlan(net="huge"), "unknown net 'huge'"),
    ],
)
def test_plans_that_cannot_be_are_told(plan, message):
    with pytest.raises(InputError, match=message):
        plan.check()


def test_a_learning_curve_is_read_while_it_is_written(tmp_path):
    header = (
        "#  step      rmse_val    rmse_trn    rmse_e_val  rmse_e_trn    rmse_f_val  rmse_f_trn         lr\n"
    )
    (tmp_path / "lcurve.out").write_text(
        header + "0 1 2 3 4 0.5 0.6 1e-3\n100 1 2 3 4 0.05 0.06 1e-4\n200 1 2"
    )
    assert read_curve(tmp_path).tolist() == [[0.0, 0.5, 0.6], [100.0, 0.05, 0.06]]
    assert read_curve(tmp_path / "nowhere").shape == (0, 3)


def test_a_committee_needs_its_models(tmp_path):
    with pytest.raises(InputError, match="must hold at least 2 models model-"):
        load_committee(tmp_path)
    with pytest.raises(InputError, match="there is no model"):
        load_model(tmp_path / "model-0.pb")


def test_without_the_package_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("ase_proxima.surrogates.deepmd.find_spec", lambda name: None)
    with pytest.raises(InputError, match="is not a run directory"):
        read_frames(tmp_path)
    (tmp_path / "frames.db").touch()
    done = CliRunner().invoke(main, ["train", "deepmd", str(tmp_path)])
    assert done.exit_code == 2
    assert "pip install 'ase-proxima[deepmd]'" in done.output


needs_deepmd = pytest.mark.skipif(
    find_spec("deepmd") is None or find_spec("tensorflow") is None,
    reason="there is no DeePMD-kit with TensorFlow: pip install 'ase-proxima[deepmd]'",
)


@pytest.mark.slow
@pytest.mark.deepmd
@needs_deepmd
def test_a_tiny_committee_is_trained_compressed_scored_and_answers(tmp_path):
    run = tmp_path / "run"
    calc = ProximaCalculator(EMT(), error_bound=0.05, controller="baseline", run_dir=run)
    for seed in range(20):
        calc.get_property("forces", frame_of(ALUMINIUM, seed=seed).x)
    calc.close()
    command = ["train", "deepmd", str(run), "--models", "2", "--steps", "60", "--json"]
    done = CliRunner().invoke(main, [*command, "--plot", str(tmp_path / "curves.png")])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["n_train"], summary["n_held_out"]) == (16, 4)
    spread = float(np.std([frame_of(ALUMINIUM, seed=seed).results["forces"] for seed in range(16, 20)]))
    for row in summary["models"]:
        assert row["force_rmse"] < 0.8 * spread
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    curve = read_curve(run / "deepmd" / "training-0")
    assert curve[-1, 0] == 60
    # nothing is left to do: the models are there, and only their scores are taken again
    (run / "deepmd" / "model-1.pb").rename(tmp_path / "second.pb")
    (tmp_path / "second.pb").rename(run / "deepmd" / "model-1.pb")
    with pytest.raises(InputError, match="exists already: add --resume"):
        train_committee([frame_of(ALUMINIUM, i) for i in range(20)], run / "deepmd", TrainingPlan(2, 60))

    committee = load_committee(run / "deepmd")
    point = frame_of(ALUMINIUM, seed=30)
    prediction = committee.predict(point.x)
    error = np.sqrt(np.mean((prediction.results["forces"] - point.results["forces"]) ** 2))
    assert error == pytest.approx(np.mean([row["force_rmse"] for row in summary["models"]]), rel=0.6)
    assert 0 < prediction.std["forces"].max() < 5 * spread
    assert set(prediction.results) == {"energy", "forces", "stress"}
    assert len({member.fingerprint for member in committee.members}) == 2


@pytest.mark.slow
@pytest.mark.deepmd
@needs_deepmd
def test_a_run_trains_models_of_its_own_and_a_resume_answers_alike(tmp_path):
    parts = {
        "surrogate": DeepMD(n_models=2, n_steps=100, min_frames=10),
        "training": 10,
        "controller": "fixed:10",
    }
    calc = ProximaCalculator(
        EMT(), error_bound=5.0, error_metric="force_mae", run_dir=tmp_path / "run", **parts
    )
    points = [frame_of(ALUMINIUM, seed=seed) for seed in range(12)]
    for point in points[:10]:
        calc.get_property("forces", point.x)
    assert (calc.stats.n_target_runs, calc.stats.model_version) == (10, 0)
    answers = [calc.get_property("forces", point.x) for point in points[10:]]
    assert (calc.stats.n_target_runs, calc.stats.model_version) == (10, 1)
    errors = [np.abs(a - p.results["forces"]).mean() for a, p in zip(answers, points[10:], strict=True)]
    assert max(errors) < 0.8 * np.abs(points[0].results["forces"]).mean()
    calc.close()
    parts["surrogate"] = DeepMD(n_models=2, n_steps=100, min_frames=10)
    resumed = ProximaCalculator.resume(tmp_path / "run", EMT(), **parts)
    assert np.array_equal(resumed.get_property("forces", points[11].x), answers[1])
    resumed.close()


@pytest.mark.slow
@pytest.mark.deepmd
@needs_deepmd
def test_getting_ready_imports_tensorflow_beside_the_run():
    code = (
        "import sys, threading; from ase_proxima.surrogates import DeepMD; DeepMD().get_ready(); "
        "[t.join() for t in threading.enumerate() if t.name == 'import of TensorFlow']; "
        "print('deepmd.tf.infer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "True\n", done.stderr


@needs_deepmd
def test_models_that_take_minutes_are_not_trained_at_each_frame():
    with pytest.raises(InputError, match=r'"lazy" would train DeepMD for minutes .* a number of frames'):
        ProximaCalculator(EMT(), error_bound=0.1, surrogate=DeepMD())
    with pytest.raises(InputError, match="min_frames must be at least 1, got 0"):
        DeepMD(min_frames=0)
    with pytest.raises(InputError, match="has not been trained"):
        DeepMD().predict(ALUMINIUM)


def test_models_of_a_run_need_the_extra(monkeypatch):
    monkeypatch.setattr("ase_proxima.surrogates.deepmd.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ase-proxima\[deepmd\]'"):
        DeepMD()


class Cut(Exception):  # noqa: N818  an end from outside, no error of the training
    """The training is cut."""


@pytest.mark.slow
@pytest.mark.deepmd
@needs_deepmd
def test_a_training_that_was_cut_goes_on_from_its_checkpoint(tmp_path):
    frames = [frame_of(ALUMINIUM, i, seed=i) for i in range(10)]
    plan, folder = TrainingPlan(2, 400), tmp_path / "models"

    def cut(doing, n_done, n_all):
        if n_done >= 60:
            raise Cut

    with pytest.raises(Cut):
        train_committee(frames, folder, plan, on_progress=cut)
    before = read_curve(folder / "training-0")
    assert 60 <= before[-1, 0] < 800
    assert not (folder / "model-1.pb").exists()
    with pytest.raises(InputError, match="other frames or settings"):
        train_committee(frames, folder, TrainingPlan(2, 300), resume=True)
    summary = train_committee(frames, folder, plan, resume=True)
    curve = read_curve(folder / "training-0")
    assert curve[-1, 0] == 400
    # the steps before the cut are those of the first process: they were not made again
    assert np.array_equal(curve[: len(before) - 1], before[:-1])
    assert [row["model"] for row in summary["models"]] == ["model-0.pb", "model-1.pb"]
    assert len(load_committee(folder).members) == 2
