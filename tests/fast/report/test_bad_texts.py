"""Mistakes in what is said of a paper, and damage of what is committed: one sentence each.

BAD_INPUTS rows are id, input, and the words that the message must hold: subject, value, remedy.
"""

import copy
import json
import math

import pytest

import bad_inputs
import evidence_cases
from pr12.report import chain, claims, evidence, figure_list, readme, rows, tables, targets
from pr12.workflow import settings
from pr12.workflow.errors import UserError

CASES = ["soft", "hard", "teacher"]
TEXTS = {"id": "few", "says": "Few errors.", "where": "Sec. 3"}
AT_MOST = TEXTS | {"case": "soft", "metric": "test/errors", "at_most": 80}
PUBLISHED = TEXTS | {"case": "soft", "metric": "test/errors", "published": 74, "tolerance": 6}
LESS = TEXTS | {"less": {"case": "soft", "than": "hard"}, "metric": "test/errors"}
RATIO = TEXTS | {"ratio": {"case": "soft", "than": "hard"}, "metric": "test/errors", "at_least": 2}
GAP = TEXTS | {"gap": {"case": "soft", "from": "hard", "to": "teacher"}, "metric": "test/errors"}
GAP |= {"at_least": 0.5}
INSIDE = TEXTS | {"best_inside": CASES, "metric": "test/errors"}
FALLS = TEXTS | {"falls": ["test/a", "test/b"], "case": "soft"}
RANKED = TEXTS | {"ranked": {case: {"test/errors": 1.0} for case in CASES}, "at_least": 0.8}
GOOD_CLAIMS = [AT_MOST, PUBLISHED, LESS, RATIO, GAP, INSIDE, FALLS, RANKED]
ONE = "c[0].{} (claim few) is "

