import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from pr12.report import stats

VALUES = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
SAMPLES = st.lists(VALUES, min_size=2, max_size=6)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=6)


def close(a, b):
    return np.allclose(a, b, rtol=1e-7, atol=1e-7)


@given(SAMPLES.filter(lambda v: len(set(v)) > 1))
def test_mean_is_the_one_sample_t_interval(values):
    interval = stats.mean(values)
    oracle = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert close([interval.low, interval.high], [oracle.low, oracle.high])
    assert close(interval.mean, np.mean(values))
    assert interval.n == len(values)


@given(PAIRS.filter(lambda pairs: len({a - b for a, b in pairs}) > 1))
def test_difference_of_equal_sizes_is_paired(pairs):
    first, second = zip(*pairs, strict=True)
    interval = stats.difference(first, second)
    oracle = scipy_stats.ttest_rel(first, second).confidence_interval(0.95)
    assert close([interval.low, interval.high], [oracle.low, oracle.high])


@given(SAMPLES, SAMPLES)
def test_difference_of_unequal_sizes_is_welchs(first, second):
    if len(first) == len(second) or len(set(first)) == 1 or len(set(second)) == 1:
        return
    interval = stats.difference(first, second)
    test = scipy_stats.ttest_ind(first, second, equal_var=False)
    oracle = test.confidence_interval(0.95)
    assert close([interval.low, interval.high], [oracle.low, oracle.high])
    assert interval.n == min(len(first), len(second))


@given(SAMPLES, VALUES)
def test_a_single_value_is_a_constant(values, constant):
    alone, beside = stats.mean(values), stats.difference(values, [constant])
    assert close(beside.mean, alone.mean - constant)
    assert close([beside.low, beside.high], [alone.low - constant, alone.high - constant])
    assert beside.n == len(values)


def test_one_value_is_a_fixed_number():
    assert stats.mean([67]) == stats.Interval(67.0, 67.0, 67.0, 1)
    assert stats.difference([146], [74]) == stats.Interval(72.0, 72.0, 72.0, 1)


def test_equal_values_have_no_spread():
    assert stats.mean([0.1] * 3) == stats.Interval(0.1, 0.1, 0.1, 3)
    assert stats.difference([0.1] * 3, [0.3] * 4).high == pytest.approx(-0.2)


def test_hand_worked_interval():
    # mean 4, variance 4, standard error 2 / sqrt(3), t(0.975, 2) = 4.30265
    interval = stats.mean([2.0, 4.0, 6.0])
    assert interval.high - 4 == pytest.approx(4.30265 * 2 / math.sqrt(3), abs=1e-4)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        stats.mean([])
    with pytest.raises(ValueError, match="at least one"):
        stats.combination([])


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0, 0, "0"),
        (146, 0, "146"),
        (60000, 0, "60\u202f000"),
        (0.97, 0, "0.97"),
        (2 / 3, 0, "0.6667"),
        (-99.4, 0, "−99.4"),
        (1234.5678, 0, "1\u202f234.6"),
        (1.5e-7, 0, "1.5×10⁻⁷"),
        (-2.0e12, 0, "−2×10¹²"),
        (74.3333, 4.321, "74.3"),
        (74.3333, 43.21, "74"),
        (74.3333, 0.0321, "74.333"),
        (123456.7, 2000.0, "123\u202f457"),
        (-0.001, 3.0, "0.0"),
        (1e-9, 0.02, "0.000"),
    ],
)
def test_number(value, spread, text):
    assert stats.number(value, spread) == text


@given(
    st.one_of(st.just(0.0), st.floats(1e-99, 1e12), st.floats(-1e12, -1e-99)),
    st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
)
def test_a_written_number_is_near_the_number(value, spread):
    text = stats.number(value, spread).replace("\u202f", "").replace("−", "-")
    digits, _, raised = text.partition("×10")
    exponent = raised.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or "0"
    error = abs(float(digits) * 10.0 ** int(exponent) - value)
    assert error <= max(0.05 * spread, 0.006 * abs(value))


def test_written_shows_the_interval_unless_the_value_is_fixed():
    assert stats.written({"mean": 2.0, "low": 1.96, "high": 2.04, "n": 5}) == "2.000 [1.960, 2.040]"
    assert stats.written({"mean": 2.0, "low": 2.0, "high": 2.0, "n": 1}) == "2"


@pytest.mark.parametrize(
    ("metric", "there", "back"),
    [
        ("pooled/correlation_dice", np.arctanh, np.tanh),
        ("failure/auc", special.logit, special.expit),
        ("unet_3/coverage_left_out_90", special.logit, special.expit),
        ("usable/sensitivity_at_rate", special.logit, special.expit),
    ],
)
def test_a_bounded_metric_has_its_interval_on_its_own_scale(metric, there, back):
    values = [0.91, 0.99, 0.96, 0.98]
    interval = stats.bounded(metric, values)
    assert interval.mean == pytest.approx(np.mean(values))
    moved = there(values)
    half = scipy_stats.t.ppf(0.975, 3) * np.std(moved, ddof=1) / 2
    expected = back(np.mean(moved) - half), back(np.mean(moved) + half)
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert stats.mean(values).high > 1 > interval.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_interval_of_a_share_holds_its_mean_and_stays_between_0_and_1(values):
    interval = stats.bounded("test/sensitivity", values)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_other_metrics_have_plain_intervals():
    values = [0.91, 0.99, 0.96]
    assert stats.bounded("pooled/mae_dice", values) == stats.mean(values)
    assert stats.bounded("pooled/uncorrelated", values) == stats.mean(values)
