import numpy as np

from ase_proxima.surrogates.selection import energy_covariance, most_informative


def test_near_copies_are_left_out():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(6, 4))
    q = np.vstack([spread, spread + 1e-6])
    kept = most_informative(energy_covariance(q, np.arange(4)[None]), 6, start=[], exclude=[])
    assert sorted(i % 6 for i in kept) == list(range(6))


def test_start_is_kept_and_excluded_rows_are_not():
    q = np.random.default_rng(1).normal(size=(10, 3))
    kept = most_informative(energy_covariance(q, np.arange(3)[None]), 7, start=[8, 9], exclude=[0, 1])
    assert {8, 9} <= set(kept)
    assert not {0, 1} & set(kept)
    assert kept == sorted(kept)


def test_permuted_copies_count_as_copies():
    row = np.array([0.1, 0.9, 0.4])
    images = np.array([[0, 1, 2], [1, 0, 2]])
    covariance = energy_covariance(np.vstack([row, row[images[1]], row + 0.3]), images)
    assert np.isclose(covariance[0, 1], covariance[0, 0])
    assert most_informative(covariance, 2, start=[0], exclude=[]) == [0, 2]


def test_near_copies_do_not_blow_up_rounding_errors():
    points = np.cumsum(np.random.default_rng(0).normal(0, 3e-3, (60, 3)), axis=0)
    squares = ((points[:, None] - points) ** 2).sum(axis=-1)
    chosen = most_informative(np.exp(-0.5 * squares), 45, start=range(45, 60), exclude=range(6))
    assert len(set(chosen)) == 45
    assert min(chosen) >= 6
