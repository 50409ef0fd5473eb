"""Bring a label map to the grid of its image by what their headers say, or refuse it.

Two grids are compared through the box that their voxels fill in physical space. Nothing is guessed:
a map is moved only where both files have a header, and only if both boxes are the same, or if the
map has another shape and all its structures lie inside of the image, as those of a crop do.
"""

import math
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from scipy.optimize import linear_sum_assignment

from pr12.rca.predict.reading import blocks
from pr12.rca.predict.reading.picture import Picture, off_right_angles
from pr12.workflow.errors import UserError

OVERLAP = 0.99  # of two boxes that count as one: their intersection over their union
NOISE = 1e-3  # of a picture's length, by which headers of one grid may differ
OUTSIDE = 0.01  # share of a map's voxels with a structure that may lie outside of its image
STRAIGHT = 0.5  # voxels by which axes may move any voxel from where right angles put it


def reconcile(
    image: Picture, labels: Picture, image_path: Path, labels_path: Path
) -> tuple[np.ndarray, str | None]:
    """Return a label map on its image's grid.

    Without a header on both sides, shapes must be equal and voxels belong together as stored. With
    headers, the same grid (up to half a voxel or a thousandth of the length) is left as it is;
    another orientation or size of voxels in the same box is resampled by nearest neighbour, and so
    is a crop of the image, or a map of a larger box, whose structures lie inside of the image.

    Parameters
    ----------
    image, labels : Picture
        As `pr12.rca.predict.reading.files.read_image` and `read_labels` give them.
    image_path, labels_path : Path
        Their files, for messages.

    Returns
    -------
    labels : ndarray
        Shape of the image.
    note : str or None
        If labels were resampled, or laid on the image without a header, a sentence that says so,
        and which structures were lost by it.

    Raises
    ------
    UserError
        If one is 2-D and the other 3-D, or if the grids cannot be reconciled.

    Examples
    --------
    >>> image = Picture(np.zeros((1, 2), np.float32), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    >>> labels = Picture(np.array([[1, 0]]), (1.0, 1.0), (1.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
    >>> reconcile(image, labels, Path("a.nii"), Path("b.nii"))[0].tolist()
    [[0, 1]]
    """
    where = f"{labels_path} ({_described(labels)}) and {image_path} ({_described(image)})"
    if image.array.ndim != labels.array.ndim:
        raise UserError(f"{where} are 2-D and 3-D; give both in the same dimensions")
    if image.direction is None or labels.direction is None:
        if image.array.shape != labels.array.shape:
            raise UserError(
                f"{where} differ in shape, and not both have a header; {_hint(image, labels)}"
            )
        return labels.array, _as_stored(image, labels, labels_path)
    matrix, shift = _label_to_image(labels, image)
    if _same_grid(matrix, shift, image.array.shape, labels.array.shape):
        return labels.array, None
    where = f"{labels_path} ({_described(labels)}) and {image_path} ({_described(image)})"
    if _overlap(matrix, shift, image.array.shape, labels.array.shape) >= OVERLAP:
        array = _resampled(labels, image, extrapolated=True)
        return array, _as_resampled(labels.array, array, image_path, labels_path)
    outside = _outside(labels, matrix, shift, image.array.shape)
    if image.array.shape == labels.array.shape or outside > OUTSIDE:
        part = f" ({100 * outside:.0f} % of the structures lie outside)" if outside else ""
        raise UserError(
            f"{where} do not fill the same box in space{part}; resample the labels to the image, "
            "or, if only their header is wrong, copy the image's header to them"
        )
    array = _resampled(labels, image, extrapolated=False)
    note = _as_resampled(labels.array, array, image_path, labels_path)
    return array, f"{note}; they fill different boxes, and where there is no label is background"


