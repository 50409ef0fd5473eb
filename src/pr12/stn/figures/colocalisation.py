"""Figure of co-localisation: how windows find the digit that a class has in common."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from pr12.report.plots import Plot
from pr12.stn.figures import sheets, values
from pr12.stn.figures.values import Pictures

CASES = {  # -> what stands beside the rows
    "colocalise_translated": "shifted",
    "colocalise_cluttered": "amid clutter",
}
IMAGES = 2  # of each digit
DIGITS = 3  # in the figure; more would be small
TRUE = "#009E73"
WINDOW = ("#56B4E9", "#E69F00", "#D55E00")  # the first row of the history, the middle one, the last
LINES = (":", "--", "-")
RIGHT = 0.5  # intersection over union (App. A.2)


class Localised(NamedTuple):
    """A canvas, the digit's box and the windows over training: left, top, right, bottom."""

    canvas: np.ndarray  # 0 to 255, (S, S)
    true: np.ndarray  # (4,)
    windows: np.ndarray  # (rows, 4)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes.

    Examples
    --------
    >>> overlap(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])) == 2 / 6
    True
    """
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    whole = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other))
    return shared / (whole - shared)


def localised(picture: Any, name: str) -> dict[str, list[Localised]]:
    """Read what the step ``colocalise`` wrote: digit -> its images.

    Raises
    ------
    UserError
        If it is something else.
    """
    digits = values.entry(picture, "digits", name)
    if not isinstance(digits, dict) or not digits:
        raise values.broken(name, "has digits that are no mapping")
    read = {}
    for digit, images in digits.items():
        canvases = values.array(
            values.entry(images, "canvases", name), (None,) * 3, "canvases", name
        )
        true = values.array(values.entry(images, "true", name), (len(canvases), 4), "true", name)
        rows = values.entry(images, "history", name)
        if not isinstance(rows, list) or not rows:
            raise values.broken(name, "has a history that is no list")
        boxes = [values.entry(row, "boxes", name) for row in rows]
        windows = values.array(boxes, (len(rows), len(canvases), 4), "boxes", name)
        read[digit] = [
            Localised(c, t, windows[:, i])
            for i, (c, t) in enumerate(zip(canvases, true, strict=True))
        ]
    return read


def colocalised(pictures: Pictures) -> Plot | None:
    """Draw learned images with the digit's box and the window early, halfway and at the end.

    Parameters
    ----------
    pictures : mapping
        Such as ``colocalise_translated_picture`` -> what the step ``colocalise`` wrote.

    Raises
    ------
    UserError
        If a picture is something else.
    """
    names = {case: f"{case}_picture" for case in CASES if f"{case}_picture" in pictures}
    read = {case: localised(pictures[name], name) for case, name in names.items()}
    if not read:
        return None
    columns = IMAGES * max(min(DIGITS, len(digits)) for digits in read.values())
    figure, axes = sheets.sheet(columns, len(read), 1.5, left=0.75, top=0.22)
    hits = {}
    for y, (case, digits) in enumerate(read.items()):
        axes.text(-0.08, y + 0.46, CASES[case].replace(" ", "\n"), ha="right", va="center")
        cells = [(d, one) for d in list(digits)[:DIGITS] for one in digits[d][:IMAGES]]
        for x, (digit, one) in enumerate(cells):
            if y == 0 and x % IMAGES == 0:
                axes.text(x + 0.46, -0.06, f"digit {digit}", ha="center", va="bottom")
            drawn(axes, x, y, one)
        every = [one for images in digits.values() for one in images]
        right = sum(overlap(one.true, one.windows[-1]) > RIGHT for one in every)
        hits[CASES[case]] = f"{CASES[case]} {right} of {len(every)}"
    return Plot(
        "colocalisation",
        "Finding the digit of a class without labels or boxes (App. A.2)",
        "Images that the transformers of the first seed learned from. Filled green: the digit's "
        "box, which no training sees. Frames: the window early in training (dotted), halfway "
        "(dashed) and at the end (solid). Windows at the end that overlap with the box by more "
        f"than half, among all images kept for figures: {', '.join(hits.values())}.",
        f"Rows of canvases with boxes and windows: {', '.join(CASES[case] for case in read)}.",
        figure,
    )


def drawn(axes: Any, x: int, y: int, one: Localised) -> None:
    """Draw one canvas with its box and windows in the cell at x, y."""
    sheets.cell(axes, x, y, one.canvas)
    side = one.canvas.shape[-1]
    last = len(one.windows) - 1
    looks = [(one.true, {"facecolor": TRUE, "alpha": 0.25})]
    for row, colour, line in zip((0, last // 2, last), WINDOW, LINES, strict=True):
        style = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 1.6}
        looks.append((one.windows[row], style))
    for box, style in looks:
        (left, top), (right, bottom) = sheets.placed(box.reshape(2, 2) * 2 / side - 1, x, y)
        patch = axes.add_patch(Rectangle((left, top), right - left, bottom - top, **style))
        patch.set_clip_path(sheets.window(axes, x, y))
