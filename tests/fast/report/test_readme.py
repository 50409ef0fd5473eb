"""The table of headline claims in README.md."""

import json
import re
import subprocess
import sys

import pytest

from pr12.report import readme
from pr12.workflow.errors import UserError


def record(**changes):
    return {
        "id": "hinton_74",
        "says": "74 errors",
        "where": "Sec. 3",
        "form": "published",
        "published": 74,
        "measured": {"mean": 74.0, "low": 71.5, "high": 76.5, "n": 3},
        "verdict": "reproduced",
        "headline": True,
        "standing": [],
    } | changes


def step(folder):
    """Return the command that renews the README."""
    command = [sys.executable, "-m", "pr12.report.readme"]
    paths = {"reports": "reports", "texts": "papers", "readme": "README.md"}
    return [*command, *(f"{name}={folder / path}" for name, path in paths.items())]


def write(folder, run, records):
    path = folder / "reports" / run / "distill" / "claims.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(records))


def test_both_runs_stand_side_by_side(tmp_path):
    write(tmp_path, "full", [record()])
    write(tmp_path, "embedded", [record(measured=None, verdict="not run")])
    write(tmp_path, "smoke", [record(verdict="differs")])
    rows = readme.table(readme.committed(tmp_path / "reports")).splitlines()
    assert rows[2] == (
        "| distill | 74 errors (Sec. 3) | 74 | 74.0 \\[71.5, 76.5\\] | ✔ reproduced "
        "| – | ○ not run |"
    )


def test_only_headlines_are_in_the_table(tmp_path):
    write(tmp_path, "full", [record(headline=False)])
    assert readme.table(readme.committed(tmp_path / "reports")) == "No report has been made yet."


def test_a_paper_has_a_row_with_what_it_is_cited_for_and_how_much_holds(tmp_path):
    aside = {"measured": None, "verdict": "not run"}
    write(
        tmp_path,
        "full",
        [
            record(),
            record(id="other", verdict="differs"),
            record(id="fewer", verdict="differs, better"),
            record(id="order", form="less", published=None),
            record(id="shown", form="at_most"),
            record(id="theorem", nominal=True),
            record(id="far", **aside),
        ],
    )
    claims = readme.committed(tmp_path / "reports")
    text = readme.summary(claims, {"distill": {"title": "Dis|till", "cited_for": "hinton_74"}})
    row = text.splitlines()[2]
    assert row == (
        "| [Dis\\|till](reports/full/distill/README.md) | 74 errors (Sec. 3) | 74 "
        "| 74.0 \\[71.5, 76.5\\] ✔ reproduced | 3 of 3 | 1 of 3, 1 better |"
    )
    nothing = readme.summary(claims, {"distill": {"title": "Distill"}})
    assert nothing == "No report has been made yet."


def test_reports_of_the_first_edition_and_of_evidence_are_both_read(tmp_path):
    old = {key: value for key, value in record().items() if key != "standing"}
    write(tmp_path, "embedded", [old])
    write(tmp_path, "full", [record(verdict="differs")])
    evidence = tmp_path / "reports/full/distill/evidence/claims.json"  # a case of that name
    evidence.mkdir(parents=True)
    row = readme.table(readme.committed(tmp_path / "reports")).splitlines()[2]
    assert row.count("74.0 \\[71.5, 76.5\\]") == 2
    assert "✘ differs | 74.0" in row


def test_the_table_is_the_same_whatever_the_order_of_folders(tmp_path):
    for paper in ("vae", "distill"):
        path = tmp_path / "reports/full" / paper / "claims.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps([record()]))
    rows = readme.table(readme.committed(tmp_path / "reports")).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:4]] == ["distill", "vae"]


def test_a_claim_text_cannot_break_the_table():
    evil = record(says="<script>alert(1)</script> a|b\n| c")
    row = readme.table({"distill": {"x": {"full": evil}}}).splitlines()[2]
    assert "\\<script\\>alert" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


def test_the_table_is_replaced_between_its_markers_only():
    text = f"above\n{readme.BEGIN}\nold\n{readme.END}\nbelow\n"
    new = readme.replace_table(text, "new")
    assert new == f"above\n{readme.BEGIN}\n\nnew\n\n{readme.END}\nbelow\n"
    assert readme.replace_table(new, "new") == new


@pytest.mark.parametrize(
    "text",
    [
        "",
        readme.BEGIN,
        readme.END + readme.BEGIN,
        readme.BEGIN + readme.END * 2,
        readme.BEGIN * 2 + readme.END,
    ],
)
def test_markers_must_stand_once_and_in_order(text):
    with pytest.raises(UserError, match="once"):
        readme.replace_table(text, "new")


def test_the_step_renews_the_readme_and_leaves_it_if_it_is_as_it_should_be(tmp_path):
    write(tmp_path, "full", [record()])
    path, every = tmp_path / "README.md", tmp_path / "reports/README.md"
    for each in (path, every):
        each.write_text(f"above\n{readme.BEGIN}\n{readme.END}\n")
    about = tmp_path / "papers/distill/paper.yaml"
    about.parent.mkdir(parents=True)
    about.write_text("title: Distill\ncited_for: hinton_74\n")
    # The jobs of several papers may do it at once
    jobs = [subprocess.Popen(step(tmp_path), stderr=subprocess.PIPE) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    claims = readme.committed(tmp_path / "reports")
    rows = {
        path: readme.summary(claims, {"distill": {"title": "Distill", "cited_for": "hinton_74"}}),
        every: readme.table(claims),
    }
    for each, text in rows.items():
        assert each.read_text() == f"above\n{readme.BEGIN}\n\n{text}\n\n{readme.END}\n"
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
    written = path.stat().st_mtime_ns
    subprocess.run(step(tmp_path), check=True, capture_output=True)
    assert path.stat().st_mtime_ns == written
