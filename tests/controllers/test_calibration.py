"""Error as a function of uncertainty."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import linregress, spearmanr

from ase_proxima.controllers.calibration import PRIOR_WEIGHTS, fit_line, fit_ratio, rank_correlation

values = st.floats(0, 100).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(values, values), min_size=3, max_size=30)


@given(pairs=pairs)
def test_the_line_is_that_of_least_squares(pairs):
    u, e = zip(*pairs, strict=True)
    assume(np.ptp(u) > 1e-2)
    expected = linregress(u, e)
    alpha, beta = fit_line(u, e)
    assert alpha == pytest.approx(expected.slope, rel=1e-6, abs=1e-6)
    assert beta == pytest.approx(expected.intercept, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("u", [[], [1.0], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_no_line_without_variation(u):
    assert all(map(math.isnan, fit_line(u, [0.1] * len(u))))


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="got 2 and 1"):
        fit_line([1.0, 2.0], [1.0])


@given(pairs=pairs)
def test_rank_correlation_is_spearman_s(pairs):
    u, e = zip(*pairs, strict=True)
    if len(set(u)) < 2 or len(set(e)) < 2:
        assert math.isnan(rank_correlation(u, e))
    else:
        assert rank_correlation(u, e) == pytest.approx(spearmanr(u, e).statistic, abs=1e-9)


@given(ratio=st.floats(0.01, 100), u=st.lists(st.floats(0.01, 10), min_size=1, max_size=30))
def test_an_exact_ratio_is_found_without_spread(ratio, u):
    found = fit_ratio([(x, ratio * x) for x in u], reference=math.nan)
    assert found.mean == pytest.approx(ratio)
    assert found.upper == pytest.approx(ratio)


@given(pairs=pairs, scale=st.floats(0.01, 100), z=st.floats(0, 3))
def test_the_ratio_scales_with_the_error(pairs, scale, z):
    assume(sum(u for u, _ in pairs) > 0.1)
    one = fit_ratio(pairs, reference=math.nan, z=z)
    many = fit_ratio([(u, scale * e) for u, e in pairs], reference=math.nan, z=z)
    assert many.mean == pytest.approx(scale * one.mean)
    assert many.upper == pytest.approx(scale * one.upper)
    assert one.upper >= one.mean


def test_pairs_far_above_the_reference_count_less():
    pairs = [(0.1, 0.1)] * 10 + [(100.0, 1000.0)] * 10
    assert fit_ratio(pairs, reference=math.nan).mean == pytest.approx(10.0, rel=0.02)
    assert fit_ratio(pairs, reference=0.1).mean == pytest.approx(1.0, rel=0.02)


def test_a_pair_above_the_reference_counts_by_its_ratio_and_not_by_its_size():
    """The first error of a model that knows one frame is huge, and so is its uncertainty."""
    pairs = [(0.1, 0.2), (10.0, 5.0)]
    assert fit_ratio(pairs, reference=0.1).mean == pytest.approx((2.0 + 0.5) / 2)
    assert fit_ratio(pairs, reference=math.nan).mean == pytest.approx(5.2 / 10.1)


def test_the_prior_yields_to_the_data_and_sooner_to_larger_errors():
    larger = fit_ratio([(1.0, 3.0)], reference=math.nan, prior=1.0)
    smaller = fit_ratio([(1.0, 0.2)], reference=math.nan, prior=1.0)
    many = fit_ratio([(1.0, 3.0)] * 400, reference=math.nan, prior=1.0)
    assert larger.mean == pytest.approx((3.0 + 1.0) / 2.0)
    assert smaller.mean == pytest.approx((0.2 + 4.0) / 5.0)
    assert many.mean == pytest.approx(3.0, rel=0.01)


def test_nothing_is_known_of_nothing():
    assert math.isnan(fit_ratio([], reference=math.nan).mean)
    assert math.isnan(fit_ratio([(0.0, 1.0)], reference=math.nan).upper)


def test_a_prior_counts_as_so_many_observations_at_the_mean_uncertainty():
    pairs = [(0.2, 0.1), (0.4, 0.2)]
    for prior in (1.0, 0.1):
        ratio = fit_ratio(pairs, reference=math.nan, prior=prior)
        means = [(0.3 + prior * weight * 0.3) / (0.6 + weight * 0.3) for weight in PRIOR_WEIGHTS]
        assert ratio.mean == pytest.approx(max(means), rel=1e-12)
        assert ratio.upper > ratio.mean


def test_a_variation_that_rounding_leaves_gives_no_line():
    assert all(map(math.isnan, fit_line([1e6, 1e6 * (1 + 1e-13), 1e6], [0.1, 0.2, 0.3])))
    assert fit_line([1e-6, 2e-6], [0.1, 0.2]) == pytest.approx((1e5, 0.0))
