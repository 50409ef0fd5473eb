"""Draw the figures of the report from the cases' metrics.

Whatever cases are there are drawn; a figure without any is left out. Every number in a caption is
computed. Widths are the names of the paper's nets; a run may scale them all (`width_scale`).
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from pr12.shared import files, plots, stats, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot
from pr12.shared.report import path_names
from pr12.shared.stats import Interval

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed

TEACHERS, HARD, SOFT, LOGITS = range(4)  # numbers of the series' looks
WIDTHS = (800, 300, 30)
SYSTEMS = (  # label, case, key, look; the soft students of each temperature follow hard_800
    ("teachers, ensemble", "teacher", "test/errors_ensemble", TEACHERS),
    ("teachers, single", "teacher", "test/errors_single", TEACHERS),
    ("hard labels", "hard_800", "test/errors", HARD),
    ("soft, T = 20, and hard labels", "soft_800_T20_hard", "test/errors", SOFT),
    ("soft, T = 20, arithmetic mean", "soft_800_T20_arithmetic", "test/errors", SOFT),
    ("logits", "logits_800", "test/errors", LOGITS),
    ("hard labels, one hidden layer", "shallow_hard", "test/errors", HARD),
    ("logits, one hidden layer", "shallow_logits", "test/errors", LOGITS),
    ("logits, one, bottleneck", "shallow_logits_bottleneck", "test/errors", LOGITS),
)
STAGES = {  # end of the metric key -> what was done to the output biases
    "": "as trained",
    "_bias_validation": "bias chosen on\nvalidation data",
    "_bias_test": "bias chosen on test\ndata, as in the paper",
}
GENERATORS = {"random": "RANDOM", "nbe": "NBE", "munge": "MUNGE"}  # Bucila et al., Sec. 3
REFERENCES = {"best_single": "best single model", "best_net": "best net", "ensemble": "ensemble"}
SEEDS = "mean over seeds and its 95 % t-interval"


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str  # published numbers are of MNIST and drawn in the full run only
    published: dict  # case -> metric key -> number
    student_cases: dict  # system in the case cost -> case whose errors are its errors


def measured(metrics: Metrics, case: str, key: str = "test/errors") -> Interval | None:
    """Give a metric's mean over seeds and interval, if the case has it.

    Examples
    --------
    >>> measured({"hard_30": {"test/errors": [4, 4]}}, "hard_30").mean
    4.0
    """
    values = metrics.get(case, {}).get(key)
    return stats.mean(values) if values else None


def numbered(metrics: Mapping[str, Any], pattern: str) -> dict[float, str]:
    """Find the names that match a pattern with one number, in the order of the numbers.

    Parameters
    ----------
    metrics : mapping
        Its keys are searched.
    pattern : str
        With one group, the number; in names of cases ``_`` is the decimal point.

    Examples
    --------
    >>> numbered({"soft_30_T20": {}, "soft_30_T2_5": {}}, r"soft_30_T(\\d+(?:_\\d+)?)")
    {2.5: 'soft_30_T2_5', 20.0: 'soft_30_T20'}
    """
    matches = ((re.fullmatch(pattern, name), name) for name in metrics)
    return dict(sorted((float(m[1].replace("_", ".")), name) for m, name in matches if m))


def soft_students(metrics: Metrics, width: int) -> dict[float, str]:
    """Give temperature -> case of the students of one width."""
    found = numbered(metrics, rf"soft_{width}_T(\d+(?:_\d+)?)")
    return {t: case for t, case in found.items() if measured(metrics, case)}


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def errors_label(metrics: Metrics) -> str:
    """Name an axis of errors, with the number of test examples where the metrics tell it.

    Examples
    --------
    >>> errors_label({"hard_30": {"test/errors": [0, 5], "test/error_percent": [0.0, 0.5]}})
    'test errors of 1\\u202f000'
    """
    for own in metrics.values():
        pairs = zip(own.get("test/errors", []), own.get("test/error_percent", []), strict=False)
        for count, percent in pairs:
            if percent > 0:
                return f"test errors of {stats.number(round(100 * count / percent))}"
    return "test errors"


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


def mark_published(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """Draw published numbers as hollow stars."""
    if points:
        style = {"marker": "*", "s": 130, "facecolors": "white", "edgecolors": "black"}
        axes.scatter(*zip(*points, strict=True), label="published", zorder=3, **style)


def systems(params: Params, metrics: Metrics) -> Plot | None:
    """Draw the test errors of all systems of MNIST's table (Hinton Sec. 3; Ba & Caruana)."""
    rows = system_rows(metrics)
    if not rows:
        return None
    intervals = [measured(metrics, case, key) for _, case, key, _ in rows]
    labels = [label for label, *_ in rows]
    figure, ((axes,),) = plots.canvas(8, 1.2 + 0.32 * len(rows))
    published = [
        (params.published[case][key], y)
        for y, (_, case, key, _) in enumerate(rows)
        if key in params.published.get(case, {})
    ]
    mark_published(axes, published)
    dot_rows(axes, labels, intervals, [look for *_, look in rows])
    axes.set_xlabel(errors_label(metrics))
    if published:
        axes.legend()
    order = sorted(range(len(rows)), key=lambda i: intervals[i].mean)
    few, many = (f"{labels[i]} ({written(intervals[i])})" for i in (order[0], order[-1]))
    return Plot(
        "systems",
        "Test errors of teachers and students",
        f"Test errors by system: {SEEDS}, for single teachers over the members of the ensemble. "
        f"Students have two hidden layers of 800 units where nothing else is said. Fewest: {few}; "
        f"most: {many}." + (" Stars: the paper's numbers." if published else ""),
        f"Dot plot of {len(rows)} systems, from {few} to {many} test errors.",
        figure,
    )


