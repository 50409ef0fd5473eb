"""The address of a result: the digest of all that determines its bytes.

The source of a step and of every project module it imports (without comments and docstrings),
its params, and the addresses of what it reads. A folder that exists is right; one that is
missing must be made. See docs/architecture.md.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parents[2]  # the folder that holds the package pr12


def digest(*parts: Any) -> str:
    """Give the first 10 hexadecimal digits of the SHA-256 of JSON-able parts.

    Parameters
    ----------
    *parts : Any
        Anything `json` can hold; the order of keys does not matter.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def source_digest(module: str, src: Path = SRC) -> str:
    """Give the digest of a module's source and of all project modules it imports.

    Parameters
    ----------
    module : str
        Dotted name, such as ``pr12.distill.train``.
    src : Path
        The folder that holds the package.

    Raises
    ------
    FileNotFoundError
        If there is no such module.

    Examples
    --------
    >>> len(source_digest("pr12.shared.address"))
    10
    """
    return digest(source(module, src))


def source(module: str, src: Path = SRC) -> dict[str, str]:
    """Give module name -> normalised source, for a module and all project modules it imports.

    Parameters
    ----------
    module : str
        Dotted name.
    src : Path
        The folder that holds the package.

    Examples
    --------
    >>> sorted(source("pr12.shared.files"))
    ['pr12', 'pr12.shared', 'pr12.shared.errors', 'pr12.shared.files']
    """
    if _file(src, module) is None:
        raise FileNotFoundError(f"no module {module} under {src}")
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(src, name)
        if path is None or name in found:
            continue
        found[name], imported = _parse(path, path.stat().st_mtime_ns, name)
        waiting.extend(imported)
        if "." in name:  # importing a module runs its packages' __init__ too
            waiting.append(name.rpartition(".")[0])
    return found


def _file(src: Path, module: str) -> Path | None:
    base = src.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _parse(path: Path, modified: int, module: str) -> tuple[str, tuple[str, ...]]:
    """Parse one file: its source without comments and docstrings, and the names it imports.

    `modified` is only a key of the cache: Snakemake reads the same files hundreds of times.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package=path.name == "__init__.py")
            imported += [base, *(f"{base}.{name.name}" for name in node.names)]
    return _plain(tree), tuple(imported)


def _plain(node: Any) -> str:
    """Write a syntax tree without positions, docstrings and empty fields.

    `ast.dump` is not used: what it prints differs between versions of Python.
    """
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        kept = (f"{name}={_plain(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({','.join(kept)})"
    if isinstance(node, list):
        return "[" + ",".join(_plain(item) for item in node if not _is_prose(item)) + "]"
    return repr(node)


def _is_prose(node: Any) -> bool:
    """Tell a string that stands alone as a statement: a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, node.module] if node.module else kept)
