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

# bytes; a browser would draw a larger one longer than its sharpness is worth
LARGEST_SVG = 300_000


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
        ``provenance``, ``timings``) and ``pictures``: figure file -> data URI.
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


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = report.path_names(arguments, besides=["out"])
    with step.start(Params, optional=names, writes=["out"], arguments=arguments) as job:
        for paper in job.params.papers:
            if paper not in names:
                raise UserError(f"the path {paper} is missing; add {paper}=FOLDER of its report")
        papers = {paper: _contents(job.paths[paper]) for paper in job.params.papers}
        with files.atomic(job.paths["out"]) as temporary:
            temporary.write_text(page(papers, job.params.run), encoding="utf-8")


def _contents(folder: Path) -> dict[str, Any]:
    names = ("report", "claims", "metrics", "provenance", "timings")
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
