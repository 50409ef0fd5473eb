"""Figures of house numbers: errors of whole sequences, and where transformers look."""

import base64
import binascii
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pr12.report import plots
from pr12.report.plots import Plot
from pr12.stn.figures import bars, sheets, values
from pr12.stn.figures import errors as figures_of_errors
from pr12.stn.figures.values import SEEDS, Metrics, Numbers, Pictures

CASES = ("sequences_", "svhn_")  # how the names of cases begin: composed and real house numbers
SOURCES = {"sequences": "composed", "svhn": "SVHN"}
NETS = {"cnn": "CNN", "single": "ST-CNN Single", "multi": "ST-CNN Multi"}
KEY = "test/error_percent"  # a sequence is right if all its digits are
BLANK = 10  # no digit
SHOWN = 5  # images of each net
ROW = 1.25  # height in cells: below each image stands what it says
SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


class Reading(NamedTuple):
    """An image, what a net read, and its transformers from the first."""

    image: np.ndarray  # uint8, (S, S, 3)
    true: str
    predicted: str
    thetas: np.ndarray  # (T, 2, 3)


def named(case: str) -> str:
    """Name a case of house numbers.

    Examples
    --------
    >>> named("sequences_cnn"), named("svhn_multi_128")
    ('composed, CNN', 'SVHN, ST-CNN Multi, 128 pixels')
    """
    source, *rest = case.split("_")
    parts = [NETS.get(part, f"{part} pixels" if part.isdecimal() else part) for part in rest]
    return ", ".join([SOURCES.get(source, source), *parts])


