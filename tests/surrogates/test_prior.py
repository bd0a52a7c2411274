"""Priors: what is learnt is the difference, what fails is flagged, what was known is not asked again."""

import warnings

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_proxima import NotWorthwhileWarning, ProximaCalculator, RunDirectoryError
from ase_proxima.errors import InputError
from ase_proxima.surrogates import BayesianSoap
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.surrogates.prior import WithPrior
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.targets.isolated import IsolatedCalculator
from ase_proxima.targets.local import LocalTarget
from ase_proxima.testing import HarmonicWells, check_surrogate
from ase_proxima.types import Frame

WATER = molecule("H2O")


class Wells:
    """A prior in closed form that counts its calls, and fails where the first atom lies beyond `wall`."""

    def __init__(self, stiffness=2.5, wall=np.inf):
        self.calculator = HarmonicWells(WATER.positions, stiffness=stiffness)
        self.wall, self.n_calls = wall, 0

    def __call__(self, x):
        self.n_calls += 1
        if x.positions[0, 0] > self.wall:
            raise ArithmeticError("no convergence")
        return {name: self.calculator.get_property(name, x) for name in ("energy", "forces")}


def frames(n, seed=0, stiffness=3.0, size=0.05):
    rng, target = np.random.default_rng(seed), HarmonicWells(WATER.positions, stiffness=stiffness)
    found = []
    for step in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        found.append(Frame(atoms, {k: target.get_property(k, atoms) for k in ("energy", "forces")}, step))
    return found


def make(prior=None):
    return WithPrior(GradientGP(force_std=True), prior or Wells())


@pytest.mark.slow
def test_a_surrogate_with_a_prior_keeps_the_contract():
    points = [frame.x for frame in frames(4, seed=3)]
    check_surrogate(make, frames(12, seed=1), frames(8, seed=2), points)


def test_a_prior_that_is_right_leaves_nothing_to_learn():
    model, new = make(Wells(stiffness=3.0)), frames(1, seed=9, size=0.2)[0]
    model.fit(frames(1))
    prediction = model.predict(new.x)
    np.testing.assert_allclose(prediction.results["forces"], new.results["forces"], atol=1e-9)
    assert prediction.results["energy"] == pytest.approx(new.results["energy"], abs=1e-9)
    plain = GradientGP(force_std=True)
    plain.fit(frames(1))
    assert np.abs(plain.predict(new.x).results["forces"] - new.results["forces"]).max() > 0.05


def test_a_failing_prior_is_no_exception_and_nothing_finite():
    model = make(Wells(wall=0.5))
    model.fit(frames(3))
    far = WATER.copy()
    far.positions += 1.0
    prediction = model.predict(far)
    assert np.isnan(prediction.results["energy"])
    assert prediction.results["forces"].shape == (3, 3)
    assert np.isnan(prediction.results["forces"]).all()


def test_frames_on_which_the_prior_failed_are_left_out():
    good, far = frames(3), frames(1, seed=5)[0]
    far.x.positions += 1.0
    model, expected = make(Wells(wall=0.5)), make(Wells())
    model.fit([good[0], Frame(far.x, far.results, 7), *good[1:]])
    expected.fit(good)
    point = frames(1, seed=8)[0].x
    assert model.predict(point).results["energy"] == expected.predict(point).results["energy"]


def test_a_prior_that_failed_on_every_frame_is_never_trusted():
    model = make(Wells(wall=-9.0))
    model.fit(frames(2))
    assert np.isnan(model.predict(WATER).results["energy"])


def test_an_input_that_becomes_a_frame_is_asked_for_once():
    prior = Wells()
    model, known = make(prior), frames(4)
    model.fit(known[:1])
    for n in range(1, 4):
        model.predict(known[n].x)
        model.fit(known[: n + 1])
    assert prior.n_calls == 4


def test_a_resume_asks_the_prior_for_no_frame_again(tmp_path):
    model, known = make(), frames(5)
    model.fit(known)
    model.save(tmp_path)
    prior = Wells()
    loaded = make(prior)
    loaded.load(tmp_path, known)
    assert prior.n_calls == 0
    point = frames(1, seed=8)[0].x
    np.testing.assert_array_equal(
        loaded.predict(point).results["forces"], model.predict(point).results["forces"]
    )