def temperature_panel(axes: Any, params: Params, metrics: Metrics, width: int) -> str:
    """Draw errors against temperature for students of one width; say which T is best."""
    cases = soft_students(metrics, width)
    intervals = [measured(metrics, case) for case in cases.values()]
    hard = measured(metrics, f"hard_{width}")
    if hard:
        plots.level(axes, hard, HARD, "hard labels")
    plots.curve(axes, list(cases), intervals, TEACHERS, "soft labels at T")
    published = {
        case: params.published[case]["test/errors"]
        for case in (*cases.values(), f"hard_{width}")
        if "test/errors" in params.published.get(case, {})
    }
    mark_published(axes, [(t, published[case]) for t, case in cases.items() if case in published])
    if f"hard_{width}" in published:
        grey = {"color": plots.GREY, "linestyle": ":"}
        axes.axhline(published[f"hard_{width}"], label="published, hard labels", **grey)
    plots.log_ticks(axes, list(cases))
    plots.from_zero(axes)
    axes.set_title(f"{width}-{width} units")
    axes.set_xlabel("temperature T")
    best = min(range(len(intervals)), key=lambda i: intervals[i].mean)
    text = f"{width}-{width}: {written(intervals[best])} at T = {list(cases)[best]:g}"
    return text + (f" against {written(hard)} with hard labels" if hard else "")


def temperature(params: Params, metrics: Metrics) -> Plot | None:
    """Draw test errors against temperature for three widths (Hinton Sec. 3)."""
    widths = [width for width in WIDTHS if soft_students(metrics, width)]
    if not widths:
        return None
    figure, (panels,) = plots.canvas(1.2 + 2.7 * len(widths), 3.8, columns=len(widths))
    pairs = zip(panels, widths, strict=True)
    best = [temperature_panel(axes, params, metrics, width) for axes, width in pairs]
    panels[0].set_ylabel(errors_label(metrics))
    named = {}
    for axes in panels:
        named |= {label: h for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))
    listed = "; ".join(best)
    return Plot(
        "temperature",
        "Errors against temperature",
        f"Test errors of students of three widths, each with its own scale, {SEEDS}; the band is "
        f"that of the same net with hard labels. Fewest errors for {listed}.",
        f"One panel per width, test errors against temperature. Fewest: {listed}.",
        figure,
    )


