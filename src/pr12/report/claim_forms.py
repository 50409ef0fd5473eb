"""The forms of a claim: what each is judged on, what it measures, and the verdict.

A claim has exactly one form. Each form comes down to one measured quantity (a mean with its 95 %
interval over seeds) and one bound:

published    the metric of a case lies within `published` -+ `tolerance`
less         `than` - `case` is greater than `margin`
ratio        `than` / `case` is at least `at_least`; the interval is that of the logarithm
gap          `case` closes at least the share `at_least` of the way from `from` to `to`
best_inside  the best case of a series is neither its first nor its last
falls        the metrics of a case fall along a list of keys, by more than `margin` in all
ranked       the rank correlation of metrics of cases with published numbers is at least `at_least`
at_most      the metric of a case is not greater
at_least     the metric of a case is not smaller

The interval inside the bound gives `reproduced`, outside `differs`, across `inconclusive`. A
published number is matched on both sides; beyond its tolerance in the good direction is
`differs, better`. A difference that should exceed a margin, but surely lies within it on both
sides of 0, is `no difference`.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pr12.report import stats
from pr12.workflow.errors import UserError

LARGEST = sys.float_info.max
Outcome = tuple[stats.Interval | None, str, str | None]  # measured, verdict, note

FORMS = {  # form: (required keys, optional keys); a relation may show a published number too
    "published": ({"case", "metric", "published", "tolerance"}, {"better", "nominal"}),
    "less": ({"less", "metric"}, {"than_metric", "margin", "published"}),
    "ratio": ({"ratio", "metric", "at_least"}, {"than_metric", "published"}),
    "gap": ({"gap", "metric", "at_least"}, {"from_metric", "to_metric", "published"}),
    "best_inside": ({"best_inside", "metric"}, {"choose", "published"}),
    "falls": ({"falls", "case"}, {"margin", "published"}),
    "ranked": ({"ranked", "at_least"}, {"published"}),
    "at_most": ({"case", "metric", "at_most"}, {"published"}),
    "at_least": ({"case", "metric", "at_least"}, {"published"}),
}
SINGLE = ("published", "at_most", "at_least")  # forms that are judged on one metric

# The word of a metric's quantity that fixes what is better (docs/architecture.md, Numbers).
DOWN = {"error", "errors", "loss", "nll", "mae", "mse", "rmse", "entropy", "kl", "perplexity"}
DOWN |= {"distance", "seconds", "bytes"}
UP = {"accuracy", "dice", "jaccard", "elbo", "likelihood", "correlation", "agreement", "auc"}


def form_of(claim: Mapping[str, Any], place: str = "claim") -> str:
    """Return the one form of a claim.

    Parameters
    ----------
    claim : mapping
        Perhaps unchecked.
    place : str
        Where it stands, for the message.

    Raises
    ------
    UserError
        If it has no form or several.

    Examples
    --------
    >>> form_of({"ratio": {"case": "soft", "than": "hard"}, "metric": "test/errors", "at_least": 2})
    'ratio'
    """
    forms = [form for form in FORMS if form != "published" and form in claim]
    if {"gap", "ranked", "ratio"} & set(forms) and "at_least" in forms:
        forms.remove("at_least")  # there it is the share, or the correlation
    if "tolerance" in claim or ("published" in claim and not forms):
        forms.append("published")
    if len(forms) != 1:
        what = f"the forms {' and '.join(forms)}" if forms else "no form"
        raise UserError(f"{place} has {what}; it must have exactly one of {', '.join(FORMS)}")
    return forms[0]


def direction(metric: str) -> str | None:
    """Tell whether a metric is better ``down`` or ``up``; None if its name does not say.

    Parameters
    ----------
    metric : str
        ``<split>/<quantity>[_<estimator>][_<unit>]``; the first known word counts.

    Examples
    --------
    >>> direction("test/errors"), direction("test/frame_accuracy"), direction("train/hidden")
    ('down', 'up', None)
    """
    for word in metric.rpartition("/")[2].split("_"):
        if word in DOWN | UP:
            return "down" if word in DOWN else "up"
    return None


def better(claim: Mapping[str, Any]) -> str | None:
    """Tell in which direction a published number would be better; None if none is, or unknown.

    Parameters
    ----------
    claim : mapping
        A checked claim; its `better` counts where the metric's name does not say.

    Examples
    --------
    >>> better({"case": "soft", "metric": "test/errors", "published": 74, "tolerance": 6})
    'down'
    """
    if form_of(claim) != "published" or claim.get("nominal"):
        return None
    return claim.get("better") or direction(claim["metric"])


def _sign(metric: str) -> float:
    """Return the factor that makes less better."""
    return -1.0 if direction(metric) == "up" else 1.0


def needs(claim: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (case, metric key) pairs that a claim is judged on, in the order of its form.

    Parameters
    ----------
    claim : mapping
        A checked claim.

    Examples
    --------
    >>> needs({"less": {"case": "soft", "than": "hard"}, "metric": "test/errors"})
    [('soft', 'test/errors'), ('hard', 'test/errors')]
    """
    metric = claim.get("metric")
    match form_of(claim):
        case "less" | "ratio" as relation:
            parts = claim[relation]
            return [(parts["case"], metric), (parts["than"], claim.get("than_metric", metric))]
        case "gap":
            ends = [
                (claim["gap"][end], claim.get(f"{end}_metric", metric)) for end in ("from", "to")
            ]
            return [(claim["gap"]["case"], metric), *ends]
        case "best_inside":
            chosen = claim.get("choose", metric)
            pairs = [(name, key) for key in (metric, chosen) for name in claim["best_inside"]]
            return list(dict.fromkeys(pairs))
        case "falls":
            return [(claim["case"], key) for key in claim["falls"]]
        case "ranked":
            return [(case, key) for case, numbers in claim["ranked"].items() for key in numbers]
    return [(claim["case"], metric)]


