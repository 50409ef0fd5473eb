"""Passes over large volumes, a slab at a time: what labels hold, and averages over blocks.

No full copy of a volume in another type is made: a volume of 512 x 512 x 300 voxels has 0.3 GB in
single precision.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pr12.rca.data.intensity import PERCENTILES
from pr12.workflow.errors import UserError

SLAB = 2**20  # voxels that are looked at in one go
SAMPLE = 2**21  # voxels of which percentiles are taken, at most


class Scale(NamedTuple):
    """The intensities that become 0 and 1."""

    low: float
    high: float


class Content(NamedTuple):
    """What a label map holds."""

    values: np.ndarray  # the structures, rising, shape (S,)
    profiles: list[np.ndarray]  # by axis: voxels of each structure on each place, shape (S, n)


def slabs(array: np.ndarray) -> Iterator[slice]:
    """Yield the parts along the first axis in which an array is looked at.

    Parameters
    ----------
    array : ndarray
        Any shape.

    Examples
    --------
    >>> list(slabs(np.zeros((2, 3))))
    [slice(0, 2, None)]
    """
    length = len(array)
    step = max(1, SLAB * length // max(array.size, 1))
    yield from (slice(start, min(start + step, length)) for start in range(0, length, step))


def values(labels: np.ndarray) -> np.ndarray:
    """Return the structures of a label map, rising.

    Parameters
    ----------
    labels : ndarray
        Whole numbers from 0, 0 is background.

    Examples
    --------
    >>> values(np.array([[0, 7], [7, 2]])).tolist()
    [2, 7]
    """
    if labels.dtype.kind == "u" and labels.dtype.itemsize <= 2:
        size = np.iinfo(labels.dtype).max + 1
        counts = sum(np.bincount(labels[part].ravel(), minlength=size) for part in slabs(labels))
        numbers = np.flatnonzero(counts)
    else:
        numbers = np.unique(np.concatenate([np.unique(labels[part]) for part in slabs(labels)]))
    return numbers[numbers > 0]


def codes(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the place of each label among known structures, from 1, and 0 for all others.

    Parameters
    ----------
    labels : ndarray
        Whole numbers from 0.
    known : ndarray
        Rising, above 0, shape (S,).

    Examples
    --------
    >>> codes(np.array([0, 500, 7, 9]), np.array([7, 500])).tolist()
    [0, 2, 1, 0]
    """
    if labels.dtype.kind == "u" and labels.dtype.itemsize <= 2:
        table = np.zeros(np.iinfo(labels.dtype).max + 1, np.intp)
        table[known] = np.arange(1, len(known) + 1)
        return table[labels]
    if not len(known):
        return np.zeros(labels.shape, np.intp)
    place = np.searchsorted(known, labels)
    same = known[np.minimum(place, len(known) - 1)] == labels
    return np.where(same, place + 1, 0)


def content(labels: np.ndarray) -> Content:
    """Return which structures a label map has, and where along each axis.

    Parameters
    ----------
    labels : ndarray
        Whole numbers from 0.

    Examples
    --------
    >>> content(np.array([[0, 7], [7, 2]])).profiles[1].tolist()
    [[0, 1], [1, 1]]
    """
    known = values(labels)
    profiles = [np.zeros((len(known), length), np.intp) for length in labels.shape]
    for part in slabs(labels):
        slab = labels[part]
        places = np.flatnonzero(slab)
        rows = codes(slab.ravel()[places], known) - 1
        for axis, place in enumerate(np.unravel_index(places, slab.shape)):
            length = labels.shape[axis]
            index = rows * length + place + (part.start if axis == 0 else 0)
            profiles[axis] += np.bincount(index, minlength=profiles[axis].size).reshape(-1, length)
    return Content(known, profiles)


