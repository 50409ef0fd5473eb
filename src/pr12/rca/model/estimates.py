"""From scores on references to one predicted score, and how good the predictions are."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score, roc_curve

from pr12.rca.model.measures import MEASURES, OVERLAPS

TOP = 3  # references whose mean the estimator `top3` takes


def estimate(scores: np.ndarray, estimator: str) -> np.ndarray:
    """Predict each measure of each segmentation from its scores on the references.

    Parameters
    ----------
    scores : ndarray
        Shape (subjects, segmenters, references, structures, measures).
    estimator : str
        ``max``: the best over references, which is the paper's (Valindria et al. 2017, Sec. III):
        the greatest overlap, the smallest distance; ``mean``; ``top3``: the mean of the best three.

    Returns
    -------
    ndarray
        Shape (subjects, segmenters, structures, measures); NaN where no reference has a distance
        (what arrived there was empty), else over those that have one.

    Examples
    --------
    >>> scores = np.array([0.2, 0.6, 0.4, 0.8]).reshape(1, 1, 4, 1, 1).repeat(4, axis=-1)
    >>> estimate(scores, "max")[0, 0, 0].tolist()  # of distances the smallest
    [0.8, 0.8, 0.2, 0.2]
    >>> estimate(scores, "top3")[0, 0, 0].round(2).tolist()
    [0.6, 0.6, 0.4, 0.4]
    """
    used = {"max": 1, "top3": TOP, "mean": scores.shape[2]}[estimator]
    signs = np.array([1.0 if measure in OVERLAPS else -1.0 for measure in MEASURES])
    best = np.sort(-scores * signs, axis=2)[:, :, :used]  # NaN is sorted to the end
    defined = ~np.isnan(best)
    count = defined.sum(axis=2)
    total = np.where(defined, best, 0.0).sum(axis=2)
    return np.where(count > 0, -signs * total / np.maximum(count, 1), np.nan)


def correlation(predicted: np.ndarray, real: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where one side does not vary, for then nothing is told.

    Parameters
    ----------
    predicted, real : ndarray
        Of one shape.

    Examples
    --------
    >>> correlation(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    1.0
    >>> correlation(np.array([1.0, 1.0]), np.array([3.0, 5.0]))
    0.0
    """
    x, y = (np.asarray(side, float).ravel() for side in (predicted, real))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1].round(12))


def rank_correlation(predicted: np.ndarray, real: np.ndarray) -> float:
    """Return Spearman's correlation; 0 where one side does not vary.

    Parameters
    ----------
    predicted, real : ndarray
        Of one shape.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 2.0, 30.0]), np.array([3.0, 5.0, 6.0]))
    1.0
    """
    x, y = (np.asarray(side, float).ravel() for side in (predicted, real))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(spearmanr(x, y).statistic.round(12))


def agreement_metrics(predicted: np.ndarray, real: np.ndarray, prefix: str) -> dict[str, float]:
    """Say how well each measure is predicted.

    Parameters
    ----------
    predicted, real : ndarray
        Shape (..., measures).
    prefix : str
        Of the metric keys, such as ``pooled``.

    Returns
    -------
    dict of str to float
        Pearson's and Spearman's correlation, the mean absolute error, and the mean of predicted
        minus real, over the segmentations where both are defined, and the share of those where
        one is not (distances of nothing). ``correlation_dice_defined`` and the like are of overlaps
        where distances are defined, for a comparison on equal terms.

    Examples
    --------
    >>> same = np.arange(8.0).reshape(2, 4)
    >>> agreement_metrics(same, same, "pooled")["pooled/mae_dice"]
    0.0
    """
    metrics = {}
    everywhere = ~(np.isnan(predicted) | np.isnan(real)).any(axis=-1)
    for index, measure in enumerate(MEASURES):
        if measure in OVERLAPS and everywhere.any():
            alike = predicted[everywhere][:, index], real[everywhere][:, index]
            metrics[f"{prefix}/correlation_{measure}_defined"] = correlation(*alike)
            metrics[f"{prefix}/correlation_rank_{measure}_defined"] = rank_correlation(*alike)
        x, y = predicted[..., index].ravel(), real[..., index].ravel()
        defined = ~(np.isnan(x) | np.isnan(y))
        metrics[f"{prefix}/undefined_{measure}"] = float(1 - defined.mean())
        x, y = x[defined], y[defined]
        if not defined.any():
            continue
        metrics[f"{prefix}/correlation_{measure}"] = correlation(x, y)
        metrics[f"{prefix}/correlation_rank_{measure}"] = rank_correlation(x, y)
        metrics[f"{prefix}/mae_{measure}"] = float(np.abs(x - y).mean())
        metrics[f"{prefix}/bias_{measure}"] = float((x - y).mean())
    return metrics


