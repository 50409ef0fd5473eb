import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import f1_score, log_loss, make_scorer
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

from pr12.rca.model.estimator import ReverseClassificationAccuracy as Rca
from pr12.rca.model.estimator import fitted, folds

# Four points on a line, and a classifier that answers as the nearest of them does
LINE, SIDES = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1])
NEAREST = KNeighborsClassifier(n_neighbors=1)
IRIS, SPECIES = load_iris(return_X_y=True)
OLD, NEW = np.arange(150) % 2 == 0, np.arange(150) % 2 == 1


@pytest.fixture
def line():
    return Rca(NEAREST).fit(LINE, SIDES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning:sklearn")  # the checks feed odd values
@pytest.mark.parametrize(
    "estimator",
    [
        Rca(LogisticRegression()),
        Rca(SVC()),
        Rca(make_pipeline(StandardScaler(), LogisticRegression()), KNeighborsClassifier()),
        Rca(KNeighborsClassifier(), GaussianNB(), calibration="sigmoid", calibration_folds=3),
        Rca(DecisionTreeClassifier(random_state=0), calibration="isotonic", calibration_folds=2),
    ],
    ids=["logistic", "no probabilities", "pipeline", "sigmoid", "isotonic"],
)
def test_scikit_learns_checks_of_an_estimator_pass(estimator):
    results = check_estimator(estimator, on_fail="raise", on_skip=None)
    passed = [result["check_name"] for result in results if result["status"] == "passed"]
    assert len(passed) >= 50
    # left out by scikit-learn unless an environment variable is set before SciPy is imported
    assert {r["check_name"] for r in results} - set(passed) <= {"check_array_api_input"}


# --- the reverse score ---


@pytest.mark.parametrize(
    ("pseudo", "score"), [([0, 1], 1.0), ([1, 0], 0.0), ([0, 0], 0.5), ([1, 1], 0.5)]
)
def test_two_new_points_label_the_four_old_ones(line, pseudo, score):
    assert line.reverse_score([[0.4], [4.6]], pseudo) == score


def test_wrong_labels_cost_what_they_cover(line):
    # Nearest new points of 0, 1, 4, 5 are 0.4, 0.4, 4.4, 4.6, whose labels are 0, 0, 0, 1
    assert line.reverse_score([[0.4], [4.4], [4.6]], [0, 0, 1]) == 0.75


def test_pseudo_labels_are_what_the_classifier_predicts(line):
    new = [[-1.0], [2.4], [2.6], [9.0]]
    assert line.predict(new).tolist() == [0, 0, 1, 1]
    assert line.reverse_score(new) == line.reverse_score(new, [0, 0, 1, 1]) == line.estimate(new)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=1000),
        RandomForestClassifier(10, random_state=0),
        KNeighborsClassifier(5),
        GaussianNB(),
        SVC(),
        RidgeClassifier(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_exercise_of_the_notes_done_by_hand_gives_the_same(model):
    x, y = make_classification(400, 20, n_informative=8, random_state=0)
    old, new, y_old = x[:200], x[200:], y[:200]
    first = clone(model).fit(old, y_old)
    by_hand = clone(model).fit(new, first.predict(new)).score(old, y_old)
    rca = Rca(model).fit(old, y_old)
    assert rca.reverse_score(new) == by_hand
    assert np.array_equal(rca.predict(new), first.predict(new))
    assert not hasattr(model, "classes_")  # the model that was given is not the one that is fitted


def test_the_reverse_classifier_may_be_of_another_kind():
    rca = Rca(
        LogisticRegression(max_iter=1000), DecisionTreeClassifier(max_depth=1, random_state=0)
    )
    reverse = rca.fit(IRIS[OLD], SPECIES[OLD]).fit_reverse(IRIS[NEW])
    assert isinstance(rca.classifier_, LogisticRegression)
    assert isinstance(reverse, DecisionTreeClassifier)
    assert reverse.get_depth() == 1


def test_a_wrong_classifier_is_told_from_a_right_one():
    right = Rca(GaussianNB()).fit(IRIS[OLD], SPECIES[OLD])
    assert right.estimate(IRIS[NEW]) > 0.9
    assert right.reverse_score(IRIS[NEW], (SPECIES[NEW] + 1) % 3) < 0.1


def test_several_measures_can_be_taken_from_one_reverse_classifier():
    rca = Rca(GaussianNB(), scoring="f1_macro").fit(IRIS[OLD], SPECIES[OLD])
    answers = rca.fit_reverse(IRIS[NEW]).predict(IRIS[OLD])
    assert rca.reverse_score(IRIS[NEW]) == f1_score(SPECIES[OLD], answers, average="macro")


def test_a_scorer_may_be_a_callable():
    missed = make_scorer(lambda y, answers: (y != answers).sum())
    rca = Rca(NEAREST, scoring=missed).fit(LINE, SIDES)
    assert rca.reverse_score([[0.4], [4.6]], [1, 0]) == 4.0


def test_labels_may_be_words_and_data_may_be_frames():
    names = np.array(["setosa", "versicolor", "virginica"])
    frame = pd.DataFrame(IRIS, columns=["a", "b", "c", "d"])
    rca = Rca(GaussianNB()).fit(frame[OLD], names[SPECIES[OLD]])
    assert rca.classes_.tolist() == names.tolist()
    assert rca.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert rca.n_features_in_ == 4
    numbers = Rca(GaussianNB()).fit(IRIS[OLD], SPECIES[OLD])
    assert rca.estimate(frame[NEW]) == numbers.estimate(IRIS[NEW])


def test_data_may_be_texts_or_sparse():
    texts = ["good film", "great film", "bad film", "awful film"] * 3
    model = make_pipeline(CountVectorizer(), MultinomialNB())
    rca = Rca(model).fit(texts, [1, 1, 0, 0] * 3)
    assert rca.reverse_score(["great good", "awful bad"]) == 1.0
    counts = CountVectorizer().fit_transform(texts)
    assert sparse.issparse(counts)
    rca = Rca(MultinomialNB()).fit(counts, [1, 1, 0, 0] * 3)
    assert rca.reverse_score(counts) == 1.0


def test_it_works_inside_cross_validation():
    rca, plain = Rca(GaussianNB()), GaussianNB()
    assert np.array_equal(
        cross_val_score(rca, IRIS, SPECIES, cv=3), cross_val_score(plain, IRIS, SPECIES, cv=3)
    )


# --- pseudo-labels that lack classes ---


def test_pseudo_labels_of_one_class_make_a_constant(line):
    reverse = line.fit_reverse([[3.0], [9.0]], [1, 1])
    assert reverse.predict(LINE).tolist() == [1, 1, 1, 1]
    assert reverse.predict_proba(LINE).tolist() == [[0.0, 1.0]] * 4
    assert reverse.classes_.tolist() == [0, 1]


def test_a_class_that_is_not_predicted_has_probability_0():
    rca = Rca(GaussianNB(), scoring="neg_log_loss").fit(IRIS[OLD], SPECIES[OLD])
    kept = NEW & (SPECIES != 1)
    reverse = rca.fit_reverse(IRIS[kept], SPECIES[kept])
    probabilities = reverse.predict_proba(IRIS[OLD])
    alone = GaussianNB().fit(IRIS[kept], SPECIES[kept]).predict_proba(IRIS[OLD])
    assert np.array_equal(probabilities[:, [0, 2]], alone)
    assert (probabilities[:, 1] == 0).all()
    expected = -log_loss(SPECIES[OLD], probabilities)
    assert rca.reverse_score(IRIS[kept], SPECIES[kept]) == pytest.approx(expected)
    assert expected < -5  # a third of the old data are of the class that is not believed in


def test_a_constant_has_an_area_under_the_curve_of_a_half():
    rca = Rca(GaussianNB(), scoring="roc_auc").fit(LINE, SIDES)
    assert rca.reverse_score([[3.0], [9.0]], [1, 1]) == 0.5


def test_a_reverse_classifier_without_probabilities_has_none():
    rca = Rca(RidgeClassifier()).fit(IRIS[OLD], SPECIES[OLD])
    reverse = rca.fit_reverse(IRIS[SPECIES < 2], SPECIES[SPECIES < 2])
    assert reverse.classes_.tolist() == [0, 1, 2]
    assert not hasattr(reverse, "predict_proba")


# --- calibration of the two classifiers ---


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_is_that_of_scikit_learn(method):
    rca = Rca(GaussianNB(), calibration=method, calibration_folds=3).fit(IRIS[OLD], SPECIES[OLD])
    oracle = CalibratedClassifierCV(GaussianNB(), method=method, cv=3, ensemble=False)
    oracle.fit(IRIS[OLD], SPECIES[OLD])
    assert np.allclose(rca.predict_proba(IRIS[NEW]), oracle.predict_proba(IRIS[NEW]))
    reverse = clone(oracle).fit(IRIS[NEW], oracle.predict(IRIS[NEW]))
    assert rca.reverse_score(IRIS[NEW]) == reverse.score(IRIS[OLD], SPECIES[OLD])


def test_calibration_gives_probabilities_to_a_classifier_without():
    plain, calibrated = Rca(RidgeClassifier()), Rca(RidgeClassifier(), calibration="sigmoid")
    assert not hasattr(plain, "predict_proba")
    assert hasattr(plain, "decision_function")
    calibrated.fit(IRIS[OLD], SPECIES[OLD])
    assert np.allclose(calibrated.predict_proba(IRIS).sum(axis=1), 1.0)
    assert not hasattr(calibrated, "decision_function")


@pytest.mark.parametrize(("members", "number"), [(9, 5), (5, 5), (4, 4), (2, 2), (1, 1)])
def test_there_are_no_more_folds_than_members_of_the_rarest_class(members, number):
    y = np.array([0] * 10 + [1] * members)
    assert folds(y, 5) == number
    x = np.arange(len(y))[:, None] + 0.5
    model = fitted(GaussianNB(), x, y, "sigmoid", 5)
    assert isinstance(model, CalibratedClassifierCV) == (number > 1)
    if number > 1:
        assert model.cv.get_n_splits() == number


def test_a_reverse_classifier_with_a_lone_pseudo_label_stays_uncalibrated():
    rca = Rca(GaussianNB(), calibration="sigmoid").fit(IRIS[OLD], SPECIES[OLD])
    pseudo = np.zeros(75, int)
    pseudo[[0, 1, 2]] = 1
    pseudo[3] = 2
    assert isinstance(rca.fit_reverse(IRIS[NEW], pseudo), GaussianNB)
    pseudo[4] = 2
    assert isinstance(rca.fit_reverse(IRIS[NEW], pseudo), CalibratedClassifierCV)


# --- the map from reverse scores to predicted scores ---


@given(
    st.floats(0.1, 0.5),
    st.floats(0.0, 0.4),
    st.lists(st.floats(0, 1), min_size=2, max_size=9, unique=True),
)
@settings(max_examples=50, deadline=None)
def test_the_linear_map_finds_a_line_through_the_pairs(slope, offset, given_scores):
    given_scores = np.round(given_scores, 3)
    if len(set(given_scores)) < 2:
        given_scores = np.array([0.2, 0.8])
    line = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    line.calibrate_scores(given_scores, slope * given_scores + offset)
    asked = np.array([0.0, 0.3, 1.0])
    assert np.allclose(line.map_scores(asked), slope * asked + offset, atol=1e-6)


def test_the_linear_map_is_least_squares():
    rca = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    pairs = np.random.default_rng(0).random((2, 20))
    slope, offset = np.polyfit(*pairs, 1)
    rca.calibrate_scores(*pairs)
    assert np.allclose(rca.map_scores([0.2, 0.7]), [slope * 0.2 + offset, slope * 0.7 + offset])


def test_the_linear_map_is_clipped_to_the_bounds():
    rca = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    rca.calibrate_scores([0.4, 0.6], [0.1, 0.9])
    assert rca.map_scores([0.0, 0.5, 1.0]).tolist() == pytest.approx([0.0, 0.5, 1.0])
    free = clone(rca).set_params(score_bounds=None).fit(LINE, SIDES)
    free.calibrate_scores([0.4, 0.6], [0.1, 0.9])
    assert free.map_scores([0.0, 0.5, 1.0]).tolist() == pytest.approx([-1.5, 0.5, 2.5])


def test_the_isotonic_map_is_scikit_learns_and_flat_beyond_the_pairs():
    rca = Rca(NEAREST, score_calibration="isotonic").fit(LINE, SIDES)
    pairs = np.random.default_rng(0).random((2, 20))
    oracle = IsotonicRegression(out_of_bounds="clip").fit(*pairs)
    rca.calibrate_scores(*pairs)
    asked = np.linspace(-1, 2, 50)
    actual = rca.map_scores(asked)
    assert np.allclose(actual, oracle.predict(asked))
    assert (np.diff(actual) >= 0).all()
    assert actual[0] == actual[16]
    assert actual[-1] == actual[-16]


def test_equal_reverse_scores_are_mapped_to_the_mean():
    for how in ("linear", "isotonic"):
        rca = Rca(NEAREST, score_calibration=how).fit(LINE, SIDES)
        rca.calibrate_scores([0.5, 0.5], [0.2, 0.4])
        assert rca.map_scores([0.5]).tolist() == pytest.approx([0.3])


def test_the_estimate_is_the_mapped_reverse_score():
    rca = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    rca.calibrate_scores([0.5, 1.0], [0.3, 0.8])
    new = [[0.4], [4.4], [4.6]]
    assert rca.reverse_score(new, [0, 0, 1]) == 0.75
    assert rca.estimate(new, [0, 0, 1]) == pytest.approx(0.55)


def test_scores_without_bounds_can_be_mapped():
    rca = Rca(GaussianNB(), scoring="neg_log_loss", score_calibration="linear", score_bounds=None)
    rca.fit(IRIS[OLD], SPECIES[OLD]).calibrate_scores([-2.0, -1.0], [-4.0, -3.0])
    assert rca.estimate(IRIS[NEW]) == pytest.approx(rca.reverse_score(IRIS[NEW]) - 2)


def test_a_new_fit_forgets_the_map_of_the_old_one():
    rca = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    rca.calibrate_scores([0.5, 1.0], [0.3, 0.8]).fit(LINE, SIDES)
    with pytest.raises(NotFittedError, match="call calibrate_scores before"):
        rca.estimate(LINE)


def test_it_can_be_pickled_with_its_map():
    rca = Rca(NEAREST, score_calibration="isotonic").fit(LINE, SIDES)
    rca.calibrate_scores([0.5, 1.0], [0.3, 0.8])
    again = pickle.loads(pickle.dumps(rca))
    assert again.estimate(LINE) == rca.estimate(LINE) == 0.8


# --- bad input ---


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"calibration": "platt"}, r"calibration is 'platt'; it must be one of \(None, 'sigmoid'"),
        ({"score_calibration": "cubic"}, "score_calibration is 'cubic'; it must be one of"),
        ({"calibration_folds": 1}, "calibration_folds is 1; it must be 2 or more"),
        ({"scoring": None}, "scoring is None; give the name of a scorer, or a callable"),
        ({"scoring": "acuracy"}, "acuracy"),
        ({"score_bounds": (1.0, 0.0)}, r"score_bounds is \(1.0, 0.0\); it must be"),
        ({"score_bounds": 1.0}, r"score_bounds is 1.0; it must be"),
    ],
)
def test_a_bad_parameter_is_told_when_fitted(params, message):
    with pytest.raises(ValueError, match=message):
        Rca(NEAREST, **params).fit(LINE, SIDES)


