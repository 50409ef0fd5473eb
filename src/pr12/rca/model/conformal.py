"""Calibrated predictions: maps from RCA's score to the real one, and intervals that cover it.

Split conformal prediction, as Conformal In-Context RCA uses it (Cosarinsky et al. 2025): the
residuals of calibration cases give a half-width that covers a new, exchangeable case with at least
the nominal probability. Several segmentations and structures of one subject are pooled; they are
not independent, so the guarantee is approximate (it would be exact with one segmentation per
subject), and the spread of a measured coverage is that of subjects.
"""

import math
from collections.abc import Callable

import numpy as np
from sklearn.isotonic import IsotonicRegression

from pr12.workflow.errors import UserError

Map = Callable[[np.ndarray], np.ndarray]


def linear_map(scores: np.ndarray, real: np.ndarray) -> Map:
    """Fit the line from score to real Dice by least squares, cut off at 0 and 1.

    Parameters
    ----------
    scores, real : ndarray
        Of calibration cases, one shape.

    Returns
    -------
    callable
        Score -> predicted Dice.

    Examples
    --------
    >>> line = linear_map(np.array([0.2, 0.6]), np.array([0.3, 0.9]))
    >>> line(np.array([0.4, 2.0])).round(6).tolist()
    [0.6, 1.0]
    """
    x, y = scores.ravel().astype(float), real.ravel().astype(float)
    slope = 0.0 if np.ptp(x) == 0 else float(np.cov(x, y)[0, 1] / np.var(x, ddof=1))
    offset = float(y.mean() - slope * x.mean())
    return lambda new: np.clip(offset + slope * np.asarray(new, float), 0.0, 1.0)


def isotonic_map(scores: np.ndarray, real: np.ndarray) -> Map:
    """Fit the rising step function from score to real Dice by least squares.

    Parameters
    ----------
    scores, real : ndarray
        Of calibration cases, one shape.

    Returns
    -------
    callable
        Score -> predicted Dice; beyond the calibrated scores its ends go on.

    Examples
    --------
    >>> steps = isotonic_map(np.array([0.2, 0.4, 0.6]), np.array([0.3, 0.1, 0.9]))
    >>> steps(np.array([0.1, 0.9])).tolist()
    [0.2, 0.9]
    """
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
    fitted.fit(scores.ravel().astype(float), real.ravel().astype(float))
    return lambda new: fitted.predict(np.ravel(new)).reshape(np.shape(new))


MAPS: dict[str, Callable[[np.ndarray, np.ndarray], Map]] = {
    "linear": linear_map,
    "isotonic": isotonic_map,
}


def half_width(residuals: np.ndarray, coverage: float) -> float:
    """Return the half-width of split conformal intervals.

    Parameters
    ----------
    residuals : ndarray
        Of n calibration cases that the prediction was not fitted on; larger is worse.
    coverage : float
        Nominal, between 0 and 1.

    Returns
    -------
    float
        The ceil((n + 1) coverage)-th smallest residual.

    Raises
    ------
    UserError
        If there are fewer cases than the coverage needs.

    Examples
    --------
    >>> half_width(np.array([0.1, 0.4, 0.2, 0.3]), 0.8)
    0.4
    >>> half_width(np.array([0.1, 0.2]), 0.9)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: 2 calibration cases are too few for intervals of 90 % \
coverage; give at least 9 or ask for less
    """
    n = residuals.size
    rank = math.ceil(round((n + 1) * coverage, 9))
    if rank > n:
        needed = math.ceil(round(coverage / (1 - coverage), 9))
        raise UserError(
            f"{n} calibration cases are too few for intervals of {100 * coverage:g} % coverage; "
            f"give at least {needed} or ask for less"
        )
    return float(np.sort(residuals, axis=None)[rank - 1])


def percentile_residuals(scores: np.ndarray, real: np.ndarray, band: tuple[float, float]):
    """Return the band of a case's scores over references, and how far the real one lies outside.

    The conformity score of Conformal In-Context RCA: max(low - real, real - high), negative inside.

    Parameters
    ----------
    scores : ndarray
        Shape (..., references).
    real : ndarray
        Shape (...).
    band : tuple of float
        Percentiles, 0 to 100.

    Returns
    -------
    low, high, residuals : ndarray
        Shape (...).

    Examples
    --------
    >>> scores = np.array([[0.0, 0.5, 1.0]])
    >>> [part.tolist() for part in percentile_residuals(scores, np.array([0.9]), (0, 50))]
    [[0.0], [0.5], [0.4]]
    """
    low, high = np.percentile(scores, band, axis=-1)
    return low, high, np.maximum(low - real, real - high)
