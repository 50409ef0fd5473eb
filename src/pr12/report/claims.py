"""Claims of a paper, as data, judged on metrics: the verdicts are computed here and only here.

`pr12.report.claim_forms` lists the forms of a claim and judges one by numbers. Here a list of
claims is checked, and a claim is judged on evidence, by how that stands to today's code.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pr12.report import claim_forms, evidence, stats
from pr12.report.claim_forms import (
    FORMS,
    Outcome,
    bound,  # so that who judges claims
    direction,  # needs to know this module alone
    needs,
)
from pr12.report.rows import Row
from pr12.workflow.errors import UserError

VERDICTS = (
    "reproduced",
    "no difference",
    "differs",
    "differs, better",
    "inconclusive",
    "not run",
)
RUNS = ("embedded", "full", "smoke")

_COMMON = ({"id", "says", "where"}, {"runs", "timing", "from_memory", "headline", "reason"})
_PARTS = {"less": ("case", "than"), "ratio": ("case", "than"), "gap": ("case", "from", "to")}
_NUMBERS = ("published", "tolerance", "margin", "at_most", "at_least")
_FLAGS = ("timing", "from_memory", "headline", "nominal")
_SHORTEST = {"runs": 1, "falls": 2, "best_inside": 3}  # the lists and their least lengths


def check(claims: Sequence[Mapping[str, Any]], cases: Sequence[str], where: str) -> None:
    """Check every claim of a paper.

    Parameters
    ----------
    claims : sequence of mapping
        As claims.yaml holds them.
    cases : sequence of str
        The paper's cases, of whatever run.
    where : str
        Path of the list, for messages.

    Raises
    ------
    UserError
        For the first unknown, missing or ill-typed key, form, case or run; for numbers compared
        with themselves; for an id that is used twice, and for two published numbers of one metric
        of one case; with the full path and what is allowed.

    Examples
    --------
    >>> claim = {"id": "few", "says": "few errors", "where": "Sec. 3", "case": "soft",
    ...          "metric": "test/errors", "at_most": 80}
    >>> check([claim], ["soft"], "claims.yaml")
    >>> check([claim | {"at_mots": 3}], ["soft"], "claims.yaml")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: claims.yaml[0].at_mots (claim few) is unknown; allowed in a \
