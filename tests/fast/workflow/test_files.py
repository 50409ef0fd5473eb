import hashlib
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pr12.workflow import files
from pr12.workflow.errors import UserError


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path):
    target = tmp_path / "a" / "b" / "model.safetensors"
    with files.atomic(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == target.suffix
    assert target.read_text() == "half"
    assert [path.name for path in target.parent.iterdir()] == ["model.safetensors"]


def write_half(target, error):
    with files.atomic(target) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, UserError])
def test_a_failure_leaves_nothing_and_keeps_what_was_there(tmp_path, error):
    target = tmp_path / "old.json"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_sentence(tmp_path):
    full = OSError(28, "No space left on device")
    with pytest.raises(UserError, match=r"cannot write .*a\.json: No space left on device; free"):
        write_half(tmp_path / "a.json", full)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        files.write_json(tmp_path / "file" / "a.json", {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        files.write_json(tmp_path / "folder", {})
    assert not list((tmp_path / "folder").iterdir())


def test_a_block_that_wrote_nothing_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot write"), files.atomic(tmp_path / "a"):
        pass


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé", max_size=3), inner),
    max_leaves=8,
)


@given(value=VALUES)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round.json"
    files.write_json(path, value)
    assert files.read_json(path) == value
    assert path.read_bytes().endswith(b"\n")


def test_equal_values_are_equal_bytes(tmp_path):
    files.write_json(tmp_path / "1", {"b": 1, "a": {"d": 0.1, "c": "é"}})
    files.write_json(tmp_path / "2", {"a": {"c": "é", "d": 0.1}, "b": 1})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert "é" in (tmp_path / "1").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"metric": [1.0, value]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_what_is_no_json_is_one_sentence(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json is not JSON .* delete it and run again"):
        files.read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="cannot read"):
        files.read_json(tmp_path)


def test_checksums_against_hashlib(tmp_path):
    content = json.dumps(list(range(200_000))).encode()
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
