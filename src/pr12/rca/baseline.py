"""What predicts Dice without any reference: the least that reverse classification has to beat.

`known_segmenter` looks at no scan: it predicts of every test segmentation what its segmenter
reached on calibration scans, on average. `agreement` compares a segmentation with those of the
other U-Nets that were trained anyway, as users of ensembles do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files, score_files
from pr12.rca.model import measures
from pr12.rca.params import Baseline as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError


def known(calibration: np.ndarray, subjects: int) -> np.ndarray:
    """Return each segmenter's mean real scores as the scores of all test subjects.

    Parameters
    ----------
    calibration : ndarray
        Real scores, shape (calibration subjects, segmenters, structures, measures); NaN where a
        distance is not defined.
    subjects : int
        Of the test split, N.

    Returns
    -------
    ndarray
        float32, shape (N, segmenters, 1, structures, measures); NaN where none was defined.

    Examples
    --------
    >>> known(np.array([0.5, 1.0]).reshape(2, 1, 1, 1), 3).ravel().tolist()
    [0.75, 0.75, 0.75]
    """
    defined = ~np.isnan(calibration)
    total = np.where(defined, calibration, 0.0).sum(axis=0)
    count = defined.sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return np.repeat(mean[None, :, None], subjects, axis=0)


def agreed(segmentations: np.ndarray, names: Sequence[str], structures: int) -> np.ndarray:
    """Compare the segmentations of one scan with those of the U-Nets.

    Parameters
    ----------
    segmentations : ndarray
        uint8, shape (segmenters, *scan).
    names : sequence of str
        Of the segmenters.
    structures : int
        S.

    Returns
    -------
    ndarray
        float32, shape (segmenters, U-Nets, S, measures): a U-Net stands in the place of a
        reference; NaN where it would be compared with itself.

    Examples
    --------
    >>> maps = np.array([[[0, 1]], [[0, 1]], [[1, 1]]], np.uint8)
    >>> scores = agreed(maps, ["forest_5", "unet_8", "unet_30"], 1)
    >>> scores[..., 0, 0].astype(float).round(2).tolist()
    [[1.0, 0.67], [nan, 0.67], [0.67, nan]]
    """
    nets = [index for index, name in enumerate(names) if name.startswith("unet_")]
    scores = [measures.agreement(segmentations, segmentations[net], structures) for net in nets]
    for column, net in enumerate(nets):
        scores[column][net] = np.nan
    return np.stack(scores, axis=1)


def by_segmenter(paths: Mapping[str, Path]) -> tuple[score_files.Scores, dict[str, list[str]]]:
    """Return the scores of every seed's test subjects, and their names."""
    real, texts = score_files.read_scores(paths["real"])
    names = score_files.read_names(texts)
    scores = {}
    for seed in sorted(seed for seed, split in real if split == "test"):
        if (seed, "calibration") not in real:
            raise UserError(
                f"{paths['real']} has no calibration scores of seed {seed}; make it again"
            )
        tests = names[f"{seed}/test"]
        scores[seed, "test"] = known(real[seed, "calibration"], len(tests))
    return scores, {key: names[f"{key[0]}/test"] for key in scores}


def by_agreement(paths: Mapping[str, Path]) -> tuple[score_files.Scores, dict]:
    """Return the scores of every seed's test subjects, and their names."""
    segmentations, segmenters = scan_files.read_segmentations(paths["segmentations"])
    tests = scan_files.read_scans(paths["test"])
    structures, work, names = len(tests.structures), [], {}
    for seed, scans in tests.by_seed.items():
        names[seed, "test"] = [scan.name for scan in scans]
        for scan in scans:
            key = (seed, "test", scan.name)
            maps = scan_files.maps_of(
                segmentations, key, scan.image, structures, paths["segmentations"]
            )
            work.append((maps, segmenters, structures))
    results = iter(spread(agreed, work))
    scores = {key: np.stack([next(results) for _ in scanned]) for key, scanned in names.items()}
    return scores, names


def main(job: step.Job) -> None:
    """Score all test segmentations."""
    make = by_segmenter if job.params.kind == "known_segmenter" else by_agreement
    scores, names = make(job.paths)
    score_files.write_scores(job.paths["scores"], scores, score_files.metadata(names))


if __name__ == "__main__":
    with step.start(
        Params, reads=[], optional=["real", "test", "segmentations"], writes=["scores"]
    ) as job:
        main(job)
