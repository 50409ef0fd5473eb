"""Stamps notice whatever is changed in what pages show, and in pages themselves."""

from pathlib import Path

import pytest

from pr12.report import freshness

FIXED = "0123456789"
FILES = ["README.md", "figures/curve.svg", "evidence/soft/evidence.json", "evidence/soft/00.jpg"]


@pytest.fixture
def public(tmp_path):
    """Return a folder of pages with a stamp beside it."""
    folder = tmp_path / "public"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    freshness.write(tmp_path / "stamp.json", FIXED, folder)
    return folder


def known(public, fixed=FIXED):
    return freshness.known(public.parent / "stamp.json", fixed, public)


def test_pages_that_nobody_touched_are_known_also_after_a_new_checkout(public):
    assert known(public)
    for name in FILES:  # other times, the same bytes
        content = (public / name).read_bytes()
        (public / name).unlink()
        (public / name).write_bytes(content)
    assert known(public)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["edit", "remove", "rename", "empty"])
def test_a_changed_missing_or_renamed_file_is_noticed(public, name, change):
    path = public / name
    if change == "edit":
        path.write_text(name.upper())
    elif change == "empty":
        path.write_text("")
    elif change == "remove":
        path.unlink()
    else:
        path.rename(path.with_name(f"other{path.suffix}"))
    assert not known(public)


def test_a_new_file_is_noticed(public):
    (public / "evidence" / "hard").mkdir()
    assert known(public)  # git keeps no empty folder
    (public / "evidence" / "hard" / "evidence.json").write_text("{}")
    assert not known(public)


def test_other_code_params_or_texts_are_noticed(public):
    assert not known(public, "9876543210")


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"fixed": "0123456789"}'])
def test_without_a_whole_stamp_nothing_is_known(public, content):
    stamp = public.parent / "stamp.json"
    stamp.unlink() if content is None else stamp.write_text(content)
    assert not known(public)


def test_a_stamp_of_other_folders_says_nothing(public):
    more = public.parent / "timings"
    stamp = public.parent / "stamp.json"
    assert freshness.known(stamp, FIXED, public, more)  # not there: nothing more to know
    more.mkdir()
    (more / "soft.json").write_text("{}")
    assert not freshness.known(stamp, FIXED, public, more)


def test_the_digest_of_a_folder_is_that_of_names_and_contents(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "papers").mkdir(parents=True)
        (tmp_path / name / "papers" / "claims.yaml").write_text("[]")
    monkeypatch.chdir(tmp_path / "one")
    first = freshness.digest(Path("papers"))
    monkeypatch.chdir(tmp_path / "two")
    assert freshness.digest(Path("papers")) == first
    (tmp_path / "two/papers/claims.yaml").write_text("[1]")
    assert freshness.digest(Path("papers")) != first
