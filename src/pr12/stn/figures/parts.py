"""Figure of the fine-grained task: where parallel transformers look, and where the parts are."""

from typing import Any

import numpy as np

from pr12.report.plots import Plot
from pr12.stn.figures import photographs, values
from pr12.stn.figures.values import Pictures

CASES = ("parts_", "cub_")  # how the names of cases begin: generated objects and birds
SOURCES = {"parts": "generated", "cub": "CUB"}
SHOWN = 6  # images of each net


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


def points(row: Any, key: str, name: str) -> np.ndarray:
    """Return a list of points, shape (n, 2), perhaps of none."""
    entry = values.entry(row, key, name)
    if entry == []:
        return np.zeros((0, 2))
    return np.asarray(values.array(entry, (None, 2), key, name), dtype=float)


def images(picture: Any, name: str) -> list[photographs.Shown]:
    """Read what the step ``evaluate_parts`` wrote.

    Raises
    ------
    UserError
        If it is something else.
    """
    shown = []
    for row in photographs.rows(picture, name):
        true, predicted = (values.entry(row, key, name) for key in ("true", "predicted"))
        centres = points(row, "thetas", name)
        side = float(values.entry(picture, "window", name)) if len(centres) else 0.0
        shown.append(
            photographs.Shown(
                photographs.decoded(values.entry(row, "png", name), name),
                centres[:, None] + side * photographs.SQUARE,
                points(row, "places", name),
                f"class {true}" if true == predicted else f"class {true}, told {predicted}",
                true == predicted,
            )
        )
    return shown


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
    shown = photographs.nets(pictures, CASES, images)
    if not shown:
        return None
    return Plot(
        "part_windows",
        "Where parallel transformers look in objects that differ in two small parts",
        "Test images of the first seed with the window of every transformer, half the image's "
        "side; a cross marks each part. Below: the class, and what was told if that is another. "
        f"Right among the images kept for figures: {photographs.counted(shown, named)}.",
        f"Rows of images with frames and crosses, for {', '.join(map(named, shown))}.",
        photographs.drawn(shown, named, SHOWN),
    )
