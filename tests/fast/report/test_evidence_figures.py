"""Figures are drawn from the evidence that they name, or stay as they are committed."""

import difflib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bad_inputs
import evidence_cases
from pr12.report import evidence, figure_list, figures, plots
from pr12.report import paper as report
from pr12.report.chain import Standing
from pr12.report.figures import Figure
from pr12.report.rows import Row
from pr12.workflow import address, files
from pr12.workflow.errors import UserError


def drawer(seen, name="curve"):
    """Return what draws a figure and remembers what it was given."""

    def draw(metrics, pictures):
        seen.append((dict(metrics), dict(pictures)))
        canvas, ((axes,),) = plots.canvas(4, 3)
        axes.plot([values["test/error"][0] for values in metrics.values()])
        return plots.Plot(name, "Title", f"Of {len(metrics)} cases.", "A line.", canvas)

    return draw


def rows_of(folder, picture=None, **errors):
    """Write evidence of cases with an error each and give their rows."""
    for case, error in errors.items():
        chain = [evidence_cases.node(f"vae/{case}/evaluate")]
        evidence_cases.write_case(folder, case, {"test/error": [error]}, chain, picture)
    current = Standing("current", None)
    return {case: Row(evidence.read(folder / case), current) for case in errors}


def listed(folder):
    return json.loads((folder / "figures.json").read_text())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def committed(tmp_path):
    """Draw a curve of the cases a and b, and their pictures, as it may be committed."""
    rows = rows_of(tmp_path / "first", {"codes": [1]}, a=0.5, b=0.25)
    curve = Figure("curve", drawer([]), "[abc]", "[ab]")
    figures.draw([curve], rows, ["a", "b"], tmp_path / "none", tmp_path / "committed")
    return tmp_path / "committed"


def test_a_figure_gets_the_cases_that_it_names_and_no_others(tmp_path):
    rows = rows_of(tmp_path, {"codes": [1]}, a=0.5, ab=0.25, b=0.125)
    seen = []
    few = Figure("few", drawer(seen, "few"), "a|b", "b")
    figures.draw([few], rows, [*rows], tmp_path / "none", tmp_path / "out")
    metrics = {"a": {"test/error": [0.5]}, "b": {"test/error": [0.125]}}
    assert seen == [(metrics, {"b_picture": {"codes": [1]}})]
    (entry,) = listed(tmp_path / "out")
    assert (entry["cases"], entry["pictures"]) == (["a", "b"], ["b"])


def test_a_figure_that_names_nothing_that_is_there_is_left_out(tmp_path):
    seen = []
    none = Figure("none", drawer(seen, "none"), "z", "z")
    figures.draw([none], rows_of(tmp_path, a=0.5), ["a"], tmp_path / "x", tmp_path / "out")
    assert (seen, listed(tmp_path / "out")) == ([], [])


@pytest.mark.parametrize("lost", ["case", "picture"])
def test_a_committed_figure_stays_until_all_that_it_shows_is_there(tmp_path, committed, lost):
    pictured = {"codes": [1]}
    rows = rows_of(tmp_path / "new", pictured, a=0.75)
    if lost == "picture":
        rows |= rows_of(tmp_path / "new", None, b=0.125)
    seen = []
    curve = Figure("curve", drawer(seen), "[abc]", "[ab]")
    figures.draw([curve], rows, ["a", "b"], committed, tmp_path / "out")
    assert seen == []
    missing = ["b", "b (picture)"] if lost == "case" else ["b (picture)"]
    assert listed(tmp_path / "out") == [listed(committed)[0] | {"waits_for": missing}]
    for name in ("curve.svg", "curve.png"):
        assert contents(tmp_path / "out")[name] == contents(committed)[name]
    # Also if that is committed in turn
    rows |= rows_of(tmp_path / "new", pictured, b=0.125)
    figures.draw([curve], rows, ["a", "b"], tmp_path / "out", tmp_path / "then")
    assert len(seen) == 1
    assert "waits_for" not in listed(tmp_path / "then")[0]
    assert contents(tmp_path / "then")["curve.svg"] != contents(committed)["curve.svg"]


