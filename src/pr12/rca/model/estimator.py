"""Reverse Classification Accuracy of any classifier, as a scikit-learn estimator.

How good is a classifier on new data that nobody has labelled? Valindria et al. (2017, arXiv
1702.03407; for segmentations): take its predictions on the new data for truth, train a reverse
classifier on them, and score that one on the data whose labels are known. If the predictions were
wrong, the reverse classifier learns wrong things, and fails where it can be checked.

What this can and cannot see. The reverse classifier needs to be hurt by wrong predictions. Two
classifiers of one rigid kind are not: a linear one that meets shifted data still gives linear
labels, from which another linear one learns the first one back, and both score high. A local
reverse classifier (nearest neighbours) is a better choice there.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import column_or_1d, get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted

# ruff: noqa: N803, N806 (X is scikit-learn's name of the features, and its checks ask for it)


def folds(y: NDArray[Any], most: int) -> int:
    """Return the number of folds that `y` allows: no more than its rarest class has members.

    Parameters
    ----------
    y : ndarray
        Labels, shape (N,).
    most : int
        The number of folds that is wanted.

    Examples
    --------
    >>> folds(np.array(["a", "a", "a", "b", "b"]), most=5)
    2
    """
    return min(most, int(np.unique(y, return_counts=True)[1].min()))


def fitted(estimator: Any, X: Any, y: NDArray[Any], calibration: str | None, most: int) -> Any:
    """Fit a copy of a classifier, calibrated if asked for and possible.

    Parameters
    ----------
    estimator : classifier
        It is left as it is.
    X, y : array-like
        Shapes (N, D) and (N,).
    calibration : {None, "sigmoid", "isotonic"}
        How its probabilities are calibrated, by `CalibratedClassifierCV` over stratified folds.
    most : int
        Number of folds. If the rarest class has fewer members, as many folds as it has; if it has a
        single one, or is the only class, the classifier stays uncalibrated.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1])
    >>> type(fitted(GaussianNB(), x, y, "sigmoid", 5)).__name__
    'CalibratedClassifierCV'
    >>> type(fitted(GaussianNB(), x[:3], y[:3], "sigmoid", 5)).__name__  # 1 has one member
    'GaussianNB'
    """
    model, number = clone(estimator), folds(y, most)
    if calibration is not None and number > 1 and len(np.unique(y)) > 1:
        model = CalibratedClassifierCV(
            model, method=calibration, cv=StratifiedKFold(number, shuffle=False), n_jobs=None,
            ensemble=False,  # the classifier itself learns from all of the data, as uncalibrated
        )  # fmt: skip
    return model.fit(X, y)


def _has(method: str) -> Any:
    """Tell whether the classifier has a method, or will have it once it is fitted."""

    def check(self: Any) -> bool:
        if hasattr(self, "classifier_"):
            return hasattr(self.classifier_, method)
        calibrated = method == "predict_proba" and self.calibration is not None
        return calibrated or hasattr(self.estimator, method)

    return check


class _OfAllClasses(ClassifierMixin, BaseEstimator):
    """A fitted classifier that also knows of classes it has not met: their probability is 0.

    Scorers of probabilities ask for one column per class of the labelled data.
    """

    def __init__(self, estimator: Any, classes: NDArray[Any]) -> None:
        self.estimator = estimator
        self.classes = classes

    @property
    def classes_(self) -> NDArray[Any]:
        return self.classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> NDArray[Any]:
        return self.estimator.predict(X)

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        known = self.estimator.predict_proba(X)
        probabilities = np.zeros((len(known), len(self.classes)))
        probabilities[:, np.searchsorted(self.classes, self.estimator.classes_)] = known
        return probabilities


class ReverseClassificationAccuracy(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """A classifier that can tell how well it does on data without labels.

    Valindria et al. (2017, arXiv 1702.03407), for tabular data. The paper supposes a linear
    relation between the reverse score and the true one (`score_calibration`).

    Parameters
    ----------
    estimator : classifier
        Any of scikit-learn's kind, pipelines too. It is copied, not changed.
    reverse_estimator : classifier, optional
        What is trained on the new data; None: a copy of `estimator`.
    scoring : str or callable, default="accuracy"
        Any scorer of scikit-learn; its estimates are in its own unit and sign. Scores of
        probabilities count classes that the classifier never predicted as probability 0.
    calibration : {None, "sigmoid", "isotonic"}, default=None
        How the probabilities of both classifiers are calibrated.
    calibration_folds : int, default=5
        Folds of that calibration; see `fitted` for classes with fewer members.
    score_calibration : {None, "linear", "isotonic"}, default=None
        The map from reverse scores to predicted scores that `calibrate_scores` fits.
    score_bounds : tuple of float or None, default=(0.0, 1.0)
        Least and greatest score: the linear map is clipped to them. None for a scorer without
        bounds, such as ``neg_log_loss``.

    Attributes
    ----------
    classifier_ : classifier
        Fitted to the labelled data.
    classes_ : ndarray
        Its classes.
    X_, y_ : array-like
        The labelled data, not copied.
    scorer_ : callable
        What `scoring` stands for.
    score_map_ : regressor
        After `calibrate_scores`.

    Examples
    --------
    The exercise of the study notes: 2,500 old examples with 100 features, 2,500 new ones, logistic
    regression. Fit on old, predict new, fit on new with the predictions, score on old:

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = make_classification(5000, 100, n_informative=20, class_sep=1.5, random_state=0)
    >>> old, new, y_old, y_new = X[:2500], X[2500:], y[:2500], y[2500:]
    >>> old.shape, new.shape
    ((2500, 100), (2500, 100))
    >>> model = LogisticRegression(max_iter=1000)
    >>> rca = ReverseClassificationAccuracy(model).fit(old, y_old)
    >>> reverse = clone(model).fit(new, rca.predict(new))
    >>> reverse.score(old, y_old) == rca.estimate(new)
    True
    >>> print(f"predicted {rca.estimate(new):.2f}, true {rca.score(new, y_new):.2f}")
    predicted 0.88, true 0.87

    The same with noise on the new data. Noise does not hurt a linear reverse classifier, whose
    labels are as linear as before; it hurts one that looks at neighbours:

    >>> noisy = new + 3 * np.random.default_rng(0).standard_normal(new.shape)
    >>> print(f"predicted {rca.estimate(noisy):.2f}, true {rca.score(noisy, y_new):.2f}")
    predicted 0.88, true 0.73
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> local = ReverseClassificationAccuracy(model, KNeighborsClassifier()).fit(old, y_old)
    >>> print(f"predicted {local.estimate(noisy):.2f}")
    predicted 0.78
    """

    def __init__(
        self,
        estimator: Any,
        reverse_estimator: Any = None,
        *,
        scoring: Any = "accuracy",
        calibration: str | None = None,
        calibration_folds: int = 5,
        score_calibration: str | None = None,
        score_bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        self.estimator = estimator
        self.reverse_estimator = reverse_estimator
        self.scoring = scoring
        self.calibration = calibration
        self.calibration_folds = calibration_folds
        self.score_calibration = score_calibration
        self.score_bounds = score_bounds

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Keep the labelled data and fit the classifier to them.

        Parameters
        ----------
        X, y : array-like
            The labelled ("old") data, shapes (N, D) and (N,).

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used.
        """
        for name, allowed in (
            ("calibration", (None, "sigmoid", "isotonic")),
            ("score_calibration", (None, "linear", "isotonic")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {allowed}")
        if self.scoring is None:
            raise ValueError("scoring is None; give the name of a scorer, or a callable")
        self.scorer_ = get_scorer(self.scoring)
        if self.calibration_folds < 2:
            raise ValueError(f"calibration_folds is {self.calibration_folds}; it must be 2 or more")
        if self.score_bounds is not None and not (
            np.shape(self.score_bounds) == (2,) and self.score_bounds[0] < self.score_bounds[1]
        ):
            raise ValueError(
                f"score_bounds is {self.score_bounds}; it must be (least, greatest) or None"
            )
        if y is None:
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        X, y = indexable(X, y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        vars(self).pop("score_map_", None)  # it belongs to the classifier that was
        self.classifier_ = fitted(self.estimator, X, y, self.calibration, self.calibration_folds)
        self.classes_ = self.classifier_.classes_
        self.X_, self.y_ = X, y
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.classifier_, name):
                setattr(self, name, getattr(self.classifier_, name))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict as the classifier does, shape (N,)."""
        check_is_fitted(self)
        return self.classifier_.predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the classifier's probabilities, shape (N, classes)."""
        check_is_fitted(self)
        return self.classifier_.predict_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the classifier's decision function, shape (N,) or (N, classes)."""
        check_is_fitted(self)
        return self.classifier_.decision_function(X)

    def fit_reverse(self, X: Any, y_pseudo: ArrayLike | None = None) -> Any:
        """Train the reverse classifier.

        Parameters
        ----------
        X : array-like
            The new data, shape (N, D).
        y_pseudo : array-like, optional
            Their pseudo-labels, shape (N,); by default what the classifier predicts.

        Returns
        -------
        classifier
            Fitted; where all pseudo-labels are equal, it always answers that label.

        Raises
        ------
        ValueError
            If pseudo-labels are not as many as the data, or not among the classes.
        """
        check_is_fitted(self)
        y_pseudo = self.predict(X) if y_pseudo is None else column_or_1d(y_pseudo)
        check_consistent_length(X, y_pseudo)
        classes = np.unique(y_pseudo)
        if not np.isin(classes, self.classes_).all():
            raise ValueError(
                f"pseudo-labels {np.setdiff1d(classes, self.classes_).tolist()} are not among the "
                f"classes of the labelled data, {self.classes_.tolist()}"
            )
        if len(classes) == 1:
            reverse = DummyClassifier(strategy="most_frequent").fit(X, y_pseudo)
        else:
            base = self.estimator if self.reverse_estimator is None else self.reverse_estimator
            reverse = fitted(base, X, y_pseudo, self.calibration, self.calibration_folds)
        return (
            reverse if len(classes) == len(self.classes_) else _OfAllClasses(reverse, self.classes_)
        )

    def reverse_score(self, X: Any, y_pseudo: ArrayLike | None = None) -> float:
        """Train the reverse classifier on new data and score it on the labelled data.

        Parameters
        ----------
        X, y_pseudo : array-like
            As for `fit_reverse`.
        """
        reverse = self.fit_reverse(X, y_pseudo)
        return float(self.scorer_(reverse, self.X_, self.y_))

    def calibrate_scores(self, reverse_scores: ArrayLike, true_scores: ArrayLike) -> Self:
        """Fit the map from reverse scores to predicted scores.

        Pairs come from further labelled data that differ from the old ones as new data may:
        shifted ones, other sites. Linear: least squares, clipped to `score_bounds`; isotonic:
        rising steps, constant beyond the reverse scores that were given.

        Parameters
        ----------
        reverse_scores, true_scores : array-like
            Shapes (M,), M at least 2.

        Raises
        ------
        ValueError
            If `score_calibration` is None, if there are fewer than two pairs or a value that is
            not finite, or if true scores lie outside of `score_bounds`.

        Examples
        --------
        >>> from sklearn.naive_bayes import GaussianNB
        >>> rca = ReverseClassificationAccuracy(GaussianNB(), score_calibration="linear")
        >>> rca = rca.fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1])
        >>> rca = rca.calibrate_scores([0.5, 0.7, 0.9], [0.2, 0.6, 1.0])
        >>> rca.map_scores([0.3, 0.6, 0.8]).round(3).tolist()  # 2 x - 0.8, clipped
        [0.0, 0.4, 0.8]
        """
        check_is_fitted(self)
        if self.score_calibration is None:
            raise ValueError("score_calibration is None; set it to linear or isotonic first")
        given = check_array(_column(reverse_scores), ensure_min_samples=2)
        wanted = check_array(_column(true_scores), ensure_min_samples=2)[:, 0]
        check_consistent_length(given, wanted)
        if self.score_bounds is not None:
            low, high = self.score_bounds
            if wanted.min() < low or wanted.max() > high:
                raise ValueError(
                    f"true scores from {wanted.min():g} to {wanted.max():g} lie outside of "
                    f"score_bounds {self.score_bounds}; give the scorer's own bounds, or None"
                )
        if self.score_calibration == "linear":
            regressor = LinearRegression()
        else:
            regressor = IsotonicRegression(increasing=True, out_of_bounds="clip")
        self.score_map_ = regressor.fit(given, wanted)
        return self

    def map_scores(self, reverse_scores: ArrayLike) -> NDArray[np.float64]:
        """Apply the map that `calibrate_scores` fitted, shape (M,) to (M,).

        Raises
        ------
        NotFittedError
            If `calibrate_scores` was not called.
        """
        check_is_fitted(
            self, "score_map_", msg="call calibrate_scores before reverse scores are mapped"
        )
        mapped = self.score_map_.predict(_column(reverse_scores))
        return mapped if self.score_bounds is None else np.clip(mapped, *self.score_bounds)

    def estimate(self, X: Any, y_pseudo: ArrayLike | None = None) -> float:
        """Predict the classifier's score on new data: the reverse score, mapped if calibrated.

        Parameters
        ----------
        X, y_pseudo : array-like
            As for `fit_reverse`.

        Raises
        ------
        NotFittedError
            If `score_calibration` is set and `calibrate_scores` was not called.
        """
        score = self.reverse_score(X, y_pseudo)
        return score if self.score_calibration is None else float(self.map_scores([score])[0])

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the classifier decides which inputs it takes."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
            tags.classifier_tags.poor_score = inner.classifier_tags.poor_score
        return tags


def _column(scores: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(scores, dtype=float).reshape(-1, 1)