def ensemble_size(params: Params, metrics: Metrics) -> Plot | None:
    """Draw errors against the number of teachers averaged (Hinton Sec. 2, either mean)."""
    own = metrics.get("teacher", {})
    keys = {
        mean: numbered(own, rf"test/errors_ensemble{suffix}_k(\d+)")
        for mean, suffix in (("arithmetic mean", ""), ("geometric mean", "_geometric"))
    }
    if not all(keys.values()):
        return None
    figure, ((axes,),) = plots.canvas(8, 4)
    ends = []
    for index, (mean, sizes) in enumerate(keys.items()):
        look, shift = plots.look(index), (index - 0.5) * 0.16  # side by side at each k
        means = [stats.mean(own[key]).mean for key in sizes.values()]
        axes.plot([k + shift for k in sizes], means, label=mean, **look)
        for k, key in sizes.items():
            style = {"s": 16, "facecolors": "none", "edgecolors": look["color"], "alpha": 0.7}
            axes.scatter([k + shift] * len(own[key]), own[key], marker=look["marker"], **style)
        first, last = stats.number(means[0], 1.0), stats.number(means[-1], 1.0)
        ends.append(f"{first} alone and {last} for all {max(sizes):g} ({mean})")
    axes.set_xticks([*keys["arithmetic mean"]])
    axes.set_xlabel("nets in the ensemble")
    axes.set_ylabel("test errors")
    axes.legend()
    plots.from_zero(axes)
    listed = "; ".join(ends)
    return Plot(
        "ensemble_size",
        "Errors against the size of the ensemble",
        "Test errors of ensembles of k teachers whose class probabilities are averaged: lines are "
        "means over ensembles, hollow marks single ensembles. Ensembles of one size share "
        f"members, so that no interval is given. Mean errors: {listed}.",
        f"Two lines, test errors against the number of nets averaged: {listed}.",
        figure,
    )


def stage_bars(axes: Any, own: Mapping[str, Sequence[float]], keys: dict[str, str]) -> None:
    """Draw bars for every stage of the correction, side by side for each of some quantities."""
    wide = 0.8 / len(keys)
    for index, (label, key) in enumerate(keys.items()):
        stages = [i for i, suffix in enumerate(STAGES) if key + suffix in own]
        found = [stats.mean(own[key + list(STAGES)[i]]) for i in stages]
        x = [i + (index - (len(keys) - 1) / 2) * wide for i in stages]
        style = {"color": "white", "edgecolor": plots.look(index)["color"], "label": label}
        hatch = plots.HATCHES[index + 1]
        axes.bar(x, [i.mean for i in found], wide * 0.92, hatch=hatch, **style)
        bars = {"fmt": "none", "ecolor": "black"}
        axes.errorbar(x, [i.mean for i in found], yerr=plots.half_widths(found), **bars)
        for place, i in zip(x, found, strict=True):
            text = stats.number(i.mean, (i.high - i.low) / 2)
            axes.annotate(text, (place, i.high), (0, 3), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(STAGES)), STAGES.values())
    axes.margins(y=0.1)
    axes.set_ylim(0, None)
    axes.grid(axis="x", visible=False)


def missing_classes(params: Params, metrics: Metrics) -> Plot | None:
    """Draw what a bias corrects where classes were never seen (Hinton Sec. 3)."""
    titles = {"omit_3": "no 3 in the transfer set", "only_78": "only 7 and 8 in it"}
    cases = [case for case in titles if measured(metrics, case)]
    if not cases:
        return None
    figure, (panels,) = plots.canvas(10 if len(cases) == 2 else 5.4, 4.2, columns=len(cases))
    told = []
    whole = measured(metrics, "soft_800_T20")
    for axes, case in zip(panels, cases, strict=True):
        keys = {"all test digits": "test/errors"}
        if case == "omit_3":
            keys["threes"] = "test/errors_class3"
        stage_bars(axes, metrics[case], keys)
        if whole:
            style = {"color": plots.GREY, "linestyle": "--", "label": "all classes in it"}
            axes.axhline(whole.mean, **style)
        axes.set_title(titles[case])
        axes.legend()
        counts = {what: measured(metrics, case, f"test/errors{s}") for s, what in STAGES.items()}
        shift = measured(metrics, case, "validation/shift")
        steps = [f"{what} {written(i)}" for what, i in counts.items() if i]
        text = f"{titles[case]}: {', '.join(steps)}".replace("\n", " ")
        told.append(text + (f", shift on validation data {written(shift)}" if shift else ""))
    panels[0].set_ylabel(errors_label(metrics))
    return Plot(
        "missing_classes",
        "Classes missing from the transfer set",
        "Test errors of students that never saw some digits, before and after one shift of the "
        f"output biases of those concerned, {SEEDS}. " + "; ".join(told) + ".",
        "Bars of test errors before and after the bias is corrected. " + "; ".join(told) + ".",
        figure,
    )


