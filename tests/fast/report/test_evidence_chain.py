"""How results stand to today's code, by the steps behind them."""

import pytest

from evidence_cases import node
from pr12.report import chain
from pr12.workflow import files
from pr12.workflow.errors import UserError


def made(train=None, evaluate=None):
    """Give a chain of two steps; both may be changed."""
    first = node("vae/z2/train", params={"epochs": 3, "dims": [1, 2]}, raw={"t.gz": "sha256:1"})
    first |= train or {}
    last = node("vae/z2/evaluate", params={"samples": 5}, reads=[first["folder"]])
    return [first, last | (evaluate or {})]


def again(digest="fedcba9876", **change):
    """Give what changes when a step is another: its folder, and what it is about."""
    return {"folder": f"build/test/vae/z2/train.{digest}", **change}


def later(**change):
    """Give today's chain after the first step changed."""
    return made(again(**change), {"folder": "build/test/vae/z2/evaluate.fedcba9876"})


def test_the_same_folder_is_current():
    assert chain.standing(made(), made(), {}) == chain.Standing("current", None)


def test_another_source_of_a_step_before_is_an_earlier_source_that_counts():
    standing = chain.standing(made(), later(source="2222222222"), {})
    assert standing.state == "earlier source"
    assert standing.note == "made by an earlier source of train (abcdef0123)"
    assert standing.counts


@pytest.mark.parametrize(
    ("params", "note"),
    [
        ({"epochs": 4, "dims": [1, 2]}, "train.epochs was 3, now 4"),
        ({"epochs": 3, "dims": [1, 3]}, "train.dims was [1, 2], now [1, 3]"),
        ({"epochs": 3, "dims": [1, 2], "y": 0}, "train.y was absent, now 0"),
        ({"epochs": 3}, "train.dims was [1, 2], now absent"),
        ({"epochs": 3.0, "dims": [1, 2]}, "train.epochs was 3, now 3.0"),
        ({"epochs": True, "dims": [1, 2]}, "train.epochs was 3, now True"),
        ({"epochs": 1, "dims": [2]}, "train.dims was [1, 2], now [2]; train.epochs was 3, now 1"),
    ],
)
def test_other_params_are_named_with_both_values_and_do_not_count(params, note):
    standing = chain.standing(made(), later(params=params), {})
    assert standing == chain.Standing("other params", note)
    assert not standing.counts


def test_numbers_that_python_takes_for_equal_are_told_apart():
    old = made(again("1111111111", params={"epochs": 1}))
    standing = chain.standing(old, later(params={"epochs": True}), {})
    assert standing.note == "train.epochs was 1, now True"


def test_other_raw_files_do_not_count():
    standing = chain.standing(made(), later(raw={"t.gz": "sha256:2"}), {})
    assert standing == chain.Standing("other params", "train read other raw files")


def test_a_step_more_does_not_count():
    today = later()
    extra = node("vae/z2/faces")
    standing = chain.standing(
        made(), [extra, today[0] | {"reads": [extra["folder"]]}, today[1]], {}
    )
    assert standing == chain.Standing("other params", "other steps make it now")


@pytest.mark.parametrize(("now", "state"), [(0, "earlier source"), (1, "other params")])
def test_a_new_field_counts_as_the_same_where_it_has_its_declared_old_value(now, state):
    params = {"epochs": 3, "dims": [1, 2], "warm": now}
    before = {"pr12.vae.train": {"warm": 0}}
    standing = chain.standing(made(), later(params=params, source="2222222222"), before)
    assert standing.state == state
    if state == "other params":
        assert standing.note == "train.warm was 0, now 1"


def test_what_is_withdrawn_is_so_also_if_it_is_current():
    standing = chain.standing(made(), made(), {}, "test scans were in training")
    assert standing == chain.Standing("withdrawn", "test scans were in training")
    assert not standing.counts


GRAPH = {"cases": [], "nodes": {}, "results": {}, "before": {}}


@pytest.mark.parametrize(
    "content", [[], {}, GRAPH | {"nodes": []}, GRAPH | {"cases": {}}, GRAPH | {"before": None}]
)
def test_what_is_no_list_of_chains_is_refused(tmp_path, content):
    files.write_json(tmp_path / "chains.json", GRAPH)
    assert chain.read(tmp_path / "chains.json") == GRAPH
    files.write_json(tmp_path / "chains.json", content)
    with pytest.raises(UserError, match=r"chains\.json is no list of chains; delete it and run"):
        chain.read(tmp_path / "chains.json")


def test_the_same_sources_in_another_folder_read_or_write_other_files():
    """A graph that exchanges two inputs is no earlier source."""
    standing = chain.standing(made(), later(), {})
    assert standing == chain.Standing("other params", "its steps read or write other files now")
