"""Predictions of classifiers' accuracy on data without labels: RCA, and two to compare with."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from pr12.rca.data.tabular_data import Part, Settings
from pr12.rca.model.estimator import ReverseClassificationAccuracy, folds

Array = NDArray[np.float64]


Columns = dict[str, Array]  # name -> one value per setting, shape (S,)


def classifier(name: str, trees: int, seed: int) -> Any:
    """Return a new classifier by name.

    Parameters
    ----------
    name : str
        One of those that the params of `tabular` allow; ``same`` is None.
    trees : int
        Trees of a forest.
    seed : int
        Seed of a forest.

    Examples
    --------
    >>> classifier("random_forest", trees=10, seed=0).n_estimators
    10
    """
    return {
        "same": None,
        "logistic_regression": LogisticRegression(C=1.0, max_iter=1000),
        "random_forest": RandomForestClassifier(
            trees, max_features="sqrt", random_state=seed, n_jobs=1
        ),
        "nearest_neighbours": KNeighborsClassifier(n_neighbors=5, n_jobs=1),
        # Pixels that are always 0 have no variance: a share of the largest one is added to all
        "naive_bayes": GaussianNB(var_smoothing=1e-3),
        "support_vectors": SVC(C=1.0, kernel="rbf", gamma="scale"),
    }[name]


class Scores(NamedTuple):
    """RCA's reverse score and the true accuracy in each setting, each (S,)."""

    reverse: Array
    true: Array


def scores(rca: ReverseClassificationAccuracy, settings: Settings) -> Scores:
    """Score a fitted RCA in each setting.

    Parameters
    ----------
    rca : ReverseClassificationAccuracy
        Fitted to the labelled part.
    settings : Settings
        Another part's.
    """
    answers = [rca.predict(x) for x in settings.x]
    reverse = [rca.reverse_score(x, y) for x, y in zip(settings.x, answers, strict=True)]
    return Scores(np.array(reverse), np.array([accuracy_score(settings.y, y) for y in answers]))


def mapped(rca: ReverseClassificationAccuracy, known: Scores, reverse: Array) -> Array:
    """Map reverse scores to accuracies.

    Parameters
    ----------
    rca : ReverseClassificationAccuracy
        Its `score_calibration` says how.
    known : Scores
        Of the mapping part, where accuracies are known.
    reverse : ndarray
        Reverse scores on the new data, (S,).

    Returns
    -------
    ndarray
        Shape (S,).
    """
    return rca.calibrate_scores(known.reverse, known.true).map_scores(reverse)


def mapped_unseen(
    rca: ReverseClassificationAccuracy, known: Scores, reverse: Array, kinds: Sequence[str]
) -> Array:
    """Map reverse scores under each kind of shift by what the other kinds teach.

    Parameters
    ----------
    rca, known, reverse
        As for `mapped`.
    kinds : sequence of str
        Kind of each setting, the same in `known` and `reverse`, (S,).

    Returns
    -------
    ndarray
        Shape (S,).
    """
    result = np.empty_like(reverse)
    for kind in set(kinds):
        same = np.array([other == kind for other in kinds])
        others = Scores(known.reverse[~same], known.true[~same])
        result[same] = mapped(rca, others, reverse[same])
    return result


def judge(
    base: Any,
    reverse: Any,
    old: Part,
    mapping: Settings,
    new: Settings,
    calibration: str,
    most: int,
) -> Columns:
    """Predict the accuracy of one classifier in every setting.

    Parameters
    ----------
    base, reverse : classifier
        The classifier and its reverse classifier; None: of the same kind.
    old : Part
        The labelled part.
    mapping, new : Settings
        The two other parts, shifted in the same ways.
    calibration : str
        How both classifiers are calibrated for the columns that say so.
    most : int
        Folds of calibration and cross-validation, at most.

    Returns
    -------
    dict of str to ndarray
        ``true`` accuracy, and predictions of it: ``raw``, ``linear``, ``isotonic``,
        ``linear_unseen``, ``isotonic_unseen``, ``cross_validation``; ``true_calibrated``, and
        predictions of it: ``calibrated``, ``confidence``. Each (S,).
    """
    plain = ReverseClassificationAccuracy(base, reverse).fit(*old)
    calibrated = ReverseClassificationAccuracy(
        base, reverse, calibration=calibration, calibration_folds=most
    ).fit(*old)
    known, reverse_scores, found_calibrated = (
        scores(rca, place) for rca, place in ((plain, mapping), (plain, new), (calibrated, new))
    )
    cv = StratifiedKFold(folds(old.y, most), shuffle=False)
    validated = cross_val_score(base, *old, scoring="accuracy", cv=cv, n_jobs=None).mean()
    columns = {
        "true": reverse_scores.true,
        "raw": reverse_scores.reverse,
        "cross_validation": np.full(len(new.kinds), validated),
        "true_calibrated": found_calibrated.true,
        "calibrated": found_calibrated.reverse,
        "confidence": np.array([calibrated.predict_proba(x).max(axis=1).mean() for x in new.x]),
    }
    for how in ("linear", "isotonic"):
        plain.set_params(score_calibration=how)
        columns[how] = mapped(plain, known, reverse_scores.reverse)
        columns[f"{how}_unseen"] = mapped_unseen(plain, known, reverse_scores.reverse, new.kinds)
    return columns


def correlation(predicted: Array, true: Array, ranks: bool = False) -> float:
    """Correlate predictions with the truth; 0 if one of them never changes.

    Parameters
    ----------
    predicted, true : ndarray
        Shape (S,).
    ranks : bool, default=False
        Spearman's correlation instead of Pearson's.

    Examples
    --------
    >>> correlation(np.array([0.1, 0.2, 0.9]), np.array([0.3, 0.4, 0.5]), ranks=True)
    1.0
    >>> correlation(np.array([0.5, 0.5]), np.array([0.3, 0.4]))
    0.0
    """
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    measure = stats.spearmanr if ranks else stats.pearsonr
    return round(float(measure(predicted, true).statistic), 12)  # 1.0, not 0.9999999999999998


def quantities(columns: Mapping[str, Array]) -> dict[str, float]:
    """Return the metrics of one seed and one classifier, or of all of them together.

    Parameters
    ----------
    columns : mapping of str to ndarray
        As `judge` gives them.
    """
    true, true_calibrated = columns["true"], columns["true_calibrated"]
    result = {
        "correlation": correlation(columns["raw"], true),
        "correlation_rank": correlation(columns["raw"], true, ranks=True),
        "correlation_calibrated": correlation(columns["calibrated"], true_calibrated),
        "correlation_confidence": correlation(columns["confidence"], true_calibrated),
    }
    for name in columns:
        if not name.startswith("true"):
            accuracy = true_calibrated if name in ("calibrated", "confidence") else true
            result[f"mae_{name}"] = float(np.abs(columns[name] - accuracy).mean())
    return result
