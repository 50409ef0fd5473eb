import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from pr12.rca.model import unlabelled
from pr12.rca.model.estimator import ReverseClassificationAccuracy as Rca


def data(count, seed=0):
    x, y = make_classification(
        count + 400, 8, n_informative=5, class_sep=0.8, flip_y=0.05, random_state=7
    )
    order = np.random.default_rng(seed).permutation(len(y))
    return x[order], y[order]


def test_baselines_are_right_where_new_data_are_like_the_labelled():
    x, y = data(3000)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(x[:400], y[:400])
    known, new = model.predict_proba(x[400:1400]), model.predict_proba(x[1400:])
    correct = model.predict(x[400:1400]) == y[400:1400]
    truth = model.score(x[1400:], y[1400:])
    for estimate in (
        unlabelled.difference_of_confidences(new, known, correct),
        unlabelled.thresholded_confidence(new, known, correct),
    ):
        assert estimate == pytest.approx(truth, abs=0.03)
    # On the labelled data themselves both are exact
    for function in (unlabelled.difference_of_confidences, unlabelled.thresholded_confidence):
        assert function(known, known, correct) == pytest.approx(correct.mean())


def test_a_threshold_is_that_of_the_papers_definition():
    stream = np.random.default_rng(1)
    top = stream.uniform(0.5, 1, 200)
    known, correct = np.stack([top, 1 - top], axis=1), stream.random(200) < top
    new = np.stack([stream.uniform(0.5, 1, 77)] * 2, axis=1)
    # Garg et al. 2022, equation 3: the threshold below which as many lie as are wrong
    wrong = int((~correct).sum())
    expected = np.mean(new[:, 0] >= np.sort(top)[wrong])
    assert unlabelled.thresholded_confidence(new, known, correct) == expected
    assert unlabelled.thresholded_confidence(new, known, np.zeros(200)) == 0
    assert unlabelled.thresholded_confidence(new, known, np.ones(200)) >= 0.9


def test_the_standard_error_is_that_of_other_examples():
    x, y = data(6000)
    values, errors = [], []
    for start in range(0, 6000, 400):  # labelled and new data are others each time
        old, new = slice(start, start + 200), slice(start + 200, start + 400)
        rca = Rca(KNeighborsClassifier(5)).fit(x[old], y[old])
        result = unlabelled.estimate_with_error(rca, x[new], repeats=30)
        assert 0 <= result.low <= result.value <= result.high <= 1
        values.append(result.value)
        errors.append(result.error)
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.6)


def test_examples_of_one_group_stay_together_and_widen_it():
    x, y = data(1000)
    x, y = np.repeat(x[:200], 5, axis=0), np.repeat(y[:200], 5)  # five copies of each
    rca = Rca(KNeighborsClassifier(5)).fit(x[:500], y[:500])
    groups = np.arange(1000) // 5
    plain = unlabelled.estimate_with_error(rca, x[500:])
    whole = unlabelled.estimate_with_error(
        rca, x[500:], groups=groups[500:], labelled_groups=groups[:500]
    )
    assert whole.error > 1.3 * plain.error
    assert whole.value == plain.value


def test_a_calibrated_estimate_has_its_error_in_mapped_units():
    x, y = data(1600)
    rca = Rca(KNeighborsClassifier(5), score_calibration="linear").fit(x[:400], y[:400])
    further, labels = x[400:800], y[400:800]
    pairs = [
        (rca.reverse_score(shifted), rca.score(shifted, labels))
        for _, _, shifted in unlabelled.graded_shifts(further, x[:400], strengths=3)
    ]
    assert len(pairs) == 9
    rca.calibrate_scores(*zip(*pairs, strict=True))
    result = unlabelled.estimate_with_error(rca, x[800:1200])
    assert result.value == rca.estimate(x[800:1200])
    assert result.value == pytest.approx(rca.score(x[800:1200], y[800:1200]), abs=0.1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"repeats": 1}, "repeats is 1; it must be 2 or more"),
        ({"groups": [0] * 100}, "groups: 1 are too few to be halved; give at least 4"),
        ({"groups": [0, 1]}, "groups has 2 values for 100 examples"),
    ],
)
def test_what_cannot_be_is_one_sentence(given, words):
    x, y = data(200)
    rca = Rca(KNeighborsClassifier(3)).fit(x[:100], y[:100])
    with pytest.raises(ValueError, match=words):
        unlabelled.estimate_with_error(rca, x[100:200], **given)
    with pytest.raises(ValueError, match="have the shape"):
        unlabelled.average_confidence([0.5])
