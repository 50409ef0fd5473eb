"""Whatever stands in params.yaml or on a command line: params, or one sentence with the path."""

import dataclasses
import datetime
import json
import math
import pickle
import types
import typing
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, MinLen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

from pr12.workflow import params, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT, Distinct


@dataclass(frozen=True, config=STRICT)
class Probe:
    """Every kind of field that a step may have."""

    flag: bool
    count: Annotated[int, Ge(1)]
    rate: Annotated[float, Gt(0)]
    share: Annotated[float, Interval(gt=0, le=1)]
    chance: Annotated[float, Interval(ge=0, le=1)]
    name: str
    mean: Literal["arithmetic", "geometric"]
    bound: Annotated[float, Gt(0)] | None
    seeds: Annotated[tuple[int, ...], MinLen(1)]
    rates: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    words: Annotated[tuple[str, ...], Distinct()]
    size: Literal[1, 2, 4]
    steps: Annotated[tuple[float, ...], Distinct()]


@dataclass(frozen=True, config=STRICT)
class Counts:
    """Whole numbers, each once."""

    sizes: Annotated[tuple[int, ...], Distinct()]


@dataclass(frozen=True, config=STRICT)
class Numbers:
    """Whole numbers are taken as well."""

    a: float
    b: tuple[float, ...]


@dataclass(frozen=True, config=STRICT)
class Mapping:
    """As what is published, for figures."""

    published: dict


GOOD = {
    "flag": True,
    "count": 3,
    "rate": 0.5,
    "share": 1,
    "chance": 0,
    "name": "é",
    "mean": "geometric",
    "bound": None,
    "seeds": [0, 1],
    "rates": [1, 2.5],
    "words": [],
    "size": 1,
    "steps": [],
}
STEPS = {
    name: params.of_step(name)
    for name in ("pr12.distill.train", "pr12.distill.evaluate", "pr12.data.arrays")
}
# What a check of several fields wants, beside the bounds of each
TOGETHER = {
    STEPS["pr12.distill.train"]: {
        "hard_weight": 1.0,
        "standardise_logits": False,
        "noise_fraction": 0.0,
    },
    STEPS["pr12.data.arrays"]: {"dataset": "mnist", "train": 20, "validation": 20, "test": 20},
}
CLASSES = [Probe, *STEPS.values()]
HINTS = typing.get_type_hints(Probe, include_extras=True)


def valid_of(key: str, hint: Any) -> st.SearchStrategy:
    """Return values of a field; each seed stands once and no seed is negative."""
    if key == "seeds":
        return st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True)
    return st.integers(0, 2**32 - 1) if key.endswith("seed") else valid(hint)


