import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import report_cases
from pr12.report import evidence, freshness, paper
from pr12.workflow import address
from pr12.workflow.errors import UserError
from report_cases import CLAIMS, FIGURE, OUT, SECONDS, TABLE, read


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with all that a report reads: evidence, graph, texts, figures, lock."""
    monkeypatch.chdir(tmp_path)
    report_cases.write_paper()
    return tmp_path


def written(run="embedded", **more):
    """Write the report and give the text of its files, also of those that are not published."""
    published = report_cases.write_report(run, **more)
    return {name: path.read_text() for name, path in files_of(OUT).items()} | {
        name: data.decode() for name, data in published.items()
    }


def files_of(out):
    return {path.name: path for path in out.iterdir() if path.is_file()}


def loaded(name, **more):
    return json.loads(written(**more)[name])


def rendered(markdown):
    return MarkdownIt("commonmark").enable("table").render(markdown)


def test_claims_are_judged_on_evidence(folder):
    claims = loaded("claims.json")
    assert [(claim["id"], claim["verdict"]) for claim in claims] == [
        ("soft", "reproduced"),
        ("hard", "differs, better"),
        ("fast", "not run"),
        ("odd", "not run"),
    ]
    assert claims[1]["reason"] == "Other data."
    assert claims[0]["measured"]["mean"] == 74
    assert claims[0]["sources"][0]["sha256"] == "ab" * 32


def test_a_time_is_judged_in_the_full_run_only(folder):
    text = written()
    fast = json.loads(text["claims.json"])[2]
    assert (fast["measured"], fast["note"]) == (None, "a time: its verdict is in index.html")
    assert "a time: its verdict is in index.html" in text["README.md"]
    report_cases.write_paper("full")
    full = loaded("claims.json", run="full")[2]
    assert (full["verdict"], full["note"]) == ("reproduced", None)
    assert full["measured"]["mean"] == pytest.approx(9.55)


def test_nothing_of_a_machine_is_published(folder, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "another-host")
    for name, text in written().items():
        for secret in (str(SECONDS), "5566778899", "9.55", "little-machine", "another-host"):
            assert secret not in text, name
    published = report_cases.published(Path("reports/embedded/distill"))
    assert {name for name in published if "/" not in name} == {
        "README.md",
        "claims.csv",
        "claims.json",
        "metrics.json",
    }


def test_published_files_are_the_same_bytes_whatever_the_machine_did(folder, monkeypatch):
    first = report_cases.write_report()
    report_cases.write_evidence(seconds=SECONDS / 3)
    monkeypatch.setattr("platform.node", lambda: "another-host")
    assert report_cases.write_report() == first


@pytest.mark.parametrize(
    "settings", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"TZ": "Pacific/Auckland"}]
)
def test_published_files_are_the_same_bytes_in_another_locale_and_time_zone(folder, settings):
    first = report_cases.write_report()
    for name in first:
        Path("reports/embedded/distill", name).unlink()
    params = {"run": "embedded", "paper": "distill", "planned": "0123456789"}
    command = [sys.executable, "-m", "pr12.report.paper", "--params", json.dumps(params)]
    paths = [f"{name}={path}" for name, path in report_cases.paths().items()]
    source = str(Path(paper.__file__).parents[2])
    env = os.environ | {"PYTHONPATH": source, "PYTHONHASHSEED": "5"} | settings
    subprocess.run([*command, *paths], check=True, capture_output=True, env=env)
    assert report_cases.published(Path("reports/embedded/distill")) == first


def test_a_mistake_ends_the_step_in_a_sentence(folder):
    Path("papers/distill/withdrawn.yaml").unlink()
    params = {"run": "embedded", "paper": "distill", "planned": "0123456789"}
    command = [sys.executable, "-m", "pr12.report.paper", "--params", json.dumps(params)]
    paths = [f"{name}={path}" for name, path in report_cases.paths().items()]
    env = os.environ | {"PYTHONPATH": str(Path(paper.__file__).parents[2])}
    ended = subprocess.run([*command, *paths], capture_output=True, env=env, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(
        "error: papers/distill/withdrawn.yaml is missing; write it"
    )
    assert not Path("reports/embedded/distill/README.md").exists()


def test_the_stamp_is_of_the_code_that_wrote_the_pages(folder, monkeypatch):
    """Not of the code that planned the job: it may have waited while the source was edited."""
    text = written()
    lock, texts, public = Path("lock").read_text(), Path("papers/distill"), report_cases.paths()
    code = freshness.of_paper("distill", texts)
    stamp = address.digest("0123456789", code, lock)
    assert json.loads(text["stamp.json"])["fixed"] == stamp
    assert freshness.known(OUT / "stamp.json", stamp, public["public"])
    monkeypatch.setattr(freshness, "of_paper", lambda paper, texts: "edited")
    edited = json.loads(written()["stamp.json"])["fixed"]
    assert edited == address.digest("0123456789", "edited", lock)


@pytest.mark.parametrize("changed", ["papers/distill/deviations.md", "evidence"])
def test_pages_of_two_states_are_not_published(folder, monkeypatch, changed):
    given = report_cases.paths()
    report_cases.read_by_figures(given)
    path = Path(changed)
    if changed == "evidence":
        path = given["evidence"] / "soft/more.txt"
    path.write_text("- Another deviation.\n")
    monkeypatch.setattr(report_cases, "read_by_figures", lambda given: None)
    with pytest.raises(UserError) as caught:
        written()
    assert str(path.parents[1] if changed == "evidence" else path.parent) in str(caught.value)
    assert "changed while its pages were written; run again" in str(caught.value)
    assert not (OUT / "stamp.json").exists()


def test_paths_are_relative_to_the_repository(folder):
    text = written()
    provenance = evidence.read(Path("reports/embedded/distill/evidence/soft")).provenance
    assert provenance["inputs"]["model"]["path"] == "build/soft.safetensors"
    assert provenance["command"].endswith("model=build/soft.safetensors test=test.safetensors")
    assert '{"a": "b=/c"}' in provenance["command"]  # params are no path
    for name in ("claims.json", "metrics.json", "README.md", "report.json"):
        assert str(folder) not in text[name], name


def test_metrics_hold_values_and_summary(folder):
    metrics = loaded("metrics.json")
    assert metrics["hard"]["test/errors"]["values"] == [100, 101, 102]
    assert metrics["hard"]["test/errors"]["mean"] == 101
    assert set(metrics) == {"soft", "hard"}


def test_tables_and_lists_of_the_report(folder):
    filled = loaded("report.json")
    cells = [row["cells"] for row in filled["tables"][0]["rows"]]
    assert cells[0][0]["measured"]["mean"] == 74
    assert cells[0][0]["published"] == 74
    assert [len(row) for row in cells] == [1]  # without accuracy, which nobody measured
    assert filled["tables"][0]["left_out"] == ["no 3s"]
    assert [column["better"] for column in filled["tables"][0]["columns"]] == ["down"]
    assert filled["not_run"] == ["later"]
    assert filled["standing"] == []
    assert filled["versions"] == [
        {"package": "numpy", "used": "2.0.0", "locked": "2.0.1", "cases": ["soft", "hard"]}
    ]


def test_the_table_of_claims_has_what_is_measured(folder):
    rows = list(csv.reader(written()["claims.csv"].splitlines()))
    assert rows[0] == ["claim", "measured", "low", "high", "published", "verdict"]
    assert [(row[0], float(row[1]), *row[4:]) for row in rows[1:]] == [
        ("soft", 74, "74", "reproduced"),
        ("hard", 101, "146", "differs, better"),
    ]
    assert [float(row[2]) for row in rows[1:]] == pytest.approx([71.516, 98.516], abs=1e-3)


def test_the_readme_renders_with_every_text_escaped(folder):
    html = rendered(written()["README.md"])
    assert html.count("<table>") == 1  # Section 3; a claim is an item, which fits a phone
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; a|b *c* [d](e)" in html
    assert "<strong>✔ reproduced</strong>: 74 errors (Sec. 3)" in html
    assert "<strong>▲ differs, better</strong>: 146 errors" in html
    assert (
        "Published 74, less is better; measured <strong>74.0 [71.5, 76.5]</strong>, n = 3" in html
    )
    assert "<strong>Reason:</strong> Other data." in html
    assert '<img src="figures/curve.svg" alt="A falling line." />' in html
    assert "<li>Adam_W: none is named</li>" in html
    assert '<a href="metrics.json">metrics.json</a>' in html
    assert "PYTHONPATH" not in html  # commands stand in evidence
    assert '<td style="text-align:right">74.0 [71.5, 76.5]</td>' in html


def test_the_readme_opens_with_what_came_out_and_what_differs_comes_first(folder):
    text = written()["README.md"]
    places = [
        "1 of 2 printed numbers are matched.",
        "1 printed number differs (1 better)",
        "## Claims",
        "### Sec. 3",
        "▲ differs, better**",
        "✔ reproduced**",
        "<summary>1 not run</summary>",
        "## Figures",
        "## How to read it",
    ]
    assert [text.index(place) for place in places] == sorted(map(text.index, places))


EVIL = "<script>alert(2)</script>|\n```\n<b>`*x*"


def test_texts_of_evidence_notes_and_reasons_are_escaped_too(folder):
    claims = [claim | {"says": EVIL, "where": EVIL, "reason": EVIL} for claim in CLAIMS[:2]]
    texts = report_cases.TEXTS | {"claims": claims, "title": EVIL, "citation": EVIL, "tables": []}
    provenance = {
        "command": f"python {EVIL}",
        "inputs": {EVIL: {"path": EVIL, "sha256": EVIL}},
        "packages": {"numpy": EVIL},
    }
    standings = {"soft": report_cases.EARLIER, "hard": report_cases.WITHDRAWN}
    rows = {
        case: report_cases.row(
            case, {"test/errors": [70], EVIL: [1]}, standing._replace(note=EVIL), **provenance
        )
        for case, standing in standings.items()
    }
    drawn = [FIGURE | {"title": EVIL, "caption": EVIL, "alt": EVIL, "waits_for": [EVIL]}]
    params = paper.Params("embedded", "distill", "0123456789")
    contents = paper.compiled(params, texts, ["soft", "hard"], rows, drawn, "numpy==2.0.1\n")
    html = rendered(paper.markdown(contents))
    assert "<script" not in html
    assert "<b>" not in html
    assert html.count("&lt;script&gt;alert(2)&lt;/script&gt;") >= 15


def test_figures_are_published_with_the_report(folder):
    text = written()
    assert {"figures/curve.svg", "figures/curve.png", "figures/figures.json"} <= set(text)
    assert "nteractive" not in text["README.md"]
    assert "stays as it was drawn" not in text["README.md"]
    assert "page" not in json.loads(text["report.json"])["figures"][0]


def test_the_page_of_an_interactive_figure_is_published_and_linked(folder):
    report_cases.write_figures([FIGURE | {"page": "curve.html"}])
    (OUT / "figures/curve.html").write_bytes(b"<script>1</script>\r\n")
    published = report_cases.write_report()
    assert published["figures/curve.html"] == b"<script>1</script>\r\n"
    assert read(OUT / "report.json")["figures"][0]["page"] == "curve.html"
    html = rendered(published["README.md"].decode())
    assert '<a href="figures/curve.html">Interactive: open figures/curve.html</a>' in html


def test_the_animation_of_a_figure_is_published_and_shown(folder):
    report_cases.write_figures([FIGURE | {"animation": "curve.gif"}])
    (OUT / "figures/curve.gif").write_bytes(b"GIF89a\r\n")
    published = report_cases.write_report()
    assert published["figures/curve.gif"] == b"GIF89a\r\n"
    assert read(OUT / "report.json")["figures"][0]["animation"] == "curve.gif"
    html = rendered(published["README.md"].decode())
    assert '<img src="figures/curve.gif" alt="Animation: A falling line." />' in html
    report_cases.write_figures([FIGURE])
    still = report_cases.write_report()
    assert "figures/curve.gif" not in still
    assert "animation" not in read(OUT / "report.json")["figures"][0]
    assert b"curve.gif" not in still["README.md"]


def test_a_figure_that_waits_says_so(folder):
    report_cases.write_figures([FIGURE | {"waits_for": ["soft", "later (picture)"]}])
    html = rendered(written()["README.md"])
    sentence = "it waits for new evidence of soft, later (picture)."
    assert f"<em>This figure stays as it was drawn: {sentence}</em>" in html


def test_a_report_removes_figures_that_are_no_more_and_touches_nothing_else(folder):
    public = Path("reports/embedded/distill")
    report_cases.write_figures([FIGURE, FIGURE | {"file": "old"}])
    report_cases.write_report()
    beside = ["figures/notes.txt", "notes.md", "evidence/soft/more.svg", "evidence/x/old.svg"]
    for name in beside:
        (public / name).parent.mkdir(exist_ok=True)
        (public / name).write_text("mine")
    before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
    shutil.rmtree(public / "evidence/x")
    report_cases.write_figures([FIGURE])
    report_cases.write_report()
    gone = {public / "figures/old.svg", public / "figures/old.png", public / "evidence/x/old.svg"}
    after = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
    assert set(before) - set(after) == gone
    assert set(after) <= set(before)
    evidence = [path for path in after if "evidence" in path.parts]
    assert len(evidence) == 3
    assert all(after[path] == before[path] for path in evidence)


def test_a_report_without_evidence_figures_and_lock(folder):
    shutil.rmtree("reports")
    report_cases.write_texts(tables=[], deviations=[])
    report_cases.write_figures([])
    Path("reports/embedded/distill/evidence").mkdir(parents=True)
    Path("reports/embedded/distill/figures").mkdir()
    text = written(lock=None)
    assert "4 ○ not run" in text["README.md"]
    assert "Nothing was judged in this run." in text["README.md"]
    assert "None is known." in text["README.md"]
    assert json.loads(text["report.json"])["versions"] is None
    assert text["claims.csv"] == "claim,measured,low,high,published,verdict\n"


SOURCE = "2222222222"


def test_an_earlier_source_keeps_its_numbers_and_is_marked(folder):
    first = written()
    report_cases.write_graph(soft={"source": SOURCE})
    text = written()
    soft, earlier = (json.loads(made["claims.json"])[0] for made in (first, text))
    assert (earlier["verdict"], earlier["measured"]) == ("reproduced", soft["measured"])
    assert text["metrics.json"] == first["metrics.json"]
    assert text["claims.csv"] == first["claims.csv"]
    html = rendered(text["README.md"])
    mark = "made by an earlier source of train (abcdef0123)"
    assert f"<code>soft</code> was {mark}." in html
    assert f"<li><code>soft</code>: earlier source; {mark}</li>" in html
    assert "git log -S" in html
    assert "earlier source" not in first["README.md"]


@pytest.mark.parametrize("how", ["other params", "withdrawn"])
def test_what_counts_no_more_is_not_run_and_its_number_stands_in_the_note(folder, how):
    reason = "train.epochs was 3, now 4"
    if how == "withdrawn":
        reason = "Test scans were in <training>."
        report_cases.write_texts(withdrawn=[{"case": "soft", "reason": reason}])
    else:
        report_cases.write_graph(soft={"epochs": 4})
    text = written()
    claim = json.loads(text["claims.json"])[0]
    assert (claim["verdict"], claim["measured"]) == ("not run", None)
    assert (
        claim["note"] == f"no result that counts today (soft: {reason}); it was 74.0 [71.5, 76.5]"
    )
    assert set(json.loads(text["metrics.json"])) == {"hard"}
    filled = json.loads(text["report.json"])
    assert filled["not_run"] == ["soft", "later"]
    assert filled["standing"] == [{"case": "soft", "state": how, "note": reason}]
    assert filled["tables"] == []
    html = rendered(text["README.md"])
    shown = reason.replace("<", "&lt;").replace(">", "&gt;")
    assert f"Note: no result that counts today (soft: {shown}); it was 74.0 [71.5, 76.5]" in html
    assert f"<li><code>soft</code>: {how}; {shown}</li>" in html
    assert Path("reports/embedded/distill/evidence/soft/evidence.json").exists()


def test_evidence_of_a_case_that_is_no_more_is_left_aside(folder):
    graph = report_cases.write_graph()
    graph["cases"].remove("hard")
    (OUT / "chains.json").write_text(json.dumps(graph))
    report_cases.write_texts(claims=CLAIMS[:1])
    text = written()
    assert set(json.loads(text["metrics.json"])) == {"soft"}
    assert "hard" not in text["README.md"]
    assert Path("reports/embedded/distill/evidence/hard/evidence.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claims": [CLAIMS[0] | {"mtric": 1}]}, "claims.yaml[0].mtric (claim soft) is unknown"),
        ({"tables": [TABLE | {"rowz": []}]}, "tables.yaml[0].rowz is unknown; allowed here"),
        ({"tables": [TABLE | {"rows": "soft"}]}, "tables.yaml[0].rows is 'soft'"),
        ({"tables": [TABLE | {"rows": ["soft"]}]}, "tables.yaml[0].rows[0] is 'soft'"),
        ({"tables": [TABLE | {"rows": [{"case": "sofd", "label": "x"}]}]}, "unknown case 'sofd'"),
        ({"tables": [TABLE | {"columns": [{"label": "x"}]}]}, "columns[0].metric is missing"),
    ],
)
def test_a_mistake_in_texts_is_refused_with_its_file(folder, change, message):
    report_cases.write_texts(**change)
    with pytest.raises(UserError) as caught:
        report_cases.write_report()
    assert str(caught.value).startswith("papers/distill/")
    assert message in str(caught.value)
    assert not Path("reports/embedded/distill/README.md").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../curve"}, "only letters, digits, _ and -"),
        ({"file": "other"}, "names other.svg, which is not there"),
        ({"alt": None}, "figures.json[0].alt is None"),
    ],
)
def test_a_bad_list_of_figures_is_refused(folder, change, message):
    (OUT / "figures" / "figures.json").write_text(json.dumps([FIGURE | change]))
    with pytest.raises(UserError) as caught:
        report_cases.write_report()
    assert message in str(caught.value)


def test_damaged_evidence_is_refused_and_nothing_is_published(folder):
    path = Path("reports/embedded/distill/evidence/soft/evidence.json")
    path.write_text(path.read_text().replace("73", "37"))
    with pytest.raises(UserError, match=r"soft/evidence\.json is not as it was written"):
        report_cases.write_report()
    assert not Path("reports/embedded/distill/README.md").exists()


def test_a_laptop_needs_no_torch():
    code = "import pr12.report.paper, pr12.report.index, sys; print('torch' in sys.modules)"
    source = Path(paper.__file__).parents[2]
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == "False"
