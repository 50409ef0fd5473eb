import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression

from pr12.rca.model import conformal
from pr12.workflow.errors import UserError

# --- maps ---


@pytest.mark.parametrize("seed", range(4))
def test_the_line_is_that_of_scikit_learn_cut_off_at_0_and_1(seed):
    stream = np.random.default_rng(seed)
    x = stream.random((8, 3)).astype(np.float32)
    y = np.clip(1.4 * x - 0.1 + 0.1 * stream.normal(size=x.shape), 0, 1)
    fitted = LinearRegression().fit(x.reshape(-1, 1), y.ravel())
    new = np.linspace(-1, 2, 40).reshape(4, 10)
    actual = conformal.linear_map(x, y)(new)
    assert actual.shape == new.shape
    expected = fitted.predict(new.reshape(-1, 1)).reshape(new.shape)
    np.testing.assert_allclose(actual, np.clip(expected, 0, 1), atol=1e-6)
    assert (actual.min(), actual.max()) == (0, 1)


def test_equal_scores_predict_the_mean():
    for make in conformal.MAPS.values():
        actual = make(np.full(4, 0.3), np.array([0.1, 0.2, 0.3, 0.4]))
        np.testing.assert_allclose(actual(np.array([0.0, 0.3, 1.0])), 0.25)
        one = make(np.array([0.3]), np.array([0.6]))
        np.testing.assert_allclose(one(np.array([0.0, 0.9])), 0.6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 3))
def test_the_isotonic_map_rises_and_stays_where_scores_end(seed, count, decimals):
    stream = np.random.default_rng(seed)
    x = stream.random(count).round(decimals)
    y = np.clip(x + 0.3 * stream.normal(size=count), 0, 1)
    steps = conformal.isotonic_map(x, y)
    new = np.linspace(-0.5, 1.5, 101)
    actual = steps(new)
    assert (np.diff(actual) >= 0).all()
    assert actual.min() >= 0
    assert actual.max() <= 1
    np.testing.assert_array_equal(actual[new < x.min()], steps(np.array([x.min()]))[0])
    np.testing.assert_array_equal(actual[new > x.max()], steps(np.array([x.max()]))[0])
    # no worse on its own cases than the best line that rises, nor than their mean
    ours = np.square(steps(x) - y).mean()
    assert ours <= np.square(y.mean() - y).mean() + 1e-12
    if np.ptp(x) > 0 and np.cov(x, y)[0, 1] > 0:
        assert ours <= np.square(conformal.linear_map(x, y)(x) - y).mean() + 1e-12


def test_the_isotonic_map_pools_violators_by_hand():
    x, y = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([0.2, 0.6, 0.4, 0.5, 0.9])
    steps = conformal.isotonic_map(x, y)
    np.testing.assert_allclose(steps(x), [0.2, 0.5, 0.5, 0.5, 0.9])
    np.testing.assert_allclose(steps(np.array([[0.15], [0.45]])), [[0.35], [0.7]])
    expected = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict([0.15, 0.45])
    np.testing.assert_allclose(steps(np.array([0.15, 0.45])), expected)


def test_order_and_shape_of_calibration_cases_do_not_count():
    stream = np.random.default_rng(0)
    x, y = stream.random(24), stream.random(24)
    order, new = stream.permutation(24), np.linspace(0, 1, 11)
    for make in conformal.MAPS.values():
        expected = make(x, y)(new)
        np.testing.assert_allclose(make(x[order], y[order])(new), expected)
        np.testing.assert_allclose(make(x.reshape(4, 6), y.reshape(4, 6))(new), expected)


# --- half-widths ---


@pytest.mark.parametrize(
    ("count", "coverage", "rank"),
    [
        (9, 0.9, 9),  # 10 * 0.9
        (10, 0.9, 10),  # 9.9
        (19, 0.9, 18),
        (19, 0.95, 19),
        (20, 0.95, 20),  # 19.95
        (39, 0.95, 38),
        (4, 0.8, 4),
        (99, 0.8, 80),
        (1, 0.5, 1),
        (100, 0.5, 51),
        (99, 0.29, 29),  # 100 * 0.29 is 28.999999999999996
        (99, 0.55, 55),  # and 100 * 0.55 is 55.00000000000001
    ],
)
def test_the_half_width_is_this_one_of_the_sorted_residuals(count, coverage, rank):
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert conformal.half_width(residuals, coverage) == rank
    if count % 3 == 0:
        assert conformal.half_width(residuals.reshape(3, -1), coverage) == rank


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 200), st.sampled_from([0.1, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99]))
def test_too_few_cases_are_refused_with_the_number_that_is_enough(count, coverage):
    residuals = np.arange(float(count))
    needed = next(n for n in range(1, 999) if math.ceil(round((n + 1) * coverage, 9)) <= n)
    if count >= needed:
        assert 0 <= conformal.half_width(residuals, coverage) < count
        return
    with pytest.raises(UserError) as caught:
        conformal.half_width(residuals, coverage)
    assert str(caught.value) == (
        f"{count} calibration cases are too few for intervals of {100 * coverage:g} % coverage; "
        f"give at least {needed} or ask for less"
    )


