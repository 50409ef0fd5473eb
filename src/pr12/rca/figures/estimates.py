"""Figures of how well Dice is predicted: by structure, estimator, references, and in context."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pr12.rca.figures import values
from pr12.rca.figures.values import KINDS, REVERSE, SEEDS, Metrics
from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval

QUANTITIES = {"correlation": "correlation r", "mae": "mean absolute error"}
RANGES = {"correlation": (-1.0, 1.1), "mae": (0.0, 1.0), "bias": (-1.0, 1.0)}
ESTIMATORS = {  # case -> what it is
    "atlas": "maximum",
    "atlas_top3": "mean of the best three",
    "atlas_mean": "mean",
    "atlas_to_test": "maximum, references\nmoved to the test scan",
}


def structures(metrics: Metrics) -> Plot | None:
    """Draw how well Dice is predicted by structure and reverse classifier."""
    others = "|".join(["pooled", "usable", *(rf"{kind}_\d+" for kind in ("references", *KINDS))])
    pattern = rf"(?!(?:{others})/)(.+)/correlation_dice"
    matches = [re.fullmatch(pattern, key) for case in REVERSE for key in metrics.get(case, {})]
    names = ["pooled", *dict.fromkeys(match[1] for match in matches if match)]
    labels = ["all", *names[1:]]
    shown = [case for case in REVERSE if values.measured(metrics, case, "pooled/mae_dice")]
    if len(names) < 2 or not shown:
        return None
    figure, (panels,) = plots.canvas(9, 3.8, columns=2)
    texts = []
    for axes, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
        for index, case in enumerate(shown):
            measured = [values.measured(metrics, case, f"{n}/{quantity}_dice") for n in names]
            present = {place: i for place, i in enumerate(measured) if i}
            width = 0.8 / len(shown)
            axes.bar(
                [place + (index - (len(shown) - 1) / 2) * width for place in present],
                [i.mean for i in present.values()],
                width,
                yerr=plots.half_widths(list(present.values())),
                label=REVERSE[case],
                color=plots.COLOURS[index],
                edgecolor="white",
                linewidth=0,
                hatch=plots.HATCHES[index],
            )
            if quantity == "mae":
                listed = values.listed({labels[place]: i for place, i in present.items()})
                texts.append(f"{REVERSE[case]}: {listed}")
        axes.set_xticks(range(len(names)), labels)
        axes.set_title(f"{title} of Dice")
        axes.grid(axis="x", visible=False)
    values.within(panels[0], "y", *RANGES["correlation"])
    values.within(panels[1], "y", *RANGES["mae"])
    plots.legend(figure, "lower center")
    listed = "; ".join(texts)
    return Plot(
        "structures",
        "Predicted Dice by structure and reverse classifier",
        "Correlation of predicted with real Dice and mean absolute error of the prediction, over "
        f"all segmentations of a structure and over those of all structures; {SEEDS}. Mean "
        f"absolute error: {listed}.",
        "Two panels of bars with intervals by structure: correlation, and mean absolute error.",
        figure,
    )


def estimators(metrics: Metrics) -> Plot | None:
    """Draw how well Dice is predicted by estimator and direction of the registration."""
    shown = [case for case in ESTIMATORS if values.measured(metrics, case, "pooled/mae_dice")]
    if not shown:
        return None
    quantities = QUANTITIES | {"bias": "bias (predicted − real)"}
    figure, (panels,) = plots.canvas(10, 0.5 * len(shown) + 1.4, columns=3)
    texts = []
    for axes, (quantity, title) in zip(panels, quantities.items(), strict=True):
        for row, case in enumerate(shown):
            interval = values.measured(metrics, case, f"pooled/{quantity}_dice")
            if interval:
                look = plots.look(list(ESTIMATORS).index(case)) | {"linestyle": ""}
                axes.errorbar(interval.mean, row, xerr=plots.half_widths([interval]), **look)
        if quantity == "bias":
            axes.axvline(0, color=plots.GREY, linestyle="--")
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [ESTIMATORS[case] for case in shown])
        axes.tick_params(labelleft=axes is panels[0])
        values.within(axes, "x", *RANGES[quantity])
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(title)
    for case in shown:
        intervals = {
            title.partition(" (")[0]: values.measured(metrics, case, f"pooled/{quantity}_dice")
            for quantity, title in quantities.items()
        }
        texts.append(f"{ESTIMATORS[case].replace(chr(10), ' ')}: {values.listed(intervals)}")
    listed = "; ".join(texts)
    return Plot(
        "estimators",
        "Estimators of Dice from scores on references",
        "Dice predicted by single atlases as the maximum of the scores on references, which is "
        "the paper's estimator, as their mean, and as the mean of the best; and with references "
        "that are moved to the test scan instead of the test scan to them (Robinson et al. 2019). "
        f"{SEEDS.capitalize()}. {listed[0].upper()}{listed[1:]}.",
        "Panels of rows, one an estimator, each a point with its interval.",
        figure,
    )


def references(metrics: Metrics) -> Plot | None:
    """Draw how well Dice is predicted by the number of references."""
    by_case: dict[tuple[str, str], dict[int, Interval]] = {}
    for case in ("atlas", "atlas_mean"):
        for quantity in QUANTITIES:
            matches = [
                (re.fullmatch(rf"references_(\d+)/{quantity}_dice", key), series)
                for key, series in metrics.get(case, {}).items()
            ]
            numbers = {
                int(match[1]): stats.bounded(quantity, series) for match, series in matches if match
            }
            if numbers:
                by_case[case, quantity] = dict(sorted(numbers.items()))
    if not by_case:
        return None
    figure, (panels,) = plots.canvas(9, 3.6, columns=2)
    texts = []
    for axes, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
        ticks: set[int] = set()
        for index, case in enumerate(("atlas", "atlas_mean")):
            series = by_case.get((case, quantity), {})
            if series:
                dodge = 1.02 ** (2 * index - 1)  # else one interval hides the other
                x = [number * dodge for number in series]
                plots.curve(axes, x, list(series.values()), index, f"{ESTIMATORS[case]} over them")
                ticks |= set(series)
                if quantity == "mae":
                    steps = [f"{values.written(i)} with {number}" for number, i in series.items()]
                    texts.append(f"{ESTIMATORS[case]}: {', '.join(steps)}")
        if len(ticks) > 1:
            plots.log_ticks(axes, sorted(ticks))
        values.within(axes, "y", *RANGES[quantity])
        axes.set_title(f"{title} of Dice")
        axes.set_xlabel("references")
    plots.legend(figure, "lower center")
    listed = "; ".join(texts)
    return Plot(
        "references",
        "Number of references",
        "Prediction of Dice by single atlases from the first references alone; "
        f"{SEEDS}. Mean absolute error: {listed}.",
        "Curves with intervals, correlation and error against the number of references.",
        figure,
    )


def spread(places: Sequence[float], room: float) -> np.ndarray:
    """Move places apart, as little as needed in turn, so that labels there have room.

    Parameters
    ----------
    places : sequence of float
        Between 0 and 1.
    room : float
        Least distance; less if all would not fit.

    Returns
    -------
    ndarray
        In the order of `places`, between 0 and 1.

    Examples
    --------
    >>> spread([0.5, 0.5, 0.0], 0.25).tolist()
    [0.375, 0.625, 0.0]
    """
    order = np.argsort(places, kind="stable")
    steps = np.arange(len(order)) * min(room, 1 / max(len(order) - 1, 1))
    # Rising places that are at least a step apart are rising places less the steps: the nearest
    # such in least squares is their isotonic regression, here by pooling neighbours
    blocks: list[list[float]] = []
    for value in np.asarray(places, float)[order] - steps:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    moved = [np.mean(block) for block in blocks for _ in block]
    offsets = np.empty(len(order))
    offsets[order] = np.clip(moved, 0, 1 - steps[-1:]) + steps
    return offsets


def context(metrics: Metrics, others: Mapping[str, Sequence[float]]) -> Plot | None:
    """Draw our correlation and error of Dice beside those published of other data sets.

    Parameters
    ----------
    metrics : mapping
        As the figures get them.
    others : mapping
        Data set -> correlation and mean absolute error.
    """
    ours: dict[str, tuple[Interval, Interval]] = {}
    for case, label in REVERSE.items():
        r, mae = (values.measured(metrics, case, f"pooled/{q}_dice") for q in QUANTITIES)
        if r and mae:
            ours[label] = (r, mae)
    if not ours or not others:
        return None
    figure, ((axes,),) = plots.canvas(9, max(4.2, 0.24 * len(others) + 0.8))
    for index, (label, (r, mae)) in enumerate(ours.items()):
        bars = {"xerr": plots.half_widths([r]), "yerr": plots.half_widths([mae])}
        look = plots.look(index) | {"linestyle": "", "zorder": 4}
        axes.errorbar(r.mean, mae.mean, label=f"here, {label}", **bars, **look)
    hollow = {"marker": "o", "s": 36, "facecolors": "white", "edgecolors": plots.GREY, "zorder": 3}
    axes.scatter(*zip(*others.values(), strict=True), label="other data sets", **hollow)
    axes.set(xlabel="correlation r of Dice", ylabel="mean absolute error of Dice")
    # Limits are those of the means: intervals of two seeds would squash the rest
    pairs = np.array([*others.values(), *((r.mean, mae.mean) for r, mae in ours.values())], float)
    axes.set_xlim(pairs[:, 0].min() - 0.03, 1.0)
    axes.set_ylim(0.0, 1.1 * pairs[:, 1].max())
    name_points(axes, others)
    plots.legend(figure, "lower center")
    text = "; ".join(
        f"{label} r {values.written(r)}, MAE {values.written(mae)}"
        for label, (r, mae) in ours.items()
    )
    pairs = np.array(list(others.values()), float)
    (low, best), (high, worst) = pairs.min(axis=0), pairs.max(axis=0)
    ranges = f"r {low:g} to {high:g}, MAE {best:g} to {worst:g}"
    return Plot(
        "context",
        "Beside published results on other data sets",
        "Correlation and mean absolute error of predicted Dice; up and left is worse. Hollow: "
        "published results of reverse classification with single atlases on other data sets "
        f"(Cosarinsky et al. 2025; {len(others)} data sets, {ranges}). Data, segmenters and "
        f"references differ, so that nothing is judged by them. Here, {SEEDS}: {text}.",
        "Scatter plot of error against correlation, this data set and others by different marks.",
        figure,
    )


def name_points(axes: Any, others: Mapping[str, Sequence[float]]) -> None:
    """Name points in a column to the right, with thin lines to them, once limits are set."""
    low, high = axes.get_ylim()
    # Of points at one height the left one has the higher name: their lines do not cross
    order = sorted(others.items(), key=lambda item: (item[1][1], -item[1][0], item[0]))
    heights = spread([(point[1] - low) / (high - low) for _, point in order], 0.065)
    line = {"arrowstyle": "-", "color": plots.GREY, "linewidth": 0.5, "shrinkB": 3}
    for (name, point), height in zip(order, heights, strict=True):
        axes.annotate(
            name,
            point,
            xytext=(1.06, height),
            textcoords="axes fraction",
            va="center",
            fontsize="small",
            arrowprops=line | {"relpos": (0, 0.5)},
        )
