"""Figures of test errors: Table 1 beside the paper's, and the order of its cells."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from scipy import stats as tests

from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval
from pr12.stn.figures import values
from pr12.stn.figures.values import FAMILIES, ROWS, SEEDS, TABLE, Metrics, Numbers

STAR = {"marker": "*", "s": 60, "color": "white", "edgecolors": "black", "linewidths": 0.9}
WIDE = 3  # panels in a row
BESIDE = 0.28  # of the paper's number from ours, in rows
TICKS = (1, 2, 3, 5)  # of each power of ten
TOO_FEW = 3  # cells: a rank correlation of fewer says nothing


class Cell(NamedTuple):
    """A cell of Table 1, in percent."""

    case: str
    distortion: str
    errors: Sequence[float]  # ours, one per seed
    printed: float  # the paper's


def star(axes: Any, x: Any, y: Any) -> None:
    """Draw the paper's numbers."""
    axes.scatter(x, y, zorder=3, label="paper", clip_on=False, **STAR)  # whole, also at 0


def table(metrics: Metrics, paper: Numbers, run: str) -> Plot | None:
    """Draw the errors of every net, one panel per distortion, beside the paper's.

    Parameters
    ----------
    metrics : mapping
        Case -> metric key -> one value per seed.
    paper : mapping
        Case -> metric key -> the paper's number.
    run : str
        Which the metrics are of.
    """
    errors = {d: values.errors(metrics, ROWS, d) for d in values.DISTORTIONS}
    errors = {distortion: intervals for distortion, intervals in errors.items() if intervals}
    if not errors:
        return None
    rows = [case for case in ROWS if any(case in intervals for intervals in errors.values())]
    down, across = -(-len(errors) // WIDE), min(len(errors), WIDE)
    figure, panels = plots.canvas(
        1.6 + 2.8 * across, 0.7 + down * (0.7 + 0.27 * len(rows)), down, across
    )
    listed = []
    for place, (axes, (distortion, intervals)) in enumerate(
        zip(panels.flat, errors.items(), strict=False)
    ):
        for case, interval in intervals.items():
            look = plots.look(list(FAMILIES).index(values.family(case)))
            style = {"color": look["color"], "marker": look["marker"], "linestyle": "none"}
            bars = plots.half_widths([interval])
            y = rows.index(case)
            axes.errorbar([interval.mean], [y], xerr=bars, label="this run", **style)
            printed = paper.get(case, {}).get(values.error_key(distortion))
            if printed is not None:
                star(axes, [printed], [y + BESIDE])  # below, so that neither hides the other
        axes.set_yticks(range(len(rows)), [values.net(case) for case in rows])
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="test error (%)")
        axes.set_title(f"{distortion}: {values.DISTORTIONS[distortion]}")
        axes.tick_params(labelleft=place % WIDE == 0)
        axes.set_xlim(0, None)
        values.percent_axis(axes)
        listed.append(f"{distortion}: {extremes(intervals)}")
    for axes in panels.flat[len(errors) :]:
        axes.set_axis_off()
    shown = any(values.error_key(d) in paper.get(c, {}) for d in errors for c in errors[d])
    if shown:
        figure.legend(handles=marks(), loc="outside lower center", ncols=2)
    summary = "; ".join(listed)
    return Plot(
        "errors",
        "Errors on distorted digits",
        f"Test errors in percent by distortion and net, {SEEDS}. "
        f"{values.sizes(metrics, rows, errors)}{values.of_paper(run) if shown else ''}"
        f"Least and most by distortion, {summary}.",
        "One panel a distortion, one row a net: a dot with its interval on an axis of test errors.",
        figure,
    )


def marks() -> list[Line2D]:
    """Return the legend's marks of ours and the paper's: the looks of ours differ by net."""
    ours = Line2D([], [], color=plots.GREY, marker="o", linestyle="-", label="this run")
    look = {"marker": "*", "markersize": 9, "markerfacecolor": "white", "markeredgecolor": "black"}
    return [ours, Line2D([], [], linestyle="none", label="paper", **look)]


def extremes(intervals: dict[str, Interval]) -> str:
    """Say which nets have the least and the most errors.

    Examples
    --------
    >>> extremes({"fcn": stats.mean([2.0]), "cnn": stats.mean([1.0])})
    'CNN 1, FCN 2'
    """
    ranked = sorted(intervals, key=lambda case: intervals[case].mean)
    ends = list(dict.fromkeys([ranked[0], ranked[-1]]))
    return values.summary({values.net(case): intervals[case] for case in ends})


