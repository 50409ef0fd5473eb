"""Ensemble selection from a library of models (Caruana, Niculescu-Mizil, Crew & Ksikes 2004).

The teacher of model compression: many different models are fitted, and the ensemble is selected
greedily on a validation set.
"""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

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


def candidates(
    count: int, trees: int, network_iterations: int, seed: int
) -> dict[str, ClassifierMixin]:
    """List the library: every family of the paper's in several settings (Sec. 4).

    Parameters
    ----------
    count : int
        Examples to train on; neighbourhoods may not be larger.
    trees : int
        Trees in bagged and boosted ensembles and forests.
    network_iterations : int
        Most L-BFGS iterations of a net.
    seed : int
        For all that is random in a model.

    Returns
    -------
    dict of str to classifier
        Unfitted models; nets are those whose name starts with ``net``.

    Examples
    --------
    >>> len(candidates(200, 10, 10, 0))
    56
    """
    library: dict[str, ClassifierMixin] = {}
    for c in (0.01, 0.1, 1, 10, 100):
        library[f"logistic C={c}"] = LogisticRegression(
            C=c, solver="lbfgs", max_iter=1000, random_state=seed
        )
    for k in (1, 3, 7, 15, 31, 63):
        for weights in ("uniform", "distance"):
            library[f"knn k={k} {weights}"] = KNeighborsClassifier(
                min(k, count), weights=weights, algorithm="brute", n_jobs=1
            )
    for smoothing in (1e-9, 1e-3, 1e-1):
        library[f"naive Bayes {smoothing}"] = GaussianNB(var_smoothing=smoothing)
    for leaf in (1, 5, 20):
        tree = DecisionTreeClassifier(criterion="gini", min_samples_leaf=leaf, random_state=seed)
        library[f"tree leaf={leaf}"] = tree
        library[f"bagged leaf={leaf}"] = BaggingClassifier(
            tree, n_estimators=trees, n_jobs=1, random_state=seed
        )
        for features in ("sqrt", 0.3):
            settings: dict[str, Any] = {
                "n_estimators": trees,
                "min_samples_leaf": leaf,
                "max_features": features,
                "n_jobs": 1,
                "random_state": seed,
            }
            label = f"leaf={leaf} features={features}"
            library[f"forest {label}"] = RandomForestClassifier(**settings)
            library[f"extra trees {label}"] = ExtraTreesClassifier(**settings)
    for depth in (1, 3, 5):  # depth 1: boosted stumps
        weak = DecisionTreeClassifier(max_depth=depth, random_state=seed)
        library[f"boosted depth={depth}"] = AdaBoostClassifier(
            weak, n_estimators=trees, learning_rate=1.0, random_state=seed
        )
        library[f"gradient boosted depth={depth}"] = GradientBoostingClassifier(
            n_estimators=trees, max_depth=depth, learning_rate=0.1, random_state=seed
        )
    for c in (1, 10):
        for kernel, degree in (("linear", 1), ("poly", 2), ("rbf", 0)):
            machine = SVC(C=c, kernel=kernel, degree=degree, gamma="scale", random_state=seed)
            library[f"svm {kernel} C={c}"] = CalibratedClassifierCV(
                machine, method="sigmoid", cv=3, n_jobs=1, ensemble=False
            )
    for hidden in (8, 32, 128):
        for alpha in (1e-3, 1e-1):
            library[f"net hidden={hidden} alpha={alpha}"] = MLPClassifier(
                (hidden,),
                activation="tanh",
                solver="lbfgs",
                alpha=alpha,
                max_iter=network_iterations,
                random_state=seed,
            )
    return library


def rmse(probabilities: Array, targets: Array) -> Array:
    """Give the root-mean-square error of predicted probabilities along the last axis.

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
    """Give the ensemble's probability of the positive class: the mean over selected models."""
    return sum(
        weight * model.predict_proba(inputs)[:, 1]
        for model, weight in zip(ensemble.models, ensemble.weights, strict=True)
    )


def size_bytes(ensemble: Ensemble) -> int:
    """Give the size of an ensemble: the bytes of its models, each once, when pickled."""
    return sum(len(pickle.dumps(model)) for model in ensemble.models)
