"""Figures of test errors as bars: transformers in parallel, and deformable convolution."""

from typing import Any

from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval
from pr12.stn.figures import errors as figures_of_errors
from pr12.stn.figures import values
from pr12.stn.figures.values import SEEDS, Metrics, Numbers

ADDED = ("fcn", "cnn", "st_fcn_affine", "st_fcn_projective", "st_fcn_tps")
DEFORMED = ("cnn", "deformable", "st_cnn_affine", "st_cnn_projective", "st_cnn_tps")
LOCAL = ("R", "RTS", "E")  # distortions that the deformable net sees
COLOURS = [plots.COLOURS[i] for i in (0, 1, 2, 4, 6)]  # bars: intervals are black


def addition(metrics: Metrics, paper: Numbers, run: str) -> Plot | None:
    """Draw the errors on the sum of two digits: no, one and two parallel transformers.

    Parameters
    ----------
    metrics, paper, run
        As `figures_of_errors.table` takes them.
    """
    two = [f"{case}_2" for case in ADDED if case.startswith("st_")]
    errors = values.errors(metrics, [*ADDED, *two], "addition")
    if not errors:
        return None
    groups = [case for case in ADDED if case in errors or f"{case}_2" in errors]
    figure, ((axes,),) = plots.canvas(8, 3.9)
    key, stars = values.error_key("addition"), []
    for case, interval in errors.items():
        pair = case.endswith("_2")
        alone = not case.startswith("st_")
        x = groups.index(case.removesuffix("_2")) + (0 if alone else 0.2 if pair else -0.2)
        number = 0 if alone else 2 if pair else 1
        label = ("no transformer", "one transformer", "two transformers in parallel")[number]
        bar(axes, x, interval, number, label, 0.4)
        if key in paper.get(case, {}):
            stars.append((x + 0.12, paper[case][key]))  # beside the interval
    if stars:
        figures_of_errors.star(axes, *zip(*stars, strict=True))
    axes.set_xticks(range(len(groups)), [values.net(case) for case in groups])
    finish(figure, axes, "test error (%)")
    gains = []
    for case in groups:
        if case in errors and f"{case}_2" in errors:
            both = (errors[case].mean, errors[f"{case}_2"].mean)
            gains.append(f"{values.net(case)} {' to '.join(map(percent, both))}")
    summary = values.summary({values.net(case): interval for case, interval in errors.items()})
    less = f"From one transformer to two: {', '.join(gains)}. " if gains else ""
    return Plot(
        "addition",
        "The sum of two digits: one and two transformers",
        f"Each channel holds a digit moved by itself; the answer is their sum. Test errors in "
        f"percent, {SEEDS}. {values.of_paper(run) if stars else ''}{less}All: {summary}.",
        "Bars of test errors with intervals, one a net.",
        figure,
    )


def percent(value: float) -> str:
    """Write a percentage with one digit behind the point."""
    return stats.number(round(value, 1))


def bar(axes: Any, x: float, interval: Interval, number: int, label: str, width: float) -> None:
    """Draw a bar with its interval, in the colour and hatch of series `number`."""
    style = {"color": COLOURS[number], "hatch": plots.HATCHES[number]}
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
        As `figures_of_errors.table` takes them.
    """
    errors = {d: values.errors(metrics, DEFORMED, d) for d in LOCAL}
    errors = {d: intervals for d, intervals in errors.items() if "deformable" in intervals}
    if not errors:
        return None
    shown = [case for case in DEFORMED if any(case in intervals for intervals in errors.values())]
    figure, ((axes,),) = plots.canvas(8, 3.8)
    width = 0.8 / len(shown)
    for place, intervals in enumerate(errors.values()):
        for case, interval in intervals.items():
            number = shown.index(case)
            x = place + (number - (len(shown) - 1) / 2) * width
            bar(axes, x, interval, number, values.net(case), width)
    titles = [f"{d}: {values.DISTORTIONS[d]}" for d in errors]
    axes.set_xticks(range(len(errors)), titles)
    finish(figure, axes, "test error (%)")
    summary = "; ".join(
        f"{d}: {values.summary({values.net(case): i for case, i in intervals.items()})}"
        for d, intervals in errors.items()
    )
    return Plot(
        "deformable",
        "Deformable convolution against spatial transformers",
        "The deformable CNN has a deformable second convolution, whose taps move by offsets "
        "predicted at each place; the ST-CNN moves the whole image by one transformation. "
        f"{values.sizes(metrics, shown, errors)}{cost(metrics)}Test errors in percent, {SEEDS}. "
        f"{summary}.",
        "Groups of bars of test errors with intervals, a group a distortion and a bar a net.",
        figure,
    )


def cost(metrics: Metrics) -> str:
    """Say what one deformable convolution costs against one transformer, if it was counted.

    Examples
    --------
    >>> cost({"cost": {"deformable/times_predicted": [50.0]}})
    'Against one transformer, one deformable convolution predicts 50 times as many parameters. '
    """
    sentences = {
        "deformable/times_predicted": "predicts {} times as many parameters",
        "deformable/times_sampling_multiply_adds": "samples with {} times the multiply-adds",
    }
    intervals = {key: values.measured(metrics, "cost", key) for key in sentences}
    parts = [sentences[key].format(values.written(i)) for key, i in intervals.items() if i]
    one = "Against one transformer, one deformable convolution"
    return f"{one} {' and '.join(parts)}. " if parts else ""
