"""What a step takes: a frozen dataclass in its package's ``params.py``, read key by key.

Values come as JSON or YAML gives them. They are read by pydantic, strictly, from JSON: strict
reading of Python values refuses a list for a tuple, lax reading turns True into 1. What pydantic
finds wrong is told in one sentence with the key's full path; so is what a class's ``check`` refuses
because of its other values (`WrongError`).
"""

import importlib
import itertools
import json
import math
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Len, MinLen
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
HIGHEST_SEED = 2**32 - 1  # of NumPy's and scikit-learn's generators
SEEDS = re.compile(r"(?:\w+_)?seeds?")  # names of fields that hold seeds
DEEPEST = 50  # levels of mappings and lists
LARGEST = 2**63 - 1  # what an array can hold
BOUNDS = (  # pydantic's words
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "too_short",
    "too_long",
)
LONGEST = 200  # characters of a value in a message
MOST = 12  # choices that a message lists


@dataclass(frozen=True)
class Distinct:
    """Of a list: no value stands twice; numbers are alike that names of results write alike."""


@dataclass(frozen=True)
class Rising:
    """Of a list: each number is larger than the one before."""


class WrongError(ValueError):
    """What the ``check`` of a class in a ``params.py`` raises: a key, and what it must be."""

    def __init__(self, key: str, allowed: str) -> None:
        super().__init__(f"{key} must be {allowed}")
        self.key, self.allowed = key, allowed


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
        Out of a ``params.py``, out of the ``settings.py`` of a tool, or declared by the module.

    Examples
    --------
    >>> step_of(of_step("pr12.data.fetch"))
    'pr12.data.fetch'
    """
    package, _, file = params_class.__module__.rpartition(".")
    if file == "settings":
        return f"{package}.__main__"
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
        `Gt`, `Ge`, `Interval`, `Len` or `MinLen`, and with `Distinct` or `Rising`.
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
    _check_keys(values, hints, where)
    places = {key: f"{(origin or {}).get(key, where)}.{key}" for key in hints}
    fields = (
        f'"{key}":'.encode() + _json(values[key], hint, places[key]) for key, hint in hints.items()
    )
    try:
        checked = _adapter(params_class).validate_json(b"{" + b",".join(fields) + b"}")
        for key, hint in hints.items():
            _check_beyond_types(values[key], hint, places[key])
        return checked
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
    if not error["loc"]:
        wrong = error["ctx"]["error"]
        place, value = places[wrong.key], values[wrong.key]
        raise UserError(f"{place} is {_shown(value)}; it must be {wrong.allowed}")
    key, *indices = error["loc"]
    place, value, hint = places[key], values[key], _plain(hints[key])
    for index in indices:
        place, value, hint = f"{place}[{index}]", value[index], _element(hint)
    raise _refusal(place, value, hint, error["type"])


def _check_keys(values: Mapping[str, Any], hints: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in hints:
            raise UserError(f"{where}.{key} is unknown; allowed here: {', '.join(sorted(hints))}")
    for key in hints:
        if key not in values:
            place = "the JSON" if where == "--params" else "params.yaml"
            raise UserError(f"{where}.{key} is missing; add it to {place}")


def _refusal(place: str, value: Any, hint: Any, problem: str = "") -> UserError:
    """Return the sentence of a wrong value, and how to write it where that is plain."""
    allowed = _allowed(hint, problem)
    if allowed == TYPES[float] and type(value) in (int, float):
        allowed = "a finite number"
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        choices = allowed.removeprefix("one of ").split(", ")
        if allowed == TYPES[int] or str(int(value)) in choices:
            allowed += f"; write {int(value)}"
    return UserError(f"{place} is {_shown(value)}; it must be {allowed}")


def _check_beyond_types(value: Any, hint: Any, place: str) -> None:
    """Refuse what pydantic takes: true for 1, seeds of no generator, keys that are no texts."""
    if value is None:
        return
    hint = _plain(hint)
    kind, *rules = typing.get_args(hint) if typing.get_origin(hint) is Annotated else [hint]
    if typing.get_origin(kind) is Literal:
        if all(type(value) is not type(each) or value != each for each in typing.get_args(kind)):
            raise _refusal(place, value, kind)
    elif kind is dict:
        check_tree(value, place)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_beyond_types(item, _element(hint), f"{place}[{index}]")
        if SEEDS.fullmatch(_field(place)) and len(set(value)) < len(value):
            raise UserError(
                f"{place} is {_shown(value)}; name each seed once, for the same seed again is no "
                "other replica"
            )
        if Rising() in rules and any(b <= a for a, b in itertools.pairwise(value)):
            raise UserError(f"{place} is {_shown(value)}; it must be a list of rising numbers")
        if Distinct() in rules:
            _check_distinct(value, place)
    elif kind is int:
        seed = SEEDS.fullmatch(_field(place))
        lowest, highest = (0, HIGHEST_SEED) if seed else (-LARGEST, LARGEST)
        if not lowest <= value <= highest:
            allowed = f"from 0 to {HIGHEST_SEED}" if seed else f"up to {LARGEST}"
            raise UserError(f"{place} is {_shown(value)}; it must be a whole number {allowed}")


def _check_distinct(values: Sequence[Any], place: str) -> None:
    numbers = any(isinstance(value, float) for value in values)  # 1 and 1.0 are one
    texts = [f"{value:g}" if numbers else str(value) for value in values]
    for text in texts:
        if texts.count(text) > 1:
            raise UserError(f"{place} is {_shown(values)}, which holds {text} twice; name it once")


def _field(place: str) -> str:
    """Return the name of the field in a path such as ``distill.train.seeds[0]``."""
    return place.rpartition(".")[2].partition("[")[0]


def check_tree(value: Any, place: str, depth: int = 0) -> None:
    """Refuse keys that are no texts and numbers that are not finite, wherever they stand.

    Parameters
    ----------
    value : object
        Mappings, lists and scalars, as YAML or JSON give them.
    place : str
        Its path, for messages; empty for all of params.yaml.
    depth : int
        How deep it stands.

    Raises
    ------
    UserError
        For the first such key or number, with its full path.

    Examples
    --------
    >>> check_tree({"a": [1, {5: 2}]}, "context.yaml")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: context.yaml.a[1] has the key 5; a key must be a text, \
write '5' in quotes
    """
    if depth > DEEPEST:
        raise UserError(f"{place[:LONGEST]} is nested deeper than {DEEPEST} levels; flatten it")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(
                    f"{place or 'params.yaml'} has the key {key}; a key must be a text, write "
                    f"{str(key)!r} in quotes"
                )
            check_tree(item, f"{place}.{key}" if place else key, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_tree(item, f"{place}[{index}]", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{place} is {_shown(value)}; it must be a finite number")


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
        raise _refusal(place, value, _plain(hint)) from None
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
            case Interval(gt=low, lt=high) if high is not None:
                return f"a number above {low} and below {high}"
            case Interval(gt=low, le=high):
                return f"a number above {low} and at most {high}"
            case Gt(gt=bound):
                return f"a number above {bound}"
            case Ge(ge=bound):
                return f"a number of at least {bound}"
            case Len(min_length=length, max_length=most) if most == length:
                return f"a list of {length} elements"
            case MinLen(min_length=length) | Len(min_length=length):
                return (
                    f"a list with at least {'one element' if length == 1 else f'{length} elements'}"
                )
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        shown = ", ".join(map(str, choices[:MOST]))
        return f"one of {shown}" + (f" ... ({len(choices)} in all)" if choices[MOST:] else "")
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
