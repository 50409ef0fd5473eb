"""Figures of teachers and students: who makes how many errors, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from pr12.distill.figures.values import (
    SCALED,
    SEEDS,
    Metrics,
    Published,
    errors_label,
    measured,
    numbered,
    soft_students,
    written,
)
from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval

TEACHERS, HARD, SOFT, LOGITS = range(4)  # numbers of the series' looks
WIDTHS = (800, 300, 30)
SYSTEMS = (  # label, case, key, look; the soft students of each temperature follow hard_800
    ("teachers, ensemble", "teacher", "test/errors_ensemble", TEACHERS),
    ("teachers, single", "teacher", "test/errors_single", TEACHERS),
    ("hard labels", "hard_800", "test/errors", HARD),
    ("soft, T = 20, and hard labels", "soft_800_T20_hard", "test/errors", SOFT),
    ("soft, T = 20, arithmetic mean", "soft_800_T20_arithmetic", "test/errors", SOFT),
    ("logits", "logits_800", "test/errors", LOGITS),
    ("hard labels, one layer", "shallow_hard", "test/errors", HARD),
    ("logits, one layer", "shallow_logits", "test/errors", LOGITS),
    ("logits, one layer, bottleneck", "shallow_logits_bottleneck", "test/errors", LOGITS),
)
STAGES = {  # end of the metric key -> what was done to the output biases
    "": "as trained",
    "_bias_validation": "bias chosen on\nvalidation data",
    "_bias_test": "bias chosen on test\ndata, as in the paper",
}


def system_rows(metrics: Metrics) -> list[tuple[str, str, str, int]]:
    """List the systems that have results: label, case, metric key and look."""
    rows = [
        (f"soft, T = {t:g}", case, "test/errors", SOFT)
        for t, case in soft_students(metrics, WIDTHS[0]).items()
    ]
    rows = [*SYSTEMS[:3], *rows, *SYSTEMS[3:]]
    return [row for row in rows if measured(metrics, row[1], row[2])]


def dot_rows(axes: Any, labels: Sequence[str], rows: Sequence[Interval], looks: list[int]) -> None:
    """Draw one interval per row, top to bottom, its numbers to the right of the axes."""
    for y, (interval, look) in enumerate(zip(rows, looks, strict=True)):
        drawn = plots.look(look) | {"linestyle": "none"}
        axes.errorbar([interval.mean], [y], xerr=plots.half_widths([interval]), **drawn)
        axes.annotate(
            written(interval),
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    plots.from_zero(axes, "x")


def published_errors(published: Published, case: str, key: str = "test/errors") -> float | None:
    """Return the number that the paper printed for a metric, if it is known here."""
    return published.get(case, {}).get(key)


def mark_published(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """Draw published numbers as hollow stars."""
    if points:
        style = {"marker": "*", "s": 130, "facecolors": "white", "edgecolors": "black"}
        axes.scatter(*zip(*points, strict=True), label="published", zorder=3, **style)


def systems(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the test errors of all systems of MNIST's table (Hinton Sec. 3; Ba & Caruana)."""
    rows = system_rows(metrics)
    if not rows:
        return None
    intervals = [measured(metrics, case, key) for _, case, key, _ in rows]
    labels = [label for label, *_ in rows]
    figure, ((axes,),) = plots.canvas(8, 1.2 + 0.32 * len(rows))
    printed = [published_errors(published, case, key) for _, case, key, _ in rows]
    mark_published(axes, [(x, y) for y, x in enumerate(printed) if x is not None])
    dot_rows(axes, labels, intervals, [look for *_, look in rows])
    axes.set_xlabel(errors_label(metrics))
    stars = any(x is not None for x in printed)
    if stars:
        plots.legend(figure, "lower center")
    order = sorted(range(len(rows)), key=lambda i: intervals[i].mean)
    few, many = (f"{labels[i]} ({written(intervals[i])})" for i in (order[0], order[-1]))
    return Plot(
        "systems",
        "Test errors of teachers and students",
        f"Test errors by system: {SEEDS}, for single teachers over the members of the ensemble. "
        f"Students are nets 800-800 where no other number of layers is given. {SCALED} Fewest: "
        f"{few}; most: {many}." + (" Stars: the paper's numbers." if stars else ""),
        f"{len(rows)} rows, one a system, each a dot with its interval on an axis of test errors.",
        figure,
    )


