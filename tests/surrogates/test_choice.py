"""The candidate that foresees new frames best answers, at no call of the target."""

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes

from ase_proxima import ProximaCalculator
from ase_proxima.errors import InputError
from ase_proxima.surrogates.choice import TRIAL_FRAMES, BestOfSeveral
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.surrogates.soap_ridge import SoapRidge
from ase_proxima.testing import NearestFrame, check_surrogate
from ase_proxima.types import Frame

WATER = molecule("H2O")


def springs(atoms):
    """Energy and forces of a spring between every two atoms, 10 eV/Å² at the lengths of the free molecule."""
    energy, forces = 0.0, np.zeros((3, 3))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        vector = atoms.positions[i] - atoms.positions[j]
        length = np.linalg.norm(vector)
        stretch = length - WATER.get_distance(i, j)
        energy += 5.0 * stretch**2
        forces[i] -= 10.0 * stretch * vector / length
        forces[j] += 10.0 * stretch * vector / length
    return {"energy": energy, "forces": forces}


class Springs(Calculator):
    """A spring of 10 eV/Å² between every two atoms, at rest at their distance in the first structure."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if not hasattr(self, "lengths"):
            self.lengths = atoms.get_all_distances()
        vectors = atoms.positions[:, None] - atoms.positions[None]
        distances = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms))
        stretch = (distances - self.lengths) * (1 - np.eye(len(atoms)))
        self.results = {
            "energy": 2.5 * float(np.sum(stretch**2)),
            "forces": -10.0 * np.sum((stretch / distances)[:, :, None] * vectors, axis=1),
        }


def frames(n, seed=0, size=0.05):
    rng, found = np.random.default_rng(seed), []
    for step in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        found.append(Frame(atoms, springs(atoms), step))
    return found


def make():
    nearest = NearestFrame("energy", "forces", incremental=True)
    return BestOfSeveral({"nearest": nearest, "gradient_gp": GradientGP(force_std=True)})


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 24])
def test_a_choice_keeps_the_contract_before_and_after_it_is_final(n):
    check_surrogate(make, frames(n, seed=1), frames(8, seed=2), [frame.x for frame in frames(3, seed=3)])


def test_the_better_model_answers_whatever_their_order():
    for reverse in (False, True):
        names = make().candidates
        model = BestOfSeveral(dict(reversed(names.items())) if reverse else names)
        model.fit(frames(TRIAL_FRAMES + 1))
        assert model.chosen == "gradient_gp"
        assert "surrogate gradient_gp foresees new frames best, by the first 8" in model.notes[0]


def test_models_that_are_equally_good_leave_the_cheaper_one():
    first, second = (NearestFrame("energy", "forces", incremental=True) for _ in range(2))
    model = BestOfSeveral({"cheap": first, "costly": second})
    model.fit(frames(5))
    assert model.chosen == "cheap"


def test_the_losers_learn_nothing_after_the_choice():
    model = make()
    model.fit(frames(30))
    assert len(model.candidates["nearest"]._frames) == TRIAL_FRAMES
    assert model.candidates["gradient_gp"].n_frames == 30


def test_frames_one_by_one_and_all_at_once_lead_to_the_same_choice():
    known, at_once, one_by_one = frames(12), make(), make()
    at_once.fit(known)
    for n in range(1, 13):
        one_by_one.fit(known[:n])
    assert at_once.notes == one_by_one.notes
    assert at_once.notes[0].startswith("surrogate gradient_gp foresees new frames best, by the first 8")


def test_a_candidate_that_predicts_no_number_loses():
    class Broken(NearestFrame):
        def predict(self, x):
            prediction = super().predict(x)
            prediction.results["forces"][...] = np.nan
            return prediction

    model = BestOfSeveral(
        {"broken": Broken("energy", "forces", incremental=True), "gradient_gp": GradientGP()}
    )
    model.fit(frames(3))
    assert model.chosen == "gradient_gp"


@pytest.mark.parametrize("candidates", [{}, {"soap_ridge": SoapRidge()}])
def test_models_that_cannot_learn_in_place_are_refused(candidates):
    with pytest.raises(InputError, match="must learn in place, got"):
        BestOfSeveral(candidates)


def test_a_choice_among_others_is_refused(tmp_path):
    model = make()
    model.fit(frames(3))
    model.save(tmp_path)
    other = BestOfSeveral({"gradient_gp": GradientGP()})
    with pytest.raises(InputError, match="choice among nearest, gradient_gp, expected gradient_gp"):
        other.load(tmp_path, frames(3))


def test_a_run_says_which_surrogate_answers_and_why():
    target = Springs()
    atoms = molecule("CH3CH2OH")
    atoms.calc = ProximaCalculator(target, error_bound=0.2, surrogate="auto")
    rng = np.random.default_rng(0)
    start = atoms.positions.copy()
    for _ in range(6):
        atoms.positions = start + rng.normal(0, 0.05, start.shape)
        atoms.get_forces()
    assert isinstance(atoms.calc.surrogate, BestOfSeveral)
    assert any("foresees new frames best so far: mean error" in note for note in atoms.calc.stats.notes)