def dice_metrics(predicted: np.ndarray, real: np.ndarray, prefix: str) -> dict[str, float]:
    """Say how well Dice is predicted.

    Parameters
    ----------
    predicted, real : ndarray
        Dice, of one shape.
    prefix : str
        Of the metric keys.

    Examples
    --------
    >>> metrics = dice_metrics(np.array([0.5, 1.0]), np.array([0.25, 0.5]), "unet_3")
    >>> metrics["unet_3/correlation_dice"], metrics["unet_3/mae_dice"]
    (1.0, 0.375)
    """
    return {
        f"{prefix}/correlation_dice": correlation(predicted, real),
        f"{prefix}/correlation_rank_dice": rank_correlation(predicted, real),
        f"{prefix}/mae_dice": float(np.abs(predicted - real).mean()),
        f"{prefix}/bias_dice": float((predicted - real).mean()),
    }


def failure_metrics(
    predicted: np.ndarray, real: np.ndarray, threshold: float, false_positive_rate: float
) -> dict[str, float]:
    """Say how well failed segmentations are found by their predicted Dice.

    Parameters
    ----------
    predicted, real : ndarray
        Dice, of one shape.
    threshold : float
        A segmentation has failed if its real Dice is lower; it is flagged if its predicted is.
    false_positive_rate : float
        At which the sensitivity is read off the ROC curve (its threshold is then chosen on these
        very data: it describes the ranking and is no promise).

    Returns
    -------
    dict of str to float
        Share of failures; flagged at the threshold: sensitivity, false positive rate, accuracy,
        counts; area under the ROC curve and the sensitivity at the given rate, if both failed and
        good ones exist.

    Examples
    --------
    >>> real, predicted = np.array([0.2, 0.9, 0.8, 0.3]), np.array([0.1, 0.8, 0.6, 0.4])
    >>> result = failure_metrics(predicted, real, 0.7, 0.1)
    >>> result["failure/sensitivity"], result["failure/false_positive_rate"], result["failure/auc"]
    (1.0, 0.5, 1.0)
    """
    failed, flagged = real.ravel() < threshold, predicted.ravel() < threshold
    hits, misses = int((failed & flagged).sum()), int((failed & ~flagged).sum())
    alarms, passes = int((~failed & flagged).sum()), int((~failed & ~flagged).sum())
    metrics = {
        "failure/share": float(failed.mean()),
        "failure/accuracy": (hits + passes) / len(failed),
        "failure/true_positives": hits,
        "failure/false_negatives": misses,
        "failure/false_positives": alarms,
        "failure/true_negatives": passes,
    }
    if failed.any() and not failed.all():
        rates, sensitivities, _ = roc_curve(failed, -predicted.ravel(), drop_intermediate=False)
        metrics |= {
            "failure/sensitivity": hits / (hits + misses),
            "failure/false_positive_rate": alarms / (alarms + passes),
            "failure/auc": float(roc_auc_score(failed, -predicted.ravel())),
            "failure/sensitivity_at_rate": float(sensitivities[rates <= false_positive_rate].max()),
        }
    return metrics


def by_metric(by_seed: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return the values of all seeds of each metric that every seed has.

    Parameters
    ----------
    by_seed : sequence of mapping of str to float
        Metric key -> value.

    Examples
    --------
    >>> by_metric([{"a": 1.0, "b": 2.0}, {"a": 3.0}])
    {'a': [1.0, 3.0]}
    """
    shared = [key for key in by_seed[0] if all(key in metrics for metrics in by_seed)]
    return {key: [metrics[key] for metrics in by_seed] for key in shared}