def test_cases_that_are_gone_are_not_waited_for(tmp_path, committed):
    rows = rows_of(tmp_path / "new", {"codes": [1]}, a=0.75)
    seen = []
    figures.draw(
        [Figure("curve", drawer(seen), "[abc]", "[ab]")],
        rows,
        ["a", "c"],
        committed,
        tmp_path / "o",
    )
    assert [[*metrics] for metrics, _ in seen] == [["a"]]
    assert listed(tmp_path / "o")[0]["cases"] == ["a"]


def test_cases_that_the_figure_names_no_more_are_not_waited_for(tmp_path, committed):
    rows = rows_of(tmp_path / "new", a=0.75)
    narrow = Figure("curve", drawer([]), "a")
    figures.draw([narrow], rows, ["a", "b"], committed, tmp_path / "out")
    assert listed(tmp_path / "out")[0]["cases"] == ["a"]


def test_new_cases_join_a_committed_figure(tmp_path, committed):
    rows = rows_of(tmp_path / "new", {"codes": [1]}, a=0.5, b=0.25, c=0.125)
    wide = Figure("curve", drawer([]), "[abc]", "[ab]")
    figures.draw([wide], rows, [*rows], committed, tmp_path / "out")
    assert listed(tmp_path / "out")[0]["cases"] == ["a", "b", "c"]


def test_the_same_evidence_gives_the_same_bytes(tmp_path, committed):
    rows = rows_of(tmp_path / "first", {"codes": [1]}, a=0.5, b=0.25)
    curve = Figure("curve", drawer([]), "[abc]", "[ab]")
    figures.draw([curve], rows, ["a", "b"], committed, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(committed)


def test_a_page_and_an_animation_lie_beside_a_figure_and_stay_with_it(tmp_path):
    whole = Figure(
        "curve",
        drawer([]),
        "a",
        page=lambda metrics, pictures: "<!doctype html>",
        animation=lambda metrics, pictures: b"GIF89a",
    )
    rows = rows_of(tmp_path, a=0.5)
    figures.draw([whole], rows, ["a"], tmp_path / "none", tmp_path / "one")
    (entry,) = listed(tmp_path / "one")
    assert figure_list.names(entry) == ["curve.svg", "curve.png", "curve.html", "curve.gif"]
    assert contents(tmp_path / "one")["curve.gif"] == b"GIF89a"
    figures.draw([whole], {}, ["a"], tmp_path / "one", tmp_path / "two")
    assert contents(tmp_path / "two").keys() == contents(tmp_path / "one").keys()


def test_a_figure_that_draws_another_is_a_mistake(tmp_path):
    wrong = Figure("other", drawer([]), "a")
    with pytest.raises(ValueError, match="the figure other drew curve"):
        figures.draw([wrong], rows_of(tmp_path, a=0.5), ["a"], tmp_path / "x", tmp_path / "out")


GOOD = {"file": "curve", "title": "", "caption": "", "alt": "", "cases": [], "pictures": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "is not a list of figures"),
        ([1], "is not a list of figures"),
        ([{key: GOOD[key] for key in GOOD if key != "alt"}], "[0].alt is missing"),
        ([GOOD | {"cases": "a"}], "[0].cases is 'a'"),
        ([GOOD | {"pictures": [1]}], "[0].pictures is [1]"),
        ([GOOD | {"file": 7}], "[0].file is 7"),
        ([GOOD | {"page": None}], "[0].page is None"),
        ([GOOD | {"file": "../curve"}], "names '../curve.svg'; only letters"),
        ([GOOD | {"page": "/etc/passwd"}], "names '/etc/passwd'; only letters"),
        ([GOOD | {"file": "lost"}], "names lost.svg, which is not there"),
    ],
)
def test_a_damaged_list_is_refused_with_what_to_do(tmp_path, content, message):
    for name in ("curve.svg", "curve.png"):
        (tmp_path / name).write_text("")
    files.write_json(tmp_path / "figures.json", content)
    with pytest.raises(UserError) as caught:
        figure_list.read(tmp_path)
    assert f"{tmp_path / 'figures.json'}" in str(caught.value)
    assert message in str(caught.value)
    assert str(caught.value).endswith(f"git checkout -- {tmp_path} brings back what was committed")


def test_a_list_that_is_no_json_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "figures.json").write_text("[{")
    with pytest.raises(UserError, match=r"figures\.json is not JSON .* git checkout -- "):
        figure_list.read(tmp_path)


