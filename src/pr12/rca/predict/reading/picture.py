"""A picture as its file stores it, and how large one may be."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from pr12.workflow.errors import UserError

BYTES_PER_VOXEL = 13  # at most: voxels as stored, as float32, and which of them are finite
MOST_SHEAR = 0.71  # cosine between two axes: 45 degrees off a right angle
NO_NAMES: Mapping[int, str] = MappingProxyType({})


class Picture(NamedTuple):
    """An image or a label map, and the grid its header tells.

    `array` has the axes (z, y, x) or (y, x). `spacing` is in mm along each of them, 1.0 where there
    is no header. `origin` and `direction` are SimpleITK's: the place of the first voxel along x, y
    (and z), in mm, and the matrix whose columns are the directions of the axes x, y (and z), row by
    row, which need not be at right angles; both are None where nothing tells them (PNG, NumPy, a
    NIfTI header without a form). `notes` say what was not taken as it is stored. `names` are those
    of the structures of a label map, by number, where its file tells them.
    """

    array: np.ndarray
    spacing: tuple[float, ...]
    origin: tuple[float, ...] | None
    direction: tuple[float, ...] | None
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = NO_NAMES


def without_header(array: np.ndarray) -> Picture:
    """Return the picture of an array alone, with voxels of 1 mm.

    Parameters
    ----------
    array : ndarray
        As stored.
    """
    return Picture(array, (1.0,) * array.ndim, None, None)


def refuse_huge(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse a picture that does not fit into this machine's memory, before it is read.

    Parameters
    ----------
    path : Path
        The file, for the message.
    shape : tuple of int
        As its header tells.

    Raises
    ------
    UserError
        If so.

    Examples
    --------
    >>> refuse_huge(Path("a.nii"), (512, 512, 300))
    """
    needed = BYTES_PER_VOXEL * math.prod(shape)
    memory = _memory()
    if needed > memory:
        raise UserError(
            f"{path} has {' x '.join(map(str, shape))} voxels, which need {needed / 2**30:.0f} GiB "
            f"of this machine's {memory / 2**30:.0f}; cut it to the part that is segmented"
        )


def _memory() -> float:
    """Return the bytes of this machine's memory; infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no such function
        return math.inf


def refuse_channels(path: Path, count: int) -> None:
    """Refuse a label map of several channels or times.

    Parameters
    ----------
    path : Path
        The file, for the message.
    count : int
        Of its channels or times.

    Raises
    ------
    UserError
        If there is more than one.
    """
    if count > 1:
        raise UserError(f"{path} has {count} channels or times; save one label map per file")


def first_of(count: int) -> tuple[str, ...]:
    """Return the note of an image of which the first channel or time was taken.

    Parameters
    ----------
    count : int
        Of its channels or times.

    Examples
    --------
    >>> first_of(2), first_of(1)
    (('the first of its 2 channels or times was taken',), ())
    """
    return (f"the first of its {count} channels or times was taken",) if count > 1 else ()


def off_right_angles(direction: tuple[float, ...]) -> float:
    """Return how far the axes of a volume are from right angles.

    Parameters
    ----------
    direction : tuple of float
        Nine numbers, row by row; the columns have the length one.

    Returns
    -------
    float
        The largest cosine between two axes, not signed.

    Examples
    --------
    >>> off_right_angles((1.0, 0.6, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0))
    0.6
    """
    axes = np.reshape(direction, (3, 3))
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def refuse_flat(path: Path, picture: Picture) -> None:
    """Refuse a volume whose axes are so far from right angles that its header cannot be right.

    Parameters
    ----------
    path : Path
        The file, for the message.
    picture : Picture
        As read.

    Raises
    ------
    UserError
        If so.
    """
    if picture.direction is None or picture.array.ndim != 3:
        return
    cosine = off_right_angles(picture.direction)
    if not cosine <= MOST_SHEAR:
        raise UserError(
            f"the axes in the header of {path} are not at right angles "
            f"({math.degrees(math.asin(min(cosine, 1.0))):.0f} degrees off); "
            "resample it to a grid with right angles"
        )
