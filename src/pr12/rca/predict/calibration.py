"""From raw scores to calibrated predictions with intervals, for `pr12.rca.predict`.

By structure, an isotonic map leads from score to real Dice. Its errors are measured on patients
that it has not seen: the patients are dealt into folds, and a map fitted without a fold is asked
about it (CV+, Barber et al. 2021), so that every calibration case counts in both. Segmentations of
one patient are not independent; patients are counted, and each weighs the same.

Flags let at most a stated share of failures pass: the score below which a failure is flagged is
that of conformal prediction on the patients with a failure (a failure that passes is a loss of
one: conformal risk control, Angelopoulos et al. 2022).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from pr12.rca.model import conformal

NARROWEST = 0.005  # half of an interval; no segmenter's errors are known so well
HIGH = 0.5  # raw score that no segmentation without a right voxel has
FOLDS = 10
DRIFTED = 0.01  # p-value below which new cases are unlike those of the calibration


class Calibration(NamedTuple):
    """How the scores of one structure are read; N segmentations of some patients made it."""

    steps: conformal.Map  # raw score -> predicted Dice
    folds: tuple[conformal.Map, ...]  # as `steps`, each without a fold of patients
    fold: np.ndarray  # (N,), which of them has not seen the segmentation
    residuals: np.ndarray  # (N,), real Dice minus what that one predicts
    weights: np.ndarray  # (N,), each patient's add up to 1 / (patients + 1)
    raw: np.ndarray  # (N,)
    patients: int
    failures: int  # patients with a segmentation below the threshold
    cutoff: float | None  # raw scores up to it are flagged; None for too few failures
    alarms: float  # share of the good segmentations that are flagged by it


class Points(NamedTuple):
    """Raw scores and real Dice of one structure's segmentations, and whose they are."""

    raw: np.ndarray
    real: np.ndarray
    patient: np.ndarray  # of str
    kind: np.ndarray  # of str: of damage, or empty


def needed(share: float) -> int:
    """Return how many patients a bound needs that holds for a share of new ones.

    Parameters
    ----------
    share : float
        Such as the nominal coverage, below 1.

    Examples
    --------
    >>> needed(0.9), needed(0.8), needed(0.5)
    (9, 4, 2)
    """
    return max(math.ceil(round(share / (1 - share), 9)), 2)


def points(
    raw: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    patients: Sequence[str],
    kinds: Sequence[Sequence[str]],
    structure: int,
) -> Points:
    """Gather what is known of one structure.

    Parameters
    ----------
    raw, real : sequence of ndarray
        For each subject, raw scores and real Dice of its K segmentations, shape (K, S); NaN where
        there is none.
    patients : sequence of str
        Whose they are.
    kinds : sequence of sequence of str
        Of the K segmentations.
    structure : int
        From 0.
    """
    x, y = (np.concatenate([each[:, structure] for each in some]) for some in (raw, real))
    sizes = [len(each) for each in raw]
    patient = np.repeat(np.array(patients, dtype=object), sizes)
    kind = np.array([kind for listed in kinds for kind in listed], dtype=object)
    good = ~(np.isnan(x) | np.isnan(y))
    return Points(x[good].astype(float), y[good].astype(float), patient[good], kind[good])


def calibrate(
    points: Points, coverage: float, threshold: float, missed: float
) -> tuple[Calibration | None, str]:
    """Calibrate one structure.

    Parameters
    ----------
    points : Points
        Of the structure.
    coverage : float
        Nominal, of the intervals.
    threshold : float
        A segmentation of a lower Dice is a failure.
    missed : float
        Share of failures that may pass without a flag.

    Returns
    -------
    calibration : Calibration or None
        None for too few patients, or if the calibration cannot be.
    reason : str
        What cannot be about it, or nothing.

    Examples
    --------
    >>> raw = np.arange(10) / 10
    >>> cases = Points(raw, raw + 0.02 * (np.arange(10) % 2), np.arange(10).astype(str), raw)
    >>> result, reason = calibrate(cases, 0.8, 0.5, 0.2)
    >>> result.patients, result.failures, result.cutoff, reason
    (10, 5, 0.4, '')
    >>> calibrate(Points(*(each[:3] for each in cases)), 0.8, 0.5, 0.2)
    (None, '')
    """
    fitted = _fitted(points, coverage, threshold, missed)
    if fitted is None:
        return None, ""
    reason = impossible(points.raw, points.real)
    return (None if reason else fitted), reason