claim of the form at_most: at_most, case, from_memory, headline, id, metric, published, reason, \
runs, says, timing, where
    """
    ids: dict[str, str] = {}
    published: dict[tuple[str, str], tuple[float, str]] = {}
    for index, claim in enumerate(claims):
        place = f"{where}[{index}]"
        if not isinstance(claim, Mapping):
            raise UserError(f"{place} is {claim!r}; it must be a mapping with id, says, where, ...")
        name = f" (claim {claim['id']})" if isinstance(claim.get("id"), str) else ""
        form = claim_forms.form_of(claim, f"{place}{name}")
        _check_keys(claim, form, place, name)
        _check_form(claim, form, cases, place, name)
        if claim["id"] in ids:
            raise UserError(f"{place}.id is {claim['id']!r}, as in {ids[claim['id']]}; change one")
        ids[claim["id"]] = place
        if {"published", "case", "metric"} <= set(claim):
            key, number = (claim["case"], claim["metric"]), claim["published"]
            before, first = published.setdefault(key, (number, place))
            if before != number:
                raise UserError(
                    f"{place}.published{name} is {number} and {first}.published {before}, both of "
                    f"{key[1]} of {key[0]}; a paper has one number there: correct one of them"
                )


def _check_form(
    claim: Mapping[str, Any], form: str, cases: Sequence[str], place: str, name: str
) -> None:
    """Check what a claim of well-typed values names, and bounds that no number could meet."""
    named = needs(claim)
    for case, _ in named:
        if case not in cases:
            allowed = ", ".join(cases)
            raise UserError(f"{place}{name} names the unknown case {case!r}; known: {allowed}")
    for case, key in named:
        if named.count((case, key)) > 1:
            raise UserError(
                f"{place}{name} compares {key} of {case} with itself; name another case or metric"
            )
    if form == "gap" and direction(claim["metric"]) is None:
        allowed = ", ".join(sorted(claim_forms.DOWN | claim_forms.UP))
        raise UserError(
            f"{place}.metric{name} is {claim['metric']!r}, of which it is not known whether "
            f"less is better; a gap needs one of these words in its metric: {allowed}"
        )
    share = claim.get("at_least")
    if form == "ratio" and share <= 0:
        raise UserError(f"{place}.at_least{name} is {share}; it must be above 0")
    if form == "gap" and not 0 < share <= 1:
        raise UserError(
            f"{place}.at_least{name} is {share}; it must be a share of the gap, above 0 and at "
            "most 1"
        )
    if form == "ranked" and not -1 <= share <= 1:
        raise UserError(f"{place}.at_least{name} is {share}; it must be a correlation, -1 to 1")


def _check_keys(claim: Mapping[str, Any], form: str, place: str, name: str) -> None:
    required, optional = (a | b for a, b in zip(_COMMON, FORMS[form], strict=True))
    for key, value in claim.items():
        path = f"{place}.{key}{name}"
        if key not in required | optional:
            allowed = ", ".join(sorted(required | optional))
            raise UserError(f"{path} is unknown; allowed in a claim of the form {form}: {allowed}")
        _check_value(key, value, path)
    for key in sorted(required - set(claim)):
        raise UserError(f"{place}.{key}{name} is missing; a claim of the form {form} needs it")


def _check_value(key: str, value: Any, path: str) -> None:
    if key in _PARTS:
        parts = _PARTS[key]
        good = isinstance(value, Mapping) and set(value) == set(parts)
        good = good and all(map(is_text, value.values()))
        wanted = "a mapping of " + ", ".join(parts) + " to names of cases"
    elif key == "ranked":
        good = isinstance(value, Mapping) and all(isinstance(v, Mapping) for v in value.values())
        cells = [cell for metrics in value.values() for cell in metrics.items()] if good else []
        good = len(cells) >= 3 and all(is_text(k) and is_number(v) for k, v in cells)
        wanted = "a mapping of cases to mappings of metrics to numbers, three numbers or more"
    elif key in _SHORTEST:
        good = isinstance(value, list | tuple) and len(value) >= _SHORTEST[key]
        good = good and all(map(is_text, value)) and len(set(value)) == len(value)
        wanted = f"a list of at least {_SHORTEST[key]} names, each once"
        if key == "runs":
            good, wanted = good and set(value) <= set(RUNS), f"a list out of {', '.join(RUNS)}"
    elif key in _NUMBERS:
        good = is_number(value) and (key != "tolerance" or value >= 0)
        wanted = "a finite number of at least 0" if key == "tolerance" else "a finite number"
    elif key in _FLAGS:
        good, wanted = isinstance(value, bool), "true or false"
    elif key == "better":
        good, wanted = value in ("down", "up"), "down or up"
    elif key == "id":
        good = isinstance(value, str) and re.fullmatch(r"[\w-]+", value, flags=re.ASCII)
        wanted = "a word of letters, digits, _ and -"
    else:
        good, wanted = is_text(value), "a text"
    if not good:
        raise UserError(f"{path} is {shown(value)}; it must be {wanted}")


def is_text(value: Any) -> bool:
    """Tell whether a value is a text that is not empty."""
    return isinstance(value, str) and bool(value.strip())


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number that a float can hold.

    Examples
    --------
    >>> [is_number(value) for value in (1, 0.5, True, "1", float("nan"), 10**400)]
    [True, True, False, False, False, False]
    """
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and not for ever.

    Examples
    --------
    >>> shown([1, "a"]), len(shown("x" * 1000))
    ("[1, 'a']", 203)
    """
    text = f"a whole number of {value.bit_length()} bits" if _is_huge(value) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _is_huge(value: Any) -> bool:
    return type(value) is int and value.bit_length() > 4096


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
    cases = list(dict.fromkeys(case for case, _ in needs(claim)))
    there = {case: rows[case] for case in cases if case in rows}
    aside = {case: row.standing.note for case, row in there.items() if not row.standing.counts}
    measured, verdict, note = outcome(claim, values, run)
    named = run in claim.get("runs", RUNS)
    if named and aside:
        measured, verdict, note = None, "not run", _why_aside(aside, measured)
    elif named and timing and run not in evidence.TIMED_RUNS and len(there) == len(cases):
        measured, verdict, note = None, "not run", "a time: its verdict is in index.html"
    return {
        **{key: claim.get(key) for key in ("id", "says", "where", "published")},
        **{key: claim.get(key, False) for key in _FLAGS},
        "runs": claim.get("runs"),
        "form": claim_forms.form_of(claim),
        "quantity": claim_forms.quantity(claim),
        "measured": dataclasses.asdict(measured) if measured else None,
        "bound": bound(claim),
        "better": claim_forms.better(claim),
        "verdict": verdict,
        "n_to_decide": n_to_decide(claim, measured, verdict),
        "note": note,
        "reason": reason(claim, verdict),
        **_origin(there),
    }


def leads(claims: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return for each claim whose text goes on with "..." the text that it goes on from.

    Parameters
    ----------
    claims : sequence of mapping
        In the order of claims.yaml.

    Examples
    --------
    >>> leads([{"says": "206 errors"}, {"says": "... 133 on threes"}, {"says": "47 %"}])
    [None, '206 errors', None]
    """
    texts, last = [], None
    for claim in claims:
        goes_on = claim["says"].startswith("...")
        texts.append(last if goes_on else None)
        last = last if goes_on else claim["says"]
    return texts


