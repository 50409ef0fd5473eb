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


class Calibration(NamedTuple):
    """How the scores of one structure are read."""

    steps: conformal.Map  # raw score -> predicted Dice
    half: float  # of the interval
    lowest: float  # raw score that was seen


def needed(coverage: float) -> int:
    """Give how many calibration subjects intervals need.

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
) -> list[Calibration | None]:
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
    list of Calibration or None
        None for a structure with too few subjects.

    Examples
    --------
    >>> raw = [np.array([[0.1 * i]]) for i in range(10)]
    >>> (found,) = calibrate(raw, raw, 1, 0.5)
    >>> float(found.steps(np.array(0.5))), found.half < 0.06, found.lowest
    (0.5, True, 0.0)
    >>> calibrate(raw[:1], raw[:1], 1, 0.5)
    [None]
    """
    found: list[Calibration | None] = []
    for structure in range(structures):
        pairs = [
            np.stack([scores[:, structure], dice[:, structure]])
            for scores, dice in zip(raw, real, strict=True)
        ]
        pairs = [own[:, ~np.isnan(own).any(axis=0)] for own in pairs]
        pairs = [own for own in pairs if own.size]
        if len(pairs) < needed(coverage):
            found.append(None)
            continue
        hold, fit = (np.concatenate(pairs[start::2], axis=1) for start in (0, 1))
        # A segmentation without a single right voxel scores 0 and is worth 0: without this point
        # the map of calibration cases that are all good would call it as good as the worst of them
        steps = conformal.isotonic_map(np.append(fit[0], 0.0), np.append(fit[1], 0.0))
        half = conformal.half_width(np.abs(steps(hold[0]) - hold[1]), coverage)
        found.append(Calibration(steps, half, float(min(hold[0].min(), fit[0].min()))))
    return found
