"""Behaviour of the Bayesian linear model on SOAP power spectra."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixBondLengths

from ase_proxima.errors import InputError
from ase_proxima.protocols import Surrogate
from ase_proxima.surrogates.linear.evidence import solve
from ase_proxima.surrogates.linear.surrogate import BayesianSoap
from ase_proxima.types import Frame

SMALL = {"n_max": 4, "l_max": 3, "r_cut": 4.5}


def emt_frames(atoms, n, width=0.1, seed=0, stress=True):
    rng = np.random.default_rng(seed)
    frames = []
    for step in range(n):
        moved = atoms.copy()
        moved.positions += rng.normal(0.0, width, moved.positions.shape)
        if stress and moved.pbc.all():
            moved.set_cell(moved.cell @ (np.eye(3) + rng.normal(0.0, 0.01, (3, 3))), scale_atoms=True)
        moved.calc = EMT()
        results = {"energy": moved.get_potential_energy(), "forces": moved.get_forces()}
        if stress and moved.pbc.all():
            results["stress"] = moved.get_stress()
        moved.calc = None
        frames.append(Frame(moved, results, step))
    return frames


def alloy():
    atoms = bulk("Cu", cubic=True, a=3.8) * 2
    atoms.numbers[::3] = 13
    return atoms


SYSTEMS = {
    "crystal": bulk("Al", cubic=True) * 2,
    "alloy": alloy(),
    "slab": fcc111("Al", (2, 2, 3), vacuum=6.0, periodic=False),
    "cluster": Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [1.2, 2.1, 0], [1.2, 0.7, 2.0]]),
}


@pytest.fixture(scope="module")
def fitted():
    found = {}
    for name, atoms in SYSTEMS.items():
        frames = emt_frames(atoms, 5)
        surrogate = BayesianSoap(n_max=3, l_max=2, r_cut=4.0)
        surrogate.fit(frames)
        found[name] = (surrogate, frames)
    return found


def test_it_offers_the_surrogate_protocol(fitted):
    surrogate = fitted["crystal"][0]
    assert isinstance(surrogate, Surrogate)
    assert surrogate.incremental
    assert surrogate.properties == ("energy", "forces", "stress")
    assert fitted["slab"][0].properties == ("energy", "forces")


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_forces_are_the_negative_gradient_of_the_energy(fitted, name):
    surrogate, frames = fitted[name]
    atoms = frames[2].x.copy()
    forces = surrogate.predict(atoms).results["forces"]
    for index, axis in ((0, 0), (1, 2), (3, 1)):
        energies = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[index, axis] += step
            energies.append(surrogate.predict(moved).results["energy"])
        assert forces[index, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["crystal", "alloy"])
def test_stress_is_the_derivative_by_strain(fitted, name):
    surrogate, frames = fitted[name]
    atoms = frames[1].x
    stress = surrogate.predict(atoms).results["stress"]
    for row, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for step in (1e-4, -1e-4):
            strain = np.eye(3)
            strain[i, j] += step / 2
            strain[j, i] += step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            energies.append(surrogate.predict(strained).results["energy"])
        slope = (energies[0] - energies[1]) / 2e-4 / atoms.get_volume()
        assert stress[row] == pytest.approx(slope, abs=1e-6)


def test_stress_has_the_sign_and_unit_of_the_target():
    surrogate = BayesianSoap(**SMALL)
    surrogate.fit(emt_frames(SYSTEMS["crystal"], 5))
    unseen = emt_frames(SYSTEMS["crystal"], 6, seed=7)
    found = np.array([surrogate.predict(frame.x).results["stress"] for frame in unseen])
    exact = np.array([frame.results["stress"] for frame in unseen])
    assert np.abs(found - exact).mean() < 0.15 * np.abs(exact).mean()


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_translation_and_numbering_do_not_matter(fitted, name):
    surrogate, frames = fitted[name]
    before = surrogate.predict(frames[0].x)
    order = np.random.default_rng(0).permutation(len(frames[0].x))
    moved = frames[0].x[order]
    moved.translate((0.3, -1.2, 2.0))
    after = surrogate.predict(moved)
    assert after.results["energy"] == pytest.approx(before.results["energy"], abs=1e-8)
    np.testing.assert_allclose(after.results["forces"], before.results["forces"][order], atol=1e-8)
    np.testing.assert_allclose(after.std["forces"], before.std["forces"][order], rtol=1e-6)


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_forces_turn_with_the_structure(fitted, name):
    surrogate, frames = fitted[name]
    before = surrogate.predict(frames[0].x)
    angle = np.radians(35)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = frames[0].x.copy()
    turned.positions = turned.positions @ turn
    turned.set_cell(turned.cell @ turn)
    after = surrogate.predict(turned)
    assert after.results["energy"] == pytest.approx(before.results["energy"], abs=1e-7)
    np.testing.assert_allclose(after.results["forces"], before.results["forces"] @ turn, atol=1e-7)


def test_open_axes_see_no_images(fitted):
    surrogate, frames = fitted["slab"]
    slab = frames[0].x.copy()
    slab.pbc = (True, True, False)
    isolated = slab.copy()
    isolated.cell[2] = (0.0, 0.0, 60.0)
    isolated.pbc = True
    slab.cell[2] = (1.0, 0.5, 3.0)
    found, expected = surrogate.predict(slab).results, surrogate.predict(isolated).results
    assert "stress" not in found
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-9)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-9)


def test_a_frame_that_is_refused_leaves_the_model_as_it_was(fitted):
    frames = fitted["crystal"][1][:2]
    surrogate = BayesianSoap(**SMALL)
    surrogate.fit(frames)
    before = surrogate.predict(frames[0].x).results["energy"]
    bad = Frame(frames[1].x, {"energy": 1.0, "forces": np.full((32, 3), np.nan)}, 2)
    with pytest.raises(InputError, match="forces must be finite"):
        surrogate.fit([*frames, bad])
    surrogate.fit(frames)
    assert surrogate.predict(frames[0].x).results["energy"] == before


def test_a_supercell_has_twice_the_energy_and_the_same_forces(fitted):
    surrogate, frames = fitted["crystal"]
    single, double = (surrogate.predict(frames[0].x * (n, 1, 1)).results for n in (1, 2))
    assert double["energy"] == pytest.approx(2 * single["energy"], abs=1e-8)
    np.testing.assert_allclose(double["forces"][: len(frames[0].x)], single["forces"], atol=1e-8)
    np.testing.assert_allclose(double["stress"], single["stress"], atol=1e-10)


@pytest.mark.parametrize(("name", "limit"), [("crystal", 0.1), ("alloy", 0.25)])
def test_errors_are_small_and_as_large_as_the_standard_deviation_says(name, limit):
    train, unseen = emt_frames(SYSTEMS[name], 4), emt_frames(SYSTEMS[name], 2, seed=1)
    surrogate = BayesianSoap(**SMALL)
    surrogate.fit(train)
    predictions = [surrogate.predict(frame.x) for frame in unseen]
    errors = [p.results["forces"] - f.results["forces"] for p, f in zip(predictions, unseen, strict=True)]
    size = np.mean([np.abs(f.results["forces"]).mean() for f in unseen])
    assert np.mean(np.abs(errors)) < limit * size
    assert 0.5 < np.mean(np.abs(errors)) / np.mean([p.std["forces"] for p in predictions]) < 2.0


def test_uncertainty_grows_away_from_the_training_frames(fitted):
    surrogate, _ = fitted["crystal"]
    near, far = (emt_frames(SYSTEMS["crystal"], 1, width=w, seed=3)[0].x for w in (0.1, 0.5))
    assert surrogate.predict(far).std["forces"].mean() > 2 * surrogate.predict(near).std["forces"].mean()


def test_a_perfect_crystal_teaches_no_confidence():
    perfect = emt_frames(SYSTEMS["crystal"], 1, width=0.0, stress=False)
    surrogate = BayesianSoap(**SMALL)
    surrogate.fit(perfect)
    frame = emt_frames(SYSTEMS["crystal"], 1, stress=False)[0]
    prediction = surrogate.predict(frame.x)
    error = np.abs(prediction.results["forces"] - frame.results["forces"]).mean()
    assert error < 2.0 * prediction.std["forces"].mean()


def test_frames_along_one_path_do_not_feign_certainty():
    base = SYSTEMS["crystal"]
    path = np.random.default_rng(0).normal(size=base.positions.shape)

    def on_path(size):
        atoms = base.copy()
        atoms.positions += size * path
        return Frame(atoms, {name: EMT().get_property(name, atoms) for name in ("energy", "forces")})

    surrogate = BayesianSoap(n_max=4, l_max=3)
    surrogate.fit([on_path(0.006 * step) for step in (0, 1, 2, 3, 4, 12)])
    unseen = [on_path(size) for size in (0.15, 0.2)]
    answers = [surrogate.predict(frame.x) for frame in unseen]
    errors = [a.results["forces"] - f.results["forces"] for a, f in zip(answers, unseen, strict=True)]
    assert np.mean(np.abs(errors)) < 1.0 * np.mean([answer.std["forces"] for answer in answers])


def test_growing_in_place_equals_a_fresh_fit(fitted):
    frames = fitted["crystal"][1]
    grown, fresh = BayesianSoap(**SMALL), BayesianSoap(**SMALL)
    for n in range(1, 6):
        grown.fit(frames[:n])
    fresh.fit(frames)
    a, b = grown.predict(frames[-1].x), fresh.predict(frames[-1].x)
    for kind in ("energy", "forces", "stress"):
        np.testing.assert_array_equal(a.results[kind], b.results[kind])
        np.testing.assert_array_equal(a.std[kind], b.std[kind])


def test_an_unrelated_list_starts_afresh(fitted):
    frames, other = fitted["crystal"][1], fitted["cluster"][1]
    used, fresh = BayesianSoap(**SMALL), BayesianSoap(**SMALL)
    used.fit(frames)
    used.fit(other)
    fresh.fit(other)
    assert used.predict(other[0].x).results["energy"] == fresh.predict(other[0].x).results["energy"]


def test_loaded_predictions_equal_the_saved_ones_and_learning_goes_on(tmp_path, fitted):
    surrogate, frames = fitted["alloy"]
    surrogate.save(tmp_path)
    loaded = BayesianSoap(n_max=3, l_max=2, r_cut=4.0)
    loaded.load(tmp_path, frames)
    longer = [*frames, *emt_frames(SYSTEMS["alloy"], 1, seed=9)]
    for _ in range(2):
        a, b = surrogate.predict(longer[-1].x), loaded.predict(longer[-1].x)
        for kind in ("energy", "forces", "stress"):
            np.testing.assert_array_equal(a.results[kind], b.results[kind])
            np.testing.assert_array_equal(a.std[kind], b.std[kind])
        loaded.fit(longer)
        fresh = BayesianSoap(n_max=3, l_max=2, r_cut=4.0)
        fresh.fit(longer)
        surrogate = fresh
    with pytest.raises(InputError, match="settings"):
        BayesianSoap(n_max=4).load(tmp_path, frames)


def test_energies_alone_are_enough_to_learn():
    frames = [Frame(f.x, {"energy": f.results["energy"]}, f.step) for f in emt_frames(SYSTEMS["cluster"], 30)]
    surrogate = BayesianSoap(n_max=3, l_max=2, r_cut=4.0)
    surrogate.fit(frames)
    unseen = emt_frames(SYSTEMS["cluster"], 10, seed=1)
    errors = [surrogate.predict(f.x).results["energy"] - f.results["energy"] for f in unseen]
    assert np.mean(np.abs(errors)) < 0.2 * np.std([f.results["energy"] for f in unseen])
    assert set(surrogate.describe()) >= {"noise_energy", "r_cut", "n_features"}


def test_another_species_is_unknown_until_it_is_learnt(fitted):
    frames = fitted["crystal"][1]
    surrogate = BayesianSoap(**SMALL)
    surrogate.fit(frames)
    foreign = emt_frames(SYSTEMS["alloy"], 4)
    before = surrogate.predict(foreign[0].x)
    assert np.isnan(before.results["energy"])
    assert np.isnan(before.results["forces"]).all()
    assert np.isnan(before.std["stress"]).all()
    surrogate.fit([*frames, *foreign[:3]])
    unseen = foreign[3]
    error = surrogate.predict(unseen.x).results["forces"] - unseen.results["forces"]
    assert np.abs(error).mean() < 0.5 * np.abs(unseen.results["forces"]).mean()
    fresh = BayesianSoap(**SMALL)
    fresh.fit([*frames, *foreign[:3]])
    np.testing.assert_array_equal(
        fresh.predict(unseen.x).results["forces"], surrogate.predict(unseen.x).results["forces"]
    )


@pytest.mark.parametrize(
    "results",
    [{}, {"energy": float("nan")}, {"energy": 0.0, "forces": np.zeros(3)}],
)
def test_frames_without_sound_labels_are_input_errors(results):
    with pytest.raises(InputError, match=r"energy|forces"):
        BayesianSoap(**SMALL).fit([Frame(molecule("H2O"), results)])


@pytest.mark.parametrize("settings", [{"r_cut": 0.0}, {"l_max": -1}, {"max_features": 0}])
def test_bad_settings_are_input_errors(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        BayesianSoap(**settings)


def test_use_before_training_is_an_input_error(tmp_path):
    for use in (lambda s: s.predict(bulk("Al")), lambda s: s.save(tmp_path), lambda s: s.fit([])):
        with pytest.raises(InputError, match="BayesianSoap"):
            use(BayesianSoap())


def test_what_is_kept_does_not_grow_with_the_frames(tmp_path, fitted):
    frames = emt_frames(SYSTEMS["cluster"], 12)
    sizes = []
    for n in (9, 12):
        surrogate = BayesianSoap(n_max=3, l_max=2, max_features=100)
        surrogate.fit(frames[:n])
        surrogate.save(tmp_path)
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert abs(sizes[1] - sizes[0]) < 100


def test_deviations_of_the_draws_are_those_of_the_posterior(fitted):
    surrogate, _ = fitted["crystal"]
    posterior = solve(surrogate._sums, surrogate._hyper, surrogate._basis.block)
    atoms = emt_frames(SYSTEMS["crystal"], 1, width=0.2, seed=5)[0].x
    exact = posterior.variance(surrogate._basis.rows(atoms).gradient) + 1 / surrogate._hyper.noise["forces"]
    found = surrogate.predict(atoms).std["forces"].ravel() ** 2
    assert np.mean(found) == pytest.approx(np.mean(exact), rel=0.2)
    assert np.all(np.abs(np.log(found / exact)) < 2.0)


def test_compositions_that_differ_have_energies_of_their_own():
    atoms = bulk("Al", cubic=True) * 2
    vacancy = atoms[1:]
    frames = emt_frames(atoms, 3, stress=False) + emt_frames(vacancy, 3, stress=False, seed=1)
    shifted = [Frame(f.x, {**f.results, "energy": f.results["energy"] - 500.0 * len(f.x)}) for f in frames]
    surrogate = BayesianSoap(**SMALL)
    surrogate.fit(shifted)
    for start in (atoms, vacancy):
        unseen = emt_frames(start, 1, stress=False, seed=7)[0]
        error = surrogate.predict(unseen.x).results["energy"] - (
            unseen.results["energy"] - 500.0 * len(unseen.x)
        )
        assert abs(error) < 0.01 * len(unseen.x)


def test_a_bond_shorter_than_any_seen_has_a_large_deviation(fitted):
    surrogate, frames = fitted["crystal"]
    near = frames[0].x.copy()
    near.positions[1] = near.positions[0] + 0.6 * near.get_distance(0, 1, mic=True, vector=True)
    usual = surrogate.predict(frames[0].x).std["forces"].max()
    assert surrogate.predict(near).std["forces"].max() > 10 * usual


def test_constraints_that_cannot_be_repeated_do_not_stand_in_the_way():
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixBondLengths([(0, 1)]))
    frames = emt_frames(atoms, 2)
    surrogate = BayesianSoap(n_max=3, l_max=2)
    surrogate.fit(frames)
    bare = BayesianSoap(n_max=3, l_max=2)
    bare.fit([Frame(Atoms(f.x.numbers, f.x.positions, cell=f.x.cell, pbc=True), f.results) for f in frames])
    asked = frames[0].x
    assert np.array_equal(surrogate.predict(asked).results["forces"], bare.predict(asked).results["forces"])
