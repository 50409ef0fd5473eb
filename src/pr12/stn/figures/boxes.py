"""Figures of where transformers look: their windows on what they see."""

from typing import Any

import numpy as np
from matplotlib.patches import Polygon

from pr12.report import plots
from pr12.report.plots import Plot
from pr12.stn.figures import grids as figures_of_grids
from pr12.stn.figures import sheets, values
from pr12.stn.figures.grids import Shown
from pr12.stn.figures.values import Pictures

PAIRS = ("st_fcn_affine_2", "st_fcn_projective_2", "st_fcn_tps_2")
LOOKS = [(plots.COLOURS[0], "-"), (plots.COLOURS[1], "--")]  # of the first and second transformer
EXAMPLES = 2  # pairs of digits for each net


def outline(grid: np.ndarray) -> np.ndarray:
    """Return the frame of the output in the input: half a step beyond the grid's outer lines.

    Parameters
    ----------
    grid : ndarray
        Places that the centres of the output's pixels sample, shape (L, L, 2).

    Returns
    -------
    ndarray
        Its points clockwise from the output's upper left corner, shape (4 L + 4, 2).

    Examples
    --------
    >>> outline(sheets.identity(2))[::3].tolist()  # its corners
    [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
    """
    wide = grid
    for _ in range(2):  # along y, then x
        first, last = 1.5 * wide[:1] - 0.5 * wide[1:2], 1.5 * wide[-1:] - 0.5 * wide[-2:-1]
        wide = np.concatenate([first, wide, last]).swapaxes(0, 1)
    top, right, bottom, left = wide[0, :-1], wide[:-1, -1], wide[-1, :0:-1], wide[:0:-1, 0]
    return np.concatenate([top, right, bottom, left])


def boxes(axes: Any, x: float, y: float, grids: np.ndarray) -> None:
    """Draw the windows of parallel transformers on the image in the cell at x, y.

    Parameters
    ----------
    axes : Axes
        With the image.
    x, y : float
        The cell.
    grids : ndarray
        Shape (T, L, L, 2).
    """
    for grid, (colour, line) in zip(grids, LOOKS, strict=False):
        points = sheets.placed(outline(grid), x, y, sheets.VIEW)
        style = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 1.5}
        drawn = axes.add_patch(Polygon(points, closed=True, **style))
        drawn.set_clip_path(sheets.window(axes, x, y))


def pairs(pictures: Pictures) -> Plot | None:
    """Draw two digits to be added, the windows of two transformers, and what they pass on.

    Parameters
    ----------
    pictures : mapping
        Such as ``st_fcn_affine_2_picture`` -> what the step ``evaluate`` wrote.

    Raises
    ------
    UserError
        If a picture is not what the step ``evaluate`` writes.
    """
    nets = {case: figures_of_grids.shown(pictures, case, "addition") for case in PAIRS}
    nets = {case: shown for case, shown in nets.items() if shown and two(shown)}
    if not nets:
        return None
    count = min(EXAMPLES, *(len(shown.inputs) for shown in nets.values()))
    figure, axes = sheets.sheet(6, count * len(nets), 1.0, left=1.3, top=0.65)
    axes.set_xlim(right=6.3)
    starts = (0, 2.15, 4.3)
    for x, title in zip(starts, ("input", "transformer 1", "transformer 2"), strict=True):
        axes.text(x + 0.96, -0.36, title, ha="center", va="bottom")
        for channel in (0, 1):
            place = {"ha": "center", "va": "bottom", "fontsize": 8}
            axes.text(x + channel + 0.46, -0.08, f"channel {channel + 1}", **place)
    for place, (case, shown) in enumerate(nets.items()):
        y = place * count
        name = values.net(case).replace(" ST-FCN ", "\nST-FCN\n")
        axes.text(-0.12, y + count / 2 - sheets.GAP / 2, name, ha="right", va="center")
        for example in range(count):
            for channel in (0, 1):
                pixels = shown.inputs[example, channel]
                sheets.cell(axes, channel, y + example, pixels, sheets.VIEW)
                boxes(axes, channel, y + example, shown.grids[example])
            for number, (x, look) in enumerate(zip(starts[1:], LOOKS, strict=True)):
                for channel in (0, 1):
                    pixels = shown.outputs[example, 2 * number + channel]
                    sheets.cell(axes, x + channel, y + example, pixels, 1.0, *look)
    right = ", ".join(
        f"{values.net(case)} {shown.right.sum()} of {shown.right.size}"
        for case, shown in nets.items()
    )
    return Plot(
        "addition_windows",
        "Where two parallel transformers look when digits are added",
        "Both transformers see both channels. Frames on the input: what transformer 1 (blue, "
        "solid) and transformer 2 (orange, dashed) sample, of the first seed's nets; beside it, "
        "what each passes on of each channel. Right sums among the few inputs kept for figures: "
        f"{right}.",
        "Pairs of digits with two frames each, and four transformed digits beside them, for "
        f"{', '.join(values.net(case) for case in nets)}.",
        figure,
    )


def two(shown: Shown) -> bool:
    """Whether there are two transformers on two channels."""
    return shown.grids.shape[1] == 2 and shown.inputs.shape[1] == 2
