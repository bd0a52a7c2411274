"""Behaviour of the Coulomb-matrix distance."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from ase_proxima.errors import InputError
from ase_proxima.protocols import Uncertainty
from ase_proxima.types import Frame, Prediction
from ase_proxima.uncertainty.coulomb import CoulombDistance

NOTHING = Prediction({})


def walk(n, seed=0, step=0.01):
    rng = np.random.default_rng(seed)
    atoms = molecule("CH4")
    frames = []
    for k in range(n):
        atoms = atoms.copy()
        atoms.positions += rng.normal(0.0, step, (5, 3))
        frames.append(Frame(atoms, {}, k))
    return frames


def reference(frames, fitted, x, floor=0.01):
    """Brute force from the definition."""

    def features(atoms):
        z, r = atoms.numbers, atoms.get_all_distances()
        with np.errstate(divide="ignore"):
            matrix = np.outer(z, z) / r
        np.fill_diagonal(matrix, 0.5 * z**2.4)
        order = np.argsort(-np.linalg.norm(matrix, axis=1))
        return matrix[np.ix_(order, order)][np.triu_indices(len(z), 1)]

    train = np.array([features(f.x) for f in fitted])
    scale = np.maximum(train.std(axis=0), floor * np.sqrt(np.mean(train**2)))
    gaps = (np.array([features(f.x) for f in frames]) - features(x)) / scale
    return float(np.sqrt(np.mean(gaps**2, axis=1)).min())


def test_it_offers_the_uncertainty_protocol():
    assert isinstance(CoulombDistance(), Uncertainty)


def test_distance_equals_its_definition():
    frames = walk(40)
    distance = CoulombDistance()
    distance.fit(frames[:30])
    for frame in frames[30:]:
        assert distance.measure(frame.x, NOTHING) == pytest.approx(
            reference(frames[:30], frames[:30], frame.x)
        )


def test_added_frames_count_at_the_scale_of_the_last_fit():
    frames = walk(60)
    distance = CoulombDistance()
    distance.fit(frames[:20])
    distance.extend(frames[20:21])
    distance.extend(frames[21:50])
    expected = reference(frames[:50], frames[:20], frames[55].x)
    assert distance.measure(frames[55].x, NOTHING) == pytest.approx(expected)
    distance.fit(frames[:50])
    expected = reference(frames[:50], frames[:50], frames[55].x)
    assert distance.measure(frames[55].x, NOTHING) == pytest.approx(expected)


def test_only_the_window_counts():
    frames = walk(40)
    distance = CoulombDistance(window=10)
    distance.fit(frames[:30])
    assert distance.measure(frames[0].x, NOTHING) > 0.1
    assert distance.measure(frames[29].x, NOTHING) == pytest.approx(0.0, abs=1e-9)
    distance.extend(frames[30:])
    expected = reference(frames[30:], frames[20:30], frames[25].x)
    assert distance.measure(frames[25].x, NOTHING) == pytest.approx(expected)


def test_numbering_and_rotation_do_not_matter():
    frames = walk(20)
    distance = CoulombDistance()
    distance.fit(frames)
    turned = frames[7].x[[2, 4, 1, 0, 3]]
    turned.rotate(70, (3, 1, 2))
    assert distance.measure(turned, NOTHING) == pytest.approx(0.0, abs=1e-9)


def test_one_frame_gives_zero_at_itself_and_grows_with_the_displacement():
    distance = CoulombDistance()
    assert np.isnan(distance.measure(molecule("CH4"), NOTHING))
    distance.extend([Frame(molecule("CH4"), {})])
    measured = []
    for shift in (0.0, 0.003, 0.03):
        atoms = molecule("CH4")
        atoms.set_distance(0, 1, atoms.get_distance(0, 1) + shift, fix=0)
        measured.append(distance.measure(atoms, NOTHING))
    assert measured[0] == 0.0
    assert 0.05 < measured[1] < 0.3
    assert 0.5 < measured[2] < 3.0


def test_a_single_atom_has_no_distance():
    distance = CoulombDistance()
    distance.fit([Frame(Atoms("Ar"), {})])
    assert distance.measure(Atoms("Ar", positions=[[1.0, 2.0, 3.0]]), NOTHING) == 0.0


def test_ten_thousand_frames_are_searched_within_a_millisecond():
    frames = walk(500)
    distance = CoulombDistance()
    distance.fit(frames)
    for _ in range(19):
        distance.extend(frames)
    x = walk(1, seed=9)[0].x
    times = []
    for _ in range(30):
        start = time.perf_counter()
        distance.measure(x, NOTHING)
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3


def test_bad_input_is_named():
    with pytest.raises(InputError, match="window"):
        CoulombDistance(window=0)
    with pytest.raises(InputError, match="floor"):
        CoulombDistance(floor=float("nan"))
    distance = CoulombDistance()
    with pytest.raises(InputError, match="at least one frame"):
        distance.fit([])
    with pytest.raises(InputError, match="periodic"):
        distance.fit([Frame(bulk("Al"), {})])
    distance.fit(walk(3))
    with pytest.raises(InputError, match="trained on CH4, got H2O"):
        distance.measure(molecule("H2O"), NOTHING)
