"""Figures of accuracy against known movements: what nets without transformers lack."""

import math
import re
from collections.abc import Mapping

from matplotlib.figure import Figure

from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval
from pr12.stn.figures import values
from pr12.stn.figures.values import SEEDS, Metrics

AXES = {"rotation": "rotation (degrees)", "scale": "scale", "shift": "shift (pixels)"}
UNMOVED = {"rotation": 0.0, "scale": 1.0, "shift": 0.0}
UNITS = {"rotation": "°", "scale": "", "shift": " pixels"}
NETS = {  # of the nets that saw one distortion: case -> name
    "U": {
        "fcn": "FCN",
        "cnn": "CNN, max pooling",
        "cnn_average": "CNN, average pooling",
        "st_cnn_affine": "ST-CNN Aff",
    },
    "RTS": {
        "fcn": "FCN",
        "cnn": "CNN, max pooling",
        "st_fcn_affine": "ST-FCN Aff",
        "st_cnn_affine": "ST-CNN Aff",
    },
}
SEEN = {  # by the nets in training, Sec. 4.1; shifts of a digit that is not scaled
    "U": {},
    "RTS": {"rotation": (-45, 45), "scale": (0.7, 1.2), "shift": (0, 7)},
}

Curve = Mapping[float, Interval]  # amount -> accuracy in percent


def curve(metrics: Metrics, case: str, axis: str, distortion: str) -> dict[float, Interval]:
    """Return a net's accuracy by the amount of one movement, least first.

    Parameters
    ----------
    metrics : mapping
        Case -> metric key -> one value per seed.
    case : str
        The net's.
    axis : str
        ``rotation``, ``scale`` or ``shift``.
    distortion : str
        That it saw in training.

    Examples
    --------
    >>> accuracies = {"shift/accuracy_U_0_percent": [90.0], "shift/accuracy_U_2.5_percent": [80.0]}
    >>> {amount: i.mean for amount, i in curve({"cnn": accuracies}, "cnn", "shift", "U").items()}
    {0.0: 90.0, 2.5: 80.0}
    """
    pattern = rf"{axis}/accuracy_{distortion}_(-?[\d.]+)_percent"
    accuracies = metrics.get(case, {})
    intervals = {
        float(m[1]): stats.mean(accuracies[key])
        for key in accuracies
        if (m := re.fullmatch(pattern, key))
    }
    return dict(sorted(intervals.items()))


def distance(axis: str, amount: float) -> float:
    """Return how far an amount is from none; of scales, half is as far as twice.

    Examples
    --------
    >>> distance("rotation", -30.0), distance("scale", 2.0) == distance("scale", 0.5)
    (30.0, True)
    """
    return abs(math.log(amount)) if axis == "scale" else abs(amount - UNMOVED[axis])


def middle(axis: str, amounts: list[float]) -> float:
    """Return the amount in the middle of those that move something, by distance.

    Examples
    --------
    >>> middle("rotation", [0, 30, 60, 90]), middle("scale", [0.5, 1.0, 1.5, 4.0])
    (60, 0.5)
    """
    moving = [amount for amount in amounts if distance(axis, amount)] or amounts
    ranked = sorted(moving, key=lambda amount: (distance(axis, amount), amount))
    return ranked[len(ranked) // 2]


def summary(axis: str, curves: Mapping[str, Curve]) -> str:
    """Write the accuracies at the middle amount of a movement.

    Examples
    --------
    >>> summary("shift", {"CNN": {0.0: stats.mean([90.0]), 2.0: stats.mean([80.0])}})
    'shift 2 pixels: CNN 80'
    """
    amount = middle(axis, list(next(iter(curves.values()))))
    listed = values.summary({name: curve.get(amount) for name, curve in curves.items()})
    return f"{axis} {stats.number(amount)}{UNITS[axis]}: {listed}"


def invariance(metrics: Metrics, distortion: str) -> Plot | None:
    """Draw accuracy against rotation, scale and shift, of nets that saw one distortion.

    Parameters
    ----------
    metrics : mapping
        Case -> metric key -> one value per seed.
    distortion : str
        ``U``, upright digits, or ``RTS``.
    """
    curves = {
        axis: {case: curve(metrics, case, axis, distortion) for case in NETS[distortion]}
        for axis in AXES
    }
    curves = {
        axis: {c: points for c, points in nets.items() if points} for axis, nets in curves.items()
    }
    curves = {axis: nets for axis, nets in curves.items() if nets}
    if not curves:
        return None
    figure, (panels,) = plots.canvas(1 + 3 * len(curves), 3.8, columns=len(curves))
    texts, unmoved = [], ""
    for axes, (axis, nets) in zip(panels, curves.items(), strict=True):
        for index, (case, name) in enumerate(NETS[distortion].items()):
            if case in nets:
                intervals = nets[case]
                plots.curve(axes, list(intervals), list(intervals.values()), index, name)
        if axis in SEEN[distortion]:
            seen = {"color": plots.GREY, "alpha": 0.12, "linewidth": 0, "zorder": 0}
            axes.axvspan(*SEEN[distortion][axis], label="seen in training", **seen)
        else:
            axes.axvline(UNMOVED[axis], color=plots.GREY, linestyle=":", label="seen in training")
        amounts = [amount for intervals in nets.values() for amount in intervals]
        room = 0.03 * (max(amounts) - min(amounts)) or 1
        axes.set_xlim(min(amounts) - room, max(amounts) + room)
        axes.set(xlabel=AXES[axis], ylim=(0, 102))
        axes.tick_params(labelleft=axes is panels[0])
        named = {NETS[distortion][case]: intervals for case, intervals in nets.items()}
        texts.append(summary(axis, named))
        at_rest = {name: intervals.get(UNMOVED[axis]) for name, intervals in named.items()}
        unmoved = unmoved or values.summary(at_rest)
    panels[0].set_ylabel("test accuracy (%)")
    legend(figure)
    listed = "; ".join([f"unmoved: {unmoved}"] * bool(unmoved) + texts)
    upright = distortion == "U"
    trained = "upright digits that never move" if upright else f"digits of {distortion}"
    return Plot(
        f"invariance_{distortion.lower()}",
        f"Accuracy on moved digits of nets that saw {'upright' if upright else 'moved'} digits",
        f"The nets learned from {trained}; each panel moves test digits in one way, a shift goes "
        f"right, down, left and up in turn. Grey: what was seen in training. Accuracy in "
        f"percent, {SEEDS}; {listed}.",
        f"A panel each for {', '.join(curves)}: curves of test accuracy, one a net, that fall.",
        figure,
    )


def legend(figure: Figure) -> None:
    """Draw one legend below all panels, in two rows if it is long."""
    handles = {}
    for axes in figure.axes:
        pairs = zip(*axes.get_legend_handles_labels(), strict=True)
        handles |= {label: handle for handle, label in pairs}
    last = "seen in training"
    names = [name for name in handles if name != last] + [last]
    listed = [handles[name] for name in names]
    figure.legend(listed, names, loc="outside lower center", ncols=min(len(names), 5))
