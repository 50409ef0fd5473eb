"""Figures of what is decided by a predicted Dice: which segmentations failed, and how surely."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pr12.rca.figures import values
from pr12.rca.figures.values import LOW, REVERSE, SEEDS, Metrics, Pictures, Points
from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval

RATE = 0.1  # of false positives, at which the sensitivity is told
KINDS = {  # of interval, as the metrics name them
    "linear": "linear map",
    "isotonic": "isotonic map",
    "percentiles": "percentiles of references",
}
FATES = ("true_positives", "false_negatives", "false_positives", "true_negatives")
BAND = 3  # points of coverage that count as met
COUNTS = ("raw", "real", "predicted", "low", "high")


def roc(failed: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve of failures that are found by a low prediction.

    Parameters
    ----------
    failed : ndarray
        bool, shape (N,), with both kinds.
    predicted : ndarray
        Shape (N,).

    Returns
    -------
    tuple of ndarray
        False-positive rates and sensitivities, from (0, 0) to (1, 1).

    Examples
    --------
    >>> [side.tolist() for side in roc(np.array([True, False, True]), np.array([0.1, 0.2, 0.3]))]
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0]]
    """
    order = np.argsort(predicted, kind="stable")
    last = np.append(np.flatnonzero(np.diff(predicted[order])), len(order) - 1)  # of equal ones
    alarms, hits = (np.append(0, np.cumsum(counted[order])[last]) for counted in (~failed, failed))
    return alarms / alarms[-1], hits / hits[-1]


def flagged(points: Points, calibrated: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Count what became of failed and good segmentations, all seeds together.

    Points are rounded, so that some may stand at the threshold by that: the exact counts of the
    metrics are taken if they differ by no more than those.

    Parameters
    ----------
    points : Points
        Of a case.
    calibrated : mapping
        Its metrics.

    Returns
    -------
    ndarray
        [[failed and flagged, failed and passed], [good and flagged, good and passed]].
    """
    failed, low = (side["dice"] < LOW for side in (points.real, points.predicted))
    counts = np.array([[(f & p).sum() for p in (low, ~low)] for f in (failed, ~failed)])
    exact = [sum(calibrated.get(f"failure/{key}", [np.inf])) for key in FATES]
    doubtful = sum((side["dice"] == LOW).sum() for side in (points.real, points.predicted))
    if np.abs(np.ravel(counts) - exact).max() <= doubtful:
        return np.reshape(exact, (2, 2)).astype(int)
    return counts


def failures(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw how well failures are found: ROC curves, and what the threshold makes of them.

    Raises
    ------
    UserError
        If a picture is not what the step ``evaluate`` writes.
    """
    curves = {
        case: points
        for case, points in values.cases(pictures).items()
        if 0 < (points.real["dice"] < LOW).mean() < 1  # without both kinds there is no curve
    }
    if not curves:
        return None
    figure, ((left, right),) = plots.canvas(9, 4.4, columns=2)
    shares, at_threshold, at_rate = [], [], []
    for case, points in curves.items():
        failed = points.real["dice"] < LOW
        rates, sensitivities = roc(failed, points.predicted["dice"])
        area = np.trapezoid(sensitivities, rates)
        best = sensitivities[rates <= RATE].max()
        (hits, misses), (alarms, passes) = counts = flagged(points, metrics.get(case, {}))
        work = alarms / (alarms + passes), hits / (hits + misses)
        look = plots.look(list(REVERSE).index(case))
        line, mark = look | {"marker": ""}, look | {"linestyle": "", "markeredgecolor": "black"}
        left.plot(rates, sensitivities, **line)
        left.plot(*work, markersize=9, **mark, zorder=4)
        left.plot([], [], label=f"{REVERSE[case]} ({area:.3f})", **look)
        name, count = REVERSE[case], stats.number(len(failed))
        shares.append(f"{100 * (hits + misses) / counts.sum():.1f} % of {count} ({name})")
        at_threshold.append(f"{name} {100 * work[1]:.1f} % and {100 * work[0]:.1f} %")
        at_rate.append(f"{name} {100 * best:.1f} %")
    left.axvline(RATE, color=plots.GREY, linestyle=":")
    left.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1, marker="", linestyle="-", zorder=1)
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    left.set(xlabel="false-positive rate", ylabel="sensitivity")
    left.legend(title="(area under the curve)", loc="lower right")
    case, points = next(iter(curves.items()))
    confusion(right, flagged(points, metrics.get(case, {})))
    right.set_title(f"{REVERSE[case]}, flagged where predicted < {LOW:g}")
    listed = (
        f"Found of the failed, and flagged of the good, at the threshold {LOW:g}: "
        f"{'; '.join(at_threshold)}"
    )
    return Plot(
        "failures",
        "Failed segmentations, found by their predicted Dice",
        f"A segmentation of a structure has failed if its real Dice is below {LOW:g}, as have "
        f"{', '.join(shares)}. Left: sensitivity against false-positive rate as the threshold on "
        f"the predicted Dice moves, all seeds together; large marks: threshold {LOW:g}; dotted: a "
        f"false-positive rate of {RATE:g}; grey: chance. Right: counts at the threshold {LOW:g}. "
        f"{listed}. Found at a false-positive rate of at most {RATE:g}, by thresholds that are "
        f"read off these very scans: {', '.join(at_rate)}.",
        "ROC curves, and beside them a table of counts.",
        figure,
    )