def _outside(
    labels: Picture, matrix: np.ndarray, shift: np.ndarray, shape: tuple[int, ...]
) -> float:
    """Return the share of the voxels with a structure that lie outside of the image."""
    size, total, inside = np.array(shape[::-1]), 0, 0
    for part in blocks.slabs(labels.array):
        places = np.argwhere(labels.array[part]).astype(float)
        places[:, 0] += part.start
        moved = places[:, ::-1] @ matrix.T + shift
        total += len(moved)
        inside += int(((moved > -0.5 - 1e-3) & (moved < size - 0.5 + 1e-3)).all(axis=1).sum())
    return 1 - inside / total if total else 0.0


def _as_resampled(
    before: np.ndarray, after: np.ndarray, image_path: Path, labels_path: Path
) -> str:
    """Say that labels were resampled, and which structures were lost by it."""
    note = (
        f"{labels_path} has another grid than {image_path} and was resampled to it by the headers"
    )
    lost = np.setdiff1d(blocks.values(before), blocks.values(after))
    if lost.size:
        note += f", which lost the structures {', '.join(map(str, lost.tolist()))}"
    return note


def _hint(image: Picture, labels: Picture) -> str:
    if image.array.shape == labels.array.shape[::-1]:
        return "the axes seem to be (x, y, z): transpose the array to (z, y, x)"
    return "write the labels on the image's grid"


def _resampled(labels: Picture, image: Picture, extrapolated: bool) -> np.ndarray:
    """Return labels on an image's grid, by nearest neighbour."""
    moved = sitk.Resample(
        _to_sitk(labels), image.array.shape[::-1],
        sitk.Transform(image.array.ndim, sitk.sitkIdentity), sitk.sitkNearestNeighbor,
        image.origin, image.spacing[::-1], image.direction, 0, sitk.sitkUnknown,
        extrapolated,  # half a voxel at the border has no label of its own: the nearest is taken
    )  # fmt: skip
    return sitk.GetArrayFromImage(moved)


def _as_stored(image: Picture, labels: Picture, path: Path) -> str | None:
    if (image.direction is None) == (labels.direction is None):
        return None
    which = "the image" if image.direction is None else "it"
    return (
        f"{path} was laid on its image voxel by voxel, for {which} has no header that tells a place"
    )


def oriented(image: Picture, *maps: np.ndarray) -> tuple[Picture, *tuple[np.ndarray, ...]]:
    """Reorder the axes of an image and of its labels: x to the left, y to the back, z up.

    These are DICOM's directions (LPS). Voxels are not interpolated, nor copied: views are given.
    Registration looks at arrays and spacing alone and would take images of two orientations for
    mirrored ones.

    Parameters
    ----------
    image : Picture
        Returned as it is if it has no header.
    *maps : ndarray
        On the same grid, as `reconcile` gives it.

    Returns
    -------
    image : Picture
        With the grid of the reordered array.
    *maps : ndarray
        Reordered alike.

    Examples
    --------
    >>> image = Picture(np.array([[1, 2, 3]]), (1.0, 2.0), (9.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
    >>> turned, labels = oriented(image, image.array)
    >>> turned.array.tolist(), turned.origin
    ([[3, 2, 1]], (5.0, 0.0))
    """
    if image.direction is None:
        return image, *maps
    matrix, origin = _affine(image)
    # For each physical axis, the axis of the array (counted as x, y, z) that runs along it most
    physical, axes = linear_sum_assignment(-np.abs(np.reshape(image.direction, matrix.shape)))
    backward = matrix[physical, axes] < 0
    last = np.array(image.array.shape[::-1])[axes] - 1
    origin = origin + matrix[:, axes] @ np.where(backward, last, 0)
    direction = np.reshape(image.direction, matrix.shape)[:, axes] * np.where(backward, -1, 1)
    order = (len(axes) - 1 - axes)[::-1]
    flips = tuple(np.flatnonzero(backward[::-1]))
    arrays = [np.flip(array.transpose(order), flips) for array in (image.array, *maps)]
    spacing = tuple(image.spacing[axis] for axis in order)
    grid = (spacing, tuple(origin.tolist()), tuple(direction.ravel().tolist()))
    return Picture(arrays[0], *grid, image.notes), *arrays[1:]


