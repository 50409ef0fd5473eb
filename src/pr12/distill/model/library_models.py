"""The library that an ensemble is selected from: Bucila et al. (2006), Sec. 4, every family."""

from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

Models = dict[str, ClassifierMixin]


def candidates(count: int, trees: int, network_iterations: int, seed: int) -> Models:
    """Return the library: every family of the paper's in several settings (Sec. 4).

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
    return (
        _simple_models(count, seed)
        | _trees(trees, seed)
        | _boosted_trees(trees, seed)
        | _support_vector_machines(seed)
        | _nets(network_iterations, seed)
    )


def _simple_models(count: int, seed: int) -> Models:
    """Return logistic regressions, nearest neighbours and naive Bayes."""
    library: Models = {}
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
    return library


def _trees(trees: int, seed: int) -> Models:
    """Return trees, alone, bagged and in forests."""
    library: Models = {}
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
    return library


def _boosted_trees(trees: int, seed: int) -> Models:
    """Return trees boosted in both ways."""
    library: Models = {}
    for depth in (1, 3, 5):  # depth 1: boosted stumps
        weak = DecisionTreeClassifier(max_depth=depth, random_state=seed)
        library[f"boosted depth={depth}"] = AdaBoostClassifier(
            weak, n_estimators=trees, learning_rate=1.0, random_state=seed
        )
        library[f"gradient boosted depth={depth}"] = GradientBoostingClassifier(
            n_estimators=trees, max_depth=depth, learning_rate=0.1, random_state=seed
        )
    return library


def _support_vector_machines(seed: int) -> Models:
    """Return support vector machines of three kernels, calibrated."""
    library: Models = {}
    for c in (1, 10):
        for kernel, degree in (("linear", 1), ("poly", 2), ("rbf", 0)):
            machine = SVC(C=c, kernel=kernel, degree=degree, gamma="scale", random_state=seed)
            library[f"svm {kernel} C={c}"] = CalibratedClassifierCV(
                machine, method="sigmoid", cv=3, n_jobs=1, ensemble=False
            )
    return library


def _nets(network_iterations: int, seed: int) -> Models:
    """Return nets of one hidden layer."""
    return {
        f"net hidden={hidden} alpha={alpha}": MLPClassifier(
            (hidden,),
            activation="tanh",
            solver="lbfgs",
            alpha=alpha,
            max_iter=network_iterations,
            random_state=seed,
        )
        for hidden in (8, 32, 128)
        for alpha in (1e-3, 1e-1)
    }
