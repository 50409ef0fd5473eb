"""Calibrated prediction of Dice: maps fitted on calibration subjects, intervals with coverage.

The calibration subjects are halved: the maps learn from the first half, the residuals that set the
intervals' width are of the second, and all is judged on the test subjects. The coverage of one such
deal depends on a few dozen people, so the same people are dealt anew many times, and metrics are
given as means over the deals too; no deal judges a subject that it was calibrated on, but the deals
of one seed share their people, and those of two seeds some.
"""

from collections.abc import Sequence

import numpy as np

from pr12.rca.data import score_files, segmenter_names
from pr12.rca.model import estimates, intervals
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Calibrate as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DICE = MEASURES.index("dice")
SPLITS = ("calibration", "test")


def dealt(
    calibration: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    params: Params,
    seed: int,
    segmenters: Sequence[str],
) -> tuple[dict[str, float], dict[str, list]]:
    """Calibrate and judge one seed over all deals of its subjects.

    Parameters
    ----------
    calibration, test : tuple of ndarray
        Real Dice and scores on references, as `intervals.calibrated` takes them.
    params : Params
        The step's.
    seed : int
        Of the deals.
    segmenters : sequence of str
        By kind and rank.

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
    by_metric: dict[str, list[float]] = {}
    first: dict[str, list] = {}
    single: dict[str, float] = {}
    for deal in range(params.deals):
        order = stream.permutation(len(both[0])) if deal else np.arange(len(both[0]))
        rows = order[:half], order[half:count], order[count:]
        groups = (tuple(single_deal[chosen] for single_deal in both) for chosen in rows)
        metrics, shown = intervals.calibrated(*groups, params, segmenters)
        if deal == 0:
            first, single = shown, metrics
        for key, value in metrics.items():
            by_metric.setdefault(key, []).append(value)
    means = {key: float(np.mean(values)) for key, values in by_metric.items()}
    spread = {
        f"{key.replace('test/', 'deals/')}_percentile_{share}": float(np.percentile(values, share))
        for key, values in by_metric.items()
        if key.startswith("test/coverage_")
        for share in (5, 95)
    }
    single_deal = {key.replace("test/", "first/"): v for key, v in single.items() if "test/" in key}
    return means | spread | single_deal, first


def main(job: step.Job) -> None:
    """Calibrate and judge every seed."""
    params, paths = job.params, job.paths
    if len(params.band) != 2 or params.band[0] >= params.band[1]:
        raise UserError(f"rca.calibrate.band is {list(params.band)}; give two rising percentiles")
    for coverage in params.coverages:
        if not 0 < coverage < 1:
            raise UserError(
                f"rca.calibrate.coverages has {coverage:g}; each must lie between 0 and 1"
            )
    (real, names), (scores, other_names) = score_files.read_both(paths)
    by_seed, pictures = [], []
    for seed in sorted(seed for seed, split in scores if split == "test"):
        rows = {s: score_files.rows(names, other_names, seed, s) for s in SPLITS}
        parts = {s: (real[seed, s][rows[s]][..., DICE], scores[seed, s][..., DICE]) for s in SPLITS}
        ranked = segmenter_names.ranked(names["segmenters"])
        metrics, picture = dealt(parts["calibration"], parts["test"], params, seed, ranked)
        by_seed.append(metrics)
        pictures.append(picture)
    metrics = estimates.by_metric(by_seed)
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    points = {
        key: [value for picture_of_seed in pictures for value in picture_of_seed[key]]
        for key in pictures[0]
    }
    files.write_json(paths["picture"], points)


if __name__ == "__main__":
    with step.start(Params, reads=["real", "scores"], writes=["metrics", "picture"]) as job:
        main(job)
