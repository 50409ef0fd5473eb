"""How good is a classifier on data without labels? What others answer, and how sure RCA is.

Baselines that readers know: the mean confidence, the same less what it is too high by on labelled
data (DoC, Guillory et al. 2021), the share above a threshold that is right on labelled data (ATC,
Garg et al. 2022), the agreement of two classifiers (GDE, Jiang et al. 2022). All but the last need
labelled data that the classifier has not learnt from, and trust that confidence means on new data
what it meant there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from pr12.rca.data import tabular_data
from pr12.rca.data.tabular_data import Part, Split, Strongest
from pr12.rca.model.estimator import ReverseClassificationAccuracy

# ruff: noqa: N803 (X is scikit-learn's name of the features)

STRONGEST = Strongest(noise=4.0, rotation=60.0, missing=1.0)


class Estimate(NamedTuple):
    """A predicted score, its standard error, and the ends of a 95 % interval."""

    value: float
    error: float
    low: float
    high: float


def average_confidence(probabilities: ArrayLike) -> float:
    """Return the mean probability of the likeliest class.

    Parameters
    ----------
    probabilities : array-like
        On the new data, shape (N, classes).

    Examples
    --------
    >>> average_confidence([[0.75, 0.25], [0.5, 0.5]])
    0.625
    """
    return float(np.max(_probabilities(probabilities), axis=1).mean())


def difference_of_confidences(
    probabilities: ArrayLike, labelled: ArrayLike, correct: ArrayLike
) -> float:
    """Return the mean confidence, less what it is too high by on labelled data (DoC).

    Parameters
    ----------
    probabilities : array-like
        On the new data, shape (N, classes).
    labelled : array-like
        On labelled data that the classifier has not learnt from, shape (M, classes).
    correct : array-like
        Whether it is right there, shape (M,).

    Examples
    --------
    >>> difference_of_confidences([[0.75, 0.25]], [[0.75, 0.25], [0.5, 0.5]], [True, False])
    0.625
    """
    right = _correct(labelled, correct)
    excess = average_confidence(labelled) - right.mean()
    return float(np.clip(average_confidence(probabilities) - excess, 0.0, 1.0))


def thresholded_confidence(
    probabilities: ArrayLike, labelled: ArrayLike, correct: ArrayLike
) -> float:
    """Return the share of new examples whose confidence is above a threshold (ATC).

    On the labelled data as many examples lie above it as are right.

    Parameters
    ----------
    probabilities, labelled, correct : array-like
        As of `difference_of_confidences`.

    Examples
    --------
    >>> labelled = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]
    >>> thresholded_confidence([[0.7, 0.3], [0.95, 0.05]], labelled, [1, 0, 1, 0])
    0.5
    """
    right = _correct(labelled, correct)
    known = np.sort(np.max(_probabilities(labelled), axis=1))
    below = round(len(right) * (1 - right.mean()))
    threshold = known[below] if below < len(known) else np.inf
    return float((np.max(_probabilities(probabilities), axis=1) >= threshold).mean())


def agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Return the share of new examples on which two classifiers agree (GDE).

    Parameters
    ----------
    first, second : array-like
        Predictions of two classifiers that learnt from the same data, from other draws or seeds,
        shape (N,).

    Examples
    --------
    >>> agreement(["a", "b", "a", "a"], ["a", "b", "b", "a"])
    0.75
    """
    check_consistent_length(first, second)
    return float(np.mean(np.asarray(first) == np.asarray(second)))


