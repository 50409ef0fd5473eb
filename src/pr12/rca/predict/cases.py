"""A user's cases for `pr12.rca.predict`: read, brought to one orientation, averaged down.

What cannot be used becomes a sentence, so that one bad file stops no other.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pr12.rca.predict import numbering
from pr12.rca.predict.reading import blocks, grids, names, organs
from pr12.rca.predict.reading import files as user_files
from pr12.rca.predict.reading.blocks import Content, Scale
from pr12.rca.predict.reading.picture import NO_NAMES, Picture
from pr12.workflow.errors import UserError

AS_IT_IS = Scale(0.0, 1.0)
LARGEST = 400  # pixels of a side of what is shown
# How notes begin that are said of a case alone, and not on the terminal
QUIET = ("averaged down", "the first of ", "the reference ")


class Files(NamedTuple):
    """The files of one case; `truth` is its true label map where that is known."""

    name: str
    image: Path  # a file, or a folder with a DICOM series
    labels: Path  # a file, or a folder with a file for each organ
    truth: Path | None
    names: Mapping[int, str] = NO_NAMES  # of the structures in files that do not tell them
    notes: tuple[str, ...] = ()


class Unused(NamedTuple):
    """What could not be used, and a sentence that says why; `case` is empty for a lone file."""

    case: str
    note: str
    kind: str = ""  # "case", "reference" or "calibration"; empty: nothing that was asked for


class View(NamedTuple):
    """A slice of a case that is shown: grey values, labels, and the size of a pixel in mm."""

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
    views: tuple[View, ...]  # of a volume three, the one across the thickest voxels first
    real: dict[int, float]  # Dice by structure, where the truth is known
    notes: tuple[str, ...]
    content: str  # digest of the image: equal for equal images, whatever was segmented in them
    placed: bool = False  # whether the image's header tells its orientation
    foreign: tuple[int | str, ...] = ()  # structures that no reference has, by name if known
    origin: tuple[float, ...] | None = None  # of the averaged grid, as SimpleITK counts, if placed
    direction: tuple[float, ...] | None = None
    names: Mapping[int, str] = NO_NAMES  # of its structures, by number, where they are known
    named: bool = False  # whether its numbers mean nothing beside the names


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
    >>> read(Files("a", Path("a.png"), Path("b.png"), None), 1000).note
    'cannot read b.png: No such file or directory'
    """
    notes = list(files.notes)
    try:
        maps = [_labels(path, files, notes) for path in files[2:4] if path is not None]
        image = user_files.read_image(files.image)
        notes += [f"{files.image}: {note}" for note in image.notes]
        arrays = [
            _on_grid(labels, path, image, files, notes)
            for labels, path in zip(maps, files[2:4], strict=False)
        ]
        image, *arrays = grids.oriented(image, *arrays)
        real = _real(arrays, maps, files) if files.truth else {}
        return _case(files, image, arrays[0], maps[0], real, notes, largest)
    except UserError as error:
        return Unused(files.name, "; ".join([str(error), *notes]))
    except MemoryError:
        return Unused(
            files.name,
            f"{files.image} does not fit into the memory that is free; cut it to the part that is "
            "segmented, or run with OMP_NUM_THREADS=1 before the command",
        )


def _labels(path: Path, files: Files, notes: list[str]) -> Picture:
    """Return a label map with names; add what is to be said of it to the notes."""
    try:
        labels = organs.read(path) if path.is_dir() else user_files.read_labels(path)
    except UserError as error:
        if _looks_like_labels(files.image):
            raise UserError(
                f"{error}; {files.image} looks like a label map: are both folders exchanged?"
            ) from None
        raise
    notes += [f"{path}: {note}" for note in labels.notes]
    if not labels.names:
        labels = labels._replace(names=files.names)
    unseen = [n for n, name in labels.names.items() if names.plain(name) == names.IGNORED]
    if unseen:
        notes.append(f"{path}: its label {names.IGNORED} is taken as background")
        array = numbering.replaced(labels.array, dict.fromkeys(unseen, 0))
        labels = labels._replace(array=array)
    return labels


def _looks_like_labels(path: Path) -> bool:
    try:
        return user_files.looks_like_labels(user_files.read_image(path).array)
    except UserError:
        return False


def _on_grid(
    labels: Picture, path: Path, image: Picture, files: Files, notes: list[str]
) -> np.ndarray:
    """Return a label map on the grid of its image; add what is to be said of it to the notes."""
    array, note = grids.reconcile(image, labels, files.image, path)
    notes += [note] if note else []
    return array


