"""Predictions judged by parts: of one segmenter each, and from fewer references."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from pr12.rca.data import segmenter_names
from pr12.rca.model import estimates
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Evaluate as Params

DICE = MEASURES.index("dice")
SUBSETS = 100  # of references, at most, over which a smaller number of them is averaged


def by_segmenter(
    predicted: np.ndarray, real: np.ndarray, segmenters: Sequence[str], params: Params
) -> dict[str, float]:
    """Judge the predictions of each segmenter alone, and of those that are usable together.

    A user has one segmenter; what is pooled over many that were chosen to be unlike also knows
    which of them made a map.

    Parameters
    ----------
    predicted, real : ndarray
        Dice, shape (subjects, segmenters, structures).
    segmenters : sequence of str
        Names.
    params : Params
        The step's.

    """
    ranked = segmenter_names.ranked(segmenters)
    metrics = {}
    for index, name in enumerate(ranked):
        metrics |= estimates.dice_metrics(predicted[:, index], real[:, index], name)
    chosen = [ranked.index(name) for name in segmenter_names.usable(ranked)]
    some = predicted[:, chosen], real[:, chosen]
    metrics |= estimates.dice_metrics(*some, "usable")
    failures = estimates.failure_metrics(*some, params.threshold, params.false_positive_rate)
    return metrics | {key.replace("failure/", "usable/"): value for key, value in failures.items()}


def by_references(scores: np.ndarray, real: np.ndarray, estimator: str) -> dict[str, float]:
    """Judge predictions from fewer references, on average over subsets of them.

    One subset alone says more of its members than of their number.

    Parameters
    ----------
    scores : ndarray
        Shape (subjects, segmenters, references, structures, measures).
    real : ndarray
        Dice, shape (subjects, segmenters, structures).
    estimator : str
        As `estimates.estimate` knows it.

    Examples
    --------
    >>> scores = np.zeros((1, 1, 2, 2, 4))
    >>> scores[0, 0, 1] = 0.5
    >>> metrics = by_references(scores, np.full((1, 1, 2), 0.5), "max")
    >>> metrics["references_1/mae_dice"], metrics["references_2/mae_dice"]
    (0.25, 0.0)
    """
    count, metrics = scores.shape[2], {}
    numbers = sorted({min(2**power, count) for power in range(count.bit_length() + 1)})
    for number in numbers:
        by_subset = []
        for subset in subsets(count, number):
            predicted = estimates.estimate(scores[:, :, subset], estimator)[..., DICE]
            by_subset.append(estimates.dice_metrics(predicted, real, f"references_{number}"))
        metrics |= {key: float(np.mean([each[key] for each in by_subset])) for key in by_subset[0]}
    return metrics


def subsets(count: int, number: int) -> list[list[int]]:
    """Return all subsets of some of the first whole numbers, or `SUBSETS` of them by chance.

    Examples
    --------
    >>> subsets(3, 2), len(subsets(12, 4))
    ([[0, 1], [0, 2], [1, 2]], 100)
    """
    if math.comb(count, number) <= SUBSETS:
        return [list(subset) for subset in itertools.combinations(range(count), number)]
    stream = np.random.default_rng(number)
    return [sorted(stream.permutation(count)[:number].tolist()) for _ in range(SUBSETS)]
