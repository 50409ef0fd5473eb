"""Bring a label map to the grid of its image by what their headers say, or refuse it.

Two grids are compared through the box that their voxels fill in physical space. Nothing is guessed:
a map is moved only where both files have a header, and only if both boxes are the same.
"""

from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from scipy.optimize import linear_sum_assignment

from pr12.rca.predict.formats import Picture
from pr12.workflow.errors import UserError

OVERLAP = 0.99  # of two boxes that count as one: their intersection over their union
NOISE = 1e-3  # of a picture's length, by which headers of one grid may differ


def reconcile(
    image: Picture, labels: Picture, image_path: Path, labels_path: Path
) -> tuple[np.ndarray, str | None]:
    """Give a label map on its image's grid.

    If one of the two has no header, their shapes must be equal and voxels belong together as they
    are stored. If both have one, they tell: the same grid, up to noise of a thousandth (or half a
    voxel, whatever is more), is left as it is; another orientation, or another size of voxels in
    the same box, is resampled by nearest neighbour. Boxes are the same if their intersection is
    99 % of their union, where a side that is off by half of the larger voxel at most is not
    counted (the resampling cannot place labels better).

    Parameters
    ----------
    image, labels : Picture
        As `pr12.rca.predict.files.read_image` and `read_labels` give them.
    image_path, labels_path : Path
        Their files, for messages.

    Returns
    -------
    labels : ndarray
        Shape of the image.
    note : str or None
        If labels were resampled, a sentence that says so and which structures were lost by it.

    Raises
    ------
    UserError
        If one is 2-D and the other 3-D, or if the grids cannot be reconciled.

    Examples
    --------
    >>> image = Picture(np.zeros((2, 3), np.float32), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    >>> labels = Picture(np.array([[1, 0, 0], [2, 0, 0]]), (1.0, 1.0), (2.0, 0.0),
    ...                  (-1.0, 0.0, 0.0, 1.0))
    >>> moved, note = reconcile(image, labels, Path("a.nii"), Path("b.nii"))
    >>> moved.tolist()
    [[0, 0, 1], [0, 0, 2]]
    >>> note
    'b.nii has another grid than a.nii and was resampled to it by the headers'
    """
    where = f"{labels_path} ({_described(labels)}) and {image_path} ({_described(image)})"
    if image.array.ndim != labels.array.ndim:
        raise UserError(f"{where} are 2-D and 3-D; give both in the same dimensions")
    if image.direction is None or labels.direction is None:
        if image.array.shape == labels.array.shape:
            return labels.array, None
        hint = "write the labels on the image's grid"
        if image.array.shape == labels.array.shape[::-1]:
            hint = "the axes seem to be (x, y, z): transpose the array to (z, y, x)"
        raise UserError(f"{where} differ in shape, and not both have a header; {hint}")
    matrix, shift = _label_to_image(labels, image)
    if _same_grid(matrix, shift, image.array.shape, labels.array.shape):
        return labels.array, None
    if _overlap(matrix, shift, image.array.shape, labels.array.shape) < OVERLAP:
        raise UserError(
            f"{where} do not fill the same box in space; resample the labels to the image, or, if "
            "only their header is wrong, copy the image's header to them"
        )
    moved = sitk.Resample(
        _to_sitk(labels), _to_sitk(image), sitk.Transform(image.array.ndim, sitk.sitkIdentity),
        sitk.sitkNearestNeighbor, 0, sitk.sitkUnknown,
        True,  # half a voxel at the border has no label of its own: the nearest is taken
    )  # fmt: skip
    array = sitk.GetArrayFromImage(moved)
    note = (
        f"{labels_path} has another grid than {image_path} and was resampled to it by the headers"
    )
    lost = np.setdiff1d(labels.array, array)
    if lost.size:
        note += f", which lost the structures {', '.join(map(str, lost.tolist()))}"
    return array, note


