"""The weight of the photorealism, measures of photo style by method, and the cross term."""

from collections.abc import Mapping, Sequence
from typing import Any

from pr12.photostyle.figures import photographs as figures_of_photographs
from pr12.photostyle.figures import sheets
from pr12.photostyle.figures.curves import SEEDS, Metrics, by_depth, listed, whole_ticks
from pr12.photostyle.figures.sheets import NETS, Pictures
from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval

SMALLEST = 1e-16  # float64 knows no smaller share: drawn there on a logarithmic axis
PARTS = {  # of the cross term: key -> label
    "gram": {
        "gram/share_sky": "sky",
        "gram/share_building": "building",
        "gram/share_cross": "cross term",
    },
    "loss": {
        "plain/ratio_cross": "without masks",
        "masked/ratio_cross": "hard masks",
        "soft/ratio_cross": "soft masks",
    },
}
MEASURES = {
    "matting_energy": "matting energy",
    "colour_distance": "colour distance\nto the style",
    "edge_similarity": "edge similarity\nto the content",
}


def lambda_strip(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw the results for each lambda, and below them what it does to two measures.

    Parameters
    ----------
    metrics, pictures : mapping
        Of all cases.
    """
    cells = figures_of_photographs.lambda_cells(pictures)
    sweep = metrics.get("lambda_sweep", {})
    names = {key.partition("/")[0]: None for key in sweep}
    kinds = {
        "matting_energy": "matting energy",
        "content_distance": "distance to the content's pixels",
    }
    curves = {}
    for kind, label in kinds.items():
        values = {
            v: sweep.get(f"{name}/{kind}")
            for v, name in figures_of_photographs.lambdas(names).items()
        }
        intervals = {v: stats.mean(each) for v, each in values.items() if each and v > 0}
        curves |= {label: intervals} if intervals else {}
    if not cells and not curves:
        return None
    figure, panels = lambda_axes(cells, len(curves))
    for index, (axes, (label, curve)) in enumerate(zip(panels, curves.items(), strict=True)):
        plots.curve(axes, list(curve), list(curve.values()), index, label)
        if label == "matting energy" and min(interval.mean for interval in curve.values()) > 0:
            axes.set_yscale("log")  # over several powers of ten; distances are not
        if len(curve) > 1:
            plots.log_ticks(axes, list(curve), room=0.1)
            axes.set_xticks(list(curve), [f"{value:g}" for value in curve])
        axes.set(xlabel="lambda", ylabel=label)
    text = "; ".join(f"{label}: {listed_lambdas(curve)}" for label, curve in curves.items())
    shown = ", ".join(cell.title for cell in cells)
    return Plot(
        "lambda_strip",
        "The weight of the photorealism",
        "Lambda weights the matting Laplacian's energy against the style (Luan et al. 2017). "
        + (f"{figures_of_photographs.FIRST} " if cells else "")
        + (f"Curves: {SEEDS}. {text}." if curves else ""),
        (f"Photographs in a row: {shown}. " if cells else "")
        + (f"Curves against lambda: {', '.join(curves)}." if curves else ""),
        figure,
    )


def lambda_axes(cells: Sequence[sheets.Cell], curves: int) -> tuple[Any, list[Any]]:
    """Make the figure of lambda: the strip above, if there is one, and axes for curves."""
    if not cells:
        figure, (panels,) = plots.canvas(9, 3.4, columns=curves)
        return figure, list(panels)
    rows = [("", cells)]
    width, height = sheets.room(rows)
    inches = plots.LARGEST / max(width, 4)
    strip = height * inches
    if not curves:
        return sheets.sheet(rows), []
    figure, grid = plots.canvas(width * inches, strip + 3.0, rows=2, columns=curves)
    spec = grid[0, 0].get_gridspec()
    spec.set_height_ratios([strip, 3.0])
    for axes in grid[0]:
        axes.remove()
    sheets.draw(figure.add_subplot(spec[0, :]), rows, inches)
    return figure, list(grid[1])


def listed_lambdas(curve: Mapping[float, Interval]) -> str:
    """List intervals by their lambda."""
    return listed({f"{value:g}": interval for value, interval in curve.items()}, "at {}")


def measures(metrics: Metrics, net: str) -> Plot | None:
    """Draw the measures of photo style by method, for all pairs.

    Parameters
    ----------
    metrics, net
        As `inversion_errors` takes them.
    """
    cases = [case for pairs in figures_of_photographs.PAIRS.values() for case in pairs]
    methods = {"content": "content itself"} | figures_of_photographs.METHODS
    intervals: dict[tuple[str, str, str], Interval] = {}
    for case in cases:
        case_metrics = metrics.get(f"{net}{case}", {})
        for kind in MEASURES:
            for method in methods:
                if f"{method}/{kind}" in case_metrics:
                    intervals[kind, case, method] = stats.mean(case_metrics[f"{method}/{kind}"])
    if not intervals:
        return None
    cases = [case for case in cases if any(case == key[1] for key in intervals)]
    used = [method for method in methods if any(method == key[2] for key in intervals)]
    kinds = [kind for kind in MEASURES if any(kind == key[0] for key in intervals)]
    figure, panels = plots.canvas(9.5, 2.3 * len(kinds) + 0.8, rows=len(kinds))
    for kind, (axes,) in zip(kinds, panels, strict=True):
        bars = {key[1:]: interval for key, interval in intervals.items() if key[0] == kind}
        draw_bars(axes, bars, cases, used, methods, kind == "matting_energy")
        axes.set_ylabel(MEASURES[kind])
    handles = {}
    for (axes,) in panels:
        pairs = zip(*axes.get_legend_handles_labels(), strict=True)
        handles |= {label: handle for handle, label in pairs}
    labels = [methods[method] for method in used if methods[method] in handles]
    handles = [handles[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    text = "; ".join(
        f"{case.replace('_', ' ')}: {listed({methods[m]: i for m, i in row.items()})}"
        for case in cases
        if (row := {m: i for (k, c, m), i in intervals.items() if (k, c) == (kinds[0], case)})
    )
    first = MEASURES[kinds[0]].replace("\n", " ")
    return Plot(
        sheets.named("measures", net),
        f"Photo style measured{NETS[net]}",
        "Matting energy (photorealism, logarithmic, less is better; that of the content itself is "
        "nearly none), colour distance to the style by class (less is better) and edge similarity "
        f"to the content (more is better), {SEEDS}. {first}: {text}.",
        f"Panels of bars grouped by pair, hatched by method: {', '.join(used)}.",
        figure,
    )


def draw_bars(
    axes: Any,
    bars: Mapping[tuple[str, str], Interval],
    cases: Sequence[str],
    used: Sequence[str],
    methods: Mapping[str, str],
    logarithmic: bool,
) -> None:
    """Draw bars in groups of pairs, one colour and hatch for each method."""
    if logarithmic:  # the content's own is none but for rounding and would stretch the axis
        bars = {k: i for k, i in bars.items() if i.mean > 0 and k[1] != "content"}
    width = 0.85 / len(used)
    for (case, method), interval in bars.items():
        number = used.index(method)
        x = cases.index(case) + (number - (len(used) - 1) / 2) * width
        look = list(methods).index(method)
        colour = plots.COLOURS[look % len(plots.COLOURS)]
        style = {"color": colour, "hatch": plots.HATCHES[look % len(plots.HATCHES)]}
        style |= {"edgecolor": "white", "linewidth": 0, "ecolor": plots.GREY, "capsize": 1.5}
        errors = plots.half_widths([interval])
        axes.bar([x], [interval.mean], width, yerr=errors, label=methods[method], **style)
    if logarithmic and bars:
        means = [interval.mean for interval in bars.values()]
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(min(means) / 3, max(means) * 3)
    elif bars:
        means, highs = [i.mean for i in bars.values()], [i.high for i in bars.values()]
        axes.set_ylim(0, min(1.05 * max(highs), 1.6 * max(means)) or 1)  # few seeds: wide intervals
    axes.set_xticks(range(len(cases)), [case.replace("_", " → ") for case in cases])
    axes.set_xlim(-0.5, len(cases) - 0.5)
    axes.grid(axis="x", visible=False)


def cross_term(metrics: Metrics) -> Plot | None:
    """Draw the parts of the Gram matrix and of the style loss by layer.

    Parameters
    ----------
    metrics : mapping
        As `inversion_errors` takes them.
    """
    sizes = absolute(metrics.get("cross_term", {}))
    parts = {
        part: {label: by_depth(sizes, f"{key}_depth", "") for key, label in keys.items()}
        for part, keys in PARTS.items()
    }
    parts = {
        part: {label: curve for label, curve in curves.items() if curve}
        for part, curves in parts.items()
        if any(curves.values())
    }
    if not parts:
        return None
    labels = {
        "gram": "norm, as a share of the Gram matrix's",
        "loss": "cross term of the loss,\nas a share of the larger change",
    }
    figure, (panels,) = plots.canvas(9, 3.9, columns=len(parts))
    for axes, (part, curves) in zip(panels, parts.items(), strict=True):
        for index, (label, curve) in enumerate(curves.items()):
            intervals = list(curve.values())
            if part == "loss":
                intervals = [visible(interval) for interval in intervals]
            plots.curve(axes, list(curve), intervals, index, label)
        whole_ticks(axes, [depth for curve in curves.values() for depth in curve])
        axes.set(xlabel="layer, from the input", ylabel=labels[part])
        if part == "loss":
            axes.set_yscale("log", nonpositive="clip")
            means = [max(i.mean, SMALLEST) for curve in curves.values() for i in curve.values()]
            axes.set_ylim(min(means) / 5, max(means) * 5)
        else:
            axes.set_ylim(0, None)
        axes.legend(fontsize=8)
    text = "; ".join(
        f"{label}: {listed(curve, 'layer {}')}"
        for curves in parts.values()
        for label, curve in curves.items()
    )
    return Plot(
        "cross_term",
        "The cross term of sky and building",
        "Left: norms of the parts of the content's Gram matrix, by the masks at each layer, which "
        "are averaged at every convolution. "
        "Right: what sky and building change in the style loss together and not each alone, "
        f"without masks and with them (drawn at {SMALLEST:g} where it is less). "
        f"{SEEDS.capitalize()}. {text}.",
        "Curves against the layer, a panel for the parts of a loss and one for kinds of masks.",
        figure,
    )


def absolute(metrics: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Take the absolute values: a cross term may have either sign."""
    return {key: [abs(value) for value in values] for key, values in metrics.items()}


def visible(interval: Interval) -> Interval:
    """Move what vanishes to the smallest number of a logarithmic axis.

    Examples
    --------
    >>> visible(stats.mean([0.0])).mean == SMALLEST
    True
    """
    return interval if interval.mean > SMALLEST else stats.mean([SMALLEST])
