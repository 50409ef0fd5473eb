import base64
import hashlib
import io
import json
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import report_cases
from pr12.report import freshness, index, paper
from pr12.workflow import files
from pr12.workflow.errors import UserError
from report_cases import CURRENT, EARLIER, EVIL, OTHER, WITHDRAWN, row

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
METRICS = {"test/errors": [73.0, 74.0, 75.0]}
PROVENANCE = {
    "command": "python -m pr12.distill.evaluate model=m",
    "inputs": {"model": {"path": "m", "sha256": "ab" * 32}},
    "device": "cpu",
}
TIMES = {"test/speedup_ratio": [9.5] * 3, "step/seconds": [12.5]}
FIGURE = {"file": "curve", "title": "Curve", "caption": "It falls.", "alt": "A line."}


def claim(**more):
    base = {"id": "a", "says": "74 errors", "where": "Sec. 3", "case": "soft"}
    return base | {"metric": "test/errors", "at_most": 80} | more


TIME = claim(id="e", metric="test/speedup_ratio", at_most=99, timing=True)
TEXTS = {
    "title": "Distilling",
    "citation": "Hinton 2015, https://arxiv.org/abs/1503.02531",
    "claims": (
        claim(headline=True, published=74),
        claim(id="b", at_most=10, reason="Other data."),
        claim(id="c", at_most=74),
        claim(id="d", case="later"),
        TIME,
    ),
    "tables": (),
    "deviations": ("None of note",),
}


def contents(standing=CURRENT, times=TIMES, run="embedded", ratios=None, figure=None, **more):
    """Return what the page shows of a paper; this machine measured `times` of its one case."""
    texts = TEXTS | more
    rows = {"soft": row("soft", METRICS, standing, ratios, **PROVENANCE)}
    params = paper.Params(run, "distill", "0123456789")
    drawn = [FIGURE | (figure or {})]
    made = paper.compiled(params, texts, ("soft", "later"), rows, drawn, None)
    with tempfile.TemporaryDirectory() as folder:
        if times:
            of_result = rows["soft"].evidence.chain[-1]["folder"]
            measured = {"folder": of_result, "times": times}
            files.write_json(Path(folder, "soft.json"), measured)
            other = {"folder": "build/of/another.0123456789", "times": {"test/other": [1.0]}}
            files.write_json(Path(folder, "hard.json"), other)  # is not shown
        index.add_times(made, texts["claims"], Path(folder), run)
    return made | {"pictures": {"curve": index.data_uri(SVG, b"")}, "pages": {}, "card": None}


class Reader(HTMLParser):
    """Collect tags, attributes and text, and check that tags are balanced."""

    VOID = ("meta", "br", "img")

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, wanted):
        return [attributes for tag, attributes in self.tags if tag == wanted]


@pytest.fixture
def page():
    return index.page({"distill": contents()}, "embedded")


def test_the_page_is_one_balanced_document_that_needs_no_network(page):
    reader = Reader(page)
    assert page.startswith("<!doctype html>")
    assert not reader.all("link")
    assert all(image["src"].startswith("data:image/") for image in reader.all("img"))
    assert all("src" not in script for script in reader.all("script"))
    assert not re.search(r"url\(|@import", page)


def test_figures_are_embedded_with_their_text(page):
    image = Reader(page).all("img")[0]
    assert image["alt"] == "A line."
    assert base64.b64decode(image["src"].partition(",")[2]) == SVG


def test_a_large_svg_gives_way_to_the_png():
    assert index.data_uri(b"x" * (index.LARGEST_SVG + 1), b"png").startswith("data:image/png")
    assert index.data_uri(b"x" * index.LARGEST_SVG, b"png").startswith("data:image/svg+xml")


def test_every_text_is_escaped():
    evil = contents(
        title=EVIL,
        citation=EVIL,
        deviations=(EVIL,),
        claims=(claim(says=EVIL, where=EVIL, reason=EVIL, at_most=1),),
        tables=(
            {
                "title": EVIL,
                "note": EVIL,
                "rows": [{"case": "soft", "label": EVIL}],
                "columns": [{"metric": "test/errors", "label": EVIL}],
            },
        ),
    )
    evil["report"]["figures"][0] |= {"title": EVIL, "caption": EVIL, "alt": EVIL + '" onload="x'}
    page = index.page({"distill": evil}, EVIL)
    reader = Reader(page)
    assert len(reader.all("script")) == 1  # the page's own
    assert reader.all("img")[0]["alt"] == EVIL + '" onload="x'
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert page.count("<script") == 1
    assert sum(EVIL in text for text in reader.texts) >= 10