def test_a_model_made_without_a_prior_is_refused(tmp_path):
    plain = GradientGP()
    plain.fit(frames(2))
    plain.save(tmp_path)
    with pytest.raises(InputError, match="does not hold the values of a prior"):
        make().load(tmp_path, frames(2))


def test_other_frames_than_those_saved_are_refused(tmp_path):
    model = make()
    model.fit(frames(3))
    model.save(tmp_path)
    with pytest.raises(InputError, match="holds 3 values of a prior in format 1, expected 2"):
        make().load(tmp_path, frames(2))


class Weights:
    """Like a tensor of torch: a comparison of two is neither true nor false."""

    __hash__ = None

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")


def network():
    calculator = EMT()
    calculator.weights = Weights()
    return calculator


class Compiled:
    """Like an old-style calculator in another language: its settings are no attributes."""

    __slots__ = ()

    def get_potential_energy(self, atoms=None):
        return 0.0


class Module(HarmonicWells):
    """Like one that is a module of torch as well, whose `parameters` is a method."""

    def __init__(self, stiffness):
        super().__init__(WATER.positions, stiffness=stiffness)
        self.parameters = iter


USED = EMT()
USED.get_potential_energy(molecule("N2"))


@pytest.mark.parametrize(
    ("target", "prior"),
    [
        (USED, USED),
        (EMT(), USED),
        (USED, EMT()),
        (EMT(asap_cutoff=True), EMT(asap_cutoff=True)),
        (EMT(), "emt"),
        (HarmonicWells(np.zeros((2, 3))), HarmonicWells(np.zeros((2, 3)))),
        (LocalTarget(EMT(), tolerance=0.01), "emt"),
        (EMT(), LocalTarget(USED, tolerance=0.01)),
    ],
)
def test_the_target_itself_is_no_prior(target, prior):
    with pytest.raises(InputError, match="the prior is the target itself"):
        ProximaCalculator(target, error_bound=0.05, prior=prior)


@pytest.mark.parametrize(
    ("target", "prior"),
    [
        (EMT(), EMT(asap_cutoff=True)),
        (EMT(), "lj"),
        (HarmonicWells(np.zeros((2, 3))), HarmonicWells(np.ones((2, 3)))),
        (FunctionCalculator(abs), FunctionCalculator(hash)),
        (network(), network()),
        (Compiled(), Compiled()),
        (Module(3.0), Module(2.5)),
    ],
)
def test_a_calculator_of_the_same_kind_with_other_settings_is_a_prior(target, prior):
    calc = ProximaCalculator(target, error_bound=0.05, error_metric="energy", prior=prior)
    assert calc.parameters["prior"] is not None


def test_a_target_in_a_process_of_its_own_is_no_prior_of_itself():
    with IsolatedCalculator("emt:asap_cutoff=true", timeout_s=60) as isolated:
        for prior in (isolated, EMT(asap_cutoff=True), "emt:asap_cutoff=true,timeout=60"):
            with pytest.raises(InputError, match="the prior is the target itself"):
                ProximaCalculator(isolated, error_bound=0.05, prior=prior)
        assert ProximaCalculator(isolated, error_bound=0.05, prior=EMT()).parameters["prior"] == {
            "object": {"name": "emt", "parameters": {"asap_cutoff": False}}
        }


def test_objects_are_described_alike_in_equal_runs():
    def settings():
        return ProximaCalculator(
            EMT(), error_bound=0.05, prior=LennardJones(sigma=2.5), surrogate=BayesianSoap()
        ).parameters

    assert settings() == settings()
    assert settings()["prior"]["object"]["parameters"]["sigma"] == 2.5


def test_a_resume_with_another_object_as_prior_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotWorthwhileWarning)
        calc = ProximaCalculator(
            EMT(), error_bound=0.05, prior=LennardJones(sigma=2.5), run_dir=tmp_path / "run"
        )
        calc.get_potential_energy(molecule("N2"))
    calc.close()
    with pytest.raises(RunDirectoryError, match=r"was made with prior = .*'sigma': 2.5"):
        ProximaCalculator.resume(tmp_path / "run", EMT(), prior=LennardJones(sigma=2.6))
    ProximaCalculator.resume(tmp_path / "run", EMT(), prior=LennardJones(sigma=2.5)).close()
