"""A label map out of a folder with a file for each organ, as TotalSegmentator writes them."""

from pathlib import Path

import numpy as np

from pr12.rca.predict.reading import files, formats
from pr12.rca.predict.reading.picture import Picture
from pr12.workflow.errors import UserError


def read(folder: Path) -> Picture:
    """Read the masks of all organs of a case into one label map, which has their names.

    What is above 0 in a file is its organ. A lone file with several labels is the label map itself,
    without names.

    Parameters
    ----------
    folder : Path
        Of one case.

    Returns
    -------
    Picture
        uint8, organs numbered by the order of their names.

    Raises
    ------
    UserError
        If a file is no mask, or the masks are not on one grid.
    """
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and formats.suffix(path) and not path.name.startswith(".")
    )
    if not paths:
        raise UserError(f"{folder} holds no file of an organ; write it anew")
    if len(paths) > files.MOST_STRUCTURES:
        raise UserError(
            f"{folder} has {len(paths)} files and may have {files.MOST_STRUCTURES}; leave one for "
            "each organ"
        )
    first: Picture | None = None
    names: dict[int, str] = {}
    notes: list[str] = []
    shared = 0
    for number, path in enumerate(paths, start=1):
        mask = files.read_labels(path)
        inside = mask.array > 0
        held = np.unique(mask.array[inside])
        if len(held) > 1 and len(paths) == 1:
            return mask
        if len(held) > 1:
            raise UserError(
                f"{path} has the labels {held[0]} and {held[1]}; in a folder of organs each file "
                "is the mask of one"
            )
        if first is None:
            first = mask._replace(array=np.zeros(mask.array.shape, np.uint8))
        elif not _is_on(mask, first):
            raise UserError(f"{path} is on another grid than {paths[0]}; write both on one grid")
        shared += int(np.count_nonzero(first.array[inside]))
        first.array[inside] = number
        names[number] = path.name[: -len(formats.suffix(path))]
        notes += [f"{path.name}: {note}" for note in mask.notes]
    if shared:
        notes.append(f"{shared} voxels are in two of its organs, of which the later one counts")
    return first._replace(notes=tuple(notes), names=names)


def _is_on(mask: Picture, first: Picture) -> bool:
    if mask.array.shape != first.array.shape or (mask.direction is None) != (
        first.direction is None
    ):
        return False
    if mask.direction is None:
        return True
    numbers = [[*part.spacing, *part.origin, *part.direction] for part in (mask, first)]
    return np.allclose(*numbers, rtol=1e-4, atol=1e-3)
