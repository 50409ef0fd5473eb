"""Rows of photographs with the windows of transformers: one row a net, one text an image."""

import base64
import binascii
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pr12.stn.figures import sheets, values

ROW = 1.25  # height in cells: below each image stands its text
SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


class Shown(NamedTuple):
    """An image, the windows on it, points that are marked, and the net's answer."""

    image: np.ndarray  # uint8, (S, S, 3)
    windows: np.ndarray  # corners, (T, 4, 2), x and y from -1 to 1
    marks: np.ndarray  # (P, 2)
    text: str
    right: bool


def decoded(text: Any, name: str) -> np.ndarray:
    """Return the image that a picture holds as a PNG in base64, uint8 (H, W, 3).

    Raises
    ------
    UserError
        If it is none.
    """
    try:
        content = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (binascii.Error, TypeError, ValueError, OSError, SyntaxError):
        raise values.broken(name, "has an image that is no PNG in base64") from None


def rows(picture: Any, name: str) -> list[Any]:
    """Return what a picture holds of each image.

    Raises
    ------
    UserError
        If it holds none.
    """
    images = values.entry(picture, "images", name)
    if not isinstance(images, list) or not images:
        raise values.broken(name, "has images that are no list")
    return images


def nets(
    pictures: values.Pictures,
    cases: tuple[str, ...],
    read: Callable[[Any, str], list[Shown]],
) -> dict[str, list[Shown]]:
    """Return the images of each case that has windows.

    Parameters
    ----------
    pictures : mapping
        Such as ``parts_2st_picture`` -> what a step wrote.
    cases : tuple of str
        How the names of cases begin.
    read : callable
        Picture and its name -> images.
    """
    names = [name for name in pictures if name.startswith(cases)]
    images = {name.removesuffix("_picture"): read(pictures[name], name) for name in names}
    return {case: shown for case, shown in images.items() if len(shown[0].windows)}


def drawn(images: Mapping[str, Sequence[Shown]], named: Callable[[str], str], most: int) -> Any:
    """Draw a row of photographs for each net.

    Parameters
    ----------
    images : mapping
        Case -> its images.
    named : callable
        Case -> how it is written.
    most : int
        Images of each net.

    Returns
    -------
    Figure
        As many images of each net as all of them have.
    """
    count = min(most, *(len(shown) for shown in images.values()))
    figure, axes = sheets.sheet(count, ROW * len(images), 1.4, left=1.1, top=0.05)
    for row, (case, shown) in enumerate(images.items()):
        y = ROW * row
        axes.text(-0.08, y + 0.46, named(case).replace(", ", "\n"), ha="right", va="center")
        for x, one in enumerate(shown[:count]):
            sheets.photograph(axes, x, y, one.image, sheets.VIEW)
            for number, corners in enumerate(one.windows):
                sheets.frame(axes, x, y, corners, number, sheets.VIEW)
            if len(one.marks):
                across, down = sheets.placed(one.marks, x, y, sheets.VIEW).T
                axes.plot(across, down, "+", color="white", markersize=9, markeredgewidth=2)
                axes.plot(across, down, "+", color="black", markersize=7, markeredgewidth=1)
            axes.text(x + 0.46, y + 0.98, one.text, ha="center", va="top", fontsize=9)
    return figure


def counted(images: Mapping[str, Sequence[Shown]], named: Callable[[str], str]) -> str:
    """Say how often each net is right on the images that are kept.

    Examples
    --------
    >>> nothing = np.zeros((0, 2))
    >>> counted({"cnn": [Shown(nothing, nothing, nothing, "3", True)]}, str.upper)
    'CNN 1 of 1'
    """
    return ", ".join(
        f"{named(case)} {sum(one.right for one in shown)} of {len(shown)}"
        for case, shown in images.items()
    )
