"""What is left out together, on tables of a few rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from gpu_xarch.errors import InputError
from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.learning.splits import application_names, groups_of, held_out_split, split
from gpu_xarch.models import make_problem


def table(
    applications: list[str], kernels: list[str] | None = None, suites: list[str] | None = None
) -> TrainingData:
    n = len(applications)
    keys = pd.DataFrame(
        {"application": applications, "kernel": kernels or applications, "suite": suites or n * ["SDK"]}
    )
    return TrainingData(
        make_problem("ipc", "P100", "V100"), pd.DataFrame({"ipc": np.ones(n)}), np.ones(n), keys
    )


def test_rows_at_random_are_all_tested_once() -> None:
    data = table(["a"] * 10)
    parts = list(split(data, "random", 3, seed=0))
    assert sorted(len(test) for _, test in parts) == [3, 3, 4]
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(10))
    for train, test in parts:
        assert set(train) == set(range(10)) - set(test)
    assert [t.tolist() for _, t in split(data, "random", 3, 1)] != [t.tolist() for _, t in parts]
    assert [t.tolist() for _, t in split(data, "random", 3, 0)] == [t.tolist() for _, t in parts]
    assert len(list(split(table(["a"] * 4), "random", 9, 0))) == 4
    assert any(np.any(np.diff(test) > 1) for _, test in parts)  # shuffled


@pytest.mark.parametrize("how", ["application", "kernel"])
def test_a_group_is_never_on_both_sides_and_folds_are_level(how: str) -> None:
    names = [f"p{k}" for k in range(12) for _ in range(1 + k % 3)]
    data = table(names)
    parts = list(split(data, how, 4, seed=0))
    assert len(parts) == 4
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(24))
    for train, test in parts:
        assert not {names[i] for i in train} & {names[i] for i in test}
        assert 4 <= len(test) <= 8
    other = [test.tolist() for _, test in split(data, how, 4, seed=1)]
    assert sorted(other) != sorted(test.tolist() for _, test in parts)


def test_there_are_no_more_folds_than_groups() -> None:
    assert len(list(split(table(["a", "b", "c"]), "application", 5, 0))) == 3


def test_suites_are_left_out_one_by_one_whatever_the_folds() -> None:
    suites = ["SDK", "SDK", "Rodinia", "PolyBench", "PolyBench", "PolyBench"]
    parts = list(split(table(list("abcdef"), suites=suites), "suite", 2, 0))
    assert sorted(test.tolist() for _, test in parts) == [[0, 1], [2], [3, 4, 5]]


def test_two_groups_are_enough_and_one_is_refused_by_name() -> None:
    assert len(list(split(table(["a", "b"]), "application", 5, 0))) == 2
    with pytest.raises(
        InputError, match="one application alone, a: nothing can be left out, use --split random"
    ):
        list(split(table(["a", "a"]), "application", 5, 0))
    with pytest.raises(InputError, match="one suite alone, of unknown name: "):
        list(split(table(["a", "b"], suites=["", ""]), "suite", 5, 0))


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="one of random, kernel, application, suite, got 'program'"):
        list(split(table(["a", "b"]), "program", 5, 0))


def test_applications_are_spelt_alike_wherever_they_come_from() -> None:
    names = application_names(table(["bfs", "BFS", "bfs.out"]))
    assert len(set(names)) == 1


def test_groups_by_each_way() -> None:
    data = table(
        ["a", "b", "b"], kernels=["f<int>(int*)", "f<float>(float*)", "g(int)"], suites=["x", "y", "y"]
    )
    assert groups_of(data, "random") == ["0", "1", "2"]
    assert groups_of(data, "suite") == ["x", "y", "y"]
    assert groups_of(data, "kernel")[0] == groups_of(data, "kernel")[1] != groups_of(data, "kernel")[2]


def test_applications_that_share_a_kernel_are_one_group_named_after_the_first() -> None:
    """a and b share f, b and d share g, so a, b and d are one; c shares nothing."""
    data = table(["d", "b", "b", "a", "c"], kernels=["g", "g", "f", "f", "h"])
    assert groups_of(data, "application") == ["a", "a", "a", "a", "c"]


def test_chains_of_shared_kernels_are_followed_to_the_end() -> None:
    names = ["e", "d", "d", "c", "c", "b", "b", "a"]
    kernels = ["1", "1", "2", "2", "3", "3", "4", "4"]
    assert set(groups_of(table(names, kernels), "application")) == {"a"}
    assert Counter(groups_of(table([*names, "z"], [*kernels, "9"]), "application")) == {"a": 8, "z": 1}


@pytest.mark.parametrize(
    ("applications", "kernels", "strictest"),
    [
        (["a", "b"], ["f", "g"], "application"),
        (["a", "a"], ["f", "g"], "kernel"),
        (["a", "b"], ["f", "f"], "random"),
        (["a", "a"], ["f", "f"], "random"),
    ],
)
def test_the_strictest_split_that_the_rows_allow(
    applications: list[str], kernels: list[str], strictest: str
) -> None:
    assert held_out_split(table(applications, kernels)) == strictest
