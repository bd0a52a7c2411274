"""Committees of calculators, and the uncertainty that comes from their disagreement."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ase_proxima import InputError, ProximaCalculator
from ase_proxima.surrogates.committee import Committee
from ase_proxima.testing import HarmonicWells, check_trained_surrogate, check_uncertainty
from ase_proxima.types import Frame, Prediction
from ase_proxima.uncertainty.ensemble import EnsembleUncertainty

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")
STIFFNESSES = (1.7, 2.0, 2.6)


def wells(*stiffnesses):
    return [HarmonicWells(WATER.positions, stiffness) for stiffness in stiffnesses]


def shaken(n, seed=0, size=0.05):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0, size, (3, 3))
        yield atoms


def test_contract():
    x = list(shaken(4))
    expected = {name: wells(2.0)[0].get_property(name, x[0]) for name in ("energy", "forces")}
    check_trained_surrogate(lambda: Committee(wells(*STIFFNESSES)), x, expected)


def test_the_check_finds_a_committee_that_forgets_who_it_was():
    class Redrawn(Committee):
        def predict(self, x):
            prediction = super().predict(x)
            return Prediction({**prediction.results, "energy": np.random.default_rng().random()})

    with pytest.raises(AssertionError, match="asking again"):
        check_trained_surrogate(lambda: Redrawn(wells(1.0, 2.0)), list(shaken(2)), {"energy": 0.0})


@pytest.mark.parametrize("metric", ["energy", "energy_per_atom", "force_mae", "force_max", "stress"])
def test_uncertainty_contract(metric):
    committee = Committee(wells(*STIFFNESSES))
    frames = [Frame(atoms, {"energy": 0.0}, i) for i, atoms in enumerate(shaken(6))]
    check_uncertainty(lambda: EnsembleUncertainty(metric), frames, list(shaken(3, seed=1)), committee.predict)


def test_mean_and_standard_deviation_are_those_of_the_members():
    committee = Committee(wells(*STIFFNESSES))
    (atoms,) = shaken(1)
    prediction = committee.predict(atoms)
    forces = np.array([member.get_property("forces", atoms) for member in wells(*STIFFNESSES)])
    assert prediction.results["forces"] == pytest.approx(forces.mean(axis=0), abs=1e-15)
    deviation = max(
        np.sqrt(np.mean(np.sum((forces[:, i] - forces[:, i].mean(axis=0)) ** 2, axis=1))) for i in range(3)
    )
    assert EnsembleUncertainty("force_mae").measure(atoms, prediction) == pytest.approx(deviation, rel=1e-12)
    assert [results["energy"] for results in committee.member_results] == pytest.approx(
        [member.get_property("energy", atoms) for member in wells(*STIFFNESSES)], rel=1e-15
    )


@given(arrays(float, (4, 3), elements=st.floats(0, 1e3)), st.floats(0.1, 10.0))
def test_the_force_uncertainty_is_the_largest_atom_s_and_scales(std, factor):
    measure = EnsembleUncertainty("force_max").measure
    u = measure(None, Prediction({}, {"forces": std}))
    assert np.linalg.norm(std, axis=1) == pytest.approx(np.minimum(np.linalg.norm(std, axis=1), u))
    assert measure(None, Prediction({}, {"forces": factor * std})) == pytest.approx(factor * u)


def test_without_the_deviation_that_is_asked_for_the_uncertainty_is_unknown():
    assert np.isnan(EnsembleUncertainty("stress").measure(None, Prediction({}, {"energy": 0.1})))
    with pytest.raises(InputError, match=r"metric must be one of .*, got 'forces'"):
        EnsembleUncertainty("forces")


@pytest.mark.parametrize("uncertainty", ["auto", "ensemble"])
def test_a_committee_answers_from_the_first_call_and_holds_its_bound(uncertainty):
    target = HarmonicWells(WATER.positions, 2.0)
    calc = ProximaCalculator(
        target,
        error_bound=0.05,
        surrogate=Committee(wells(1.8, 2.0, 2.25)),
        uncertainty=uncertainty,
        training="never",
        seed=1,
    )
    errors = []
    for atoms in shaken(600, size=0.03):
        forces = calc.get_property("forces", atoms)
        errors.append(np.linalg.norm(forces + 2.0 * (atoms.positions - WATER.positions), axis=1).max())
    stats = calc.stats
    assert stats.share_trusted > 0.8
    assert stats.n_surrogate > 300
    assert sum(errors) / (stats.n_surrogate + stats.n_audit) < 0.05
    assert stats.model_version == 0


def test_a_run_with_a_committee_resumes_where_it_stopped(tmp_path):
    def members():
        return Committee(wells(1.8, 2.0, 2.25))

    structures = list(shaken(60, size=0.03))
    settings = {"error_bound": 0.05, "training": "never"}
    target = wells(2.0)[0]
    whole = ProximaCalculator(target, **settings, surrogate=members())
    expected = [whole.get_property("energy", atoms) for atoms in structures]
    first = ProximaCalculator(target, **settings, surrogate=members(), run_dir=tmp_path / "run")
    given = [first.get_property("energy", atoms) for atoms in structures[:35]]
    first.close()
    second = ProximaCalculator.resume(tmp_path / "run", target, surrogate=members())
    given += [second.get_property("energy", atoms) for atoms in structures[35:]]
    assert given == expected
    assert second.stats.n_audit == whole.stats.n_audit
    second.close()


def test_members_that_are_the_same_model_are_refused():
    member = wells(1.0)[0]
    with pytest.raises(InputError, match="members 0 and 2 of the committee are one object"):
        Committee([member, *wells(2.0), member])
    committee = Committee(wells(1.0, 2.0, 1.0))
    assert committee.predict(WATER).results["energy"] == 0.0  # zero for every stiffness: no evidence
    (atoms,) = shaken(1)
    with pytest.raises(InputError, match=r"members 0 and 2 .* same answer to the last bit: train them with"):
        committee.predict(atoms)


def test_members_that_were_told_apart_once_may_agree_later():
    argon = bulk("Ar", cubic=True)
    committee = Committee([LennardJones(sigma=3.4, epsilon=0.01, rc=rc) for rc in (7.0, 8.0)])
    committee.predict(argon)
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 12.0]], cell=[40, 40, 40], pbc=True)
    assert committee.predict(pair).std["energy"] == 0.0


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "at least 2 members, got 0"),
        (wells(1.0), "at least 2 members, got 1"),
        ([*wells(1.0), "emt"], "member 1 of a committee must be an ASE calculator, got str"),
        ([*wells(1.0), LennardJones], "member 1 of a committee must be an ASE calculator, got the class"),
    ],
)
def test_what_makes_no_committee_is_told_in_one_line(members, message):
    with pytest.raises(InputError, match=message):
        Committee(members)


def test_a_committee_offers_what_all_members_offer():
    class EnergyOnly(HarmonicWells):
        implemented_properties = ("energy",)

    class MagmomOnly(HarmonicWells):
        implemented_properties = ("magmom",)

    assert Committee([*wells(1.0), EnergyOnly(WATER.positions)]).properties == ("energy",)
    with pytest.raises(InputError, match="must offer one of energy, forces, stress in common"):
        Committee([*wells(1.0), MagmomOnly(WATER.positions)])


def test_a_committee_is_not_trained_and_its_uncertainty_needs_one():
    with pytest.raises(InputError, match='use training="never"'):
        Committee(wells(1.0, 2.0)).fit([Frame(WATER, {"energy": 0.0})])
    with pytest.raises(InputError, match=r"pass surrogate=Committee\(\[...\]\)"):
        ProximaCalculator(wells(1.0)[0], error_bound=0.1, uncertainty="ensemble")


def test_a_committee_of_other_members_is_not_the_one_that_was_saved(tmp_path):
    Committee(wells(1.0, 2.0)).save(tmp_path)
    with pytest.raises(InputError, match="was saved with the members"):
        Committee(wells(1.0, 2.0, 3.0)).load(tmp_path, [])
