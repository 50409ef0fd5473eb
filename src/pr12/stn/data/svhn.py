"""Read the photographs of SVHN, full numbers (Netzer et al. 2011): archives -> crops and digits.

Each archive holds ``train/1.png``, ... and ``train/digitStruct.mat``, a MATLAB 7.3 file, which is
HDF5: /digitStruct/name and /digitStruct/bbox refer to the name of each picture and to its boxes.
Nothing is unpacked to the disk. The crop is that of Goodfellow et al. 2013: the box around all
digits, 30 % larger in both directions, resized to 64 x 64 pixels, aspect ratio not kept; the loose
crop of 128 x 128 pixels is twice as large around the same centre, so that the scale is the same.
"""

import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pr12.stn.data import archives
from pr12.stn.data.archives import REMEDY
from pr12.stn.data.composed import BLANK, LONGEST
from pr12.workflow.errors import UserError

ARCHIVES = {"train": "train.tar.gz", "test": "test.tar.gz", "extra": "extra.tar.gz"}
BOXES = "digitStruct.mat"
FIELDS = ("left", "top", "width", "height", "label")
EXPANDED = 1.3  # Goodfellow et al. 2013, Sec. 5.1
CROPS = {32: 1, 64: 1, 128: 2}  # pixels of a picture's side -> how loose its crop is
ZERO = 10  # the label of the digit 0
WIDEST = 20_000  # pixels that a crop may have along a side before it is resized
LARGEST_PICTURE = 50_000_000  # bytes of a packed picture
LARGEST_BOXES = 1_000_000_000  # bytes of digitStruct.mat


class House(NamedTuple):
    """One picture: its name and its digits from left to right as they are listed."""

    name: str  # such as 17.png
    window: tuple[float, float, float, float]  # left, top, right, bottom of all boxes, in pixels
    digits: tuple[int, ...]  # 0 to 9


def read_boxes(path: Path, folder: str) -> bytes:
    """Return the bytes of digitStruct.mat.

    Parameters
    ----------
    path : Path
        The archive.
    folder : str
        In the archive: ``train``, ``test`` or ``extra``.

    Raises
    ------
    UserError
        If the archive is missing, broken or has no such file.

    Examples
    --------
    >>> read_boxes(Path("/nowhere/train.tar.gz"), "train")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/train.tar.gz: No such file or directory; \
delete it and run again, and it is fetched anew
    """
    with archives.opened(path) as archive:
        for member in archive:
            if member.name == f"{folder}/{BOXES}":
                return archives.content(archive, member, LARGEST_BOXES, path)
    raise UserError(f"{path} has no {folder}/{BOXES}, so it is not SVHN's {folder} set; {REMEDY}")


def read_houses(content: bytes, where: str) -> list[House]:
    """Read the names, boxes and digits of all pictures.

    Parameters
    ----------
    content : bytes
        A digitStruct.mat.
    where : str
        What to call it in messages.

    Returns
    -------
    list of House
        In the order of the file.

    Raises
    ------
    UserError
        If it is not such a file, or a picture has no boxes, a label outside 1 to 10, a box
        without width or height or far too large, or a name that is no number with .png.

    Examples
    --------
    >>> read_houses(b"MATLAB", "train/digitStruct.mat")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: train/digitStruct.mat is not a whole MATLAB 7.3 (HDF5) file; \
delete it and run again, and it is fetched anew
    """
    try:
        # In memory: a file cannot lead to others on the disk
        with h5py.File(io.BytesIO(content), "r") as file:
            names, boxes = file["digitStruct/name"][:, 0], file["digitStruct/bbox"][:, 0]
            if len(names) != len(boxes) or not len(names):
                raise UserError(
                    f"{where} has {len(names)} names and {len(boxes)} lists of boxes; {REMEDY}"
                )
            houses = [
                _house(file, name, box, f"picture {number} of {where}")
                for number, (name, box) in enumerate(zip(names, boxes, strict=True), start=1)
            ]
    except UserError:
        raise
    except Exception as error:  # a broken file raises whatever h5py comes upon first
        raise UserError(f"{where} is not a whole MATLAB 7.3 (HDF5) file; {REMEDY}") from error
    if len({house.name for house in houses}) < len(houses):
        raise UserError(f"{where} lists a picture twice; {REMEDY}")
    return houses


def _house(file: h5py.File, name: Any, box: Any, where: str) -> House:
    text = "".join(map(chr, file[name][()].ravel()))
    if not re.fullmatch(r"[0-9]{1,9}\.png", text):
        raise UserError(f"{where} is called {text[:40]!r}; it must be a number and .png; {REMEDY}")
    group = file[box]
    if isinstance(group, h5py.Dataset):  # an empty list is no group: it has no fields
        raise UserError(f"{where} ({text}) has no boxes; {REMEDY}")
    values = np.array([_values(file, group[field]) for field in FIELDS], dtype=np.float64)
    if not values.size:
        raise UserError(f"{where} ({text}) has no boxes; {REMEDY}")
    left, top, width, height, label = values
    if not np.isin(label, np.arange(1, ZERO + 1)).all():
        wrong = label[~np.isin(label, np.arange(1, ZERO + 1))][0]
        raise UserError(f"{where} ({text}) has the label {wrong:g}; labels are 1 to 10; {REMEDY}")
    window = (left.min(), top.min(), (left + width).max(), (top + height).max())
    small = max(window[2] - window[0], window[3] - window[1]) * 2 * EXPANDED < WIDEST
    if not (np.isfinite(values).all() and width.min() > 0 and height.min() > 0 and small):
        raise UserError(f"{where} ({text}) has a box of no or of a senseless size; {REMEDY}")
    digits = tuple(int(value) % ZERO for value in label)
    return House(text, tuple(float(edge) for edge in window), digits)


