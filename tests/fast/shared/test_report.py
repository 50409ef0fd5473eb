import json
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pr12.shared import report

CLAIMS = [
    {"id": "soft", "says": "74 errors", "case": "soft", "metric": "test/errors", "published": 74,
     "tolerance": 6, "where": "Sec. 3", "headline": True},
    {"id": "hard", "says": "146 errors", "case": "hard", "metric": "test/errors", "published": 146,
     "tolerance": 6, "where": "Sec. 3", "reason": "Other data."},
    {"id": "fast", "says": "Five times as fast.", "case": "soft", "metric": "test/speedup_ratio",
     "at_least": 5, "timing": True, "where": "Sec. 1"},
    {"id": "odd", "says": "<script>alert(1)</script> a|b *c* [d](e)", "case": "later",
     "metric": "test/errors", "at_most": 5, "where": "Sec. 4"},
]  # fmt: skip
TABLE = {
    "title": "Section 3",
    "note": "Digits here.",
    "rows": [
        {"case": "soft", "label": "distilled"},
        {"case": "later", "label": "no 3s"},
    ],
    "columns": [
        {"metric": "test/errors", "label": "errors", "published": {"soft": 74, "later": 206}},
        {"metric": "test/accuracy", "label": "accuracy"},
    ],
}
PARAMS = {
    "run": "embedded",
    "paper": "distill",
    "title": "Distilling",
    "citation": "Hinton, Vinyals, Dean 2015",
    "cases": ["soft", "hard", "later"],
    "claims": CLAIMS,
    "tables": [TABLE],
    "deviations": ["Adam_W: none is named"],
}
FIGURE = {"file": "curve", "title": "Curve", "caption": "Errors fall.", "alt": "A falling line."}
SECONDS = 987.654


