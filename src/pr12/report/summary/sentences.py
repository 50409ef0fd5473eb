"""What came out, in sentences: of a claim, and of a paper. Every number is counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from pr12.report import stats
from pr12.report.summary import groups, numbers
from pr12.report.summary.numbers import Record

# What the measured quantity of a relation is called
QUANTITIES = {
    "less": "difference",
    "ratio": "ratio",
    "gap": "share of the way",
    "best_inside": "distance to the closer extreme",
    "falls": "fall",
    "ranked": "rank correlation",
}


def bound_text(bound: Mapping[str, Any]) -> str:
    """Write a bound in words.

    Parameters
    ----------
    bound : mapping
        As `pr12.report.claims.bound` gives it.

    Examples
    --------
    >>> bound_text({"low": 68.0, "high": 80.0, "strict": False})
    'from 68 to 80'
    >>> bound_text({"low": 0, "high": None, "strict": True})
    'above 0'
    """
    if bound["low"] is None:
        return f"at most {stats.number(bound['high'])}"
    low = stats.number(bound["low"])
    if bound["high"] is None:
        return f"above {low}" if bound["strict"] else f"at least {low}"
    return f"from {low} to {stats.number(bound['high'])}"


def statement(record: Record) -> str:
    """Return what a claim says, after the claim that it goes on from.

    Examples
    --------
    >>> statement({"says": "... of them 133 on threes", "lead": "No threes: 206 errors"})
    'No threes: 206 errors ... of them 133 on threes'
    """
    lead = record.get("lead")
    return f"{lead} {record['says']}" if lead else record["says"]


def came_out(record: Record) -> str:
    """Write what came out of a claim, as one sentence.

    Parameters
    ----------
    record : mapping
        What `pr12.report.claims.judge` returned.

    Examples
    --------
    >>> came_out({"says": "74 errors", "form": "published", "published": 74, "bound": None,
    ...           "measured": {"mean": 139.0, "low": 133.2, "high": 144.8, "n": 10},
    ...           "verdict": "differs"})
    '“74 errors”: 139.0 [133.2, 144.8] here, 74 in the paper; differs.'
    """
    quoted = f"“{statement(record).rstrip('.')}”"
    if not record["measured"]:
        return f"{quoted}: {record['verdict']}."
    quantity = QUANTITIES.get(record["form"])
    here = f"{quantity + ' ' if quantity else ''}{stats.written(record['measured'])} here"
    if record["form"] == "published":
        other = f"{stats.number(record['published'])} in the paper"
    else:
        other = f"{bound_text(record['bound'])} asked for"
    return f"{quoted}: {here}, {other}; {record['verdict']}."


def cited(records: Sequence[Record], name: str | None) -> Record | None:
    """Return the claim that a paper is cited for; where that was not run, the first headline.

    Parameters
    ----------
    records : sequence of mapping
        Of one paper.
    name : str or None
        The id in ``cited_for``.

    Returns
    -------
    mapping or None
        None where neither is among the claims.
    """
    named = [record for record in records if record["id"] == name]
    judged = [r for r in numbers.ran(records) if r["headline"] and r["measured"]]
    return next(iter([*numbers.ran(named), *judged, *named]), None)


def opening(records: Sequence[Record], run: str) -> list[str]:
    """Write what came out of a paper: what is reproduced, what differs, what is undecided.

    Parameters
    ----------
    records : sequence of mapping
        Of one paper.
    run : str
        The run that they were judged in.

    Examples
    --------
    >>> opening([], "full")
    ['Nothing was judged in this run.']
    """
    judged = numbers.ran(records)
    if not judged:
        return ["Nothing was judged in this run."]
    texts = [_reproduced(judged), _differs(judged), _undecided(records, run)]
    return [text for text in texts if text]


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Write a number with its noun.

    Examples
    --------
    >>> counted(1, "claim"), counted(2, "claim")
    ('1 claim', '2 claims')
    """
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _reproduced(judged: Sequence[Record]) -> str:
    """Say how many findings hold, and how many printed numbers are matched."""
    holds = numbers.of_verdict(judged, "reproduced")
    findings = [record for record in judged if not numbers.is_printed(record)]
    phrases = []
    if findings:
        example = sorted(
            (record for record in holds if record in findings), key=lambda r: not r["headline"]
        )
        such = f" (such as “{statement(example[0]).rstrip('.')}”)" if example else ""
        phrases.append(f"{numbers.findings(judged)} findings hold{such}")
    if len(findings) < len(judged):
        # How many are better stands in the sentence after this
        phrases.append(f"{numbers.printed(judged).partition(',')[0]} printed numbers are matched")
    return f"{' and '.join(phrases)}."


def _differs(judged: Sequence[Record]) -> str:
    """Say what differs, in which direction, and which printed number is the farthest off."""
    others = numbers.of_verdict(judged, "differs", "differs, better", "no difference")
    if not others:
        return "Nothing that was judged differs."
    printed = [record for record in others if numbers.is_printed(record)]
    findings = [record for record in others if not numbers.is_printed(record)]
    sentence = []
    if printed:
        better = numbers.of_verdict(printed, "differs, better")
        worse = [record for record in printed if record["better"] and record not in better]
        neither = len(printed) - len(better) - len(worse)
        parts = [(len(worse), "worse"), (len(better), "better"), (neither, "merely other")]
        listed = ", ".join(f"{number} {word}" for number, word in parts if number)
        farthest = max(printed, key=_tolerances)
        sentence.append(
            f"{counted(len(printed), 'printed number')} "
            f"{'differs' if len(printed) == 1 else 'differ'} ({listed}), by the most tolerances "
            f"“{statement(farthest).rstrip('.')}”: {stats.written(farthest['measured'])} here, "
            f"{stats.number(farthest['published'])} in the paper"
        )
    if findings:
        example = sorted(findings, key=lambda record: not record["headline"])[0]
        verb = "does not hold" if len(findings) == 1 else "do not hold"
        what = f"{counted(len(findings), 'finding')} {verb}"
        such = "" if len(findings) == 1 else "such as "
        sentence.append(f"{what} ({such}“{statement(example).rstrip('.')}”)")
    return f"{'; '.join(sentence)}."


def _tolerances(record: Record) -> float:
    """Return how far a mean lies from the published number, in tolerances."""
    tolerance = (record["bound"]["high"] - record["bound"]["low"]) / 2
    distance = abs(record["measured"]["mean"] - record["published"])
    return distance / tolerance if tolerance else distance


def _undecided(records: Sequence[Record], run: str) -> str:
    """Say what is inconclusive and what would decide it, and what was not run."""
    open_ = numbers.of_verdict(records, "inconclusive")
    aside = groups.elsewhere(records, run)
    missing = [r for r in numbers.of_verdict(records, "not run") if r not in aside]
    needed = sorted(record["n_to_decide"] for record in open_ if record["n_to_decide"])
    phrases = []
    if open_:
        verb = "is" if len(open_) == 1 else "are"
        text = f"{counted(len(open_), 'claim')} {verb} undecided"
        if needed:
            least, most = (stats.number(end) for end in (needed[0], needed[-1]))
            n = least if least == most else f"{least} to {most}"
            which = f"{len(needed)} of them" if len(needed) < len(open_) else "all"
            which = which if len(open_) > 1 else "it"
            text += f" (about n = {n} would decide {which}, should means and spreads stay)"
        phrases.append(text)
    if missing:
        verb = "was" if len(missing) == 1 else "were"
        phrases.append(f"{counted(len(missing), 'claim')} {verb} not run")
    return f"{'; '.join(phrases)}." if phrases else "All that was asked is decided."