def _values(file: h5py.File, field: h5py.Dataset) -> np.ndarray:
    """Return a field of all boxes: one value stands there itself, several are referred to."""
    if field.dtype.kind != "O":
        # What MATLAB writes for an empty list is its size, marked as such
        return field[()].ravel()[: 0 if "MATLAB_empty" in field.attrs else None]
    return np.array([file[reference][()].item() for reference in field[:, 0]])


def crop(picture: Image.Image, house: House, size: int) -> np.ndarray:
    """Cut a picture's digits out; what lies outside of the picture is black.

    Parameters
    ----------
    picture : Image
        The whole photograph, RGB.
    house : House
        Where its digits are.
    size : int
        Side of the result in pixels; 128 is cut out loosely.

    Returns
    -------
    ndarray
        uint8, shape (3, size, size).

    Examples
    --------
    >>> house = House("1.png", (10.0, 10.0, 20.0, 20.0), (7,))
    >>> crop(Image.new("RGB", (30, 30), "white"), house, 64).shape
    (3, 64, 64)
    """
    left, top, right, bottom = house.window
    factor = EXPANDED * CROPS[size] / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    half = (right - left) * factor, (bottom - top) * factor
    edges = [round(edge) for edge in (x - half[0], y - half[1], x + half[0], y + half[1])]
    edges[2:] = [max(edges[2], edges[0] + 1), max(edges[3], edges[1] + 1)]  # a pixel at least
    # Pillow's bilinear filter takes all pixels under it when it shrinks
    resized = picture.crop(edges).resize((size, size), resample=Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def read_crops(path: Path, folder: str, houses: Sequence[House], size: int, into: Tensor) -> None:
    """Read the pictures of an archive, cut out their digits.

    Parameters
    ----------
    path : Path
        The archive.
    folder : str
        In the archive: ``train``, ``test`` or ``extra``.
    houses : sequence of House
        Those wanted, in the order of the result.
    size : int
        Side of the results in pixels.
    into : Tensor
        uint8, shape (len(houses), 3, size, size), to be filled.

    Raises
    ------
    UserError
        If the archive is broken, or a picture is missing, broken or does not contain its boxes.
    """
    rows = {f"{folder}/{house.name}": row for row, house in enumerate(houses)}
    with archives.opened(path) as archive:
        for member in archive:
            if member.name not in rows:
                continue
            row = rows.pop(member.name)
            packed = archives.content(archive, member, LARGEST_PICTURE, path)
            picture = archives.photograph(packed, "PNG", f"{member.name} of {path}")
            left, top, right, bottom = houses[row].window
            if right <= 0 or bottom <= 0 or left >= picture.width or top >= picture.height:
                raise UserError(f"the boxes of {member.name} of {path} lie outside of it; {REMEDY}")
            into[row] = torch.from_numpy(crop(picture, houses[row], size).copy())
            if not rows:
                return
    archives.check_all_read(rows, path)


def read_split(
    folder: Path, houses: Sequence[tuple[str, House]], size: int
) -> tuple[Tensor, Tensor]:
    """Read the pictures of a split, from the archives that they lie in.

    Parameters
    ----------
    folder : Path
        Of the archives.
    houses : sequence of tuple
        Name of an archive in `ARCHIVES`, and a picture in it.
    size : int
        Side of the results in pixels.

    Returns
    -------
    images, labels : Tensor
        uint8 (N, 3, size, size) and int64 (N, 5), ordered by archive.

    Raises
    ------
    UserError
        As `read_crops` does.
    """
    rows = sorted(houses, key=lambda row: row[0])  # those of one archive lie side by side
    images = torch.empty(len(rows), 3, size, size, dtype=torch.uint8)
    start = 0
    for archive, group in itertools.groupby(rows, key=lambda row: row[0]):
        members = [house for _, house in group]
        part = images[start : start + len(members)]
        read_crops(folder / ARCHIVES[archive], archive, members, size, part)
        start += len(members)
    return images, sequence_labels([house for _, house in rows])


def sequence_labels(houses: Sequence[House]) -> Tensor:
    """Return the digits of each picture, filled up with the class of a blank.

    Parameters
    ----------
    houses : sequence of House
        With up to five digits each.

    Returns
    -------
    Tensor
        int64, shape (N, 5).

    Examples
    --------
    >>> sequence_labels([House("1.png", (0.0, 0.0, 9.0, 9.0), (1, 9, 0))]).tolist()
    [[1, 9, 0, 10, 10]]
    """
    padded = [[*house.digits, *[BLANK] * (LONGEST - len(house.digits))] for house in houses]
    return torch.tensor(padded, dtype=torch.int64).reshape(-1, LONGEST)
