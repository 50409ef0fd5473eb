"""Figures of bounds, likelihoods and the gradients that raise them, from metrics."""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter

from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Published = Mapping[str, Mapping[str, float]]  # case -> key -> the paper's number
Course = Mapping[int, Interval]  # training samples seen -> interval

SEEDS = "mean over seeds and its 95 % t-interval"
SPLITS = {"test": ("-", "test data"), "train": ("--", "training data")}
METHODS = {"AEVB": 0, "wake-sleep": 1, "MCEM": 2}  # number of the look
HOLLOW = {"s": 80, "facecolors": "none", "zorder": 3}  # how published numbers are marked
FAR = 10.0  # distances from third quartile to median, below the median: it sets no axis
OPTIMISERS = {
    "adagrad_001_z10": "Adagrad, 0.01",
    "aevb_z10": "Adagrad, 0.02",
    "adagrad_01_z10": "Adagrad, 0.1",
    "adam_z10": "Adam, 0.001",
    "sgvb_a_z10": "Adagrad, 0.02,\nestimator A",
}
ESTIMATORS = {
    "a": "estimator A",
    "b": "estimator B, analytic KL",
    "score": "score function",
}
DODGE = 1.08  # factor between estimators of one number of latents
WEIGHTS = (1, 5, 50)  # k of Burda et al.


def measured(metrics: Metrics, case: str, key: str) -> Interval | None:
    """Return a metric's mean over seeds and interval, if the case has it.

    Examples
    --------
    >>> measured({"aevb_z3": {"test/elbo_nats": [-2.0, -2.0]}}, "aevb_z3", "test/elbo_nats").mean
    -2.0
    """
    values = metrics.get(case, {}).get(key)
    return stats.mean(values) if values else None


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def numbered(values: Mapping[str, Any], pattern: str) -> dict[int, str]:
    r"""Find the keys that match a pattern with one whole number, in the order of the numbers.

    Examples
    --------
    >>> numbered({"test/elbo_300_nats": 0, "test/elbo_20_nats": 0}, r"test/elbo_(\d+)_nats")
    {20: 'test/elbo_20_nats', 300: 'test/elbo_300_nats'}
    """
    matches = ((re.fullmatch(pattern, key), key) for key in values)
    return dict(sorted((int(match[1]), key) for match, key in matches if match))


def course(metrics: Metrics, case: str, quantity: str) -> dict[int, Interval]:
    """Return a quantity of a case by training samples seen.

    Examples
    --------
    >>> course({"aevb_z3": {"test/elbo_20_nats": [-2.0]}}, "aevb_z3", "test/elbo")
    {20: Interval(mean=-2.0, low=-2.0, high=-2.0, n=1)}
    """
    values = metrics.get(case, {})
    keys = numbered(values, rf"{quantity}_(\d+)_nats")
    return {seen: stats.mean(values[key]) for seen, key in keys.items()}


def printed(published: Published, case: str, quantity: str) -> dict[int, float]:
    """Return the paper's numbers of a quantity on test data by training samples seen.

    Examples
    --------
    >>> printed({"aevb_z3": {"test/elbo_20_nats": -2.0}}, "aevb_z3", "elbo")
    {20: -2.0}
    """
    values = published.get(case, {})
    return {
        seen: values[key] for seen, key in numbered(values, rf"test/{quantity}_(\d+)_nats").items()
    }


def draw_course(axes: Any, values: Course, floor: float = -math.inf, **look: Any) -> None:
    """Draw means above a floor joined by a line, with their intervals, against samples seen."""
    shown = {seen: i for seen, i in values.items() if i.mean >= floor}
    intervals = list(shown.values())
    means = [interval.mean for interval in intervals]
    axes.errorbar(list(shown), means, yerr=plots.half_widths(intervals), **look)


def mark_below(axes: Any, values: Course, floor: float, color: str) -> None:
    """Mark means below a floor at the lower edge of the axes, with their values."""
    for seen, interval in values.items():
        if interval.mean < floor:
            at_edge = {"transform": axes.get_xaxis_transform(), "color": color}
            axes.plot([seen], [0.03], marker="v", linestyle="", **at_edge)
            text = stats.number(round(interval.mean))
            upright = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": "small"}
            axes.text(seen, 0.06, text, **upright, **at_edge)


