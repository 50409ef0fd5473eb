"""Draw the figures of the report from the cases' metrics.

Whatever cases are there are drawn; a figure without any is left out. Every number in a caption is
computed.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pr12.shared import files, plots, stats, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot
from pr12.shared.report import path_names
from pr12.shared.stats import Interval

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Published = Mapping[str, Mapping[str, float]]  # case -> key -> the paper's number

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
GENERATORS = {"random": "RANDOM", "nbe": "NBE", "munge": "MUNGE"}  # Bucila et al., Sec. 3
REFERENCES = {"best_single": "best single model", "best_net": "best net", "ensemble": "ensemble"}
NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
SEEDS = "mean over seeds and its 95 % t-interval"
SCALED = "Nets are named by the paper's widths, all of which a run may scale (train.width_scale)."


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
    r"""Find the names that match a pattern with one number, in the order of the numbers.

    Parameters
    ----------
    metrics : mapping
        Its keys are searched.
    pattern : str
        With one group, the number; in names of cases ``_`` is the decimal point.

    Examples
    --------
    >>> numbered({"soft_30_T20": {}, "soft_30_T2_5": {}}, r"soft_30_T(\d+(?:_\d+)?)")
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
    r"""Name an axis of errors, with the number of test examples where the metrics tell it.

    Examples
    --------
    >>> errors_label({"hard_30": {"test/errors": [0, 5], "test/error_percent": [0.0, 0.5]}})
    'test errors of 1\u202f000'
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


def published_errors(published: Published, case: str, key: str = "test/errors") -> float | None:
    """Give the number that the paper printed for a metric, if it is known here."""
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
        f"Dot plot of {len(rows)} systems, from {few} to {many} test errors.",
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
        f"One panel per width, test errors against temperature. Fewest: {listed}.",
        figure,
    )


def ensemble_size(metrics: Metrics) -> Plot | None:
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
            style = {"ha": "center", "bbox": {"facecolor": "white", "linewidth": 0, "pad": 0.5}}
            axes.annotate(text, (place, i.high), (0, 4), textcoords="offset points", **style)
    axes.set_xticks(range(len(STAGES)), STAGES.values())
    axes.margins(y=0.1)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_formatter(lambda value, _: stats.number(value))
    axes.grid(axis="x", visible=False)


def missing_classes(metrics: Metrics) -> Plot | None:
    """Draw what a bias corrects where classes were never seen (Hinton Sec. 3)."""
    titles = {"omit_3": "no 3 in the transfer set", "only_78": "only 7 and 8 in the transfer set"}
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
            style = {"color": plots.GREY, "linestyle": "--"}
            axes.axhline(whole.mean, label="with all classes, as trained", **style)
        axes.set_title(titles[case])
        for label, key in keys.items():
            counts = {what: measured(metrics, case, key + s) for s, what in STAGES.items()}
            steps = ", ".join(f"{what} {written(i)}" for what, i in counts.items() if i)
            told.append(f"{titles[case]}, {label}: {steps}".replace("\n", " "))
        shift = measured(metrics, case, "validation/shift")
        told[-1] += f", shift chosen on validation data {written(shift)}" if shift else ""
    panels[0].set_ylabel("test errors")
    plots.legend(figure, "lower center")
    return Plot(
        "missing_classes",
        "Classes missing from the transfer set",
        "Test errors of students that never saw some digits, before and after one shift of the "
        f"output biases of those concerned, {SEEDS}. Errors with {'; with '.join(told)}.",
        f"Bars of test errors before and after the bias is corrected: {'; '.join(told)}.",
        figure,
    )


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
        f"Dot plot of the test error: {listed}.",
        figure,
    )


def gradient_limit(metrics: Metrics) -> Plot | None:
    """Draw how the soft loss becomes matching of logits at high T (Hinton Sec. 2.1)."""
    own = metrics.get("gradient_limit", {})
    curves = {
        "cosine": numbered(own, rf"train/cosine_T{NUMBER}"),
        "ratio": numbered(own, rf"train/ratio_T{NUMBER}"),
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


def noise_cell(metrics: Metrics, case: str) -> str:
    r"""Write mean errors of a student of noisy logits and their difference to those of exact ones.

    Examples
    --------
    >>> noise_cell({"noisy_15_20": {"test/errors": [6, 8]}}, "noisy_15_20")
    '7'
    >>> quiet = {"logits_800": {"test/errors": [5, 7]}}
    >>> noise_cell({"noisy_15_20": {"test/errors": [6, 8]}} | quiet, "noisy_15_20")
    '7\n+1 [1, 1]'
    """
    own = measured(metrics, case)
    if own is None:
        return "not run"
    mean = stats.number(own.mean, (own.high - own.low) / 2)
    if not measured(metrics, "logits_800"):
        return mean
    exact = metrics["logits_800"]["test/errors"]
    change = stats.difference(metrics[case]["test/errors"], exact)
    sign = "+" if change.mean > 0 else ""
    return f"{mean}\n{sign}{written(change)}"


def noise(metrics: Metrics) -> Plot | None:
    """Draw students of noisy teachers (Sau & Balasubramanian), by share and size of the noise."""
    places = {}
    for case in metrics:
        match = re.fullmatch(r"noisy_(\d+)_(\d+)", case)
        if match and measured(metrics, case):
            places[int(match[1]), int(match[2])] = measured(metrics, case).mean
    if not places:
        return None
    alphas, sigmas = (sorted({place[axis] for place in places}) for axis in (0, 1))
    figure, ((axes,),) = plots.canvas(8, 1.6 + 0.8 * len(alphas))
    plots.heat_map(
        axes,
        [[places.get((alpha, sigma)) for sigma in sigmas] for alpha in alphas],
        [[noise_cell(metrics, f"noisy_{alpha}_{sigma}") for sigma in sigmas] for alpha in alphas],
        [f"{alpha} %" for alpha in alphas],
        [f"{sigma / 100:g}" for sigma in sigmas],
        errors_label(metrics),
    )
    axes.set_ylabel("examples with noise, α")
    axes.set_xlabel("standard deviation of the noise, σ")
    exact = measured(metrics, "logits_800")
    few, many = (
        f"{stats.number(places[place])} (α = {place[0]} %, σ = {place[1] / 100:g})"
        for place in (min(places, key=places.get), max(places, key=places.get))
    )
    told = f"from {few} to {many} test errors"
    told += f"; without noise {written(exact)}" if exact else ""
    return Plot(
        "noise",
        "Noise on the teacher's logits",
        "Mean test errors of students of noisy logits, by share of examples with noise and its "
        "standard deviation; below it, the difference to the student of exact logits with its "
        f"95 % t-interval over seeds. Means go {told}.",
        f"Heat map of {len(alphas)} x {len(sigmas)} cells, darker for more errors, {told}.",
        figure,
    )


def compression(metrics: Metrics) -> Plot | None:
    """Draw RMSE against size of the transfer set (Bucila et al., Fig. 2)."""
    cases = {name: metrics.get(f"compress_{name}", {}) for name in GENERATORS}
    sizes = {name: numbered(own, r"test/rmse_(\d+)") for name, own in cases.items()}
    sizes = {name: keys for name, keys in sizes.items() if keys}
    if not sizes:
        return None
    figure, ((axes,),) = plots.canvas(8, 4.6)
    told = []
    for name, keys in sizes.items():
        index = list(GENERATORS).index(name)  # looks alike whatever else is there
        intervals = [stats.mean(cases[name][key]) for key in keys.values()]
        dodge = 1.02 ** (index - 1)  # else bars of equal sizes hide each other
        plots.curve(axes, [size * dodge for size in keys], intervals, index, GENERATORS[name])
        told.append(f"{GENERATORS[name]} {written(intervals[-1])} at {stats.number(max(keys))}")
    own = cases[next(iter(sizes))]  # the library, and so its references, is the same for all
    for (name, label), line in zip(REFERENCES.items(), (":", "--", "-."), strict=True):
        if f"test/rmse_{name}" in own:
            reference = stats.mean(own[f"test/rmse_{name}"])
            axes.axhline(reference.mean, color="black", linestyle=line, label=label)
            told.append(f"{label} {written(reference)}")
    plots.log_ticks(axes, [size for keys in sizes.values() for size in keys])
    axes.set_xlabel("examples in the transfer set, the training set included")
    axes.set_ylabel("test RMSE, mean over problems")
    plots.legend(figure, "right center")
    listed = "; ".join(told)
    return Plot(
        "compression",
        "Mimic nets against the size of their transfer set",
        "Test RMSE of nets that mimic an ensemble of other models, averaged over problems, by "
        f"number of examples and by how those beyond the training set were made; {SEEDS}. Lines "
        f"without marks need no transfer set. At the largest size: {listed}.",
        f"Curves of RMSE against the size of the transfer set. At the largest size: {listed}.",
        figure,
    )


def check_picture(picture: Any) -> None:
    """Raise `UserError` if the temperature picture lacks something or its lists do not match."""
    try:
        images, p, nats, temperatures = (
            np.asarray(picture[key], dtype=float)
            for key in ("images", "probabilities", "entropy_nats", "temperatures")
        )
        labels = picture["labels"]
        shaped = p.ndim == 3 and p.size > 0 and p.shape[:2] == (len(temperatures), len(labels))
        shaped = shaped and nats.shape == p.shape[:2]
        shaped = shaped and images.ndim == 3 and len(images) == len(labels)
        shaped = shaped and all(label in range(p.shape[2]) for label in labels)
    except (KeyError, TypeError, ValueError):
        shaped = False
    if not shaped:
        raise UserError(
            "picture does not hold labels, images, temperatures, probabilities and entropy_nats "
            "of the same digits; run the step temperature again"
        )


def soft_labels(picture: Any) -> Plot:
    """Draw digits and their class probabilities from low to high T (Hinton Sec. 1 and 2).

    Raises
    ------
    UserError
        If the picture is not what the step ``temperature`` writes.
    """
    check_picture(picture)
    digits, last = len(picture["labels"]), len(picture["temperatures"]) - 1
    chosen = sorted({round(i * last / 3) for i in range(4)})  # from the lowest T to the highest
    columns = 1 + len(chosen)
    figure, grid = plots.canvas(1.9 * columns, 0.5 + 1.4 * digits, digits, columns)
    for row, label in enumerate(picture["labels"]):
        shown = grid[row, 0]
        shown.imshow(picture["images"][row], cmap="gray_r", interpolation="none")
        shown.set_axis_off()
        shown.set_title(f"a {label}", fontsize="small")
        grid[row, 1].set_ylabel("probability", fontsize="small")
        for axes, index in zip(grid[row, 1:], chosen, strict=True):
            p = picture["probabilities"][index][row]
            bars = axes.bar(range(len(p)), p, color=plots.look(0)["color"])
            bars[label].set(facecolor="white", edgecolor=plots.look(1)["color"], hatch="//////")
            axes.set_ylim(0, 1.0)
            axes.set_xticks(range(len(p)))
            axes.tick_params(labelsize="small", labelleft=index == chosen[0])
            axes.grid(axis="x", visible=False)
            nats = picture["entropy_nats"][index][row]
            t = picture["temperatures"][index]
            axes.set_title(f"T = {t:g}: {nats:.2f} nats", fontsize="small")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("class", fontsize="small")
    rows = [[picture["entropy_nats"][index][row] for index in chosen] for row in range(digits)]
    ends = [
        f"a {label} from {entropies[0]:.2f} to {entropies[-1]:.2f}"
        for label, entropies in zip(picture["labels"], rows, strict=True)
    ]
    low, high = (f"{picture['temperatures'][index]:g}" for index in (chosen[0], chosen[-1]))
    listed = f"entropies in nats from T = {low} to T = {high}: {', '.join(ends)}"
    return Plot(
        "soft_labels",
        "Soft labels at low and high temperature",
        "Training digits on which the ensemble is right but hesitates most, and its class "
        f"probabilities by temperature (hatched: the true class) with their entropy; {listed}.",
        f"Digits, each beside bars of its class probabilities; {listed}.",
        figure,
    )


def size_accuracy(metrics: Metrics, student_cases: Mapping[str, str]) -> Plot | None:
    """Draw test errors against the number of parameters of ensemble, teacher and students."""
    sources = {
        "ensemble": ("ensemble", "teacher", "test/errors_ensemble"),
        "teacher": ("single teacher", "teacher", "test/errors_single"),
    }
    for system, case in student_cases.items():
        sources[system] = (system.replace("_", " "), case, "test/errors")
    found = {}
    for system, (label, case, key) in sources.items():
        size = metrics.get("cost", {}).get(f"{system}/parameters")
        errors = measured(metrics, case, key)
        if size and errors:
            found[label] = (size[0], errors)
    if not found:
        return None
    figure, ((axes,),) = plots.canvas(8, 4.2)
    for index, (label, (size, errors)) in enumerate(found.items()):
        style = plots.look(index) | {"linestyle": "none", "label": label}
        axes.errorbar([size], [errors.mean], yerr=plots.half_widths([errors]), **style)
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel(errors_label(metrics))
    plots.from_zero(axes)
    plots.legend(figure, "right center")
    listed = "; ".join(
        f"{label} {stats.number(size)} parameters, {written(errors)} errors"
        for label, (size, errors) in found.items()
    )
    return Plot(
        "size_accuracy",
        "Size against errors",
        f"Test errors ({SEEDS}) against the number of parameters. {SCALED} Measured: {listed}.",
        f"Scatter plot of errors against parameters: {listed}.",
        figure,
    )


def check_params(params: Params) -> None:
    """Raise `UserError` for the first published number or student's case that is none."""
    for case, numbers in params.published.items():
        good = isinstance(numbers, Mapping)
        if not good or any(type(value) not in (int, float) for value in numbers.values()):
            raise UserError(
                f"--params.published.{case} is {numbers!r}; it must be a mapping of metric keys "
                "to numbers, such as {'test/errors': 74}"
            )
    for system, case in params.student_cases.items():
        if not isinstance(case, str):
            raise UserError(f"--params.student_cases.{system} is {case!r}; it must name a case")


