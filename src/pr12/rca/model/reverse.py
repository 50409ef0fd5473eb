"""What the reverse classifiers that learn from one scan alone have in common: whom they judge."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import measures
from pr12.workflow import progress

READS = ("test", "segmentations", "reference")


def on_references(
    maps: Sequence[np.ndarray], references: Sequence[Scan], structures: int
) -> np.ndarray:
    """Compare what a reverse classifier made of each reference with the reference's true labels.

    Parameters
    ----------
    maps : sequence of ndarray
        uint8, one label map per reference, each of its shape.
    references : sequence of Scan
        With their true labels.
    structures : int
        S.

    Returns
    -------
    ndarray
        float32, shape (references, S, measures).

    Examples
    --------
    >>> scan = Scan("a", np.zeros((1, 2), np.float32), np.array([[0, 1]], np.uint8))
    >>> on_references([scan.labels], [scan], 1).tolist()
    [[[1.0, 1.0, 0.0, 0.0]]]
    """
    return np.stack(
        [
            measures.agreement(labels[None], reference.labels, structures)[0]
            for labels, reference in zip(maps, references, strict=True)
        ]
    )


def judge_tests(paths: Mapping[str, Path], scored: Callable[..., np.ndarray], params: Any) -> None:
    """Score the segmentations of the first test scans of every seed, and write the scores.

    Parameters
    ----------
    paths : mapping of str to Path
        `READS`, and ``scores``.
    scored : callable
        (image, segmentations, references, structures, seed, params) -> scores of one scan.
    params : Params
        The step's; its ``subjects`` says how many scans of each seed, null: all.
    """
    segmentations, _ = scan_files.read_segmentations(paths["segmentations"])
    splits = scan_files.read_splits(paths, ("reference", "test"))
    references = splits["reference"]
    structures = len(references.structures)
    keys, work, names = [], [], {}
    for seed, scans in splits["test"].by_seed.items():
        names[seed, "test"] = [scan.name for scan in scans[: params.subjects]]
        for scan in scans[: params.subjects]:
            keys.append((seed, "test"))
            maps = scan_files.maps_of(
                segmentations,
                (seed, "test", scan.name),
                scan.image,
                structures,
                paths["segmentations"],
            )
            work.append((scan.image, maps, references.by_seed[seed], structures, seed, params))
    by_split: dict[tuple[int, str], list[np.ndarray]] = {key: [] for key in keys}
    results = progress.follow(spread(scored, work), len(work), describe)
    for key, result in zip(keys, results, strict=True):
        by_split[key].append(result)
    scores = {key: np.stack(results) for key, results in by_split.items()}
    score_files.write_scores(paths["scores"], scores, score_files.metadata(names))


def describe(scores: np.ndarray) -> str:
    """Describe one scan's scores in a line.

    Examples
    --------
    >>> describe(np.zeros((9, 12, 2, 4)))
    '9 segmentations on 12 references'
    """
    return f"{scores.shape[0]} segmentations on {scores.shape[1]} references"
