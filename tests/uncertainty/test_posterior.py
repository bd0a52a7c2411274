import math

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima.errors import InputError
from ase_proxima.protocols import Uncertainty
from ase_proxima.types import Prediction
from ase_proxima.uncertainty.posterior import PosteriorUncertainty

WATER = molecule("H2O")
FORCES = np.array([[0.0, 0.3, 0.4], [0.1, 0.1, 0.1], [0.0, 0.0, 0.2]])
PREDICTION = Prediction({"energy": -1.0}, {"energy": 0.06, "forces": FORCES, "stress": np.full(6, 0.001)})


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("energy", 0.06),
        ("energy_per_atom", 0.02),
        ("force_mae", 1.2 / 9),
        ("force_max", 0.5),
        ("stress", 0.001),
    ],
)
def test_each_metric_has_its_scalar(metric, expected):
    assert PosteriorUncertainty(metric).measure(WATER, PREDICTION) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", ["energy", "energy_per_atom", "force_mae", "force_max", "stress"])
def test_it_is_nan_where_the_surrogate_does_not_know(metric):
    assert math.isnan(PosteriorUncertainty(metric).measure(WATER, Prediction({"energy": -1.0})))


def test_nan_standard_deviations_stay_nan():
    prediction = Prediction({}, {"energy": np.nan, "forces": np.array([[np.nan, 0, 0], [0, 0, 0]])})
    for metric in ("energy", "force_mae", "force_max"):
        assert math.isnan(PosteriorUncertainty(metric).measure(WATER, prediction))


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match=r"energy_per_atom.*got 'forces'"):
        PosteriorUncertainty("forces")


def test_fitting_changes_nothing():
    uncertainty = PosteriorUncertainty("energy")
    uncertainty.fit([])
    uncertainty.extend([])
    assert uncertainty.measure(WATER, PREDICTION) == 0.06
    assert isinstance(uncertainty, Uncertainty)