def log_samples(axes: Any, label: str) -> None:
    """Make x logarithmic, labelled at powers of ten alone, and name it."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def floor_of(courses: Iterable[Course]) -> float:
    """Return the value below which a mean is drawn at the edge, so that it sets no axis.

    Examples
    --------
    >>> course = {n: stats.mean([-100.0 - n]) for n in range(8)}
    >>> floor_of([course]), round(floor_of([course | {9: stats.mean([-9000.0])}]), 1)
    (-inf, -129.0)
    """
    means = [interval.mean for values in courses for interval in values.values()]
    if len(means) < 4:
        return -math.inf
    _, median, third = statistics.quantiles(means, n=4)  # which few diverged nets do not move
    floor = median - FAR * (third - median)
    return floor if min(means) < floor else -math.inf


def cut_below(panels: Sequence[Any], courses: Mapping[str, Course], floor: float) -> str:
    """Limit y to means above a floor, and say what lies below.

    Parameters
    ----------
    panels : sequence of Axes
        With y in nats.
    courses : mapping
        Name of the series, as a caption has it, -> what is drawn.
    floor : float
        What `floor_of` gave.

    Returns
    -------
    str
        A sentence with a space before it, or nothing.

    Examples
    --------
    >>> axes = plots.canvas(8, 4)[1][0, 0]
    >>> values = {10: stats.mean([-30.0]), 20: stats.mean([-9000.0])}
    >>> cut_below([axes], {"fast": values}, -100.0)
    ' Below the axis, with the value at its edge: fast.'
    >>> [float(end) for end in axes.get_ylim()]
    [-31.0, -29.0]
    """
    means = [interval.mean for values in courses.values() for interval in values.values()]
    good = [mean for mean in means if mean >= floor]
    if len(good) == len(means):
        return ""
    room = 0.1 * (max(good) - min(good)) or 1.0
    for axes in panels:
        axes.set_ylim(min(good) - room, max(good) + room)
    names = [
        name for name, values in courses.items() if any(i.mean < floor for i in values.values())
    ]
    return f" Below the axis, with the value at its edge: {'; '.join(names)}."


def split_panel(
    axes: Any,
    metrics: Metrics,
    published: Published,
    cases: Mapping[str, str],
    quantity: str,
    floor: float = -math.inf,
) -> dict[str, Course]:
    """Draw a quantity of several methods on training and test data, against samples seen.

    Parameters
    ----------
    axes : Axes
        Where.
    metrics, published : mapping
        As the figures get them.
    cases : mapping
        Method, of `METHODS`, -> case.
    quantity : str
        Metric key between the split and the number of samples.
    floor : float
        A mean below it is drawn at the edge.

    Returns
    -------
    dict
        Method and split, or method and ``published``, -> what is drawn.
    """
    drawn = {}
    for method, case in cases.items():
        look = plots.look(METHODS[method])
        for split, (line, name) in SPLITS.items():
            values = course(metrics, case, f"{split}/{quantity}")
            if values:
                label = method if split == "test" else f"_{method}"
                draw_course(axes, values, floor, **look | {"linestyle": line, "label": label})
                if split == "test":  # those of training data would lie on them
                    mark_below(axes, values, floor, look["color"])
                drawn[f"{method}, {name}"] = values
        stars = printed(published, case, quantity)
        if stars:
            style = HOLLOW | {"edgecolors": look["color"], "marker": look["marker"]}
            axes.scatter(list(stars), list(stars.values()), **style)
            drawn[f"{method}, published"] = {x: stats.mean([y]) for x, y in stars.items()}
    return drawn


def split_legend(figure: Any, stars: bool) -> None:
    """Say below which line is of test and which of training data, and what is hollow."""
    first = figure.axes[0]
    for line, name in SPLITS.values():
        first.plot([], [], color=plots.GREY, linestyle=line, marker="", label=name)
    if stars:
        first.scatter([], [], label="published", **HOLLOW | {"edgecolors": plots.GREY})
    plots.legend(figure, "lower center")


def split_figure(
    metrics: Metrics,
    published: Published,
    rows: Mapping[str, Mapping[str, str]],
    quantity: str,
    y_label: str,
) -> tuple[Any, list[str], str] | None:
    """Draw one panel per row of methods, with one y-axis for all; panels without data are left out.

    Parameters
    ----------
    metrics, published : mapping
        As the figures get them.
    rows : mapping
        Title of the panel -> method -> case.
    quantity : str
        Metric key between the split and the number of samples.
    y_label : str
        With its unit.

    Returns
    -------
    figure : Figure
        What is drawn.
    ends : list of str
        What each panel's methods reach on test data.
    notes : str
        Sentences on what is published and what lies outside.
    """
    rows = {
        title: {
            method: case
            for method, case in cases.items()
            if course(metrics, case, f"test/{quantity}")
        }
        for title, cases in rows.items()
    }
    rows = {title: cases for title, cases in rows.items() if cases}
    if not rows:
        return None
    figure, (panels,) = plots.canvas(9, 3.9, columns=len(rows))
    shown = [case for cases in rows.values() for case in cases.values()]
    floor = floor_of(course(metrics, c, f"{split}/{quantity}") for c in shown for split in SPLITS)
    courses, ends = {}, []
    for axes, (title, cases) in zip(panels, rows.items(), strict=True):
        if axes is not panels[0]:
            axes.sharex(panels[0])
            axes.sharey(panels[0])
            axes.tick_params(labelleft=False)
        drawn = split_panel(axes, metrics, published, cases, quantity, floor)
        courses |= {f"{title}, {name}": values for name, values in drawn.items()}
        log_samples(axes, "samples seen" if len(rows) > 2 else "training samples seen")
        axes.set_title(title)
        last = {method: list(drawn[f"{method}, test data"].items())[-1] for method in cases}
        ends.append(f"{title}: {', '.join(_reached(last))}")
    panels[0].set_ylabel(y_label)
    notes = cut_below(panels, courses, floor)
    stars = any(printed(published, case, quantity) for case in shown)
    split_legend(figure, stars)
    notes += " Hollow marks: the paper's numbers on test data." if stars else ""
    return figure, ends, notes


def _reached(last: Mapping[str, tuple[int, Any]]) -> list[str]:
    """Say what each method reaches, and after how many samples, once where they are the same."""
    same = len({seen for seen, _ in last.values()}) == 1
    reached = [
        f"{method} {written(interval)}" + ("" if same else f" after {stats.number(seen)}")
        for method, (seen, interval) in last.items()
    ]
    if same:
        reached[-1] += f" after {stats.number(max(seen for seen, _ in last.values()))}"
    return reached


def bound_digits(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the bound of digits against training samples seen (Kingma & Welling Fig. 2)."""
    rows = {
        f"{z} latents": {"AEVB": f"aevb_z{z}", "wake-sleep": f"wake_sleep_z{z}"}
        for z in (3, 5, 10, 20, 200)
    }
    drawn = split_figure(metrics, published, rows, "elbo", "bound (nats)")
    if drawn is None:
        return None
    figure, ends, notes = drawn
    listed = "; ".join(ends)
    return Plot(
        "bound_digits",
        "Bound on digits: AEVB and wake-sleep",
        "Bound per image in nats, higher is better, against training samples seen, by number of "
        f"latents, on test (solid) and training data (dashed); {SEEDS}. On test data: {listed}."
        f"{notes}",
        "One panel a number of latents: curves of the bound that rise with samples seen, solid and "
        "dashed, and hollow marks.",
        figure,
    )


