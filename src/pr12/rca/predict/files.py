"""A user's folders of images and label maps: which belong together, and what is refused.

Files are NIfTI (.nii, .nii.gz), PNG (grey, 8 or 16 bit) or NumPy (.npy), 2-D or 3-D; a file without
a header (PNG, NumPy) has voxels of 1 mm. NumPy arrays have the axes (z, y, x), SimpleITK's order;
nibabel's arrays have them the other way round. A label map and its image may have different
formats and grids (`pr12.rca.predict.grids` brings them together).
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from pr12.rca.data.intensity import refuse_not_finite, refuse_unusable
from pr12.rca.predict import formats
from pr12.rca.predict.formats import Picture
from pr12.workflow.errors import UserError

MOST_STRUCTURES = 255


def pair_files(
    images: Path, others: Path, what: str
) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """Pair the files of two folders by their names without suffix.

    Hidden files and folders in the folders are left out.

    Parameters
    ----------
    images, others : Path
        The folders of the images and of what belongs to them.
    what : str
        What the second folder holds, for messages: "segmentation" or "label map".

    Returns
    -------
    pairs : list of (str, Path, Path)
        Case, image and other file, sorted by case.
    unpaired : list of str
        A sentence for each case that has no partner or several files, and for each file of another
        format.

    Raises
    ------
    UserError
        If a folder is missing or unreadable, if both are the same, or if nothing can be paired.

    Examples
    --------
    >>> import tempfile
    >>> folders = [Path(tempfile.mkdtemp()) for _ in range(2)]
    >>> for folder, name in zip([*folders, folders[1]], ["a.nii.gz", "a.npy", "b.npy"]):
    ...     (folder / name).touch()
    >>> pairs, unpaired = pair_files(*folders, "segmentation")
    >>> pairs[0][0], pairs[0][2].name, len(unpaired)
    ('a', 'a.npy', 1)
    """
    first, unpaired = _files_by_case(images)
    second, unread = _files_by_case(others)
    if images.samefile(others):
        raise UserError(f"{images} is given for the images and for the {what}s; give two folders")
    unpaired += unread
    pairs = []
    for case in sorted({*first, *second}):
        own, its = first[case], second[case]
        if len(own) > 1 or len(its) > 1:
            names = ", ".join(map(str, own if len(own) > 1 else its))
            unpaired.append(f"{names} have the same name; keep one of them")
        elif not its:
            unpaired.append(f"{own[0]} has no {what} in {others}")
        elif not own:
            unpaired.append(f"{its[0]} has no image in {images}")
        else:
            pairs.append((case, own[0], its[0]))
    if not pairs:
        found = f"; for example: {unpaired[0]}" if unpaired else "; they hold no files"
        raise UserError(
            f"no file of {images} has a {what} of the same name in {others} "
            f"({_formats()} are read){found}"
        )
    return pairs, unpaired


def _files_by_case(folder: Path) -> tuple[defaultdict[str, list[Path]], list[str]]:
    cases, unread = defaultdict(list), []
    try:
        content = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
    for path in content:
        if path.name.startswith(".") or path.is_dir():
            continue
        if kind := formats.suffix(path):
            cases[path.name[: -len(kind)]].append(path)
        else:
            unread.append(f"{path} is left out, for it is none of {_formats()}")
    return cases, unread


def _formats() -> str:
    return ", ".join(formats.SUFFIXES)


def read_image(path: Path) -> Picture:
    """Read an image with its grid.

    A PNG of three channels is accepted if they are equal (a grey picture stored in colour).

    Parameters
    ----------
    path : Path
        A file named .nii, .nii.gz, .png or .npy.

    Returns
    -------
    Picture
        float32, as stored: intensities are normalised by `pr12.rca.data.intensity.normalised`.

    Raises
    ------
    UserError
        If it is not a whole file of one real channel with 2 or 3 axes, if voxels are NaN or
        infinite, or if all have one value.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.arange(6).reshape(2, 3))
    >>> read_image(path).spacing
    (1.0, 1.0)
    """
    picture = formats.read(path, colours_are_labels=False)
    if picture.array.dtype == bool:
        raise UserError(f"{path} is a mask of true and false; an image needs grey values")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
        array = picture.array.astype(np.float32)
    refuse_unusable(array, str(path))
    return picture._replace(array=array)


def read_labels(path: Path) -> Picture:
    """Read a label map with its grid; 0 is the background, other numbers are structures.

    A map whose only values are 0 and 255 (or 0 and 65535) is a white mask: one structure, 1. Masks
    of true and false are one structure, too. Of a PNG with a palette of colours the numbers of the
    colours are taken. A map without any structure is no error here (`is_empty`).

    Parameters
    ----------
    path : Path
        A file named .nii, .nii.gz, .png or .npy.

    Returns
    -------
    Picture
        int32.

    Raises
    ------
    UserError
        If it is not a whole file of one real channel with 2 or 3 axes, if a value is not a whole
        number from 0 to 2147483647, or if there are more than 255 structures.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.array([[0, 255, 255], [0, 0, 255]], np.uint8))
    >>> read_labels(path).array.tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    picture = formats.read(path, colours_are_labels=True)
    array = picture.array
    if array.dtype.kind == "f":
        refuse_not_finite(array, str(path))
        wrong = array[array != np.rint(array)]
        if wrong.size:
            raise UserError(
                f"{path} has a value that is no whole number in {wrong.size} of {array.size} "
                f"voxels, such as {wrong[0]:g}; each needs the number of a structure"
            )
    low, high = array.min().item(), array.max().item()
    if low < 0 or high > np.iinfo(np.int32).max:
        raise UserError(
            f"{path} has the label {low if low < 0 else high:.0f}; labels must be whole numbers "
            f"from 0 to {np.iinfo(np.int32).max}"
        )
    array = array.astype(np.int32)
    structures = set(np.unique(array).tolist()) - {0}
    if len(structures) > MOST_STRUCTURES:
        raise UserError(
            f"{path} has {len(structures)} structures and may have {MOST_STRUCTURES}; is it an "
            "image?"
        )
    if structures in ({255}, {65535}):
        array = np.minimum(array, 1)
    return picture._replace(array=array)


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
