"""The JSON schema of params.yaml, by which an editor completes and checks what is written.

Made of the classes in every ``params.py``: ``python -m pr12.workflow.schema params.yaml
docs/params.schema.json``. What one value asks of another, the steps and `pr12.workflow.settings`
check.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pr12.workflow import params, settings, yaml_files

Schema = dict[str, Any]
ELSEWHERE = {
    "run",
    "published",
    "context",
}  # what the workflow adds to the block of a paper's figures


def schema(papers: Iterable[str]) -> Schema:
    """Return the schema of a params.yaml of some papers.

    Parameters
    ----------
    papers : iterable of str
        Short names; each has a ``params.py``.

    Examples
    --------
    >>> made = schema(["distill"])
    >>> made["$defs"]["distill.train"]["properties"]["temperature"]
    {'exclusiveMinimum': 0, 'type': 'number'}
    >>> made["$defs"]["distill.cases"]["properties"]["generator"]
    {'enum': ['random', 'nbe', 'munge'], 'type': 'string'}
    """
    papers = list(papers)
    definitions: Schema = {"data": block(params.of_step("pr12.data.arrays"), required=True)}
    for paper in papers:
        definitions |= _definitions(paper, params.steps(f"pr12.{paper}"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "params.yaml: every value of every run",
        **_closed(
            {
                "run": {"enum": list(settings.RUNS)},
                "papers": {"type": "array", "items": {"enum": papers}},
                "data": {"type": "object", "additionalProperties": _reference("data")},
                **{paper: _reference(paper) for paper in papers},
            },
            required=[*settings.TOP],
        ),
        "$defs": definitions,
    }


def block(params_class: type, *, required: bool) -> Schema:
    """Return the schema of a mapping with the fields of a step.

    Parameters
    ----------
    params_class : type
        Out of a ``params.py``.
    required : bool
        Whether every field must be there.

    Examples
    --------
    >>> block(params.of_step("pr12.data.fetch"), required=False)
    {'type': 'object', 'properties': {'name': {'type': 'string'}}, 'additionalProperties': False}
    """
    properties = TypeAdapter(params_class).json_schema().get("properties", {})
    for field in properties.values():
        field.pop("title", None)
    return _closed(properties, required=list(properties) if required else [])


def _definitions(paper: str, steps: Mapping[str, type]) -> Schema:
    """Return a paper's section, what its runs and cases may say, and the blocks of its steps."""
    fields = {
        name: {
            key: value
            for key, value in block(step, required=False)["properties"].items()
            if name != "figures" or key not in ELSEWHERE
        }
        for name, step in steps.items()
    }
    seeds = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True}
    head = {"dataset": {"type": "string"}, "seeds": seeds}
    cases = {"type": "object", "additionalProperties": _reference(f"{paper}.cases")}
    whole = {
        name: _reference(f"{paper}.{name}")
        | ({"required": given} if (given := [key for key in keys if key != "seeds"]) else {})
        for name, keys in fields.items()
    }
    partial = {name: _reference(f"{paper}.{name}") for name in steps}
    runs = _closed({name: _reference(f"{paper}.run") for name in settings.RUNS})
    return {
        paper: _closed(
            head | whole | {"cases": cases | {"minProperties": 1}, "runs": runs},
            required=[*steps, "cases"],
        ),
        f"{paper}.run": _closed(head | partial | {"cases": cases}),
        f"{paper}.cases": _closed({"step": {"enum": list(steps)}} | _any_of(fields.values())),
        **{
            f"{paper}.{name}": {"description": steps[name].__doc__} | _closed(keys)
            for name, keys in fields.items()
        },
    }


def _any_of(blocks: Iterable[Mapping[str, Schema]]) -> Schema:
    """Return key -> what any of some blocks allows of it."""
    allowed: dict[str, list[Schema]] = {}
    for fields in blocks:
        for key, value in fields.items():
            choices = allowed.setdefault(key, [])
            choices += [] if value in choices else [value]
    return {
        key: choices[0] if len(choices) == 1 else {"anyOf": choices}
        for key, choices in allowed.items()
    }


def _closed(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """Return the schema of a mapping that has no other keys."""
    keys = {"required": list(required)} if required else {}
    return {"type": "object", "properties": dict(properties), "additionalProperties": False} | keys


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def text(papers: Iterable[str]) -> str:
    """Return the schema's file."""
    return json.dumps(schema(papers), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(text(yaml_files.load(source)["papers"]), encoding="utf-8")