@pytest.mark.parametrize("standing", [EARLIER, OTHER, WITHDRAWN])
def test_texts_of_evidence_notes_reasons_and_times_are_escaped_too(monkeypatch, standing):
    monkeypatch.setattr("platform.node", lambda: EVIL)
    monkeypatch.setitem(PROVENANCE, "command", EVIL)
    monkeypatch.setitem(PROVENANCE, "device", EVIL)
    monkeypatch.setitem(PROVENANCE, "inputs", {EVIL: {"path": EVIL, "sha256": EVIL}})
    monkeypatch.setitem(METRICS, EVIL, [1.0])
    evil = contents(
        standing._replace(note=EVIL),
        times=TIMES | {EVIL: [1.0]},
        figure={"title": EVIL, "caption": EVIL, "alt": EVIL, "waits_for": [EVIL]},
        claims=(claim(says=EVIL), claim(id="t", metric=EVIL, timing=True, reason=EVIL)),
    )
    page = index.page({"distill": evil}, "embedded")
    reader = Reader(page)
    assert page.count("<script") == 1  # the page's own
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert sum(EVIL in text for text in reader.texts) >= 10


def test_only_the_pages_own_script_may_run(page):
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(m["content"] for m in Reader(page).all("meta") if "http-equiv" in m)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_an_interactive_figure_is_embedded_whole_and_its_script_allowed():
    inner = "<!doctype html><p title=\"a 'b'\">&amp;</p><script>let a = 'x';\n</script>"
    page = index.page({"distill": contents() | {"pages": {"curve": inner}}}, "embedded")
    reader = Reader(page)
    frame = reader.all("iframe")[0]
    assert frame["srcdoc"] == inner
    assert frame["sandbox"] == "allow-scripts"  # without allow-same-origin
    assert page.count("<script") == 1
    script = inner.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert policy.endswith(f" 'sha256-{digest}'")
    assert policy.count("sha256-") == 2


@pytest.mark.parametrize(
    "html",
    [
        "<p>none</p>",
        "<script>1</script><script>2</script>",
        "<script src='x.js'></script>",
        "<SCRIPT type=module>1</SCRIPT><script>2</script>",
    ],
)
def test_a_page_without_exactly_one_inline_script_is_refused(html):
    with pytest.raises(UserError, match=r"^curve.html must have exactly one <script>"):
        index.page({"distill": contents() | {"pages": {"curve": html}}}, "embedded")


def test_each_verdict_is_said_in_words_beside_its_claim(page):
    verdicts = [body["data-verdict"] for body in Reader(page).all("tbody") if "id" in body]
    assert verdicts == ["differs", "inconclusive", "reproduced", "reproduced", "not run"]
    for body in page.split("<tbody")[1:]:
        name = re.match(r'[^>]*data-verdict="([^"]+)"', body)
        if name:
            assert f"</span> {name[1]}</span>" in body.partition("</tbody>")[0]


def test_a_card_opens_the_page_with_what_came_out_and_leads_to_the_section():
    card = {"picture": "data:image/png;base64,AA==", "alt": EVIL}
    page = index.page({"distill": contents(cited_for="a") | {"card": card}}, "embedded")
    text = page.partition('<a class="card" href="#distill">')[2].partition("</a>")[0]
    assert "“74 errors”: 74.0 [71.5, 76.5] here, at most 80 asked for; reproduced." in text
    assert "Findings that hold: 2 of 4." in text
    assert "Printed numbers" not in text  # there is none
    assert page.index('class="card"') < page.index("<tbody")
    assert page.index("<tbody") < page.index('id="legend"')
    image = Reader(page).all("img")[0]
    assert image == {"src": card["picture"], "alt": EVIL}


def test_the_picture_of_a_card_is_small_and_no_higher_than_its_frame(folder):
    figures = report_cases.OUT / "figures"
    Image.new("RGB", (2000, 3000), "red").save(figures / "curve.png")
    report = {"figures": [FIGURE], "card": "curve"}
    made = index._card(report_cases.OUT, report)
    with Image.open(io.BytesIO(base64.b64decode(made["picture"].partition(",")[2]))) as small:
        assert small.size == (720, 403)
    assert made["alt"] == FIGURE["alt"]
    assert index._card(report_cases.OUT, report | {"card": "gone"}) is None


