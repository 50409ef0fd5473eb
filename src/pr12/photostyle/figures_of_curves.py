"""Curves and bars: errors of inversion, of textures, of styles, of photo style, and cross terms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pr12.photostyle import figures_of_photographs as sheets
from pr12.photostyle.figures_of_photographs import NETS, Pictures
from pr12.shared import plots, stats
from pr12.shared.plots import Plot
from pr12.shared.stats import Interval

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed

SEEDS = "mean over seeds and its 95 % t-interval"
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


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def by_depth(own: Mapping[str, Sequence[float]], before: str, after: str) -> dict[int, Interval]:
    """Give the metrics whose keys differ in a number, by it.

    Examples
    --------
    >>> list(by_depth({"depth2/error": [1.0], "depth1/error": [2.0]}, "depth", "/error"))
    [1, 2]
    """
    matches = (re.fullmatch(f"{re.escape(before)}([0-9]+){re.escape(after)}", key) for key in own)
    found = {int(match[1]): stats.mean(own[match[0]]) for match in matches if match}
    return dict(sorted(found.items()))


def told(found: Mapping[Any, Interval], of: str = "{}") -> str:
    """List intervals by what they are of.

    Examples
    --------
    >>> told({1: stats.mean([0.5]), 2: stats.mean([2])}, "layer {}")
    'layer 1 0.5, layer 2 2'
    """
    return ", ".join(f"{of.format(key)} {written(interval)}" for key, interval in found.items())


def whole_ticks(axes: Any, values: Sequence[int]) -> None:
    """Put ticks at whole numbers."""
    axes.set_xticks(sorted(set(values)))


def inversion_errors(metrics: Metrics, net: str) -> Plot | None:
    """Draw the errors of inversions by layer, of features and of pixels.

    Parameters
    ----------
    metrics : mapping
        Case -> metric key -> one value per seed.
    net : str
        Of `figures_of_photographs.NETS`.
    """
    own = metrics.get(f"{net}inversion", {})
    kinds = {"image": "pixels", "features": "features"}
    found = {kind: by_depth(own, f"{kind}/error_depth", "") for kind in kinds}
    found = {kind: curve for kind, curve in found.items() if curve}
    if not found:
        return None
    figure, (panels,) = plots.canvas(8, 3.4, columns=len(found))
    for index, (axes, (kind, curve)) in enumerate(zip(panels, found.items(), strict=True)):
        plots.curve(axes, list(curve), list(curve.values()), index, kinds[kind])
        whole_ticks(axes, list(curve))
        plots.from_zero(axes)
        axes.set(xlabel="layer, from the input", ylabel=f"relative squared error of {kinds[kind]}")
    said = "; ".join(f"{kinds[kind]}: {told(c, 'layer {}')}" for kind, c in found.items())
    return Plot(
        sheets.named("inversion_errors", net),
        f"Errors of inversion by layer{NETS[net]}",
        f"Relative squared errors, of photographs and {SEEDS}; an error of 1 is that of no answer "
        f"at all. {said}.",
        f"Curves of errors by layer. {said}.",
        figure,
    )


def texture_errors(metrics: Metrics, net: str) -> Plot | None:
    """Draw the distance of textures from their sources by the number of layers.

    Parameters
    ----------
    metrics, net
        As `inversion_errors` takes them.
    """
    kinds = {"texture_distance": "texture distance", "periodicity_error": "periodicity error"}
    cases = {t: metrics.get(f"{net}texture_{t}", {}) for t in sheets.TEXTURES}
    found = {
        (kind, texture): by_depth(own, "depth", f"/{kind}")
        for kind in kinds
        for texture, own in cases.items()
    }
    found = {key: curve for key, curve in found.items() if curve}
    if not found:
        return None
    shown = [kind for kind in kinds if any(kind == key[0] for key in found)]
    figure, (panels,) = plots.canvas(8, 3.8, columns=len(shown))
    said = []
    for (kind, texture), curve in found.items():
        axes, index = panels[shown.index(kind)], sheets.TEXTURES.index(texture)
        plots.curve(axes, list(curve), list(curve.values()), index, texture)
        noise = cases[texture].get(f"noise/{kind}")
        text = told(curve, "layers {}")
        if noise:
            level = stats.mean(noise)
            look = plots.look(index)
            axes.axhline(level.mean, color=look["color"], linestyle=":", linewidth=1)
            text += f", noise {written(level)}"
        said.append(f"{kinds[kind]} of {texture}: {text}")
    for axes, kind in zip(panels, shown, strict=True):
        whole_ticks(axes, [depth for key, c in found.items() if key[0] == kind for depth in c])
        plots.from_zero(axes)
        axes.set(xlabel="number of layers", ylabel=kinds[kind])
    plots.legend(figure, "lower center")
    return Plot(
        sheets.named("texture_errors", net),
        f"Textures against their sources{NETS[net]}",
        "Distances that nothing optimised, by the number of layers whose Gram matrices count; "
        f"dotted in the same colour: the noise that images start from. {SEEDS.capitalize()}. "
        f"{'; '.join(said)}.",
        f"Curves by the number of layers. {'; '.join(said)}.",
        figure,
    )


def style_distances(metrics: Metrics, net: str) -> Plot | None:
    """Draw the distance from the style against that from the content.

    Parameters
    ----------
    metrics, net
        As `inversion_errors` takes them.
    """
    names = {
        "style_ratios": "from noise, by alpha / beta",
        "style_content_start": "from the content",
        "style_depths": "by the number of style layers",
    }
    points: dict[str, list[tuple[str, Interval, Interval]]] = {}
    for case, label in names.items():
        own = metrics.get(f"{net}{case}", {})
        ends = "content_distance", "style_distance"
        labels = [key.removesuffix("/style_distance") for key in own]
        for name, setting in sheets.settings(dict.fromkeys(labels)).items():
            if all(f"{name}/{end}" in own for end in ends):
                pair = (stats.mean(own[f"{name}/{end}"]) for end in ends)
                layers = case == "style_depths"
                said = sheets.layers(setting.layers) if layers else f"{setting.ratio:g}"
                points.setdefault(label, []).append((said, *pair))
    if not points:
        return None
    figure, ((axes,),) = plots.canvas(8, 4.6)
    positive = True
    for index, (label, found) in enumerate(points.items()):
        x, y = [c.mean for _, c, _ in found], [s.mean for _, _, s in found]
        positive = positive and min([*x, *y]) > 0
        axes.plot(x, y, label=label, **plots.look(index))
        ends = {found[0][0], found[-1][0]}
        for (said, *_), place in zip(found, zip(x, y, strict=True), strict=True):
            if index == 2 and said not in ends:  # numbers of layers lie close together
                continue
            away = ((6, 5), (6, -11), (-6, 8))[index]  # points of several series may meet
            offset = {"xytext": away, "textcoords": "offset points", "fontsize": 8}
            axes.annotate(said, place, **offset, color=plots.look(index)["color"])
    if positive:
        axes.set(xscale="log", yscale="log")
    axes.margins(0.12)
    axes.set(xlabel="content distance", ylabel="style distance")
    figure.legend(loc="outside lower center", ncols=len(points))
    said = "; ".join(
        f"{label}: {', '.join(f'{n}: {written(c)} and {written(s)}' for n, c, s in found)}"
        for label, found in points.items()
    )
    return Plot(
        sheets.named("style_distances", net),
        f"Content against style{NETS[net]}",
        "Distance of the results from the content (relative error of features) and from the style "
        f"(loss of all style layers); {SEEDS}. The settings: {said}.",
        f"Points of content distance and style distance. {said}.",
        figure,
    )


def lambda_strip(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw the results for each lambda, and below them what it does to two measures.

    Parameters
    ----------
    metrics, pictures : mapping
        Of all cases.
    """
    cells = sheets.lambda_cells(pictures)
    own = metrics.get("lambda_sweep", {})
    names = {key.partition("/")[0]: None for key in own}
    kinds = {"matting_energy": "matting energy", "content_distance": "content distance"}
    found = {}
    for kind, label in kinds.items():
        values = {v: own.get(f"{name}/{kind}") for v, name in sheets.lambdas(names).items()}
        intervals = {v: stats.mean(each) for v, each in values.items() if each and v > 0}
        found |= {label: intervals} if intervals else {}
    if not cells and not found:
        return None
    figure, panels = lambda_axes(cells, len(found))
    for index, (axes, (label, curve)) in enumerate(zip(panels, found.items(), strict=True)):
        plots.curve(axes, list(curve), list(curve.values()), index, label)
        if label == "matting energy" and min(own.mean for own in curve.values()) > 0:
            axes.set_yscale("log")  # over several powers of ten; distances are not
        if len(curve) > 1:
            plots.log_ticks(axes, list(curve), room=0.1)
            axes.set_xticks(list(curve), [f"{value:g}" for value in curve])
        axes.set(xlabel="lambda", ylabel=label)
    said = "; ".join(f"{label}: {told_lambdas(curve)}" for label, curve in found.items())
    shown = ", ".join(cell.title for cell in cells)
    return Plot(
        "lambda_strip",
        "The weight of the photorealism",
        "Lambda weights the matting Laplacian's energy against the style (Luan et al. 2017). "
        + (f"{sheets.FIRST} " if cells else "")
        + (f"Curves: {SEEDS}. {said}." if found else ""),
        f"{f'Photographs: {shown}. ' if cells else ''}{f'Curves: {said}.' if found else ''}",
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


def told_lambdas(curve: Mapping[float, Interval]) -> str:
    """List intervals by their lambda."""
    return told({f"{value:g}": interval for value, interval in curve.items()}, "at {}")


def measures(metrics: Metrics, net: str) -> Plot | None:
    """Draw the measures of photo style by method, for all pairs.

    Parameters
    ----------
    metrics, net
        As `inversion_errors` takes them.
    """
    cases = [case for pairs in sheets.PAIRS.values() for case in pairs]
    methods = {"content": "content itself"} | sheets.METHODS
    found: dict[tuple[str, str, str], Interval] = {}
    for case in cases:
        own = metrics.get(f"{net}{case}", {})
        for kind in MEASURES:
            for method in methods:
                if f"{method}/{kind}" in own:
                    found[kind, case, method] = stats.mean(own[f"{method}/{kind}"])
    if not found:
        return None
    cases = [case for case in cases if any(case == key[1] for key in found)]
    used = [method for method in methods if any(method == key[2] for key in found)]
    kinds = [kind for kind in MEASURES if any(kind == key[0] for key in found)]
    figure, panels = plots.canvas(9.5, 2.3 * len(kinds) + 0.8, rows=len(kinds))
    for kind, (axes,) in zip(kinds, panels, strict=True):
        bars = {key[1:]: interval for key, interval in found.items() if key[0] == kind}
        draw_bars(axes, bars, cases, used, methods, kind == "matting_energy")
        axes.set_ylabel(MEASURES[kind])
    handles = {}
    for (axes,) in panels:
        pairs = zip(*axes.get_legend_handles_labels(), strict=True)
        handles |= {label: handle for handle, label in pairs}
    labels = [methods[method] for method in used if methods[method] in handles]
    handles = [handles[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    said = "; ".join(
        f"{case.replace('_', ' ')}: {told({methods[m]: i for m, i in own.items()})}"
        for case in cases
        if (own := {m: i for (k, c, m), i in found.items() if (k, c) == (kinds[0], case)})
    )
    first = MEASURES[kinds[0]].replace("\n", " ")
    return Plot(
        sheets.named("measures", net),
        f"Photo style measured{NETS[net]}",
        "Matting energy (photorealism, logarithmic, less is better; that of the content itself is "
        "nearly none), colour distance to the style by class (less is better) and edge similarity "
        f"to the content (more is better), {SEEDS}. {first}: {said}.",
        f"Bars by pair and method. {first}: {said}.",
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
    own = metrics.get("cross_term", {})
    found = {
        part: {label: by_depth(absolute(own), f"{key}_depth", "") for key, label in keys.items()}
        for part, keys in PARTS.items()
    }
    found = {
        part: {label: curve for label, curve in curves.items() if curve}
        for part, curves in found.items()
        if any(curves.values())
    }
    if not found:
        return None
    labels = {
        "gram": "norm, as a share of the Gram matrix's",
        "loss": "cross term of the loss,\nas a share of the larger change",
    }
    figure, (panels,) = plots.canvas(9, 3.9, columns=len(found))
    for axes, (part, curves) in zip(panels, found.items(), strict=True):
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
    said = "; ".join(
        f"{label}: {told(curve, 'layer {}')}"
        for curves in found.values()
        for label, curve in curves.items()
    )
    return Plot(
        "cross_term",
        "The cross term of sky and building",
        "Left: norms of the parts of the content's Gram matrix, masks resized to each layer. "
        "Right: what sky and building change in the style loss together and not each alone, "
        f"without masks and with them (drawn at {SMALLEST:g} where it is less). "
        f"{SEEDS.capitalize()}. {said}.",
        f"Curves by layer. {said}.",
        figure,
    )


def absolute(own: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Take the absolute values: a cross term may have either sign."""
    return {key: [abs(value) for value in values] for key, values in own.items()}


def visible(interval: Interval) -> Interval:
    """Move what vanishes to the smallest number of a logarithmic axis.

    Examples
    --------
    >>> visible(stats.mean([0.0])).mean == SMALLEST
    True
    """
    return interval if interval.mean > SMALLEST else stats.mean([SMALLEST])
