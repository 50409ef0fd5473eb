"""The judged claims of the committed reports, as people ask for them: which, and how they stand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pr12.report import readme
from pr12.workflow.errors import UserError


class Judged(NamedTuple):
    """A claim's record of claims.json, and where it stands."""

    run: str
    paper: str
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """Paper and claim, as `trace` takes them."""
        return f"{self.paper}.{self.record['id']}"


def read(reports: Path, runs: Sequence[str]) -> Iterator[Judged]:
    """Yield the claims of some runs, run by run and paper by paper, in their order.

    Parameters
    ----------
    reports : Path
        The folder of ``<run>/<paper>/claims.json``.
    runs : sequence of str
        Such as ``full``.

    Raises
    ------
    UserError
        If there are none.
    """
    paths = [path for run in runs for path in sorted(reports.glob(f"{run}/*/claims.json"))]
    if not paths:
        raise UserError(
            f"{reports} has no claims of the run {' or '.join(runs)}; go to the repository's "
            "folder, or write the report: make report"
        )
    for path in paths:
        for record in readme.records(path):
            yield Judged(path.parts[-3], path.parts[-2], record)


def select(
    claims: Sequence[Judged], paper: str | None = None, verdict: str | None = None
) -> list[Judged]:
    """Return the claims of a paper, of a verdict, or of both.

    Raises
    ------
    UserError
        If no claim is of that paper, or has that verdict in any paper.
    """
    for value, what, known in (
        (paper, "paper", sorted({claim.paper for claim in claims})),
        (verdict, "verdict", sorted({claim.record["verdict"] for claim in claims})),
    ):
        if value is not None and value not in known:
            raise UserError(f"{value!r} is no {what} here; there are: {', '.join(known)}")
    return [
        claim
        for claim in claims
        if paper in (None, claim.paper) and verdict in (None, claim.record["verdict"])
    ]


def find(claims: Sequence[Judged], name: str) -> Judged:
    """Return a claim by its name; the first run that has judged it comes first.

    Parameters
    ----------
    claims : sequence of Judged
        In the order in which runs are preferred.
    name : str
        Such as ``distill.distilled_74``.

    Raises
    ------
    UserError
        If there is none, with the names that are nearest.
    """
    import difflib

    named = [claim for claim in claims if claim.name == name]
    if not named:
        near = difflib.get_close_matches(name, {claim.name for claim in claims}, n=3, cutoff=0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise UserError(f"{name!r} is no claim{hint}; pr12 claims lists all")
    ran = [claim for claim in named if claim.record["verdict"] != "not run"]
    return (ran or named)[0]


def number(value: float | None) -> str:
    """Return a number for reading: four digits, and no zeros that say nothing.

    Examples
    --------
    >>> number(139.0), number(0.123456), number(None)
    ('139', '0.1235', '')
    """
    return "" if value is None else f"{value:.4g}"


def measured(record: dict[str, Any]) -> str:
    """Return what was measured: mean and interval, or nothing.

    Examples
    --------
    >>> measured({"measured": {"mean": 139.0, "low": 133.2, "high": 144.8, "n": 10}})
    '139 [133.2, 144.8]'
    """
    interval = record["measured"]
    if interval is None:
        return ""
    mean, low, high = (number(interval[key]) for key in ("mean", "low", "high"))
    return mean if interval["n"] == 1 else f"{mean} [{low}, {high}]"


def bound(record: dict[str, Any]) -> str:
    """Return what a claim asks for.

    Examples
    --------
    >>> bound({"bound": {"low": 0.0, "high": None, "strict": True}})
    'above 0'
    >>> bound({"bound": {"low": 56.8, "high": 91.2, "strict": False}})
    '56.8 to 91.2'
    """
    limits = record["bound"]
    if limits is None:
        return ""
    low, high = number(limits["low"]), number(limits["high"])
    if low and high:
        return f"{low} to {high}"
    words = ("above", "below") if limits["strict"] else ("at least", "at most")
    return f"{words[0]} {low}" if low else f"{words[1]} {high}"


def to_decide(record: dict[str, Any]) -> str:
    """Return how many values would decide an inconclusive claim.

    Examples
    --------
    >>> to_decide({"n_to_decide": 7})
    'about n = 7, should mean and spread stay as they are'
    """
    n = record.get("n_to_decide")
    return f"about n = {n}, should mean and spread stay as they are" if n else ""
