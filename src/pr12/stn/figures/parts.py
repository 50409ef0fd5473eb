"""Figure of the fine-grained task: where parallel transformers look, and where the parts are."""

from typing import Any, NamedTuple

import numpy as np

from pr12.report.plots import Plot
from pr12.stn.figures import sheets, values
from pr12.stn.figures.sequences import SQUARE, decoded
from pr12.stn.figures.values import Pictures

CASES = ("parts_", "cub_")  # how the names of cases begin: generated objects and birds
SOURCES = {"parts": "generated", "cub": "CUB"}
SHOWN = 6  # images of each net
ROW = 1.25  # height in cells: below each image stands its class


class Looked(NamedTuple):
    """An image, its class and the one told, and the centres of windows and of parts."""

    image: np.ndarray  # uint8, (S, S, 3)
    true: Any
    predicted: Any
    centres: np.ndarray  # (T, 2)
    places: np.ndarray  # (parts, 2)


def named(case: str) -> str:
    """Name a case of the task.

    Examples
    --------
    >>> named("parts_2st"), named("cub_4st_448")
    ('generated, 2 x ST-CNN', 'CUB, 4 x ST-CNN, 448 pixels')
    """
    source, net, *pixels = case.split("_")
    name = "CNN" if net == "cnn" else f"{net.removesuffix('st')} x ST-CNN"
    return ", ".join([SOURCES.get(source, source), name, *(f"{p} pixels" for p in pixels)])


def points(found: Any, key: str, name: str) -> np.ndarray:
    """Give a list of points, shape (n, 2), perhaps of none."""
    given = values.entry(found, key, name)
    if given == []:
        return np.zeros((0, 2))
    return np.asarray(values.array(given, (None, 2), key, name), dtype=float)


def looked(picture: Any, name: str) -> list[Looked]:
    """Read what the step ``evaluate_parts`` wrote.

    Raises
    ------
    UserError
        If it is something else.
    """
    rows = values.entry(picture, "images", name)
    if not isinstance(rows, list) or not rows:
        raise values.broken(name, "has images that are no list")
    return [
        Looked(
            decoded(values.entry(row, "png", name), name),
            values.entry(row, "true", name),
            values.entry(row, "predicted", name),
            points(row, "thetas", name),
            points(row, "places", name),
        )
        for row in rows
    ]


def windows(pictures: Pictures) -> Plot | None:
    """Draw test images with the window of each parallel transformer.

    Parameters
    ----------
    pictures : mapping
        Such as ``parts_2st_picture`` -> what the step ``evaluate_parts`` wrote.

    Raises
    ------
    UserError
        If a picture is something else.
    """
    names = [name for name in pictures if name.startswith(CASES)]
    found = {name.removesuffix("_picture"): looked(pictures[name], name) for name in names}
    found = {case: own for case, own in found.items() if len(own[0].centres)}
    if not found:
        return None
    count = min(SHOWN, *(len(own) for own in found.values()))
    figure, axes = sheets.sheet(count, ROW * len(found), 1.4, left=1.1, top=0.05)
    for row, (case, own) in enumerate(found.items()):
        y = ROW * row
        axes.text(-0.08, y + 0.46, named(case).replace(", ", "\n"), ha="right", va="center")
        side = float(values.entry(pictures[f"{case}_picture"], "window", f"{case}_picture"))
        for x, one in enumerate(own[:count]):
            sheets.photograph(axes, x, y, one.image, sheets.VIEW)
            for number, centre in enumerate(one.centres):
                sheets.frame(axes, x, y, centre + side * SQUARE, number, sheets.VIEW)
            if len(one.places):
                across, down = sheets.placed(one.places, x, y, sheets.VIEW).T
                axes.plot(across, down, "+", color="white", markersize=9, markeredgewidth=2)
                axes.plot(across, down, "+", color="black", markersize=7, markeredgewidth=1)
            right = one.true == one.predicted
            said = f"class {one.true}" if right else f"class {one.true}, told {one.predicted}"
            axes.text(x + 0.46, y + 0.98, said, ha="center", va="top", fontsize=9)
    right = ", ".join(
        f"{named(case)} {sum(o.true == o.predicted for o in own)} of {len(own)}"
        for case, own in found.items()
    )
    return Plot(
        "part_windows",
        "Where parallel transformers look in objects that differ in two small parts",
        "Test images of the first seed with the window of every transformer, half the image's "
        "side; a cross marks each part. Below: the class, and what was told if that is another. "
        f"Right among the images kept for figures: {right}.",
        f"Rows of images with frames and crosses, for {', '.join(map(named, found))}.",
        figure,
    )
