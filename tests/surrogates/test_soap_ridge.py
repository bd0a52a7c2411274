"""Behaviour of the published surrogate."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from ase_proxima.errors import InputError
from ase_proxima.protocols import Surrogate
from ase_proxima.surrogates.soap_ridge import SoapRidge
from ase_proxima.types import Frame


def spring_energy(atoms):
    """Springs of 30 eV/Å² between bonded atoms, 2 eV/Å² between the others."""
    lengths = atoms.get_all_distances()[np.triu_indices(len(atoms), k=1)]
    stiffness = np.where(lengths < 1.3, 30.0, 2.0)
    rest = np.where(lengths < 1.3, 1.09, 1.78)
    return 0.5 * float(np.sum(stiffness * (lengths - rest) ** 2))


def methane_frames(n, seed=0, width=0.03):
    rng = np.random.default_rng(seed)
    frames = []
    for step in range(n):
        atoms = molecule("CH4")
        atoms.positions += rng.normal(0.0, width, (5, 3))
        frames.append(Frame(atoms, {"energy": spring_energy(atoms)}, step))
    return frames


@pytest.fixture(scope="module")
def trained():
    frames = methane_frames(120)
    surrogate = SoapRidge(n_max=4, l_max=3)
    surrogate.fit(frames)
    return surrogate, frames


def test_it_offers_the_surrogate_protocol(trained):
    assert isinstance(trained[0], Surrogate)
    assert trained[0].properties == ("energy",)
    assert not trained[0].incremental


def test_unseen_energies_are_predicted_to_a_twentieth_of_their_spread(trained):
    unseen = methane_frames(40, seed=1)
    errors = [trained[0].predict(f.x).results["energy"] - f.results["energy"] for f in unseen]
    spread = np.std([f.results["energy"] for f in unseen])
    assert np.mean(np.abs(errors)) < spread / 20


def test_standard_deviation_grows_away_from_the_training_frames(trained):
    near = trained[0].predict(trained[1][0].x).std["energy"]
    far = trained[0].predict(methane_frames(1, seed=5, width=0.15)[0].x).std["energy"]
    assert 0 < near < far / 5


def test_energy_ignores_rotation_translation_and_numbering(trained):
    atoms = methane_frames(1, seed=3)[0].x
    energy = trained[0].predict(atoms).results["energy"]
    moved = atoms.copy()
    moved.rotate(40, (1, 2, 3))
    moved.translate((3.0, -1.0, 0.5))
    assert trained[0].predict(moved[[4, 2, 0, 3, 1]]).results["energy"] == pytest.approx(energy, abs=1e-9)


@pytest.mark.parametrize("n_frames", [2, 3, 6])
def test_few_frames_train_without_a_warning(n_frames):
    surrogate = SoapRidge(n_max=4, l_max=3)
    frames = methane_frames(n_frames)
    surrogate.fit(frames)
    energies = [frame.results["energy"] for frame in frames]
    assert abs(surrogate.predict(frames[0].x).results["energy"] - np.mean(energies)) <= 2 * np.ptp(energies)


def test_equal_frames_give_their_energy():
    frame = methane_frames(1)[0]
    surrogate = SoapRidge(n_max=4, l_max=3)
    surrogate.fit([frame, frame])
    assert surrogate.predict(frame.x).results["energy"] == pytest.approx(frame.results["energy"])


def test_a_longer_list_gives_the_same_model_as_a_fresh_fit():
    frames = methane_frames(30)
    grown, fresh = SoapRidge(n_max=4, l_max=3), SoapRidge(n_max=4, l_max=3)
    grown.fit(frames[:10])
    grown.fit(frames)
    fresh.fit(frames)
    assert grown.predict(frames[-1].x) == fresh.predict(frames[-1].x)


def test_an_unrelated_list_starts_afresh():
    surrogate, fresh = SoapRidge(n_max=4, l_max=3), SoapRidge(n_max=4, l_max=3)
    surrogate.fit(methane_frames(10))
    water = [Frame(molecule("H2O"), {"energy": -1.0}), Frame(molecule("H2O"), {"energy": -3.0})]
    surrogate.fit(water)
    fresh.fit(water)
    assert surrogate.predict(water[0].x) == fresh.predict(water[0].x)
    assert surrogate.predict(water[0].x).results["energy"] == pytest.approx(-2.0)


def test_loaded_predictions_equal_the_saved_ones_bit_for_bit(tmp_path, trained):
    trained[0].save(tmp_path)
    loaded = SoapRidge(n_max=4, l_max=3)
    loaded.load(tmp_path, trained[1])
    for frame in methane_frames(5, seed=2):
        assert loaded.predict(frame.x) == trained[0].predict(frame.x)
    longer = [*trained[1], *methane_frames(3, seed=4)]
    loaded.fit(longer)
    again = SoapRidge(n_max=4, l_max=3)
    again.fit(longer)
    assert loaded.predict(longer[0].x) == again.predict(longer[0].x)


def test_loading_with_other_settings_is_refused(tmp_path, trained):
    trained[0].save(tmp_path)
    with pytest.raises(InputError, match="settings"):
        SoapRidge(n_max=5, l_max=3).load(tmp_path, trained[1])


def test_periodic_images_are_seen():
    rng = np.random.default_rng(0)
    frames = []
    for step in range(4):
        atoms = bulk("Al", cubic=True)
        atoms.positions += rng.normal(0.0, 0.05, (4, 3))
        frames.append(Frame(atoms, {"energy": float(step)}, step))
    surrogate = SoapRidge(n_max=4, l_max=3)
    surrogate.fit(frames)
    wrapped = frames[2].x.copy()
    wrapped.translate((1.0, 2.0, 3.0))
    wrapped.wrap()
    predicted = surrogate.predict(frames[2].x).results["energy"]
    assert surrogate.predict(wrapped).results["energy"] == pytest.approx(predicted, abs=1e-8)


def test_another_composition_is_an_input_error(trained):
    with pytest.raises(InputError, match="trained on CH4, got H2O"):
        trained[0].predict(molecule("H2O"))


@pytest.mark.parametrize("settings", [{"r_cut": 0.0}, {"n_max": -1}, {"sigma": float("nan")}, {"l_max": -1}])
def test_bad_settings_are_input_errors(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        SoapRidge(**settings)


def test_use_before_training_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="fit"):
        SoapRidge().predict(molecule("CH4"))
    with pytest.raises(InputError, match="nothing to save"):
        SoapRidge().save(tmp_path)
    with pytest.raises(InputError, match="at least 2"):
        SoapRidge().fit(methane_frames(1))
