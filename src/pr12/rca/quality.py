"""How good the segmentations under test really are, by their true labels."""

from collections.abc import Mapping

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files, score_files, segmenter_names
from pr12.rca.data.scan_files import Scan, Scans
from pr12.rca.model import measures
from pr12.rca.params import Quality as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DICE = measures.MEASURES.index("dice")
EXAMPLES = 4  # scans that the figures show
LOW = 0.7  # Dice below which a segmentation counts as failed (Robinson et al. 2019)


def summary(real: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    """Summarise the real Dice of one seed's test segmentations.

    Parameters
    ----------
    real : ndarray
        Shape (subjects, segmenters, structures, measures).
    names : tuple of str
        Of the segmenters.

    Returns
    -------
    dict of str to float
        Metric key -> value: the mean Dice of all and of each segmenter, by kind and strength, the
        10th and 90th percentile, and the share of failures.

    Examples
    --------
    >>> summary(np.full((2, 1, 3, 4), 0.5), ("unet_10",))["unet_1/dice"]
    0.5
    """
    dice = real[..., DICE]
    metrics = {
        "pooled/dice": float(dice.mean()),
        "pooled/dice_percentile_10": float(np.percentile(dice, 10)),
        "pooled/dice_percentile_90": float(np.percentile(dice, 90)),
        "pooled/failures": float((dice < LOW).mean()),
    }
    by_name = zip(segmenter_names.ranked(names), np.moveaxis(dice, 1, 0), strict=True)
    return metrics | {f"{name}/dice": float(values.mean()) for name, values in by_name}


def example(scan: Scan, segmentations: np.ndarray) -> dict[str, list]:
    """Cut the slice of a scan in which most is labelled, to be shown.

    Parameters
    ----------
    scan : Scan
        With its true labels.
    segmentations : ndarray
        uint8, shape (segmenters, *scan).

    Returns
    -------
    dict of str to list
        ``image`` (0 to 255), ``truth`` and ``segmentations``, rows of pixels.

    Examples
    --------
    >>> scan = Scan("a", np.ones((2, 1, 2), np.float32), np.array([[[0, 0]], [[0, 1]]], np.uint8))
    >>> example(scan, scan.labels[None])["truth"]
    [[0, 1]]
    """
    image, truth, maps = scan.image, scan.labels, segmentations
    if image.ndim == 3:
        index = int((truth > 0).sum(axis=(1, 2)).argmax())
        image, truth, maps = image[index], truth[index], maps[:, index]
    grey = np.rint(255 * image.astype(float)).astype(int)
    return {"image": grey.tolist(), "truth": truth.tolist(), "segmentations": maps.tolist()}


def picture(
    dice: np.ndarray, scans: list[Scan], segmentations: list[np.ndarray]
) -> dict[str, list]:
    """Return what the figures show of the segmenters.

    Parameters
    ----------
    dice : ndarray
        Shape (subjects of all seeds, segmenters, structures).
    scans : list of Scan
        The first test scans of the first seed.
    segmentations : list of ndarray
        Of these scans.

    Returns
    -------
    dict of str to list
        ``dice`` by segmenter, rounded, and ``examples``.
    """
    by_segmenter = np.moveaxis(dice, 1, 0).reshape(dice.shape[1], -1)
    pairs = zip(scans, segmentations, strict=True)
    return {
        "dice": np.round(by_segmenter.astype(float), 4).tolist(),
        "examples": [example(scan, maps) for scan, maps in pairs],
    }


def by_key(splits: Mapping[str, Scans]) -> dict[tuple[int, str, str], Scan]:
    """Return the scans of several splits by seed, split and name."""
    return {
        (seed, split, scan.name): scan
        for split, scans in splits.items()
        for seed, subjects_of_seed in scans.by_seed.items()
        for scan in subjects_of_seed
    }


def main(job: step.Job) -> None:
    """Measure every segmentation."""
    paths = job.paths
    segmentations, names = scan_files.read_segmentations(paths["segmentations"])
    splits = scan_files.read_splits(paths, ("calibration", "test"))
    tests = splits["test"]
    structures, scans = tests.structures, by_key(splits)
    for key, scan in scans.items():
        scan_files.maps_of(segmentations, key, scan.image, len(structures), paths["segmentations"])
    if unknown := sorted(set(segmentations) - set(scans)):
        raise UserError(
            f"{paths['segmentations']} has the scan {'/'.join(map(str, unknown[0]))}, which is "
            f"neither in {paths['calibration']} nor in {paths['test']}; make all three again"
        )
    work = [(maps, scans[key].labels, len(structures)) for key, maps in segmentations.items()]
    real: dict[tuple[int, str], list[np.ndarray]] = {}
    scanned: dict[tuple[int, str], list[str]] = {}
    measured = zip(segmentations, spread(measures.agreement, work), strict=True)
    for (seed, split, name), values in measured:
        real.setdefault((seed, split), []).append(values)
        scanned.setdefault((seed, split), []).append(name)
    scores = {key: np.stack(values) for key, values in real.items()}
    texts = score_files.metadata(scanned, structures=structures, segmenters=names)
    score_files.write_scores(paths["scores"], scores, texts)
    by_seed = [
        summary(values, names) for (_, split), values in sorted(scores.items()) if split == "test"
    ]
    metrics = {key: [values[key] for values in by_seed] for key in by_seed[0]}
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    first = min(tests.by_seed)
    by_name = {scan.name: scan for scan in tests.by_seed[first]}
    shown = [by_name[name] for name in scanned[first, "test"][:EXAMPLES]]
    every = np.concatenate(
        [values[..., DICE] for (_, s), values in sorted(scores.items()) if s == "test"]
    )
    maps = [segmentations[first, "test", scan.name] for scan in shown]
    names_of = {"structures": list(structures), "segmenters": list(names)}
    files.write_json(paths["picture"], picture(every, shown, maps) | names_of)


if __name__ == "__main__":
    with step.start(
        Params,
        reads=["calibration", "test", "segmentations"],
        writes=["scores", "metrics", "picture"],
    ) as job:
        main(job)
