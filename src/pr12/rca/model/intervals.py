"""Predictions of Dice with intervals: calibrated on two groups of subjects, judged on a third."""

import itertools
from collections.abc import Sequence

import numpy as np

from pr12.rca.model import conformal, estimates
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Calibrate as Params

DICE = MEASURES.index("dice")
RANGES = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)  # of raw scores, by which coverage is told apart
LEAST_SPREAD = 0.01  # of scores over references, in Dice


def calibrated(
    fit: tuple[np.ndarray, np.ndarray],
    hold: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    params: Params,
    segmenters: Sequence[str],
) -> tuple[dict[str, float], dict[str, list]]:
    """Calibrate by two groups of subjects and judge on a third.

    Parameters
    ----------
    fit, hold, test : tuple of ndarray
        Real Dice, shape (subjects, segmenters, structures), and scores on references, shape
        (subjects, segmenters, references, structures).
    params : Params
        The step's.
    segmenters : sequence of str
        By kind and rank.

    Returns
    -------
    metrics : dict of str to float
        Mean absolute error raw and mapped; coverage and mean width of the intervals by map, by the
        references' percentiles and with widths that follow the references' spread; failures flagged
        by the isotonic map at the threshold. Of the isotonic map's intervals at the middle coverage
        also the coverage of each segmenter, of each range of raw scores, and of each segmenter
        whose maps were left out of the calibration.
    picture : dict of str to list
        Points and intervals of the isotonic map at the middle coverage.
    """
    raw = {
        name: estimates.estimate(_measured(scores), params.estimator)[..., DICE]
        for name, (_, scores) in (("fit", fit), ("hold", hold), ("test", test))
    }
    metrics = {"test/mae_raw": float(np.abs(raw["test"] - test[0]).mean())}
    shown: dict[str, list] = {}
    middle = sorted(params.coverages)[len(params.coverages) // 2]
    for kind, make in conformal.MAPS.items():
        mapped = make(raw["fit"], fit[0])
        predicted = mapped(raw["test"])
        metrics[f"test/mae_{kind}"] = float(np.abs(predicted - test[0]).mean())
        residuals = np.abs(mapped(raw["hold"]) - hold[0])
        for coverage in params.coverages:
            half = conformal.half_width(residuals, coverage)
            ends = np.clip(predicted - half, 0, 1), np.clip(predicted + half, 0, 1)
            metrics |= _covered(test[0], *ends, f"{kind}_{100 * coverage:g}")
            if kind == "isotonic" and coverage == middle:
                shown = _shown(raw["test"], test[0], predicted, *ends)
                inside = (ends[0] <= test[0]) & (test[0] <= ends[1])
                metrics |= by_part(inside, raw["test"], f"{kind}_{100 * coverage:g}", segmenters)
        if kind == "isotonic":
            limits = params.threshold, params.false_positive_rate
            failures = estimates.failure_metrics(predicted, test[0], *limits)
            metrics |= {
                key.replace("failure/", "flagged/"): value for key, value in failures.items()
            }
    groups = [(raw[name], real) for name, (real, _) in zip(raw, (fit, hold, test), strict=True)]
    if len(segmenters) > 1:
        metrics |= left_out(groups, middle, segmenters)
    metrics |= by_spread(fit, hold, test, params)
    return metrics | by_percentiles(fit, hold, test, params), shown


def by_part(
    inside: np.ndarray, raw: np.ndarray, name: str, segmenters: Sequence[str]
) -> dict[str, float]:
    """Return the coverage of each segmenter, and of each range of raw scores that has any.

    What covers on average over a pool need not cover within a part of it.

    Parameters
    ----------
    inside : ndarray
        bool, shape (subjects, segmenters, structures): whether an interval covers.
    raw : ndarray
        Raw scores, of that shape.
    name : str
        Of the intervals.
    segmenters : sequence of str
        By kind and rank.

    Examples
    --------
    >>> inside, raw = np.array([[[True], [False]]]), np.array([[[0.75], [0.2]]])
    >>> by_part(inside, raw, "isotonic_90", ["unet_1", "unet_2"])  # doctest: +NORMALIZE_WHITESPACE
    {'unet_1/coverage_isotonic_90': 1.0, 'unet_2/coverage_isotonic_90': 0.0,
     'raw_0_to_50/coverage_isotonic_90': 0.0, 'raw_70_to_80/coverage_isotonic_90': 1.0}
    """
    metrics = {
        f"{segmenter}/coverage_{name}": float(inside[:, index].mean())
        for index, segmenter in enumerate(segmenters)
    }
    for low, high in itertools.pairwise(RANGES):
        chosen = (raw >= low) & (raw < high if high < 1 else raw <= high)
        if chosen.any():
            key = f"raw_{100 * low:.0f}_to_{100 * high:.0f}/coverage_{name}"
            metrics[key] = float(inside[chosen].mean())
    return metrics


def left_out(
    groups: Sequence[tuple[np.ndarray, np.ndarray]], coverage: float, segmenters: Sequence[str]
) -> dict[str, float]:
    """Return the coverage of each segmenter by a calibration that has seen none of its maps.

    Parameters
    ----------
    groups : sequence of tuple of ndarray
        Raw scores and real Dice to fit on, of held out subjects, and of test subjects, each of
        shape (subjects, segmenters, structures).
    coverage : float
        Nominal.
    segmenters : sequence of str
        By kind and rank.
    """
    metrics = {}
    for index, segmenter in enumerate(segmenters):
        fit, hold = (
            tuple(np.delete(values, index, axis=1) for values in group) for group in groups[:2]
        )
        raw, real = (values[:, index] for values in groups[2])
        mapped = conformal.isotonic_map(*fit)
        half = conformal.half_width(np.abs(mapped(hold[0]) - hold[1]), coverage)
        inside = np.abs(mapped(raw) - real) <= half
        key = f"{segmenter}/coverage_left_out_{100 * coverage:g}"
        metrics[key] = float(inside.mean())
    return metrics


def by_spread(
    fit: tuple[np.ndarray, np.ndarray],
    hold: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    params: Params,
) -> dict[str, float]:
    """Let the width of intervals follow the spread of the scores over references.

    Normalised residuals: each is divided by the standard deviation over references, at least
    `LEAST_SPREAD`, so that a segmentation on which references disagree gets a wider interval.

    Parameters
    ----------
    fit, hold, test, params
        As in `calibrated`.

    Returns
    -------
    dict of str to float
        Coverage and mean width.
    """
    raw = [
        estimates.estimate(_measured(scores), params.estimator)[..., DICE]
        for _, scores in (fit, hold, test)
    ]
    spread = [np.maximum(scores.std(axis=2), LEAST_SPREAD) for _, scores in (fit, hold, test)]
    mapped = conformal.isotonic_map(raw[0], fit[0])
    residuals = np.abs(mapped(raw[1]) - hold[0]) / spread[1]
    metrics = {}
    for coverage in params.coverages:
        half = conformal.half_width(residuals, coverage) * spread[2]
        predicted = mapped(raw[2])
        ends = np.clip(predicted - half, 0, 1), np.clip(predicted + half, 0, 1)
        metrics |= _covered(test[0], *ends, f"normalised_{100 * coverage:g}")
    return metrics


def by_percentiles(
    fit: tuple[np.ndarray, np.ndarray],
    hold: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    params: Params,
) -> dict[str, float]:
    """Take the spread of the scores over references as interval, widened or narrowed to cover.

    No map is fitted, so that both groups of calibration subjects give residuals (Cosarinsky et al.
    2025).

    Parameters
    ----------
    fit, hold, test, params
        As in `calibrated`.

    Returns
    -------
    dict of str to float
        Coverage and mean width.
    """
    real, scores = (np.concatenate([fit[part], hold[part]]) for part in (0, 1))
    last = np.moveaxis(scores, 2, -1), np.moveaxis(test[1], 2, -1)
    _, _, residuals = conformal.percentile_residuals(last[0], real, params.band)
    low, high, _ = conformal.percentile_residuals(last[1], test[0], params.band)
    metrics = {}
    for coverage in params.coverages:
        half = conformal.half_width(residuals, coverage)
        # Negative where the band was too wide: its ends may then cross, and meet in the middle
        ends = np.minimum(low - half, (low + high) / 2), np.maximum(high + half, (low + high) / 2)
        clipped = (np.clip(end, 0, 1) for end in ends)
        metrics |= _covered(test[0], *clipped, f"percentiles_{100 * coverage:g}")
    return metrics


def _measured(dice: np.ndarray) -> np.ndarray:
    """Put Dice where `estimate` looks for it among the measures."""
    result = np.zeros((*dice.shape, len(MEASURES)), dice.dtype)
    result[..., DICE] = dice
    return result


def _covered(real: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> dict[str, float]:
    inside = (low <= real) & (real <= high)
    return {
        f"test/coverage_{name}": float(inside.mean()),
        f"test/width_{name}": float((high - low).mean()),
    }


def _shown(*arrays: np.ndarray) -> dict[str, list]:
    names = ("raw", "real", "predicted", "low", "high")
    return {
        name: np.round(array.astype(float), 4).ravel().tolist()
        for name, array in zip(names, arrays, strict=True)
    }
