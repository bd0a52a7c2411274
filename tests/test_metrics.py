"""Distances between what the target and the surrogate give."""

import math

import numpy as np
import pytest

from ase_proxima.errors import InputError
from ase_proxima.metrics import METRIC_PROPERTIES, METRIC_UNITS, find_metric, measure_error

TARGET = {
    "energy": -1.0,
    "forces": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    "stress": np.array([0.1, 0.0, 0.0, 0.0, 0.0, -0.2]),
    "value": [1.0, 2.0],
}
SURROGATE = {
    "energy": 0.5,
    "forces": np.array([[4.0, 4.0, 0.0], [0.0, 0.0, -2.0]]),
    "stress": np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.3]),
    "value": [1.25, 5.0],
}


@pytest.mark.parametrize(
    ("name", "error", "unit", "compares"),
    [
        ("energy", 1.5, "eV", "energy"),
        ("energy_per_atom", 1.5, "eV/atom", "energy"),
        ("force_mae", 9.0 / 6.0, "eV/Å", "forces"),
        ("force_max", 5.0, "eV/Å", "forces"),
        ("stress", 0.5, "eV/Å³", "stress"),
        ("value", 3.0, "", "value"),
    ],
)
def test_each_metric_is_the_distance_that_its_name_says(name, error, unit, compares):
    found, metric = find_metric(name)
    assert found == name
    assert metric(TARGET, SURROGATE) == pytest.approx(error)
    assert metric(SURROGATE, TARGET) == pytest.approx(error)
    assert metric(TARGET, TARGET) == 0.0
    assert METRIC_UNITS[name] == unit
    assert METRIC_PROPERTIES[name] == compares


@pytest.mark.parametrize("name", ["forces", "", 3, None])
def test_an_unknown_metric_is_told_with_the_known_ones(name):
    with pytest.raises(
        InputError, match=r"unknown error metric .*use one of energy, energy_per_atom, force_mae"
    ):
        find_metric(name)


def test_a_callable_keeps_its_name_where_that_is_one():
    def rms(target, surrogate):
        return 0.5

    assert find_metric(rms) == ("rms", rms)
    anonymous = lambda target, surrogate: 0.0  # noqa: E731
    assert find_metric(anonymous) == ("error", anonymous)

    class Nameless:
        def __call__(self, target, surrogate):
            return 0.0

    assert find_metric(Nameless())[0] == "error"


@pytest.mark.parametrize("value", [0, 0.0, 2.5, np.float32(2.5), np.array(2.5), math.inf, True])
def test_any_number_that_is_not_negative_is_an_error(value):
    assert measure_error("mine", lambda target, surrogate: value, {}, {}) == float(value)


def test_nan_is_passed_on():
    assert math.isnan(measure_error("mine", lambda target, surrogate: math.nan, {}, {}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("value", [-1e-9, -math.inf, "1.0", b"1.0", None, [1.0, 2.0], [2.5], {}, 1j])
def test_anything_else_is_refused_by_name_and_value(value):
    with pytest.raises(InputError, match="the error metric 'mine' must return a number that is not negative"):
        measure_error("mine", lambda target, surrogate: value, {}, {})


def test_a_metric_is_given_the_target_first():
    def signed(target, surrogate):
        return target["energy"] - surrogate["energy"]

    assert measure_error("signed", signed, {"energy": 3.0}, {"energy": 1.0}) == 2.0