def bound(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bound of a quantity: `low`, `high` (None: open) and whether it is `strict`.

    Parameters
    ----------
    claim : mapping
        A checked claim.

    Examples
    --------
    >>> bound({"case": "soft", "metric": "test/errors", "published": 74, "tolerance": 6})
    {'low': 68.0, 'high': 80.0, 'strict': False}
    """
    low = high = None
    form = form_of(claim)
    if form == "published":
        # 0.7 + 0.1 must not exclude a measured 0.8 by its sixteenth digit
        published, tolerance = float(claim["published"]), float(claim["tolerance"])
        low, high = _rounded(published - tolerance), _rounded(published + tolerance)
    elif form == "at_most":
        high = claim["at_most"]
    elif form in ("gap", "at_least", "ranked", "ratio"):
        low = claim["at_least"]
    else:
        low = claim.get("margin", 0.0)
    return {"low": low, "high": high, "strict": form in ("less", "falls", "best_inside")}


def _rounded(value: float) -> float:
    """Return a number to its twelfth digit; above what a float holds, the largest one."""
    return min(max(float(f"{value:.12g}"), -LARGEST), LARGEST)


def quantity(claim: Mapping[str, Any]) -> str:
    """Say in words what is measured.

    Parameters
    ----------
    claim : mapping
        A checked claim.

    Examples
    --------
    >>> quantity({"case": "soft", "metric": "test/errors", "at_most": 80})
    'test/errors of soft'
    """
    named = [f"{key} of {case}" for case, key in needs(claim)]
    match form_of(claim):
        case "less":
            return f"{named[1]} − {named[0]}"
        case "ratio":
            return f"{named[1]} / {named[0]}"
        case "gap":
            return f"share of the way from {named[1]} to {named[2]} gone by {named[0]}"
        case "best_inside":
            first, *_, last = claim["best_inside"]
            by = "less" if direction(claim["metric"]) != "up" else "more"
            return f"{claim['metric']}: by how much the best inside is {by} than {first} and {last}"
        case "falls":
            return f"{named[0]} − {named[-1]}"
        case "ranked":
            return f"Spearman's rank correlation with the published numbers of {len(named)} cells"
    return named[0]


def judged(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> Outcome:
    """Return what is measured of a claim, its verdict and perhaps a note.

    Parameters
    ----------
    claim : mapping
        A checked claim.
    samples : sequence of sequence of float
        One value per seed for each pair of `needs`, in that order.

    Examples
    --------
    >>> claim = {"ratio": {"case": "soft", "than": "hard"}, "metric": "test/errors", "at_least": 2}
    >>> measured, verdict, note = judged(claim, [[10.0, 10.0], [40.0, 40.0]])
    >>> round(measured.mean, 9), verdict, note
    (4.0, 'reproduced', None)
    """
    match form_of(claim):
        case "less":
            measured = stats.difference(samples[1], samples[0])
        case "ratio":
            return _ratio(claim, *samples)
        case "gap":
            return _gap(claim, *samples)
        case "best_inside":
            return _best_inside(claim, samples)
        case "falls":
            return _falls(claim, samples)
        case "ranked":
            return _ranked(claim, samples)
        case _:
            measured = stats.bounded(claim["metric"], samples[0])
    return measured, _verdict(claim, measured), None


def _verdict(claim: Mapping[str, Any], measured: stats.Interval) -> str:
    """Compare an interval with a claim's bound: inside, outside or across."""
    limits = bound(claim)
    low = -math.inf if limits["low"] is None else limits["low"]
    high = math.inf if limits["high"] is None else limits["high"]
    above = measured.low > low if limits["strict"] else measured.low >= low
    below = measured.high <= low if limits["strict"] else measured.high < low
    if above and measured.high <= high:
        return "reproduced"
    if limits["strict"] and low > 0 and -low <= measured.low and measured.high <= low:
        return "no difference"
    if not below and measured.low <= high:
        return "inconclusive"
    return "differs, better" if better(claim) == ("down" if below else "up") else "differs"


def n_to_decide(claim: Mapping[str, Any], measured: stats.Interval | None) -> int | None:
    """Return how many values would decide, should mean and spread stay as they are.

    Parameters
    ----------
    claim : mapping
        A checked claim.
    measured : Interval or None
        What `judged` gave.

    Returns
    -------
    int or None
        None where the interval does not lie across the bound, or has no width.

    Examples
    --------
    >>> claim = {"case": "soft", "metric": "test/errors", "at_most": 80}
    >>> n_to_decide(claim, stats.mean([74, 84, 76]))
    30
    """
    if measured is None or _verdict(claim, measured) != "inconclusive":
        return None
    ends = [end for end in (bound(claim)["low"], bound(claim)["high"]) if end is not None]
    if form_of(claim) == "ratio":
        logs = (math.log(value) for value in (measured.mean, measured.low, measured.high))
        measured, ends = stats.Interval(*logs, n=measured.n), [math.log(end) for end in ends]
    elif form_of(claim) in SINGLE and (scale := stats.scale(claim["metric"])):
        numbers = (measured.mean, measured.low, measured.high, *ends)
        if all(scale.low < value < scale.high for value in numbers):
            mean, low, high, *ends = map(scale.there, numbers)
            measured = stats.Interval(mean, low, high, n=measured.n)
    return stats.deciding_n(measured, ends)


def _ratio(claim: Mapping[str, Any], case: Sequence[float], than: Sequence[float]) -> Outcome:
    """Judge a ratio of positive numbers by the difference of their logarithms."""
    if min(*case, *than) <= 0:
        return None, "inconclusive", "a ratio needs positive numbers"
    logs = stats.difference(*([math.log(value) for value in values] for values in (than, case)))
    # exp(log 6 - log 3) must not miss a bound of 2 by its sixteenth digit
    ends = (min(end, math.log(LARGEST)) for end in (logs.mean, logs.low, logs.high))
    mean, low, high = (_rounded(math.exp(end)) for end in ends)
    measured = stats.Interval(mean=mean, low=low, high=high, n=logs.n)
    return measured, _verdict(claim, measured), None


def _gap(
    claim: Mapping[str, Any],
    case: Sequence[float],
    start: Sequence[float],
    end: Sequence[float],
) -> Outcome:
    """Judge a share of a gap through a linear form (Fieller's argument).

    With s = `at_least`, (start - case) / (start - end) >= s is the same as
    (1 - s) start - case + s end >= 0 wherever start - end > 0, and the left side of that is a
    plain weighted sum: it has an interval, while a ratio of two noisy numbers has none worth the
    name. Shown is s + (weighted sum) / (mean gap): its mean is the ratio of the means, and it lies
    above s exactly where the weighted sum lies above 0. A gap whose own interval does not exclude
    0 decides nothing; one that surely runs the other way makes the claim differ.
    """
    share = claim["at_least"]
    sign = _sign(claim["metric"])
    gap = stats.combination([(sign, start), (-sign, end)])
    if gap.high <= 0:
        return None, "differs", "there is no gap: where it should start is at least as good"
    if gap.low <= 0:
        enough = stats.deciding_n(gap, [0.0])
        sure = f"; about n = {enough} would make it sure" if enough else ""
        return None, "inconclusive", f"the gap itself is not sure: its interval holds 0{sure}"
    ahead = stats.combination([(sign * (1 - share), start), (-sign, case), (sign * share, end)])
    low, mean, high = (share + end / gap.mean for end in (ahead.low, ahead.mean, ahead.high))
    measured = stats.Interval(mean=mean, low=low, high=high, n=ahead.n)
    return measured, _verdict(claim, measured), None


def _best_inside(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> Outcome:
    """Judge the best case between two extremes, by its distance to the closer of them.

    The best has the smallest mean (the greatest, of a metric that is better up) of `choose`, or of
    the metric itself: then the choice flatters it a little. Both distances must exceed 0. If the
    choice over the whole series falls on an extreme, the claim is never reproduced.
    """
    series, metric = claim["best_inside"], claim["metric"]
    by_pair = dict(zip(needs(claim), samples, strict=True))
    key = claim.get("choose", metric)
    means = {name: _sign(key) * stats.mean(by_pair[name, key]).mean for name in series}
    best, inside = min(series, key=means.get), min(series[1:-1], key=means.get)
    distances = [
        stats.combination(
            [(_sign(metric), by_pair[end, metric]), (-_sign(metric), by_pair[inside, metric])]
        )
        for end in (series[0], series[-1])
    ]
    # The closer one decides; a sure loss against either comes first.
    measured = min(distances, key=lambda interval: (interval.high > 0, interval.low))
    verdict = _verdict(claim, measured)
    if best != inside:
        note = f"the best by {key} is the extreme {best}; between them it is {inside}"
        return measured, "inconclusive" if verdict == "reproduced" else verdict, note
    return measured, verdict, f"the best by {key} is {inside}"


def _falls(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> Outcome:
    """Judge a fall by first - last and by the sign of Spearman's rank correlation of all points."""
    from scipy.stats import spearmanr

    measured = stats.difference(samples[0], samples[-1])
    verdict = _verdict(claim, measured)
    points = [(index, value) for index, values in enumerate(samples) for value in values]
    if verdict == "reproduced" and not spearmanr(points).statistic < 0:
        return measured, "inconclusive", "the last is below the first, but the series does not fall"
    return measured, verdict, None


def _ranked(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> Outcome:
    """Judge an order by its rank correlation with the published one, seed by seed."""
    from scipy.stats import spearmanr

    published = [number for cells in claim["ranked"].values() for number in cells.values()]
    seeds = list(zip(*samples, strict=False))  # those that every cell has
    if any(len(set(cells)) == 1 for cells in seeds):
        return None, "inconclusive", "all cells are equal: there is no order"
    correlations = [float(spearmanr(published, cells).statistic) for cells in seeds]
    measured = stats.bounded("correlation", correlations)
    return measured, _verdict(claim, measured), None
