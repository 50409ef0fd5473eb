"""What came out, read from reports/ when the site is built: verdicts, claims, figures."""

import posixpath
import shutil
from pathlib import Path
from typing import Any

from pr12.report import figure_list, page_templates, readme, stats
from pr12.report.page_templates import SYMBOLS, escape_markdown
from pr12.workflow import settings
from pr12_docs.places import ROOT, papers

REPORTS = ROOT / "reports"


def _records(place: str) -> list[dict[str, Any]]:
    """Return the judged claims of a report, such as ``full/vae``."""
    return readme.records(REPORTS / place / "claims.json")


def verdicts(place: str) -> str:
    """Return the counts of a report's verdicts as one sentence."""
    run = place.partition("/")[0]
    counts = page_templates.counts(_records(place), run)
    parts = [f"{number} {SYMBOLS[name]} {name}" for name, number in counts.items()]
    return f"Of {sum(counts.values())} claims in the run `{run}`: {', '.join(parts)}."


def claims(place: str, *wanted: str) -> str:
    """Return claims of a report as a table, with their reasons and notes below.

    Parameters
    ----------
    place : str
        Run and paper, such as ``full/vae``.
    *wanted : str
        Identifiers; ``headline`` for those that are marked so, ``all`` for all.

    Raises
    ------
    ValueError
        If there is no such claim.
    """
    records = _records(place)
    known = {record["id"]: record for record in records}
    chosen = []
    for name in wanted:
        if name not in known and name not in ("headline", "all"):
            raise ValueError(f"there is no claim {name} in reports/{place}; mend the page")
        chosen += (
            [known[name]]
            if name in known
            else [record for record in records if name == "all" or record["headline"]]
        )
    return "\n".join(
        ["| Verdict | Claim | Published | Here |", "|:--|:--|--:|--:|", *map(_row, chosen)]
    )


def _row(record: dict[str, Any]) -> str:
    source = f" ({record['where']})" if record["where"] else ""
    says = escape_markdown(record["says"] + source)
    for name in ("note", "reason"):
        if record[name]:
            says += f"<br>*{name.capitalize()}:* {escape_markdown(record[name])}"
    published = "–" if record["published"] is None else stats.number(record["published"])
    measured = escape_markdown(stats.written(record["measured"])) if record["measured"] else "–"
    measured = measured.replace(", ", ",\u00a0")  # an interval stays on one line
    verdict = f"{SYMBOLS[record['verdict']]} {record['verdict']}"
    return f"| {verdict} | {says} | {published} | {measured} |"


def overview() -> str:
    """Return a table of all papers: a link to each, and the verdicts of the full run."""
    lines = [f"| Paper | {' | '.join(SYMBOLS.values())} |", "|:--|" + "--:|" * len(SYMBOLS)]
    for paper in papers():
        title = settings.paper(ROOT / "papers" / paper)["title"]
        counts = page_templates.counts(_records(f"full/{paper}"), "full")
        numbers = " | ".join(str(counts.get(name, 0)) for name in SYMBOLS)
        lines.append(f"| [{escape_markdown(title)}](papers/{paper}.md) | {numbers} |")
    legend = ", ".join(f"{symbol} {name}" for name, symbol in SYMBOLS.items())
    return "\n".join([*lines, "", f"Claims of the full run by verdict: {legend}."])


def _entry(place: str, file: str) -> dict[str, Any]:
    for entry in figure_list.read(REPORTS / place / "figures"):
        if entry["file"] == file:
            return entry
    raise ValueError(f"there is no figure {file} in reports/{place}; mend the page")


def figure(place: str, file: str, suffix: str = "svg") -> str:
    """Return a figure of a report with its caption.

    Parameters
    ----------
    place : str
        Run and paper, such as ``full/vae``.
    file : str
        Name of the figure, without suffix.
    suffix : str
        ``svg``, ``png`` where an SVG would be large, or ``gif`` for its animation.
    """
    entry = _entry(place, file)
    path = posixpath.join("/..", "reports", place, "figures", f"{file}.{suffix}")
    alt = " ".join(entry["alt"].split())
    caption = escape_markdown(entry["caption"])
    return f"````{{figure}} {path}\n:alt: {alt}\n:width: 100%\n\n{caption}\n````"


def page(place: str, file: str) -> str:
    """Return the interactive page of a figure in a frame, with a link that opens it alone."""
    entry = _entry(place, file)
    if "page" not in entry:
        raise ValueError(f"the figure {file} of reports/{place} has no page; mend the page")
    name = f"{place.replace('/', '_')}_{entry['page']}"
    return (
        f'<iframe class="interactive" src="../interactive/{name}" sandbox="allow-scripts"'
        f' loading="lazy" title="{escape_markdown(entry["title"])}"></iframe>\n\n'
        f'<p><a href="../interactive/{name}">Open it alone</a></p>'
    )


def copy_pages(app: Any, error: Exception | None) -> None:
    """Copy the interactive pages of the full run beside the pages that frame them."""
    if error is None:
        folder = Path(app.outdir) / "interactive"
        folder.mkdir(exist_ok=True)
        for path in REPORTS.glob("full/*/figures/*.html"):
            shutil.copy(path, folder / f"full_{path.parents[1].name}_{path.name}")