def temperature_panel(axes: Any, metrics: Metrics, published: Published, width: int) -> str:
    """Draw errors against temperature for students of one width; say which T is best."""
    cases = soft_students(metrics, width)
    intervals = [measured(metrics, case) for case in cases.values()]
    hard = measured(metrics, f"hard_{width}")
    if hard:
        plots.level(axes, hard, HARD, "hard labels")
    plots.curve(axes, list(cases), intervals, SOFT, "soft labels at T")
    printed = [(t, published_errors(published, case)) for t, case in cases.items()]
    mark_published(axes, [(t, y) for t, y in printed if y is not None])
    printed_hard = published_errors(published, f"hard_{width}")
    if printed_hard is not None:
        grey = {"color": plots.GREY, "linestyle": ":"}
        axes.axhline(printed_hard, label="published, hard labels", **grey)
    plots.log_ticks(axes, list(cases))
    plots.from_zero(axes)
    axes.set_title(f"net {width}-{width}")
    axes.set_xlabel("temperature T")
    best = min(range(len(intervals)), key=lambda i: intervals[i].mean)
    text = f"{width}-{width}: {written(intervals[best])} at T = {list(cases)[best]:g}"
    return text + (f" against {written(hard)} with hard labels" if hard else "")


def temperature(metrics: Metrics, published: Published) -> Plot | None:
    """Draw test errors against temperature for three widths (Hinton Sec. 3)."""
    widths = [width for width in WIDTHS if soft_students(metrics, width)]
    if not widths:
        return None
    figure, (panels,) = plots.canvas(1.2 + 2.7 * len(widths), 3.8, columns=len(widths))
    pairs = zip(panels, widths, strict=True)
    best = [temperature_panel(axes, metrics, published, width) for axes, width in pairs]
    panels[0].set_ylabel(errors_label(metrics))
    plots.legend(figure, "lower center")
    listed = "; ".join(best)
    return Plot(
        "temperature",
        "Errors against temperature",
        f"Test errors of students of three widths, each with its own scale, {SEEDS}; the band is "
        f"that of the same net with hard labels. {SCALED} Fewest errors for {listed}.",
        "One panel per width of the net: dots with intervals joined by a line, test errors against "
        "temperature, and a band for hard labels.",
        figure,
    )


def ensemble_size(metrics: Metrics) -> Plot | None:
    """Draw errors against the number of teachers averaged (Hinton Sec. 2, either mean)."""
    values = metrics.get("teacher", {})
    keys = {
        mean: numbered(values, rf"test/errors_ensemble{suffix}_k(\d+)")
        for mean, suffix in (("arithmetic mean", ""), ("geometric mean", "_geometric"))
    }
    if not all(keys.values()):
        return None
    figure, ((axes,),) = plots.canvas(8, 4)
    ends = []
    for index, (mean, sizes) in enumerate(keys.items()):
        look, shift = plots.look(index), (index - 0.5) * 0.16  # side by side at each k
        means = [stats.mean(values[key]).mean for key in sizes.values()]
        axes.plot([k + shift for k in sizes], means, label=mean, **look)
        for k, key in sizes.items():
            style = {"s": 16, "facecolors": "none", "edgecolors": look["color"], "alpha": 0.7}
            axes.scatter(
                [k + shift] * len(values[key]), values[key], marker=look["marker"], **style
            )
        first, last = stats.number(means[0], 1.0), stats.number(means[-1], 1.0)
        ends.append(f"{first} alone and {last} for all {max(sizes):g} ({mean})")
    axes.set_xticks([*keys["arithmetic mean"]])
    axes.set_xlabel("nets in the ensemble")
    axes.set_ylabel(errors_label(metrics))
    axes.legend()
    plots.from_zero(axes)
    listed = "; ".join(ends)
    return Plot(
        "ensemble_size",
        "Errors against the size of the ensemble",
        "Test errors of ensembles of k teachers whose class probabilities are averaged: lines are "
        "means over ensembles, hollow marks single ensembles. Ensembles of one size share "
        f"members, so that no interval is given. Mean errors: {listed}.",
        "Two lines that fall, test errors against the number of nets averaged, amid hollow marks.",
        figure,
    )


