"""RCA with an Atlas Forest as reverse classifier: grown on one scan and its segmentation alone."""

import numpy as np

from pr12.rca.data.scan_files import Scan
from pr12.rca.model import features, forest, reverse
from pr12.rca.params import ReverseForest as Params
from pr12.workflow import step


def scored(
    image: np.ndarray,
    segmentations: np.ndarray,
    references: list[Scan],
    structures: int,
    seed: int,
    params: Params,
) -> np.ndarray:
    """Grow a forest on each segmentation of one scan and score it on every reference.

    Parameters
    ----------
    image : ndarray
        The scan, float32.
    segmentations : ndarray
        uint8, shape (K, *scan).
    references : list of Scan
        With their true labels.
    structures : int
        S.
    seed : int
        Of the trees' random cuts.
    params : Params
        The step's.

    Returns
    -------
    ndarray
        float32, shape (K, references, S, measures).

    Examples
    --------
    >>> image = np.zeros((8, 8), np.float32)
    >>> image[:4] = 1.0
    >>> scan = Scan("a", image, (image > 0).astype(np.uint8))
    >>> scored(image, scan.labels[None], [scan], 1, 0, Params(4, 4, None))[0, 0, 0].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    voxels = features.voxel_features(image)
    theirs = [features.voxel_features(reference.image) for reference in references]
    scores = []
    for labels in segmentations:
        grown = forest.grow(voxels, labels.ravel(), params.trees, params.depth, seed)
        maps = [
            grown.predict(x).astype(np.uint8).reshape(reference.labels.shape)
            for x, reference in zip(theirs, references, strict=True)
        ]
        scores.append(reverse.on_references(maps, references, structures))
    return np.stack(scores)


if __name__ == "__main__":
    with step.start(Params, reads=reverse.READS, writes=["scores"]) as job:
        reverse.judge_tests(job.paths, scored, job.params)
