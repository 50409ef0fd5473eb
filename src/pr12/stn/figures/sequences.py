"""Figures of house numbers: errors of whole sequences, and where transformers look."""

from typing import Any

import numpy as np

from pr12.report import plots
from pr12.report.plots import Plot
from pr12.stn.figures import bars, photographs, values
from pr12.stn.figures import errors as figures_of_errors
from pr12.stn.figures.values import SEEDS, Metrics, Numbers, Pictures

CASES = ("sequences_", "svhn_")  # how the names of cases begin: composed and real house numbers
SOURCES = {"sequences": "composed", "svhn": "SVHN"}
NETS = {"cnn": "CNN", "single": "ST-CNN Single", "multi": "ST-CNN Multi"}
KEY = "test/error_percent"  # a sequence is right if all its digits are
BLANK = 10  # no digit
SHOWN = 5  # images of each net


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


def written(digits: np.ndarray) -> str:
    """Write a sequence of digits, a dash if there is none.

    Examples
    --------
    >>> written(np.array([2, 0, 10, 10, 10])), written(np.array([10]))
    ('20', '–')
    """
    return "".join(str(int(digit)) for digit in digits if digit != BLANK) or "–"


def images(picture: Any, name: str) -> list[photographs.Shown]:
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
    shown = []
    for row in photographs.rows(picture, name):
        true, predicted = (
            written(values.array(values.entry(row, key, name), (None,), key, name))
            for key in ("true", "predicted")
        )
        thetas = values.entry(row, "thetas", name)  # none of a net without transformers
        if thetas != []:
            thetas = values.array(thetas, (None, 6), "thetas", name)
        shown.append(
            photographs.Shown(
                photographs.decoded(values.entry(row, "png", name), name),
                windows(np.reshape(thetas, (-1, 2, 3))),
                np.zeros((0, 2)),
                true if true == predicted else f"{true}, read {predicted}",
                true == predicted,
            )
        )
    return shown


def windows(thetas: np.ndarray) -> np.ndarray:
    """Return the corners of what each of several transformers in series sees of the image.

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
    whole, corners = np.eye(3), []
    for theta in thetas:
        whole = whole @ np.vstack([theta, [0.0, 0.0, 1.0]])
        corners.append(photographs.SQUARE @ whole[:2, :2].T + whole[:2, 2])
    return np.array(corners)


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
    shown = photographs.nets(pictures, CASES, images)
    if not shown:
        return None
    most = max(len(one[0].windows) for one in shown.values())
    order = ", ".join(("yellow solid", "blue dashed", "orange dotted", "white dash-dotted")[:most])
    return Plot(
        "house_numbers",
        "Where transformers look in house numbers",
        "Test images with the windows of the first seed's transformers, from the first to the "
        f"last: {order}. Each window is what is left of the image after all transformers up to "
        f"it. Below: the number, and what was read if that is another. Right among the images "
        f"kept for figures: {photographs.counted(shown, named)}.",
        f"Rows of images with frames, for {', '.join(map(named, shown))}.",
        photographs.drawn(shown, named, SHOWN),
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
    intervals = {case: values.measured(metrics, case, KEY) for case in cases}
    intervals = {case: interval for case, interval in intervals.items() if interval}
    if not intervals:
        return None
    figure, ((axes,),) = plots.canvas(8, 0.9 + 0.45 * len(intervals))
    stars = []
    for y, (case, interval) in enumerate(intervals.items()):
        number = kind(case)
        style = {"color": bars.COLOURS[number], "hatch": plots.HATCHES[number]}
        edge = {"edgecolor": "white", "linewidth": 0, "ecolor": "black", "height": 0.7}
        axes.barh([y], [interval.mean], xerr=plots.half_widths([interval]), **style, **edge)
        if KEY in paper.get(case, {}):
            stars.append((paper[case][KEY], y + 0.2))
    if stars:
        figures_of_errors.star(axes, *zip(*stars, strict=True))
        figure.legend(loc="outside lower center")
    axes.set_yticks(range(len(intervals)), [named(case) for case in intervals])
    axes.set(ylim=(len(intervals) - 0.4, -0.6), xlabel="test error of sequences (%)")
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, None)
    values.percent_axis(axes)
    summary = values.summary({named(case): interval for case, interval in intervals.items()})
    beside = ", with the paper's numbers beside ours" if stars else ""
    return Plot(
        "sequence_errors",
        "Errors on house numbers",
        "A sequence is right if all its digits are. Composed: digits on photographs, for every "
        f"run; SVHN: the real ones{beside}. Errors in percent, {SEEDS}. {summary}.",
        "Bars of errors with intervals, one a net, in two groups of tasks.",
        figure,
    )


def kind(case: str) -> int:
    """Return the number of a case's net in `NETS`, for its look.

    Examples
    --------
    >>> kind("svhn_multi_64"), kind("sequences_cnn")
    (2, 0)
    """
    numbers = [number for number, net in enumerate(NETS) if net in case.split("_")]
    return numbers[0] if numbers else 0
