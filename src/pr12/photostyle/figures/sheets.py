"""Sheets of photographs: rows of pictures, each with its title, drawn as one figure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image

from pr12.report import plots
from pr12.workflow.errors import UserError

Pictures = Mapping[str, Mapping[str, np.ndarray]]  # ``<case>_picture`` -> name -> pixels

LONGEST = 300  # pixels of an embedded photograph
MOST_PIXELS = 240_000  # of all photographs of a figure: below 1 MB of SVG, also of textures
GAP = 0.06  # between cells, whose width is 1
TITLE = 0.2  # height of a line of text, in cells
INSET = 0.3  # width of a mask in the corner of its photograph
NETS = {"": "", "vgg19_": ", VGG-19 with trained weights"}  # beginning of a case -> in titles


class Cell(NamedTuple):
    """A photograph of a sheet."""

    title: str
    pixels: np.ndarray
    mask: np.ndarray | None = None  # drawn into its corner


Rows = Sequence[tuple[str, Sequence[Cell]]]


def numbered(picture: Mapping[str, Any], before: str) -> dict[int, str]:
    """Return the names that end in a number, by it, such as of ``depth1`` and ``depth2``.

    Examples
    --------
    >>> numbered({"depth2": 0, "depth10": 0, "depth": 0}, "depth")
    {2: 'depth2', 10: 'depth10'}
    """
    by_number = {
        int(m[1]): m[0] for m in (re.fullmatch(f"{before}([0-9]+)", k) for k in picture) if m
    }
    return dict(sorted(by_number.items()))


def pixels(pictures: Pictures, file: str, name: str, mask: bool = False) -> np.ndarray:
    """Return one photograph, or one mask, of a picture.

    Parameters
    ----------
    pictures : mapping
        All of them.
    file : str
        Such as ``pair3_picture``.
    name : str
        Such as ``neural``.
    mask : bool
        Whether it is a mask, shape (H, W), and no photograph, shape (H, W, 3).

    Raises
    ------
    UserError
        If it is missing or something else.
    """
    image = pictures[file].get(name)
    good = isinstance(image, np.ndarray) and image.ndim == (2 if mask else 3) and image.size > 0
    if good and not mask:
        good = image.shape[2] == 3 and image.dtype == np.uint8
    if good and mask:
        good = image.dtype.kind in "uib" and image.min() >= 0
    if not good:
        wanted = "a mask of labels, (H, W)" if mask else "a photograph, uint8 (H, W, 3)"
        raise UserError(f"{file}: {name} is not {wanted}; delete the file and run its step again")
    return image


def resized(image: np.ndarray, longest: int) -> np.ndarray:
    """Make a photograph smaller if its longest side is above `longest` pixels.

    Examples
    --------
    >>> resized(np.zeros((200, 400, 3), np.uint8), 100).shape
    (50, 100, 3)
    >>> resized(np.zeros((20, 40, 3), np.uint8), 100).shape
    (20, 40, 3)
    """
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    share = longest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def coloured(mask: np.ndarray, longest: int) -> np.ndarray:
    """Draw a mask's labels as colours, made smaller without mixing labels."""
    step = max(1, -(-max(mask.shape) // longest))
    looks = np.array([to_rgb(colour) for colour in plots.COLOURS])
    return np.rint(255 * looks[mask[::step, ::step].astype(int) % len(looks)]).astype(np.uint8)


def room(rows: Rows) -> tuple[float, float]:
    """Return a sheet's width and height in cells."""
    height = 0.0
    for title, cells in rows:
        tallest = max(cell.pixels.shape[0] / cell.pixels.shape[1] for cell in cells)
        height += tallest + TITLE * (1 + bool(title)) + GAP
    return max(len(cells) for _, cells in rows), height


def draw(axes: Any, rows: Rows, inches: float) -> None:
    """Draw rows of photographs, each with its title, onto axes.

    Parameters
    ----------
    axes : Axes
        An empty one.
    rows : sequence of (str, sequence of Cell)
        Title of the row, which may be empty, and its photographs.
    inches : float
        Width of a cell.
    """
    width, height = room(rows)
    count = sum(len(cells) for _, cells in rows)
    longest = min(LONGEST, int((MOST_PIXELS / count) ** 0.5 * 1.1))
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    size = min(9, 5.7 * inches + 0.6)  # points: titles fit their cells
    top = 0.0
    for title, cells in rows:
        if title:
            text = {"va": "center", "fontsize": size + 1, "fontweight": "bold"}
            axes.text(0, top + TITLE / 2, title, **text)
            top += TITLE
        for x, (name, image, mask) in enumerate(cells):
            share = image.shape[0] / image.shape[1]
            small = resized(image, longest)
            box = (x, x + 1 - GAP, top + TITLE + share * (1 - GAP), top + TITLE)
            axes.text(x, top + TITLE / 2, name, va="center", fontsize=size)
            # 'none' keeps the pixels as they are, in the SVG too
            axes.imshow(small, extent=box, aspect="equal", interpolation="none")
            if mask is not None:
                shown = coloured(mask, longest // 2)
                inset = INSET * mask.shape[0] / mask.shape[1]
                corner = (box[1] - INSET, box[1], box[2], box[2] - inset)
                axes.imshow(shown, extent=corner, aspect="equal", interpolation="none")
                frame = {"fill": False, "edgecolor": "white", "linewidth": 1}
                axes.add_patch(Rectangle((corner[0], corner[3]), INSET, inset, **frame))
        top += max(cell.pixels.shape[0] / cell.pixels.shape[1] for cell in cells) + TITLE + GAP
    axes.set(xlim=(0, width), ylim=(height, 0))  # imshow moves them


def sheet(rows: Rows) -> Any:
    """Make a figure of rows of photographs."""
    width, height = room(rows)
    inches = min(plots.LARGEST / max(width, 4), plots.LARGEST / height)
    figure, ((axes,),) = plots.canvas(width * inches, height * inches)
    draw(axes, rows, inches)
    return figure


def alt(rows: Rows) -> str:
    """List what a sheet shows.

    Examples
    --------
    >>> alt([("brick", [Cell("source", None), Cell("1 layer", None)])])
    'Photographs in rows. brick: source, 1 layer.'
    """
    text = "; ".join(
        f"{title}: {', '.join(cell.title for cell in cells)}".removeprefix(": ")
        for title, cells in rows
    )
    return f"Photographs in rows. {text}."


def layers(count: int) -> str:
    """Count layers.

    Examples
    --------
    >>> layers(1), layers(5)
    ('1 layer', '5 layers')
    """
    return f"{count} layer{'s' if count > 1 else ''}"


def named(file: str, net: str) -> str:
    """Name the figure of a network."""
    return f"{file}_{net.strip('_')}" if net else file
