"""Read YAML files strictly: what two readers of one file could understand in two ways is refused.

PyYAML takes the last of two equal keys without a word. It follows YAML 1.1, where ``1e-3`` is a
text, while DVC follows YAML 1.2, where it is a number.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pr12.workflow.errors import UserError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is ten times faster
_NUMBER = re.compile(r"([-+]?)(\d*)(\.\d*)?[eE]([-+]?)(\d+)")


def load(path: str | Path) -> Any:
    r"""Read a YAML file of one document.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    object
        What PyYAML's safe loader gives.

    Raises
    ------
    UserError
        If the file is missing or no YAML, if a key stands twice in a mapping, or if a value looks
        like a number and PyYAML reads a text; with the file and the lines.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "params.yaml")
    ...     _ = path.write_text("epochs: 12\nrate: 1.0e-3\n")
    ...     load(path)
    {'epochs': 12, 'rate': 0.001}
    """
    path = Path(path)
    name = display_name(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{name} is missing; write it, or bring it back from git") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name} cannot be read ({error}); mend the file") from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_node(loader, node, "", name, set())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{name}{_problem(error, text)}") from None


def load_mapping(path: str | Path) -> Mapping[Any, Any]:
    """Read a YAML file that must hold a mapping, as `load` does.

    Parameters
    ----------
    path : path-like
        The file.

    Raises
    ------
    UserError
        If it holds anything else or nothing.

    Examples
    --------
    >>> load_mapping("/dev/null")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /dev/null is empty; it must be a mapping, bring it back from git
    """
    value, name = load(path), display_name(Path(path))
    if value is None:
        raise UserError(f"{name} is empty; it must be a mapping, bring it back from git")
    if not isinstance(value, Mapping):
        raise UserError(f"{name} is a {type(value).__name__}; it must be a mapping of key: value")
    return value


def display_name(path: Path) -> str:
    """Return a path as messages name it: relative to the working folder where it lies inside.

    Parameters
    ----------
    path : Path
        Any path.

    Examples
    --------
    >>> display_name(Path.cwd() / "papers" / "vae" / "claims.yaml")
    'papers/vae/claims.yaml'
    """
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def check_numbers(value: Any, where: str = "") -> None:
    """Refuse texts such as ``1e-3`` in what was loaded, wherever it came from.

    Parameters
    ----------
    value : object
        Mappings, lists and scalars.
    where : str
        The path of the value, for messages.

    Raises
    ------
    UserError
        For the first such text, with its full path and how to write the number.

    Examples
    --------
    >>> check_numbers({"distill": {"train": {"learning_rate": "1e-3"}}})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: distill.train.learning_rate is the text '1e-3', not a number; \
write 1.0e-3 in params.yaml, without quotes
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_numbers(item, _inside(where, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_numbers(item, f"{where}[{index}]")
    elif isinstance(value, str) and (number := as_number(value)):
        raise UserError(
            f"{where} is the text {value!r}, not a number; write {number} in params.yaml, "
            "without quotes"
        )


def as_number(text: str) -> str | None:
    """Return a text that looks like a number with an exponent as both versions of YAML read it.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str or None
        The number; None if the text looks like none.

    Examples
    --------
    >>> [as_number(text) for text in ("1e-3", "1E5", "-2e4", ".5e3", "lambda1e+06", "12")]
    ['1.0e-3', '1.0e+5', '-2.0e+4', '0.5e+3', None, None]
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or (match[3] or ".") != "."):
        return None
    fraction = match[3] if match[3] and match[3] != "." else ".0"
    return f"{match[1]}{match[2] or '0'}{fraction}e{match[4] or '+'}{match[5]}"


def _check_node(loader: Any, node: yaml.Node, where: str, name: str, seen: set[int]) -> None:
    """Refuse keys that stand twice and plain texts that look like numbers, in all of a tree."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            merge = key_node.tag == "tag:yaml.org,2002:merge"
            if not isinstance(key_node, yaml.ScalarNode):
                _check_node(loader, value_node, where, name, seen)
                continue
            key = "<<" if merge else loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if key in lines:
                raise UserError(
                    f"{name}: the key {key_node.value} stands twice, in lines {lines[key]} and "
                    f"{line}; remove one"
                )
            lines[key] = line
            inside = where if merge else _inside(where, key_node.value)
            _check_node(loader, value_node, inside, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _check_node(loader, item, f"{where}[{index}]", name, seen)
    elif not node.style and (written := _plainly(node)):
        raise UserError(
            f"{name}: {where} is {node.value} in line {node.start_mark.line + 1}, which DVC reads "
            f"as something else; write {written}"
        )
    elif not node.style and node.tag.endswith(":str") and (number := as_number(node.value)):
        raise UserError(
            f"{name}: {where} is {node.value} in line {node.start_mark.line + 1}, which is read "
            f"as a text; write {number}"
        )


def _plainly(node: yaml.ScalarNode) -> str | None:
    """Return how to write a number or truth value that two versions of YAML read differently."""
    if node.tag.endswith(":int") and not re.fullmatch(r"[-+]?(0|[1-9]\d*)", node.value):
        return "it in plain digits"
    if node.tag.endswith(":float") and re.search("[_:]", node.value):
        return "it in plain digits"
    if node.tag.endswith(":bool") and node.value.lower() not in ("true", "false"):
        return "true or false"
    return None


def _inside(where: str, key: Any) -> str:
    """Return the path of a key."""
    return f"{where}.{key}" if where else str(key)


def _problem(error: Exception, text: str) -> str:
    """Say in which line a file is no YAML, and why."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)  # of a character that YAML forbids
    if mark is not None:
        line = mark.line + 1
    elif isinstance(position, int):
        line = text.count("\n", 0, position) + 1
    else:
        line = None
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = f", line {line}," if line else ""
    reason = " ".join(str(reason).split())
    return f"{place} is no YAML ({reason}); check indentation (spaces, no tabs), colons and quotes"