def oriented(image: Picture, labels: np.ndarray) -> tuple[Picture, np.ndarray]:
    """Reorder the axes of an image and of its labels: x to the left, y to the back, z up.

    These are DICOM's directions (LPS). Voxels are moved, not interpolated. Registration looks at
    arrays and spacing alone and would take images of two orientations for mirrored ones.

    Parameters
    ----------
    image : Picture
        Returned as it is if it has no header.
    labels : ndarray
        On the same grid, as `reconcile` gives it.

    Returns
    -------
    image : Picture
        With the grid of the reordered array.
    labels : ndarray
        Reordered alike.

    Examples
    --------
    >>> image = Picture(np.array([[1, 2, 3]]), (1.0, 2.0), (9.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
    >>> turned, labels = oriented(image, image.array)
    >>> turned.array.tolist(), turned.origin
    ([[3, 2, 1]], (5.0, 0.0))
    """
    if image.direction is None:
        return image, labels
    matrix, origin = _affine(image)
    # For each physical axis, the axis of the array (counted as x, y, z) that runs along it most
    physical, axes = linear_sum_assignment(-np.abs(np.reshape(image.direction, matrix.shape)))
    backward = matrix[physical, axes] < 0
    last = np.array(image.array.shape[::-1])[axes] - 1
    origin = origin + matrix[:, axes] @ np.where(backward, last, 0)
    direction = np.reshape(image.direction, matrix.shape)[:, axes] * np.where(backward, -1, 1)
    order = (len(axes) - 1 - axes)[::-1]
    flips = tuple(np.flatnonzero(backward[::-1]))
    arrays = [
        np.ascontiguousarray(np.flip(array.transpose(order), flips))
        for array in (image.array, labels)
    ]
    spacing = tuple(image.spacing[axis] for axis in order)
    grid = (spacing, tuple(origin.tolist()), tuple(direction.ravel().tolist()))
    return Picture(arrays[0], *grid), arrays[1]


def _affine(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Give matrix and shift from the index (x, y, z) of a voxel to its place in mm."""
    size = len(picture.spacing)
    direction = np.reshape(picture.direction, (size, size))
    return direction * np.array(picture.spacing[::-1]), np.array(picture.origin)


def _label_to_image(labels: Picture, image: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Give matrix and shift from a voxel's index in the labels to its index in the image."""
    (own, start), (its, origin) = _affine(labels), _affine(image)
    return np.linalg.solve(its, own), np.linalg.solve(its, start - origin)


def _same_grid(
    matrix: np.ndarray, shift: np.ndarray, shape: tuple[int, ...], labels_shape: tuple[int, ...]
) -> bool:
    if shape != labels_shape:
        return False
    size = np.array(shape[::-1])
    corners = np.array(list(product(*((0, n - 1) for n in size))))
    moves = np.abs(corners @ matrix.T + shift - corners)
    return bool((moves <= np.maximum(0.5, NOISE * size)).all())


def _overlap(
    matrix: np.ndarray, shift: np.ndarray, shape: tuple[int, ...], labels_shape: tuple[int, ...]
) -> float:
    """Give intersection over union of both boxes, in the image's axes."""
    corners = np.array(list(product(*((-0.5, n - 0.5) for n in labels_shape[::-1]))))
    corners = corners @ matrix.T + shift
    own = np.stack([corners.min(axis=0), corners.max(axis=0)])
    its = np.stack([np.full(len(shape), -0.5), np.array(shape[::-1]) - 0.5])
    larger = np.maximum(1.0, np.abs(matrix).sum(axis=1))  # of both voxels, along each axis
    own = np.where(np.abs(own - its) <= larger / 2 + 1e-6, its, own)
    common = np.minimum(own[1], its[1]) - np.maximum(own[0], its[0])
    intersection = np.prod(np.maximum(common, 0.0))
    return float(
        intersection / (np.prod(own[1] - own[0]) + np.prod(its[1] - its[0]) - intersection)
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
        *(" ".join(f"{value:.4g}" for value in own) for own in picture[2:]),
    ]
    return f"{text}, spacing {numbers[0]} mm, origin {numbers[1]}, direction {numbers[2]}"
