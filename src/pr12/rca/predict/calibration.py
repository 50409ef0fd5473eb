"""From raw scores to calibrated predictions with intervals, for `pr12.rca.predict`.

The calibration subjects are halved. By structure, an isotonic map from score to real Dice is fitted
on one half, and the residuals of the other half give the half-width of the intervals (split
conformal prediction). Segmentations of one subject are not independent, so that subjects are
counted, not segmentations, where it is asked whether there are enough for a coverage.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pr12.rca.model import conformal

NARROWEST = 0.005  # half of an interval; no segmenter's errors are known so well
HIGH = 0.5  # raw score that no segmentation without a right voxel has


class Calibration(NamedTuple):
    """How the scores of one structure are read."""

    steps: conformal.Map  # raw score -> predicted Dice
    half: float  # of the interval
    lowest: float  # raw score that was seen


def needed(coverage: float) -> int:
    """Return how many calibration subjects intervals need.

    Half of them, rounded up, must be at least coverage / (1 - coverage).

    Parameters
    ----------
    coverage : float
        Nominal, below 1.

    Examples
    --------
    >>> needed(0.9), needed(0.8), needed(0.5)
    (17, 7, 2)
    """
    return max(2 * math.ceil(round(coverage / (1 - coverage), 9)) - 1, 2)


def calibrate(
    raw: Sequence[np.ndarray], real: Sequence[np.ndarray], structures: int, coverage: float
) -> tuple[list[Calibration | None], dict[int, str]]:
    """Calibrate every structure.

    Parameters
    ----------
    raw, real : sequence of ndarray
        For each subject, raw scores and real Dice of its segmentations, shape (K, S); NaN where
        there is none.
    structures : int
        S.
    coverage : float
        Nominal, of the intervals.

    Returns
    -------
    calibrations : list of Calibration or None
        None for a structure with too few subjects, or whose calibration cannot be.
    reasons : dict of int to str
        Index of a structure -> what cannot be about its calibration.

    Examples
    --------
    >>> raw = [np.array([[0.1 * i]]) for i in range(10)]
    >>> real = [scores + 0.02 * (i // 2 % 2) for i, scores in enumerate(raw)]
    >>> (calibration,), _ = calibrate(raw, real, 1, 0.5)
    >>> 0.5 <= float(calibration.steps(np.array(0.5))) < 0.6, calibration.lowest
    (True, 0.0)
    >>> calibrate(raw[:1], raw[:1], 1, 0.5)
    ([None], {})
    """
    calibrations: list[Calibration | None] = []
    reasons: dict[int, str] = {}
    for structure in range(structures):
        pairs = [
            np.stack([scores[:, structure], dice[:, structure]])
            for scores, dice in zip(raw, real, strict=True)
        ]
        pairs = [pair[:, ~np.isnan(pair).any(axis=0)] for pair in pairs]
        pairs = [pair for pair in pairs if pair.size]
        if len(pairs) < needed(coverage):
            calibrations.append(None)
            continue
        hold, fit = (np.concatenate(pairs[start::2], axis=1) for start in (0, 1))
        # A segmentation without a single right voxel scores 0 and is worth 0: without this point
        # the map of calibration cases that are all good would call it as good as the worst of them
        steps = conformal.isotonic_map(np.append(fit[0], 0.0), np.append(fit[1], 0.0))
        half = conformal.half_width(np.abs(steps(hold[0]) - hold[1]), coverage)
        if reason := impossible(*np.concatenate(pairs, axis=1), half):
            reasons[structure] = reason
            calibrations.append(None)
            continue
        calibrations.append(Calibration(steps, half, float(min(hold[0].min(), fit[0].min()))))
    return calibrations, reasons


def impossible(raw: np.ndarray, real: np.ndarray, half: float) -> str:
    """Say what cannot be about the calibration of one structure, or nothing.

    Parameters
    ----------
    raw, real : ndarray
        Raw scores and real Dice, shape (N,).
    half : float
        Half-width of the intervals.

    Examples
    --------
    >>> impossible(np.array([0.7, 0.8]), np.array([1.0, 1.0]), 0.0)
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
    return f"its intervals have no width ({2 * half:.3f})" if half < NARROWEST else ""
