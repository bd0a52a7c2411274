"""Distances from what the target has answered, and the audits that they bring."""

import math

import numpy as np
import pytest
from ase.build import bulk, molecule
from hypothesis import example, given
from hypothesis import strategies as st

from ase_proxima import Decision, ProximaCalculator
from ase_proxima.executor.reach import Nearest
from ase_proxima.testing import HarmonicWells

CRYSTAL = bulk("Al", cubic=True) * 2


@example([0.0, 0.0, 4.0], 0, 0)  # half of the cell
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3), st.integers(0, 31), st.integers(0, 2))
def test_neither_a_translation_nor_another_image_of_an_atom_counts(shift, index, axis):
    moved = CRYSTAL.copy()
    moved.rattle(0.05, seed=3)
    same = moved.copy()
    same.positions += shift
    same.positions[index] += same.cell[axis]
    assert Nearest()(same, [CRYSTAL]) == pytest.approx(Nearest()(moved, [CRYSTAL]), rel=1e-6)


def test_the_nearest_of_several_counts_and_other_kinds_do_not():
    near, far = CRYSTAL.copy(), CRYSTAL.copy()
    near.positions[0, 0] += 0.1
    far.positions[0, 0] += 0.9
    nearest, distance = Nearest(), 0.1 * math.sqrt((1 - 1 / 32) / 96)
    assert nearest(CRYSTAL, [far, near]) == pytest.approx(distance)
    assert nearest(CRYSTAL, [molecule("H2O"), near]) == pytest.approx(distance)
    assert nearest(CRYSTAL, [molecule("H2O")]) == math.inf
    strained = CRYSTAL.copy()
    strained.set_cell(CRYSTAL.cell * 1.02, scale_atoms=True)
    assert nearest(strained, [CRYSTAL]) == pytest.approx(0.02 * (4.05**3 / 4) ** (1 / 3), rel=0.03)


@pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")
@pytest.mark.parametrize(("bound", "longest", "audits"), [(0.5, 10.0, 2), (1e-3, 1.5, 3)])
def test_calls_much_farther_than_what_was_seen_are_audited(bound, longest, audits):
    """Steps grow by a tenth: no answer of the surrogate lies farther than the longest step beyond what was seen."""
    water = molecule("H2O")
    calc = ProximaCalculator(HarmonicWells(water.positions), error_bound=bound, audit_rate=1e-9)
    direction = np.random.default_rng(0).normal(size=(3, 3))
    nearest, seen, reach, decisions = Nearest(), [], 0.0, []
    for k in range(40):
        atoms = water.copy()
        atoms.positions += 1e-4 * 1.1**k * direction
        distance = nearest(atoms, seen)
        calc.get_property("forces", atoms)
        decisions.append(calc.last_decision)
        if calc.last_decision is Decision.SURROGATE:
            assert distance <= longest * reach
        else:
            if math.isfinite(distance):
                reach = max(reach, distance)
            seen = [frame.x for frame in calc.frames][-20:]
    assert decisions.count(Decision.AUDIT) >= audits
    assert decisions.count(Decision.SURROGATE) >= 10
