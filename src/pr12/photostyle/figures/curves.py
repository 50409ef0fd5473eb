"""Curves: errors of inversion and of textures, and content against style."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.ticker import NullFormatter

from pr12.photostyle.figures import photographs, sheets
from pr12.photostyle.figures.sheets import NETS
from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed

SEEDS = "mean over seeds and its 95 % t-interval"


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def by_depth(
    metrics: Mapping[str, Sequence[float]], before: str, after: str
) -> dict[int, Interval]:
    """Return the metrics whose keys differ in a number, by it.

    Examples
    --------
    >>> list(by_depth({"depth2/error": [1.0], "depth1/error": [2.0]}, "depth", "/error"))
    [1, 2]
    """
    matches = (
        re.fullmatch(f"{re.escape(before)}([0-9]+){re.escape(after)}", key) for key in metrics
    )
    intervals = {int(match[1]): stats.mean(metrics[match[0]]) for match in matches if match}
    return dict(sorted(intervals.items()))


def listed(intervals: Mapping[Any, Interval], of: str = "{}") -> str:
    """List intervals by what they are of.

    Examples
    --------
    >>> listed({1: stats.mean([0.5]), 2: stats.mean([2])}, "layer {}")
    'layer 1 0.5, layer 2 2'
    """
    return ", ".join(f"{of.format(key)} {written(interval)}" for key, interval in intervals.items())


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
    case = metrics.get(f"{net}inversion", {})
    kinds = {"image": "pixels", "features": "features"}
    curves = {kind: by_depth(case, f"{kind}/error_depth", "") for kind in kinds}
    curves = {kind: curve for kind, curve in curves.items() if curve}
    if not curves:
        return None
    figure, (panels,) = plots.canvas(8, 3.4, columns=len(curves))
    for index, (axes, (kind, curve)) in enumerate(zip(panels, curves.items(), strict=True)):
        plots.curve(axes, list(curve), list(curve.values()), index, kinds[kind])
        whole_ticks(axes, list(curve))
        plots.from_zero(axes)
        axes.set(xlabel="layer, from the input", ylabel=f"relative squared error of {kinds[kind]}")
    text = "; ".join(f"{kinds[kind]}: {listed(c, 'layer {}')}" for kind, c in curves.items())
    return Plot(
        sheets.named("inversion_errors", net),
        f"Errors of inversion by layer{NETS[net]}",
        f"Relative squared errors, means over photographs; {SEEDS}. An error of features of 1 is "
        f"that of no answer at all. {text}.",
        "Curves of errors against the layer, with intervals.",
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
    cases = {t: metrics.get(f"{net}texture_{t}", {}) for t in photographs.TEXTURES}
    curves = {
        (kind, texture): by_depth(metrics_of, "depth", f"/{kind}")
        for kind in kinds
        for texture, metrics_of in cases.items()
    }
    curves = {key: curve for key, curve in curves.items() if curve}
    if not curves:
        return None
    shown = [kind for kind in kinds if any(kind == key[0] for key in curves)]
    figure, (panels,) = plots.canvas(8, 3.8, columns=len(shown))
    texts = []
    for (kind, texture), curve in curves.items():
        axes, index = panels[shown.index(kind)], photographs.TEXTURES.index(texture)
        plots.curve(axes, list(curve), list(curve.values()), index, texture)
        noise = cases[texture].get(f"noise/{kind}")
        text = listed(curve, "layers {}")
        if noise:
            level = stats.mean(noise)
            look = plots.look(index)
            axes.axhline(level.mean, color=look["color"], linestyle=":", linewidth=1)
            text += f", noise {written(level)}"
        texts.append(f"{kinds[kind]} of {texture}: {text}")
    for axes, kind in zip(panels, shown, strict=True):
        whole_ticks(axes, [depth for key, c in curves.items() if key[0] == kind for depth in c])
        plots.from_zero(axes)
        axes.set(xlabel="number of layers", ylabel=kinds[kind])
    plots.legend(figure, "lower center")
    return Plot(
        sheets.named("texture_errors", net),
        f"Textures against their sources{NETS[net]}",
        "Distances that nothing optimised, by the number of layers whose Gram matrices count; "
        f"dotted in the same colour: the noise that images start from. {SEEDS.capitalize()}. "
        f"{'; '.join(texts)}.",
        "Curves against the number of layers, a line a texture, each with its level for noise.",
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
        case_metrics = metrics.get(f"{net}{case}", {})
        ends = "content_distance", "style_distance"
        labels = [key.removesuffix("/style_distance") for key in case_metrics]
        for name, setting in photographs.settings(dict.fromkeys(labels)).items():
            if all(f"{name}/{end}" in case_metrics for end in ends):
                pair = (stats.mean(case_metrics[f"{name}/{end}"]) for end in ends)
                layers = case == "style_depths"
                text = sheets.layers(setting.layers) if layers else f"{setting.ratio:g}"
                points.setdefault(label, []).append((text, *pair))
    if not points:
        return None
    figure, ((axes,),) = plots.canvas(8, 4.6)
    positive = True
    for index, (label, series) in enumerate(points.items()):
        x, y = [c.mean for _, c, _ in series], [s.mean for _, _, s in series]
        positive = positive and min([*x, *y]) > 0
        axes.plot(x, y, label=label, **plots.look(index))
        ends = {series[0][0], series[-1][0]}
        for (text, *_), place in zip(series, zip(x, y, strict=True), strict=True):
            if index == 2 and text not in ends:  # numbers of layers lie close together
                continue
            away = ((6, 5), (6, -11), (-7, -4))[index]  # points of several series may meet
            offset = {"xytext": away, "textcoords": "offset points", "fontsize": 8}
            offset["ha"] = "right" if index == 2 else "left"
            axes.annotate(text, place, **offset, color=plots.look(index)["color"])
    if positive:
        axes.set(xscale="log", yscale="log")
        if axes.get_xlim()[1] > 10 * axes.get_xlim()[0]:
            axes.xaxis.set_minor_formatter(NullFormatter())  # numbers between powers would touch
    axes.margins(0.12)
    axes.set(xlabel="content distance", ylabel="style distance")
    figure.legend(loc="outside lower center", ncols=len(points))
    text = "; ".join(
        f"{label}: {', '.join(f'{n}: {written(c)} and {written(s)}' for n, c, s in series)}"
        for label, series in points.items()
    )
    return Plot(
        sheets.named("style_distances", net),
        f"Content against style{NETS[net]}",
        "Distance of the results from the content (relative error of features) and from the style "
        f"(loss of all style layers); {SEEDS}. The settings: {text}.",
        "Points joined by lines: distance to the style against distance to the content.",
        figure,
    )
