"""How results stand to today's code, by the steps behind them."""

import pytest

from evidence_cases import node
from pr12.report import chain
from pr12.workflow import files
from pr12.workflow.errors import UserError


def made(train=None, evaluate=None):
    """Return a chain of two steps; both may be changed."""
    first = node("vae/z2/train", params={"epochs": 3, "dims": [1, 2]}, raw={"t.gz": "sha256:1"})
    first |= train or {}
    last = node("vae/z2/evaluate", params={"samples": 5}, reads=[first["folder"]])
    return [first, last | (evaluate or {})]


def again(digest="fedcba9876", **change):
    """Return what changes when a step is another: its folder, and what it is about."""
    return {"folder": f"build/test/vae/z2/train.{digest}", **change}


def later(**change):
    """Return today's chain after the first step changed."""
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
        made(), [extra, today[0] | {"reads": {"faces": [extra["folder"], "f"]}}, today[1]], {}
    )
    assert standing == chain.Standing("other params", "train read nothing as faces, now z2/faces/f")


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


def evaluated(first="train", second="test", source="abcdef0123", digest="0123456789", named=True):
    """Return a chain whose last step reads two steps' files, which may be exchanged."""
    steps = [node(f"vae/z2/{name}") for name in ("test", "train")]
    folders = {node["folder"].rpartition(".")[0][-5:].strip("/"): node["folder"] for node in steps}
    last = node("vae/z2/evaluate", digest, source)
    reads = {"train": [folders[first], "x"], "test": [folders[second], "x"]}
    last["reads"] = reads if named else [folder for folder, _ in reads.values()]
    return [*steps, last]


def test_exchanged_inputs_are_seen_though_the_source_was_edited_too():
    edited = evaluated(source="2222222222", digest="fedcba9876")
    assert chain.standing(evaluated(), edited, {}).state == "earlier source"
    exchanged = evaluated("test", "train", source="2222222222", digest="fedcba9876")
    standing = chain.standing(evaluated(), exchanged, {})
    assert standing.state == "other params"
    assert standing.note == (
        "evaluate read z2/test/x as test, now z2/train/x; "
        "evaluate read z2/train/x as train, now z2/test/x"
    )


@pytest.mark.parametrize("exchanged", [False, True])
def test_evidence_of_before_names_were_noted_is_compared_by_folders(exchanged):
    reads = ("test", "train") if exchanged else ("train", "test")
    today = evaluated(*reads, source="2222222222", digest="fedcba9876")
    assert chain.standing(evaluated(named=False), today, {}).state == "earlier source"
    other = [*today[:-1], today[-1] | {"reads": {"train": today[-1]["reads"]["train"]}}]
    standing = chain.standing(evaluated(named=False), other, {})
    assert standing == chain.Standing("other params", "other steps make it now")


def test_another_file_of_the_same_folder_is_seen():
    today = evaluated(source="2222222222", digest="fedcba9876")
    today[-1]["reads"]["test"][1] = "y"
    standing = chain.standing(evaluated(), today, {})
    assert standing.note == "evaluate read z2/test/x as test, now z2/test/y"