def test_what_was_not_run_is_closed_and_what_another_run_judges_is_elsewhere():
    there = (*TEXTS["claims"][:2], claim(id="d", case="later"), claim(id="f", runs=["full"]))
    page = index.page({"distill": contents(claims=there)}, "embedded")
    closed = page.partition('<details class="not-run">')[2].partition("</table>")[0]
    assert closed.startswith("<summary>1 not run</summary>")
    assert re.findall(r'id="distill-claim-(\w+)"', closed) == ["d"]
    assert 'id="distill-claim-f"' not in page
    more = '1 more claim is judged in another run: <a href="../full/distill/README.md">full</a>.'
    assert more in page


def test_no_table_is_empty():
    tables = (
        {
            "title": "Nothing here",
            "rows": [{"case": "later", "label": "later"}],
            "columns": [{"metric": "test/errors", "label": "errors"}],
        },
        {
            "title": "Something here",
            "rows": [{"case": "soft", "label": "soft"}, {"case": "later", "label": "no threes"}],
            "columns": [
                {"metric": "test/errors", "label": "errors"},
                {"metric": "test/nll", "label": "likelihood"},
            ],
        },
    )
    page = index.page({"distill": contents(tables=tables)}, "embedded")
    assert "Nothing here" not in page
    assert "likelihood" not in page
    assert "Not run: no threes." in page


def test_details_hold_bound_command_and_checksum(page):
    body = page.partition('id="distill-claim-b"')[2].partition("</tbody>")[0]
    details = body.partition("<details>")[2]
    assert "at most 10" in details
    assert "PYTHONPATH=src python -m pr12.distill.evaluate model=m" in details
    assert "ab" * 32 in details
    assert "Other data." in body


def body_of(page, claim):
    return page.partition(f'id="distill-claim-{claim}"')[2].partition("</tbody>")[0]


def test_times_stand_on_the_page_with_their_machine(page, monkeypatch):
    assert "9.5" in body_of(page, "e")
    monkeypatch.setattr("platform.node", lambda: "little-machine")
    again = index.page({"distill": contents()}, "embedded")
    assert "A time, measured on little-machine." in body_of(again, "e")
    assert "this report was made on little-machine" in again
    assert "<code>step/seconds</code> (this machine)" in again


def test_a_time_is_judged_by_this_machine_only_where_the_report_leaves_it(page):
    row = contents()["claims"][4]
    assert (row["verdict"], row["measured"]["mean"], row["note"]) == ("reproduced", 9.5, None)
    assert "its verdict is in index.html" not in page
    none = contents(times=None)["claims"][4]
    assert (none["verdict"], none["note"]) == ("not run", "a time: its verdict is in index.html")
    slow = contents(claims=(TIME | {"at_most": 3, "reason": "An old machine."},))
    assert slow["claims"][0]["verdict"] == "differs"
    assert "An old machine." in body_of(index.page({"distill": slow}, "embedded"), "e")


def test_a_time_of_the_full_run_is_that_of_its_evidence():
    full = contents(run="full", ratios={"test/speedup_ratio": [50.0]})
    assert full["claims"][4]["measured"]["mean"] == 50.0
    assert full["timings"]["claims"] == {}
    assert "A time, measured on" not in index.page({"distill": full}, "full")


@pytest.mark.parametrize("run", ["embedded", "full"])
@pytest.mark.parametrize("standing", [OTHER, WITHDRAWN])
def test_no_machine_gives_a_verdict_on_what_counts_no_more(standing, run):
    made = contents(standing, run=run, ratios={"test/speedup_ratio": [50.0]})
    page = index.page({"distill": made}, run)
    assert {record["verdict"] for record in made["claims"]} == {"not run"}
    assert f"(soft: {standing.note}); it was 74.0 [71.5, 76.5]" in body_of(page, "a")
    assert "no result that counts today" in body_of(page, "e")
    assert f"<code>soft</code>: {standing.state}; {standing.note}" in page
    assert "distill-case-soft" not in page


