"""Figures of bounds, likelihoods and the gradients that raise them, from metrics."""

import re
from collections.abc import Mapping, Sequence
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
DIVERGED = -1000.0  # nats: a bound below is of a training that diverged
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
WEIGHTS = (1, 5, 50)  # k of Burda et al.


def measured(metrics: Metrics, case: str, key: str) -> Interval | None:
    """Give a metric's mean over seeds and interval, if the case has it.

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


def numbered(own: Mapping[str, Any], pattern: str) -> dict[int, str]:
    r"""Find the keys that match a pattern with one whole number, in the order of the numbers.

    Examples
    --------
    >>> numbered({"test/elbo_300_nats": 0, "test/elbo_20_nats": 0}, r"test/elbo_(\d+)_nats")
    {20: 'test/elbo_20_nats', 300: 'test/elbo_300_nats'}
    """
    matches = ((re.fullmatch(pattern, key), key) for key in own)
    return dict(sorted((int(match[1]), key) for match, key in matches if match))


def course(metrics: Metrics, case: str, quantity: str) -> dict[int, Interval]:
    """Give a quantity of a case by training samples seen.

    Examples
    --------
    >>> course({"aevb_z3": {"test/elbo_20_nats": [-2.0]}}, "aevb_z3", "test/elbo")
    {20: Interval(mean=-2.0, low=-2.0, high=-2.0, n=1)}
    """
    own = metrics.get(case, {})
    found = numbered(own, rf"{quantity}_(\d+)_nats")
    return {seen: stats.mean(own[key]) for seen, key in found.items()}


def printed(published: Published, case: str, quantity: str) -> dict[int, float]:
    """Give the paper's numbers of a quantity on test data by training samples seen.

    Examples
    --------
    >>> printed({"aevb_z3": {"test/elbo_20_nats": -2.0}}, "aevb_z3", "elbo")
    {20: -2.0}
    """
    own = published.get(case, {})
    return {seen: own[key] for seen, key in numbered(own, rf"test/{quantity}_(\d+)_nats").items()}


def draw_course(axes: Any, values: Course, **look: Any) -> None:
    """Draw means joined by a line, with their intervals, against samples seen."""
    intervals = list(values.values())
    means = [interval.mean for interval in intervals]
    axes.errorbar(list(values), means, yerr=plots.half_widths(intervals), **look)


def log_samples(axes: Any, label: str) -> None:
    """Make x logarithmic, labelled at powers of ten alone, and name it."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def cut_diverged(panels: Sequence[Any], courses: Mapping[str, Course]) -> str:
    """Limit y to what has not diverged, and say what lies below.

    Parameters
    ----------
    panels : sequence of Axes
        With y in nats.
    courses : mapping
        Name of the series, as it is told, -> what is drawn.

    Returns
    -------
    str
        A sentence with a space before it, or nothing.

    Examples
    --------
    >>> axes = plots.canvas(8, 4)[1][0, 0]
    >>> cut_diverged([axes], {"fast": {10: stats.mean([-30.0]), 20: stats.mean([-9000.0])}})
    ' Below the axis: fast (−9\u202f000 nats after 20 samples).'
    >>> [float(end) for end in axes.get_ylim()]
    [-31.0, -29.0]
    """
    means = [interval.mean for values in courses.values() for interval in values.values()]
    good = [mean for mean in means if mean >= DIVERGED]
    if len(good) in (0, len(means)):
        return ""
    room = 0.1 * (max(good) - min(good)) or 1.0
    for axes in panels:
        axes.set_ylim(min(good) - room, max(good) + room)
    told = []
    for name, values in courses.items():
        lows = {seen: i.mean for seen, i in values.items() if i.mean < DIVERGED}
        told += [
            f"{name} ({stats.number(mean)} nats after {stats.number(seen)} samples)"
            for seen, mean in list(lows.items())[-1:]
        ]
    return f" Below the axis: {', '.join(told)}."


