import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn.metrics import confusion_matrix, roc_auc_score

from pr12.rca.model import estimates
from pr12.rca.model.measures import MEASURES, OVERLAPS

ESTIMATORS = ("max", "mean", "top3")


def scores(*values):
    """Give one segmentation's scores on references, the same numbers for all measures."""
    return np.array(values, float).reshape(1, 1, -1, 1, 1).repeat(len(MEASURES), axis=-1)


# --- from scores on references to one score ---


@pytest.mark.parametrize(
    ("estimator", "values", "overlap", "distance"),
    [
        ("max", (0.2, 0.6, 0.4, 0.8, 0.7), 0.8, 0.2),
        ("top3", (0.2, 0.6, 0.4, 0.8, 0.7), 0.7, 0.4),
        ("mean", (0.2, 0.6, 0.4, 0.8, 0.7), 0.54, 0.54),
        ("top3", (0.2, 0.6), 0.4, 0.4),  # there are but two
        *((estimator, (0.3,), 0.3, 0.3) for estimator in ESTIMATORS),
        ("max", (np.nan, 0.6, 0.4, np.nan), 0.6, 0.4),
        ("top3", (np.nan, 0.6, 0.4, np.nan, 0.1, 0.7), 1.7 / 3, 1.1 / 3),
        ("top3", (np.nan, 0.6, np.nan, np.nan), 0.6, 0.6),
        ("mean", (np.nan, 0.6, 0.4, np.nan), 0.5, 0.5),
        *((estimator, (np.nan,) * 4, np.nan, np.nan) for estimator in ESTIMATORS),
        ("max", (0.0, 0.0), 0.0, 0.0),
    ],
)
def test_an_estimate_by_hand(estimator, values, overlap, distance):
    actual = estimates.estimate(scores(*values), estimator)
    assert actual.shape == (1, 1, 1, 4)
    expected = [overlap if measure in OVERLAPS else distance for measure in MEASURES]
    np.testing.assert_allclose(actual[0, 0, 0], expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(
        np.float64,
        st.tuples(*[st.integers(1, 3)] * 2, st.integers(1, 6), st.integers(1, 3), st.just(4)),
        elements=st.one_of(st.floats(0, 100), st.just(np.nan)),
    )
)
def test_estimates_are_those_of_a_loop_over_every_segmentation(values):
    actual = {name: estimates.estimate(values, name) for name in ESTIMATORS}
    for index in np.ndindex(*values.shape[:2], values.shape[3], 4):
        subject, segmenter, structure, measure = index
        ours = values[subject, segmenter, :, structure, measure]
        ours = np.sort(ours[~np.isnan(ours)])[:: -1 if MEASURES[measure] in OVERLAPS else 1]
        for name, kept in (("max", ours[:1]), ("top3", ours[:3]), ("mean", ours)):
            expected = kept.mean() if len(kept) else np.nan
            np.testing.assert_allclose(actual[name][index], expected, rtol=1e-9, atol=1e-9)


def test_the_order_of_references_does_not_count_and_more_never_lower_the_maximum():
    stream = np.random.default_rng(0)
    values = stream.random((3, 2, 6, 2, 4))
    for name in ESTIMATORS:
        mixed = values[:, :, stream.permutation(6)]
        np.testing.assert_allclose(
            estimates.estimate(values, name), estimates.estimate(mixed, name)
        )
    signs = np.array([1 if measure in OVERLAPS else -1 for measure in MEASURES])
    fewer, more = (signs * estimates.estimate(values[:, :, :n], "max") for n in (3, 6))
    assert (more >= fewer).all()


def test_an_unknown_estimator_is_an_error():
    with pytest.raises(KeyError):
        estimates.estimate(scores(0.5), "median")


# --- correlations ---


@pytest.mark.parametrize("seed", range(5))
def test_correlations_are_those_of_scipy(seed):
    stream = np.random.default_rng(seed)
    x = stream.normal(size=(6, 5)).round(1)  # with ties
    y = x * stream.choice([-1, 0.1, 1]) + stream.normal(size=(6, 5)).round(1)
    expected = stats.pearsonr(x.ravel(), y.ravel()).statistic
    assert estimates.correlation(x, y) == pytest.approx(expected, abs=1e-10)
    expected = stats.spearmanr(x.ravel(), y.ravel()).statistic
    assert estimates.rank_correlation(x, y) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("function", [estimates.correlation, estimates.rank_correlation])