def coarser(image: Picture, array: np.ndarray, factors: tuple[int, ...]) -> Picture:
    """Return the picture of an image that was averaged over blocks of voxels.

    Parameters
    ----------
    image : Picture
        Before.
    array : ndarray
        The averages.
    factors : tuple of int
        Voxels of a block along each axis of the array.

    Examples
    --------
    >>> image = Picture(np.zeros((1, 4)), (1.0, 2.0), (9.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    >>> coarser(image, np.zeros((1, 2)), (1, 2))[1:3]
    ((1.0, 4.0), (10.0, 0.0))
    """
    spacing = tuple(step * factor for step, factor in zip(image.spacing, factors, strict=True))
    result = image._replace(array=array, spacing=spacing)
    if image.direction is None:
        return result
    matrix, origin = _affine(image)
    middle = (np.array(factors[::-1]) - 1) / 2  # of the first block, where its average lies
    return result._replace(origin=tuple((origin + matrix @ middle).tolist()))


def straightened(image: Picture, labels: np.ndarray) -> tuple[Picture, np.ndarray, tuple[str, ...]]:
    """Return a volume whose axes are not at right angles on a grid whose axes are.

    Registration looks at arrays and spacing alone. Where no voxel would move by more than half a
    voxel the arrays are left as they are.

    Parameters
    ----------
    image : Picture
        Of two axes, or without a header: returned as it is.
    labels : ndarray
        Whole numbers, on its grid.

    Returns
    -------
    image : Picture
        Its array resampled linearly, the least intensity where nothing is.
    labels : ndarray
        Resampled by nearest neighbour.
    notes : tuple of str
        How far off the axes are, and what was done.

    Examples
    --------
    >>> axes = (1.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.6, 1.0)
    >>> image = Picture(np.zeros((4, 5, 6)), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), axes)
    >>> straightened(image, np.zeros((4, 5, 6), int))[2]
    ('its axes are 37 degrees off right angles, and it was resampled to right angles',)
    """
    if image.direction is None or image.array.ndim != 3:
        return image, labels, ()
    cosine = off_right_angles(image.direction)
    if cosine < NOISE / 10:
        return image, labels, ()
    matrix, origin = _affine(image)
    steps = np.array(image.spacing[::-1])
    left, _, right = np.linalg.svd(matrix / steps)
    axes = left @ right  # the nearest matrix of right angles
    last = np.array(image.array.shape[::-1]) - 1.0
    moves = _corners([(-part / 2, part / 2) for part in last]) @ (matrix - axes * steps).T
    off = f"its axes are {math.degrees(math.asin(min(cosine, 1))):.2g} degrees off right angles"
    if (np.abs(moves @ axes) <= STRAIGHT * steps).all():
        return image, labels, (f"{off}, by less than half a voxel, which was left as it is",)
    places = (_corners([(0.0, part) for part in last]) @ matrix.T) @ axes / steps
    low = places.min(axis=0)
    size = np.ceil(places.max(axis=0) - low - 1e-6).astype(int) + 1
    start = origin + axes @ (low * steps)
    grid = (image.spacing, tuple(start.tolist()), tuple(axes.ravel().tolist()))
    resampled = [
        sitk.GetArrayFromImage(
            sitk.Resample(
                _to_sitk(image._replace(array=array)), size.tolist(),
                sitk.Transform(3, sitk.sitkIdentity), method, grid[1], steps.tolist(), grid[2],
                nothing,
            )
        )
        for array, method, nothing in (
            (image.array, sitk.sitkLinear, float(image.array.min())),
            (labels, sitk.sitkNearestNeighbor, 0.0),
        )
    ]  # fmt: skip
    note = f"{off}, and it was resampled to right angles"
    return Picture(resampled[0], *grid, image.notes), resampled[1], (note,)