def confusion(axes: Any, counts: np.ndarray) -> None:
    """Draw a table of counts, darker the larger their share of the row."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    texts = [
        [f"{stats.number(int(n))}\n{100 * s:.1f} %" for n, s in zip(*row, strict=True)]
        for row in zip(counts, shares, strict=True)
    ]
    rows = (f"real < {LOW:g}\n(failed)", f"real ≥ {LOW:g}\n(good)")
    plots.heat_map(axes, shares, texts, rows, ("flagged", "passed"), "share of the row")


def coverages(metrics: Metrics) -> dict[str, dict[float, tuple[Interval, Interval]]]:
    """Return measured coverage and width, in percent and in Dice, by kind and nominal coverage.

    Examples
    --------
    >>> own = {"test/coverage_linear_90": [0.875], "test/width_linear_90": [0.25]}
    >>> nominal = coverages({"calibrated": own})["linear"]
    >>> [(percent, covered.mean, width.mean) for percent, (covered, width) in nominal.items()]
    [(90.0, 87.5, 0.25)]
    """
    by_kind: dict[str, dict[float, tuple[Interval, Interval]]] = {kind: {} for kind in KINDS}
    values_of_case = metrics.get("calibrated", {})
    for key in values_of_case:
        match = re.fullmatch(r"test/coverage_([a-z]+)_([\d.]+)", key)
        width = key.replace("coverage", "width")
        if match and match[1] in by_kind and width in values_of_case:
            share = stats.bounded(key, values_of_case[key])
            covered = Interval(100 * share.mean, 100 * share.low, 100 * share.high, share.n)
            by_kind[match[1]][float(match[2])] = (covered, stats.mean(values_of_case[width]))
    return {kind: dict(sorted(sizes.items())) for kind, sizes in by_kind.items() if sizes}


def calibration(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw calibrated predictions of Dice with their intervals, and the intervals' coverage.

    Raises
    ------
    UserError
        If the picture is not what the step ``calibrate`` writes.
    """
    name = "calibrated_picture"
    nominal = coverages(metrics)
    if name not in pictures or "isotonic" not in nominal:
        return None
    picture = {k: values.array(values.entry(pictures[name], k, name), 1, k, name) for k in COUNTS}
    seeds = len(metrics["calibrated"]["test/mae_raw"])
    sizes = {len(column) for column in picture.values()}
    if len(sizes) > 1 or min(sizes) % seeds or not np.isfinite(list(picture.values())).all():
        raise values.broken(name, f"does not hold the same number of points for {seeds} seeds")
    figure, ((left, right),) = plots.canvas(9, 4.6, columns=2)
    intervals(left, picture, seeds)
    covered_curves(right, nominal)
    percents = list(nominal["isotonic"])
    middle = percents[len(percents) // 2]
    mae = values.listed(
        {
            label: values.measured(metrics, "calibrated", f"test/mae_{key}")
            for key, label in (("raw", "raw"), ("linear", "linear"), ("isotonic", "isotonic"))
        }
    )
    widths = "; ".join(
        f"{KINDS[kind]} {', '.join(values.written(w) for _, w in of_kind.values())}"
        for kind, of_kind in nominal.items()
    )
    covered = values.listed(
        {KINDS[kind]: of_kind[middle][0] for kind, of_kind in nominal.items() if middle in of_kind}
    )
    text = f"measured at nominal {middle:g} %: {covered}"
    return Plot(
        "calibration",
        "Calibrated predictions and the coverage of their intervals",
        "Left: real Dice against RCA's score by single atlases, of test scans of all seeds, with "
        f"the isotonic map fitted to calibration scans and its intervals of nominal {middle:g} % "
        f"coverage, one per seed; crosses lie outside. Mean absolute error, {SEEDS}: {mae}. Right: "
        f"share of real Dice inside the intervals against the nominal one, {SEEDS}; on the line "
        f"both are equal, the band is ±{BAND} points; {text}. Mean width at nominal "
        f"{', '.join(f'{p:g}' for p in percents)} %: {widths}.",
        "Scatter plot with bands, and curves of measured coverage near the diagonal.",
        figure,
    )


def intervals(axes: Any, picture: dict[str, np.ndarray], seeds: int) -> None:
    """Draw points with the map and the interval of each seed."""
    inside = (picture["low"] <= picture["real"]) & (picture["real"] <= picture["high"])
    dot = {"marker": "o", "color": plots.COLOURS[0], "linewidths": 0}
    cross = {"marker": "x", "color": plots.COLOURS[1], "linewidths": 0.8}
    for where, look, label in ((inside, dot, "inside"), (~inside, cross, "outside")):
        x, y = picture["raw"][where], picture["real"][where]
        axes.scatter(x, y, s=8 if look is dot else 16, rasterized=True, **look)
        axes.scatter([], [], s=30, label=f"{label} ({stats.number(len(x))})", **look)
    columns = {key: column.reshape(seeds, -1) for key, column in picture.items()}
    for seed in range(seeds):
        order = np.argsort(columns["raw"][seed], kind="stable")
        x, y, low, high = (columns[key][seed][order] for key in ("raw", "predicted", "low", "high"))
        band = {"color": "black", "alpha": 0.1, "linewidth": 0, "zorder": 0.5}
        axes.fill_between(x, low, high, label="_", **band)
        axes.plot(x, y, color="black", linewidth=1, linestyle="-", marker="", label="_")
    axes.plot([], [], color="black", linewidth=1, linestyle="-", marker="", label="isotonic map")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="RCA's score", ylabel="real Dice")
    axes.legend(loc="upper left", fontsize="small", handlelength=1.5)


def covered_curves(axes: Any, nominal: dict[str, dict[float, tuple[Interval, Interval]]]) -> None:
    """Draw measured against nominal coverage in percent."""
    percents = sorted({percent for of_kind in nominal.values() for percent in of_kind})
    room = max(2.0, 0.15 * (percents[-1] - percents[0]))
    ends = np.array([percents[0] - room, min(percents[-1] + room, 100.0)])
    axes.plot(ends, ends, color="black", linewidth=1, linestyle="-", marker="")
    axes.fill_between(ends, ends - BAND, ends + BAND, color="#DDDDDD", linewidth=0)
    for index, kind in enumerate(KINDS):
        of_kind = nominal.get(kind, {})
        shift = 0.08 * room * (index - 1) * 3  # else intervals hide one another
        if of_kind:
            x = [percent + shift for percent in of_kind]
            plots.curve(axes, x, [covered for covered, _ in of_kind.values()], index, KINDS[kind])
    axes.set_xticks(percents, [f"{percent:g}" for percent in percents])
    axes.set(xlim=ends, xlabel="nominal coverage (%)", ylabel="measured coverage (%)")
    values.within(axes, "y", 0.0, 105.0)
    axes.legend(loc="lower right", fontsize="small", frameon=True, edgecolor="none")
