"""Claims of a paper, as data, judged on metrics: the verdicts are computed here and only here.

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

The interval inside the bound gives `reproduced`, outside `differs`, across `inconclusive`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import spearmanr

from pr12.report import evidence
from pr12.report.rows import Row
from pr12.shared import stats
from pr12.shared.errors import UserError

VERDICTS = ("reproduced", "differs", "inconclusive", "not run")
RUNS = ("embedded", "full", "smoke")

_COMMON = ({"id", "says", "where"}, {"runs", "timing", "from_memory", "headline", "reason"})
_FORMS = {  # form: (required keys, optional keys); a relation may show a published number too
    "published": ({"case", "metric", "published", "tolerance"}, set()),
    "less": ({"less", "metric"}, {"than_metric", "margin", "published"}),
    "ratio": ({"ratio", "metric", "at_least"}, {"than_metric", "published"}),
    "gap": ({"gap", "metric", "at_least"}, {"from_metric", "to_metric", "published"}),
    "best_inside": ({"best_inside", "metric"}, {"choose", "published"}),
    "falls": ({"falls", "case"}, {"margin", "published"}),
    "ranked": ({"ranked", "at_least"}, {"published"}),
    "at_most": ({"case", "metric", "at_most"}, {"published"}),
    "at_least": ({"case", "metric", "at_least"}, {"published"}),
}
_PARTS = {"less": ("case", "than"), "ratio": ("case", "than"), "gap": ("case", "from", "to")}
_NUMBERS = ("published", "tolerance", "margin", "at_most", "at_least")
_FLAGS = ("timing", "from_memory", "headline")
_SHORTEST = {"runs": 1, "falls": 2, "best_inside": 3}  # the lists and their least lengths

# The word of a metric's quantity that fixes what is better (docs/architecture.md, Numbers).
_DOWN = {"error", "errors", "loss", "nll", "mae", "mse", "rmse", "entropy", "kl", "perplexity"}
_DOWN |= {"distance", "seconds", "bytes"}
_UP = {"accuracy", "dice", "jaccard", "elbo", "likelihood", "correlation", "agreement", "auc"}


def check(claims: Sequence[Mapping[str, Any]], cases: Sequence[str], where: str) -> None:
    """Check every claim of a paper.

    Parameters
    ----------
    claims : sequence of mapping
        As params.yaml holds them.
    cases : sequence of str
        The paper's cases, of whatever run.
    where : str
        Path of the list, for messages.

    Raises
    ------
    UserError
        For the first unknown, missing or ill-typed key, form, case or run, and for an id that
        is used twice, with the full path and what is allowed.

    Examples
    --------
    >>> claim = {"id": "few", "says": "few errors", "where": "Sec. 3", "case": "soft",
    ...          "metric": "test/errors", "at_most": 80}
    >>> check([claim], ["soft"], "distill.claims")
    >>> check([claim | {"at_mots": 3}], ["soft"], "distill.claims")
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: distill.claims[0].at_mots (claim few) is unknown; allowed in a \
claim of the form at_most: at_most, case, from_memory, headline, id, metric, published, reason, \
runs, says, timing, where
    """
    seen: dict[str, str] = {}
    for index, claim in enumerate(claims):
        place = f"{where}[{index}]"
        if not isinstance(claim, Mapping):
            raise UserError(f"{place} is {claim!r}; it must be a mapping with id, says, where, ...")
        name = f" (claim {claim['id']})" if isinstance(claim.get("id"), str) else ""
        form = _form(claim, f"{place}{name}")
        _check_keys(claim, form, place, name)
        for case, _ in needs(claim):
            if case not in cases:
                allowed = ", ".join(cases)
                raise UserError(f"{place}{name} names the unknown case {case!r}; known: {allowed}")
        if form == "gap" and direction(claim["metric"]) is None:
            allowed = ", ".join(sorted(_DOWN | _UP))
            raise UserError(
                f"{place}.metric{name} is {claim['metric']!r}, of which it is not known whether "
                f"less is better; a gap needs one of these words in its metric: {allowed}"
            )
        if claim["id"] in seen:
            raise UserError(f"{place}.id is {claim['id']!r}, as in {seen[claim['id']]}; change one")
        seen[claim["id"]] = place


def _check_keys(claim: Mapping[str, Any], form: str, place: str, name: str) -> None:
    required, optional = (a | b for a, b in zip(_COMMON, _FORMS[form], strict=True))
    for key, value in claim.items():
        path = f"{place}.{key}{name}"
        if key not in required | optional:
            allowed = ", ".join(sorted(required | optional))
            raise UserError(f"{path} is unknown; allowed in a claim of the form {form}: {allowed}")
        _check_value(key, value, path)
    for key in sorted(required - set(claim)):
        raise UserError(f"{place}.{key}{name} is missing; a claim of the form {form} needs it")


def _form(claim: Mapping[str, Any], place: str) -> str:
    found = [form for form in _FORMS if form != "published" and form in claim]
    if {"gap", "ranked", "ratio"} & set(found) and "at_least" in found:
        found.remove("at_least")  # there it is the share, or the correlation
    if "tolerance" in claim or ("published" in claim and not found):
        found.append("published")
    if len(found) != 1:
        what = f"the forms {' and '.join(found)}" if found else "no form"
        raise UserError(f"{place} has {what}; it must have exactly one of {', '.join(_FORMS)}")
    return found[0]


def _check_value(key: str, value: Any, path: str) -> None:
    if key in _PARTS:
        parts = _PARTS[key]
        good = isinstance(value, Mapping) and set(value) == set(parts)
        good = good and all(isinstance(part, str) for part in value.values())
        wanted = "a mapping of " + ", ".join(parts) + " to names of cases"
    elif key == "ranked":
        good = isinstance(value, Mapping) and all(isinstance(v, Mapping) for v in value.values())
        numbers = [number for own in value.values() for number in own.values()] if good else []
        good = len(numbers) >= 3 and all(type(number) in (int, float) for number in numbers)
        wanted = "a mapping of cases to mappings of metrics to numbers, three numbers or more"
    elif key in _SHORTEST:
        good = isinstance(value, list | tuple) and len(value) >= _SHORTEST[key]
        good = good and all(isinstance(item, str) for item in value)
        wanted = f"a list of at least {_SHORTEST[key]} names"
        if key == "runs":
            good, wanted = good and set(value) <= set(RUNS), f"a list out of {', '.join(RUNS)}"
    elif key in _NUMBERS:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        good = good and math.isfinite(value) and (key != "tolerance" or value >= 0)
        wanted = "a number of at least 0" if key == "tolerance" else "a number"
    elif key in _FLAGS:
        good, wanted = isinstance(value, bool), "true or false"
    else:
        good, wanted = isinstance(value, str) and bool(value.strip()), "a text"
    if not good:
        raise UserError(f"{path} is {value!r}; it must be {wanted}")


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
        if word in _DOWN | _UP:
            return "down" if word in _DOWN else "up"
    return None


def _sign(metric: str) -> float:
    """Give the factor that makes less better."""
    return -1.0 if direction(metric) == "up" else 1.0


def needs(claim: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the (case, metric key) pairs that a claim is judged on, in the order of its form.

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
    match _form(claim, "claim"):
        case "less" | "ratio" as form:
            parts = claim[form]
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
            return [(case, key) for case, own in claim["ranked"].items() for key in own]
    return [(claim["case"], metric)]


def bound(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Give the bound of a claim's quantity: `low`, `high` (None: open) and whether it is `strict`.

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
    form = _form(claim, "claim")
    if form == "published":
        # 0.7 + 0.1 must not exclude a measured 0.8 by its sixteenth digit
        ends = (claim["published"] - claim["tolerance"], claim["published"] + claim["tolerance"])
        low, high = (float(f"{end:.12g}") for end in ends)
    elif form == "at_most":
        high = claim["at_most"]
    elif form in ("gap", "at_least", "ranked", "ratio"):
        low = claim["at_least"]
    else:
        low = claim.get("margin", 0.0)
    return {"low": low, "high": high, "strict": form in ("less", "falls", "best_inside")}


def judge(claim: Mapping[str, Any], rows: Mapping[str, Row], run: str) -> dict[str, Any]:
    """Judge one claim.

    Parameters
    ----------
    claim : mapping
        A checked claim.
    rows : mapping
        Case -> its evidence and how that stands to today's code. A claim with ``timing: true`` is
        judged on ratios alone: times are properties of a machine.
    run : str
        The run that the evidence comes from.

    Returns
    -------
    dict
        What the claim says; its published number, quantity, measured `stats.Interval`, bound and
        verdict; a note where the verdict needs one; how its cases stand to today's code where
        they are not made by it; the command and the sources (files with their SHA-256) of its
        cases.
    """
    timing = claim.get("timing", False)
    values = {
        case: row.evidence.ratios if timing else row.evidence.metrics for case, row in rows.items()
    }
    counting = {case: values[case] for case, row in rows.items() if row.standing.counts}
    if timing and run not in evidence.TIMED_RUNS and run in claim.get("runs", RUNS):
        measured, verdict, note = None, "not run", "a time: its verdict is in index.html"
    else:
        measured, verdict, note = outcome(claim, counting, run)
    cases = list(dict.fromkeys(case for case, _ in needs(claim)))
    there = {case: rows[case] for case in cases if case in rows}
    aside = [f"{case}: {row.standing.note}" for case, row in there.items() if case not in counting]
    if aside:
        before = outcome(claim, values, run)[0]
        number = f"; it was {stats.written(dataclasses.asdict(before))}" if before else ""
        note = f"no result that counts today ({'; '.join(aside)}){number}"
    return {
        **{key: claim.get(key) for key in ("id", "says", "where", "published")},
        **{key: claim.get(key, False) for key in _FLAGS},
        "form": _form(claim, "claim"),
        "quantity": _quantity(claim),
        "measured": dataclasses.asdict(measured) if measured else None,
        "bound": bound(claim),
        "verdict": verdict,
        "note": note,
        "reason": claim.get("reason") if verdict in ("differs", "inconclusive") else None,
        "standing": [
            {"case": case, "state": row.standing.state, "note": row.standing.note}
            for case, row in there.items()
            if row.standing.state != "current"
        ],
        "command": "\n".join(
            f"PYTHONPATH=src {row.evidence.provenance['command']}" for row in there.values()
        ),
        "sources": [
            {"case": case, "name": name, **source}
            for case, row in there.items()
            for name, source in sorted(row.evidence.provenance["inputs"].items())
        ],
    }


_Outcome = tuple[stats.Interval | None, str, str | None]  # measured, verdict, note


def outcome(
    claim: Mapping[str, Any], values: Mapping[str, Mapping[str, Sequence[float]]], run: str
) -> _Outcome:
    """Return what is measured of a claim, its verdict and a note.

    Parameters
    ----------
    claim : mapping
        A checked claim.
    values : mapping
        Case -> metric key -> one value per seed.
    run : str
        The run that they come from.

    Examples
    --------
    >>> claim = {"id": "fewer", "says": "Soft targets help.", "where": "Sec. 3",
    ...          "less": {"case": "soft", "than": "hard"}, "metric": "test/errors"}
    >>> values = {"soft": {"test/errors": [74, 76]}, "hard": {"test/errors": [146, 148]}}
    >>> measured, verdict, note = outcome(claim, values, "full")
    >>> measured.mean, verdict, note
    (72.0, 'reproduced', None)
    """
    if run not in claim.get("runs", RUNS):
        return None, "not run", f"judged in the run {' and '.join(claim['runs'])} only"
    for case, key in needs(claim):
        if case not in values:
            return None, "not run", f"no result of case {case}"
        if key not in values[case]:
            return None, "not run", f"the case {case} has no {key}"
    measured, verdict, note = _judged(claim, [values[case][key] for case, key in needs(claim)])
    if claim.get("from_memory"):
        verdict, note = "inconclusive", "the published number is from memory: it cannot decide"
    return measured, verdict, note


def _quantity(claim: Mapping[str, Any]) -> str:
    """Say in words what is measured."""
    named = [f"{key} of {case}" for case, key in needs(claim)]
    match _form(claim, "claim"):
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


def _judged(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> _Outcome:
    match _form(claim, "claim"):
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
            measured = stats.mean(samples[0])
    return measured, _verdict(measured, bound(claim)), None


def _verdict(measured: stats.Interval, limits: Mapping[str, Any]) -> str:
    """Compare an interval with a bound: inside, outside or across."""
    low = -math.inf if limits["low"] is None else limits["low"]
    high = math.inf if limits["high"] is None else limits["high"]
    above = measured.low > low if limits["strict"] else measured.low >= low
    below = measured.high <= low if limits["strict"] else measured.high < low
    if above and measured.high <= high:
        return "reproduced"
    return "differs" if below or measured.low > high else "inconclusive"


def _ratio(claim: Mapping[str, Any], case: Sequence[float], than: Sequence[float]) -> _Outcome:
    """Judge a ratio of positive numbers by the difference of their logarithms."""
    if min(*case, *than) <= 0:
        return None, "inconclusive", "a ratio needs positive numbers"
    logs = stats.difference(*([math.log(value) for value in values] for values in (than, case)))
    mean, low, high = (math.exp(end) for end in (logs.mean, logs.low, logs.high))
    measured = stats.Interval(mean=mean, low=low, high=high, n=logs.n)
    return measured, _verdict(measured, bound(claim)), None


def _gap(
    claim: Mapping[str, Any],
    case: Sequence[float],
    start: Sequence[float],
    end: Sequence[float],
) -> _Outcome:
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
        return None, "inconclusive", "the gap itself is not sure: its interval holds 0"
    ahead = stats.combination([(sign * (1 - share), start), (-sign, case), (sign * share, end)])
    low, mean, high = (share + end / gap.mean for end in (ahead.low, ahead.mean, ahead.high))
    measured = stats.Interval(mean=mean, low=low, high=high, n=ahead.n)
    return measured, _verdict(measured, bound(claim)), None


def _best_inside(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> _Outcome:
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
    verdict = _verdict(measured, bound(claim))
    if best != inside:
        note = f"the best by {key} is the extreme {best}; between them it is {inside}"
        return measured, "inconclusive" if verdict == "reproduced" else verdict, note
    return measured, verdict, f"the best by {key} is {inside}"


def _falls(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> _Outcome:
    """Judge a fall by first - last and by the sign of Spearman's rank correlation of all points."""
    measured = stats.difference(samples[0], samples[-1])
    verdict = _verdict(measured, bound(claim))
    points = [(index, value) for index, values in enumerate(samples) for value in values]
    if verdict == "reproduced" and not spearmanr(points).statistic < 0:
        return measured, "inconclusive", "the last is below the first, but the series does not fall"
    return measured, verdict, None


def _ranked(claim: Mapping[str, Any], samples: Sequence[Sequence[float]]) -> _Outcome:
    """Judge an order by its rank correlation with the published one, seed by seed."""
    published = [number for own in claim["ranked"].values() for number in own.values()]
    seeds = list(zip(*samples, strict=False))  # those that every cell has
    if any(len(set(cells)) == 1 for cells in seeds):
        return None, "inconclusive", "all cells are equal: there is no order"
    correlations = [float(spearmanr(published, cells).statistic) for cells in seeds]
    measured = stats.mean(correlations)
    return measured, _verdict(measured, bound(claim)), None
