"""RCA with single-atlas registration as reverse classifier (Valindria et al. 2017, Sec. III).

The segmented scan is an atlas: its image is registered to each reference image, its segmentation
is carried along, and what arrives is compared with the reference's true labels. `to_test` is the
other direction (Robinson et al. 2017): the references' labels are carried to the segmented scan
and compared with the segmentation there. `consensus` compares it with the majority vote of these
labels: what multi-atlas segmentation would say, and the baseline that has to be beaten.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan, Scans
from pr12.rca.model import measures, reverse, voting
from pr12.rca.model.registration import propagate
from pr12.rca.params import ReverseAtlas as Params
from pr12.workflow import progress, step
from pr12.workflow.errors import UserError


def to_reference(
    segmentations: np.ndarray,
    references: list[Scan],
    correspondences: list[np.ndarray],
    structures: int,
) -> np.ndarray:
    """Score the segmentations of one scan on every reference.

    Parameters
    ----------
    segmentations : ndarray
        uint8, shape (K, *scan).
    references : list of Scan
        With their true labels.
    correspondences : list of ndarray
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
        measures.agreement(propagate(segmentations, correspondence), reference.labels, structures)
        for reference, correspondence in zip(references, correspondences, strict=True)
    ]
    return np.stack(scored, axis=1)


def to_test(
    segmentations: np.ndarray,
    references: list[Scan],
    correspondences: list[np.ndarray],
    structures: int,
) -> np.ndarray:
    """Score the segmentations of one scan by every reference's labels, carried to the scan.

    Parameters
    ----------
    segmentations, references, structures
        As in `to_reference`.
    correspondences : list of ndarray
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
        measures.agreement(
            segmentations, propagate(reference.labels[None], correspondence)[0], structures
        )
        for reference, correspondence in zip(references, correspondences, strict=True)
    ]
    return np.stack(scored, axis=1)


def consensus(
    segmentations: np.ndarray,
    references: list[Scan],
    correspondences: list[np.ndarray],
    structures: int,
) -> np.ndarray:
    """Score the segmentations of one scan by the majority vote of the references' carried labels.

    Parameters
    ----------
    segmentations, references, correspondences, structures
        As in `to_test`.

    Returns
    -------
    ndarray
        float32, shape (K, 1, S, measures): the vote stands in the place of one reference.

    Examples
    --------
    >>> scan = Scan("a", np.zeros((1, 2), np.float32), np.array([[0, 1]], np.uint8))
    >>> same = np.array([[1, 2]], np.uint16)
    >>> consensus(scan.labels[None], [scan] * 3, [same] * 3, 1)[0, 0, 0].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    votes = [
        propagate(reference.labels[None], correspondence)[0]
        for reference, correspondence in zip(references, correspondences, strict=True)
    ]
    vote = voting.majority(np.stack(votes), structures)
    return measures.agreement(segmentations, vote, structures)[:, None]


SCORES = {"to_reference": to_reference, "to_test": to_test, "consensus": consensus}


def main(job: step.Job) -> None:
    """Score every segmentation that has correspondences."""
    params, paths = job.params, job.paths
    correspondences = scan_files.read_correspondences(paths["correspondences"])
    segmentations, _ = scan_files.read_segmentations(paths["segmentations"])
    references = scan_files.read_scans(paths["reference"])
    score, work = SCORES[params.direction], []
    keys, names = [], {}
    for (seed, split, name), maps in segmentations.items():
        pairs = pairs_of(correspondences, references, seed, split, name, params.direction)
        if pairs:
            check(maps, *pairs, len(references.structures), params.direction, paths)
            keys.append((seed, split))
            names.setdefault((seed, split), []).append(name)
            work.append((maps, *pairs, len(references.structures)))
    if not work or len({len(scans) for _, scans, *_ in work}) > 1:
        raise UserError(
            f"{paths['correspondences']} does not join the scans of {paths['segmentations']} with "
            f"all of {paths['reference']}; make them again"
        )
    results = progress.follow(spread(score, work), len(work), reverse.describe)
    by_split: dict[tuple[int, str], list[np.ndarray]] = {}
    for key, result in zip(keys, results, strict=True):
        by_split.setdefault(key, []).append(result)
    scores = {key: np.stack(results) for key, results in by_split.items()}
    score_files.write_scores(paths["scores"], scores, score_files.metadata(names))


def check(
    maps: np.ndarray,
    references: list[Scan],
    arrays: list[np.ndarray],
    structures: int,
    direction: str,
    paths: Mapping[str, Path],
) -> None:
    """Refuse segmentations of other scans than those that were registered to the references."""
    if maps.max() > structures:
        raise UserError(
            f"{paths['segmentations']} has the label {maps.max()} and {paths['reference']} has "
            f"{structures} structures; make both again"
        )
    for reference, array in zip(references, arrays, strict=True):
        ends = (reference.image.shape, maps.shape[1:])
        fixed, moving = ends if direction == "to_reference" else ends[::-1]
        scan_files.check_correspondence(array, fixed, moving, paths["correspondences"])


def pairs_of(
    correspondences: scan_files.Correspondences,
    references: Scans,
    seed: int,
    split: str,
    name: str,
    direction: str,
) -> tuple[list[Scan], list[np.ndarray]] | None:
    """Return the references of a scan and the correspondences, or None if it has none.

    Parameters
    ----------
    correspondences : dict
        As `scan_files.read_correspondences` gives them.
    references : Scans
        Of all seeds.
    seed, split, name
        Which scan.
    direction : str
        As in the params.
    """
    used, arrays = [], []
    for reference in references.by_seed.get(seed, []):
        ends = [(split, name), ("reference", reference.name)]
        moving, fixed = ends if direction == "to_reference" else ends[::-1]
        correspondence = correspondences.get((seed, *fixed), {}).get((*moving, 0))
        if correspondence is not None:
            used.append(reference)
            arrays.append(correspondence)
    return (used, arrays) if used else None


if __name__ == "__main__":
    with step.start(
        Params, reads=["correspondences", "segmentations", "reference"], writes=["scores"]
    ) as job:
        main(job)