@pytest.mark.parametrize("paper", ["distill", "photostyle", "rca", "stn", "vae"])
def test_figures_need_no_heavy_library(paper):
    heavy = {"torch", "torchvision", "SimpleITK", "sklearn", "monai", "matplotlib.pyplot"}
    code = f"import sys, pr12.{paper}.figures.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(address.SRC)},
    )
    imported = set(done.stdout.split())
    assert "matplotlib" in imported  # what is imported is seen
    assert not heavy & imported


def test_damaged_evidence_ends_the_step_in_a_sentence(tmp_path, capsys):
    params = {"run": "full", "published": {}, "student_cases": {}}
    metrics = {"hard_800": {"test/errors": [1]}}
    command = evidence_cases.command_line(tmp_path, "distill", metrics, {}, params, "out")
    path = tmp_path / "evidence" / "hard_800" / "evidence.json"
    path.write_text(path.read_text().replace('"test/errors": [\n   1', '"test/errors": [\n   2'))
    with pytest.raises(SystemExit) as caught:
        evidence_cases.run("distill", command)
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {path} is not as it was written; git checkout -- {path.parent}")
    assert not (tmp_path / "out").exists()


def test_a_stopped_publication_leaves_a_list_of_figures_that_are_there(tmp_path, monkeypatch):
    entry = dict.fromkeys(("title", "caption", "alt"), "x") | {"cases": [], "pictures": []}
    for folder, names in (("public", ["old"]), ("out", ["old", "new"])):
        files.write_json(
            tmp_path / folder / "figures/figures.json", [entry | {"file": name} for name in names]
        )
        for name in (f"{n}{suffix}" for n in names for suffix in (".svg", ".png")):
            (tmp_path / folder / "figures" / name).touch()
    for name in ("README.md", "claims.csv", "claims.json", "metrics.json"):
        (tmp_path / "out" / name).touch()
    copy = shutil.copyfile
    for number in range(9):
        left = iter(range(number))

        def stopped(source, target, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return copy(source, target)

        monkeypatch.setattr(shutil, "copyfile", stopped)
        with pytest.raises(KeyboardInterrupt):
            report.publish(tmp_path / "out", tmp_path / "public")
        listed = figure_list.read(tmp_path / "public/figures")
        assert [ours["file"] for ours in listed] in (["old"], ["old", "new"])


BAD_INPUTS = [  # id, published numbers of the case soft, what the message must hold
    ("a number for a case", 74, "74"),
    ("a text for a case", "74", "'74'"),
    ("a list for a case", [74], "[74]"),
    ("nothing for a case", None, "None"),
    ("a text as number", {"test/errors": "74"}, "'74'"),
    ("true as number", {"test/errors": True}, "True"),
    ("NaN as number", {"test/errors": float("nan")}, "nan"),
    ("infinity as number", {"test/errors": float("inf")}, "inf"),
    ("two numbers as one", {"test/errors": [74, 76]}, "[74, 76]"),
]


@pytest.mark.parametrize(("numbers", "value"), [row[1:] for row in BAD_INPUTS])
def test_published_numbers_that_are_none_are_refused(numbers, value):
    published = {"hard": {"test/errors": 146}, "soft": numbers}
    parts = "--params.published.soft is", value, "mapping of metric keys to finite numbers"
    bad_inputs.answered(lambda: figures.check_published(published), parts)


FIGURES = [
    pytest.param(entry, id=f"{path.parts[1]}-{path.parts[2]}-{entry['file']}")
    for path in sorted(Path("reports").glob("*/*/figures/figures.json"))
    for entry in json.loads(path.read_text(encoding="utf-8"))
    if "waits_for" not in entry  # else it is as an earlier code wrote it
]


@pytest.mark.parametrize("entry", FIGURES)
def test_an_alternative_text_says_what_is_seen_and_not_the_caption_again(entry):
    alt, caption = entry["alt"], entry["caption"]
    assert len(alt) > 20
    assert alt not in caption
    assert caption not in alt
    assert not re.search(r"\d \[", alt)  # numbers with intervals stand in the caption
    shared = difflib.SequenceMatcher(None, alt, caption, autojunk=False).find_longest_match()
    assert shared.size <= max(40, len(alt) / 2)
