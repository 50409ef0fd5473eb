"""How well a segmentation agrees with another: overlap and distances, by structure.

Dice's and Jaccard's coefficients are overlaps of two sets of voxels; the average and the greatest
(Hausdorff) distance are taken over the surface voxels of both, in mm. The paper predicts all four
and finds the overlaps predictable, the distances not (Valindria et al. 2017, abstract and Sec. IV).
"""

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

MEASURES = ("dice", "jaccard", "surface", "hausdorff")
OVERLAPS = ("dice", "jaccard")  # better up; the others are distances, better down


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return Dice's and Jaccard's coefficient of two sets of voxels.

    Parameters
    ----------
    first, second : ndarray
        bool, of one shape.

    Returns
    -------
    tuple of float
        ``2 |A n B| / (|A| + |B|)`` and ``|A n B| / |A u B|``; 1 where both sets are empty.

    Examples
    --------
    >>> overlaps(np.array([True, True, False]), np.array([False, True, False]))
    (0.6666666666666666, 0.5)
    """
    both, total = int((first & second).sum()), int(first.sum()) + int(second.sum())
    if total == 0:
        return 1.0, 1.0
    return 2 * both / total, both / (total - both)


def distances(
    first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...]
) -> tuple[float, float]:
    """Return the average and the greatest distance between the surfaces of two sets of voxels.

    Parameters
    ----------
    first, second : ndarray
        bool, of one shape.
    spacing : tuple of float
        Size of a voxel along each axis of the array, in mm.

    Returns
    -------
    tuple of float
        In mm: the mean over all surface voxels of both sets of the distance to the other's surface
        and the greatest such distance. NaN where a set is empty and has no surface.

    Examples
    --------
    >>> a, b = np.zeros((2, 8), bool), np.zeros((2, 8), bool)
    >>> a[0, 1] = b[0, 1] = b[0, 5] = True
    >>> distances(a, b, (1.0, 1.0))  # 0 and 0 and 4 mm
    (1.3333333333333333, 4.0)
    """
    if not first.any() or not second.any():
        return np.nan, np.nan
    points = [np.argwhere(surface(each)) * np.asarray(spacing) for each in (first, second)]
    there, _ = cKDTree(points[1]).query(points[0])
    back, _ = cKDTree(points[0]).query(points[1])
    both = np.concatenate([there, back])
    return float(both.mean()), float(both.max())


def surface(region: np.ndarray) -> np.ndarray:
    """Return the voxels of a region that have a neighbour outside it or lie at the image's border.

    Parameters
    ----------
    region : ndarray
        bool.

    Examples
    --------
    >>> surface(np.array([False, True, True, True, False])).tolist()
    [False, True, False, True, False]
    """
    return region & ~binary_erosion(region, border_value=0)


def agreement(
    segmentations: np.ndarray,
    truths: np.ndarray,
    structures: int,
    spacing: tuple[float, ...] | None = None,
) -> np.ndarray:
    """Return all measures of several segmentations, by structure.

    Parameters
    ----------
    segmentations : ndarray
        uint8, shape ``(K, *image)``.
    truths : ndarray
        uint8, one label map for all of them, shape ``(*image)``, or one each, ``(K, *image)``.
    structures : int
        S; the label maps hold 0 (background) to S.
    spacing : tuple of float, optional
        In mm; 1 along each axis by default.

    Returns
    -------
    ndarray
        float32, shape (K, S, 4), in the order of `MEASURES`.

    Examples
    --------
    >>> result = agreement(np.array([[[1, 1, 0]]], np.uint8), np.array([[0, 1, 0]], np.uint8), 1)
    >>> result.astype(float).round(2).tolist()
    [[[0.67, 0.5, 0.33, 1.0]]]
    """
    steps = spacing or (1.0,) * (segmentations.ndim - 1)
    truths = np.broadcast_to(truths, segmentations.shape)
    result = np.empty((len(segmentations), structures, len(MEASURES)), np.float32)
    for k, (segmentation, truth) in enumerate(zip(segmentations, truths, strict=True)):
        for structure in range(1, structures + 1):
            pair = (segmentation == structure, truth == structure)
            result[k, structure - 1] = (*overlaps(*pair), *distances(*_boxed(*pair), steps))
    return result


def _boxed(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut both sets to the box that holds them, if each has voxels: less to search."""
    if not first.any() or not second.any():
        return first, second
    either = first | second
    box = []
    for axis in range(either.ndim):
        others = tuple(other for other in range(either.ndim) if other != axis)
        (inside,) = np.nonzero(either.any(axis=others))
        box.append(slice(inside[0], inside[-1] + 1))
    return first[tuple(box)], second[tuple(box)]