def stage_bars(axes: Any, values: Mapping[str, Sequence[float]], keys: dict[str, str]) -> None:
    """Draw bars for every stage of the correction, side by side for each of some quantities."""
    wide = 0.8 / len(keys)
    for index, (label, key) in enumerate(keys.items()):
        stages = [i for i, suffix in enumerate(STAGES) if key + suffix in values]
        intervals = [stats.mean(values[key + list(STAGES)[i]]) for i in stages]
        x = [i + (index - (len(keys) - 1) / 2) * wide for i in stages]
        style = {"color": "white", "edgecolor": plots.look(index)["color"], "label": label}
        hatch = plots.HATCHES[index + 1]
        axes.bar(x, [i.mean for i in intervals], wide * 0.92, hatch=hatch, **style)
        bars = {"fmt": "none", "ecolor": "black"}
        axes.errorbar(x, [i.mean for i in intervals], yerr=plots.half_widths(intervals), **bars)
        for place, i in zip(x, intervals, strict=True):
            text = stats.number(i.mean, (i.high - i.low) / 2)
            style = {"ha": "center", "bbox": {"facecolor": "white", "linewidth": 0, "pad": 0.5}}
            axes.annotate(text, (place, i.high), (0, 4), textcoords="offset points", **style)
    axes.set_xticks(range(len(STAGES)), STAGES.values())
    axes.margins(y=0.1)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_formatter(lambda value, _: stats.number(value))
    axes.grid(axis="x", visible=False)


def missing_classes(metrics: Metrics, published: Published) -> Plot | None:
    """Draw what a bias corrects where classes were never seen (Hinton Sec. 3)."""
    titles = {"omit_3": "no 3 in the transfer set", "only_78": "only 7 and 8 in the transfer set"}
    cases = [case for case in titles if measured(metrics, case)]
    if not cases:
        return None
    figure, (panels,) = plots.canvas(10 if len(cases) == 2 else 5.4, 4.2, columns=len(cases))
    phrases, shifts, stars = [], [], []
    whole = measured(metrics, "soft_800_T20")
    for axes, case in zip(panels, cases, strict=True):
        keys = {"all test digits": "test/errors"}
        if case == "omit_3":
            keys["threes"] = "test/errors_class3"
        stage_bars(axes, metrics[case], keys)
        shown = published_stages(published.get(case, {}), metrics[case], keys)
        mark_published(axes, [(x, y) for x, y, _ in shown])
        axes.set_ylim(0, max([axes.get_ylim()[1], *(1.1 * y for _, y, _ in shown)]))
        stars += [f"{titles[case]}, {text}" for *_, text in shown]
        if whole:
            style = {"color": plots.GREY, "linestyle": "--"}
            axes.axhline(whole.mean, label="with all classes, as trained", **style)
        axes.set_title(titles[case])
        for label, key in keys.items():
            counts = {what: measured(metrics, case, key + s) for s, what in STAGES.items()}
            steps = ", ".join(f"{what} {written(i)}" for what, i in counts.items() if i)
            phrases.append(f"{titles[case]}, {label}: {steps}".replace("\n", " "))
        shift = measured(metrics, case, "validation/shift")
        shifts += [f"{titles[case]} {written(shift)}"] if shift else []
    panels[0].set_ylabel("test errors")
    plots.legend(figure, "lower center")
    return Plot(
        "missing_classes",
        "Classes missing from the transfer set",
        "Test errors of students that never saw some digits, before and after one shift of the "
        f"output biases of those concerned, {SEEDS}. Errors with {'; with '.join(phrases)}."
        + (f" Shift chosen on validation data, with {'; with '.join(shifts)}." if shifts else "")
        + (f" Stars: the paper's errors, with {'; with '.join(stars)}." if stars else ""),
        f"{len(cases)} panels of hatched bars with intervals, test errors before and after a bias "
        "is corrected, and a dashed line for all classes.",
        figure,
    )