def test_a_side_that_does_not_vary_tells_nothing(function):
    varied, flat = np.array([0.1, 0.2, 0.7]), np.full(3, 0.1)
    assert function(varied, flat) == function(flat, varied) == function(flat, flat) == 0.0
    assert function(varied[:1], flat[:1]) == 0.0
    assert function(varied, varied) == 1.0
    assert function(varied, -varied) == -1.0
    whole = np.arange(3, dtype=np.uint8)  # no overflow where numbers are whole
    assert function(whole, whole[::-1]) == -1.0


# --- how well each measure is predicted ---


def test_agreement_by_hand():
    nan = np.nan
    predicted = np.array([[0.5, 0.4, 2.0, nan], [0.7, 0.6, nan, 4.0], [0.6, 0.5, 1.0, 9.0]])
    real = np.array([[0.4, 0.3, 1.0, 3.0], [0.8, 0.7, 5.0, nan], [0.6, 0.5, 2.0, 5.0]])
    actual = estimates.agreement_metrics(predicted, real, "all")
    assert actual["all/undefined_dice"] == 0
    assert actual["all/undefined_surface"] == pytest.approx(1 / 3)
    assert actual["all/undefined_hausdorff"] == pytest.approx(2 / 3)
    assert actual["all/mae_dice"] == pytest.approx(0.2 / 3)
    assert actual["all/bias_dice"] == pytest.approx(0)
    assert actual["all/correlation_dice"] == pytest.approx(1)
    assert actual["all/correlation_rank_jaccard"] == pytest.approx(1)
    assert actual["all/mae_surface"] == actual["all/mae_hausdorff"] - 3 == 1
    assert actual["all/bias_surface"] == pytest.approx(0)
    assert actual["all/bias_hausdorff"] == 4
    assert actual["all/correlation_surface"] == pytest.approx(-1)
    assert actual["all/correlation_hausdorff"] == 0  # one point
    # Both distances of the third alone exist: one point tells nothing
    assert (
        actual["all/correlation_dice_defined"]
        == actual["all/correlation_rank_jaccard_defined"]
        == 0
    )
    assert len(actual) == 4 * 5 + 4


def test_overlaps_are_also_correlated_where_distances_exist():
    stream = np.random.default_rng(0)
    predicted, real = stream.random((2, 20, 4))
    predicted[:5, 2:] = np.nan
    actual = estimates.agreement_metrics(predicted, real, "all")
    for index, measure in enumerate(("dice", "jaccard")):
        pearson = np.corrcoef(predicted[5:, index], real[5:, index])[0, 1]
        assert actual[f"all/correlation_{measure}_defined"] == pytest.approx(pearson)
        ranks = stats.spearmanr(predicted[5:, index], real[5:, index]).statistic
        assert actual[f"all/correlation_rank_{measure}_defined"] == pytest.approx(ranks)


def test_a_distance_that_is_nowhere_defined_has_no_number_but_the_share():
    values = np.zeros((2, 1, 1, 4))
    values[..., 2:] = np.nan
    actual = estimates.agreement_metrics(values, values, "pooled")
    assert actual["pooled/undefined_hausdorff"] == 1
    assert {key for key in actual if key.endswith("hausdorff")} == {"pooled/undefined_hausdorff"}
    assert all(np.isfinite(value) for value in actual.values())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.3))
def test_errors_are_symmetric_and_the_bias_is_signed(seed, shift):
    stream = np.random.default_rng(seed)
    real = stream.random((4, 3, 2, 4))
    one = estimates.agreement_metrics(real + shift, real, "p")
    other = estimates.agreement_metrics(real, real + shift, "p")
    for measure in MEASURES:
        assert one[f"p/mae_{measure}"] == pytest.approx(shift)
        assert one[f"p/bias_{measure}"] == pytest.approx(shift)
        assert other[f"p/mae_{measure}"] == pytest.approx(shift)
        assert other[f"p/bias_{measure}"] == pytest.approx(-shift)
        assert one[f"p/correlation_{measure}"] == pytest.approx(1)


# --- failures ---


