"""Figures of what students learn from (logits, noise, synthetic data, soft labels) and of size."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pr12.distill.figures.values import (
    NUMBER,
    SCALED,
    SEEDS,
    Metrics,
    errors_label,
    measured,
    numbered,
    written,
)
from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.workflow.errors import UserError

GENERATORS = {"random": "RANDOM", "nbe": "NBE", "munge": "MUNGE"}  # Bucila et al., Sec. 3
REFERENCES = {"best_single": "best single model", "best_net": "best net", "ensemble": "ensemble"}


def gradient_limit(metrics: Metrics) -> Plot | None:
    """Draw how the soft loss becomes matching of logits at high T (Hinton Sec. 2.1)."""
    values = metrics.get("gradient_limit", {})
    curves = {
        "cosine": numbered(values, rf"train/cosine_T{NUMBER}"),
        "ratio": numbered(values, rf"train/ratio_T{NUMBER}"),
    }
    if not all(curves.values()):
        return None
    words = {"cosine": "cosine of the two gradients", "ratio": "ratio of their lengths"}
    figure, (panels,) = plots.canvas(10, 3.8, columns=2)
    ends = []
    for index, (axes, (name, keys)) in enumerate(zip(panels, curves.items(), strict=True)):
        intervals = [stats.mean(values[key]) for key in keys.values()]
        axes.axhline(1.0, color=plots.GREY, linestyle=":")
        plots.curve(axes, list(keys), intervals, index, words[name])
        plots.log_ticks(axes, list(keys))
        axes.set_title(words[name])
        axes.set_xlabel("temperature T")
        first, last = (stats.number(i.mean) for i in (intervals[0], intervals[-1]))
        low, high = min(keys), max(keys)
        ends.append(f"{words[name]} {first} at T = {low:g}, {last} at T = {high:g}")
    listed = "; ".join(ends)
    return Plot(
        "gradient_limit",
        "Distillation becomes matching of logits at high temperature",
        "Gradient of the soft loss in a student's parameters beside that of half the squared "
        f"distance of zero-mean logits over the number of classes, by temperature; {SEEDS}. Both "
        f"are 1 (dotted) in the limit: {listed}.",
        "Two panels with a curve each, against temperature, that nears 1.",
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
    interval = measured(metrics, case)
    if interval is None:
        return "not run"
    mean = stats.number(interval.mean, (interval.high - interval.low) / 2)
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
    summary = f"from {few} to {many} test errors"
    summary += f"; without noise {written(exact)}" if exact else ""
    return Plot(
        "noise",
        "Noise on the teacher's logits",
        "Mean test errors of students of noisy logits, by share of examples with noise and its "
        "standard deviation; below it, the difference to the student of exact logits with its "
        f"95 % t-interval over seeds. Means go {summary}.",
        f"Heat map of {len(alphas)} x {len(sigmas)} cells, darker for more errors.",
        figure,
    )


def compression(metrics: Metrics) -> Plot | None:
    """Draw RMSE against size of the transfer set (Bucila et al., Fig. 2)."""
    cases = {name: metrics.get(f"compress_{name}", {}) for name in GENERATORS}
    sizes = {name: numbered(values, r"test/rmse_(\d+)") for name, values in cases.items()}
    sizes = {name: keys for name, keys in sizes.items() if keys}
    if not sizes:
        return None
    figure, ((axes,),) = plots.canvas(8, 4.6)
    phrases = []
    for name, keys in sizes.items():
        index = list(GENERATORS).index(name)  # looks alike whatever else is there
        intervals = [stats.mean(cases[name][key]) for key in keys.values()]
        dodge = 1.02 ** (index - 1)  # else bars of equal sizes hide each other
        plots.curve(axes, [size * dodge for size in keys], intervals, index, GENERATORS[name])
        phrases.append(f"{GENERATORS[name]} {written(intervals[-1])} at {stats.number(max(keys))}")
    values = cases[next(iter(sizes))]  # the library, and so its references, is the same for all
    for (name, label), line in zip(REFERENCES.items(), (":", "--", "-."), strict=True):
        if f"test/rmse_{name}" in values:
            reference = stats.mean(values[f"test/rmse_{name}"])
            axes.axhline(reference.mean, color="black", linestyle=line, label=label)
            phrases.append(f"{label} {written(reference)}")
    plots.log_ticks(axes, [size for keys in sizes.values() for size in keys])
    axes.set_xlabel("examples in the transfer set, the training set included")
    axes.set_ylabel("test RMSE, mean over problems")
    plots.legend(figure, "right center")
    listed = "; ".join(phrases)
    return Plot(
        "compression",
        "Mimic nets against the size of their transfer set",
        "Test RMSE of nets that mimic an ensemble of other models, averaged over problems, by "
        f"number of examples and by how those beyond the training set were made; {SEEDS}. Lines "
        f"without marks need no transfer set. At the largest size: {listed}.",
        "Curves of RMSE against the size of the transfer set, and level lines of single models.",
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
        "Rows of a digit and bars of its ten class probabilities, flatter from left to right.",
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
    systems = {}
    for system, (label, case, key) in sources.items():
        size = metrics.get("cost", {}).get(f"{system}/parameters")
        errors = measured(metrics, case, key)
        if size and errors:
            systems[label] = (size[0], errors)
    if not systems:
        return None
    figure, ((axes,),) = plots.canvas(8, 4.2)
    for index, (label, (size, errors)) in enumerate(systems.items()):
        style = plots.look(index) | {"linestyle": "none", "label": label}
        axes.errorbar([size], [errors.mean], yerr=plots.half_widths([errors]), **style)
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel(errors_label(metrics))
    plots.from_zero(axes)
    plots.legend(figure, "right center")
    listed = "; ".join(
        f"{label} {stats.number(size)} parameters, {written(errors)} errors"
        for label, (size, errors) in systems.items()
    )
    return Plot(
        "size_accuracy",
        "Size against errors",
        f"Test errors ({SEEDS}) against the number of parameters. {SCALED} Measured: {listed}.",
        "One mark with its interval a net: test errors against parameters on a logarithmic axis.",
        figure,
    )
