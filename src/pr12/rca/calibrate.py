"""Calibrated prediction of Dice: maps fitted on calibration subjects, intervals with coverage.

The calibration subjects are halved: the maps learn from the first half, the residuals that set the
intervals' width are of the second, and all is judged on the test subjects. The coverage of one such
deal depends on a few dozen people, so the same people are dealt anew many times, and metrics are
given as means over the deals too; no deal judges a subject that it was calibrated on, but the deals
of one seed share their people, and those of two seeds some.
"""

import numpy as np

from pr12.rca.data import scan_files, subjects
from pr12.rca.model import conformal, estimates
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Calibrate as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DICE = MEASURES.index("dice")
SPLITS = ("calibration", "test")


def calibrated(
    fit: tuple[np.ndarray, np.ndarray],
    hold: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    params: Params,
) -> tuple[dict[str, float], dict[str, list]]:
    """Calibrate by two groups of subjects and judge on a third.

    Parameters
    ----------
    fit, hold, test : tuple of ndarray
        Real Dice, shape (subjects, segmenters, structures), and scores on references, shape
        (subjects, segmenters, references, structures).
    params : Params
        The step's.

    Returns
    -------
    metrics : dict of str to float
        Mean absolute error raw and mapped; coverage and mean width of the intervals by map and by
        the references' percentiles; failures flagged by the isotonic map at the threshold.
    picture : dict of str to list
        Points and intervals of the isotonic map at the middle coverage.
    """
    raw = {
        name: estimates.estimate(_measured(scores), params.estimator)[..., DICE]
        for name, (_, scores) in (("fit", fit), ("hold", hold), ("test", test))
    }
    found = {"test/mae_raw": float(np.abs(raw["test"] - test[0]).mean())}
    shown: dict[str, list] = {}
    middle = sorted(params.coverages)[len(params.coverages) // 2]
    for kind, make in conformal.MAPS.items():
        mapped = make(raw["fit"], fit[0])
        predicted = mapped(raw["test"])
        found[f"test/mae_{kind}"] = float(np.abs(predicted - test[0]).mean())
        residuals = np.abs(mapped(raw["hold"]) - hold[0])
        for coverage in params.coverages:
            half = conformal.half_width(residuals, coverage)
            ends = np.clip(predicted - half, 0, 1), np.clip(predicted + half, 0, 1)
            found |= _covered(test[0], *ends, f"{kind}_{100 * coverage:g}")
            if kind == "isotonic" and coverage == middle:
                shown = _shown(raw["test"], test[0], predicted, *ends)
        if kind == "isotonic":
            limits = params.threshold, params.false_positive_rate
            own = estimates.failure_metrics(predicted, test[0], *limits)
            found |= {key.replace("failure/", "flagged/"): value for key, value in own.items()}
    return found | by_percentiles(fit, hold, test, params), shown


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
    found = {}
    for coverage in params.coverages:
        half = conformal.half_width(residuals, coverage)
        # Negative where the band was too wide: its ends may then cross, and meet in the middle
        ends = np.minimum(low - half, (low + high) / 2), np.maximum(high + half, (low + high) / 2)
        clipped = (np.clip(end, 0, 1) for end in ends)
        found |= _covered(test[0], *clipped, f"percentiles_{100 * coverage:g}")
    return found


def _measured(dice: np.ndarray) -> np.ndarray:
    """Put Dice where `estimate` looks for it among the measures."""
    found = np.zeros((*dice.shape, len(MEASURES)), dice.dtype)
    found[..., DICE] = dice
    return found


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


def dealt(
    calibration: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    params: Params,
    seed: int,
) -> tuple[dict[str, float], dict[str, list]]:
    """Calibrate and judge one seed over all deals of its subjects.

    Parameters
    ----------
    calibration, test : tuple of ndarray
        Real Dice and scores on references, as `calibrated` takes them.
    params : Params
        The step's.
    seed : int
        Of the deals.

    Returns
    -------
    metrics : dict of str to float
        Means over the deals that give the metric (``test``), those of the first deal alone
        (``first``), and percentiles of the coverages over the deals (``deals``).
    picture : dict of str to list
        Of the first deal: the subjects as they stand.

    Raises
    ------
    UserError
        If one calibration subject cannot be halved.
    """
    count = len(calibration[0])
    half = count // 2
    if half == 0:
        raise UserError("one calibration subject cannot be halved; raise rca.scans.calibration")
    both = tuple(np.concatenate(pair) for pair in zip(calibration, test, strict=True))
    stream = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    first: dict[str, list] = {}
    single: dict[str, float] = {}
    for deal in range(params.deals):
        order = stream.permutation(len(both[0])) if deal else np.arange(len(both[0]))
        rows = order[:half], order[half:count], order[count:]
        groups = (tuple(own[chosen] for own in both) for chosen in rows)
        metrics, shown = calibrated(*groups, params)
        if deal == 0:
            first, single = shown, metrics
        for key, value in metrics.items():
            found.setdefault(key, []).append(value)
    means = {key: float(np.mean(values)) for key, values in found.items()}
    spread = {
        f"{key.replace('test/', 'deals/')}_percentile_{share}": float(np.percentile(values, share))
        for key, values in found.items()
        if "/coverage_" in key
        for share in (5, 95)
    }
    own = {key.replace("test/", "first/"): v for key, v in single.items() if "test/" in key}
    return means | spread | own, first


def main(job: step.Job) -> None:
    """Calibrate and judge every seed."""
    params, paths = job.params, job.paths
    if len(params.band) != 2 or not 0 <= params.band[0] < params.band[1] <= 100:
        raise UserError(f"band is {list(params.band)}; it must be two rising percentiles, 0 to 100")
    for coverage in params.coverages:
        if not 0 < coverage < 1:
            raise UserError(f"coverages has {coverage:g}; each must lie between 0 and 1")
    real, metadata = scan_files.read_scores(paths["real"])
    scores, whose = scan_files.read_scores(paths["scores"])
    names = subjects.named(metadata), subjects.named(whose)
    found, pictures = [], []
    for seed in sorted(seed for seed, split in real if split == "test"):
        rows = {s: subjects.rows(*names, seed, s) for s in SPLITS}
        parts = {s: (real[seed, s][rows[s]][..., DICE], scores[seed, s][..., DICE]) for s in SPLITS}
        metrics, shown = dealt(parts["calibration"], parts["test"], params, seed)
        found.append(metrics)
        pictures.append(shown)
    shared = [key for key in found[0] if all(key in own for own in found)]
    metrics = {key: [own[key] for own in found] for key in shared}
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    points = {key: [value for own in pictures for value in own[key]] for key in pictures[0]}
    files.write_json(paths["picture"], points)


if __name__ == "__main__":
    with step.start(Params, reads=["real", "scores"], writes=["metrics", "picture"]) as job:
        main(job)
