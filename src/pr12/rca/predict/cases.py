"""A user's cases for `pr12.rca.predict`: read, brought to one orientation and averaged down.

What cannot be used becomes a sentence, so that one bad file stops no other.
"""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pr12.rca.data.intensity import normalised
from pr12.rca.model import measures
from pr12.rca.predict import files as user_files
from pr12.rca.predict import grids
from pr12.workflow.errors import UserError


class Files(NamedTuple):
    """The files of one case; `truth` is its true label map where that is known."""

    name: str
    image: Path
    labels: Path
    truth: Path | None


class Unused(NamedTuple):
    """What could not be used, and a sentence that says why; `case` is empty for a lone file."""

    case: str
    note: str


class View(NamedTuple):
    """The slice of a case that is shown: grey values, labels, and the size of a pixel in mm."""

    grey: np.ndarray  # uint8
    labels: np.ndarray
    spacing: tuple[float, float]
    place: str  # such as "slice 3 of 20"; empty for a 2-D case


class Case(NamedTuple):
    """One image, 0 to 1, with a label map; both averaged down to what is registered."""

    name: str
    image: np.ndarray  # float32
    labels: np.ndarray  # whole numbers, as in the file, or 0 to S (`predict_structures`)
    spacing: tuple[float, ...]  # mm, along each axis of the arrays
    view: View
    real: dict[int, float]  # Dice by structure, where the truth is known
    notes: tuple[str, ...]
    content: str  # digest of the image: equal for equal images


def read(files: Files, largest: int) -> Case | Unused:
    """Read one case, or say why it cannot be used.

    Parameters
    ----------
    files : Files
        Of the case.
    largest : int
        Voxels that are registered at most.

    Examples
    --------
    >>> read(Files("a", Path("a.png"), Path("b.png"), None), 1000)
    Unused(case='a', note='cannot read a.png: No such file or directory')
    """
    notes, maps = [], []
    try:
        image = user_files.read_image(files.image)
        for path in (files.labels, files.truth):
            if path is not None:
                own = user_files.read_labels(path)
                array, note = grids.reconcile(image, own, files.image, path)
                maps.append(array)
                notes += [note] if note else []
        real = real_dice(*maps) if files.truth else {}
        image, labels = grids.oriented(image, maps[0])
        grey = normalised(image.array, str(files.image))
    except UserError as error:
        return Unused(files.name, str(error))
    factors = reduction(grey.shape, image.spacing, largest)
    small, small_labels = averaged(grey, labels, factors)
    if max(factors) > 1:
        shown = " x ".join(map(str, factors))
        notes.append(f"averaged down by {shown} voxels to be registered")
        lost = np.setdiff1d(labels, small_labels).tolist()
        notes += [f"structure {value} is too small for that and was lost" for value in lost]
    return Case(
        files.name,
        small,
        small_labels,
        tuple(step * factor for step, factor in zip(image.spacing, factors, strict=True)),
        view(grey, labels, image.spacing, upright=image.direction is not None),
        real,
        tuple(notes),
        hashlib.sha256(small.tobytes()).hexdigest(),
    )


def real_dice(segmentation: np.ndarray, truth: np.ndarray) -> dict[int, float]:
    """Give the Dice of every structure that is in one of two label maps.

    Parameters
    ----------
    segmentation, truth : ndarray
        Whole numbers, of one shape.

    Examples
    --------
    >>> real_dice(np.array([1, 1, 0, 2]), np.array([0, 1, 0, 0]))
    {1: 0.6666666666666666, 2: 0.0}
    """
    found = np.union1d(segmentation, truth)
    return {
        value: measures.overlaps(segmentation == value, truth == value)[0]
        for value in found[found > 0].tolist()
    }


def reduction(shape: tuple[int, ...], spacing: tuple[float, ...], largest: int) -> tuple[int, ...]:
    """Give the whole factors by which an image is averaged down, finest axis first.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    spacing : tuple of float
        Of its voxels.
    largest : int
        Voxels that may be left.

    Examples
    --------
    >>> reduction((20, 100, 100), (5.0, 1.0, 1.0), 50_000)  # the thick slices are kept
    (1, 2, 2)
    """
    factors = [1] * len(shape)
    while math.prod(-(-n // f) for n, f in zip(shape, factors, strict=True)) > largest:
        sizes = [step * f for step, f in zip(spacing, factors, strict=True)]
        factors[sizes.index(min(sizes))] += 1
    return tuple(factors)


def averaged(
    image: np.ndarray, labels: np.ndarray, factors: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Average an image over blocks of voxels, and give each block the label most of it has.

    Parameters
    ----------
    image, labels : ndarray
        Of one shape; the last voxels are repeated where a block is not full.
    factors : tuple of int
        Voxels of a block along each axis.

    Examples
    --------
    >>> small = averaged(np.array([[0.0, 1.0, 4.0]]), np.array([[7, 7, 0]]), (1, 2))
    >>> [part.tolist() for part in small]
    [[[0.5, 4.0]], [[7, 0]]]
    """
    if max(factors) == 1:
        return image, labels
    rest = [(0, -n % f) for n, f in zip(image.shape, factors, strict=True)]
    blocks = [part for n, f in zip(image.shape, factors, strict=True) for part in (-(-n // f), f)]
    inner = tuple(range(1, len(blocks), 2))

    def mean(array: np.ndarray) -> np.ndarray:
        padded = np.pad(array, rest, mode="edge").reshape(blocks)
        return padded.mean(axis=inner, dtype=np.float32)

    most = mean(labels == 0)
    found = np.zeros(most.shape, labels.dtype)
    for value in np.unique(labels[labels > 0]):
        share = mean(labels == value)
        found[share >= most] = value  # of halves, the structure is kept
        most = np.maximum(most, share)
    return mean(image), found


def view(grey: np.ndarray, labels: np.ndarray, spacing: tuple[float, ...], upright: bool) -> View:
    """Give the slice with the most labelled voxels, across the axis of the thickest voxels.

    Parameters
    ----------
    grey : ndarray
        0 to 1.
    labels : ndarray
        Of the same shape.
    spacing : tuple of float
        Of a voxel.
    upright : bool
        Whether the first axis runs upwards (as `pr12.rca.predict.grids.oriented` turns it): the
        rows of a slice along it are shown from the top.

    Examples
    --------
    >>> labels = np.zeros((3, 2, 2), int)
    >>> labels[2, 0, 0] = 1
    >>> view(np.zeros((3, 2, 2)), labels, (1.0, 1.0, 1.0), True).place
    'slice 3 of 3'
    """
    pixels, place = (np.rint(255 * grey).astype(np.uint8), labels), ""
    if grey.ndim == 3:
        axis = spacing.index(max(spacing))
        others = tuple(other for other in range(3) if other != axis)
        counts = np.count_nonzero(labels, axis=others)
        index = int(counts.argmax()) if counts.any() else len(counts) // 2
        pixels = tuple(part.take(index, axis) for part in pixels)
        if axis and upright:
            pixels = tuple(part[::-1] for part in pixels)
        place = f"slice {index + 1} of {len(counts)}"
        spacing = tuple(spacing[other] for other in others)
    return View(*(part.copy() for part in pixels), spacing, place)