BAD_CLAIMS = [
    ("a list as case", AT_MOST | {"case": ["soft"]}, ONE.format("case") + "['soft']", "a text"),
    ("a number as case", AT_MOST | {"case": 7}, ONE.format("case") + "7", "a text"),
    ("no case", AT_MOST | {"case": None}, ONE.format("case") + "None", "a text"),
    ("an unknown case", AT_MOST | {"case": "sofd"}, "unknown case 'sofd'", "soft, hard, teacher"),
    ("a list as metric", AT_MOST | {"metric": ["a"]}, ONE.format("metric") + "['a']", "a text"),
    ("a mapping as metric", AT_MOST | {"metric": {}}, ONE.format("metric") + "{}", "a text"),
    ("an empty metric", AT_MOST | {"metric": ""}, ONE.format("metric") + "''", "a text"),
    ("NaN as bound", AT_MOST | {"at_most": math.nan}, ONE.format("at_most") + "nan", "finite"),
    ("infinite bound", AT_MOST | {"at_most": math.inf}, ONE.format("at_most") + "inf", "finite"),
    ("a bound without end", AT_MOST | {"at_most": 10**400}, ONE.format("at_most"), "finite"),
    ("a bound of 10^6 digits", AT_MOST | {"at_most": 10**5000}, "whole number of", "finite"),
    ("a list as bound", AT_MOST | {"at_most": [80]}, ONE.format("at_most") + "[80]", "finite"),
    ("true as bound", AT_MOST | {"at_most": True}, ONE.format("at_most") + "True", "finite"),
    ("NaN as tolerance", PUBLISHED | {"tolerance": math.nan}, "tolerance (claim few) is nan", "0"),
    ("negative tolerance", PUBLISHED | {"tolerance": -6}, "tolerance (claim few) is -6", "least 0"),
    ("a text as tolerance", PUBLISHED | {"tolerance": "6"}, "tolerance (claim few) is '6'", "0"),
    ("NaN published", PUBLISHED | {"published": math.nan}, ONE.format("published") + "nan", "fini"),
    ("a list published", PUBLISHED | {"published": [74]}, ONE.format("published") + "[74]", "fini"),
    ("NaN as margin", LESS | {"margin": math.nan}, ONE.format("margin") + "nan", "finite"),
    ("one part", LESS | {"less": {"case": "soft"}}, ONE.format("less"), "case, than"),
    ("a text for two parts", LESS | {"less": "soft"}, ONE.format("less") + "'soft'", "case, than"),
    ("a list as part", LESS | {"less": {"case": ["soft"], "than": "hard"}}, "['soft']", "names of"),
    ("with itself", LESS | {"less": {"case": "soft", "than": "soft"}}, "errors of soft", "another"),
    ("ratio of itself", RATIO | {"ratio": {"case": "hard", "than": "hard"}}, "of hard", "another"),
    ("gap to itself", GAP | {"gap": GAP["gap"] | {"to": "soft"}}, "errors of soft", "another"),
    ("a ratio of 0", RATIO | {"at_least": 0}, ONE.format("at_least") + "0", "above 0"),
    ("a negative share", GAP | {"at_least": -0.5}, ONE.format("at_least") + "-0.5", "above 0"),
    ("a share above 1", GAP | {"at_least": 50}, ONE.format("at_least") + "50", "at most 1"),
    ("a correlation of 2", RANKED | {"at_least": 2}, ONE.format("at_least") + "2", "-1 to 1"),
    (
        "a metric twice",
        FALLS | {"falls": ["test/a", "test/a"]},
        "['test/a', 'test/a']",
        "each once",
    ),
    (
        "a case twice",
        INSIDE | {"best_inside": ["soft", "hard", "soft"]},
        "best_inside",
        "each once",
    ),
    ("a number in a list", FALLS | {"falls": ["test/a", 7]}, "['test/a', 7]", "names"),
    ("a list in a list", INSIDE | {"best_inside": [["soft"], "hard", "a"]}, "[['soft']", "names"),
    ("a text for a list", FALLS | {"falls": "test/a"}, ONE.format("falls") + "'test/a'", "names"),
    ("ranked numbers", RANKED | {"ranked": {"soft": [1, 2, 3]}}, "[1, 2, 3]", "three numbers"),
    (
        "ranked NaN",
        RANKED | {"ranked": {"soft": {"a": 1, "b": 2, "c": math.nan}}},
        "nan",
        "numbers",
    ),
    ("ranked by 7", RANKED | {"ranked": {"soft": {7: 1, "b": 2, "c": 3}}}, "7: 1", "three numbers"),
    (
        "ranked case",
        RANKED | {"ranked": {"x": {"a": 1, "b": 2, "c": 3}}},
        "unknown case 'x'",
        "soft",
    ),
    ("ranked by a list", RANKED | {"ranked": ["soft"]}, ONE.format("ranked"), "a mapping of cases"),
    ("an unknown run", AT_MOST | {"runs": ["ful"]}, ONE.format("runs") + "['ful']", "full, smoke"),
    ("a run twice", AT_MOST | {"runs": ["full", "full"]}, ONE.format("runs"), "a list out of"),
    ("a text as runs", AT_MOST | {"runs": "full"}, ONE.format("runs") + "'full'", "a list out of"),
    ("no run", AT_MOST | {"runs": []}, ONE.format("runs") + "[]", "a list out of"),
    ("yes as a flag", AT_MOST | {"headline": "yes"}, ONE.format("headline") + "'yes'", "true or"),
    ("1 as a flag", AT_MOST | {"timing": 1}, ONE.format("timing") + "1", "true or false"),
    ("a number as id", AT_MOST | {"id": 7}, "c[0].id is 7", "a word of letters"),
    ("an id of two words", AT_MOST | {"id": "a b"}, "is 'a b'", "a word of letters"),
    ("no id", AT_MOST | {"id": ""}, "is ''", "a word of letters"),
    ("a list as text", AT_MOST | {"says": ["Few."]}, ONE.format("says") + "['Few.']", "a text"),
    ("blank reason", AT_MOST | {"reason": " "}, ONE.format("reason") + "' '", "a text"),
    ("a key that is a number", AT_MOST | {7: "x"}, "c[0].7 (claim few) is unknown", "allowed"),
    ("a key too many", AT_MOST | {"at_mots": 3}, "c[0].at_mots (claim few) is unknown", "at_most"),
    ("two forms", AT_MOST | {"at_least": 3}, "the forms at_most and at_least", "exactly one"),
    ("a list as claim", [1], "c[0] is [1]", "a mapping"),
    ("a long value", AT_MOST | {"case": ["soft"] * 10_000}, "...; it must be", "a text"),
]

ROW, COLUMN = {"case": "soft", "label": "distilled"}, {"metric": "test/errors", "label": "errors"}
TABLE = {"title": "Section 3", "rows": [ROW, {"case": "hard", "label": "no"}], "columns": [COLUMN]}


def with_row(**change):
    return TABLE | {"rows": [ROW | change]}


def with_column(**change):
    return TABLE | {"columns": [COLUMN | change]}