@pytest.mark.parametrize(
    ("pseudo", "message"),
    [
        ([0, 1], "inconsistent numbers of samples"),
        ([0, 1, 2, 7], r"pseudo-labels \[2, 7\] are not among the classes .* \[0, 1\]"),
        (["0", "1", "0", "1"], "are not among the classes"),
        ([[0, 1], [0, 1], [0, 1], [0, 1]], "1d array"),
        ([0, 1, 0, np.nan], "are not among the classes"),
    ],
)
def test_bad_pseudo_labels_are_refused(line, pseudo, message):
    with pytest.raises(ValueError, match=message):
        line.reverse_score(LINE, pseudo)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ([[0.0, 1.0]], "expecting 1 features"),
        ([[np.nan]], "NaN"),
        (np.empty((0, 1)), "0 sample"),
        ([0.0, 1.0], "1D array|2D array"),
    ],
)
def test_bad_new_data_are_refused(line, new, message):
    with pytest.raises(ValueError, match=message):
        line.reverse_score(new)


@pytest.mark.parametrize(
    ("reverse_scores", "true_scores", "message"),
    [
        ([0.5], [0.5], "minimum of 2"),
        ([], [], "minimum of 2"),
        ([0.5, 0.6], [0.5, 0.6, 0.7], "inconsistent numbers of samples"),
        ([0.5, np.nan], [0.5, 0.6], "NaN"),
        ([0.5, 0.6], [0.5, np.inf], "infinity"),
        ([0.5, 0.6], [0.5, 1.2], r"from 0.5 to 1.2 lie outside of score_bounds \(0.0, 1.0\)"),
        ([-2.0, -1.0], [-2.0, -1.0], "from -2 to -1 lie outside"),
    ],
)
def test_bad_pairs_of_scores_are_refused(reverse_scores, true_scores, message):
    rca = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    with pytest.raises(ValueError, match=message):
        rca.calibrate_scores(reverse_scores, true_scores)


def test_scores_are_not_mapped_unless_asked_for(line):
    with pytest.raises(ValueError, match="score_calibration is None; set it to linear or isotonic"):
        line.calibrate_scores([0.5, 1.0], [0.5, 1.0])


@pytest.mark.parametrize("method", ["predict", "reverse_score", "estimate", "predict_proba"])
def test_nothing_is_answered_before_the_fit(method):
    with pytest.raises(NotFittedError):
        getattr(Rca(NEAREST), method)(LINE)


def test_a_map_without_pairs_is_told():
    rca = Rca(NEAREST, score_calibration="linear").fit(LINE, SIDES)
    with pytest.raises(NotFittedError, match="call calibrate_scores before"):
        rca.estimate(LINE)