def reason(claim: Mapping[str, Any], verdict: str) -> str | None:
    """Return the reason that a claim gives, where its verdict needs one.

    Parameters
    ----------
    claim : mapping
        A checked claim.
    verdict : str
        One of `VERDICTS`.

    Examples
    --------
    >>> reason({"reason": "other data"}, "differs"), reason({"reason": "other data"}, "reproduced")
    ('other data', None)
    """
    return None if verdict in ("reproduced", "not run") else claim.get("reason")


def n_to_decide(
    claim: Mapping[str, Any], measured: stats.Interval | None, verdict: str
) -> int | None:
    """Return how many values would decide an inconclusive claim, as far as spread is the cause.

    Parameters
    ----------
    claim, measured, verdict
        What `outcome` was given and gave.

    Examples
    --------
    >>> claim = {"case": "soft", "metric": "test/errors", "at_most": 80}
    >>> n_to_decide(claim, stats.mean([74, 84, 76]), "inconclusive")
    30
    """
    if verdict != "inconclusive" or claim.get("from_memory") or claim.get("timing"):
        return None
    return claim_forms.n_to_decide(claim, measured)


def _why_aside(aside: Mapping[str, str | None], before: stats.Interval | None) -> str:
    """Write why results do not count today, and what the number was."""
    reasons = "; ".join(f"{case}: {note}" for case, note in aside.items())
    number = f"; it was {stats.written(dataclasses.asdict(before))}" if before else ""
    return f"no result that counts today ({reasons}){number}"


def _origin(rows: Mapping[str, Row]) -> dict[str, Any]:
    """Return where a claim's numbers come from."""
    return {
        "standing": [
            {"case": case, "state": row.standing.state, "note": row.standing.note}
            for case, row in rows.items()
            if row.standing.state != "current"
        ],
        "command": "\n".join(
            f"PYTHONPATH=src {row.evidence.provenance['command']}" for row in rows.values()
        ),
        "sources": [
            {"case": case, "name": name, **source}
            for case, row in rows.items()
            for name, source in sorted(row.evidence.provenance["inputs"].items())
        ],
    }


def outcome(
    claim: Mapping[str, Any], values: Mapping[str, Mapping[str, Sequence[float]]], run: str
) -> Outcome:
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
    measured, verdict, note = claim_forms.judged(
        claim, [values[case][key] for case, key in needs(claim)]
    )
    if claim.get("from_memory"):
        verdict, note = "inconclusive", "the published number is from memory: it cannot decide"
    if claim.get("timing") and measured and measured.n < 3:
        verdict, note = "inconclusive", "one measurement of time or two decide nothing"
    return measured, verdict, note