BAD_TABLES = [
    ("a number of rows", TABLE | {"rows": 5}, "t[0].rows is 5", "a list"),
    ("a text as rows", TABLE | {"rows": "soft"}, "t[0].rows is 'soft'", "a list"),
    ("no rows", TABLE | {"rows": []}, "t[0].rows is []", "at least one"),
    ("no columns", TABLE | {"columns": []}, "t[0].columns is []", "at least one"),
    ("a mapping of columns", TABLE | {"columns": {}}, "t[0].columns is {}", "a list"),
    ("a number as row", TABLE | {"rows": [5]}, "t[0].rows[0] is 5", "a mapping with case, label"),
    ("a text as column", TABLE | {"columns": ["a"]}, "t[0].columns[0] is 'a'", "a mapping with"),
    ("a list as case", with_row(case=["soft"]), "t[0].rows[0].case is ['soft']", "a text"),
    ("an unknown case", with_row(case="sofd"), "unknown case 'sofd'", "soft, hard, teacher"),
    ("no label", with_row(label=None), "t[0].rows[0].label is None", "a text"),
    (
        "a case twice",
        TABLE | {"rows": [ROW, ROW]},
        "t[0].rows has the case 'soft' twice",
        "keep one",
    ),
    ("a metric twice", TABLE | {"columns": [COLUMN] * 2}, "the metric 'test/errors' twice", "keep"),
    ("a list as metric", with_column(metric=["a"]), "t[0].columns[0].metric is ['a']", "a text"),
    ("a number as title", TABLE | {"title": 3}, "t[0].title is 3", "a text"),
    ("a list as note", TABLE | {"note": ["a"]}, "t[0].note is ['a']", "a text"),
    ("a number published", with_column(published=5), "columns[0].published is 5", "map cases to"),
    ("a list published", with_column(published=["soft"]), "published is ['soft']", "map cases to"),
    ("NaN published", with_column(published={"soft": math.nan}), "published.soft is nan", "finite"),
    ("a text published", with_column(published={"soft": "74"}), "published.soft is '74'", "finite"),
    ("true published", with_column(published={"soft": True}), "published.soft is True", "finite"),
    ("published of no row", with_column(published={"teacher": 1}), "'teacher'", "soft, hard"),
    ("a key too many", TABLE | {"rowz": []}, "t[0].rowz is unknown", "title, rows, columns"),
    ("a key too few", {"title": "x", "rows": [ROW]}, "t[0].columns is missing", "needed here"),
]

BAD_WITHDRAWN = [
    ("an empty reason", {"soft": ""}, "the reason of soft is empty", "say what spoilt it"),
    ("a blank reason", {"soft": " \n"}, "the reason of soft is empty", "say what spoilt it"),
    ("an unknown case", {"sofd": "a fault"}, "unknown case 'sofd'", "known: soft, hard, teacher"),
]


def edited(**change):
    return lambda text: json.dumps(json.loads(text) | change)


def without(key):
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != key})