def result(case, errors, seconds=SECONDS, root=""):
    return {
        "metrics": {"test/errors": errors},
        "timings": {"test/speedup_ratio": [9.5, 9.6]},
        "provenance": {
            "command": f'python -m pr12.distill.evaluate --params \'{{"a": "b=/c"}}\''
            f" model={root}build/{case}.safetensors test=/elsewhere/test.safetensors",
            "inputs": {"model": {"path": f"{root}build/{case}.safetensors", "sha256": "ab" * 32}},
            "packages": {"torch": "2.13.0+cpu", "numpy": "2.0.0", "scipy": None},
            "device": "cpu",
            "threads": 1,
            "seconds": seconds,
            "cpu_seconds": seconds,
            "peak_memory_bytes": 123456789,
        },
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with two metrics files, a figure and a lock file."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, SECONDS)
    (tmp_path / "figures").mkdir()
    for suffix in (".svg", ".png"):
        (tmp_path / "figures" / f"curve{suffix}").write_bytes(b"<svg/>")
    (tmp_path / "figures" / "figures.json").write_text(json.dumps([FIGURE]))
    (tmp_path / "lock").write_text("numpy==2.0.1 \\\n  --hash=x\ntorch==2.13.0\nscipy==1.0\n")
    return tmp_path


def write(folder, seconds):
    for case, errors in (("soft", [73, 74, 75]), ("hard", [100, 101, 102])):
        made = result(case, errors, seconds, root=f"{folder}/")
        (folder / f"{case}.json").write_text(json.dumps(made))


def run(out="out", params=PARAMS, paths=("soft=soft.json", "hard=hard.json")):
    more = ["figures=figures", "lock=lock"]
    report.main(["--params", json.dumps(params), f"out={out}", *paths, *more])
    return {path.name: path for path in Path(out).rglob("*") if path.is_file()}


def refused(capsys, **arguments):
    with pytest.raises(SystemExit) as caught:
        run(**arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def read(path):
    return json.loads(path.read_text())


def test_claims_are_judged_on_the_cases(folder):
    claims = read(run()["claims.json"])
    assert [(claim["id"], claim["verdict"]) for claim in claims] == [
        ("soft", "reproduced"),
        ("hard", "differs"),
        ("fast", "reproduced"),
        ("odd", "not run"),
    ]
    assert claims[1]["reason"] == "Other data."
    assert claims[0]["measured"]["mean"] == 74
    assert claims[0]["sources"][0]["sha256"] == "ab" * 32


def test_times_stay_in_the_timings(folder):
    written = run()
    claims, timings = read(written["claims.json"]), read(written["timings.json"])
    assert claims[2]["measured"] is None
    assert timings["claims"]["fast"]["measured"]["mean"] == pytest.approx(9.55)
    assert timings["cases"]["soft"]["step/seconds"]["mean"] == SECONDS
    assert timings["cases"]["soft"]["step/peak_memory_bytes"]["mean"] == 123456789
    for name in ("claims.json", "metrics.json", "provenance.json", "README.md", "report.json"):
        text = written[name].read_text()
        assert str(SECONDS) not in text, name
        assert "123456789" not in text, name
        assert "9.55" not in text, name


def test_committed_files_are_the_same_bytes_whatever_the_machine_did(folder, monkeypatch):
    first = run("first")
    write(folder, SECONDS / 3)
    monkeypatch.setattr("platform.node", lambda: "another-host")
    second = run("second")
    assert set(first) == set(second)
    for name in set(first) - {"timings.json"}:
        assert first[name].read_bytes() == second[name].read_bytes(), name
    assert read(first["timings.json"]) != read(second["timings.json"])


def test_paths_are_relative_to_the_repository(folder):
    written = run()
    provenance = read(written["provenance.json"])["soft"]
    assert provenance["inputs"]["model"]["path"] == "build/soft.safetensors"
    assert provenance["command"].endswith("model=build/soft.safetensors test=test.safetensors")
    assert '{"a": "b=/c"}' in provenance["command"]  # params are no path
    for name in ("claims.json", "metrics.json", "provenance.json", "README.md", "report.json"):
        assert str(folder) not in written[name].read_text(), name


def test_metrics_hold_values_and_summary(folder):
    metrics = read(run()["metrics.json"])
    assert metrics["hard"]["test/errors"]["values"] == [100, 101, 102]
    assert metrics["hard"]["test/errors"]["mean"] == 101
    assert set(metrics) == {"soft", "hard"}


def test_tables_and_lists_of_the_report(folder):
    filled = read(run()["report.json"])
    cells = [row["cells"] for row in filled["tables"][0]["rows"]]
    assert cells[0][0]["measured"]["mean"] == 74
    assert cells[0][0]["published"] == 74
    assert cells[1][0] == {"measured": None, "published": 206}
    assert cells[0][1] == {"measured": None, "published": None}
    assert [column["better"] for column in filled["tables"][0]["columns"]] == ["down", "up"]
    assert filled["not_run"] == ["later"]
    assert filled["versions"] == [
        {"package": "numpy", "used": "2.0.0", "locked": "2.0.1", "cases": ["soft", "hard"]}
    ]


def test_the_readme_renders_as_tables_with_every_text_escaped(folder):
    text = run()["README.md"].read_text()
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<table>") == 3  # claims, Section 3, all metrics
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; a|b *c* [d](e)" in html
    assert "✔ reproduced" in html
    assert "✘ differs" in html
    assert "<strong>Reason:</strong> Other data." in html
    assert '<img src="figures/curve.svg" alt="A falling line." />' in html
    assert "<li>Adam_W: none is named</li>" in html
    assert "PYTHONPATH=src python -m pr12.distill.evaluate" in html
    assert '<td style="text-align:right">74.0 [71.5, 76.5]</td>' in html
    widths = {row.count("<td") for row in html.split("<tbody>")[1].split("</tr>") if "<td" in row}
    assert widths == {5}


def test_figures_are_copied_with_the_report(folder):
    written = run()
    assert {"curve.svg", "curve.png"} <= set(written)
    assert "nteractive" not in written["README.md"].read_text()
    assert "page" not in read(written["report.json"])["figures"][0]


def test_the_page_of_an_interactive_figure_is_copied_and_linked(folder):
    (folder / "figures/curve.html").write_bytes(b"<script>1</script>\r\n")
    written = run()
    assert written["curve.html"].read_bytes() == b"<script>1</script>\r\n"
    assert read(written["report.json"])["figures"][0]["page"] == "curve.html"
    html = MarkdownIt("commonmark").render(written["README.md"].read_text())
    assert '<a href="figures/curve.html">Interactive: open figures/curve.html</a>' in html


def test_the_animation_of_a_figure_is_copied_and_shown(folder):
    (folder / "figures/curve.gif").write_bytes(b"GIF89a\r\n")
    written = run()
    assert written["curve.gif"].read_bytes() == b"GIF89a\r\n"
    assert read(written["report.json"])["figures"][0]["animation"] == "curve.gif"
    html = MarkdownIt("commonmark").render(written["README.md"].read_text())
    assert '<img src="figures/curve.gif" alt="Animation: A falling line." />' in html
    (folder / "figures/curve.gif").unlink()
    still = run()
    assert "animation" not in read(still["report.json"])["figures"][0]
    assert "curve.gif" not in still["README.md"].read_text()


def test_a_report_without_results_figures_and_lock(folder):
    params = PARAMS | {"tables": [], "deviations": []}
    report.main(["--params", json.dumps(params), "out=bare"])
    text = Path("bare/README.md").read_text()
    assert "4 ○ not run" in text
    assert "No case has a result in this run." in text
    assert "None is known." in text
    assert read(Path("bare/report.json"))["versions"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"test/errors": []}}, "test/errors is []; it must be a list of finite"),
        ({"metrics": {"test/errors": [float("nan")]}}, "it must be a list of finite numbers"),
        ({"metrics": {"test/errors": 3}}, "it must be a list of finite numbers"),
        ({"metrics": {"test/errors": [True]}}, "it must be a list of finite numbers"),
        ({"metrics": None}, "soft.json has no metrics"),
        ({"provenance": {}}, "no provenance with a command"),
        ({"timings": [1]}, "soft.json has timings that are no mapping"),
    ],
)
def test_a_bad_metrics_file_is_refused(folder, capsys, change, message):
    (folder / "soft.json").write_text(json.dumps(result("soft", [1]) | change))
    assert message in refused(capsys)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claims": [CLAIMS[0] | {"mtric": 1}]}, "distill.claims[0].mtric (claim soft) is unknown"),
        ({"tables": [TABLE | {"rowz": []}]}, "distill.tables[0].rowz is unknown; allowed here"),
        ({"tables": [TABLE | {"rows": "soft"}]}, "distill.tables[0].rows is 'soft'"),
        ({"tables": [TABLE | {"rows": ["soft"]}]}, "distill.tables[0].rows[0] is 'soft'"),
        ({"tables": [TABLE | {"rows": [{"case": "sofd", "label": "x"}]}]}, "unknown case 'sofd'"),
        ({"tables": [TABLE | {"columns": [{"label": "x"}]}]}, "columns[0].metric is missing"),
        ({"cases": ["hard"], "claims": [], "tables": []}, "soft is not a case of distill"),
    ],
)
def test_a_mistake_in_params_is_refused(folder, capsys, change, message):
    assert message in refused(capsys, params=PARAMS | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../curve"}, "only letters, digits, _ and -"),
        ({"file": "other"}, "names other.svg, which is not there"),
        ({"alternative": "x"}, "figures.json[0].alternative is unknown"),
    ],
)
def test_a_bad_list_of_figures_is_refused(folder, capsys, change, message):
    (folder / "figures" / "figures.json").write_text(json.dumps([FIGURE | change]))
    assert message in refused(capsys)


def test_a_laptop_needs_no_torch():
    code = "import pr12.shared.report, pr12.shared.index, sys; print('torch' in sys.modules)"
    source = Path(report.__file__).parents[2]
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == "False"
