"""What a step takes: a frozen dataclass in its package's ``params.py``, read key by key.

Values come as JSON or YAML gives them. They are read by pydantic, strictly, from JSON: strict
reading of Python values refuses a list for a tuple, lax reading turns True into 1. What pydantic
finds wrong is told in one sentence with the key's full path.
"""

import importlib
import json
import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from pr12.workflow import address
from pr12.workflow.errors import UserError

# Validators are built when a class is used first, for a process uses one of many
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)

TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a mapping",
    tuple: "a list",
}
BOUNDS = ("greater_than", "greater_than_equal", "less_than_equal", "too_short")  # pydantic's words
LONGEST = 200  # characters of a value in a message


def of_step(module: str) -> type:
    """Return what a step takes, without importing the step, which may import torch (1.5 s).

    Parameters
    ----------
    module : str
        Dotted name of the step: for ``pr12.distill.evaluate_compression`` the class
        `EvaluateCompression` of ``pr12.distill.params``.

    Raises
    ------
    UserError
        If there is no such step.

    Examples
    --------
    >>> of_step("pr12.data.fetch")
    <class 'pr12.data.params.Fetch'>
    >>> of_step("pr12.data.nothing")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: there is no step pr12.data.nothing
    """
    package, _, name = module.rpartition(".")
    file = address.SRC.joinpath(*package.split("."), "params.py")
    classes = steps(package) if file.is_file() else {}
    if name not in classes:
        raise UserError(f"there is no step {module}")
    return classes[name]


@cache
def steps(package: str) -> dict[str, type]:
    """Return a package's steps: module name -> the dataclass of its params.

    Parameters
    ----------
    package : str
        Dotted name, such as ``pr12.distill``.

    Examples
    --------
    >>> sorted(steps("pr12.data"))
    ['arrays', 'fetch']
    """
    module = importlib.import_module(f"{package}.params")
    return {
        _snake(name): value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }


def step_of(params_class: type) -> str:
    """Return the dotted name of the module that takes these params.

    Parameters
    ----------
    params_class : type
        Out of a ``params.py``, or declared by the module itself.

    Examples
    --------
    >>> step_of(of_step("pr12.data.fetch"))
    'pr12.data.fetch'
    """
    package, _, file = params_class.__module__.rpartition(".")
    if file != "params":
        return params_class.__module__
    return f"{package}.{_snake(params_class.__name__)}"


def make(
    params_class: type,
    values: Mapping[str, Any],
    where: str,
    origin: Mapping[str, str] | None = None,
) -> Any:
    """Build a step's params from a mapping, checked key by key.

    Parameters
    ----------
    params_class : type
        A pydantic dataclass with the config `STRICT`; a field's type is bool, int, float, str,
        dict, `Literal`, a ``tuple[x, ...]`` or ``x | None``, perhaps `Annotated` with one of
        `Gt`, `Ge`, `Interval` or `MinLen`.
    values : mapping
        Key -> value as YAML or JSON reads them.
    where : str
        The path of the mapping, for messages.
    origin : mapping of str to str, optional
        For keys that stand elsewhere, the path of that mapping.

    Raises
    ------
    UserError
        For the first unknown, missing, ill-typed or forbidden value, with its full path and what
        is allowed.

    Examples
    --------
    >>> from pydantic.dataclasses import dataclass
    >>> @dataclass(frozen=True, config=STRICT)
    ... class Params:
    ...     temperature: Annotated[float, Gt(0)]
    >>> make(Params, {"temperature": 20}, "distill.train")
    Params(temperature=20.0)
    >>> make(Params, {"temperature": -1}, "distill.train")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: distill.train.temperature is -1; it must be a number above 0
    """
    hints = _hints(params_class)
    for key in values:
        if key not in hints:
            raise UserError(f"{where}.{key} is unknown; allowed here: {', '.join(sorted(hints))}")
    for key in hints:
        if key not in values:
            raise UserError(f"{where}.{key} is missing; add it to params.yaml")
    places = {key: f"{(origin or {}).get(key, where)}.{key}" for key in hints}
    fields = (
        f'"{key}":'.encode() + _json(values[key], hint, places[key]) for key, hint in hints.items()
    )
    try:
        return _adapter(params_class).validate_json(b"{" + b",".join(fields) + b"}")
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    key, *indices = error["loc"]
    place, value, hint = places[key], values[key], _plain(hints[key])
    for index in indices:
        place, value, hint = f"{place}[{index}]", value[index], _element(hint)
    raise UserError(f"{place} is {_shown(value)}; it must be {_allowed(hint, error['type'])}")


@cache
def _adapter(params_class: type) -> TypeAdapter:
    return TypeAdapter(params_class)


@cache
def _hints(params_class: type) -> dict[str, Any]:
    return typing.get_type_hints(params_class, include_extras=True)


def _json(value: Any, hint: Any, place: str) -> bytes:
    """Write a value as JSON that pydantic reads, or say what it must be instead."""
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
        from_json(b"[" + text + b"]")  # as deep as it will stand in the whole
    except (TypeError, ValueError, RecursionError):
        problem = f"{place} is {_shown(value)}; it must be {_allowed(_plain(hint))}"
        raise UserError(problem) from None
    return text


def _plain(hint: Any) -> Any:
    """Leave out that a value may be null."""
    choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
    return choices[0] if type(None) in typing.get_args(hint) else hint


def _element(hint: Any) -> Any:
    """Return the hint of a tuple's elements."""
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    return _plain(typing.get_args(kind)[0])


def _allowed(hint: Any, problem: str = "") -> str:
    """Say what a value must be: within its bounds where these are the problem, else of its type."""
    rules: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, *rules = typing.get_args(hint)
    if problem in BOUNDS and rules:
        match rules[0]:
            case Interval(gt=None, ge=low, le=high):
                return f"a number from {low} to {high}"
            case Interval(gt=low, le=high):
                return f"a number above {low} and at most {high}"
            case Gt(gt=bound):
                return f"a number above {bound}"
            case Ge(ge=bound):
                return f"a number of at least {bound}"
            case MinLen(min_length=length):
                return f"a list with at least {'one element' if length == 1 else length}"
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    return TYPES[typing.get_origin(hint) or hint]


def _shown(value: Any) -> str:
    """Write a value for a message, as it stands in params.yaml or nearly so."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "too large to show"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _snake(name: str) -> str:
    """Return the module that a class of a ``params.py`` is named after: EvaluateParts."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