def split_panel(
    axes: Any, metrics: Metrics, published: Published, cases: Mapping[str, str], quantity: str
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
                draw_course(axes, values, **look | {"linestyle": line, "label": label})
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
    courses, ends = {}, []
    for axes, (title, cases) in zip(panels, rows.items(), strict=True):
        if axes is not panels[0]:
            axes.sharex(panels[0])
            axes.sharey(panels[0])
            axes.tick_params(labelleft=False)
        drawn = split_panel(axes, metrics, published, cases, quantity)
        courses |= {f"{title}, {name}": values for name, values in drawn.items()}
        log_samples(axes, "samples seen" if len(rows) > 2 else "training samples seen")
        axes.set_title(title)
        last = {method: list(drawn[f"{method}, test data"].items())[-1] for method in cases}
        same = len({seen for seen, _ in last.values()}) == 1
        reached = [
            f"{method} {written(interval)}" + ("" if same else f" after {stats.number(seen)}")
            for method, (seen, interval) in last.items()
        ]
        if same:
            reached[-1] += f" after {stats.number(max(seen for seen, _ in last.values()))}"
        ends.append(f"{title}: {', '.join(reached)}")
    panels[0].set_ylabel(y_label)
    notes = cut_diverged(panels, courses)
    shown = [case for cases in rows.values() for case in cases.values()]
    stars = any(printed(published, case, quantity) for case in shown)
    split_legend(figure, stars)
    notes += " Hollow marks: the paper's numbers on test data." if stars else ""
    return figure, ends, notes


def bound_digits(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the bound of digits against training samples seen (Kingma & Welling Fig. 2)."""
    rows = {
        f"{z} latents": {"AEVB": f"aevb_z{z}", "wake-sleep": f"wake_sleep_z{z}"}
        for z in (3, 5, 10, 20, 200)
    }
    found = split_figure(metrics, published, rows, "elbo", "bound (nats)")
    if found is None:
        return None
    figure, ends, notes = found
    listed = "; ".join(ends)
    return Plot(
        "bound_digits",
        "Bound on digits: AEVB and wake-sleep",
        "Bound per image in nats, higher is better, against training samples seen, by number of "
        f"latents, on test (solid) and training data (dashed); {SEEDS}. On test data: {listed}."
        f"{notes}",
        f"One panel per number of latents, the bound against samples. On test data: {listed}.",
        figure,
    )


def bound_faces(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the bound of faces against training samples seen (Kingma & Welling Fig. 2)."""
    rows = {
        f"{z} latents": {"AEVB": f"faces_z{z}", "wake-sleep": f"faces_wake_sleep_z{z}"}
        for z in (2, 5, 10, 20)
    }
    found = split_figure(metrics, published, rows, "elbo", "bound (nats, of densities)")
    if found is None:
        return None
    figure, ends, notes = found
    listed = "; ".join(ends)
    return Plot(
        "bound_faces",
        "Bound on faces: AEVB and wake-sleep",
        "Bound per image, higher is better, against training samples seen, by number of latents, "
        "on test (solid) and training data (dashed). Pixels are continuous, so that the bound is "
        f"of a density and may be positive; {SEEDS}. On test data: {listed}.{notes}",
        f"One panel per number of latents, the bound against samples. On test data: {listed}.",
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
    found = split_figure(metrics, published, rows, "likelihood_posterior", label)
    if found is None:
        return None
    figure, ends, notes = found
    listed = "; ".join(ends)
    return Plot(
        "likelihood",
        "Marginal likelihood: AEVB, wake-sleep and MCEM",
        "Marginal log-likelihood per image in nats by Appendix D's estimator, higher is better, "
        "against training samples seen, on test (solid) and training data (dashed). For MCEM "
        "every evaluation of the decoder at an image counts as one sample; "
        f"{SEEDS}. On test data: {listed}.{notes}",
        f"A panel per size of the training set, likelihood against samples. Test data: {listed}.",
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
    for case, values in courses.items():
        draw_course(axes, values, **plots.look(looks.index(case)), label=OPTIMISERS[case])
    log_samples(axes, "training samples seen")
    axes.set_ylabel("test bound (nats)")
    names = {case: OPTIMISERS[case].replace("\n", " ") for case in courses}
    notes = cut_diverged([axes], {names[case]: values for case, values in courses.items()})
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
        f"Curves of the test bound against samples. At the end: {listed}.",
        figure,
    )


def gradient_variance(metrics: Metrics) -> Plot | None:
    """Draw the variance of three estimators' gradients by latents (Secs. 2.2 and 2.3)."""
    own = metrics.get("gradient_variance", {})
    keys = {  # samples per data point, estimator -> latents -> key
        (samples, name): numbered(own, rf"z(\d+)/gradient_variance_{name}_L{samples}")
        for samples in sorted({int(s) for s in re.findall(r"_L(\d+)\b", " ".join(own))})
        for name in ESTIMATORS
    }
    keys = {place: latents for place, latents in keys.items() if latents}
    if not keys:
        return None
    counts = list(dict.fromkeys(samples for samples, _ in keys))
    figure, (panels,) = plots.canvas(min(9, 3 + 3 * len(counts)), 4, columns=len(counts))
    told = []
    for axes, samples in zip(panels, counts, strict=True):
        own_keys = {name: keys[samples, name] for name in ESTIMATORS if (samples, name) in keys}
        for index, (name, label) in enumerate(ESTIMATORS.items()):
            latents = own_keys.get(name, {})
            intervals = [stats.mean(own[key]) for key in latents.values()]
            if intervals:
                plots.curve(axes, list(latents), intervals, index, label)
        if axes is not panels[0]:
            axes.sharey(panels[0])
            axes.tick_params(labelleft=False)
        axes.set_yscale("log")
        plots.log_ticks(axes, [z for latents in own_keys.values() for z in latents])
        axes.set_xlabel("latents")
        axes.set_title(f"{samples} sample{'s' if samples > 1 else ''} per image")
        most = max(z for latents in own_keys.values() for z in latents)
        told += [
            f"L = {samples}, {most} latents: "
            + ", ".join(
                f"{ESTIMATORS[name]} {written(stats.mean(own[latents[most]]))}"
                for name, latents in own_keys.items()
                if most in latents
            )
        ]
    panels[0].set_ylabel("variance of the gradient (nats²)")
    plots.legend(figure, "lower center")
    listed = "; ".join(told)
    return Plot(
        "gradient_variance",
        "Variance of three estimators of the gradient",
        "Variance of a minibatch's gradient in the encoder's parameters, summed over them, by "
        "number of latents and of samples L per image, for the same nets at one moment of their "
        "training, the same minibatch and noise. Estimator A samples the KL term too, B has it in "
        "closed form; both differentiate through the sample, which the score function does not; "
        f"{SEEDS}. {listed}.",
        f"Panels by L, variance against latents on logarithmic axes. {listed}.",
        figure,
    )


def iwae(metrics: Metrics, published: Published) -> Plot | None:
    """Draw the likelihood by samples of the bound or importance weights (Burda et al. Table 1)."""
    key = "test/nll_importance_nats"
    cases = {
        "VAE, k samples": {k: f"vae_k{k}" for k in WEIGHTS},
        "IWAE, k weights": {k: "vae_k1" if k == 1 else f"iwae_k{k}" for k in WEIGHTS},
    }
    found = {
        label: {k: measured(metrics, case, key) for k, case in own.items()}
        for label, own in cases.items()
    }
    found = {
        label: {k: interval for k, interval in own.items() if interval}
        for label, own in found.items()
    }
    if not any(found.values()):
        return None
    figure, ((axes,),) = plots.canvas(7, 4)
    stars = False
    for index, (label, own) in enumerate(found.items()):
        dodge = 1.03 ** (2 * index - 1)  # else the common first point hides one of the two
        if own:
            plots.curve(axes, [k * dodge for k in own], list(own.values()), index, label)
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
    told = [
        f"{label} {', '.join(f'{written(i)} (k = {k})' for k, i in own.items())}"
        for label, own in found.items()
        if own
    ]
    listed = "; ".join(told)
    return Plot(
        "iwae",
        "Samples of the bound and importance weights",
        "Negative log-likelihood of test images, lower is better, estimated with the most "
        "importance samples, by the number k of samples (VAE) or importance weights (IWAE) in "
        f"training; with k = 1 both are the same nets. {SEEDS.capitalize()}. Measured: {listed}."
        + (" Hollow marks: the published numbers." if stars else ""),
        f"Two curves of the negative log-likelihood against k: {listed}.",
        figure,
    )
