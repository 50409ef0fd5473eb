"""The address of a result: the digest of all that determines its bytes.

The source of a step and of every project module it imports, its params, the names and files of its
outputs, and what it reads: addresses of earlier results, checksums of raw data. A folder that
exists is right; one that is missing must be made. What cannot change a result's bytes does not
count: the plumbing that starts steps, the graph, the declarations of params, comments, docstrings
and the words of error messages. See docs/architecture.md.
"""

import ast
import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pr12.workflow.errors import UserError

SRC = Path(__file__).resolve().parents[2]  # the folder that holds the package pr12
# How steps run; tests pin the bytes that it passes on.
PLUMBING = ("pr12.workflow",)
ROOT = "pr12"  # how a process begins: it counts like an empty module
DECLARATIONS = ("graph", "params")  # modules of a paper; values of params count by themselves


def of(
    module: str,
    params: Mapping[str, Any],
    outputs: Mapping[str, str],
    inputs: Mapping[str, str],
    src: Path = SRC,
) -> str:
    """Return the address of a command's results: 10 hexadecimal digits.

    A step finds out its own address from its command line alone, so it must be given here as it
    stands there.

    Parameters
    ----------
    module : str
        What runs, such as ``pr12.distill.train``.
    params : mapping
        What ``--params`` holds.
    outputs : mapping of str to str
        Name on the command line -> file in the addressed folder, without the folder.
    inputs : mapping of str to str
        Name on the command line -> path, of every path outside of the addressed folder. Raw data
        count by their checksums in data/sources.csv, however and wherever they were fetched;
        any other path counts as it is written, since the name of a folder of results is their
        address.
    src : Path
        The folder that holds the package.

    Examples
    --------
    >>> files = {"model": "model.safetensors"}
    >>> one = of("pr12.workflow.files", {"a": 1, "b": 2}, files, {"train": "build/x/train"})
    >>> one == of("pr12.workflow.files", {"b": 2, "a": 1}, files, {"train": "build/x/train"})
    True
    >>> one == of("pr12.workflow.files", {"a": 1, "b": 2}, files, {"train": "build/y/train"})
    False
    """
    sums = checksums(src.parent / "data/sources.csv")
    identities = {name: _identity(path, sums) for name, path in inputs.items()}
    return digest(source_digest(module, src), params, outputs, identities)


def checksums(table: Path) -> dict[str, dict[str, str]]:
    """Return data set -> file -> checksum of the table of raw data; without a table, nothing."""
    return _checksums(table, table.stat().st_mtime_ns) if table.exists() else {}


@cache
def _checksums(table: Path, modified: int) -> dict[str, dict[str, str]]:
    """Read the table; `modified` is only a key of the cache."""
    sums: dict[str, dict[str, str]] = {}
    try:
        with open(table, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                rows = sums.setdefault(row["name"], _Rows(row["name"]))
                rows[row["file"]] = row["checksum"]
    except KeyError as error:
        raise UserError(
            f"data/sources.csv has no column {error}; bring its first line back from git"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data/sources.csv cannot be read ({error}); mend the file") from None
    return sums


class _Rows(dict):
    """File -> checksum of a data set; a file without a row is told."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __missing__(self, file: str) -> str:
        raise UserError(
            f"data/sources.csv has no row of {self.name} for {file}; bring it back from git"
        )


def _identity(path: str, sums: Mapping[str, Mapping[str, str]]) -> Any:
    """Return what a path counts as."""
    if match := re.fullmatch(r"(?:.*/)?([^/]+)/fetch\.[0-9a-f]{10}/verified\.json", path):
        return sums.get(match[1], path)
    if match := re.fullmatch(r"(?:.*/)?data/raw/([^/]+)(?:/(.+))?", path.rstrip("/")):
        known = sums.get(match[1], {})
        return (known.get(match[2]) if match[2] else known) or path
    return path


def digest(*parts: Any) -> str:
    """Return the first 10 hexadecimal digits of the SHA-256 of JSON-able parts.

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
    """Return the digest of a module's source and of all project modules it imports, see `source`.

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
    >>> len(source_digest("pr12.workflow.address"))
    10
    """
    return digest(source(module, src))


def source(module: str, src: Path = SRC) -> dict[str, str]:
    """Return module name -> normalised source, for a module and all project modules it imports.

    Neither plumbing nor declarations are in it, nor what only they import.

    Parameters
    ----------
    module : str
        Dotted name.
    src : Path
        The folder that holds the package.

    Examples
    --------
    >>> sorted(source("pr12.core.tensor_files"))
    ['pr12', 'pr12.core', 'pr12.core.tensor_files']
    """
    if _file(src, module) is None:
        raise FileNotFoundError(f"no module {module} under {src}")
    sources: dict[str, str] = {}
    waiting = [module, f"{module}.__main__"]  # a folder is run by its __main__
    while waiting:
        name = waiting.pop()
        path = _file(src, name)
        if path is None or name in sources:
            continue
        if name == ROOT:
            sources[name] = _plain(ast.parse("'a docstring'"))
            continue
        sources[name], imported = _parse(path, path.stat().st_mtime_ns, name)
        waiting.extend(each for each in imported if counts(each))
        if "." in name:  # importing a module runs its packages' __init__ too
            waiting.append(name.rpartition(".")[0])
    return sources


def counts(module: str) -> bool:
    """Tell whether a module can change a result's bytes.

    Examples
    --------
    >>> counts("pr12.core.tensor_files"), counts("pr12.workflow.step"), counts("pr12.vae.params")
    (True, False, False)
    """
    plumbing = any(module == name or module.startswith(f"{name}.") for name in PLUMBING)
    parts = module.split(".")
    return not plumbing and not (len(parts) == 3 and parts[2] in DECLARATIONS)


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


def _plain(node: Any, message: bool = False) -> str:
    """Write a syntax tree without positions, docstrings, empty fields and the words of errors.

    `ast.dump` is not used: what it prints differs between versions of Python. `message` tells that
    the node is part of a ``raise``, where only what is computed can have an effect.
    """
    if isinstance(node, ast.AST):
        message = message or isinstance(node, ast.Raise)
        if message and isinstance(node, ast.JoinedStr):
            return f"Words({','.join(_plain(value, message) for value in _computed(node))})"
        if message and isinstance(node, ast.Constant) and isinstance(node.value, str):
            return "Words()"
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        filled = [(name, value) for name, value in fields if value not in (None, [])]
        written = ",".join(f"{name}={_plain(value, message)}" for name, value in filled)
        return f"{type(node).__name__}({written})"
    if isinstance(node, list):
        return "[" + ",".join(_plain(item, message) for item in node if not _is_prose(item)) + "]"
    return repr(node)


def _computed(text: ast.JoinedStr) -> Iterator[ast.expr]:
    """Yield what an f-string computes, without the words between and the formats' letters."""
    for part in text.values:
        if isinstance(part, ast.FormattedValue):
            yield part.value
            if isinstance(part.format_spec, ast.JoinedStr):
                yield from _computed(part.format_spec)


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
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)
