"""The table of headline claims at the top of README.md, written from the committed reports."""

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.report import page_templates
from pr12.workflow import files, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
RUNS = ("full", "embedded")  # a smoke run is no result


@dataclass(frozen=True, config=STRICT)
class Params:
    """The table shows what is committed: nothing is to be chosen."""


def committed(reports: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the headline claims of all committed reports.

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
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run in RUNS:
        for path in sorted(reports.glob(f"{run}/*/claims.json")):
            for record in files.read_json(path):
                if record["headline"]:
                    paper = found.setdefault(path.parent.name, {})
                    paper.setdefault(record["id"], {})[run] = record
    return found


def table(claims: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Write the table as Markdown.

    Parameters
    ----------
    claims : mapping
        As `committed` gives them.

    Examples
    --------
    >>> table({})
    'No report has been made yet.'
    """
    template = page_templates.environment(markdown=True).get_template("headlines.md.j2")
    return template.render(papers=claims, runs=RUNS).strip()


def replace_table(readme: str, rows: str) -> str:
    r"""Put a table between the two markers of a README.

    Parameters
    ----------
    readme : str
        Its text.
    rows : str
        What `table` gave.

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
        raise UserError(f"README.md needs {BEGIN} once and {END} once after it, each on a line")
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}"


def check_table(readme: str, rows: str) -> None:
    """Check that a README holds the table as it would be written now.

    Parameters
    ----------
    readme : str
        Its text.
    rows : str
        What `table` gave.

    Raises
    ------
    UserError
        If it holds another one, or the markers are wrong.

    Examples
    --------
    >>> check_table(replace_table(BEGIN + END, "new"), "new")
    """
    if replace_table(readme, rows) != readme:
        raise UserError(
            "the claims in README.md are not those of reports/; run: "
            "python -m pr12.report.readme reports=reports readme=README.md"
        )


def main(job: step.Job) -> None:
    """Write the table into the README if it is another one than there."""
    path = job.paths["readme"]
    lock = os.open(job.paths["reports"], os.O_RDONLY)
    with suppress(OSError):  # a file system without such locks
        fcntl.flock(lock, fcntl.LOCK_EX)  # another paper's job may be doing the same
    old = path.read_text(encoding="utf-8")
    new = replace_table(old, table(committed(job.paths["reports"])))
    if new != old:
        with files.atomic(path) as temporary:
            temporary.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    with step.start(Params, reads=["reports", "readme"]) as job:
        main(job)