def _fitted(points: Points, coverage: float, threshold: float, missed: float) -> Calibration | None:
    names, whose, sizes = np.unique(points.patient, return_inverse=True, return_counts=True)
    if len(names) < needed(coverage):
        return None
    count = min(FOLDS, len(names))
    fold = whose % count
    folds = tuple(_map(points, fold != index) for index in range(count))
    predicted = np.empty_like(points.raw)
    for index, steps in enumerate(folds):
        predicted[fold == index] = steps(points.raw[fold == index])
    residuals = points.real - predicted
    weights = 1 / (sizes[whose] * (len(names) + 1))
    failed = points.real < threshold
    cutoff, failures = _cutoff(points.raw[failed], whose[failed], missed)
    alarms = np.mean(points.raw[~failed] <= cutoff) if cutoff is not None and any(~failed) else 0.0
    return Calibration(
        _map(points, np.ones(len(fold), bool)),
        folds,
        fold,
        residuals,
        weights,
        points.raw,
        len(names),
        failures,
        cutoff,
        float(alarms),
    )


def _map(points: Points, chosen: np.ndarray) -> conformal.Map:
    # A segmentation without a single right voxel scores 0 and is worth 0: without this point
    # the map of calibration cases that are all good would call it as good as the worst of them
    return conformal.isotonic_map(
        np.append(points.raw[chosen], 0.0), np.append(points.real[chosen], 0.0)
    )


def _cutoff(raw: np.ndarray, whose: np.ndarray, missed: float) -> tuple[float | None, int]:
    """Return the score up to which all but a share of the patients' failures lie."""
    highest = [float(raw[whose == patient].max()) for patient in np.unique(whose)]
    rank = math.ceil(round((len(highest) + 1) * (1 - missed), 9))
    return (sorted(highest)[rank - 1] if rank <= len(highest) else None), len(highest)


