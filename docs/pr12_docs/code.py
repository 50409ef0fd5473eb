"""The source of a function, class or method, as it is in the package today."""

import ast
import textwrap

from pr12_docs.places import ROOT


def block(name: str, first: str = "", last: str = "") -> str:
    """Return the code of a name as a fence of Markdown, without its docstring.

    Parameters
    ----------
    name : str
        Dotted, such as ``pr12.vae.model.densities.kl`` or with a method behind a class.
    first, last : str
        Part of the first and of the last line that are shown; all lines by default.

    Raises
    ------
    ValueError
        If there is no such name or no such line: the page would show something else.
    """
    path, parts = _module(name)
    text = path.read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in parts:
        node = _member(node, part, name)
    lines = _without_docstring(node, text.splitlines())
    shown = _between(lines, first, last, name) if first else lines
    code = textwrap.dedent("\n".join(shown)).strip("\n")
    place = f"{path.relative_to(ROOT)}"
    return f"```{{code-block}} python\n:caption: '`{name}` in {place}'\n\n{code}\n```"


def _module(name: str):
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        path = ROOT.joinpath("src", *parts[:count]).with_suffix(".py")
        if path.is_file():
            return path, parts[count:]
    raise ValueError(f"there is no module of {name}")


def _member(node: ast.AST, part: str, name: str) -> ast.AST:
    for child in node.body:
        if getattr(child, "name", None) == part:
            return child
        if isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            if any(getattr(target, "id", None) == part for target in targets):
                return child
    raise ValueError(f"there is no {part} of {name}; mend the page")


def _without_docstring(node: ast.AST, lines: list[str]) -> list[str]:
    start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    hidden = range(0)
    body = getattr(node, "body", [])
    if body and ast.get_docstring(node) is not None:
        hidden = range(body[0].lineno, body[0].end_lineno + 1)
    numbers = range(start, node.end_lineno + 1)
    return [lines[number - 1] for number in numbers if number not in hidden]


def _between(lines: list[str], first: str, last: str, name: str) -> list[str]:
    starts = [index for index, line in enumerate(lines) if first in line]
    if not starts:
        raise ValueError(f"no line of {name} has {first!r}; mend the page")
    ends = [index for index in range(starts[0], len(lines)) if (last or first) in lines[index]]
    if not ends:
        raise ValueError(f"no line of {name} after {first!r} has {last!r}; mend the page")
    return lines[starts[0] : ends[0] + 1]
