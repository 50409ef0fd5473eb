"""An animated GIF of sampling grids over training."""

import io
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from pr12.stn.figures import sheets
from pr12.stn.figures.training import Track, share

CELL = 1.2  # inches
DPI = 75
FIRST, NEXT, LAST = 900, 220, 2500  # milliseconds that frames are shown
LEVELS = 8  # of grey
STEPS = 6  # from white to a colour of the grid, and half as many on to black
DIGITS = 2  # of each net


def palette() -> np.ndarray:
    """Return the colours of every frame: greys, and those of the grid mixed with white and black.

    Returns
    -------
    ndarray
        uint8, shape (colours, 3).

    Examples
    --------
    >>> palette()[[0, 7]].tolist()
    [[0, 0, 0], [255, 255, 255]]
    """
    greys = np.linspace(0, 1, LEVELS)[:, None].repeat(3, axis=1)
    mixed = [greys]
    for name in (sheets.LINE, sheets.FIRST):
        colour = np.array(to_rgb(name))
        lighter = np.linspace(1, 0, STEPS, endpoint=False)[1:, None]
        darker = np.linspace(0, 1, STEPS // 2, endpoint=False)[:, None]
        mixed += [colour + (1 - colour) * lighter, colour * (1 - darker)]
    return np.rint(255 * np.concatenate(mixed)).astype(np.uint8)


def frame(tracks: Sequence[Track], moment: int) -> np.ndarray:
    """Draw one moment: a column for each net, a row for each digit.

    Parameters
    ----------
    tracks : sequence of Track
        Of equally many moments.
    moment : int
        Number of the moment.

    Returns
    -------
    ndarray
        uint8, shape (H, W, 3).
    """
    rows = min(DIGITS, *(len(track.inputs) for track in tracks))
    size = (CELL * len(tracks), CELL * (rows + 0.55))
    figure = Figure(figsize=size, dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-sheets.GAP, len(tracks)), ylim=(rows, -0.55))
    axes.set_axis_off()
    done = "the start" if moment == 0 else f"{share(tracks[0].seen, moment)} of training"
    axes.text(0, -0.33, done, va="bottom", fontsize=9)
    for column, track in enumerate(tracks):
        axes.text(column + 0.46, -0.05, track.name, ha="center", va="bottom", fontsize=7)
        for row in range(rows):
            sheets.cell(axes, column, row, track.inputs[row], sheets.VIEW)
            sheets.grid(axes, column, row, track.grids[moment, row], 0.9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def indexed(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the number of the nearest colour for every pixel.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (H, W, 3).
    colours : ndarray
        uint8, shape (colours, 3).

    Returns
    -------
    ndarray
        uint8, shape (H, W).

    Examples
    --------
    >>> indexed(np.array([[[250, 250, 250]]], dtype=np.uint8), palette())
    array([[7]], dtype=uint8)
    """
    flat, where = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    away = ((flat[:, None].astype(int) - colours.astype(int)) ** 2).sum(axis=2)
    return away.argmin(axis=1).astype(np.uint8)[where].reshape(pixels.shape[:2])


def encoded(frames: Sequence[np.ndarray], colours: np.ndarray, times: Sequence[int]) -> bytes:
    """Return frames as a GIF that plays again and again.

    Of a frame only what differs from the one before is written: that is half the bytes.

    Parameters
    ----------
    frames : sequence of ndarray
        Numbers of colours, uint8, each of shape (H, W).
    colours : ndarray
        uint8, at most 255, shape (colours, 3).
    times : sequence of int
        Milliseconds that each frame is shown.
    """
    same = len(colours)  # one more colour, transparent: the frame before shows through
    table = [*colours.ravel().tolist(), 0, 0, 0]
    changes = [np.where(new == old, same, new) for old, new in itertools.pairwise(frames)]
    images = [Image.fromarray(change.astype(np.uint8)) for change in [frames[0], *changes]]
    for image in images:
        image.putpalette(table)
    stream = io.BytesIO()
    images[0].save(
        stream,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=list(times),
        loop=0,
        optimize=False,
        disposal=1,  # leave the frame before in place
        transparency=same,
    )
    return stream.getvalue()


def animated(tracks: Sequence[Track]) -> bytes:
    """Return the animation of all moments, the same bytes every time.

    Parameters
    ----------
    tracks : sequence of Track
        At least one; of equally many moments.
    """
    colours = palette()
    count = len(tracks[0].seen)
    frames = [indexed(frame(tracks, moment), colours) for moment in range(count)]
    return encoded(frames, colours, [FIRST, *[NEXT] * (count - 2), LAST])
