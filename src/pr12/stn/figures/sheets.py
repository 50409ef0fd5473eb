"""Sheets of small images in rows and columns, with sampling grids drawn on them."""

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke

from pr12.report import plots

GAP = 0.08  # between cells, whose side is 1
LINE, FIRST = plots.COLOURS[0], plots.COLOURS[1]  # the grid, and its first row: the output's top
FRAME = "#999999"
VIEW = 1.2  # grids leave the image: this many times its side is shown
LOOKS = [  # of windows on photographs: light with a dark rim; lines differ too
    ("#F0E442", "-"),
    ("#56B4E9", "--"),
    ("#E69F00", ":"),
    ("#FFFFFF", "-."),
]
RIM = [withStroke(linewidth=3, foreground="black")]
GREYS = 15  # steps of grey: enough for small digits, in a quarter of the bytes


def identity(lines: int) -> np.ndarray:
    """Return the grid that samples every pixel from its own place.

    Examples
    --------
    >>> identity(2)[0].tolist()
    [[-0.5, -0.5], [0.5, -0.5]]
    """
    centres = (2 * np.arange(lines) + 1) / lines - 1
    return np.stack(np.meshgrid(centres, centres), axis=-1)


def sheet(columns: float, rows: float, inches: float, left: float = 0.0, top: float = 0.0) -> Any:
    """Make a figure of one axes in which cells of side 1 stand in rows and columns.

    Parameters
    ----------
    columns, rows : float
        Of cells; cell (x, y) has its upper left corner there.
    inches : float
        Side of a cell.
    left, top : float
        Room for labels, in cells.

    Returns
    -------
    figure, axes
        The axes' y grows downwards.
    """
    width, height = columns + left, rows + top
    figure, ((axes,),) = plots.canvas(width * inches, height * inches)
    axes.set(xlim=(-left, columns), ylim=(rows, -top), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def cell(
    axes: Any,
    x: float,
    y: float,
    pixels: np.ndarray,
    view: float = 1.0,
    edge: str = FRAME,
    line: str = "-",
) -> None:
    """Draw a digit, dark on light, in the cell at x, y.

    Parameters
    ----------
    axes : Axes
        Of a sheet.
    x, y : float
        The cell.
    pixels : ndarray
        0 to 255, shape (S, S).
    view : float
        Side of the cell in sides of the image, which is in its middle.
    edge, line : str
        Colour and style of the image's frame.
    """
    grey = np.rint(pixels / 255 * GREYS) / GREYS
    (left, top), (right, bottom) = placed(np.array([[-1.0, -1.0], [1.0, 1.0]]), x, y, view)
    scale = {"vmin": 0, "vmax": 1, "interpolation": "none", "cmap": "gray_r"}
    extent = (left, right, bottom, top)
    axes.imshow(grey, extent=extent, aspect=axes.get_aspect(), **scale)
    width = 0.6 if edge == FRAME else 1.4
    style = {"fill": False, "edgecolor": edge, "linewidth": width, "linestyle": line}
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, **style))


def placed(points: np.ndarray, x: float, y: float, view: float = 1.0) -> np.ndarray:
    """Return points of an image, from -1 to 1, as points of the cell at x, y.

    Examples
    --------
    >>> placed(np.array([[-1.0, 1.0]]), 2, 3).round(2).tolist()
    [[2.0, 3.92]]
    >>> placed(np.array([[-1.0, 1.0]]), 2, 3, view=2.0).round(2).tolist()
    [[2.23, 3.69]]
    """
    return (points / view + 1) / 2 * (1 - GAP) + np.array([x, y])


def window(axes: Any, x: float, y: float) -> Rectangle:
    """Return the part of the sheet outside which nothing of the cell at x, y is drawn."""
    return Rectangle((x - GAP / 2, y - GAP / 2), 1, 1, transform=axes.transData)


def grid(axes: Any, x: float, y: float, points: np.ndarray, width: float = 0.7) -> None:
    """Draw a sampling grid on the digit in the cell at x, y, drawn with the view `VIEW`.

    Parameters
    ----------
    axes : Axes
        With the digit.
    x, y : float
        The cell.
    points : ndarray
        Shape (L, L, 2).
    width : float
        Of the lines, in points.
    """
    lines = placed(points, x, y, VIEW)
    rows, columns = list(lines[1:]), list(lines.swapaxes(0, 1))
    for segments, colour, times in ((rows + columns, LINE, 1), ([lines[0]], FIRST, 2.2)):
        drawn = LineCollection(segments, colors=colour, linewidths=times * width)
        axes.add_collection(drawn, autolim=False)
        drawn.set_clip_path(window(axes, x, y))


def photograph(axes: Any, x: float, y: float, pixels: np.ndarray, view: float = 1.0) -> None:
    """Draw an image of colours, uint8 (H, W, 3), in the cell at x, y, as `cell` does a digit."""
    (left, top), (right, bottom) = placed(np.array([[-1.0, -1.0], [1.0, 1.0]]), x, y, view)
    extent = (left, right, bottom, top)
    axes.imshow(pixels, extent=extent, aspect=axes.get_aspect(), interpolation="none")


def frame(
    axes: Any, x: float, y: float, points: np.ndarray, number: int, view: float = 1.0
) -> None:
    """Draw the window of transformer `number` on the photograph in the cell at x, y.

    Parameters
    ----------
    axes : Axes
        With the photograph.
    x, y : float
        The cell.
    points : ndarray
        Corners from -1 to 1, shape (corners, 2).
    number : int
        From 0; after four the looks repeat.
    view : float
        As `cell` takes it.
    """
    colour, line = LOOKS[number % len(LOOKS)]
    style = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 1.5}
    corners = placed(points, x, y, view)
    drawn = axes.add_patch(Polygon(corners, closed=True, path_effects=RIM, **style))
    drawn.set_clip_path(window(axes, x, y))
