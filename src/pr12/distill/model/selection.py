"""Ensemble selection from a library of models (Caruana, Niculescu-Mizil, Crew & Ksikes 2004).

The teacher of model compression: many different models are fitted, and the ensemble is selected
greedily on a validation set.
"""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

Array = NDArray[np.float64]
Inputs = NDArray[np.float32]


class Ensemble(NamedTuple):
    """Models and how often each was selected."""

    models: tuple[ClassifierMixin, ...]
    weights: Array  # sum to 1


class Teacher(NamedTuple):
    """What the library gave for one problem."""

    ensemble: Ensemble
    best_net: Ensemble  # of one model: the net with the least validation RMSE
    best_single: Ensemble  # of one model of any family
    candidates: int  # models in the library


def rmse(probabilities: Array, targets: Array) -> Array:
    """Return the root-mean-square error of predicted probabilities along the last axis.

    Parameters
    ----------
    probabilities, targets : array (..., N), array (N,)
        Predictions and 0/1 targets.

    Examples
    --------
    >>> rmse(np.array([1.0, 0.0]), np.array([1, 1])).round(4)
    np.float64(0.7071)
    """
    return np.sqrt(np.square(probabilities - targets).mean(axis=-1))


def select(predictions: Array, targets: Array, rounds: int) -> NDArray[np.int64]:
    """Select an ensemble greedily, with replacement, by RMSE (Caruana et al. 2004, Sec. 2).

    It starts with the N best models, N being the best (sorted initialisation); each round adds
    the model that helps most or hurts least, and the best ensemble on the way is kept.

    Parameters
    ----------
    predictions : array (M, N)
        Each model's probabilities on the hill-climbing (validation) set.
    targets : array (N,)
        0 or 1.
    rounds : int
        Models to add.

    Returns
    -------
    int array (M,)
        How often each model was selected.

    Examples
    --------
    The second model's error is the first one's mirrored, the third is useless:

    >>> select(np.array([[0.9, 0.3], [0.7, 0.1], [0.0, 1.0]]), np.array([1, 0]), 2)
    array([1, 1, 0])
    """
    ranked = np.argsort(rmse(predictions, targets), kind="stable")
    numbers = np.arange(1, len(predictions) + 1)
    running = predictions[ranked].cumsum(axis=0) / numbers[:, None]
    start = int(rmse(running, targets).argmin()) + 1
    counts = np.zeros(len(predictions), dtype=np.int64)
    counts[ranked[:start]] = 1
    total = predictions[ranked[:start]].sum(axis=0)
    best, best_error = counts.copy(), rmse(total / start, targets)
    for size in range(start + 1, start + 1 + rounds):
        errors = rmse((total + predictions) / size, targets)
        added = int(errors.argmin())
        counts[added] += 1
        total = total + predictions[added]
        if errors[added] < best_error - 1e-12:  # rounding is no improvement
            best, best_error = counts.copy(), errors[added]
    return best


def fit(
    library: Mapping[str, ClassifierMixin], inputs: Inputs, targets: NDArray[np.int64]
) -> Iterator[ClassifierMixin]:
    """Fit the models one after the other.

    Parameters
    ----------
    library : mapping of str to classifier
        Unfitted models.
    inputs, targets : array (N, D), array (N,)
        The training set.

    Yields
    ------
    classifier
        Fitted, in the library's order.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> library = {"bayes": GaussianNB(var_smoothing=1e-9)}
    >>> (model,) = fit(library, np.array([[0.0], [1.0]]), np.array([0, 1]))
    >>> model.predict_proba([[0.9]]).round(2)
    array([[0., 1.]])
    """
    for model in library.values():
        with warnings.catch_warnings():
            # A net stopped before convergence is a member like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield model.fit(inputs, targets)


def teach(
    library: Mapping[str, ClassifierMixin],
    train: tuple[Inputs, NDArray[np.int64]],
    validation: tuple[Inputs, NDArray[np.int64]],
    rounds: int,
) -> Teacher:
    """Fit the library to the training set and select on the validation set.

    Parameters
    ----------
    library : mapping of str to classifier
        Unfitted models; at least one name starts with ``net``.
    train, validation : tuple of array (N, D) and array (N,)
        Inputs and 0/1 targets.
    rounds : int
        Models to add after the sorted initialisation.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> library = {"bayes": GaussianNB(), "net": LogisticRegression()}
    >>> data = (np.array([[0.0], [1.0]], dtype=np.float32), np.array([0, 1]))
    >>> teacher = teach(library, data, data, 0)
    >>> teacher.best_single.models, teacher.best_net.models
    ((GaussianNB(),), (LogisticRegression(),))
    """
    fitted = list(fit(library, *train))
    inputs, targets = validation
    predictions = np.stack([model.predict_proba(inputs)[:, 1] for model in fitted])
    counts = select(predictions, targets, rounds)
    errors = rmse(predictions, targets)
    is_net = np.array([name.startswith("net") for name in library])
    net = int(np.where(is_net, errors, np.inf).argmin())
    chosen = np.flatnonzero(counts)
    return Teacher(
        Ensemble(tuple(fitted[i] for i in chosen), counts[chosen] / counts.sum()),
        Ensemble((fitted[net],), np.ones(1)),
        Ensemble((fitted[int(errors.argmin())],), np.ones(1)),
        len(fitted),
    )


def probabilities(ensemble: Ensemble, inputs: Inputs) -> Array:
    """Return the ensemble's probability of the positive class: the mean over selected models."""
    return sum(
        weight * model.predict_proba(inputs)[:, 1]
        for model, weight in zip(ensemble.models, ensemble.weights, strict=True)
    )


def size_bytes(ensemble: Ensemble) -> int:
    """Return the size of an ensemble: the bytes of its models, each once, when pickled."""
    return sum(len(pickle.dumps(model)) for model in ensemble.models)