def bound_faces(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the bound of faces against training samples seen (Kingma & Welling Fig. 2)."""
    rows = {
        f"{z} latents": {"AEVB": f"faces_z{z}", "wake-sleep": f"faces_wake_sleep_z{z}"}
        for z in (2, 5, 10, 20)
    }
    drawn = split_figure(metrics, published, rows, "elbo", "bound (nats, of densities)")
    if drawn is None:
        return None
    figure, ends, notes = drawn
    listed = "; ".join(ends)
    return Plot(
        "bound_faces",
        "Bound on faces: AEVB and wake-sleep",
        "Bound per image, higher is better, against training samples seen, by number of latents, "
        "on test (solid) and training data (dashed). Pixels are continuous, so that the bound is "
        f"of a density and may be positive; {SEEDS}. On test data: {listed}.{notes}",
        "One panel a number of latents: curves of the bound that rise with samples seen, solid and "
        "dashed, and hollow marks.",
        figure,
    )


def likelihood(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the marginal likelihood against training samples seen (Kingma & Welling Fig. 3)."""
    titles = {"few training images": "small", "all training images": "all"}
    rows = {
        title: {
            "AEVB": f"fig3_{size}_aevb",
            "wake-sleep": f"fig3_{size}_wake_sleep",
            "MCEM": f"fig3_{size}_mcem",
        }
        for title, size in titles.items()
    }
    label = "marginal log-likelihood (nats)"
    drawn = split_figure(metrics, published, rows, "likelihood_posterior", label)
    if drawn is None:
        return None
    figure, ends, notes = drawn
    listed = "; ".join(ends)
    return Plot(
        "likelihood",
        "Marginal likelihood: AEVB, wake-sleep and MCEM",
        "Marginal log-likelihood per image in nats by Appendix D's estimator, higher is better, "
        "against training samples seen, on test (solid) and training data (dashed). For MCEM "
        "every evaluation of the decoder at an image counts as one sample; "
        f"{SEEDS}. On test data: {listed}.{notes}",
        "One panel a size of the training set: curves of likelihood that rise with samples seen.",
        figure,
    )


def optimisers(metrics: Metrics) -> Plot | None:
    """Draw the test bound with 10 latents by optimiser, step size and estimator of the bound."""
    courses = {case: course(metrics, case, "test/elbo") for case in OPTIMISERS}
    courses = {case: values for case, values in courses.items() if values}
    if not courses:
        return None
    figure, ((axes,),) = plots.canvas(8, 4)
    looks = list(OPTIMISERS)
    floor = floor_of(courses.values())
    for case, values in courses.items():
        look = plots.look(looks.index(case))
        draw_course(axes, values, floor, **look, label=OPTIMISERS[case])
        mark_below(axes, values, floor, look["color"])
    log_samples(axes, "training samples seen")
    axes.set_ylabel("test bound (nats)")
    names = {case: OPTIMISERS[case].replace("\n", " ") for case in courses}
    notes = cut_below([axes], {names[case]: values for case, values in courses.items()}, floor)
    plots.legend(figure, "right center")
    ends = {case: list(values.items())[-1] for case, values in courses.items()}
    listed = "; ".join(
        f"{names[case]}: {written(interval)} after {stats.number(seen)}"
        for case, (seen, interval) in ends.items()
    )
    return Plot(
        "optimisers",
        "Optimisers, step sizes and estimators",
        "Test bound per image in nats, higher is better, against training samples seen, 10 "
        "latents, by optimiser and step size. Estimator B, with the KL term in closed form, but "
        f"for one; {SEEDS}. At the end: {listed}.{notes}",
        "Curves of the test bound that rise with samples seen, one a rule of the step.",
        figure,
    )


def geometric(values: Sequence[float]) -> Interval:
    """Return the geometric mean of positive numbers and the interval of their logarithm.

    Examples
    --------
    >>> made = geometric([1.0, 100.0])
    >>> round(made.mean, 9), made.low > 0, made.n
    (10.0, True, 2)
    """
    logs = stats.mean([math.log(value) for value in values])
    return Interval(*(math.exp(end) for end in (logs.mean, logs.low, logs.high)), n=logs.n)


def gradient_variance(metrics: Metrics) -> Plot | None:
    """Draw the variance of three estimators' gradients by latents (Secs. 2.2 and 2.3)."""
    values = metrics.get("gradient_variance", {})
    keys = {  # samples per data point, estimator -> latents -> key
        (samples, name): numbered(values, rf"z(\d+)/gradient_variance_{name}_L{samples}")
        for samples in sorted({int(s) for s in re.findall(r"_L(\d+)\b", " ".join(values))})
        for name in ESTIMATORS
    }
    keys = {place: latents for place, latents in keys.items() if latents}
    if not keys:
        return None
    counts = list(dict.fromkeys(samples for samples, _ in keys))
    figure, (panels,) = plots.canvas(min(9, 3 + 3 * len(counts)), 4, columns=len(counts))
    phrases = []
    for axes, samples in zip(panels, counts, strict=True):
        own_keys = {name: keys[samples, name] for name in ESTIMATORS if (samples, name) in keys}
        for index, (name, label) in enumerate(ESTIMATORS.items()):
            latents = own_keys.get(name, {})
            intervals = [geometric(values[key]) for key in latents.values()]
            if intervals:
                look = plots.look(index) | {"linestyle": "", "label": label}
                x = [z * DODGE ** (index - 1) for z in latents]  # side by side, on a log axis
                means = [interval.mean for interval in intervals]
                axes.errorbar(x, means, yerr=plots.half_widths(intervals), **look)
        if axes is not panels[0]:
            axes.sharey(panels[0])
            axes.tick_params(labelleft=False)
        axes.set_yscale("log")
        plots.log_ticks(axes, [z for latents in own_keys.values() for z in latents])
        axes.set_xlabel("latents")
        axes.set_title(f"{samples} sample{'s' if samples > 1 else ''} per image")
        most = max(z for latents in own_keys.values() for z in latents)
        phrases += [
            f"L = {samples}, {most} latents: "
            + ", ".join(
                f"{ESTIMATORS[name]} {written(geometric(values[latents[most]]))}"
                for name, latents in own_keys.items()
                if most in latents
            )
        ]
    panels[0].set_ylabel("variance of the gradient (nats²)")
    plots.legend(figure, "lower center")
    listed = "; ".join(phrases)
    return Plot(
        "gradient_variance",
        "Variance of three estimators of the gradient",
        "Variance of a minibatch's gradient in the encoder's parameters, summed over them, by "
        "number of latents and of samples L per image, for the same nets at one moment of their "
        "training, the same minibatch and noise. Estimator A samples the KL term too, B has it in "
        "closed form; both differentiate through the sample, which the score function does not. "
        "Geometric means over seeds, and the 95 % t-interval of the logarithm. "
        f"{listed}.",
        "One panel a number of samples: points with intervals, three side by side a number of "
        "latents, on logarithmic axes.",
        figure,
    )


def iwae(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the likelihood by samples of the bound or importance weights (Burda et al. Table 1)."""
    key = "test/nll_importance_nats"
    cases = {
        "VAE, k samples": {k: f"vae_k{k}" for k in WEIGHTS},
        "IWAE, k weights": {k: "vae_k1" if k == 1 else f"iwae_k{k}" for k in WEIGHTS},
    }
    intervals = {
        label: {k: measured(metrics, case, key) for k, case in series.items()}
        for label, series in cases.items()
    }
    intervals = {
        label: {k: interval for k, interval in series.items() if interval}
        for label, series in intervals.items()
    }
    if not any(intervals.values()):
        return None
    figure, ((axes,),) = plots.canvas(7, 4)
    stars = False
    for index, (label, series) in enumerate(intervals.items()):
        dodge = 1.03 ** (2 * index - 1)  # else the common first point hides one of the two
        if series:
            plots.curve(axes, [k * dodge for k in series], list(series.values()), index, label)
        there = {k: published[case][key] for k, case in cases[label].items() if case in published}
        look = plots.look(index)
        style = HOLLOW | {"edgecolors": look["color"], "marker": look["marker"]}
        axes.scatter([k * dodge for k in there], list(there.values()), **style)
        stars = stars or bool(there)
    if stars:
        axes.scatter([], [], label="published", **HOLLOW | {"edgecolors": plots.GREY})
    plots.log_ticks(axes, WEIGHTS)
    axes.set_xlabel("k in training")
    axes.set_ylabel("test negative log-likelihood (nats)")
    plots.legend(figure, "right center")
    phrases = [
        f"{label} {', '.join(f'{written(i)} (k = {k})' for k, i in series.items())}"
        for label, series in intervals.items()
        if series
    ]
    listed = "; ".join(phrases)
    return Plot(
        "iwae",
        "Samples of the bound and importance weights",
        "Negative log-likelihood of test images, lower is better, estimated with the most "
        "importance samples, by the number k of samples (VAE) or importance weights (IWAE) in "
        f"training; with k = 1 both are the same nets. {SEEDS.capitalize()}. Measured: {listed}."
        + (" Hollow marks: the published numbers." if stars else ""),
        "Two curves with intervals, the negative log-likelihood against k.",
        figure,
    )
