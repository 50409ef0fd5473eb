"""Claims by the figure, table or section that they are about, with what differs first."""

import re
from collections.abc import Sequence
from typing import Any

from pr12.report.claims import VERDICTS
from pr12.report.summary.numbers import Record

# What differs is read first, what was not run last
ORDER = ("differs", "no difference", "differs, better", "inconclusive", "reproduced", "not run")
_PLACES = (r"Table|Fig\.", r"Sec\.|App\.", r"[Ee]q\.")  # the first that is named is the group's
assert set(ORDER) == set(VERDICTS)


def place(where: str) -> str:
    """Return the figure, table or section that a claim's `where` names, with the work it is in.

    Parameters
    ----------
    where : str
        Of a claim.

    Returns
    -------
    str
        The text up to its first punctuation mark where it names no such place.

    Examples
    --------
    >>> place("Hinton Sec. 6, Table 5 (speech)"), place("Sec. 4.2, text: 6 %")
    ('Hinton, Table 5', 'Sec. 4.2')
    >>> place("claim ours; Gatys et al. 2016, Fig. 6: the start"), place("study notes: texture")
    ('Gatys et al. 2016, Fig. 6', 'Study notes')
    """
    for words in _PLACES:
        named = re.search(rf"({words})\s*([\w.]*\w)", where)
        if named:
            first = re.search(r"(Table|Fig\.|Sec\.|App\.|[Ee]q\.)", where)
            work = where[: first.start()].rpartition(";")[2].strip(" ,")
            reference = f"{named[1]} {named[2]}"
            return f"{work}, {reference}" if work else reference
    text = re.split(r"[:;,]", where)[0].strip()
    return text[:1].upper() + text[1:]


def elsewhere(records: Sequence[Record], run: str) -> list[Record]:
    """Return the claims that other runs judge, not this one.

    Examples
    --------
    >>> elsewhere([{"id": "a", "runs": ["full"]}, {"id": "b", "runs": None}], "embedded")
    [{'id': 'a', 'runs': ['full']}]
    """
    return [record for record in records if record["runs"] and run not in record["runs"]]


def grouped(records: Sequence[Record], run: str) -> list[dict[str, Any]]:
    """Return the claims of a run by place.

    Parameters
    ----------
    records : sequence of mapping
        What `pr12.report.claims.judge` returned, in the order of claims.yaml.
    run : str
        Claims of other runs alone are left out.

    Returns
    -------
    list of dict
        ``name``, ``judged`` (records, what differs first) and ``not_run`` (records). Groups in
        which something differs come first, then those in which something was judged.

    Examples
    --------
    >>> records = [{"where": "Fig. 2", "runs": None, "verdict": "reproduced", "lead": None},
    ...            {"where": "Table 1", "runs": None, "verdict": "differs", "lead": None}]
    >>> [group["name"] for group in grouped(records, "full")]
    ['Table 1', 'Fig. 2']
    """
    aside = elsewhere(records, run)
    places: dict[str, list[Record]] = {}
    for record in records:
        if record not in aside:
            places.setdefault(place(record["where"]), []).append(record)
    groups = [
        {
            "name": name,
            "judged": sorted(
                (record for record in members if record["verdict"] != "not run"),
                key=lambda record: ORDER.index(record["verdict"]),
            ),
            "not_run": [record for record in members if record["verdict"] == "not run"],
        }
        for name, members in places.items()
    ]
    return sorted(groups, key=_urgency)


def _urgency(group: dict[str, Any]) -> int:
    """Return 0 where something differs, 1 where something was judged, else 2."""
    if not group["judged"]:
        return 2
    return int(group["judged"][0]["verdict"] in ("inconclusive", "reproduced"))
