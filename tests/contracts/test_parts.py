"""Every surrogate, uncertainty and training policy through the shared checks."""

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima.executor import options
from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.surrogates.joint.surrogate import JointGP
from ase_proxima.surrogates.linear.surrogate import BayesianSoap
from ase_proxima.surrogates.none import NoUncertainty
from ase_proxima.surrogates.soap_ridge import SoapRidge
from ase_proxima.testing import (
    HarmonicWells,
    NearestFrame,
    check_surrogate,
    check_training_policy,
    check_uncertainty,
)
from ase_proxima.training import EveryTraining, LazyTraining, NeverTraining
from ase_proxima.types import Frame
from ase_proxima.uncertainty.coulomb import CoulombDistance
from ase_proxima.uncertainty.posterior import PosteriorUncertainty

WATER = molecule("H2O")


def frames_of_water(n, seed, size=0.05):
    rng = np.random.default_rng(seed)
    target = HarmonicWells(WATER.positions, stiffness=3.0)
    frames = []
    for step in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        results = {name: target.get_property(name, atoms) for name in ("energy", "forces")}
        frames.append(Frame(atoms, results, step))
    return frames


FRAMES, OTHER = frames_of_water(12, 1), frames_of_water(8, 2, size=0.03)
POINTS = [frame.x for frame in frames_of_water(4, 3)]

SURROGATES = {
    "soap_ridge": SoapRidge,
    "gradient_gp": GradientGP,
    "gradient_gp with force deviations": lambda: GradientGP(force_std=True),
    "gradient_gp, thinned": lambda: GradientGP(max_frames=8),
    "joint_gp": lambda: JointGP(max_features=150),
    "joint_gp, thinned": lambda: JointGP(max_frames=8, max_features=150),
    "bayesian_soap": lambda: BayesianSoap(n_max=3, l_max=2, max_features=150),
    "nearest frame": NearestFrame,
}


@pytest.mark.slow
@pytest.mark.parametrize("make", SURROGATES.values(), ids=SURROGATES)
def test_surrogate(make):
    check_surrogate(make, FRAMES, OTHER, POINTS)


UNCERTAINTIES = {
    "coulomb": (CoulombDistance, SoapRidge),
    "coulomb, window": (lambda: CoulombDistance(window=5), SoapRidge),
    "posterior energy": (lambda: PosteriorUncertainty("energy"), SoapRidge),
    "posterior energy per atom": (lambda: PosteriorUncertainty("energy_per_atom"), SoapRidge),
    "posterior forces": (lambda: PosteriorUncertainty("force_max"), lambda: GradientGP(force_std=True)),
    "posterior mean force": (lambda: PosteriorUncertainty("force_mae"), lambda: GradientGP(force_std=True)),
    "posterior of soap": (lambda: PosteriorUncertainty("force_max"), SURROGATES["bayesian_soap"]),
    "posterior without deviations": (lambda: PosteriorUncertainty("force_max"), GradientGP),
    "none": (NoUncertainty, NearestFrame),
    "nearest frame": (NearestFrame, NearestFrame),
}


def test_every_name_is_under_the_contract():
    named = {name.split(" ")[0].rstrip(",") for name in (*SURROGATES, *UNCERTAINTIES)}
    in_a_file_of_its_own = {"ensemble": "tests/surrogates/test_committee.py"}
    wanted = {*options.SURROGATES, *options.UNCERTAINTIES} - {"auto", *in_a_file_of_its_own}
    assert wanted <= named


@pytest.mark.parametrize(("make", "make_surrogate"), UNCERTAINTIES.values(), ids=UNCERTAINTIES)
def test_uncertainty(make, make_surrogate):
    surrogate = make_surrogate()
    surrogate.fit(FRAMES)
    check_uncertainty(make, FRAMES, POINTS, surrogate.predict)


@pytest.mark.parametrize(
    "policy",
    [LazyTraining(), LazyTraining(growth=2.0), EveryTraining(1), EveryTraining(50), NeverTraining()],
    ids=repr,
)
def test_training_policy(policy):
    check_training_policy(policy)


class Aliased(NearestFrame):
    def predict(self, x):
        prediction = super().predict(x)
        self.kept = getattr(self, "kept", prediction)
        return self.kept


class Amnesic(NearestFrame):
    def load(self, folder, frames):
        self.fit(frames[:1])


class Hoarder(NearestFrame):
    def fit(self, frames):
        self.all = [*getattr(self, "all", []), *frames]
        super().fit(self.all)


class Eager(NeverTraining):
    def due(self, *, n_frames, n_trained, trusted):
        return True


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Aliased, "asking again"),
        (Amnesic, "a loaded model predicts otherwise"),
        (Hoarder, "does not start afresh"),
    ],
)
def test_the_check_finds_broken_surrogates(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_surrogate(broken, FRAMES, OTHER, POINTS)


def test_the_check_finds_broken_policies_and_uncertainties():
    with pytest.raises(AssertionError, match="due without a new frame"):
        check_training_policy(Eager())

    class Negative(NearestFrame):
        def measure(self, x, prediction):
            return -1.0

    model = NearestFrame()
    model.fit(FRAMES)
    with pytest.raises(AssertionError, match=r"the uncertainty is -1\.0"):
        check_uncertainty(Negative, FRAMES, POINTS, model.predict)