def low_data(params: Params, metrics: Metrics) -> Plot | None:
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
        f"single seeds. The hard-trained net is stopped early. Measured: {listed}.",
        f"Dot plot of the test error: {listed}.",
        figure,
    )


def gradient_limit(params: Params, metrics: Metrics) -> Plot | None:
    """Draw how the soft loss becomes matching of logits at high T (Hinton Sec. 2.1)."""
    own = metrics.get("gradient_limit", {})
    curves = {
        "cosine": numbered(own, r"train/cosine_T(.+)"),
        "ratio": numbered(own, r"train/ratio_T(.+)"),
    }
    if not all(curves.values()):
        return None
    said = {"cosine": "cosine of the two gradients", "ratio": "ratio of their lengths"}
    figure, (panels,) = plots.canvas(10, 3.8, columns=2)
    ends = []
    for index, (axes, (name, keys)) in enumerate(zip(panels, curves.items(), strict=True)):
        intervals = [stats.mean(own[key]) for key in keys.values()]
        axes.axhline(1.0, color=plots.GREY, linestyle=":")
        plots.curve(axes, list(keys), intervals, index, said[name])
        plots.log_ticks(axes, list(keys))
        axes.set_title(said[name])
        axes.set_xlabel("temperature T")
        first, last = (stats.number(i.mean) for i in (intervals[0], intervals[-1]))
        low, high = min(keys), max(keys)
        ends.append(f"{said[name]} {first} at T = {low:g}, {last} at T = {high:g}")
    listed = "; ".join(ends)
    return Plot(
        "gradient_limit",
        "Distillation becomes matching of logits at high temperature",
        "Gradient of the soft loss in a student's parameters beside that of half the squared "
        f"distance of zero-mean logits over the number of classes, by temperature; {SEEDS}. Both "
        f"are 1 (dotted) in the limit: {listed}.",
        f"Two panels against temperature: {listed}.",
        figure,
    )


def noise(params: Params, metrics: Metrics) -> Plot | None:
    """Draw students of noisy teachers (Sau & Balasubramanian), by share and size of the noise."""
    found = {}
    for case in metrics:
        match = re.fullmatch(r"noisy_(\d+)_(\d+)", case)
        if match and measured(metrics, case):
            found[int(match[1]), int(match[2])] = case
    if not found:
        return None
    alphas, sigmas = (sorted({place[axis] for place in found}) for axis in (0, 1))
    quiet = metrics.get("logits_800", {}).get("test/errors")
    values, texts, gains = [], [], {}
    for alpha in alphas:
        values.append([])
        texts.append([])
        for sigma in sigmas:
            case = found.get((alpha, sigma))
            interval = measured(metrics, case) if case else None
            values[-1].append(interval.mean if interval else None)
            texts[-1].append(written(interval).replace(" ", "\n", 1) if interval else "not run")
            if case and quiet:
                change = stats.difference(metrics[case]["test/errors"], quiet)
                sign = "+" if change.mean > 0 else ""
                gains[alpha, sigma] = sign + written(asdict(change)) if False else change
                texts[-1][-1] += f"\n({sign}{stats.number(change.mean, change.high - change.mean)})"
    figure, ((axes,),) = plots.canvas(8, 1.8 + 0.9 * len(alphas))
    plots.heat_map(
        axes,
        values,
        texts,
        [f"{alpha} %" for alpha in alphas],
        [f"{sigma / 100:g}" for sigma in sigmas],
        errors_label(metrics),
    )
    return None
