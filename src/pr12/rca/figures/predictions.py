"""Figures of predicted against real scores, a point for each segmented structure."""

from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator, NullLocator

from pr12.rca.data import segmenter_names
from pr12.rca.figures import values
from pr12.rca.figures.values import REVERSE, SEEDS, Metrics, Pictures, Points
from pr12.report import plots, stats
from pr12.report.plots import Plot

MEASURES = {  # name -> what it is, with its unit
    "dice": "Dice",
    "jaccard": "Jaccard",
    "surface": "average surface distance (mm)",
    "hausdorff": "Hausdorff distance (mm)",
}
DISTANCES = ("surface", "hausdorff")
TICKS = (0, 1, 3, 10, 30, 100, 300)  # mm


def scattered(axes: Any, points: Points, measure: str, title: str) -> int:
    """Draw predicted against real scores, a look per kind of segmenter, and the identity line.

    Parameters
    ----------
    axes : Axes
        Where.
    points : Points
        Of a case.
    measure : str
        Of `MEASURES`.
    title : str
        What stands above.

    Returns
    -------
    int
        Number of points where both are defined.
    """
    x, y = points.real[measure], points.predicted[measure]
    defined = ~(np.isnan(x) | np.isnan(y))
    kinds = [values.kind(name) for name in points.segmenters]
    for index, kind in enumerate(dict.fromkeys(kinds)):
        chosen = defined & np.isin(points.segmenter, [i for i, k in enumerate(kinds) if k == kind])
        look = plots.look(index)
        style = {"marker": look["marker"], "color": look["color"], "linewidths": 0}
        axes.scatter(x[chosen], y[chosen], s=8, rasterized=True, **style)
        axes.scatter([], [], s=36, label=kind, **style)
    end = 1.0
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(0.25))
    if measure in DISTANCES:
        end = float(1.2 * max(np.max(x[defined], initial=1), np.max(y[defined], initial=1)))
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("symlog", linthresh=1.0, linscale=0.4)
            axis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= end]))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    room = 0.02 if measure not in DISTANCES else 0.05
    axes.plot([0, end], [0, end], color="black", linestyle="-", linewidth=1, marker="")
    axes.set(xlim=(-room, end + room), ylim=(-room, end + room), aspect="equal")
    axes.set_title(title)
    return int(defined.sum())


