"""RCA with single-atlas registration as reverse classifier (Valindria et al. 2017, Sec. III).

The segmented scan is an atlas: its image is registered to each reference image, its segmentation
is carried along, and what arrives is compared with the reference's true labels. `to_test` is the
other direction (Robinson et al. 2017): the references' labels are carried to the segmented scan and
compared with the segmentation there.
"""

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files, subjects
from pr12.rca.data.scan_files import Scan, Scans
from pr12.rca.model import measures, reverse
from pr12.rca.model.registration import propagate
from pr12.rca.params import ReverseAtlas as Params
from pr12.workflow import progress, step
from pr12.workflow.errors import UserError


def to_reference(
    segmentations: np.ndarray, references: list[Scan], found: list[np.ndarray], structures: int
) -> np.ndarray:
    """Score the segmentations of one scan on every reference.

    Parameters
    ----------
    segmentations : ndarray
        uint8, shape (K, *scan).
    references : list of Scan
        With their true labels.
    found : list of ndarray
        For each reference its correspondence to the scan.
    structures : int
        S.

    Returns
    -------
    ndarray
        float32, shape (K, references, S, measures).

    Examples
    --------
    >>> scan = Scan("a", np.zeros((1, 2), np.float32), np.array([[0, 1]], np.uint8))
    >>> same = np.array([[1, 2]], np.uint16)
    >>> to_reference(scan.labels[None], [scan], [same], 1)[0, 0, 0].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    scored = [
        measures.agreement(propagate(segmentations, own), reference.labels, structures)
        for reference, own in zip(references, found, strict=True)
    ]
    return np.stack(scored, axis=1)


def to_test(
    segmentations: np.ndarray, references: list[Scan], found: list[np.ndarray], structures: int
) -> np.ndarray:
    """Score the segmentations of one scan by every reference's labels, carried to the scan.

    Parameters
    ----------
    segmentations, references, structures
        As in `to_reference`.
    found : list of ndarray
        The scan's correspondence to each reference.

    Returns
    -------
    ndarray
        float32, shape (K, references, S, measures).

    Examples
    --------
    >>> scan = Scan("a", np.zeros((1, 2), np.float32), np.array([[0, 1]], np.uint8))
    >>> same = np.array([[1, 2]], np.uint16)
    >>> to_test(scan.labels[None], [scan], [same], 1)[0, 0, 0].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    scored = [
        measures.agreement(segmentations, propagate(reference.labels[None], own)[0], structures)
        for reference, own in zip(references, found, strict=True)
    ]
    return np.stack(scored, axis=1)


def main(job: step.Job) -> None:
    """Score every segmentation that has correspondences."""
    params, paths = job.params, job.paths
    found = scan_files.read_correspondences(paths["correspondences"])
    segmentations, _ = scan_files.read_segmentations(paths["segmentations"])
    references = scan_files.read_scans(paths["reference"])
    score, work = (to_reference if params.direction == "to_reference" else to_test), []
    keys, names = [], {}
    for seed, split, name in segmentations:
        pairs = pairs_of(found, references, seed, split, name, params.direction)
        if pairs:
            keys.append((seed, split))
            names.setdefault((seed, split), []).append(name)
            work.append((segmentations[seed, split, name], *pairs, len(references.structures)))
    if not work:
        raise UserError(
            f"{paths['correspondences']} fits no scan of {paths['segmentations']}; make both again"
        )
    scored = progress.follow(spread(score, work), len(work), reverse.told)
    by_split: dict[tuple[int, str], list[np.ndarray]] = {}
    for key, own in zip(keys, scored, strict=True):
        by_split.setdefault(key, []).append(own)
    scores = {key: np.stack(own) for key, own in by_split.items()}
    scan_files.write_scores(paths["scores"], scores, subjects.told(names))


def pairs_of(
    found: scan_files.Correspondences,
    references: Scans,
    seed: int,
    split: str,
    name: str,
    direction: str,
) -> tuple[list[Scan], list[np.ndarray]] | None:
    """Give the references of a scan and the correspondences, or None if it has none.

    Parameters
    ----------
    found : dict
        As `scan_files.read_correspondences` gives them.
    references : Scans
        Of all seeds.
    seed, split, name
        Which scan.
    direction : str
        As in the params.
    """
    used, arrays = [], []
    for reference in references.by_seed[seed]:
        ends = [(split, name), ("reference", reference.name)]
        moving, fixed = ends if direction == "to_reference" else ends[::-1]
        own = found.get((seed, *fixed), {}).get((*moving, 0))
        if own is not None:
            used.append(reference)
            arrays.append(own)
    return (used, arrays) if used else None


if __name__ == "__main__":
    with step.start(
        Params, reads=["correspondences", "segmentations", "reference"], writes=["scores"]
    ) as job:
        main(job)