def published_stages(
    printed: Mapping[str, float], values: Mapping[str, Sequence[float]], keys: Mapping[str, str]
) -> list[tuple[float, float, str]]:
    """Return place, number of errors and text of what the paper prints of each bar's quantity.

    Percentages become errors by what the case has of both.

    Examples
    --------
    >>> values = {"test/errors": [20.0], "test/error_percent": [2.0]}
    >>> keys = {"all test digits": "test/errors"}
    >>> published_stages({"test/errors": 206}, values, keys)
    [(0.24, 206, 'all test digits as trained 206')]
    >>> published_stages({"test/error_percent": 47.3}, values, keys)
    [(0.24, 473.0, 'all test digits as trained 47.3 %')]
    """
    wide, shown = 0.8 / len(keys), []
    for index, (label, key) in enumerate(keys.items()):
        for stage, (suffix, what) in enumerate(STAGES.items()):
            x = stage + (index - (len(keys) - 1) / 2 + 0.3) * wide  # beside the bar's number
            text = f"{label} {what}".replace("\n", " ")
            percent = f"{key.replace('errors', 'error')}{suffix}_percent"
            if key + suffix in printed:
                number = printed[key + suffix]
                shown.append((x, number, f"{text} {stats.number(number)}"))
            elif percent in printed and sum(values.get(percent, [])) > 0:
                digits = sum(values[key + suffix]) / sum(values[percent])
                number = printed[percent]
                shown.append((x, round(number * digits, 9), f"{text} {stats.number(number)} %"))
    return shown


def low_data(metrics: Metrics) -> Plot | None:
    """Draw soft targets as a regulariser (Hinton Sec. 6, Table 5)."""
    key = "test/error_percent"
    names = {
        "hard_800": ("hard labels, all data", HARD),
        "low_data_hard": ("hard labels, little data", HARD),
        "low_data_soft": ("soft labels, little data", SOFT),
    }
    rows = {case: measured(metrics, case, key) for case in names}
    if not rows["low_data_hard"] and not rows["low_data_soft"]:
        return None
    rows = {case: interval for case, interval in rows.items() if interval}
    labels, looks = zip(*(names[case] for case in rows), strict=True)
    figure, ((axes,),) = plots.canvas(8, 2.6)
    for y, case in enumerate(rows):
        style = {"marker": "|", "s": 60, "color": plots.GREY, "linewidths": 1}
        axes.scatter(metrics[case][key], [y + 0.25] * len(metrics[case][key]), **style)
    dot_rows(axes, labels, list(rows.values()), list(looks))
    axes.set_xlabel("test error in percent")
    pairs = zip(labels, rows.values(), strict=True)
    listed = ", ".join(f"{label} {written(i)} %" for label, i in pairs)
    return Plot(
        "low_data",
        "Soft labels where data are few",
        f"Test error with a small part of the training set, {SEEDS}; short strokes below are "
        f"single seeds. With hard labels and little data training stops early. Measured: {listed}.",
        f"{len(rows)} rows, each a dot with its interval on an axis of the error, and strokes.",
        figure,
    )
