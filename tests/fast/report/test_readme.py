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
        "published": 74,
        "measured": {"mean": 74.0, "low": 71.5, "high": 76.5, "n": 3},
        "verdict": "reproduced",
        "headline": True,
        "standing": [],
    } | changes


def step(folder):
    """Give the command that renews the README."""
    command = [sys.executable, "-m", "pr12.report.readme"]
    return [*command, f"reports={folder / 'reports'}", f"readme={folder / 'README.md'}"]


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


def test_only_headlines_are_shown(tmp_path):
    write(tmp_path, "full", [record(headline=False)])
    assert readme.committed(tmp_path / "reports") == {}


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
    readme.check_table(new, "new")
    with pytest.raises(UserError, match="not those of reports/"):
        readme.check_table(new, "newer")


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
    path = tmp_path / "README.md"
    path.write_text(f"above\n{readme.BEGIN}\n{readme.END}\n")
    # The jobs of several papers may do it at once
    jobs = [subprocess.Popen(step(tmp_path), stderr=subprocess.PIPE) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    readme.check_table(path.read_text(), readme.table(readme.committed(tmp_path / "reports")))
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
    written = path.stat().st_mtime_ns
    subprocess.run(step(tmp_path), check=True, capture_output=True)
    assert path.stat().st_mtime_ns == written
