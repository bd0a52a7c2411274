"""Scores by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpu_xarch.learning.scores import bootstrap, confusion, harmonic_mean, score


def test_scores_of_numbers_by_hand() -> None:
    found = score(np.array([1.0, 2.0, 4.0, 0.0]), np.array([1.5, 2.0, 3.0, 2.0]))
    assert found == {
        "n": 4.0,
        "n_zero": 1.0,
        "mape": pytest.approx((0.5 + 0.0 + 0.25) / 3),
        "median_ape": 0.25,
        "mae": pytest.approx(3.5 / 4),
        "mse": pytest.approx((0.25 + 1.0 + 4.0) / 4),
        "r2": pytest.approx(1.0 - 5.25 / 8.75),
    }


def test_relative_errors_need_a_true_value_above_zero() -> None:
    found = score(np.array([0.0, 0.0]), np.array([1.0, 3.0]))
    assert (found["n"], found["n_zero"], found["mae"], found["mse"]) == (2.0, 2.0, 2.0, 5.0)
    assert all(math.isnan(found[name]) for name in ("mape", "median_ape", "r2"))


def test_a_small_spread_is_a_spread_and_a_negative_value_has_no_relative_error() -> None:
    found = score(np.array([-0.1, 0.1]), np.array([-0.1, 0.2]))
    assert (found["n_zero"], found["mape"]) == (1.0, pytest.approx(1.0))
    assert found["r2"] == pytest.approx(1.0 - 0.01 / 0.02)


def test_settings_are_named() -> None:
    with pytest.raises(TypeError):
        score(np.ones(1), np.ones(1), True)  # type: ignore[misc]
    with pytest.raises(TypeError):
        bootstrap(lambda rows: 0.0, ["a"], 5)  # type: ignore[misc]


def test_of_nothing_nothing_is_known() -> None:
    found = score(np.array([]), np.array([]))
    assert (found["n"], found["n_zero"]) == (0.0, 0.0)
    assert all(math.isnan(found[name]) for name in ("mape", "median_ape", "mae", "mse", "r2"))


def test_scores_of_labels_by_hand() -> None:
    y = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    said = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert confusion(y, said) == {"tp": 3, "fn": 1, "fp": 1, "tn": 3}
    assert score(y, said, classifies=True) == {
        "n": 8.0,
        "accuracy": pytest.approx(6 / 8),
        "false_positive_rate": pytest.approx(1 / 4),
        "false_negative_rate": pytest.approx(1 / 4),
    }
    assert score(y[:1], said[:1], classifies=True)["accuracy"] == 1.0


def test_a_label_is_what_lies_above_one_half() -> None:
    assert confusion(np.array([0.5, 0.51]), np.array([0.51, 0.5])) == {"tp": 0, "fn": 1, "fp": 1, "tn": 0}


def test_rates_of_a_class_that_is_absent_are_unknown() -> None:
    ones, zeros = np.ones(2), np.zeros(2)
    assert math.isnan(score(ones, ones, classifies=True)["false_positive_rate"])
    assert math.isnan(score(zeros, zeros, classifies=True)["false_negative_rate"])
    none = score(np.array([]), np.array([]), classifies=True)
    assert (none["n"], none["accuracy"]) == (0.0, 0.0)


def test_the_harmonic_mean_leaves_gaps_out_and_ends_at_zero() -> None:
    assert harmonic_mean([0.1, math.nan, 0.4]) == pytest.approx(0.16)
    assert harmonic_mean([1.0, 1.0, 4.0]) == pytest.approx(3 / 2.25)
    assert harmonic_mean([0.5, 0.0]) == 0.0
    assert harmonic_mean([0.5, -1.0]) == 0.0
    assert math.isnan(harmonic_mean([math.nan]))
    assert math.isnan(harmonic_mean([]))


def test_whole_groups_are_drawn() -> None:
    """Rows of one group always come together, as many groups as there are, every group as likely as another."""
    groups = ["a", "a", "b", "b", "b"]
    seen: list[tuple[int, ...]] = []

    def statistic(rows: np.ndarray) -> float:
        seen.append(tuple(rows.tolist()))
        return float(len(rows))

    bootstrap(statistic, groups, n=400, seed=3)
    assert len(seen) == 400
    a, b = (0, 1), (2, 3, 4)
    assert set(seen) == {a + a, a + b, b + a, b + b}
    for drawn in set(seen):
        assert 60 < seen.count(drawn) < 140


def test_each_of_three_groups_comes_with_its_own_rows() -> None:
    groups = ["b", "a", "c", "a", "c", "c"]
    own = {"a": (1, 3), "b": (0,), "c": (2, 4, 5)}
    seen: list[tuple[int, ...]] = []
    bootstrap(lambda rows: float(len(seen.append(tuple(rows.tolist())) or rows)), groups)
    assert len(seen) == 1000
    assert set(seen) == {own[x] + own[y] + own[z] for x in own for y in own for z in own}


def test_the_interval_leaves_half_of_the_rest_on_either_side() -> None:
    draws = iter(range(101))
    low, high = bootstrap(lambda rows: float(next(draws)), ["a"], n=101, level=0.8)
    assert (low, high) == (pytest.approx(10.0), pytest.approx(90.0))
    draws = iter(range(1001))
    assert bootstrap(lambda rows: float(next(draws)), ["a"], n=1000) == (
        pytest.approx(49.95),
        pytest.approx(949.05),
    )


def test_draws_without_a_value_do_not_count() -> None:
    values = iter([math.nan, 1.0, 3.0])
    assert bootstrap(lambda rows: next(values), ["a"], n=3, level=1.0) == (1.0, 3.0)


def test_the_seed_fixes_the_draws() -> None:
    data = np.arange(10.0)
    names = [str(k) for k in range(10)]

    def mean(rows: np.ndarray) -> float:
        return float(data[rows].mean())

    assert bootstrap(mean, names, n=50) == bootstrap(mean, names, n=50, seed=0)
    assert bootstrap(mean, names, n=50, seed=1) != bootstrap(mean, names, n=50, seed=0)
