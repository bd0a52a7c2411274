"""Surrogates learn on one thread of the linear algebra."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from threadpoolctl import threadpool_info, threadpool_limits

from ase_proxima.surrogates import BayesianSoap, GradientGP, JointGP
from ase_proxima.surrogates.one_thread import one_thread
from ase_proxima.types import Frame


def n_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_a_function_runs_on_one_thread_and_leaves_the_others_as_they_were():
    with threadpool_limits(2, user_api="blas"):
        before = n_threads()
        assert set(one_thread(n_threads)()) == {1}
        assert n_threads() == before


@pytest.mark.parametrize(
    ("surrogate", "atoms"),
    [
        (BayesianSoap(), bulk("Cu", cubic=True)),
        (GradientGP(), molecule("H2O")),
        (JointGP(max_features=300), molecule("H2O")),
    ],
    ids=["linear", "gp", "joint"],
)
def test_predictions_are_equal_to_the_last_bit_however_many_threads_there_are(surrogate, atoms):
    frames = []
    for seed in range(4):
        moved = atoms.copy()
        moved.rattle(0.05, seed=seed)
        moved.calc = EMT()
        results = {"energy": moved.get_potential_energy(), "forces": moved.get_forces()}
        frames.append(Frame(moved, results))
    answers = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            surrogate.fit(frames)
            answers.append(surrogate.predict(frames[0].x).results)
    assert answers[0]["energy"] == answers[1]["energy"]
    assert np.array_equal(answers[0]["forces"], answers[1]["forces"])
