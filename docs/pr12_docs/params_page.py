"""Every value of params.yaml as tables: type and bounds, meaning, and today's value in each run."""

import inspect
import json
import re
import tokenize
from collections.abc import Mapping
from functools import cache
from io import StringIO
from typing import Any

from pr12.report.page_templates import escape_markdown
from pr12.workflow import params, schema, settings, yaml_files
from pr12_docs.places import PARAMS

LONGEST = 40  # characters of a value in a table
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "{} or more",
}
TYPES = {"array": "list", "object": "mapping", "integer": "whole number", "null": "nothing"}


@cache
def _sections(run: str) -> dict[str, Any]:
    """Return params.yaml with a run's values laid over the defaults."""
    return settings.resolve(yaml_files.load_mapping(PARAMS) | {"run": run})


def type_text(field: Mapping[str, Any]) -> str:
    """Say in words what a schema allows.

    Parameters
    ----------
    field : mapping
        JSON schema of one field.

    Examples
    --------
    >>> type_text({"exclusiveMinimum": 0, "maximum": 10000, "type": "number"})
    'number > 0, ≤ 10000'
    >>> type_text({"type": "array", "items": {"minimum": 1, "type": "integer"}, "minItems": 1})
    'list of whole numbers ≥ 1 (1 or more)'
    """
    if "anyOf" in field:
        return " or ".join(map(type_text, field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    bounds = ", ".join(text.format(field[key]) for key, text in BOUNDS.items() if key in field)
    name = TYPES.get(field.get("type", ""), field.get("type", "any"))
    if name == "list":
        items = field.get("items") or {}
        inside = type_text(items) if items else "anything"
        inside = inside.replace("number", "numbers", 1).replace("string", "strings", 1)
        return f"list of {inside}" + (f" ({bounds})" if bounds else "")
    return f"{name} {bounds}".strip()


def comments(text: str) -> dict[str, str]:
    r"""Return the comment of every key of a YAML text, by its dotted path.

    Parameters
    ----------
    text : str
        Block style, two spaces a level.

    Examples
    --------
    >>> comments("vae:\n  train: # all\n    hidden: 500 # Sec. 5\n")
    {'vae.train': 'all', 'vae.train.hidden': 'Sec. 5'}
    """
    path, result = [], {}
    for line in text.splitlines():
        found = re.fullmatch(r"( *)([\w-]+):(?: [^#]*?)? *(?:# (.*))?", line)
        if found:
            path = [*path[: len(found[1]) // 2], found[2]]
            if found[3]:
                result[".".join(path)] = found[3]
    return result


def field_comments(step: type) -> dict[str, str]:
    """Return the comment beside or above each field of a dataclass in a params.py."""
    above, name, result = "", "", {}
    for token in tokenize.generate_tokens(StringIO(inspect.getsource(step)).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            if token.line.lstrip().startswith("#"):
                above = f"{above} {text}".strip()
            elif name:
                result[name] = f"{result.get(name, '')} {text}".strip()
            continue
        found = re.match(r"    (\w+): ", token.line)
        if token.type == tokenize.NAME and found and found[1] != name:
            name = found[1]
            if above:
                result[name], above = above, ""
    return result


def value_text(value: Any) -> str:
    """Write a value for a table; a long one by its beginning.

    Parameters
    ----------
    value : Any
        Out of params.yaml.

    Examples
    --------
    >>> value_text([0, 1]), value_text(None)
    ('`0, 1`', '–')
    """
    if value is None or value in ([], {}):
        return "–"
    if isinstance(value, list):
        text = ", ".join(json.dumps(each, ensure_ascii=False).strip('"') for each in value)
    else:
        text = json.dumps(value, ensure_ascii=False).strip('"')
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition(" ")[0].rstrip(",") + " …"
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def of_paper(paper: str) -> str:
    """Return all steps of a paper: a table each, then its cases."""
    said = comments(PARAMS.read_text(encoding="utf-8"))
    parts = []
    for name, step in params.steps(f"pr12.{paper}").items():
        fields = {
            key: field
            for key, field in schema.block(step, required=False)["properties"].items()
            if name != "figures" or key not in settings.ELSEWHERE
        }
        summary = (step.__doc__ or "").strip().splitlines()[0]
        parts += [f"### {paper}.{name}", summary]
        beside = field_comments(step)
        rows = [
            _row(f"{paper}.{name}.{key}", field, said, beside.get(key, ""))
            for key, field in fields.items()
            if key != "seeds"
        ]
        if rows:
            parts.append("\n".join([_head(), *rows]))
    return "\n\n".join([*parts, f"### {paper}: cases", _cases(paper)])


def _head() -> str:
    runs = " | ".join(settings.RUNS)
    return f"| Name | Type | {runs} | Meaning |\n|:--|:--|{':--|' * len(settings.RUNS)}:--|"


def _row(path: str, field: Mapping[str, Any], said: Mapping[str, str], beside: str) -> str:
    paper, step, name = path.split(".")
    values = [value_text(_sections(run)[paper].get(step, {}).get(name)) for run in settings.RUNS]
    meaning = "; ".join(dict.fromkeys(filter(None, (said.get(path, ""), beside))))
    cells = [f"`{name}`", type_text(field), *values, escape_markdown(meaning)]
    return f"| {' | '.join(cells)} |"


def _cases(paper: str) -> str:
    """Return the seeds of each run, and what each case says."""
    seeds = ", ".join(
        f"{run} {value_text(_sections(run)[paper].get('seeds'))}" for run in settings.RUNS
    )
    lines = [f"Seeds: {seeds}.", "", "| Case | Overrides |", "|:--|:--|"]
    for case, overrides in _sections("full")[paper]["cases"].items():
        told = ", ".join(f"{key} {value_text(value)}" for key, value in overrides.items())
        lines.append(f"| `{case}` | {told or 'the defaults'} |")
    return "\n".join(lines)


def of_data() -> str:
    """Return the data sets that papers share."""
    sets = _sections("full")["data"]
    step = params.of_step("pr12.data.arrays")
    fields = schema.block(step, required=False)["properties"]
    said = comments(PARAMS.read_text(encoding="utf-8")).get("data", "")
    lines = [f"{escape_markdown(said[:1].upper() + said[1:])}.", ""] if said else []
    lines.append(f"| Name | Type | {' | '.join(f'`{name}`' for name in sets)} |")
    lines.append("|:--|:--|" + ":--|" * len(sets))
    for name, field in fields.items():
        values = [value_text(each.get(name)) for each in sets.values()]
        lines.append(f"| {' | '.join([f'`{name}`', type_text(field), *values])} |")
    return "\n".join(lines)