def drawn(params: Params, metrics: Metrics, picture: Any | None) -> list[Plot]:
    """Draw all figures that have something to show, in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.
    metrics : mapping
        Case -> metric key -> one value per seed.
    picture : Any, optional
        What the step ``temperature`` wrote as picture.

    Raises
    ------
    UserError
        If the picture or a value in a mapping of the params is not what it should be.

    Examples
    --------
    >>> drawn(Params("full", {}, {}), {}, None)
    []
    """
    check_params(params)
    published = params.published if params.run == "full" else {}
    found = [
        systems(metrics, published),
        temperature(metrics, published),
        ensemble_size(metrics),
        missing_classes(metrics),
        low_data(metrics),
        gradient_limit(metrics),
        noise(metrics),
        compression(metrics),
        None if picture is None else soft_labels(picture),
        size_accuracy(metrics, params.student_cases),
    ]
    return [plot for plot in found if plot]


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = path_names(arguments, besides=("out", "picture"))
    optional = [*names, "picture"]
    with step.start(Params, optional=optional, writes=["out"], arguments=arguments) as job:
        metrics = {case: plots.read_metrics(job.paths[case]) for case in names}
        picture = files.read_json(job.paths["picture"]) if "picture" in job.paths else None
        with plots.style():
            plots.write(job.paths["out"], drawn(job.params, metrics, picture))


if __name__ == "__main__":
    main(sys.argv[1:])
