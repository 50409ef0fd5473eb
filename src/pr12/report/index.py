"""The page over all papers, and the table of headline claims in the repository's README.

Reads one report folder per paper (see `pr12.report.paper`) and writes index.html: one file that
needs no network, with every verdict, number, command and checksum. If the path `readme` is given,
the table between its two markers is renewed.
"""

import base64
import hashlib
import io
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen
from markupsafe import Markup
from PIL import Image
from pydantic.dataclasses import dataclass

from pr12.report import chain, claims, freshness, page_templates
from pr12.report import paper as report
from pr12.workflow import files, settings, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

# bytes; a browser would draw a larger one longer than its sharpness is worth
LARGEST_SVG = 300_000
CARD = 720  # pixels, the width of a card's picture at most
CARD_RATIO = 0.56  # of its height; what is higher is cut below


@dataclass(frozen=True, config=STRICT)
class Params:
    """Params of the page (source: params.yaml)."""

    run: str
    papers: Annotated[tuple[str, ...], MinLen(1)]  # in this order


def data_uri(svg: bytes, png: bytes) -> str:
    """Return a figure as a data URI: the SVG unless it is too large, else the PNG.

    Parameters
    ----------
    svg, png : bytes
        The same figure, twice.

    Examples
    --------
    >>> data_uri(b"<svg/>", b"")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return _uri("svg+xml", svg) if len(svg) <= LARGEST_SVG else _uri("png", png)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def only_script(html: str, where: str) -> str:
    """Return the text of a page's one script, which a policy can allow by its hash.

    Parameters
    ----------
    html : str
        The page of an interactive figure.
    where : str
        Its name, for the error message.

    Raises
    ------
    UserError
        If it has not exactly one script, or the script has attributes (such as src).

    Examples
    --------
    >>> only_script("<p>1</p><script>2 < 3</script>", "curve.html")
    '2 < 3'
    """
    scripts = re.findall(r"(?is)<script>(.*?)</script>", html)
    if len(scripts) != 1 or html.lower().count("<script") != 1:
        raise UserError(f"{where} must have exactly one <script>, inline and without attributes")
    return scripts[0]


def page(papers: Mapping[str, Mapping[str, Any]], run: str) -> str:
    """Write the page.

    Parameters
    ----------
    papers : mapping
        Paper -> the contents of its report's JSON files (``report``, ``claims``, ``metrics``,
        ``provenance``), ``timings`` (see `measured_here`), ``pictures``: figure file -> data URI,
        ``pages``: file of an interactive figure -> its HTML, ``animations``: file of an
        animated figure -> data URI of the GIF, and ``card``: the picture that stands for the
        paper and its alternative text, or None.
    run : str
        The run that the reports come from.

    Returns
    -------
    str
        HTML in which every text is escaped, and whose policy forbids all scripts but its own and
        those of the embedded pages, which inherit the policy.
    """
    environment = page_templates.environment(markdown=False)
    script = environment.get_template("index.js.j2").render()
    pages = (item for contents in papers.values() for item in contents["pages"].items())
    scripts = [script, *(only_script(html, f"{file}.html") for file, html in pages)]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    text = environment.get_template("index.html.j2").render(
        papers=papers,
        run=run,
        style=Markup(environment.get_template("index.css.j2").render()),
        script=Markup(script),
        digests=digests,
    )
    return text.lstrip()


def measured_here(
    folder: Path,
    listed: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    run: str,
    results: Mapping[str, str],
) -> dict[str, Any]:
    """Return what this machine measured of a paper: times by case, and verdicts on them.

    Parameters
    ----------
    folder : Path
        Of ``<case>.json``: key -> list of numbers. It may be missing.
    listed : sequence of mapping
        The paper's claims.
    records : sequence of mapping
        What `claims.judge` returned of them.
    run : str
        The run.
    results : mapping
        Case -> folder of the result that its evidence is of.

    Returns
    -------
    dict
        ``machine``, ``cpus``, ``cases`` (summaries) and ``claims``: id -> measured, verdict, note
        and reason; not of a claim whose evidence counts no more.
    """
    measured = {path.stem: files.read_json(path) for path in sorted(folder.glob("*.json"))}
    times = {
        case: record["times"]
        for case, record in measured.items()
        if record["folder"] == results.get(case)  # else of another result than evidence has
    }
    judged = {}
    for claim, record in zip(listed, records, strict=True):
        counts = all(chain.Standing(s["state"], None).counts for s in record["standing"])
        if record["timing"] and record["measured"] is None and counts:
            measured, verdict, note = claims.outcome(claim, times, run)
            if measured:
                outcome = {"measured": asdict(measured), "verdict": verdict, "note": note}
                judged[claim["id"]] = outcome | {"reason": claims.reason(claim, verdict)}
    return {
        "machine": platform.node(),
        "cpus": os.cpu_count(),
        "cases": {case: report.summaries(values) for case, values in times.items()},
        "claims": judged,
    }


def add_times(
    contents: dict[str, Any], listed: Sequence[Mapping[str, Any]], folder: Path, run: str
) -> None:
    """Add what this machine measured to a paper's contents, and its verdicts to the claims.

    Parameters
    ----------
    contents : dict
        With ``claims``; ``timings`` is added.
    listed, folder, run
        See `measured_here`.
    """
    contents["timings"] = measured_here(
        folder, listed, contents["claims"], run, contents["report"]["results"]
    )
    for record in contents["claims"]:
        record |= contents["timings"]["claims"].get(record["id"], {})


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    others = ("out", "stamp", "timings", "texts")
    names = path_names(arguments, besides=others)
    with step.start(
        Params,
        reads=["timings", "texts"],
        optional=names,
        writes=["out", "stamp"],
        arguments=arguments,
    ) as job:
        run, made_by = job.params.run, freshness.of_index(job.params.papers)
        for paper in job.params.papers:
            if paper not in names:
                raise UserError(f"the path {paper} is missing; add {paper}=FOLDER of its report")
        papers = {paper: _contents(job.paths[paper]) for paper in job.params.papers}
        for paper, contents in papers.items():
            listed = settings.paper(job.paths["texts"] / paper)["claims"]
            add_times(contents, listed, job.paths["timings"] / paper, run)
        out = job.paths["out"]
        with files.atomic(out) as temporary:
            temporary.write_text(page(papers, run), encoding="utf-8")
        stamps = [job.paths[paper] / "stamp.json" for paper in job.params.papers]
        shown = [out, *stamps, job.paths["timings"]]
        freshness.write(job.paths["stamp"], made_by, *shown)


def path_names(arguments: Sequence[str], besides: Sequence[str]) -> list[str]:
    """Return the names of the name=path on a command line.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    besides : sequence of str
        Names that are not wanted.

    Examples
    --------
    >>> path_names(["--params", '{"a": "b=c"}', "out=o", "soft=m.json"], besides=["out"])
    ['soft']
    """
    names = [
        argument.partition("=")[0]
        for argument, previous in zip(arguments, ["", *arguments], strict=False)
        if "=" in argument and previous != "--params"
    ]
    return [name for name in names if name not in besides]


def _contents(folder: Path) -> dict[str, Any]:
    names = ("report", "claims", "metrics", "provenance")
    contents = {name: files.read_json(folder / f"{name}.json") for name in names}
    contents["pictures"] = {
        figure["file"]: data_uri(
            *((folder / "figures" / (figure["file"] + s)).read_bytes() for s in (".svg", ".png"))
        )
        for figure in contents["report"]["figures"]
    }
    contents["card"] = _card(folder, contents["report"])
    contents["pages"] = {
        figure["file"]: (folder / "figures" / figure["page"]).read_text(encoding="utf-8")
        for figure in contents["report"]["figures"]
        if "page" in figure
    }
    contents["animations"] = {
        figure["file"]: _uri("gif", (folder / "figures" / figure["animation"]).read_bytes())
        for figure in contents["report"]["figures"]
        if "animation" in figure
    }
    return contents


def _card(folder: Path, report: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the picture that stands for a paper, small, and what is seen; None without it."""
    shown = [figure for figure in report["figures"] if figure["file"] == report["card"]]
    if not shown:
        return None
    with Image.open(folder / "figures" / f"{report['card']}.png") as picture:
        width, height = picture.width, min(picture.height, round(picture.width * CARD_RATIO))
        small = picture.convert("RGB").crop((0, 0, width, height))
    small.thumbnail((CARD, CARD))
    stream = io.BytesIO()
    small.save(stream, "PNG", optimize=True)
    return {"picture": _uri("png", stream.getvalue()), "alt": shown[0]["alt"]}


if __name__ == "__main__":
    main(sys.argv[1:])