def test_an_earlier_source_keeps_its_numbers_and_is_marked(page):
    earlier = index.page({"distill": contents(EARLIER)}, "embedded")
    mark = "made by an earlier source of train (abcdef0123)"
    for name in "abce":
        assert f"<code>soft</code> was {mark}." in body_of(earlier, name)
    assert mark not in body_of(earlier, "d")
    assert f"<code>soft</code>: earlier source; {mark}" in earlier
    assert "earlier source" not in page
    numbers = [re.findall(r"7\d\.\d \[[^]]+\]", text) for text in (page, earlier)]
    assert numbers[0] == numbers[1] != []


def test_a_figure_that_waits_says_so(page):
    waiting = contents(figure={"waits_for": ["soft", "later (picture)"]})
    sentence = "This figure stays as it was drawn: it waits for new evidence of soft, later (pic"
    assert sentence in index.page({"distill": waiting}, "embedded")
    assert "stays as it was drawn" not in page


def test_links_inside_the_page_lead_somewhere():
    table = {
        "title": "T",
        "rows": [{"case": "soft", "label": "x"}, {"case": "later", "label": "y"}],
        "columns": [{"metric": "test/errors", "label": "errors"}],
    }
    reader = Reader(index.page({"distill": contents(tables=(table,))}, "embedded"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    links = [a["href"][1:] for a in reader.all("a") if a["href"].startswith("#")]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    assert "distill-case-soft" in links


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with one paper's report and what this machine measured of it."""
    monkeypatch.chdir(tmp_path)
    report_cases.write_paper()
    report_cases.write_report()
    times = {"test/speedup_ratio": [9.5, 9.6, 9.55]}
    folder = report_cases.chain("soft")[-1]["folder"]
    files.write_json("timings/distill/soft.json", {"folder": folder, "times": times})
    return tmp_path


def write_index(*papers):
    params = json.dumps({"run": "embedded", "papers": papers or ["distill"]})
    paths = ["out=index.html", "stamp=stamp.json", "timings=timings", "texts=papers"]
    index.main(["--params", params, *paths, f"distill={report_cases.OUT}"])
    return Path("index.html").read_text()


def test_the_step_writes_the_page(folder):
    text = write_index()
    assert "Distilling" in text
    assert "<iframe" not in text
    assert "9.55" in body_of(text, "fast")
    assert 'data-verdict="reproduced" id="distill-claim-fast"' in text


def test_the_page_leaves_what_is_published_as_it_is(folder):
    public = Path("reports/embedded/distill")
    before = report_cases.published(public)
    write_index()
    assert report_cases.published(public) == before
    assert json.loads((report_cases.OUT / "claims.json").read_text())[2]["measured"] is None


def test_the_page_has_a_stamp_of_reports_times_and_itself(folder):
    stamp = Path("stamp.json")
    shown = [Path("index.html"), report_cases.OUT / "stamp.json", Path("timings")]
    write_index()
    made_by = freshness.of_index(["distill"])
    assert freshness.known(stamp, made_by, *shown)
    for path in (*shown[:2], Path("timings/distill/soft.json")):
        content = path.read_text()
        path.write_text(content + " ")
        assert not freshness.known(stamp, made_by, *shown)
        path.write_text(content)
    assert freshness.known(stamp, made_by, *shown)


def write_beside(name, content, **figure):
    report_cases.write_figures([report_cases.FIGURE | figure])
    (report_cases.OUT / "figures" / name).write_bytes(content)
    report_cases.write_report()


def test_the_step_embeds_the_page_of_an_interactive_figure(folder):
    write_beside("curve.html", b"<script>1 < 2</script>", page="curve.html")
    frame = Reader(write_index()).all("iframe")[0]
    assert frame["srcdoc"] == "<script>1 < 2</script>"


def test_the_step_embeds_the_animation_of_a_figure(folder):
    assert "Animation" not in write_index()
    write_beside("curve.gif", b"GIF89a", animation="curve.gif")
    image = Reader(write_index()).all("img")[1]
    assert image["src"] == "data:image/gif;base64," + base64.b64encode(b"GIF89a").decode()
    assert image["alt"] == "Animation: A falling line."


def test_a_paper_without_report_is_refused(folder, capsys):
    with pytest.raises(SystemExit) as caught:
        write_index("distill", "vae")
    assert caught.value.code == 2
    assert "the path vae is missing; add vae=FOLDER" in capsys.readouterr().err
    assert not Path("index.html").exists()