def scatter(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw predicted against real Dice, one panel per reverse classifier.

    Raises
    ------
    UserError
        If a picture is not what the step ``evaluate`` writes.
    """
    cases = values.cases(pictures)
    if not cases:
        return None
    figure, (panels,) = plots.canvas(1 + 3 * len(cases), 4.2, columns=len(cases))
    texts, counts = [], []
    for axes, (case, points) in zip(panels, cases.items(), strict=True):
        numbers = {
            label: values.measured(metrics, case, f"pooled/{key}_dice")
            for label, key in (("r", "correlation"), ("MAE", "mae"))
        }
        lines = [f"{label} {values.written(i)}" for label, i in numbers.items() if i]
        count = scattered(axes, points, "dice", "\n".join([REVERSE[case], *lines]))
        axes.set_xlabel("real Dice")
        counts.append(f"{REVERSE[case]} {stats.number(count)}")
        texts.append(": ".join([REVERSE[case], ", ".join(lines)]) if lines else REVERSE[case])
    panels[0].set_ylabel("predicted Dice")
    plots.legend(figure, "lower center")
    listed = "; ".join(texts)
    return Plot(
        "scatter",
        "Predicted against real Dice by reverse classifier",
        "Each point is one structure in one segmentation of a test scan, of all seeds; marks "
        "differ by the kind of segmenter that made it. Predicted: the best Dice over the "
        "references, without the scan's truth. On the line both are equal. Correlation r and mean "
        f"absolute error (MAE) are over all segmentations, {SEEDS}: {listed}. Points: "
        f"{', '.join(counts)}.",
        "One cloud of points a classifier, predicted against real Dice, along the identity line.",
        figure,
    )


def by_segmenter(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw predicted against real Dice by single atlases, one panel per segmenter.

    Raises
    ------
    UserError
        If the picture is not what the step ``evaluate`` writes.
    """
    picture = pictures.get("atlas_picture")
    if picture is None:
        return None
    points = values.points(picture, "atlas_picture")
    ranked, columns = segmenter_names.ranked(points.segmenters), 3
    rows = -(-len(ranked) // columns)
    figure, panels = plots.canvas(7.0, 1.1 + 2.5 * rows, rows=rows, columns=columns)
    texts = []
    for index, name in enumerate(points.segmenters):
        axes, chosen = panels[index // columns][index % columns], points.segmenter == index
        x, y = points.real["dice"][chosen], points.predicted["dice"][chosen]
        for structure, label in enumerate(points.structures):
            look, part = plots.look(structure), slice(structure, None, len(points.structures))
            style = {"marker": look["marker"], "color": look["color"], "linewidths": 0}
            axes.scatter(x[part], y[part], s=8, rasterized=True, **style)
            axes.scatter([], [], s=36, label=label, **style)
        axes.plot([0, 1], [0, 1], color="black", linestyle="-", linewidth=1, marker="")
        axes.axhline(x.mean(), color="0.5", linestyle=":", linewidth=1, marker="")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        r = values.measured(metrics, "atlas", f"{ranked[index]}/correlation_dice")
        lines = [values.segmenter(name), *([f"r {values.written(r)}"] if r else [])]
        axes.set_title("\n".join(lines), fontsize="small")
        texts += [f"{values.segmenter(name)} {values.written(r)}"] if r else []
    for axes in panels.flat[len(ranked) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("predicted Dice")
    for axes in panels[-1]:
        axes.set_xlabel("real Dice")
    plots.legend(figure, "lower center")
    r_text = f" Correlation r within each, {SEEDS}: {'; '.join(texts)}." if texts else ""
    return Plot(
        "by_segmenter",
        "Within one segmenter: predicted against real Dice by single atlases",
        "The points of the panel of single atlases, apart by the segmenter that made them; marks "
        "are structures. On the black line both are equal; the dotted line is the segmenter's mean "
        "real Dice, which a prediction that looks at no scan would give. A user has one of these "
        f"segmenters.{r_text}",
        f"{len(ranked)} small clouds of points, one a segmenter, each narrower than all together.",
        figure,
    )


def measures(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw predicted against real scores of four measures, by single atlases.

    Raises
    ------
    UserError
        If the picture is not what the step ``evaluate`` writes.
    """
    picture = pictures.get("atlas_picture")
    if picture is None:
        return None
    points = values.points(picture, "atlas_picture")
    shown = [measure for measure in MEASURES if measure in points.real]
    figure, (panels,) = plots.canvas(2.5 * len(shown), 3.3, columns=len(shown))
    texts, undefined = [], []
    for axes, measure in zip(panels, shown, strict=True):
        r = values.measured(metrics, "atlas", f"pooled/correlation_{measure}")
        line = f"r {values.written(r)}" if r else ""
        count = scattered(axes, points, measure, line)
        axes.set_xlabel(f"real {MEASURES[measure].replace(' (', chr(10) + '(')}")
        texts += [f"{MEASURES[measure].partition(' (')[0]} {values.written(r)}"] if r else []
        missing = len(points.segmenter) - count
        undefined += [missing] if measure in DISTANCES else []
    panels[0].set_ylabel("predicted")
    plots.legend(figure, "lower center")
    listed = ", ".join(texts)
    r_told = f" Correlation r, {SEEDS}: {listed}." if texts else ""
    nothing = (
        f" Distances of nothing are not defined: {stats.number(max(undefined))} of "
        f"{stats.number(len(points.segmenter))} points have none."
        if undefined
        else ""
    )
    return Plot(
        "measures",
        "Overlaps and distances, predicted by single atlases",
        "Each measure as predicted by single atlases against the real one, of test scans of all "
        "seeds; the best over references is taken, of distances the smallest. Axes of distances "
        f"are logarithmic above 1 mm. On the line both are equal.{nothing}{r_told}",
        f"A cloud of points for each of {len(shown)} measures, along identity lines.",
        figure,
    )
