"""How pages are written: the environment of the templates, and texts that cannot become markup."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pr12.report import claims, stats

TEMPLATES = Path(__file__).parent / "templates"
SYMBOLS = {"reproduced": "✔", "differs": "✘", "inconclusive": "◐", "not run": "○"}


def bound_text(bound: Mapping[str, Any]) -> str:
    """Write a bound in words.

    Parameters
    ----------
    bound : mapping
        As `claims.bound` gives it.

    Examples
    --------
    >>> bound_text({"low": 68.0, "high": 80.0, "strict": False})
    'from 68 to 80'
    >>> bound_text({"low": 0, "high": None, "strict": True})
    'above 0'
    """
    if bound["low"] is None:
        return f"at most {stats.number(bound['high'])}"
    low = stats.number(bound["low"])
    if bound["high"] is None:
        return f"above {low}" if bound["strict"] else f"at least {low}"
    return f"from {low} to {stats.number(bound['high'])}"


def counts(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the verdicts.

    Parameters
    ----------
    records : sequence of mapping
        What `claims.judge` gave.

    Examples
    --------
    >>> counts([{"verdict": "differs"}])
    {'reproduced': 0, 'differs': 1, 'inconclusive': 0, 'not run': 0}
    """
    return {name: sum(r["verdict"] == name for r in records) for name in claims.VERDICTS}


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
    """Give the templates' environment: every text is escaped unless a filter made it safe.

    Parameters
    ----------
    markdown : bool
        Escape for GitHub's Markdown instead of HTML.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=not markdown,
        finalize=escape_markdown if markdown else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "number": stats.number,
        "written": stats.written,
        "bound": bound_text,
        "code": _code,
        "fenced": _fenced,
        "verdict": lambda name: f"{SYMBOLS[name]} {name}",
    }
    made.globals |= {"counts": counts, "SYMBOLS": SYMBOLS}
    return made
