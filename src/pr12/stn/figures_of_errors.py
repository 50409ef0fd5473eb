"""Figures of test errors: Table 1, its order against the paper's, addition, deformable nets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from scipy import stats as tests

from pr12.shared import plots, stats
from pr12.shared.plots import Plot
from pr12.shared.stats import Interval
from pr12.stn import figure_values as values
from pr12.stn.figure_values import FAMILIES, ROWS, SEEDS, TABLE, Metrics, Numbers

STAR = {"marker": "*", "s": 60, "color": "white", "edgecolors": "black", "linewidths": 0.9}
WIDE = 3  # panels in a row
ADDED = ("fcn", "cnn", "st_fcn_affine", "st_fcn_projective", "st_fcn_tps")
DEFORMED = ("cnn", "deformable", "st_cnn_affine", "st_cnn_projective", "st_cnn_tps")
LOCAL = ("R", "RTS", "E")  # distortions that the deformable net sees
TOO_FEW = 3  # cells: a rank correlation of fewer says nothing


def star(axes: Any, x: Any, y: Any) -> None:
    """Draw the paper's numbers."""
    axes.scatter(x, y, zorder=3, label="paper", **STAR)


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
    found = {d: values.errors(metrics, ROWS, d) for d in values.DISTORTIONS}
    found = {distortion: own for distortion, own in found.items() if own}
    if not found:
        return None
    rows = [case for case in ROWS if any(case in own for own in found.values())]
    down, across = -(-len(found) // WIDE), min(len(found), WIDE)
    figure, panels = plots.canvas(1.6 + 2.8 * across, 0.7 + down * (0.7 + 0.27 * len(rows)), down, across)
    listed = []
    for place, (axes, (distortion, own)) in enumerate(zip(panels.flat, found.items(), strict=False)):
        for case, interval in own.items():
            look = plots.look(list(FAMILIES).index(values.family(case)))
            style = {"color": look["color"], "marker": look["marker"], "linestyle": "none"}
            bars = plots.half_widths([interval])
            y = rows.index(case)
            axes.errorbar([interval.mean], [y], xerr=bars, label="this run", **style)
            printed = paper.get(case, {}).get(values.error_key(distortion))
            if printed is not None:
                star(axes, [printed], [y])
        axes.set_yticks(range(len(rows)), [values.net(case) for case in rows])
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="test error (%)")
        axes.set_title(f"{distortion}: {values.DISTORTIONS[distortion]}")
        axes.tick_params(labelleft=place % WIDE == 0)
        axes.set_xlim(0, None)
        values.percent_axis(axes)
        listed.append(f"{distortion}: {extremes(own)}")
    for axes in panels.flat[len(found) :]:
        axes.set_axis_off()
    shown = any(values.error_key(d) in paper.get(c, {}) for d, own in found.items() for c in own)
    if shown:
        figure.legend(handles=marks(), loc="outside lower center", ncols=2)
    said = "; ".join(listed)
    return Plot(
        "errors",
        "Errors on distorted digits",
        f"Test errors in percent by distortion and net, {SEEDS}. All nets of a panel have about as "
        f"many parameters. {values.of_paper(run) if shown else ''}Least and most by distortion, "
        f"{said}.",
        f"Dot plots of test errors, one panel per distortion. {said}.",
        figure,
    )


def marks() -> list[Line2D]:
    """Give the legend's marks of ours and the paper's: the looks of ours differ by net."""
    ours = Line2D([], [], color=plots.GREY, marker="o", linestyle="-", label="this run")
    look = {"marker": "*", "markersize": 9, "markerfacecolor": "white", "markeredgecolor": "black"}
    return [ours, Line2D([], [], linestyle="none", label="paper", **look)]


def extremes(own: dict[str, Interval]) -> str:
    """Say which nets have the least and the most errors.

    Examples
    --------
    >>> extremes({"fcn": stats.mean([2.0]), "cnn": stats.mean([1.0])})
    'CNN 1, FCN 2'
    """
    ranked = sorted(own, key=lambda case: own[case].mean)
    ends = list(dict.fromkeys([ranked[0], ranked[-1]]))
    return values.told({values.net(case): own[case] for case in ends})