def estimate_with_error(
    rca: ReverseClassificationAccuracy,
    X: Any,
    *,
    groups: ArrayLike | None = None,
    labelled_groups: ArrayLike | None = None,
    repeats: int = 50,
    random_state: int | None = 0,
) -> Estimate:
    """Predict a score on new data as `estimate` does, and say how sure it is.

    The standard error is that of the delete-half jackknife (Shao and Wu 1989): the reverse
    classifier learns from one half of the new data, drawn anew each time, and is scored on one half
    of the labelled data. It tells what other examples of the same kind would have given, not
    whether reverse scores and true ones belong together.

    Parameters
    ----------
    rca : ReverseClassificationAccuracy
        Fitted.
    X : array-like
        The new data, shape (N, D).
    groups, labelled_groups : array-like, optional
        Whose examples they are, shapes (N,) and (M,): halves are made of whole groups.
    repeats : int, default=50
        Halves that are drawn.
    random_state : int or None, default=0
        Seed of the draws.

    Raises
    ------
    ValueError
        If there are fewer than four groups of one kind, or fewer than two repeats.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> X, y = make_classification(400, 5, random_state=0)
    >>> rca = ReverseClassificationAccuracy(KNeighborsClassifier()).fit(X[:200], y[:200])
    >>> result = estimate_with_error(rca, X[200:])
    >>> result.value == rca.estimate(X[200:]), 0.01 < result.error < 0.05
    (True, True)
    """
    check_is_fitted(rca)
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; it must be 2 or more")
    stream = check_random_state(random_state)
    halves = zip(
        _halves(len(X), groups, repeats, stream, "groups"),
        _halves(len(rca.y_), labelled_groups, repeats, stream, "labelled_groups"),
        strict=True,
    )
    answers, scores = rca.predict(X), []
    for new, old in halves:
        reverse = rca.fit_reverse(_safe_indexing(X, new), answers[new])
        scores.append(rca.scorer_(reverse, _safe_indexing(rca.X_, old), rca.y_[old]))
    if rca.score_calibration is not None:
        scores = rca.map_scores(scores)
    value, error = rca.estimate(X), float(np.std(scores))
    ends = np.array([value - 1.96 * error, value + 1.96 * error])
    if rca.score_bounds is not None:
        ends = np.clip(ends, *rca.score_bounds)
    return Estimate(value, error, *ends.tolist())


def _halves(
    count: int, groups: ArrayLike | None, repeats: int, stream: np.random.RandomState, name: str
) -> Iterator[NDArray[np.intp]]:
    """Yield the examples of half of the groups, drawn without replacement."""
    if groups is not None and len(np.asarray(groups)) != count:
        raise ValueError(f"{name} has {len(np.asarray(groups))} values for {count} examples")
    every, whose = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)
    if len(every) < 4:
        raise ValueError(f"{name}: {len(every)} are too few to be halved; give at least 4")
    for _ in range(repeats):
        chosen = stream.permutation(len(every))[: len(every) // 2]
        yield np.flatnonzero(np.isin(whose, chosen))


def graded_shifts(
    X: ArrayLike,
    labelled: ArrayLike,
    *,
    strengths: int = 5,
    strongest: Strongest = STRONGEST,
    size: tuple[int, int] | None = None,
    random_state: int = 0,
) -> Iterator[tuple[str, float, NDArray[np.float64]]]:
    """Yield further labelled data under graded shifts, for `calibrate_scores`.

    Their labels stay what they were, so that each shifted copy gives one pair of a reverse and a
    true score.

    Parameters
    ----------
    X : array-like
        Labelled data that the classifier has not learnt from, shape (N, D); standardised features,
        or the pixels of images.
    labelled : array-like
        What it has learnt from, shape (M, D): its scale is that of noise, its mean stands for what
        is missing.
    strengths : int, default=5
        Of each kind.
    strongest : Strongest
        What each kind does at strength 1.
    size : tuple of int, optional
        Height and width, if the features are pixels: images are rotated as such.
    random_state : int, default=0
        Seed.

    Yields
    ------
    kind : str
        ``noise``, ``rotation`` or ``missing``.
    strength : float
        Up to 1.
    shifted : ndarray
        Shape (N, D).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((6, 3))
    >>> [(kind, strength) for kind, strength, _ in graded_shifts(X, X, strengths=1)]
    [('noise', 1.0), ('rotation', 1.0), ('missing', 1.0)]
    """
    data = [np.asarray(each, dtype=float) for each in (X, labelled)]
    part, old = (Part(each, np.zeros(len(each), np.int64)) for each in data)
    split = Split(old, part, part, size)
    series = tabular_data.settings(part, split, strongest, strengths, random_state)
    yield from zip(series.kinds, series.strengths, series.x, strict=True)


def _probabilities(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or not len(table):
        raise ValueError(f"probabilities have the shape {table.shape}; give (N, classes)")
    return table


def _correct(labelled: ArrayLike, correct: ArrayLike) -> NDArray[np.float64]:
    check_consistent_length(labelled, correct)
    return np.asarray(correct, dtype=float)
