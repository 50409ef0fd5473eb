"""How many claims hold, and how many printed numbers are matched."""

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]  # what `pr12.report.claims.judge` returned


def is_printed(record: Record) -> bool:
    """Tell whether a claim is a number that a paper prints, with a tolerance on both sides.

    A nominal value (such as a coverage of 90 %) is none: a theorem says it.

    Examples
    --------
    >>> is_printed({"form": "published", "nominal": False}), is_printed({"form": "at_most"})
    (True, False)
    """
    return record["form"] == "published" and not record.get("nominal", False)


def ran(records: Sequence[Record]) -> list[Record]:
    """Return the claims that were judged: also those that are inconclusive."""
    return [record for record in records if record["verdict"] != "not run"]


def of_verdict(records: Sequence[Record], *verdicts: str) -> list[Record]:
    """Return the claims that have one of some verdicts.

    Examples
    --------
    >>> of_verdict([{"verdict": "differs"}, {"verdict": "not run"}], "differs")
    [{'verdict': 'differs'}]
    """
    return [record for record in records if record["verdict"] in verdicts]


def findings(records: Sequence[Record]) -> str:
    """Write how many of the findings that ran hold.

    Examples
    --------
    >>> findings([{"form": "less", "verdict": v} for v in ("reproduced", "not run")])
    '1 of 1'
    """
    judged = [record for record in ran(records) if not is_printed(record)]
    return f"{len(of_verdict(judged, 'reproduced'))} of {len(judged)}"


def printed(records: Sequence[Record]) -> str:
    """Write how many of the printed numbers that ran are matched, and how many are better.

    Examples
    --------
    >>> printed([{"form": "published", "verdict": v} for v in ("reproduced", "differs, better")])
    '1 of 2, 1 better'
    >>> printed([])
    '–'
    """
    judged = [record for record in ran(records) if is_printed(record)]
    better = len(of_verdict(judged, "differs, better"))
    matched = f"{len(of_verdict(judged, 'reproduced'))} of {len(judged)}"
    return (matched + (f", {better} better" if better else "")) if judged else "–"
