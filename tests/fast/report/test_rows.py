"""Rows of a report: the evidence of today's cases, each with how it stands to today's graph."""

import evidence_cases
from evidence_cases import node
from pr12.report import rows
from pr12.report.chain import Standing


def steps(train=None):
    """Return a chain of two steps; the first may be changed."""
    first = node("vae/z2/train", params={"epochs": 3}) | (train or {})
    last = node("vae/z2/evaluate", first["folder"].rpartition(".")[2], reads=[first["folder"]])
    return [first, last]


def graph(cases, chain=None):
    """Return today's graph, which makes all cases by the same steps."""
    chain = chain or steps()
    return evidence_cases.today(chain, dict.fromkeys(cases, chain[-1]["folder"]))


def write(folder, *cases):
    for case in cases:
        evidence_cases.write_case(folder, case, {"test/error": [0.5]}, steps())


def test_rows_stand_in_the_order_of_cases_and_each_has_its_standing(tmp_path):
    write(tmp_path, "b", "a", "gone", "lost")
    today = graph(["a", "missing", "lost", "b"])
    today["results"]["lost"] = None
    result = rows.read(tmp_path, today, {"b": "a fault"})
    assert {case: row.standing.state for case, row in result.items()} == {
        "a": "current",
        "lost": "other params",
        "b": "withdrawn",
    }
    assert [*result] == ["a", "lost", "b"]
    assert result["a"].evidence.metrics == {"test/error": [0.5]}
    assert "this run does not make it" in result["lost"].standing.note


def test_what_is_withdrawn_is_so_also_where_raw_files_are_unknown(tmp_path):
    write(tmp_path, "a")
    today = graph(["a"])
    today["results"]["a"] = None
    assert rows.read(tmp_path, today, {"a": "a fault"})["a"].standing == Standing(
        "withdrawn", "a fault"
    )


def test_a_field_that_a_step_did_not_always_have_counts_by_what_it_declares_of_before(tmp_path):
    write(tmp_path, "a")
    changed = {"folder": "build/test/vae/z2/train.fedcba9876", "source": "2222222222"}
    today = graph(["a"], steps(changed | {"params": {"epochs": 3, "warm": 0}}))
    assert rows.read(tmp_path, today, {})["a"].standing.state == "other params"
    today["before"] = {"pr12.vae.train": {"warm": 0}}
    standing = rows.read(tmp_path, today, {})["a"].standing
    assert standing.state == "earlier source"
    assert standing.note == "made by an earlier source of train (abcdef0123)"


def test_a_withdrawn_case_that_has_no_evidence_has_no_row(tmp_path):
    assert rows.read(tmp_path, graph(["a"]), {"a": "a fault"}) == {}
