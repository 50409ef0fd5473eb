"""Grow the forests under test: one per seed and depth, shallow ones to segment badly.

The paper spreads the quality of its segmentations by forests of several depths (Valindria et al.
2017, Sec. IV).
"""

import numpy as np

from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import features, forest
from pr12.rca.params import TrainForest as Params
from pr12.workflow import step


def sampled(scans: list[Scan], voxels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw voxels of scans at random, without replacement.

    Parameters
    ----------
    scans : list of Scan
        Of the training split.
    voxels : int
        From each scan; all, if it has no more.
    seed : int
        Of the draw.

    Returns
    -------
    features : ndarray
        float32, shape (N, F).
    labels : ndarray
        uint8, shape (N,).

    Examples
    --------
    >>> scan = Scan("a", np.zeros((4, 5), np.float32), np.zeros((4, 5), np.uint8))
    >>> [part.shape for part in sampled([scan, scan], 7, 0)]
    [(14, 11), (14,)]
    """
    stream = np.random.default_rng(seed)
    parts = []
    for scan in scans:
        rows = stream.permutation(scan.image.size)[:voxels]
        parts.append((features.voxel_features(scan.image)[rows], scan.labels.ravel()[rows]))
    x, y = zip(*parts, strict=True)
    return np.concatenate(x), np.concatenate(y)


def main(job: step.Job) -> None:
    """Grow and write all forests."""
    params = job.params
    structures, by_seed = scan_files.read_scans(job.paths["train"])
    arrays = {}
    for seed, scans in by_seed.items():
        x, y = sampled(scans[: params.subjects], params.voxels, seed)
        for depth in params.depths:
            grown = forest.grow(x, y, params.trees, depth, seed)
            forest_arrays = forest.to_arrays(grown, len(structures) + 1)
            arrays |= {f"{seed}/{depth}/{name}": array for name, array in forest_arrays.items()}
    scan_files.write_arrays(job.paths["model"], arrays)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model"]) as job:
        main(job)
