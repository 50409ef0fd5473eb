"""Coverage, width and flags of `pr12 quality` on real segmenters, each calibrated on its own cases.

The full run's scores are dealt anew: of the subjects with known truth some calibrate, the others
are judged, as the tool would. How many references are needed is asked of the same scores.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from pr12.rca.data import score_files
from pr12.rca.model.measures import MEASURES
from pr12.rca.predict import calibration
from pr12.rca.predict.calibration import Points

DICE = MEASURES.index("dice")
COVERAGE, THRESHOLD, MISSED = 0.9, 0.7, 0.1
SUBSETS = 10


def deal(
    raw: np.ndarray, real: np.ndarray, chosen: np.ndarray
) -> tuple[float, float, float, float, float]:
    """Calibrate one structure of one segmenter on some subjects and judge the others.

    Returns coverage, mean half-width, share above the bound, share of failures that pass (NaN
    without one), and mean absolute error.
    """
    count = int(chosen.sum())
    points = Points(raw[chosen], real[chosen], np.arange(count), np.full(count, ""))
    ours, reason = calibration.calibrate(points, COVERAGE, THRESHOLD, MISSED)
    if ours is None:
        raise SystemExit(f"error: {reason}")
    new, truth = raw[~chosen], real[~chosen]
    low, high, at_least = calibration.interval(ours, new, COVERAGE)
    predicted = ours.steps(new)
    flagged = predicted < THRESHOLD
    if ours.cutoff is not None:
        flagged |= new <= ours.cutoff
    failed = truth < THRESHOLD
    passed = (
        float(np.mean(~flagged[failed])) if ours.cutoff is not None and failed.any() else np.nan
    )
    return (
        float(np.mean((low <= truth) & (truth <= high))),
        float(np.mean(high - low) / 2),
        float(np.mean(at_least <= truth)),
        passed,
        float(np.mean(np.abs(predicted - truth))),
    )


def main() -> None:
    """Print a line for each segmenter, then one for each number of references."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path, help="of the step quality: scores.safetensors")
    parser.add_argument("reverse", type=Path, help="of a step reverse_*: scores.safetensors")
    parser.add_argument("--calibration", type=int, default=40, help="subjects that calibrate")
    parser.add_argument("--deals", type=int, default=10, help="of each seed")
    args = parser.parse_args()
    # Where nothing failed, or nothing is promised
    warnings.filterwarnings("ignore", "Mean of empty slice")
    (real, names), (reverse, others) = score_files.read_both(
        {"real": args.real, "scores": args.reverse}
    )
    segmenters = names["segmenters"]
    seeds = sorted({seed for seed, _ in reverse})
    stream = np.random.default_rng(0)
    by_seed = {}
    for seed in seeds:
        splits = [split for split in ("calibration", "test") if (seed, split) in reverse]
        pairs = [
            (
                real[seed, split][score_files.rows(names, others, seed, split)][..., DICE],
                reverse[seed, split][..., DICE],
            )
            for split in splits
        ]
        by_seed[seed] = tuple(np.concatenate(part) for part in zip(*pairs, strict=True))
    print(
        f"{args.deals} deals of each of {len(seeds)} seeds, {args.calibration} subjects calibrate"
    )
    print("segmenter  coverage (least, most of a deal)  half-width  bound  passed  MAE")
    for index, name in enumerate(segmenters):
        results = []
        for truth, scores in by_seed.values():
            raw = np.nanmax(scores[:, index], axis=1)
            for _ in range(args.deals):
                chosen = np.zeros(len(truth), bool)
                chosen[stream.permutation(len(truth))[: args.calibration]] = True
                each = [deal(raw[:, s], truth[:, index, s], chosen) for s in range(truth.shape[2])]
                results.append(np.nanmean(each, axis=0))
        table = np.array(results)
        mean = np.nanmean(table, axis=0)
        print(
            f"{name:10s} {mean[0]:.3f} ({table[:, 0].min():.2f}, {table[:, 0].max():.2f})  "
            f"{mean[1]:.3f}  {mean[2]:.3f}  {mean[3]:.3f}  {mean[4]:.3f}"
        )
    print("references  MAE calibrated on its own cases, of all segmenters: max, mean")
    every = next(iter(by_seed.values()))[1].shape[2]
    for count in sorted({1, 2, 4, 8, every}):
        errors: dict[str, list[float]] = {"max": [], "mean": []}
        for truth, scores in by_seed.values():
            for _ in range(SUBSETS):
                some = stream.permutation(every)[:count]
                chosen = np.zeros(len(truth), bool)
                chosen[stream.permutation(len(truth))[: args.calibration]] = True
                for over, function in (("max", np.nanmax), ("mean", np.nanmean)):
                    raw = function(scores[:, :, some], axis=2)
                    errors[over] += [
                        deal(raw[:, k, s], truth[:, k, s], chosen)[4]
                        for k in range(len(segmenters))
                        for s in range(truth.shape[2])
                    ]
        print(f"{count:10d}  " + "  ".join(f"{np.mean(each):.4f}" for each in errors.values()))


if __name__ == "__main__":
    main()
