"""How pages are written: the environment of the templates, and texts that cannot become markup."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pr12.report import claims, stats
from pr12.report.summary import groups, numbers, sentences

TEMPLATES = Path(__file__).parent / "templates"
SYMBOLS = {
    "reproduced": "✔",
    "no difference": "≈",
    "differs": "✘",
    "differs, better": "▲",
    "inconclusive": "◐",
    "not run": "○",
}
MEANINGS = {
    "reproduced": "the interval lies inside the bound",
    "no difference": "the interval lies within the margin, on both sides of 0",
    "differs": "the interval lies outside the bound",
    "differs, better": "it lies beyond a printed number's tolerance, in the good direction",
    "inconclusive": "it lies across the bound, or what was published cannot decide",
    "not run": "no result in this run",
}


def counts(records: Sequence[Mapping[str, Any]], run: str) -> dict[str, int]:
    """Count the verdicts that occur.

    Parameters
    ----------
    records : sequence of mapping
        What `claims.judge` gave.
    run : str
        Claims of other runs alone are left out.

    Examples
    --------
    >>> missing = {"verdict": "not run", "runs": None}
    >>> counts([missing, {"verdict": "differs", "runs": ["full"]}, missing], "full")
    {'differs': 1, 'not run': 2}
    """
    aside = groups.elsewhere(records, run)
    verdicts = [record["verdict"] for record in records if record not in aside]
    numbers = {name: verdicts.count(name) for name in claims.VERDICTS}
    return {name: number for name, number in numbers.items() if number}


def escape_markdown(value: Any) -> str:
    r"""Write a text so that GitHub's Markdown shows it as it is, on one line.

    Parameters
    ----------
    value : Any
        The text; `Markup` passes unchanged.

    Examples
    --------
    >>> print(escape_markdown("a|b <i> x_1"))
    a\|b \<i\> x\_1
    """
    if isinstance(value, Markup):
        return value
    line = re.sub(r"\s*[\r\n]\s*", " ", str(value))
    return re.sub(r"([\\`*_\[\]<>|$~#&])", r"\\\1", line)


def _code(text: Any) -> Markup:
    """Write a text as code within a line, perhaps of a table."""
    line = " ".join(str(text).split())
    return Markup("`" + line.replace("`", "'").replace("|", "\\|") + "`")


def _fenced(text: Any) -> Markup:
    """Write lines as a block of code, between fences that are longer than any within."""
    longest = max(map(len, re.findall("`+", str(text))), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}\n{text}\n{fence}")


def environment(markdown: bool) -> jinja2.Environment:
    """Return the templates' environment: every text is escaped unless a filter made it safe.

    Parameters
    ----------
    markdown : bool
        Escape for GitHub's Markdown instead of HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=not markdown,
        finalize=escape_markdown if markdown else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": stats.number,
        "written": stats.written,
        "bound": sentences.bound_text,
        "statement": sentences.statement,
        "came_out": sentences.came_out,
        "code": _code,
        "fenced": _fenced,
        "verdict": lambda name: f"{SYMBOLS[name]} {name}",
    }
    environment.globals |= {
        "counts": counts,
        "SYMBOLS": SYMBOLS,
        "MEANINGS": MEANINGS,
        "cited": sentences.cited,
        "elsewhere": groups.elsewhere,
        "findings": numbers.findings,
        "grouped": groups.grouped,
        "opening": sentences.opening,
        "printed": numbers.printed,
    }
    return environment
