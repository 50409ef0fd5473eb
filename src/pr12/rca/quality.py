"""How good the segmentations under test really are, by their true labels."""

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files, subjects
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import measures
from pr12.rca.params import Quality as Params
from pr12.workflow import files, step

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
    found = {
        "pooled/dice": float(dice.mean()),
        "pooled/dice_percentile_10": float(np.percentile(dice, 10)),
        "pooled/dice_percentile_90": float(np.percentile(dice, 90)),
        "pooled/failures": float((dice < LOW).mean()),
    }
    ranks: dict[str, int] = {}
    for index, name in enumerate(names):
        kind = name.partition("_")[0]
        ranks[kind] = ranks.get(kind, 0) + 1  # by rank: strengths differ between runs
        found[f"{kind}_{ranks[kind]}/dice"] = float(dice[:, index].mean())
    return found


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
    """Give what the figures show of the segmenters.

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
        "examples": [example(scan, own) for scan, own in pairs],
    }


def main(job: step.Job) -> None:
    """Measure every segmentation."""
    paths = job.paths
    segmentations, names = scan_files.read_segmentations(paths["segmentations"])
    tests = scan_files.read_scans(paths["test"])
    structures, truths = tests.structures, {}
    for split in ("calibration", "test"):
        for seed, own in scan_files.read_scans(paths[split]).by_seed.items():
            truths |= {(seed, split, scan.name): scan.labels for scan in own}
    work = [(own, truths[key], len(structures)) for key, own in segmentations.items()]
    real: dict[tuple[int, str], list[np.ndarray]] = {}
    scanned: dict[tuple[int, str], list[str]] = {}
    measured = zip(segmentations, spread(measures.agreement, work), strict=True)
    for (seed, split, name), own in measured:
        real.setdefault((seed, split), []).append(own)
        scanned.setdefault((seed, split), []).append(name)
    scores = {key: np.stack(own) for key, own in real.items()}
    said = subjects.told(scanned, structures=structures, segmenters=names)
    scan_files.write_scores(paths["scores"], scores, said)
    found = [summary(own, names) for (_, split), own in sorted(scores.items()) if split == "test"]
    metrics = {key: [own[key] for own in found] for key in found[0]}
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    first = min(tests.by_seed)
    by_name = {scan.name: scan for scan in tests.by_seed[first]}
    shown = [by_name[name] for name in scanned[first, "test"][:EXAMPLES]]
    every = np.concatenate(
        [own[..., DICE] for (_, s), own in sorted(scores.items()) if s == "test"]
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
