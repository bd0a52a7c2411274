"""Behaviour of the joint model of a molecule."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ase_proxima.errors import InputError
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.surrogates.joint.process import JointProcess
from ase_proxima.surrogates.joint.surrogate import JointGP
from ase_proxima.surrogates.linear.choice import CHOICE_AT
from ase_proxima.surrogates.linear.surrogate import BayesianSoap
from ase_proxima.types import Frame

ETHANOL = molecule("CH3CH2OH")
RADII = {1: 0.35, 6: 0.75, 8: 0.7}
HYDROXYL = 2, 3
"""Oxygen of ethanol and the hydrogen on it."""


def target(atoms, *, charges=True):
    """Morse springs between all near atoms, and a Coulomb term that reaches across the molecule."""
    energy, forces = -500.0, np.zeros((len(atoms), 3))
    charge = np.where(atoms.numbers == 8, -0.6, np.where(atoms.numbers == 1, 0.2, -0.1))
    for i in range(len(atoms)):
        for j in range(i):
            vector = atoms.positions[i] - atoms.positions[j]
            r = np.linalg.norm(vector)
            decay = np.exp(-1.6 * (r - RADII[atoms.numbers[i]] - RADII[atoms.numbers[j]]))
            coulomb = 14.4 * charge[i] * charge[j] / r * charges
            energy += 2.0 * (1 - decay) ** 2 + coulomb
            slope = 2 * 2.0 * (1 - decay) * 1.6 * decay - coulomb / r
            forces[i] -= slope * vector / r
            forces[j] += slope * vector / r
    return {"energy": energy, "forces": forces}


def shaken(seed, size=0.05, atoms=ETHANOL):
    moved = atoms.copy()
    moved.rattle(size, seed=seed)
    return moved


def frames_of(seeds, **options):
    return [Frame(x, target(x), seed) for seed in seeds for x in [shaken(seed, **options)]]


def force_error(model, frames):
    return np.mean(
        [np.abs(model.predict(f.x).results["forces"] - f.results["forces"]).mean() for f in frames]
    )


FRAMES = frames_of(range(12))
UNSEEN = frames_of(range(100, 106))


@pytest.fixture(scope="module")
def model():
    fitted = JointGP(max_features=600)
    fitted.fit(FRAMES)
    return fitted


def test_forces_are_the_negative_gradient_of_the_energy(model):
    atoms = UNSEEN[0].x.copy()
    forces = model.predict(atoms).results["forces"]
    for index, axis in ((0, 0), (2, 1), (5, 2), (8, 0)):
        energies = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[index, axis] += step
            energies.append(model.predict(moved).results["energy"])
        assert forces[index, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-4, abs=1e-4)


def test_it_gives_back_what_it_has_learnt(model):
    scale = np.std([f.results["forces"] for f in FRAMES])
    assert force_error(model, FRAMES) < 0.02 * scale
    assert force_error(model, FRAMES) < force_error(model, UNSEEN)
    known = [model.predict(f.x).std["forces"].mean() for f in FRAMES]
    new = [model.predict(f.x).std["forces"].mean() for f in UNSEEN]
    assert max(known) < min(new)


def test_it_errs_less_than_either_part_alone(model):
    parts = GradientGP(), BayesianSoap(max_features=600)
    for part in parts:
        part.fit(FRAMES)
    assert force_error(model, UNSEEN) < 0.9 * min(force_error(part, UNSEEN) for part in parts)


def test_deviations_are_of_the_size_of_the_errors(model):
    answers = [model.predict(f.x) for f in UNSEEN]
    errors = np.array(
        [a.results["forces"] - f.results["forces"] for a, f in zip(answers, UNSEEN, strict=True)]
    )
    ratio = np.sqrt(np.mean(errors**2) / np.mean([a.std["forces"] ** 2 for a in answers]))
    assert 0.4 < ratio < 1.5


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), moved=st.floats(-3.0, 3.0))
def test_turning_moving_and_mirroring_the_molecule_turns_the_forces(model, seed, moved):
    atoms = UNSEEN[seed % len(UNSEEN)].x.copy()
    before = model.predict(atoms)
    turn = Rotation.random(random_state=seed).as_matrix() * (1 if seed % 2 else -1)
    atoms.positions[:] = atoms.positions @ turn.T + moved
    after = model.predict(atoms)
    assert after.results["energy"] == pytest.approx(before.results["energy"], abs=1e-6)
    np.testing.assert_allclose(after.results["forces"], before.results["forces"] @ turn.T, atol=1e-6)
    assert after.std["energy"] == pytest.approx(before.std["energy"], rel=1e-5)


def test_equivalent_atoms_may_be_exchanged(model):
    atoms = UNSEEN[1].x
    hydrogens = [i for i in range(len(atoms)) if atoms.numbers[i] == 1 and atoms.get_distance(i, 1) < 1.4]
    hydrogens = hydrogens or [i for i in range(len(atoms)) if atoms.get_distance(i, 0) < 1.4 and i]
    order = np.arange(len(atoms))
    order[hydrogens[:2]] = order[hydrogens[:2]][::-1]
    before, after = model.predict(atoms), model.predict(atoms[order])
    assert after.results["energy"] == pytest.approx(before.results["energy"], abs=1e-6)
    np.testing.assert_allclose(after.results["forces"], before.results["forces"][order], atol=1e-6)
    np.testing.assert_allclose(after.std["forces"], before.std["forces"][order], rtol=1e-5)


def test_growing_in_place_loading_and_fitting_at_once_are_equal_to_the_last_bit(tmp_path):
    at_once, grown, loaded = (JointGP(max_frames=10, max_features=200) for _ in range(3))
    frames = frames_of(range(18))
    at_once.fit(frames)
    for n in range(1, 15):
        grown.fit(frames[:n])
    grown.save(tmp_path)
    loaded.load(tmp_path, frames[:14])
    for n in range(15, 19):
        grown.fit(frames[:n])
        loaded.fit(frames[:n])
    x = UNSEEN[0].x
    answers = [one.predict(x) for one in (at_once, grown, loaded)]
    for answer in answers[1:]:
        assert answer.results["energy"] == answers[0].results["energy"]
        assert np.array_equal(answer.results["forces"], answers[0].results["forces"])
        assert np.array_equal(answer.std["forces"], answers[0].std["forces"])
    assert at_once.describe()["n_held"] < 10


def test_a_loaded_model_answers_before_its_frames_are_factorised(tmp_path, monkeypatch):
    model, loaded = (JointGP(max_features=200) for _ in range(2))
    model.fit(FRAMES)
    model.save(tmp_path)
    with monkeypatch.context() as without:
        without.setattr(JointProcess, "append", None)
        loaded.load(tmp_path, FRAMES)
        answers = [one.predict(UNSEEN[0].x) for one in (model, loaded)]
    loaded.save(tmp_path)
    loaded.fit([*FRAMES, UNSEEN[0]])
    model.fit([*FRAMES, UNSEEN[0]])
    for first, second in (answers, [one.predict(UNSEEN[1].x) for one in (model, loaded)]):
        assert first.results["energy"] == second.results["energy"]
        assert np.array_equal(first.results["forces"], second.results["forces"])
        assert np.array_equal(first.std["forces"], second.std["forces"])


def test_a_model_of_another_format_is_refused_for_that(tmp_path, monkeypatch):
    model = JointGP(max_features=200)
    model.fit(FRAMES[:1])
    with monkeypatch.context() as before:
        before.setattr("ase_proxima.surrogates.joint.surrogate.FORMAT", 1)
        model.save(tmp_path)
    with np.load(tmp_path / "joint_gp.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name not in ("dual", "weights")}
    np.savez(tmp_path / "joint_gp.npz", **arrays)
    with pytest.raises(InputError, match=r"is of format 1 with .*; got format 2 with .* or retrain it"):
        JointGP(max_features=200).load(tmp_path, FRAMES[:1])


def test_energies_alone_are_learnt_too():
    frames = [Frame(f.x, {"energy": f.results["energy"]}, f.step) for f in frames_of(range(40), size=0.03)]
    model = JointGP(max_features=200)
    model.fit(frames)
    unseen = frames_of(range(200, 206), size=0.03)
    errors = [model.predict(f.x).results["energy"] - f.results["energy"] for f in unseen]
    assert np.std(errors) < 0.5 * np.std([f.results["energy"] for f in unseen])


def test_atoms_in_one_place_are_not_predicted(model):
    atoms = ETHANOL.copy()
    atoms.positions[3] = atoms.positions[4]
    answer = model.predict(atoms)
    assert np.isnan(answer.results["energy"])
    assert np.isnan(answer.std["forces"]).all()


def test_other_atoms_and_other_settings_are_refused(model, tmp_path):
    with pytest.raises(InputError, match="fitted to C2H6O"):
        model.predict(molecule("CH4"))
    with pytest.raises(InputError, match="call fit"):
        JointGP().predict(ETHANOL)
    with pytest.raises(InputError, match="max_frames must be at least 4"):
        JointGP(max_frames=2)
    with pytest.raises(InputError, match="at least one frame"):
        JointGP().fit([])
    model.save(tmp_path)
    with pytest.raises(InputError, match="use the same settings"):
        JointGP(max_features=100).load(tmp_path, FRAMES)
    with pytest.raises(InputError, match="use the same settings and frames"):
        JointGP(max_features=600).load(tmp_path, FRAMES[:3])
    (tmp_path / "joint_gp.npz").write_bytes(json.dumps({}).encode())
    with pytest.raises(InputError, match="is not a saved joint_gp model"):
        JointGP(max_features=600).load(tmp_path, FRAMES)


def test_a_frame_that_is_refused_leaves_the_model_as_it_was():
    model = JointGP(max_features=100)
    model.fit(FRAMES[:3])
    before = model.predict(UNSEEN[0].x).results["energy"]
    broken = Frame(FRAMES[4].x, {"energy": np.nan, "forces": np.zeros((9, 3))}, 4)
    with pytest.raises(InputError, match="energy nan"):
        model.fit([*FRAMES[:3], broken])
    assert model.predict(UNSEEN[0].x).results["energy"] == before
    model.fit(FRAMES[:4])
    assert model.describe()["n_frames"] == 4


def test_two_atoms_are_a_molecule():
    def frame(r):
        forces = np.array([[0, 0, 2 * (r - 0.74)], [0, 0, -2 * (r - 0.74)]])
        return Frame(Atoms("H2", [[0, 0, 0], [0, 0, r]]), {"energy": (r - 0.74) ** 2, "forces": forces})

    model = JointGP()
    model.fit([frame(r) for r in (0.70, 0.74, 0.78)])
    answer = model.predict(Atoms("H2", [[0, 0, 0], [0, 0, 0.76]]))
    assert answer.results["forces"][0, 2] == pytest.approx(0.04, abs=0.004)


def test_the_basis_is_made_at_its_counts_only():
    model, made = JointGP(max_features=100), []
    for n in range(1, 10):
        model.fit(FRAMES[:n])
        made.append(id(model._basis))
    changes = [n for n in range(2, 10) if made[n - 1] != made[n - 2]]
    assert changes == list(CHOICE_AT[1:])