def _lowest(values: np.ndarray, weights: np.ndarray, share: float) -> np.ndarray:
    """Return the value in each column up to which at most a share of the weights lies."""
    order = np.argsort(values, axis=0, kind="stable")
    below = (np.cumsum(weights[order], axis=0) <= share + 1e-9).sum(axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    chosen = ordered[np.maximum(below - 1, 0), np.arange(values.shape[1])]
    return np.where(below > 0, chosen, -np.inf)


def interval(
    calibration: Calibration, raw: np.ndarray, coverage: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the intervals of new scores, and the one-sided bounds.

    Parameters
    ----------
    calibration : Calibration
        Of the structure.
    raw : ndarray
        Scores, shape (P,).
    coverage : float
        Nominal, of each of both.

    Returns
    -------
    low, high, at_least : ndarray
        Shape (P,), from 0 to 1, the prediction between low and high; the real Dice is `at_least` or
        more with the nominal probability.

    Examples
    --------
    >>> raw = np.arange(20) / 20
    >>> cases = Points(raw, np.abs(raw - 0.05), np.arange(20).astype(str), raw)
    >>> low, high, at_least = interval(calibrate(cases, 0.8, 0.5, 0.2)[0], np.array([0.5]), 0.8)
    >>> bool(0.3 < low[0] <= at_least[0] <= 0.45 <= high[0] < 0.6)
    True
    """
    centres = np.stack([steps(raw) for steps in calibration.folds])[calibration.fold]
    residuals = calibration.residuals[:, None]
    size, share = np.abs(residuals), 1 - coverage
    predicted = calibration.steps(raw)
    low = _lowest(centres - size, calibration.weights, share)
    high = -_lowest(-(centres + size), calibration.weights, share)
    at_least = _lowest(centres + residuals, calibration.weights, share)
    # A segmenter that nearly always fails alike is known well, and still not to a hair
    low = np.minimum(low, predicted - NARROWEST)
    high = np.maximum(high, predicted + NARROWEST)
    return np.clip(low, 0, 1), np.clip(high, 0, 1), np.clip(at_least, 0, 1)


def realised(patients: int, coverage: float) -> tuple[float, float]:
    """Return between what the coverage lies with 90 % confidence, by the number of patients.

    As of split conformal prediction (a Beta law), which CV+ comes near.

    Parameters
    ----------
    patients : int
        That calibrated.
    coverage : float
        Nominal.

    Examples
    --------
    >>> [round(end, 2) for end in realised(9, 0.9)], [round(end, 2) for end in realised(99, 0.9)]
    ([0.72, 0.99], [0.85, 0.94])
    """
    outside = math.floor(round((patients + 1) * (1 - coverage), 9))
    law = stats.beta(patients + 1 - outside, outside)
    return float(law.ppf(0.05)), float(law.ppf(0.95))


def by_kind(points: Points, coverage: float) -> dict[str, np.ndarray]:
    """Measure intervals on each kind of damage that they were calibrated without.

    Parameters
    ----------
    points : Points
        Of one structure of damaged references.
    coverage : float
        Nominal.

    Returns
    -------
    dict of str to ndarray
        Kind -> whether each of its segmentations lies in its interval.

    Examples
    --------
    >>> raw = np.tile(np.arange(10) / 10, 2)
    >>> kind = np.repeat(["cut", "moved"], 10)
    >>> cases = Points(raw, raw * np.where(kind == "cut", 0.5, 1), np.arange(20) % 10, kind)
    >>> {kind: float(inside.mean()) for kind, inside in by_kind(cases, 0.8).items()}
    {'cut': 0.1, 'moved': 0.1}
    """
    inside = {}
    for kind in dict.fromkeys(points.kind.tolist()):
        chosen = points.kind == kind
        calibration = _fitted(Points(*(each[~chosen] for each in points)), coverage, 0.0, 0.5)
        if calibration is not None:
            low, high, _ = interval(calibration, points.raw[chosen], coverage)
            real = points.real[chosen]
            inside[kind] = (low - 1e-9 <= real) & (real <= high + 1e-9)
    return inside


def drift(new: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return in what new cases are unlike those that calibrated: what is below `DRIFTED`.

    Parameters
    ----------
    new, before : mapping of str to ndarray
        What is compared -> values of the new cases, and of the calibration's.

    Returns
    -------
    dict of str to float
        What differs -> p-value of Kolmogorov and Smirnov's test, times the number of tests.

    Examples
    --------
    >>> same, lower = np.arange(40) / 40, np.arange(20) / 80
    >>> drift({"similarity": lower, "scores": same}, {"similarity": same, "scores": same}).keys()
    dict_keys(['similarity'])
    """
    differ = {}
    for name, values in new.items():
        both = [each[~np.isnan(each)] for each in (values, before[name])]
        if all(each.size for each in both):
            probability = float(stats.ks_2samp(*both, method="auto").pvalue) * len(new)
            if probability < DRIFTED:
                differ[name] = probability
    return differ


def impossible(raw: np.ndarray, real: np.ndarray) -> str:
    """Say what cannot be about the calibration of one structure, or nothing.

    Parameters
    ----------
    raw, real : ndarray
        Raw scores and real Dice, shape (N,).

    Examples
    --------
    >>> impossible(np.array([0.7, 0.8]), np.array([1.0, 1.0]))
    'the real Dice is 1.00 in all 2, as if segmentations were copied labels'
    """
    if np.ptp(real) < NARROWEST:
        return (
            f"the real Dice is {real.mean():.2f} in all {len(real)}, as if segmentations were "
            f"{'copied labels' if real.mean() > HIGH else 'of other images'}"
        )
    wrong = (real == 0) & (raw >= HIGH)
    if wrong.any():
        return (
            f"{wrong.sum()} of {len(real)} score up to {raw[wrong].max():.2f} where the real Dice "
            "is 0.00, as if segmentations and labels were of other images or numbers"
        )
    return ""
