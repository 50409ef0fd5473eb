"""What came out, in few words: groups of claims, and the sentences that open a page."""

from pathlib import Path

import pytest

from pr12.report import claims
from pr12.report.summary import groups, numbers, sentences
from pr12.workflow import yaml_files

PAPERS = sorted(path.name for path in Path("papers").iterdir())


def record(verdict="reproduced", **changes):
    """Return a judged printed number."""
    return {
        "id": "a",
        "says": "74 errors",
        "lead": None,
        "where": "Table 1",
        "form": "published",
        "nominal": False,
        "runs": None,
        "headline": False,
        "published": 74,
        "better": "down",
        "bound": {"low": 68.0, "high": 80.0, "strict": False},
        "measured": {"mean": 74.0, "low": 71.5, "high": 76.5, "n": 3},
        "verdict": verdict,
        "n_to_decide": None,
    } | changes


def finding(verdict="reproduced", **changes):
    return record(verdict, form="less", published=None, better=None, **changes)


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("Table 1: 2.1, 1.2, 1.2", "Table 1"),
        ("Fig. 2, right edge, digitised", "Fig. 2"),
        ("Sec. 4.2, Table 2, on a task of ours", "Table 2"),
        ("App. A.2; the baseline is ours", "App. A.2"),
        ("Sec. IV, findings as noted by others", "Sec. IV"),
        ("Ba & Caruana Table 1", "Ba & Caruana, Table 1"),
        ("Gatys et al., arXiv 1505.07376, Fig. 2; ours", "Gatys et al., arXiv 1505.07376, Fig. 2"),
        ("Mahendran & Vedaldi 2015, eq. 2, where no answer", "Mahendran & Vedaldi 2015, eq. 2"),
        ("Luan et al. 2017, Sec. 3.2; study notes", "Luan et al. 2017, Sec. 3.2"),
        ("study notes: 2 sky building; bound ours", "Study notes"),
        ("nominal; Cosarinsky et al. 2025", "Nominal"),
        ("not in the paper", "Not in the paper"),
    ],
)
def test_the_place_of_a_claim(where, place):
    assert groups.place(where) == place


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_of_the_papers_has_a_short_place(paper):
    for claim in yaml_files.load(Path("papers") / paper / "claims.yaml"):
        assert 0 < len(groups.place(claim["where"])) <= 45


def test_groups_with_differences_come_first_and_what_differs_within_them():
    records = [
        record("reproduced", id="a", where="Fig. 1"),
        record("not run", id="b", where="Fig. 3"),
        record("reproduced", id="c", where="Fig. 2"),
        record("not run", id="d", where="Fig. 2"),
        record("differs, better", id="e", where="Fig. 2"),
        record("differs", id="f", where="Fig. 2"),
        record("not run", id="g", where="Fig. 2", runs=["full"]),
    ]
    made = groups.grouped(records, "embedded")
    assert [group["name"] for group in made] == ["Fig. 2", "Fig. 1", "Fig. 3"]
    assert [each["id"] for each in made[0]["judged"]] == ["f", "e", "c"]
    assert [each["id"] for each in made[0]["not_run"]] == ["d"]
    assert [each["id"] for each in groups.elsewhere(records, "embedded")] == ["g"]


def test_every_verdict_has_its_place_in_the_order():
    assert sorted(groups.ORDER) == sorted(claims.VERDICTS)


def test_three_sentences_say_what_came_out():
    far = {"mean": 90.0, "low": 89.0, "high": 91.0, "n": 3}
    farther = {"mean": 40.0, "low": 39.0, "high": 41.0, "n": 3}
    records = [
        record(),
        record("differs", measured=far),
        record("differs, better", says="By far fewer.", measured=farther),
        record("inconclusive", n_to_decide=9),
        record("inconclusive", n_to_decide=30),
        record("not run", measured=None),
        record("not run", measured=None, runs=["full"]),
        finding(says="Small", headline=False),
        finding(says="Large", headline=True),
        finding("differs", says="Not so"),
    ]
    assert sentences.opening(records, "embedded") == [
        "2 of 3 findings hold (such as “Large”) and 1 of 5 printed numbers are matched.",
        "2 printed numbers differ (1 worse, 1 better), by the most tolerances “By far fewer”: "
        "40.0 [39.0, 41.0] here, 74 in the paper; 1 finding does not hold (“Not so”).",
        "2 claims are undecided (about n = 9 to 30 would decide all, should means and spreads "
        "stay); 1 claim was not run.",
    ]


def test_a_paper_of_which_all_holds_says_so():
    assert sentences.opening([finding(says="Large")], "full") == [
        "1 of 1 findings hold (such as “Large”).",
        "Nothing that was judged differs.",
        "All that was asked is decided.",
    ]
    assert sentences.opening([record("not run")], "full") == ["Nothing was judged in this run."]


def test_the_claim_that_a_paper_is_cited_for_or_the_first_headline_that_ran():
    aside = record("not run", id="cited", measured=None)
    others = [record(id="b"), record(id="c", headline=True)]
    assert sentences.cited([*others, record(id="cited")], "cited")["id"] == "cited"
    assert sentences.cited([*others, aside], "cited")["id"] == "c"
    assert sentences.cited([aside], "cited") == aside
    assert sentences.cited([], "cited") is None
    assert sentences.came_out(aside) == "“74 errors”: not run."


def test_better_numbers_are_counted_apart_and_at_most_matches_nothing():
    records = [
        record(),
        record("differs, better"),
        record("differs"),
        record("not run"),
        record(form="at_most"),
        record(nominal=True),
        finding("no difference"),
    ]
    assert numbers.printed(records) == "1 of 3, 1 better"
    assert numbers.findings(records) == "2 of 3"
