r"""Equations as MathML, by docutils' own converter: browsers draw it without a script or a network.

``\tag{7}`` at the end of an equation is the paper's number, and stands at the right margin.
"""

import importlib.util
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

FONT = "STIXTwoMath-Regular.ttf"
TAG = re.compile(r"\s*\\tag\{([^{}]*)\}\s*$")


def split_tag(tex: str) -> tuple[str, str]:
    r"""Return an equation without its number, and the number; empty if it has none.

    Parameters
    ----------
    tex : str
        LaTeX of an equation.

    Examples
    --------
    >>> split_tag(r"a = b \tag{7}")
    ('a = b', '7')
    """
    found = TAG.search(tex)
    return (tex[: found.start()].strip(), found[1]) if found else (tex.strip(), "")


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write an equation within a line."""
    translator.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed equation, and the paper's number of it."""
    tex, number = split_tag(node.astext())
    drawn = tex2mathml(tex, as_block=True)
    label = f'<span class="equation-number">({escape(number)})</span>' if number else ""
    translator.body.append(f'<div class="equation"><div>{drawn}</div>{label}</div>\n')
    raise nodes.SkipNode


def copy_font(app: Any, error: Exception | None) -> None:
    """Copy a font of mathematics beside the style sheet: without one, brackets do not grow."""
    if error is None:
        package = Path(importlib.util.find_spec("ziamath").origin).parent
        shutil.copy(package / "fonts" / FONT, Path(app.outdir) / "_static" / FONT)
