"""Figures of RCA on tables: predicted accuracy of classifiers on shifted data."""

from typing import Any

import numpy as np

from pr12.rca.figures import values
from pr12.rca.figures.values import SEEDS, Metrics, Pictures
from pr12.report import plots, stats
from pr12.report.plots import Plot

DATA = {  # case -> title
    "digits": "digits",
    "breast_cancer": "breast cancer",
    "wine": "wine",
    "digits_neighbours": "digits, neighbours",
    "breast_cancer_neighbours": "breast cancer, neighbours",
    "wine_neighbours": "wine, neighbours",
}
NEIGHBOURS = (
    "Neighbours: the reverse classifier is nearest neighbours, else of the classifier's kind. "
)
WIDE = 3  # panels in a row
LISTED = ("raw", "linear", "calibrated", "cross_validation", "confidence")  # in the caption
PREDICTIONS = {  # quantity after ``mae_`` -> what it is, and its hatch
    "raw": ("RCA", 0),
    "linear": ("RCA with linear map", 1),
    "isotonic": ("RCA with isotonic map", 1),
    "linear_unseen": ("linear of other shifts", 2),
    "isotonic_unseen": ("isotonic of other shifts", 2),
    "calibrated": ("RCA of calibrated classifiers", 0),
    "cross_validation": ("cross-validation", 3),
    "confidence": ("mean confidence", 3),
}
SHIFTS = {"missing": "missing features"}  # kind of shift -> what it is
COLOURS = (plots.COLOURS[0], plots.COLOURS[2], plots.COLOURS[1], plots.GREY)  # by hatch


def settings(picture: Any, name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return kind of shift, true accuracy and RCA's score of every setting.

    Parameters
    ----------
    picture : Any
        What the step ``tabular`` wrote.
    name : str
        Such as ``wine_picture``.

    Raises
    ------
    UserError
        If it is something else.

    Examples
    --------
    >>> kinds, true, raw = settings({"points": [{"kind": "noise", "true": 1, "raw": 0.5}]}, "x")
    >>> kinds, true.tolist(), raw.tolist()
    (['noise'], [1.0], [0.5])
    """
    rows = values.entry(picture, "points", name)
    if not isinstance(rows, list) or not rows:
        raise values.broken(name, "has points that are no list")
    kinds = [values.entry(row, "kind", name) for row in rows]
    if any(type(kind) is not str for kind in kinds):
        raise values.broken(name, "has kinds of shift that are no names")
    true, raw = (
        values.array([values.entry(row, key, name) for row in rows], 1, key, name)
        for key in ("true", "raw")
    )
    if not np.isfinite([true, raw]).all():
        raise values.broken(name, "has accuracies that are no numbers")
    return kinds, true, raw


def reverse(cases: Any) -> str:
    """Say what the cases with nearest neighbours are, if there are some."""
    return NEIGHBOURS if any(case.endswith("neighbours") for case in cases) else ""


def grid(count: int, height: float) -> tuple[Any, list[Any]]:
    """Return a figure and its panels, at most `WIDE` in a row of that height."""
    rows, columns = -(-count // WIDE), min(count, WIDE)
    figure, panels = plots.canvas(1 + 3 * columns, rows * height + 0.5, rows, columns)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    return figure, list(panels.flat[:count])


def tabular(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw predicted against true accuracy, one panel per data set.

    Raises
    ------
    UserError
        If a picture is not what the step ``tabular`` writes.
    """
    names = {case: f"{case}_picture" for case in DATA}
    by_case = {case: settings(pictures[n], n) for case, n in names.items() if n in pictures}
    if not by_case:
        return None
    kinds = list(
        dict.fromkeys(kind for kinds_of_case, _, _ in by_case.values() for kind in kinds_of_case)
    )
    figure, panels = grid(len(by_case), 3.6)
    texts = []
    for axes, (case, (kinds_of_case, true, raw)) in zip(panels, by_case.items(), strict=True):
        for index, kind in enumerate(kinds):
            of_kind = np.array([k == kind for k in kinds_of_case])
            look = plots.look(index)
            style = {"marker": look["marker"], "color": look["color"], "linewidths": 0}
            axes.scatter(true[of_kind], raw[of_kind], s=10, rasterized=True, **style)
            axes.scatter([], [], s=36, label=SHIFTS.get(kind, kind), **style)
        axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="-", marker="")
        r = values.measured(metrics, case, "pooled/correlation")
        lines = [f"r {values.written(r)}"] if r else []
        axes.set_title("\n".join([DATA[case], *lines]))
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel="true accuracy")
        texts.append(
            " ".join([f"{DATA[case]} ({stats.number(len(kinds_of_case))} points)", *lines])
        )
    for axes in panels[::WIDE]:
        axes.set_ylabel("predicted accuracy")
    plots.legend(figure, "lower center")
    listed = "; ".join(texts)
    return Plot(
        "tabular",
        "Predicted against true accuracy on shifted tables",
        "Each point is a classifier, a seed and a shift of the new data of some strength; marks "
        "differ by the kind of shift. Predicted: the accuracy on labelled data of a classifier "
        f"that learned the answers on the new data. {reverse(by_case)}On the line both are equal. "
        f"Correlation r over all classifiers, {SEEDS}: {listed}.",
        "A cloud of points a table, predicted against true accuracy, with the identity line.",
        figure,
    )


def tabular_errors(metrics: Metrics) -> Plot | None:
    """Draw the mean absolute error of each prediction of accuracy, one panel per data set."""
    by_case = {
        case: {q: values.measured(metrics, case, f"pooled/mae_{q}") for q in PREDICTIONS}
        for case in DATA
    }
    by_case = {case: {q: i for q, i in errors.items() if i} for case, errors in by_case.items()}
    by_case = {case: errors for case, errors in by_case.items() if errors}
    if not by_case:
        return None
    rows = [q for q in PREDICTIONS if any(q in errors for errors in by_case.values())]
    figure, panels = grid(len(by_case), 0.3 * len(rows) + 0.9)
    texts = []
    for place, (axes, (case, errors)) in enumerate(zip(panels, by_case.items(), strict=True)):
        for quantity, interval in errors.items():
            hatch = PREDICTIONS[quantity][1]
            axes.barh(
                rows.index(quantity),
                interval.mean,
                xerr=plots.half_widths([interval]),
                color=COLOURS[hatch],
                edgecolor="white",
                linewidth=0,
                hatch=plots.HATCHES[hatch],
            )
        axes.set_yticks(range(len(rows)), [PREDICTIONS[q][0] for q in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), title=DATA[case], xlabel="mean absolute error")
        axes.tick_params(labelleft=place % WIDE == 0)
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=4)
        plots.from_zero(axes, "x")
        listed = values.listed({PREDICTIONS[q][0]: errors.get(q) for q in LISTED})
        texts.append(f"{DATA[case]}: {listed}")
    listed = "; ".join(texts)
    return Plot(
        "tabular_errors",
        "Error of predicted accuracy on shifted tables",
        "Mean absolute error of the accuracy predicted for shifted new data, over all classifiers "
        "and shifts: RCA's score, the score mapped as learned on other data under the same kinds "
        "of shift or under the other kinds only, RCA of calibrated classifiers; and two "
        "predictions without a reverse classifier (grey): cross-validation on the labelled data "
        f"and the mean confidence of a calibrated classifier. {reverse(by_case)}"
        f"{SEEDS.capitalize()}. {listed[0].upper()}{listed[1:]}.",
        "Groups of bars with intervals, a group a table and a bar a way to predict accuracy.",
        figure,
    )
