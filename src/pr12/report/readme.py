"""What came out, for README.md (a row a paper) and reports/README.md (all headline claims).

Both are written between two markers, from the committed reports.
"""

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.report import page_templates
from pr12.report.summary import numbers
from pr12.workflow import files, step, yaml_files
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
RUNS = ("full", "embedded")  # a smoke run is no result
SHOWN = {"id", "says", "where", "form", "headline", "published", "measured", "verdict"}
Claims = Mapping[str, Mapping[str, Mapping[str, Any]]]  # paper -> claim's id -> run -> record


@dataclass(frozen=True, config=STRICT)
class Params:
    """The table shows what is committed: nothing is to be chosen."""


def committed(reports: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the claims of all committed reports.

    Parameters
    ----------
    reports : Path
        The folder of ``<run>/<paper>/claims.json``.

    Returns
    -------
    dict
        Paper -> claim's id -> run -> record.

    Examples
    --------
    >>> committed(Path("/nowhere"))
    {}
    """
    claims: dict[str, dict[str, dict[str, Any]]] = {}
    for run in RUNS:
        for path in sorted(reports.glob(f"{run}/*/claims.json")):
            for record in records(path):
                paper = claims.setdefault(path.parent.name, {})
                paper.setdefault(record["id"], {})[run] = record
    return claims


def records(path: Path) -> list[dict[str, Any]]:
    """Read a claims.json that another paper's report wrote long ago, and that anybody may edit."""
    try:
        records = files.read_json(path)
    except RecursionError:
        records = None
    if not isinstance(records, list) or not all(
        isinstance(record, dict) and record.keys() >= SHOWN for record in records
    ):
        raise UserError(
            f"{path} is no list of judged claims; git checkout -- {path} brings back what was "
            "committed"
        )
    return records


def table(claims: Claims) -> str:
    """Return the headline claims of all papers as Markdown.

    Parameters
    ----------
    claims : mapping
        As `committed` gives them.

    Examples
    --------
    >>> table({})
    'No report has been made yet.'
    """
    shown = {
        paper: {name: runs for name, runs in by_id.items() if _any(runs)["headline"]}
        for paper, by_id in claims.items()
    }
    shown = {paper: by_id for paper, by_id in shown.items() if by_id}
    template = page_templates.environment(markdown=True).get_template("headlines.md.j2")
    return template.render(papers=shown, runs=RUNS).strip()


def _any(runs: Mapping[str, Any]) -> Any:
    return next(iter(runs.values()))


def summary(claims: Claims, texts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a row for each paper: what it is cited for, and how many claims hold, as Markdown.

    Parameters
    ----------
    claims : mapping
        As `committed` gives them; those of the full run count.
    texts : mapping
        Paper -> content of paper.yaml; ``cited_for`` is the claim that people know it by.

    Examples
    --------
    >>> summary({}, {})
    'No report has been made yet.'
    """
    rows = []
    for paper, by_id in claims.items():
        by_name = {name: runs["full"] for name, runs in by_id.items() if "full" in runs}
        cited = texts.get(paper, {}).get("cited_for")
        if cited not in by_name:
            continue
        records = list(by_name.values())
        rows.append(
            {
                "paper": paper,
                "title": texts[paper]["title"],
                "claim": by_name[cited],
                "findings": numbers.findings(records),
                "printed": numbers.printed(records),
            }
        )
    template = page_templates.environment(markdown=True).get_template("summary.md.j2")
    return template.render(rows=rows).strip()


def replace_table(readme: str, rows: str, name: str = "README.md") -> str:
    r"""Put a table between the two markers of a README.

    Parameters
    ----------
    readme : str
        Its text.
    rows : str
        What `table` or `summary` returned.
    name : str
        Of the file, for messages.

    Raises
    ------
    UserError
        If the markers are not there exactly once, in order.

    Examples
    --------
    >>> print(replace_table("a\n<!-- claims:begin -->\nold\n<!-- claims:end -->\nb", "new"))
    a
    <!-- claims:begin -->
    <BLANKLINE>
    new
    <BLANKLINE>
    <!-- claims:end -->
    b
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise UserError(f"{name} needs {BEGIN} once and {END} once after it, each on a line")
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}"


def main(job: step.Job) -> None:
    """Write both tables where they are other ones than there."""
    reports = job.paths["reports"]
    lock = os.open(reports, os.O_RDONLY)
    with suppress(OSError):  # a file system without such locks
        fcntl.flock(lock, fcntl.LOCK_EX)  # another paper's job may be doing the same
    claims = committed(reports)
    texts = {paper: yaml_files.load(job.paths["texts"] / paper / "paper.yaml") for paper in claims}
    for path, rows in (
        (job.paths["readme"], summary(claims, texts)),
        (reports / "README.md", table(claims)),
    ):
        old = path.read_text(encoding="utf-8")
        new = replace_table(old, rows, str(path))
        if new != old:
            with files.atomic(path) as temporary:
                temporary.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    with step.start(Params, reads=["reports", "texts", "readme"]) as job:
        main(job)
