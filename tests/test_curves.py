"""Curves between numbers and normal scores: rising, invertible, with densities that integrate to one, within bounds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.curves import Curves, fit_curve, log_bend, natural_bounds, straight, towards

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.normal(size=300),
    "exponential": RNG.exponential(size=300),
    "uniform": RNG.random(200) * 100,
    "log-normal": np.exp(2 * RNG.normal(size=1000)),
    "shares": RNG.beta(0.7, 0.5, size=400),
    "two humps": np.append(RNG.normal(-5, 1, 150), RNG.normal(5, 1, 150)),
    "negative": -RNG.exponential(size=80),
    "repeated": RNG.integers(0, 12, 100).astype(float),
    "few": RNG.normal(size=5),
}


@pytest.fixture(params=COLUMNS)
def case(request):
    values = COLUMNS[request.param]
    return values, fit_curve(values, np.ones(len(values)), natural_bounds(values))


def test_to_values_is_the_inverse_and_rises(case):
    values, curve = case
    z = np.linspace(-6, 6, 5001)
    assert (np.diff(curve.to_values(z)) >= 0).all()
    some = np.sort(values)[len(values) // 10 : -len(values) // 10 or None]
    assert_allclose(curve.to_values(curve.to_scores(some)), some, rtol=1e-9, atol=1e-9)


def test_log_slope_is_that_of_the_curve(case):
    _, curve = case
    z, step = np.linspace(-3, 3, 401) + 1e-3, 1e-5
    slope = (curve.to_values(z + step) - curve.to_values(z - step)) / (2 * step)
    assert_allclose(curve.log_slope(z), np.log(slope), atol=1e-3)


def test_the_density_integrates_to_one(case):
    _, curve = case
    x = np.unique(curve.to_values(np.linspace(-9, 9, 200_001)))
    assert np.trapezoid(np.exp(curve.log_density(x)), x) == pytest.approx(1, abs=2e-3)


def test_scores_of_the_data_are_about_normal(case):
    values, curve = case
    scores = curve.to_scores(values)
    assert scores.mean() == pytest.approx(0, abs=0.3)
    assert scores.std() == pytest.approx(1, abs=0.35)


def test_draws_keep_the_natural_bounds_and_go_beyond_the_data(case):
    values, curve = case
    lower, upper = natural_bounds(values)
    drawn = curve.to_values(np.random.default_rng(1).normal(size=100 * len(values)))
    assert lower < values.min() or drawn.min() < 0.5  # a bound that the data reach is the column's to keep
    if lower < values.min():
        assert drawn.min() >= lower
    if values.max() < upper:
        assert drawn.max() <= upper
    beyond = (drawn > values.max()).mean() * len(values)
    assert 0.02 < beyond < 6  # of n rows and one more, the last is beyond with probability 1 / (n + 1)


def test_natural_bounds():
    assert natural_bounds(np.array([0.5, 3.0])) == (0, np.inf)
    assert natural_bounds(np.array([-0.5, 3.0])) == (-np.inf, np.inf)
    assert natural_bounds(np.array([-0.5, 0.0])) == (-np.inf, 0)
    assert natural_bounds(np.array([0.0, 1.0])) == (0, 1)
    assert natural_bounds(np.array([])) == (0, 1)


@pytest.mark.parametrize("room", [0.5, 3.0, np.inf])
def test_towards_a_bound_and_back(room):
    distance = np.linspace(0, 5, 101)
    bent = towards(distance, room)
    assert (bent < room).all()
    assert_allclose(straight(bent, room), distance, rtol=1e-6, atol=1e-9)
    inner = slice(1, -1)
    assert_allclose(np.log(np.gradient(bent, distance))[inner], -log_bend(distance, room)[inner], atol=0.01)
    assert np.isfinite(straight(np.array([2 * min(room, 1e9)]), room)).all()  # beyond the bound, too


def test_many_curves_at_once_are_each_by_itself_to_the_bit():
    curves = [fit_curve(values, np.ones(len(values)), natural_bounds(values)) for values in COLUMNS.values()]
    x = np.random.default_rng(1).normal(size=(40, len(curves))) * 3
    x[3, 2] = np.nan
    alone = np.column_stack([curve.to_scores(cells) for curve, cells in zip(curves, x.T, strict=True)])
    assert_array_equal(Curves(curves).to_scores(x), alone)


def test_a_normal_column_gets_a_straight_line_and_weights_count():
    values = np.random.default_rng(3).normal(10, 3, 500)
    curve = fit_curve(values, np.ones(500), natural_bounds(values))
    assert len(curve.values) <= 4
    weight = np.where(values > 10, 3.0, 1.0)
    heavier = fit_curve(values, weight, natural_bounds(values)).to_values(np.zeros(1))[0]
    order = np.argsort(values)
    median = values[order][np.searchsorted(weight[order].cumsum(), weight.sum() / 2)]
    assert heavier == pytest.approx(median, abs=0.8)