def cells(metrics: Metrics, paper: Numbers) -> list[Cell]:
    """Return the cells of Table 1 that both have.

    Examples
    --------
    >>> key = "test/error_R_percent"
    >>> cells({"fcn": {key: [3.0]}}, {"fcn": {key: 2.1}})
    [Cell(case='fcn', distortion='R', errors=[3.0], printed=2.1)]
    """
    return [
        Cell(case, distortion, metrics[case][key], paper[case][key])
        for distortion in TABLE
        for case in ROWS
        if (key := values.error_key(distortion)) in metrics.get(case, {})
        and key in paper.get(case, {})
    ]


def rank_correlation(cells: Sequence[Cell]) -> Interval | None:
    """Return Spearman's rank correlation of our errors with the paper's, seed by seed.

    Parameters
    ----------
    cells : sequence of Cell
        Those to be ranked.

    Returns
    -------
    Interval or None
        None where it is not defined or says nothing.

    Examples
    --------
    >>> rank_correlation([Cell("", "R", [e, 2 * e], e**2) for e in (1, 2, 3)]).mean
    1.0
    >>> rank_correlation([Cell("", "R", [1, 1], e) for e in (1, 2, 3)]) is None
    True
    """
    printed = [cell.printed for cell in cells]
    seeds = list(zip(*(cell.errors for cell in cells), strict=False))  # those that all have
    if len(cells) < TOO_FEW or any(len(set(numbers)) < 2 for numbers in (printed, *seeds)):
        return None
    return stats.mean([float(tests.spearmanr(printed, numbers).statistic) for numbers in seeds])


def order(metrics: Metrics, paper: Numbers, run: str) -> Plot | None:
    """Draw our errors against the paper's, one point per cell of Table 1, logarithmic.

    Parameters
    ----------
    metrics, paper, run
        As `table` takes them.
    """
    both = cells(metrics, paper)
    means = [(cell, stats.mean(cell.errors)) for cell in both]
    drawn = [(cell, mean) for cell, mean in means if mean.mean > 0]  # 0 is on no logarithmic axis
    if len(drawn) < TOO_FEW:
        return None
    figure, ((axes,),) = plots.canvas(6.6, 4.6)
    for cell, interval in drawn:
        look = plots.look(list(FAMILIES).index(values.family(cell.case)))
        marker = plots.MARKERS[TABLE.index(cell.distortion)]
        low, high = plots.half_widths([interval])
        low = np.minimum(low, 0.9 * interval.mean)  # an interval that reaches 0 has no log
        style = {"color": look["color"], "marker": marker, "linestyle": "none", "elinewidth": 0.8}
        axes.errorbar([cell.printed], [interval.mean], yerr=[low, high], alpha=0.85, **style)
    axes.set(xscale="log", yscale="log", xlabel="paper's test error (%)")
    axes.set_ylabel("test error of this run (%)")
    ends = [mean.mean for _, mean in drawn]  # intervals of few seeds go far beyond
    axes.set_ylim(0.6 * min(ends), min(1.6 * max(ends), 110))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=TICKS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: stats.number(value))
    groups = {values.FAMILIES[f]: (plots.look(i)["color"], "s") for i, f in enumerate(FAMILIES)}
    handles = [
        *(Line2D([], [], color=c, marker=m, ls="none", label=n) for n, (c, m) in groups.items()),
        *(
            Line2D(
                [], [], color=plots.GREY, marker=m, ls="none", label=f"{d}: {values.DISTORTIONS[d]}"
            )
            for d, m in zip(TABLE, plots.MARKERS, strict=False)
        ),
    ]
    figure.legend(handles=handles, loc="outside right upper")
    rho = rank_correlation(both)
    within = {d: rank_correlation([cell for cell in both if cell.distortion == d]) for d in TABLE}
    summary = f"{len(both)} cells of Table 1"
    if rho:
        summary += f": Spearman's rank correlation {values.written(rho)}"
        axes.set_title(f"rank correlation {values.written(rho)}")
    summary += f" (within a distortion: {values.summary(within)})" if any(within.values()) else ""
    return Plot(
        "order",
        "The order of Table 1",
        f"Each point is a net and a distortion, both axes logarithmic. {values.of_paper(run)}"
        f"Bars and brackets: 95 % t-interval over seeds. {summary}.",
        "Scatter plot of this run's test errors against the paper's, on logarithmic axes.",
        figure,
    )