def test_more_coverage_is_never_narrower():
    residuals = np.random.default_rng(0).random(40)
    widths = [conformal.half_width(residuals, level) for level in np.linspace(0.05, 0.95, 19)]
    assert widths == sorted(widths)


# --- coverage ---


@pytest.mark.parametrize(
    ("count", "coverage"), [(9, 0.9), (19, 0.8), (19, 0.95), (24, 0.9), (49, 0.5)]
)
def test_a_new_case_is_covered_as_often_as_promised(count, coverage):
    """Of n exchangeable residuals and a new one, each is as likely the k-th smallest: k / (n+1)."""
    trials, stream = 6000, np.random.default_rng(count)
    residuals = stream.gamma(0.7, size=(trials, count + 1))  # skewed, as errors are
    inside = [ours[0] <= conformal.half_width(ours[1:], coverage) for ours in residuals]
    true = math.ceil(round((count + 1) * coverage, 9)) / (count + 1)
    assert coverage <= true < coverage + 1 / (count + 1)
    low, high = stats.binom.interval(0.9999, trials, true)
    assert low <= sum(inside) <= high


def test_a_map_fitted_on_other_cases_keeps_the_promise():
    """Split conformal: fit, hold, test; the coverage does not depend on how good the map is."""
    trials, coverage, stream = 800, 0.8, np.random.default_rng(1)
    inside = dict.fromkeys(conformal.MAPS, 0)
    for _ in range(trials):
        x = stream.random(40)
        y = np.clip(x**3 + 0.1 * stream.normal(size=40) * (1.2 - x), 0, 1)
        for name, make in conformal.MAPS.items():
            mapped = make(x[:20], y[:20])
            half = conformal.half_width(np.abs(mapped(x[20:39]) - y[20:39]), coverage)
            inside[name] += abs(mapped(x[39:]) - y[39:])[0] <= half
    low, high = stats.binom.interval(0.9999, trials, coverage)
    for count in inside.values():
        assert low <= count <= high


# --- the band of scores over references ---


def test_percentile_residuals_by_hand():
    scores = np.array([[[0.0, 0.2, 0.4, 0.6, 0.8]], [[0.5, 0.5, 0.5, 0.5, 0.5]]])
    real = np.array([[0.9], [0.4]])
    low, high, residuals = conformal.percentile_residuals(scores, real, (25, 75))
    np.testing.assert_allclose(low, [[0.2], [0.5]])
    np.testing.assert_allclose(high, [[0.6], [0.5]])
    np.testing.assert_allclose(residuals, [[0.3], [0.1]])
    _, _, inside = conformal.percentile_residuals(scores, np.array([[0.5], [0.5]]), (25, 75))
    np.testing.assert_allclose(inside, [[-0.1], [0.0]])  # negative inside
    _, _, below = conformal.percentile_residuals(scores, np.array([[0.0], [0.0]]), (25, 75))
    np.testing.assert_allclose(below, [[0.2], [0.5]])


@pytest.mark.parametrize("band", [(40, 95), (0, 100), (10, 50)])
def test_the_band_is_that_of_numpys_percentiles_between_neighbours(band):
    stream = np.random.default_rng(0)
    scores, real = stream.random((3, 2, 8)), stream.random((3, 2))
    low, high, residuals = conformal.percentile_residuals(scores, real, band)
    for place in np.ndindex(3, 2):
        ours = np.sort(scores[place])
        ends = [np.interp(part / 100 * 7, np.arange(8), ours) for part in band]
        np.testing.assert_allclose([low[place], high[place]], ends)
        inside = ends[0] <= real[place] <= ends[1]
        assert (residuals[place] <= 0) == inside


def test_the_band_widened_by_the_residuals_covers_as_promised():
    trials, count, coverage, stream = 3000, 19, 0.8, np.random.default_rng(2)
    inside = 0
    for _ in range(trials):
        real = stream.random(count + 1)
        scores = np.clip(real[:, None] - 0.1 + 0.1 * stream.normal(size=(count + 1, 8)), 0, 1)
        low, high, residuals = conformal.percentile_residuals(scores, real, (40, 95))
        half = conformal.half_width(residuals[1:], coverage)
        inside += low[0] - half <= real[0] <= high[0] + half
    below, above = stats.binom.interval(0.9999, trials, coverage)
    assert below <= inside <= above
