"""Forests that label voxels one by one, kept as plain arrays.

scikit-learn grows the trees (extremely randomised ones, Geurts et al. 2006: grown in a fraction of
a random forest's time). Its own file format is a pickle, which this project does not read; the
arrays of the trees are kept instead, and `probabilities` walks down them.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

ARRAYS = ("left", "right", "feature", "threshold", "value", "roots")


def grow(features: np.ndarray, labels: np.ndarray, trees: int, depth: int, seed: int):
    """Grow a forest.

    Parameters
    ----------
    features : ndarray
        float32, shape (voxels, F).
    labels : ndarray
        uint8, shape (voxels,).
    trees, depth : int
        How many, and how deep at most.
    seed : int
        Of the trees' random cuts.

    Returns
    -------
    ExtraTreesClassifier
        Fitted.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0]], np.float32)
    >>> grow(x, np.array([0, 2]), 3, 2, 0).predict(x).tolist()
    [0, 2]
    """
    forest = ExtraTreesClassifier(
        n_estimators=trees,
        max_depth=depth,
        min_samples_leaf=2 if len(labels) > 100 else 1,
        max_features=None,  # every feature is tried: few voxels are foreground
        bootstrap=False,
        n_jobs=1,
        random_state=seed,
    )
    return forest.fit(features, labels)


def to_arrays(forest: ExtraTreesClassifier, classes: int) -> dict[str, np.ndarray]:
    """Return the trees of a fitted forest as arrays.

    Parameters
    ----------
    forest : ExtraTreesClassifier
        Fitted on labels from 0 to `classes` - 1, of which some may be missing.
    classes : int
        Number of labels.

    Returns
    -------
    dict of str to ndarray
        `ARRAYS`: of every node of all trees the children (a leaf is its own child), the feature
        and the threshold of its question, and the labels' shares; the first node of each tree.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0]], np.float32)
    >>> sorted(to_arrays(grow(x, np.array([0, 2]), 3, 2, 0), 3)) == sorted(ARRAYS)
    True
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    start = 0
    for estimator in forest.estimators_:
        tree = estimator.tree_
        nodes = np.arange(start, start + tree.node_count)
        leaf = tree.children_left < 0
        parts["left"].append(np.where(leaf, nodes, tree.children_left + start))
        parts["right"].append(np.where(leaf, nodes, tree.children_right + start))
        parts["feature"].append(np.where(leaf, 0, tree.feature))
        parts["threshold"].append(np.where(leaf, 0.0, tree.threshold))
        shares = np.zeros((tree.node_count, classes))
        weights = tree.value[:, 0]
        shares[:, forest.classes_.astype(int)] = weights / weights.sum(axis=1, keepdims=True)
        parts["value"].append(shares)
        parts["roots"].append(np.array([start]))
        start += tree.node_count
    kinds = dict.fromkeys(ARRAYS, np.int32) | {"threshold": np.float64, "value": np.float32}
    return {name: np.concatenate(nodes).astype(kinds[name]) for name, nodes in parts.items()}


def probabilities(arrays: Mapping[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Return the labels' probabilities: the mean over the trees of the shares in the leaf reached.

    Parameters
    ----------
    arrays : mapping
        As `to_arrays` gives them.
    features : ndarray
        float32, shape (voxels, F).

    Returns
    -------
    ndarray
        float32, shape (voxels, classes).

    Examples
    --------
    >>> x = np.array([[0.0], [1.0]], np.float32)
    >>> probabilities(to_arrays(grow(x, np.array([0, 2]), 3, 2, 0), 3), x).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    left, right, feature, threshold, value, roots = (arrays[name] for name in ARRAYS)
    total = np.zeros((len(features), value.shape[1]), np.float32)
    for root in roots:
        node = np.full(len(features), root, np.int32)
        moving = np.arange(len(features))
        while len(moving):
            here = node[moving]
            ahead = features[moving, feature[here]] <= threshold[here]
            there = np.where(ahead, left[here], right[here])
            node[moving] = there
            moving = moving[left[there] != there]  # a leaf is its own child
        total += value[node]
    return total / len(roots)
