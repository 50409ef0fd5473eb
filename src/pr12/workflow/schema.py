"""The JSON schema of params.yaml, by which an editor completes and checks what is written.

Made of the classes in every ``params.py``: ``python -m pr12.workflow.schema params.yaml
docs/params.schema.json``. What one value asks of another, the steps and `pr12.workflow.settings`
check.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from pr12.workflow import files, params, settings, yaml_files
from pr12.workflow.errors import UserError

Schema = dict[str, Any]


def schema(papers: Iterable[str]) -> Schema:
    """Return the schema of a params.yaml of some papers.

    Parameters
    ----------
    papers : iterable of str
        Short names; each has a ``params.py``.

    Examples
    --------
    >>> whole = schema(["distill"])
    >>> whole["$defs"]["distill.train"]["properties"]["temperature"]
    {'exclusiveMinimum': 0, 'maximum': 10000, 'type': 'number'}
    >>> whole["$defs"]["distill.cases"]["properties"]["generator"]
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
            if name != "figures" or key not in settings.ELSEWHERE
        }
        for name, step in steps.items()
    }
    seed = {"type": "integer", "minimum": 0, "maximum": params.HIGHEST_SEED}
    seeds = {"type": "array", "items": seed, "minItems": 1, "uniqueItems": True}
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


def main(arguments: Sequence[str]) -> int:
    """Write the schema of a params.yaml; return the exit code.

    Parameters
    ----------
    arguments : sequence of str
        Paths of params.yaml and of the schema.
    """
    try:
        if len(arguments) != 2:
            raise UserError(
                f"{len(arguments)} paths are given, not 2; the command is "
                "python -m pr12.workflow.schema params.yaml docs/params.schema.json"
            )
        papers = yaml_files.load_mapping(arguments[0]).get("papers")
        settings.check_papers(papers)
        with files.atomic(arguments[1]) as temporary:
            temporary.write_text(text(papers), encoding="utf-8")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