def valid(hint: Any) -> st.SearchStrategy:
    """Return values that a hint allows, as JSON holds them; written apart from what is tested."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inner = valid(arguments[0])
        for rule in arguments[1:]:
            if isinstance(rule, Gt):
                inner = inner.filter(lambda x, r=rule: x > r.gt)
            elif isinstance(rule, Ge):
                inner = inner.map(lambda x, r=rule: r.ge + abs(x))
            elif isinstance(rule, Interval):
                low = rule.ge if rule.gt is None else rule.gt
                inner = (st.integers if arguments[0] is int else st.floats)(low, rule.le)
                inner = inner.filter(lambda x, r=rule: r.gt is None or x > r.gt)
            elif isinstance(rule, Distinct):
                inner = inner.filter(lambda x: len(set(x)) == len(x))
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


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=5,
)


def listed(value):
    """Return a value as JSON holds it."""
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("params_class", CLASSES, ids=lambda c: c.__module__)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_params_come_back_as_they_were(params_class, data):
    hints = typing.get_type_hints(params_class, include_extras=True)
    values = {key: data.draw(valid_of(key, hint), label=key) for key, hint in hints.items()}
    values |= TOGETHER.get(params_class, {})
    read = json.loads(json.dumps(values))
    made = params.make(params_class, read, "here")
    assert {key: listed(value) for key, value in dataclasses.asdict(made).items()} == values
    again = params.make(params_class, dataclasses.asdict(made), "here")
    assert again == made


@given(values=st.fixed_dictionaries({key: valid_of(key, hint) for key, hint in HINTS.items()}))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_params_come_back_from_the_command_line(values):
    with step.start(Probe, arguments=["--params", json.dumps(values)]) as job:
        result = dataclasses.asdict(job.params)
    assert {key: listed(value) for key, value in result.items()} == values


@pytest.mark.parametrize("params_class", CLASSES, ids=lambda c: c.__module__)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_of_any_key_is_taken_or_told_with_its_path(params_class, data):
    hints = typing.get_type_hints(params_class, include_extras=True)
    values = {key: data.draw(valid_of(key, hint), label=key) for key, hint in hints.items()}
    values |= TOGETHER.get(params_class, {})
    key = data.draw(st.sampled_from(sorted(hints)))
    values[key] = data.draw(JSON, label="any")
    try:
        made = params.make(params_class, values, "distill.train")
    except UserError as error:
        message = str(error)
        assert message.startswith((f"distill.train.{key} is ", f"distill.train.{key}["))
        assert any(f"; {words}" in message for words in ("it must be", "name each", "name it once"))
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
        params.make(Probe, GOOD | {key: 1}, "distill.train")
    message = str(caught.value)
    assert message.startswith(f"distill.train.{key} is unknown; allowed here: ")
    assert all(name in message for name in GOOD)


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_and_a_misspelt_key_are_told(key):
    without = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(UserError, match=f"^distill.train.{key} is missing; add it"):
        params.make(Probe, without, "distill.train")
    with pytest.raises(UserError, match=f"^distill.train.{key}x is unknown"):
        params.make(Probe, without | {key + "x": GOOD[key]}, "distill.train")


WRONG = [
    ("flag", 1, "true or false"),
    ("flag", "true", "true or false"),
    ("flag", None, "true or false"),
    ("count", 2.0, "a whole number; write 2"),
    ("count", 2.5, "a whole number"),
    ("count", 2**63, "a whole number up to 9223372036854775807"),
    ("count", -(2**63), "a number of at least 1"),
    ("size", 4.0, "one of 1, 2, 4; write 4"),
    ("size", True, "one of 1, 2, 4"),
    ("size", 3, "one of 1, 2, 4"),
    ("count", "2", "a whole number"),
    ("count", True, "a whole number"),
    ("count", 0, "a number of at least 1"),
    ("rate", "0.5", "a number"),
    ("rate", True, "a number"),
    ("rate", None, "a number"),
    ("rate", math.nan, "a finite number"),
    ("rate", math.inf, "a finite number"),
    ("rate", 0, "a number above 0"),
    ("rate", -1, "a number above 0"),
    ("share", 0, "a number above 0 and at most 1"),
    ("share", 1.01, "a number above 0 and at most 1"),
    ("chance", -0.01, "a number from 0 to 1"),
    ("chance", 1.01, "a number from 0 to 1"),
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
        params.make(Probe, GOOD | {key: value}, "here")
    assert str(caught.value) == f"here.{key} is {json.dumps(value)}; it must be {allowed}"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("seeds", [0, 1.5], "here.seeds[1] is 1.5; it must be a whole number"),
        ("seeds", [0, [1]], "here.seeds[1] is [1]; it must be a whole number"),
        ("rates", [1, 2, -3], "here.rates[2] is -3; it must be a number above 0"),
        ("words", ["a", None], "here.words[1] is null; it must be a text"),
        ("seeds", [0, -1], "here.seeds[1] is -1; it must be a whole number from 0 to 4294967295"),
        (
            "seeds",
            [2**70],
            f"here.seeds[0] is {2**70}; it must be a whole number from 0 to 4294967295",
        ),
    ],
)
def test_a_wrong_element_is_told_with_its_place(key, value, sentence):
    with pytest.raises(UserError) as caught:
        params.make(Probe, GOOD | {key: value}, "here")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("words", ["a", "b", "a"], "a"),
        ("steps", [1, 0.5, 1.0], "1"),
        ("steps", [2e6, 2000000], "2e+06"),
    ],
)
def test_a_value_that_stands_twice_is_told(key, value, text):
    sentence = f"here.{key} is {json.dumps(value)}, which holds {text} twice; name it once"
    with pytest.raises(UserError) as caught:
        params.make(Probe, GOOD | {key: value}, "here")
    assert str(caught.value) == sentence


def test_whole_numbers_that_differ_in_the_last_digit_are_two():
    assert params.make(Counts, {"sizes": [10**7, 10**7 + 1]}, "here").sizes == (10**7, 10**7 + 1)


def deep(levels):
    """Return lists in lists."""
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("rate", 10**400, "a finite number"),
        ("rate", json.loads("1e309"), "a finite number"),
        ("rate", 10**5000, "a finite number"),
        ("count", -(10**5000), "a whole number"),
        ("seeds", deep(150), "a whole number"),
        ("seeds", deep(250), "a list"),
        ("seeds", deep(10**5), "a list"),
        ("words", ["half of a character: \ud800"], "a list"),
        ("name", "\udc00", "a text"),
        ("name", datetime.date(2020, 1, 1), "a text"),
        ("name", b"bytes", "a text"),
        ("mean", {1, 2}, "one of arithmetic, geometric"),
        ("bound", 1j, "a number"),
        ("rate", "9" * 10**6, "a number"),
    ],
    ids=lambda value: str(type(value)),
)
def test_what_no_file_should_hold_is_one_short_sentence(key, value, allowed):
    with pytest.raises(UserError) as caught:
        params.make(Probe, GOOD | {key: value}, "here")
    message = str(caught.value)
    assert message.startswith((f"here.{key} is ", f"here.{key}[0] is "))
    assert message.endswith(f"; it must be {allowed}")
    assert len(message) < 300


@given(
    number=st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**1000), 2**1000)
    | st.integers(-(2**54), 2**54)
)
@settings(max_examples=300, deadline=None)
def test_numbers_become_what_python_makes_of_them_to_the_bit(number):
    read = params.make(Numbers, {"a": number, "b": [number]}, "here")
    assert [read.a.hex(), read.b[0].hex()] == [float(number).hex()] * 2


@given(value=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), PLAIN))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mapping_comes_back_as_json_gives_it(value):
    read = params.make(Mapping, {"published": value}, "here")
    assert repr(read.published) == repr(value)


def test_values_are_those_that_the_reader_before_pydantic_gave():
    values = GOOD | {"rates": [1, 2**53 + 1, 1e-320, 0.1], "seeds": (3, 2**32 - 1), "bound": 2}
    read = params.make(Probe, values, "here")
    assert repr(dataclasses.asdict(read)) == (
        "{'flag': True, 'count': 3, 'rate': 0.5, 'share': 1.0, 'chance': 0.0, 'name': 'é', "
        "'mean': 'geometric', 'bound': 2.0, 'seeds': (3, 4294967295), "
        "'rates': (1.0, 9007199254740992.0, 1e-320, 0.1), 'words': (), 'size': 1, 'steps': ()}"
    )
    assert pickle.loads(pickle.dumps(read)) == read
    assert hash(read) == hash(params.make(Probe, values, "elsewhere"))


def test_a_step_is_named_after_its_params_wherever_they_stand():
    assert params.step_of(Probe) == __name__
    for package in ("distill", "vae", "rca", "stn", "photostyle", "data"):
        for name, params_class in params.steps(f"pr12.{package}").items():
            assert params.step_of(params_class) == f"pr12.{package}.{name}"
            assert params.of_step(f"pr12.{package}.{name}") is params_class


@pytest.mark.parametrize(
    "name",
    ["distill.trian", "distill.model", "distill.Train", "distill.STRICT", "nobody.train", ""],
)
def test_what_is_no_step_is_one_sentence(name):
    with pytest.raises(UserError, match=f"^there is no step pr12.{name}$"):
        params.of_step(f"pr12.{name}")


def test_the_path_is_that_of_the_place_where_the_value_stands():
    origin = {"rate": "distill.cases.soft"}
    with pytest.raises(UserError, match=r"^distill\.cases\.soft\.rate is -1"):
        params.make(Probe, GOOD | {"rate": -1}, "distill.train", origin)
    with pytest.raises(UserError, match=r"^distill\.train\.count is 0"):
        params.make(Probe, GOOD | {"count": 0}, "distill.train", origin)


def test_whole_numbers_become_floats_where_floats_are_wanted():
    made = params.make(Probe, GOOD, "here")
    assert [type(value) for value in (made.share, *made.rates)] == [float] * 3
    assert made.seeds == (0, 1)
