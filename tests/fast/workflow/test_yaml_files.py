import re

import pytest
import yaml

from pr12.workflow import yaml_files
from pr12.workflow.errors import UserError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="params.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def message(path):
    with pytest.raises(UserError) as caught:
        yaml_files.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_what_pyyaml_reads(write):
    text = (
        "a: &x [1, 2.5, 1.0e-3, null, true, 'text', \"1e-3\"]\nb: *x\nc: {d: {<<: {e: 1}, f: 2}}\n"
    )
    assert yaml_files.load(write(text)) == yaml.safe_load(text)
    assert yaml_files.load(write("")) is None


@pytest.mark.parametrize("value", ["010", "0x10", "1_000", "1:30", "1:30.5", "yes", "Off"])
def test_what_two_versions_of_yaml_read_differently_is_refused(write, value):
    text = message(write(f"a:\n  b: {value}\n"))
    assert f"a.b is {value} in line 2" in text
    assert "write " in text
    assert yaml_files.load(write(f"b: '{value}'\n")) == {"b": value}


def test_two_merges_into_one_map_are_refused(write):
    assert "the key << stands twice" in message(write("b: {<<: {x: 1}, <<: {x: 2}}\n"))


def test_a_key_that_stands_twice_is_refused_with_both_lines(write):
    text = "train:\n  epochs: 12\n  rate: 0.1\n  epochs: 13\n"
    assert message(write(text)) == (
        "params.yaml: the key epochs stands twice, in lines 2 and 4; remove one"
    )
    flow = "a: 1\nlist:\n- {b: 1}\n- {c: 1,\n   c: 1}\n"
    assert "the key c stands twice, in lines 4 and 5" in message(write(flow))
    assert "the key 1 stands twice" in message(write("1: a\n1: b\n"))
    assert yaml_files.load(write("a: {x: 1}\nb: {x: 1}\n1: a\n'1': b\n"))  # other maps, other keys


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1e-3", "1.0e-3"),
        ("1E5", "1.0e+5"),
        ("-2e4", "-2.0e+4"),
        ("1.5e3", "1.5e+3"),
        (".5e3", "0.5e+3"),
        ("1e-06", "1.0e-06"),
        ("+1.e2", "+1.0e+2"),
    ],
)
def test_a_number_of_one_version_of_yaml_alone_is_refused(write, value, number):
    assert isinstance(yaml.safe_load(value), str)
    assert message(write(f"distill:\n  train:\n    rates: [0.1, {value}]\n")) == (
        f"params.yaml: distill.train.rates[1] is {value} in line 3, which is read as a text; "
        f"write {number}"
    )
    assert yaml_files.as_number(value) == number
    assert yaml.safe_load(number) == float(value)
    with pytest.raises(
        UserError, match=rf"^a\.b\[0\] is the text .*; write {re.escape(number)} in"
    ):
        yaml_files.check_numbers({"a": {"b": [value]}})


@pytest.mark.parametrize("text", ["1.0e-3", "1e", "e3", "lambda1e+06", "12", "v1e3", "1e3 s", "."])
def test_other_texts_and_numbers_are_as_they_were(write, text):
    assert yaml_files.load(write(f"a: {text}\n"))["a"] == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a:\n\tb: 1\n", 2),
        ("a:\n    b: 1\n  c: 2\n", 3),
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: *nothing\n", 2),
        ("a: 1\nb: !!python/none x\n", 2),
        ("a: 1\nb: \x07\n", 2),
    ],
)
def test_what_is_no_yaml_is_one_sentence_with_its_line(write, text, line):
    assert re.fullmatch(
        rf"params\.yaml, line {line}, is no YAML \(.+\); check indentation .*", message(write(text))
    )


def test_a_file_that_cannot_be_read_is_one_sentence(write, tmp_path):
    assert (
        message(tmp_path / "no.yaml") == "no.yaml is missing; write it, or bring it back from git"
    )
    assert message(write(b"a: \xff\n")).startswith("params.yaml cannot be read (")
    assert message(tmp_path).endswith("mend the file")
    assert "is no YAML" in message(write("a: 2001-13-45\n"))
