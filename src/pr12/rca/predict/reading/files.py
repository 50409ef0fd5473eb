"""A user's images and label maps, and what is refused.

A file without a header (PNG, NumPy) has voxels of 1 mm. NumPy arrays have the axes (z, y, x),
SimpleITK's order; nibabel's arrays have them the other way round. A label map and its image may
have different formats and grids (`pr12.rca.predict.reading.grids` brings them together).
"""

from pathlib import Path

import numpy as np

from pr12.rca.data.intensity import refuse_not_finite, refuse_unusable
from pr12.rca.predict.reading import blocks, formats
from pr12.rca.predict.reading.picture import Picture
from pr12.workflow.errors import UserError

MOST_STRUCTURES = 255
WHOLE = 0.05  # what is so near a whole number is one
SCATTERED = 10  # structures of single voxels that no label map has, but an image or a JPEG


def read_image(path: Path) -> Picture:
    """Read an image with its grid.

    A PNG of three channels is accepted if they are equal (a grey picture stored in colour).

    Parameters
    ----------
    path : Path
        A file of a format that `formats` reads, or a folder with a DICOM series.

    Returns
    -------
    Picture
        float32, as stored, the first of several channels.

    Raises
    ------
    UserError
        If it is not a whole file of real numbers with 2 or 3 axes, if voxels are NaN or infinite,
        or if all have one value.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.arange(6).reshape(2, 3))
    >>> read_image(path).spacing
    (1.0, 1.0)
    """
    picture = formats.read(path, as_labels=False)
    if picture.array.dtype == bool:
        raise UserError(f"{path} is a mask of true and false; an image needs grey values")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
        array = picture.array.astype(np.float32, copy=False)
    refuse_unusable(array, str(path))
    return picture._replace(array=array)


def read_labels(path: Path) -> Picture:
    """Read a label map with its grid; 0 is the background, other numbers are structures.

    Masks of true and false are one structure, 1. Of a PNG with a palette of colours the numbers of
    the colours are taken. A map without any structure is no error here (`is_empty`). What white
    (255) stands for is decided beside the references (`pr12.rca.predict.structures`).

    Parameters
    ----------
    path : Path
        A file of a format that `formats` reads.

    Returns
    -------
    Picture
        uint8, uint16 or int32, the smallest that holds them; values that are off a whole number by
        a twentieth at most are rounded, with a note.

    Raises
    ------
    UserError
        If it is not a whole file of one real channel with 2 or 3 axes, if a value is not a whole
        number from 0 to 2147483647, if there are more than 255 structures, or if many of them are
        scattered voxels, as in an image or in what went through JPEG.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.array([[0, 255, 255], [0, 0, 255]], np.uint8))
    >>> read_labels(path).array.tolist()
    [[0, 255, 255], [0, 0, 255]]
    """
    picture = formats.read(path, as_labels=True)
    array, notes = picture.array, picture.notes
    if array.dtype.kind == "f":
        refuse_not_finite(array, str(path))
    low, high = (round(array_end.item()) for array_end in (array.min(), array.max()))
    if low < 0 or high > np.iinfo(np.int32).max:
        raise UserError(
            f"{path} has the label {low if low < 0 else high}; labels must be whole numbers "
            f"from 0 to {np.iinfo(np.int32).max}"
        )
    kind = next(kind for kind in (np.uint8, np.uint16, np.int32) if high <= np.iinfo(kind).max)
    if array.dtype.kind == "f":
        array, rounded = _whole(array, kind, path)
        notes += rounded
    array = array.astype(kind, copy=False)
    structures = blocks.values(array)
    if len(structures) > MOST_STRUCTURES:
        raise UserError(
            f"{path} has {len(structures)} structures and may have {MOST_STRUCTURES}; is it an "
            "image?"
        )
    if (
        len(structures) > SCATTERED
        and (count := _scattered(array, structures)) > len(structures) / 2
    ):
        raise UserError(
            f"{path} has {len(structures)} structures, of which {count} are scattered voxels, such "
            f"as {structures[len(structures) // 2]}; is it an image, or did it go through JPEG? "
            "give the label map as it was written"
        )
    return picture._replace(array=array, notes=notes)


def _whole(array: np.ndarray, kind: type, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return values that are whole but for rounding as whole numbers, with a note."""
    result = np.empty(array.shape, kind)
    count, wrong, off = 0, 0.0, None
    for part in blocks.slabs(array):
        slab = array[part]
        whole = np.rint(slab)
        apart = np.abs(slab - whole)
        bad = apart > WHOLE
        if bad.any():
            wrong = wrong if count else slab[bad][0].item()
            count += int(np.count_nonzero(bad))
        elif off is None and apart.any():
            off = slab[apart > 0][0].item()
        result[part] = whole
    if count:
        raise UserError(
            f"{path} has a value that is no whole number in {count} of {array.size} "
            f"voxels, such as {wrong:g}; each needs the number of a structure (in NIfTI, "
            "scl_slope and scl_inter of the header count, too)"
        )
    if off is None:
        return result, ()
    return result, (
        f"labels such as {off:.7g} were rounded (see scl_slope and scl_inter of the header)",
    )


def _scattered(labels: np.ndarray, known: np.ndarray) -> int:
    """Count the structures most of whose voxels have no neighbour of the same structure."""
    joined = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        first, second = (
            (slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None))
        )
        same = labels[first] == labels[second]
        joined[first] |= same
        joined[second] |= same
    counts = np.zeros((2, len(known) + 1), np.intp)
    for part in blocks.slabs(labels):
        places = blocks.codes(labels[part], known)
        counts[0] += np.bincount(places.ravel(), minlength=len(known) + 1)
        counts[1] += np.bincount(places[joined[part]], minlength=len(known) + 1)
    return int(np.count_nonzero(2 * counts[1, 1:] < counts[0, 1:]))


def looks_like_labels(array: np.ndarray) -> bool:
    """Tell whether an image has few whole values, as a label map has.

    Parameters
    ----------
    array : ndarray
        An image's.

    Examples
    --------
    >>> looks_like_labels(np.eye(4)), looks_like_labels(np.arange(100.0))
    (True, False)
    """
    values: set[float] = set()
    for part in blocks.slabs(array):
        values |= set(np.unique(array[part]).tolist())
        if len(values) > 2 * SCATTERED or any(value < 0 or value % 1 for value in values):
            return False
    return True


def is_empty(labels: np.ndarray) -> bool:
    """Tell whether a label map has no structure at all.

    Parameters
    ----------
    labels : ndarray
        Whole numbers, any shape.

    Examples
    --------
    >>> is_empty(np.zeros((2, 2), int)), is_empty(np.eye(2, dtype=int))
    (True, False)
    """
    return not labels.any()