def test_failures_by_hand():
    real = np.array([0.1, 0.3, 0.5, 0.69, 0.7, 0.8, 0.9, 1.0])
    predicted = np.array([0.2, 0.1, 0.75, 0.6, 0.65, 0.7, 0.9, 0.3])
    actual = estimates.failure_metrics(predicted.reshape(2, 4), real.reshape(2, 4), 0.7, 0.25)
    assert actual == {
        "failure/share": 0.5,  # 0.7 is good enough
        "failure/accuracy": 5 / 8,
        "failure/true_positives": 3,
        "failure/false_negatives": 1,
        "failure/false_positives": 2,
        "failure/true_negatives": 2,
        "failure/sensitivity": 0.75,
        "failure/false_positive_rate": 0.5,
        "failure/auc": 12 / 16,  # pairs in the right order
        "failure/sensitivity_at_rate": 0.75,  # up to 0.6, with one false alarm, 0.3
    }


def read_off(predicted, real, threshold, rate):
    """Give the best sensitivity of any threshold on the prediction with few enough alarms."""
    failed = real < threshold
    best = 0.0
    for cut in [-np.inf, *np.unique(predicted)]:
        flagged = predicted <= cut
        if (flagged & ~failed).sum() <= rate * (~failed).sum() + 1e-12:
            best = max(best, (flagged & failed).sum() / failed.sum())
    return best


def simulated(seed, decimals):
    stream = np.random.default_rng(seed)
    real = stream.random(60).round(decimals)
    return np.clip(real + 0.25 * stream.normal(size=60), 0, 1).round(decimals), real


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize("seed", range(6))
def test_failures_are_counted_as_scikit_learn_counts_them(seed, decimals):
    predicted, real = simulated(seed, decimals)
    actual = estimates.failure_metrics(predicted, real, 0.65, 0.1)
    (tn, fp), (fn, tp) = confusion_matrix(real < 0.65, predicted < 0.65)
    keys = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [actual[f"failure/{key}"] for key in keys] == [tn, fp, fn, tp]
    assert actual["failure/accuracy"] == pytest.approx((tp + tn) / 60)
    assert actual["failure/sensitivity"] == pytest.approx(tp / (tp + fn))
    assert actual["failure/false_positive_rate"] == pytest.approx(fp / (fp + tn))
    assert actual["failure/share"] == pytest.approx((tp + fn) / 60)
    auc = roc_auc_score(real < 0.65, -predicted)
    assert actual["failure/auc"] == pytest.approx(auc)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_sensitivity_at_a_rate_is_that_of_the_best_threshold(seed, rate):
    predicted, real = simulated(seed, 6)
    actual = estimates.failure_metrics(predicted, real, 0.65, rate)
    expected = read_off(predicted, real, 0.65, rate)
    assert actual["failure/sensitivity_at_rate"] == pytest.approx(expected)


def test_points_on_a_straight_part_of_the_curve_count_too():
    real = np.array([0.0] * 10 + [1.0] * 10)
    predicted = np.array([0.1] * 3 + [0.2] * 3 + [0.3] * 3 + [0.9] + [0.1, 0.2, 0.3] + [0.9] * 7)
    actual = estimates.failure_metrics(predicted, real, 0.7, 0.2)["failure/sensitivity_at_rate"]
    assert actual == read_off(predicted, real, 0.7, 0.2) == 0.6


@pytest.mark.parametrize("real", [np.full(4, 0.9), np.full(4, 0.1)])
def test_without_both_kinds_there_is_nothing_to_tell_apart(real):
    actual = estimates.failure_metrics(np.array([0.1, 0.2, 0.8, 0.9]), real, 0.7, 0.1)
    assert actual["failure/share"] == float(real[0] < 0.7)
    assert actual["failure/accuracy"] == 0.5
    assert not {"failure/auc", "failure/sensitivity", "failure/sensitivity_at_rate"} & set(actual)
    counts = [value for key, value in actual.items() if key.count("_")]
    assert sum(counts) == 4


def test_the_ranking_alone_sets_auc_and_sensitivity_at_a_rate():
    predicted, real = simulated(0, 6)
    plain = estimates.failure_metrics(predicted, real, 0.65, 0.1)
    bent = estimates.failure_metrics(predicted**3 / 2, real, 0.65, 0.1)
    for key in ("failure/auc", "failure/sensitivity_at_rate"):
        assert plain[key] == pytest.approx(bent[key])
    assert plain["failure/accuracy"] != bent["failure/accuracy"]