def compressed(
    array: np.ndarray,
    spacing: tuple[float, ...],
    origin: tuple[float, ...] | None,
    direction: tuple[float, ...] | None,
) -> bytes:
    """Return numbers at each voxel as a .nii.gz file, which viewers lay on the image.

    Parameters
    ----------
    array : ndarray
        On a grid as `coarser` and `straightened` leave it.
    spacing : tuple of float
        Along each axis of the array, mm.
    origin, direction : tuple of float, or None
        As SimpleITK counts; None for an image without header.

    Examples
    --------
    >>> compressed(np.ones((2, 3), np.float32), (1.0, 2.0), None, None)[:2].hex()
    '1f8b'
    """
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing[::-1])
    if origin is not None and direction is not None:
        image.SetOrigin(origin)
        image.SetDirection(direction)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.nii.gz"
        sitk.WriteImage(image, path, useCompression=True)
        return path.read_bytes()


def _corners(sides: Sequence[tuple[float, float]]) -> np.ndarray:
    return np.array(list(product(*sides)))


def _affine(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and shift from the index (x, y, z) of a voxel to its place in mm."""
    size = len(picture.spacing)
    direction = np.reshape(picture.direction, (size, size))
    return direction * np.array(picture.spacing[::-1]), np.array(picture.origin)


def _label_to_image(labels: Picture, image: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and shift from a voxel's index in the labels to its index in the image."""
    (matrix, start), (image_matrix, origin) = _affine(labels), _affine(image)
    return np.linalg.solve(image_matrix, matrix), np.linalg.solve(image_matrix, start - origin)


def _same_grid(
    matrix: np.ndarray, shift: np.ndarray, shape: tuple[int, ...], labels_shape: tuple[int, ...]
) -> bool:
    if shape != labels_shape:
        return False
    size = np.array(shape[::-1])
    corners = _corners([(0, n - 1) for n in size])
    moves = np.abs(corners @ matrix.T + shift - corners)
    return bool((moves <= np.maximum(0.5, NOISE * size)).all())


def _overlap(
    matrix: np.ndarray, shift: np.ndarray, shape: tuple[int, ...], labels_shape: tuple[int, ...]
) -> float:
    """Return intersection over union of both boxes, in the image's axes."""
    corners = _corners([(-0.5, n - 0.5) for n in labels_shape[::-1]])
    corners = corners @ matrix.T + shift
    box = np.stack([corners.min(axis=0), corners.max(axis=0)])
    image_box = np.stack([np.full(len(shape), -0.5), np.array(shape[::-1]) - 0.5])
    larger = np.maximum(1.0, np.abs(matrix).sum(axis=1))  # of both voxels, along each axis
    box = np.where(np.abs(box - image_box) <= larger / 2 + 1e-6, image_box, box)
    common = np.minimum(box[1], image_box[1]) - np.maximum(box[0], image_box[0])
    intersection = np.prod(np.maximum(common, 0.0))
    return float(
        intersection
        / (np.prod(box[1] - box[0]) + np.prod(image_box[1] - image_box[0]) - intersection)
    )


def _to_sitk(picture: Picture) -> sitk.Image:
    image = sitk.GetImageFromArray(picture.array)
    image.SetSpacing(picture.spacing[::-1])
    image.SetOrigin(picture.origin)
    image.SetDirection(picture.direction)
    return image


def _described(picture: Picture) -> str:
    text = f"shape {' x '.join(map(str, picture.array.shape))}"
    if picture.direction is None:
        return f"{text}, no header"
    numbers = [
        " x ".join(f"{value:.4g}" for value in picture.spacing),
        *(
            " ".join(f"{value:.4g}" for value in values)
            for values in (picture.origin, picture.direction)
        ),
    ]
    return f"{text}, spacing {numbers[0]} mm, origin {numbers[1]}, direction {numbers[2]}"
