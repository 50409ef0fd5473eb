import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pr12.shared import index, report
from pr12.shared.errors import UserError

EVIL = '<script>alert("x")</script>&'
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
RESULT = {
    "metrics": {"test/errors": [73.0, 74.0, 75.0]},
    "timings": {"test/speedup_ratio": [9.5]},
    "times": {"seconds": 12.5},
    "provenance": {
        "command": "python -m pr12.distill.evaluate model=m",
        "inputs": {"model": {"path": "m", "sha256": "ab" * 32}},
        "device": "cpu",
    },
}


def claim(**more):
    base = {"id": "a", "says": "74 errors", "where": "Sec. 3", "case": "soft"}
    return base | {"metric": "test/errors", "at_most": 80} | more


def contents(**more):
    params = {
        "run": "embedded",
        "paper": "distill",
        "title": "Distilling",
        "citation": "Hinton 2015, https://arxiv.org/abs/1503.02531",
        "cases": ("soft", "later"),
        "claims": (
            claim(headline=True, published=74),
            claim(id="b", at_most=10, reason="Other data."),
            claim(id="c", at_most=74),
            claim(id="d", case="later"),
            claim(id="e", metric="test/speedup_ratio", at_most=99, timing=True),
        ),
        "tables": (),
        "deviations": ("None of note",),
    }
    figures = [{"file": "curve", "title": "Curve", "caption": "It falls.", "alt": "A line."}]
    made = report.compiled(report.Params(**(params | more)), {"soft": RESULT}, figures, None)
    return made | {"pictures": {"curve": index.data_uri(SVG, b"")}, "pages": {}}


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
    assert verdicts == ["reproduced", "differs", "inconclusive", "not run", "reproduced"]
    for body in page.split("<tbody")[1:]:
        name = re.match(r'[^>]*data-verdict="([^"]+)"', body)
        if name:
            assert f"</span> {name[1]}</span>" in body.partition("</tbody>")[0]


def test_the_summary_counts_the_verdicts(page):
    row = page.partition('<a href="#distill">')[2].partition("</tr>")[0]
    assert re.findall(r'class="number">(\d+)<', row) == ["2", "1", "1", "1"]


def test_details_hold_bound_command_and_checksum(page):
    body = page.partition('id="distill-claim-b"')[2].partition("</tbody>")[0]
    details = body.partition("<details>")[2]
    assert "at most 10" in details
    assert "PYTHONPATH=src python -m pr12.distill.evaluate model=m" in details
    assert "ab" * 32 in details
    assert "Other data." in body


def test_times_stand_on_the_page_with_their_machine(page, monkeypatch):
    body = page.partition('id="distill-claim-e"')[2].partition("</tbody>")[0]
    assert "9.5" in body
    monkeypatch.setattr("platform.node", lambda: "little-machine")
    assert "little-machine" in index.page({"distill": contents()}, "embedded")


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
    monkeypatch.chdir(tmp_path)
    made = contents()
    (tmp_path / "made" / "figures").mkdir(parents=True)
    for name in ("report", "claims", "metrics", "provenance", "timings"):
        (tmp_path / "made" / f"{name}.json").write_text(json.dumps(made[name]))
    for suffix in (".svg", ".png"):
        (tmp_path / "made" / "figures" / f"curve{suffix}").write_bytes(SVG)
    return tmp_path


def test_the_step_writes_the_page(folder):
    params = json.dumps({"run": "embedded", "papers": ["distill"]})
    index.main(["--params", params, "out=index.html", "distill=made"])
    text = Path("index.html").read_text()
    assert "Distilling" in text
    assert "<iframe" not in text


def test_the_step_embeds_the_page_of_an_interactive_figure(folder):
    report_file = folder / "made" / "report.json"
    made = json.loads(report_file.read_text())
    made["figures"][0]["page"] = "curve.html"
    report_file.write_text(json.dumps(made))
    (folder / "made/figures/curve.html").write_text("<script>1 < 2</script>")
    params = json.dumps({"run": "embedded", "papers": ["distill"]})
    index.main(["--params", params, "out=index.html", "distill=made"])
    frame = Reader(Path("index.html").read_text()).all("iframe")[0]
    assert frame["srcdoc"] == "<script>1 < 2</script>"


def test_the_step_embeds_the_animation_of_a_figure(folder):
    report_file = folder / "made" / "report.json"
    made = json.loads(report_file.read_text())
    params = json.dumps({"run": "embedded", "papers": ["distill"]})
    index.main(["--params", params, "out=index.html", "distill=made"])
    assert "Animation" not in Path("index.html").read_text()
    made["figures"][0]["animation"] = "curve.gif"
    report_file.write_text(json.dumps(made))
    (folder / "made/figures/curve.gif").write_bytes(b"GIF89a")
    index.main(["--params", params, "out=index.html", "distill=made"])
    image = Reader(Path("index.html").read_text()).all("img")[1]
    assert image["src"] == "data:image/gif;base64," + base64.b64encode(b"GIF89a").decode()
    assert image["alt"] == "Animation: A line."


def test_a_paper_without_report_is_refused(folder, capsys):
    params = json.dumps({"run": "embedded", "papers": ["distill", "vae"]})
    with pytest.raises(SystemExit) as caught:
        index.main(["--params", params, "out=index.html", "distill=made"])
    assert caught.value.code == 2
    assert "the path vae is missing; add vae=FOLDER" in capsys.readouterr().err
    assert not Path("index.html").exists()
