"""Whatever stands in params.yaml or on a command line: params, or one sentence with the path."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pr12.shared import step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty


@dataclass(frozen=True)
class Probe:
    """Every kind of field that a step may have."""

    flag: bool
    count: Annotated[int, AtLeast(1)]
    rate: Annotated[float, Above(0)]
    share: Annotated[float, Above(0), Between(0, 1)]
    name: str
    mean: Literal["arithmetic", "geometric"]
    bound: Annotated[float, Above(0)] | None
    seeds: Annotated[tuple[int, ...], NotEmpty()]
    rates: Annotated[tuple[Annotated[float, Above(0)], ...], NotEmpty()]
    words: tuple[str, ...]


GOOD = {
    "flag": True,
    "count": 3,
    "rate": 0.5,
    "share": 1,
    "name": "é",
    "mean": "geometric",
    "bound": None,
    "seeds": [0, 1],
    "rates": [1, 2.5],
    "words": [],
}
STEPS = {
    name: step.params_class(name)
    for name in ("pr12.distill.train", "pr12.distill.evaluate", "pr12.shared.data")
}
CLASSES = [Probe, *STEPS.values()]
HINTS = typing.get_type_hints(Probe, include_extras=True)


def valid(hint: Any) -> st.SearchStrategy:
    """Give values that a hint allows, as JSON holds them; written apart from what is tested."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inner = valid(arguments[0])
        for rule in arguments[1:]:
            if isinstance(rule, Above):
                inner = inner.filter(lambda x, r=rule: x is None or x > r.bound)
            elif isinstance(rule, AtLeast):
                inner = inner.map(lambda x, r=rule: r.bound + abs(x))
            elif isinstance(rule, Between):
                whole = arguments[0] is int
                number = st.integers if whole else st.floats
                inner = number(rule.low, rule.high)
                inner = inner.filter(lambda x: x > 0) if len(arguments) > 2 else inner
            else:
                inner = inner.filter(lambda x: len(x) > 0)
        return inner
    if origin in (types.UnionType, typing.Union):
        return st.none() | valid(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(valid(arguments[0]), max_size=4)
    numbers = st.floats(-1e9, 1e9)
    return {
        bool: st.booleans(),
        int: st.integers(-(10**6), 10**6),
        float: numbers | st.integers(-(10**6), 10**6),
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    }[hint]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def listed(value):
    """Give a value as JSON holds it."""
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("params_class", CLASSES, ids=lambda c: c.__module__)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_params_come_back_as_they_were(params_class, data):
    hints = typing.get_type_hints(params_class, include_extras=True)
    values = {key: data.draw(valid(hint), label=key) for key, hint in hints.items()}
    read = json.loads(json.dumps(values))
    made = step.make(params_class, read, "here")
    assert {key: listed(value) for key, value in dataclasses.asdict(made).items()} == values
    again = step.make(params_class, dataclasses.asdict(made), "here")
    assert again == made


@given(values=st.fixed_dictionaries({key: valid(hint) for key, hint in HINTS.items()}))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_params_come_back_from_the_command_line(values):
    with step.start(Probe, arguments=["--params", json.dumps(values)]) as job:
        found = dataclasses.asdict(job.params)
    assert {key: listed(value) for key, value in found.items()} == values


@pytest.mark.parametrize("params_class", CLASSES, ids=lambda c: c.__module__)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_of_any_key_is_taken_or_told_with_its_path(params_class, data):
    hints = typing.get_type_hints(params_class, include_extras=True)
    values = {key: data.draw(valid(hint), label=key) for key, hint in hints.items()}
    key = data.draw(st.sampled_from(sorted(hints)))
    values[key] = data.draw(JSON, label="any")
    try:
        made = step.make(params_class, values, "distill.train")
    except UserError as error:
        told = str(error)
        assert told.startswith((f"distill.train.{key} is ", f"distill.train.{key}["))
        assert "; it must be " in told
    else:
        taken = listed(getattr(made, key))
        assert taken == values[key]
        assert type(taken) is type(values[key]) or isinstance(taken, float)


@given(values=JSON)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_on_the_command_line_ends_with_2_or_is_right(values):
    try:
        with step.start(Probe, arguments=["--params", json.dumps(values)]) as job:
            assert job.params is not None
    except SystemExit as end:
        assert end.code == 2  # noqa: PT017


@given(text=st.text(max_size=20))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_for_params_ends_with_2(text):
    with pytest.raises(SystemExit) as caught, step.start(Probe, arguments=["--params", text]):
        pass
    assert caught.value.code == 2


@given(arguments=st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_arguments_end_with_2(arguments):
    with (
        pytest.raises(SystemExit) as caught,
        step.start(Probe, reads=["train"], writes=["model"], arguments=arguments),
    ):
        pass
    assert caught.value.code == 2


@given(key=st.text(max_size=8).filter(lambda key: key not in GOOD))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_unknown_key_is_told_with_what_is_allowed(key):
    with pytest.raises(UserError) as caught:
        step.make(Probe, GOOD | {key: 1}, "distill.train")
    told = str(caught.value)
    assert told.startswith(f"distill.train.{key} is unknown; allowed here: ")
    assert all(name in told for name in GOOD)


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_and_a_misspelt_key_are_told(key):
    without = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(UserError, match=f"^distill.train.{key} is missing; add it"):
        step.make(Probe, without, "distill.train")
    with pytest.raises(UserError, match=f"^distill.train.{key}x is unknown"):
        step.make(Probe, without | {key + "x": GOOD[key]}, "distill.train")


WRONG = [
    ("flag", 1, "true or false"),
    ("flag", "true", "true or false"),
    ("flag", None, "true or false"),
    ("count", 2.0, "a whole number"),
    ("count", "2", "a whole number"),
    ("count", True, "a whole number"),
    ("count", 0, "a number of at least 1"),
    ("rate", "0.5", "a number"),
    ("rate", True, "a number"),
    ("rate", None, "a number"),
    ("rate", math.nan, "a number"),
    ("rate", math.inf, "a number"),
    ("rate", 0, "a number above 0"),
    ("rate", -1, "a number above 0"),
    ("share", 0, "a number above 0"),
    ("share", 1.01, "a number from 0 to 1"),
    ("name", 3, "a text"),
    ("name", ["a"], "a text"),
    ("mean", "Geometric", "one of arithmetic, geometric"),
    ("mean", None, "one of arithmetic, geometric"),
    ("mean", ["geometric"], "one of arithmetic, geometric"),
    ("mean", {}, "one of arithmetic, geometric"),
    ("bound", 0, "a number above 0"),
    ("bound", "none", "a number"),
    ("seeds", [], "a list with at least one element"),
    ("seeds", 3, "a list"),
    ("seeds", "01", "a list"),
    ("seeds", {"0": 1}, "a list"),
    ("seeds", None, "a list"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG, ids=str)
def test_a_wrong_value_is_told_with_what_is_allowed(key, value, allowed):
    with pytest.raises(UserError) as caught:
        step.make(Probe, GOOD | {key: value}, "here")
    assert str(caught.value) == f"here.{key} is {json.dumps(value)}; it must be {allowed}"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("seeds", [0, 1.5], "here.seeds[1] is 1.5; it must be a whole number"),
        ("seeds", [0, [1]], "here.seeds[1] is [1]; it must be a whole number"),
        ("rates", [1, 2, -3], "here.rates[2] is -3; it must be a number above 0"),
        ("words", ["a", None], "here.words[1] is null; it must be a text"),
    ],
)
def test_a_wrong_element_is_told_with_its_place(key, value, sentence):
    with pytest.raises(UserError) as caught:
        step.make(Probe, GOOD | {key: value}, "here")
    assert str(caught.value) == sentence


def test_the_path_is_that_of_the_place_where_the_value_stands():
    origin = {"rate": "distill.cases.soft"}
    with pytest.raises(UserError, match=r"^distill\.cases\.soft\.rate is -1"):
        step.make(Probe, GOOD | {"rate": -1}, "distill.train", origin)
    with pytest.raises(UserError, match=r"^distill\.train\.count is 0"):
        step.make(Probe, GOOD | {"count": 0}, "distill.train", origin)


def test_whole_numbers_become_floats_where_floats_are_wanted():
    made = step.make(Probe, GOOD, "here")
    assert [type(value) for value in (made.share, *made.rates)] == [float] * 3
    assert made.seeds == (0, 1)