def decoded(text: Any, name: str) -> np.ndarray:
    """Give the image that a picture holds as a PNG in base64, uint8 (H, W, 3).

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


def written(digits: np.ndarray) -> str:
    """Write a sequence of digits, a dash if there is none.

    Examples
    --------
    >>> written(np.array([2, 0, 10, 10, 10])), written(np.array([10]))
    ('20', '–')
    """
    return "".join(str(int(digit)) for digit in digits if digit != BLANK) or "–"


def readings(picture: Any, name: str) -> list[Reading]:
    """Read what the step ``evaluate_sequences`` wrote.

    Parameters
    ----------
    picture : Any
        As it was read.
    name : str
        Such as ``sequences_single_picture``.

    Raises
    ------
    UserError
        If it is something else.
    """
    rows = values.entry(picture, "images", name)
    if not isinstance(rows, list) or not rows:
        raise values.broken(name, "has images that are no list")
    found = []
    for row in rows:
        true, predicted = (
            values.array(values.entry(row, key, name), (None,), key, name)
            for key in ("true", "predicted")
        )
        thetas = values.entry(row, "thetas", name)  # none of a net without transformers
        if thetas != []:
            thetas = values.array(thetas, (None, 6), "thetas", name)
        thetas = np.reshape(thetas, (-1, 2, 3))
        image = decoded(values.entry(row, "png", name), name)
        found.append(Reading(image, written(true), written(predicted), thetas))
    return found


def windows(thetas: np.ndarray) -> np.ndarray:
    """Give the corners of what each of several transformers in series sees of the image.

    Each maps its output to its input, which is the output of the one before.

    Parameters
    ----------
    thetas : ndarray
        Shape (T, 2, 3), from the first.

    Returns
    -------
    ndarray
        Shape (T, 4, 2).

    Examples
    --------
    >>> half = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.0]])
    >>> windows(np.stack([half, half]))[1, 0].tolist()  # (-0.5 + 0.5) / 2 + 0.5, -0.5 / 2
    [0.5, -0.25]
    """
    whole, found = np.eye(3), []
    for theta in thetas:
        whole = whole @ np.vstack([theta, [0.0, 0.0, 1.0]])
        found.append(SQUARE @ whole[:2, :2].T + whole[:2, 2])
    return np.array(found)


def house_numbers(pictures: Pictures) -> Plot | None:
    """Draw house numbers, what nets read, and the windows of their transformers.

    Parameters
    ----------
    pictures : mapping
        Such as ``sequences_single_picture`` -> what the step ``evaluate_sequences`` wrote.

    Raises
    ------
    UserError
        If a picture is something else.
    """
    names = [name for name in pictures if name.startswith(CASES)]
    found = {name.removesuffix("_picture"): readings(pictures[name], name) for name in names}
    found = {case: own for case, own in found.items() if len(own[0].thetas)}
    if not found:
        return None
    count = min(SHOWN, *(len(own) for own in found.values()))
    figure, axes = sheets.sheet(count, ROW * len(found), 1.4, left=1.1, top=0.05)
    for row, (case, own) in enumerate(found.items()):
        y = ROW * row
        axes.text(-0.08, y + 0.46, named(case).replace(", ", "\n"), ha="right", va="center")
        for x, reading in enumerate(own[:count]):
            sheets.photograph(axes, x, y, reading.image, sheets.VIEW)
            for number, corners in enumerate(windows(reading.thetas)):
                sheets.frame(axes, x, y, corners, number, sheets.VIEW)
            right = reading.true == reading.predicted
            said = reading.true if right else f"{reading.true}, read {reading.predicted}"
            axes.text(x + 0.46, y + 0.98, said, ha="center", va="top", fontsize=9)
    most = max(len(own[0].thetas) for own in found.values())
    order = ", ".join(("yellow solid", "blue dashed", "orange dotted", "white dash-dotted")[:most])
    right = ", ".join(
        f"{named(case)} {sum(r.true == r.predicted for r in own)} of {len(own)}"
        for case, own in found.items()
    )
    return Plot(
        "house_numbers",
        "Where transformers look in house numbers",
        "Test images with the windows of the first seed's transformers, from the first to the "
        f"last: {order}. Each window is what is left of the image after all transformers up to "
        f"it. Below: the number, and what was read if that is another. Right among the images "
        f"kept for figures: {right}.",
        f"Rows of images with frames, for {', '.join(map(named, found))}.",
        figure,
    )


def errors(metrics: Metrics, paper: Numbers) -> Plot | None:
    """Draw the errors of nets that read house numbers.

    Parameters
    ----------
    metrics : mapping
        Case -> metric key -> one value per seed.
    paper : mapping
        Case -> metric key -> the paper's number.
    """
    cases = [case for case in metrics if case.startswith(CASES)]
    found = {case: values.measured(metrics, case, KEY) for case in cases}
    found = {case: interval for case, interval in found.items() if interval}
    if not found:
        return None
    figure, ((axes,),) = plots.canvas(8, 0.9 + 0.45 * len(found))
    stars = []
    for y, (case, interval) in enumerate(found.items()):
        number = kind(case)
        style = {"color": bars.COLOURS[number], "hatch": plots.HATCHES[number]}
        edge = {"edgecolor": "white", "linewidth": 0, "ecolor": "black", "height": 0.7}
        axes.barh([y], [interval.mean], xerr=plots.half_widths([interval]), **style, **edge)
        if KEY in paper.get(case, {}):
            stars.append((paper[case][KEY], y + 0.2))
    if stars:
        figures_of_errors.star(axes, *zip(*stars, strict=True))
        figure.legend(loc="outside lower center")
    axes.set_yticks(range(len(found)), [named(case) for case in found])
    axes.set(ylim=(len(found) - 0.4, -0.6), xlabel="test error of sequences (%)")
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, None)
    values.percent_axis(axes)
    said = values.told({named(case): interval for case, interval in found.items()})
    beside = ", with the paper's numbers beside ours" if stars else ""
    return Plot(
        "sequence_errors",
        "Errors on house numbers",
        "A sequence is right if all its digits are. Composed: digits on photographs, for every "
        f"run; SVHN: the real ones{beside}. Errors in percent, {SEEDS}. {said}.",
        f"Bars of errors. {said}.",
        figure,
    )


def kind(case: str) -> int:
    """Give the number of a case's net in `NETS`, for its look.

    Examples
    --------
    >>> kind("svhn_multi_64"), kind("sequences_cnn")
    (2, 0)
    """
    found = [number for number, net in enumerate(NETS) if net in case.split("_")]
    return found[0] if found else 0