def _real(arrays: list[np.ndarray], maps: list[Picture], files: Files) -> dict[int, float]:
    """Return the real Dice of a segmentation, in its own numbers."""
    segmentation, truth = arrays
    known, present = numbering.numbers(truth), numbering.numbers(segmentation)
    unnamed = dict.fromkeys(present, "") if files.truth.is_dir() and maps[1].names else {}
    table = names.renumbering(known, maps[1].names, unnamed | dict(maps[0].names))
    truth, known = numbering.replaced(truth, table), set(table.values())
    exchanged = numbering.exchanged(
        present, known, known, str(files.labels), f"labels {files.truth}"
    )
    back = {number: other for other, number in exchanged.items()}
    return blocks.overlaps(segmentation, numbering.replaced(truth, back))


def _case(
    files: Files,
    image: Picture,
    labels: np.ndarray,
    stored: Picture,
    real: dict[int, float],
    notes: list[str],
    largest: int,
) -> Case:
    """Return a case, averaged down; image and labels are oriented."""
    refined = blocks.sample(image.array)
    by = blocks.scale(refined, str(files.image))
    held = blocks.content(labels)
    content = hashlib.sha256(blocks.scaled(refined, by).tobytes()).hexdigest()
    shown = views(image.array, labels, image.spacing, image.direction is not None, by, held)
    factors = blocks.reduction(labels.shape, image.spacing, largest)
    small = grids.coarser(image, blocks.means(image.array, by, factors), factors)
    small, small_labels, straightened = grids.straightened(
        small, blocks.majorities(labels, held.values, factors)
    )
    notes += [f"{files.image}: {note}" for note in straightened]
    if max(factors) > 1:
        size = " x ".join(map(str, factors))
        notes.append(f"averaged down by {size} voxels to be registered")
    lost = set(held.values.tolist()) - numbering.numbers(small_labels)
    notes += [
        f"structure {stored.names.get(value, value)} is too small for that and was lost"
        for value in sorted(lost)
    ]
    return Case(
        files.name,
        small.array,
        small_labels,
        small.spacing,
        shown,
        real,
        tuple(notes),
        content,
        image.direction is not None,
        origin=small.origin,
        direction=small.direction,
        names=dict(stored.names),
        named=files.labels.is_dir() and bool(stored.names),
    )


def views(
    image: np.ndarray,
    labels: np.ndarray,
    spacing: tuple[float, ...],
    upright: bool,
    by: Scale = AS_IT_IS,
    held: Content | None = None,
) -> tuple[View, ...]:
    """Return the slice across each axis with the most labelled voxels, of a picture the whole.

    Parameters
    ----------
    image : ndarray
        Intensities.
    labels : ndarray
        Of the same shape.
    spacing : tuple of float
        Of a voxel.
    upright : bool
        Whether the first axis runs upwards (as `grids.oriented` turns it): the rows of a slice
        along it are shown from the top.
    by : Scale
        Which intensities are black and white.
    held : Content, optional
        Of the label map, where it is known.

    Returns
    -------
    tuple of View
        Of at most `LARGEST` pixels a side; the slice across the thickest voxels comes first.

    Examples
    --------
    >>> labels = np.zeros((3, 2, 2), int)
    >>> labels[2, 0, 0] = 1
    >>> [view.place for view in views(np.zeros((3, 2, 2)), labels, (1.0, 1.0, 1.0), True)]
    ['slice 3 of 3', 'slice 1 of 2', 'slice 1 of 2']
    """
    if image.ndim == 2:
        return (_view(image, labels, spacing, "", by),)
    profiles = (held or blocks.content(labels)).profiles
    shown = []
    for axis in sorted(range(3), key=lambda axis: -spacing[axis]):
        counts = profiles[axis].sum(axis=0)
        index = int(counts.argmax()) if counts.any() else len(counts) // 2
        slice_of = (slice(None),) * axis + (index,)  # `take` would copy the volume
        pixels = [part[slice_of] for part in (image, labels)]
        if axis and upright:
            pixels = [part[::-1] for part in pixels]
        sides = tuple(step for other, step in enumerate(spacing) if other != axis)
        shown.append(_view(*pixels, sides, f"slice {index + 1} of {len(counts)}", by))
    return tuple(shown)


def _view(
    image: np.ndarray, labels: np.ndarray, spacing: tuple[float, ...], place: str, by: Scale
) -> View:
    """Return a slice, of each so many pixels one: all cases are kept in memory."""
    steps = [max(1, round(side / LARGEST)) for side in image.shape]
    every = tuple(slice(None, None, step) for step in steps)
    grey = np.rint(255 * blocks.scaled(image[every], by)).astype(np.uint8)
    labels = np.ascontiguousarray(labels[every], np.int32)
    return View(grey, labels, tuple(np.multiply(spacing, steps).tolist()), place)
