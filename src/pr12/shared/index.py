"""The page over all papers, and the table of headline claims in the repository's README.

Reads one report folder per paper (see `pr12.shared.report`) and writes index.html: one file that
needs no network, with every verdict, number, command and checksum. If the path `readme` is given,
the table between its two markers is renewed.
"""

import base64
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from markupsafe import Markup

from pr12.shared import files, report, step
from pr12.shared.errors import UserError
from pr12.shared.step import NotEmpty

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
LARGEST_SVG = (
    300_000  # bytes; beyond, the browser's time to draw it exceeds what sharpness is worth
)


@dataclass(frozen=True)
class Params:
    """Params of the page (source: params.yaml)."""

    run: str
    papers: Annotated[tuple[str, ...], NotEmpty()]  # in this order


def data_uri(svg: bytes, png: bytes) -> str:
    """Give a figure as a data URI: the SVG unless it is too large, else the PNG.

    Parameters
    ----------
    svg, png : bytes
        The same figure, twice.

    Examples
    --------
    >>> data_uri(b"<svg/>", b"")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    kind, content = ("svg+xml", svg) if len(svg) <= LARGEST_SVG else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def page(papers: Mapping[str, Mapping[str, Any]], run: str) -> str:
    """Write the page.

    Parameters
    ----------
    papers : mapping
        Paper -> the contents of its report's JSON files (``report``, ``claims``, ``metrics``,
        ``timings``) and ``pictures``: figure file -> data URI.
    run : str
        The run that the reports come from.

    Returns
    -------
    str
        HTML in which every text is escaped, and whose policy forbids all scripts but its own.
    """
    environment = report.environment(markdown=False)
    script = environment.get_template("index.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = environment.get_template("index.html.j2").render(
        papers=papers,
        run=run,
        style=Markup(environment.get_template("index.css.j2").render()),
        script=Markup(script),
        digest=digest,
    )
    return text.lstrip()


def readme_table(claims: Mapping[str, Sequence[Mapping[str, Any]]], run: str) -> str:
    """Write the table of headline claims as Markdown.

    Parameters
    ----------
    claims : mapping
        Paper -> what its claims.json holds.
    run : str
        The run that they come from.

    Examples
    --------
    >>> print(readme_table({"distill": []}, "embedded"))
    No claim is marked as a headline (run `embedded`).
    """
    kept = {
        paper: [record for record in records if record["headline"]]
        for paper, records in claims.items()
    }
    template = report.environment(markdown=True).get_template("headlines.md.j2")
    return template.render(papers={p: rows for p, rows in kept.items() if rows}, run=run).strip()


def replace_table(readme: str, table: str) -> str:
    r"""Put a table between the two markers of a README.

    Parameters
    ----------
    readme : str
        Its text.
    table : str
        What `readme_table` gave.

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
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def check_table(readme: str, table: str) -> None:
    """Check that a README holds the table as it would be written now.

    Parameters
    ----------
    readme : str
        Its text.
    table : str
        What `readme_table` gave.

    Raises
    ------
    UserError
        If it holds another one, or the markers are wrong.

    Examples
    --------
    >>> check_table(replace_table(BEGIN + END, "new"), "new")
    """
    if replace_table(readme, table) != readme:
        raise UserError(
            "the claims in README.md are not those of reports/; run: snakemake --cores all report"
        )


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = report.path_names(arguments, besides=("out", "readme"))
    optional = [*names, "readme"]
    with step.start(Params, optional=optional, writes=["out"], arguments=arguments) as job:
        for paper in job.params.papers:
            if paper not in names:
                raise UserError(f"the path {paper} is missing; add {paper}=FOLDER of its report")
        papers = {paper: _contents(job.paths[paper]) for paper in job.params.papers}
        with files.atomic(job.paths["out"]) as temporary:
            temporary.write_text(page(papers, job.params.run), encoding="utf-8")
        if "readme" in job.paths:
            table = readme_table({p: c["claims"] for p, c in papers.items()}, job.params.run)
            old = job.paths["readme"].read_text(encoding="utf-8")
            new = replace_table(old, table)
            if new != old:
                with files.atomic(job.paths["readme"]) as temporary:
                    temporary.write_text(new, encoding="utf-8")


def _contents(folder: Path) -> dict[str, Any]:
    names = ("report", "claims", "metrics", "timings")
    contents = {name: files.read_json(folder / f"{name}.json") for name in names}
    contents["pictures"] = {
        figure["file"]: data_uri(
            *((folder / "figures" / (figure["file"] + s)).read_bytes() for s in (".svg", ".png"))
        )
        for figure in contents["report"]["figures"]
    }
    return contents


if __name__ == "__main__":
    main(sys.argv[1:])