def sample(image: np.ndarray) -> np.ndarray:
    """Return an evenly spaced part of an image, in which its percentiles are those of the whole.

    Parameters
    ----------
    image : ndarray
        Any shape; a small one is returned as it is.

    Examples
    --------
    >>> sample(np.zeros((512, 512, 300))).shape
    (128, 128, 75)
    """
    step = 1
    while math.prod(-(-length // step) for length in image.shape) > SAMPLE:
        step += 1
    return image[(slice(None, None, step),) * image.ndim]


def scale(part: np.ndarray, where: str) -> Scale:
    """Return the percentiles that become 0 and 1.

    Parameters
    ----------
    part : ndarray
        An image, or `sample` of it.
    where : str
        What messages call the image: its file name.

    Raises
    ------
    UserError
        If they are equal: an image that is background but for 2 % of its voxels.

    Examples
    --------
    >>> scale(np.arange(101), "a.nii")
    Scale(low=1.0, high=99.0)
    """
    low, high = np.percentile(part.astype(np.float64), PERCENTILES, method="linear").tolist()
    if low == high:
        raise UserError(
            f"{where} has the value {low:g} in nearly all voxels and too little contrast to be "
            "registered; cut it to the part that shows something"
        )
    return Scale(low, high)


def scaled(image: np.ndarray, by: Scale) -> np.ndarray:
    """Bring intensities to 0..1, as `pr12.rca.data.intensity.normalised` does.

    Parameters
    ----------
    image : ndarray
        Any shape.
    by : Scale
        What becomes 0 and 1; what lies beyond is clipped.

    Returns
    -------
    ndarray
        float32, contiguous.

    Examples
    --------
    >>> scaled(np.array([0, 2, 3, 9]), Scale(1.0, 5.0)).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    result = np.empty(image.shape, np.float32)
    for part in slabs(image):
        # In double precision: differences of large numbers are lost in single precision
        slab = image[part].astype(np.float64)
        slab -= by.low
        slab /= by.high - by.low
        np.clip(slab, 0.0, 1.0, out=slab)
        result[part] = slab
    return result


def reduction(shape: tuple[int, ...], spacing: tuple[float, ...], largest: int) -> tuple[int, ...]:
    """Return the whole factors by which an image is averaged down, finest axis first.

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


def means(image: np.ndarray, by: Scale, factors: tuple[int, ...]) -> np.ndarray:
    """Average an image, brought to 0..1, over blocks of voxels.

    Parameters
    ----------
    image : ndarray
        Any shape.
    by : Scale
        What becomes 0 and 1.
    factors : tuple of int
        Voxels of a block along each axis; the last block may have fewer.

    Returns
    -------
    ndarray
        float32, contiguous.

    Examples
    --------
    >>> means(np.array([[0.0, 1.0, 4.0]]), Scale(0.0, 4.0), (1, 2)).tolist()
    [[0.125, 1.0]]
    """
    if max(factors) == 1:
        return scaled(image, by)
    rows = []
    for part in _whole_blocks(image.shape, factors[0]):
        slab = scaled(image[part], by)
        for axis, (length, factor) in enumerate(zip(slab.shape, factors, strict=True)):
            starts = np.arange(0, length, factor)
            sums = np.add.reduceat(slab, starts, axis=axis, dtype=np.float64)
            counts = np.diff(np.append(starts, length))
            slab = sums / counts.reshape([-1 if a == axis else 1 for a in range(slab.ndim)])
        rows.append(slab.astype(np.float32))
    return np.concatenate(rows)


def majorities(labels: np.ndarray, known: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Give each block of voxels the label that most of it has; of halves, the structure is kept.

    Parameters
    ----------
    labels : ndarray
        Whole numbers from 0.
    known : ndarray
        Its structures, rising.
    factors : tuple of int
        Voxels of a block along each axis; the last block may have fewer.

    Returns
    -------
    ndarray
        int32, contiguous.

    Examples
    --------
    >>> majorities(np.array([[7, 7, 0, 7]]), np.array([7]), (1, 2)).tolist()
    [[7, 7]]
    """
    if max(factors) == 1:
        return np.ascontiguousarray(labels, np.int32)
    shown = np.concatenate([[0], known]).astype(np.int32)
    rows = []
    for part in _whole_blocks(labels.shape, factors[0]):
        slab = codes(labels[part], known)
        shape = tuple(-(-n // f) for n, f in zip(slab.shape, factors, strict=True))
        place = np.zeros((1,) * slab.ndim, np.intp)
        for axis, (length, factor) in enumerate(zip(slab.shape, factors, strict=True)):
            along = [-1 if other == axis else 1 for other in range(slab.ndim)]
            place = place * shape[axis] + (np.arange(length) // factor).reshape(along)
        index = (place * len(shown) + slab).ravel()
        counts = np.bincount(index, minlength=math.prod(shape) * len(shown))
        counts = counts.reshape(*shape, len(shown))[..., ::-1]  # of equals, the last structure
        rows.append(shown[::-1][counts.argmax(axis=-1)])
    return np.concatenate(rows)


def _whole_blocks(shape: tuple[int, ...], factor: int) -> Iterator[slice]:
    """Yield parts along the first axis that hold whole blocks."""
    per_row = max(math.prod(shape[1:]), 1)
    step = max(1, SLAB // (per_row * factor)) * factor
    yield from (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def overlaps(first: np.ndarray, second: np.ndarray) -> dict[int, float]:
    """Return the Dice of every structure that is in one of two label maps.

    Parameters
    ----------
    first, second : ndarray
        Whole numbers from 0, of one shape.

    Examples
    --------
    >>> overlaps(np.array([1, 1, 0, 2]), np.array([0, 1, 0, 0]))
    {1: 0.6666666666666666, 2: 0.0}
    """
    known = np.union1d(values(first), values(second))
    sizes, both = np.zeros(len(known) + 1, np.intp), np.zeros(len(known) + 1, np.intp)
    for part in slabs(first):
        ours, theirs = (codes(labels[part], known).ravel() for labels in (first, second))
        for counted, into in ((ours, sizes), (theirs, sizes), (ours[ours == theirs], both)):
            into += np.bincount(counted, minlength=len(into))
    return {
        number: float(2 * shared / size)
        for number, shared, size in zip(
            known.tolist(), both[1:].tolist(), sizes[1:].tolist(), strict=True
        )
    }