DAMAGES = [  # of an evidence.json: id, what happens to its text
    ("cut off", lambda text: text[:-20]),
    ("empty", lambda text: ""),
    ("a page of a proxy", lambda text: "<html>Please log in</html>"),
    ("a pointer of Git LFS", lambda text: "version https://git-lfs.github.com/spec/v1\n"),
    ("marks of a merge", lambda text: f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n"),
    ("brackets without end", lambda text: "[" * 100_000),
    ("a list", lambda text: "[]"),
    ("null", lambda text: "null"),
    ("a digit of a metric", lambda text: text.replace("0.25", "0.24")),
    ("NaN as metric", edited(metrics={"test/error": [math.nan]})),
    ("metrics gone", without("metrics")),
    ("chain gone", without("chain")),
    ("files gone", without("files")),
    ("digest gone", without("digest")),
    ("schema gone", without("schema")),
    ("a text as schema", edited(schema="3")),
    ("files as a list", edited(files=["a.jpg"])),
    ("a file elsewhere", edited(files={"../../x": "0"})),
    ("an earlier schema, damaged", edited(schema=2)),
    ("an early schema, damaged", edited(schema=1, chain=None)),
    ("a later schema", edited(schema=99)),
]

BAD_LISTS = [  # of a committed figures.json
    ("no JSON", "{", "not JSON"),
    ("a mapping", "{}", "not a list of figures"),
    ("numbers", "[1]", "not a list of figures"),
    ("a figure without texts", '[{"file": "a"}]', "title is missing"),
    ("brackets without end", "[" * 100_000, "cannot be read"),
]


def one_sentence(caught, *words):
    bad_inputs.check(str(caught.value), words)


def test_what_bad_inputs_are_made_from_is_good():
    for claim in GOOD_CLAIMS:
        claims.check([claim], CASES, "c")
        assert claims.bound(claim)["low"] is not None or claims.bound(claim)["high"] is not None
    assert len(tables.filled(TABLE, CASES, {}, "t[0]")["rows"]) == len(TABLE["rows"])
    assert rows.check_withdrawn({"soft": "a fault"}, CASES) is None


@pytest.mark.parametrize(("claim", "subject", "remedy"), [row[1:] for row in BAD_CLAIMS])
def test_bad_claims(claim, subject, remedy):
    with pytest.raises(UserError) as caught:
        claims.check([claim], CASES, "c")
    one_sentence(caught, subject, remedy)


@pytest.mark.parametrize(("table", "subject", "remedy"), [row[1:] for row in BAD_TABLES])
def test_bad_tables(table, subject, remedy):
    with pytest.raises(UserError) as caught:
        tables.filled(table, CASES, {}, "t[0]")
    one_sentence(caught, subject, remedy)


@pytest.mark.parametrize(("withdrawn", "subject", "remedy"), [row[1:] for row in BAD_WITHDRAWN])
def test_bad_withdrawals(tmp_path, withdrawn, subject, remedy):
    today = evidence_cases.today([], dict.fromkeys(CASES))
    with pytest.raises(UserError) as caught:
        rows.read(tmp_path, today, withdrawn)
    one_sentence(caught, "withdrawn.yaml", subject, remedy)


def test_two_published_numbers_of_one_metric_of_one_case_are_refused():
    """Figures draw one of them: the last won without a word."""
    other = AT_MOST | {"id": "other", "published": 75}
    claims.check([PUBLISHED, other | {"published": 74}], CASES, "c")
    with pytest.raises(UserError) as caught:
        claims.check([PUBLISHED, other], CASES, "c")
    one_sentence(
        caught, "c[1].published (claim other) is 75 and c[0].published 74", "test/errors of"
    )


@pytest.mark.parametrize("damage", [row[1] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
def test_damaged_evidence(tmp_path, damage):
    steps = [evidence_cases.node("vae/z2/evaluate", params={"samples": 5})]
    evidence_cases.write_case(tmp_path / "evidence", "z2", {"test/error": [0.5, 0.25]}, steps)
    path = tmp_path / "evidence/z2/evidence.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError) as caught:
        evidence.read(path.parent)
    one_sentence(caught, str(path))
    assert "git checkout -- " in str(caught.value) or "python -m pr12" in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [row[1:] for row in BAD_LISTS])
def test_damaged_lists_of_figures(tmp_path, text, words):
    (tmp_path / "figures.json").write_text(text)
    with pytest.raises(UserError) as caught:
        figure_list.read(tmp_path)
    one_sentence(caught, "figures.json", words, f"git checkout -- {tmp_path}")


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"headline": true}]', "7", '[{"id": "x"}]'])
def test_damaged_claims_of_a_report(tmp_path, text):
    path = tmp_path / "full/vae/claims.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        readme.committed(tmp_path)
    one_sentence(caught, str(path), "no list of judged claims", "git checkout -- ")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", '{"cases": []}'])
def test_damaged_chains(tmp_path, text):
    (tmp_path / "chains.json").write_text(text)
    with pytest.raises(UserError) as caught:
        chain.read(tmp_path / "chains.json")
    one_sentence(caught, "chains.json", "run")


def test_checks_change_nothing():
    before = copy.deepcopy(GOOD_CLAIMS)
    for claim in GOOD_CLAIMS:
        claims.check([claim], CASES, "c")
    assert before == GOOD_CLAIMS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"claims": [AT_MOST | {"case": ["soft"]}]}, "papers/distill/claims.yaml[0].case"),
        ({"tables": [TABLE, TABLE | {"rows": 5}]}, "papers/distill/tables.yaml[1].rows is 5"),
        ({"withdrawn": [{"case": "soft", "reason": " "}]}, "withdrawn.yaml: the reason of soft"),
    ],
)
def test_mistakes_are_told_while_rules_are_read_and_not_after_the_last_job(change, words):
    texts = {"claims": [AT_MOST], "tables": [TABLE], "withdrawn": []}
    params = {"distill": {"cases": {case: {} for case in CASES}}}
    targets.Targets(None, params, {"distill": texts}, None)
    settings.check_texts("distill", params["distill"], texts | change)
    with pytest.raises(UserError) as caught:
        targets.Targets(None, params, {"distill": texts | change}, None)
    one_sentence(caught, words)


@pytest.mark.parametrize("claim", [row[1] for row in BAD_CLAIMS if isinstance(row[1], dict)])
def test_the_workflow_leaves_bad_claims_to_who_knows_their_form(claim):
    try:
        settings.check_texts(
            "distill", {"cases": CASES}, {"claims": [claim], "tables": [], "withdrawn": []}
        )
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either may refuse it)