def cells(metrics: Metrics, paper: Numbers) -> list[tuple[str, str, Interval, float]]:
    """Give the cells of Table 1 that both have: case, distortion, our error, the paper's.

    Examples
    --------
    >>> key = "test/error_R_percent"
    >>> [cell[:2] for cell in cells({"fcn": {key: [3.0]}}, {"fcn": {key: 2.1}})]
    [('fcn', 'R')]
    """
    return [
        (case, distortion, interval, paper[case][values.error_key(distortion)])
        for distortion in TABLE
        for case, interval in values.errors(metrics, ROWS, distortion).items()
        if values.error_key(distortion) in paper.get(case, {})
    ]


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Give Spearman's rank correlation, None where it is not defined or says nothing.

    Examples
    --------
    >>> rank_correlation([(1, 1), (2, 4), (3, 9)]), rank_correlation([(1, 1), (2, 1), (3, 1)])
    (1.0, None)
    """
    ours, theirs = np.array(pairs, float).reshape(-1, 2).T
    if len(pairs) < TOO_FEW or len(set(ours)) < 2 or len(set(theirs)) < 2:
        return None
    return round(float(tests.spearmanr(ours, theirs).statistic), 3)


def order(metrics: Metrics, paper: Numbers, run: str) -> Plot | None:
    """Draw our errors against the paper's, one point per cell of Table 1, logarithmic.

    Parameters
    ----------
    metrics, paper, run
        As `table` takes them.
    """
    found = cells(metrics, paper)
    drawn = [cell for cell in found if cell[2].mean > 0]  # no place on a logarithmic axis
    if len(drawn) < TOO_FEW:
        return None
    figure, ((axes,),) = plots.canvas(6.6, 4.6)
    for case, distortion, interval, printed in drawn:
        look = plots.look(list(FAMILIES).index(values.family(case)))
        marker = plots.MARKERS[TABLE.index(distortion)]
        low, high = plots.half_widths([interval])
        low = np.minimum(low, 0.9 * interval.mean)  # an interval that reaches 0 has no log
        style = {"color": look["color"], "marker": marker, "linestyle": "none", "elinewidth": 0.8}
        axes.errorbar([printed], [interval.mean], yerr=[low, high], alpha=0.85, **style)
    axes.set(xscale="log", yscale="log", xlabel="paper's test error (%)")
    axes.set_ylabel("test error of this run (%)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: stats.number(value))
        axis.set_minor_formatter(lambda value, _: stats.number(value) if leading(value) else "")
    groups = {values.FAMILIES[f]: (plots.look(i)["color"], "s") for i, f in enumerate(FAMILIES)}
    handles = [
        *(Line2D([], [], color=c, marker=m, ls="none", label=n) for n, (c, m) in groups.items()),
        *(
            Line2D([], [], color=plots.GREY, marker=m, ls="none", label=f"{d}: {values.DISTORTIONS[d]}")
            for d, m in zip(TABLE, plots.MARKERS, strict=False)
        ),
    ]
    figure.legend(handles=handles, loc="outside right upper")
    rho = rank_correlation([(i.mean, p) for _, _, i, p in found])
    own = {
        d: rank_correlation([(i.mean, p) for _, e, i, p in found if e == d]) for d in TABLE
    }
    parts = ", ".join(f"{d} {stats.number(r)}" for d, r in own.items() if r is not None)
    said = f"{len(found)} cells of Table 1"
    if rho is not None:
        said += f": Spearman's rank correlation {stats.number(rho)}"
        axes.set_title(f"rank correlation {stats.number(rho)}")
    said += f" (within a distortion: {parts})" if parts else ""
    return Plot(
        "order",
        "The order of Table 1",
        f"Each point is a net and a distortion, both axes logarithmic. {values.of_paper(run)}"
        f"Bars: 95 % t-interval over seeds. {said}.",
        f"Scatter plot of this run's test errors against the paper's. {said}.",
        figure,
    )


def leading(value: float) -> bool:
    """Whether a number on a logarithmic axis has 2, 3 or 5 as its only digit.

    Examples
    --------
    >>> [value for value in (0.2, 0.3, 0.4, 5, 70) if leading(value)]
    [0.2, 0.3, 5]
    """
    return f"{value:.0e}"[0] in "235"


def addition(metrics: Metrics, paper: Numbers, run: str) -> Plot | None:
    """Draw the errors on the sum of two digits: no, one and two parallel transformers.

    Parameters
    ----------
    metrics, paper, run
        As `table` takes them.
    """
    two = [f"{case}_2" for case in ADDED if case.startswith("st_")]
    found = values.errors(metrics, [*ADDED, *two], "addition")
    if not found:
        return None
    groups = [case for case in ADDED if case in found or f"{case}_2" in found]
    figure, ((axes,),) = plots.canvas(8, 3.9)
    key, stars = values.error_key("addition"), []
    for case, interval in found.items():
        pair = case.endswith("_2")
        alone = not case.startswith("st_")
        x = groups.index(case.removesuffix("_2")) + (0 if alone else 0.2 if pair else -0.2)
        number = 0 if alone else 2 if pair else 1
        label = ("no transformer", "one transformer", "two transformers in parallel")[number]
        bar(axes, x, interval, number, label, 0.4)
        if key in paper.get(case, {}):
            stars.append((x, paper[case][key]))
    if stars:
        star(axes, *zip(*stars, strict=True))
    axes.set_xticks(range(len(groups)), [values.net(case) for case in groups])
    finish(figure, axes, "test error (%)")
    gains = []
    for case in groups:
        if case in found and f"{case}_2" in found:
            own = (found[case].mean, found[f"{case}_2"].mean)
            gains.append(f"{values.net(case)} {' to '.join(map(percent, own))}")
    said = values.told({values.net(case): interval for case, interval in found.items()})
    less = f"From one transformer to two: {', '.join(gains)}. " if gains else ""
    return Plot(
        "addition",
        "The sum of two digits: one and two transformers",
        f"Each channel holds a digit moved by itself; the answer is their sum. Test errors in "
        f"percent, {SEEDS}. {values.of_paper(run) if stars else ''}{less}All: {said}.",
        f"Bars of test errors. {said}.",
        figure,
    )


def percent(value: float) -> str:
    """Write a percentage with one digit behind the point."""
    return stats.number(round(value, 1))


def bar(axes: Any, x: float, interval: Interval, number: int, label: str, width: float) -> None:
    """Draw a bar with its interval, in the colour and hatch of series `number`."""
    style = {"color": plots.COLOURS[number], "hatch": plots.HATCHES[number]}
    errors = plots.half_widths([interval])
    edge = {"edgecolor": "white", "linewidth": 0, "ecolor": "black", "label": label}
    axes.bar([x], [interval.mean], width=width, yerr=errors, **style, **edge)


def finish(figure: Any, axes: Any, label: str) -> None:
    """Finish axes of bars: from 0, no vertical lines, a legend below."""
    axes.set_ylabel(label)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, None)
    values.percent_axis(axes, "y")
    plots.legend(figure, "lower center")


def deformable(metrics: Metrics) -> Plot | None:
    """Draw the errors of the deformable net beside those of CNN and ST-CNN.

    Parameters
    ----------
    metrics : mapping
        As `table` takes them.
    """
    found = {d: values.errors(metrics, DEFORMED, d) for d in LOCAL}
    found = {d: own for d, own in found.items() if "deformable" in own}
    if not found:
        return None
    shown = [case for case in DEFORMED if any(case in own for own in found.values())]
    figure, ((axes,),) = plots.canvas(8, 3.8)
    width = 0.8 / len(shown)
    for place, own in enumerate(found.values()):
        for case, interval in own.items():
            number = shown.index(case)
            x = place + (number - (len(shown) - 1) / 2) * width
            bar(axes, x, interval, number, values.net(case), width)
    titles = [f"{d}: {values.DISTORTIONS[d]}" for d in found]
    axes.set_xticks(range(len(found)), titles)
    finish(figure, axes, "test error (%)")
    said = "; ".join(
        f"{d}: {values.told({values.net(case): i for case, i in own.items()})}"
        for d, own in found.items()
    )
    return Plot(
        "deformable",
        "Deformable convolution against spatial transformers",
        "The deformable CNN has a deformable second convolution, whose taps move by offsets "
        "predicted at each place; the ST-CNN moves the whole image by one transformation. All have "
        f"about as many parameters. Test errors in percent, {SEEDS}. {said}.",
        f"Bars of test errors by distortion. {said}.",
        figure,
    )
