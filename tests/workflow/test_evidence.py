"""Pages come from committed evidence and nothing else, whatever lies in build/."""

import json
import re
import shutil

import pytest

from checkout import CLAIMS_FILE, job_table
from pr12.report import stats

FOLDER = "reports/smoke/distill"
REPORT = {"distill_pages": 1, "index": 1, "report": 1}
NOTHING = {"report": 1}  # the target itself, which has no input then
TEMPERATURE = "distill.cases.soft_800_T20.temperature"
LOG = "build/smoke/report/distill/there.log"
OF_STUDENT = {"distilled_beats_hard", "gap_closed"}  # claims that need soft_800_T20


def pages(checkout):
    """Return path -> content of all that the pages are."""
    result = checkout.bytes(f"{FOLDER}/*", f"{FOLDER}/figures/*")
    assert len(result) > 10
    return result


def evidence(checkout):
    result = checkout.bytes(f"{FOLDER}/evidence/**/*")
    assert len(result) > 6
    return result


def report(checkout, **more):
    """Write the pages of the evidence that there is; see that nothing else was done."""
    assert job_table(checkout.snakemake("report", **more)) == REPORT


def claims(checkout):
    """Return claim's id -> record."""
    records = json.loads((checkout / f"{FOLDER}/claims.json").read_text(encoding="utf-8"))
    return {record["id"]: record for record in records}


def words(checkout):
    """Return the text of the page without what escapes it."""
    return (checkout / f"{FOLDER}/README.md").read_text(encoding="utf-8").replace("\\", "")


@pytest.fixture(scope="module")
def reported(locked, tmp_path_factory):
    """Return a clone without build/ whose pages were made from its evidence: see the first test."""
    root = tmp_path_factory.mktemp("reported") / "repository"
    locked.git("clone", "--quiet", ".", str(root))
    clone = type(locked)(root)
    for name in pages(clone):
        (clone / name).unlink()
    report(clone)
    return clone


@pytest.fixture
def copied(reported, tmp_path):
    """Return a copy of it: there is evidence, and no result."""
    return reported.copy(tmp_path / "repository")


def test_evidence_alone_gives_the_same_bytes_in_any_locale_and_zone(reported, locked):
    assert not reported.bytes("build/smoke/distill/**/*", "build/smoke/data/**/*")
    assert pages(reported) == pages(locked)
    assert reported.git("status", "--porcelain") == ""
    shutil.rmtree(reported / "build")
    report(reported, LC_ALL="C.UTF-8", TZ="Asia/Tokyo")
    assert pages(reported) == pages(locked)
    assert reported.git("status", "--porcelain") == ""
    assert job_table(reported.snakemake("report")) == NOTHING


def test_pages_do_not_depend_on_what_lies_in_build(versioned):
    before = pages(versioned)
    shutil.rmtree(versioned / "build/smoke/distill/hard_800")
    labels = versioned.folder("soft_labels", "temperature")
    shutil.rmtree(labels)
    shutil.rmtree(versioned / "build/smoke/report")
    mark = str((labels / "evidence.json").relative_to(versioned.root))
    assert job_table(versioned.snakemake(mark)) == {"distill_temperature": 1, "evidence": 1}
    report(versioned)
    assert pages(versioned) == before
    assert versioned.git("status", "--porcelain") == ""
    assert not (versioned / "build/smoke/distill/hard_800").exists()


def test_a_run_that_fails_in_one_case_loses_no_evidence_and_no_other_row(versioned):
    kept, before = evidence(versioned), claims(versioned)
    versioned.set("distill.cases.soft_800_T20.learning_rate", 1e30)
    versioned.set("distill.cases.hard_800.bias_classes", [3])  # this one is finished
    failed = versioned.snakemake("--keep-going", "distill", code=1)
    assert "Error in rule distill_train" in failed
    report(versioned)
    now, changed = evidence(versioned), f"{FOLDER}/evidence/hard_800/evidence.json"
    assert now.keys() == kept.keys()
    assert {name for name in now if now[name] != kept[name]} == {changed}
    records = claims(versioned)
    assert {name for name in records if records[name]["verdict"] == "not run"} == OF_STUDENT
    assert records["entropy_rises"] == before["entropy_rises"]
    assert records["teacher_beats_hard"]["measured"] == before["teacher_beats_hard"]["measured"]


def test_an_edited_bound_makes_the_report_anew_and_no_result(versioned):
    path = versioned / CLAIMS_FILE
    text = path.read_text(encoding="utf-8")
    assert text.count("at_least: 0.5") == 1
    path.write_text(text.replace("at_least: 0.5", "at_least: 0.6"), encoding="utf-8")
    message = versioned.dvc("repro", "--dry")
    assert re.findall(r"Running stage '(.+)'", message) == ["report@distill"]
    report(versioned)
    assert claims(versioned)["gap_closed"]["bound"]["low"] == 0.6


def test_a_row_of_other_params_is_not_run_until_they_are_set_back(copied):
    before, measured = pages(copied), claims(copied)["distilled_beats_hard"]["measured"]
    copied.set(TEMPERATURE, 5.0)
    report(copied)
    records = claims(copied)
    assert {name for name in records if records[name]["verdict"] == "not run"} == OF_STUDENT
    note = records["distilled_beats_hard"]["note"]
    assert "soft_800_T20: train.temperature was 20.0, now 5.0" in note
    assert f"it was {stats.written(measured)}" in note
    assert note in words(copied)
    copied.set(TEMPERATURE, 20.0)
    report(copied)
    assert pages(copied) == before


def test_rows_of_an_earlier_source_stay_and_are_marked(copied):
    before = claims(copied)
    chain = json.loads(
        evidence(copied)[f"{FOLDER}/evidence/hard_800/evidence.json"].decode(encoding="utf-8")
    )["chain"]
    copied.append("src/pr12/distill/evaluate.py", "\n\ndef unused():\n    return 1\n")
    report(copied)
    records = claims(copied)
    for key in ("verdict", "measured"):
        assert [r[key] for r in records.values()] == [r[key] for r in before.values()]
    note = f"made by an earlier source of evaluate ({chain[-1]['source']})"
    marked = {"teacher_beats_hard"} | OF_STUDENT
    assert {n for n, r in records.items() if note in str(r["standing"])} == marked
    assert f"`hard_800` was {note}" in words(copied)


def digit(path):
    """Change one digit of a number."""
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"(\d)(?=,?\n)", lambda result: str(9 - int(result[1])), text, count=1)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


def half(path):
    """Truncate a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_damaged_evidence_is_told_and_mended_by_git(copied):
    before = pages(copied)
    for name, damage in (
        ("hard_800/evidence.json", digit),
        ("hard_800/evidence.json", half),
        ("soft_labels/picture.json", lambda path: path.unlink()),
        ("soft_labels/picture.safetensors", half),
    ):
        damaged = f"{FOLDER}/evidence/{name}"
        damage(copied / damaged)
        copied.snakemake("report", code=1)
        log = (copied / LOG).read_text(encoding="utf-8")
        (sentence,) = (line for line in log.splitlines() if "error:" in line.lower())
        assert damaged in sentence
        assert f"git checkout -- {damaged.rpartition('/')[0]}" in sentence
        assert "Traceback" not in log
        assert pages(copied) == before
        copied.git("checkout", "--", damaged.rpartition("/")[0])
    assert job_table(copied.snakemake("report")) == NOTHING
    shutil.rmtree(copied / "build")
    report(copied)
    assert pages(copied) == before


def test_damaged_evidence_of_a_result_that_is_there_is_copied_again(versioned):
    kept = evidence(versioned)
    digit(versioned / f"{FOLDER}/evidence/hard_800/evidence.json")
    ran = job_table(versioned.snakemake())
    assert ran["evidence"] == 1
    assert "distill_evaluate" not in ran
    assert evidence(versioned) == kept
    assert "Nothing to be done" in versioned.snakemake()
    assert versioned.git("status", "--porcelain") == ""


def test_withdrawn_evidence_does_not_count_and_says_why(copied):
    reason = "Its seeds shared one stream."
    entry = f"- case: hard_800\n  reason: {reason}\n"
    (copied / "papers/distill/withdrawn.yaml").write_text(entry, encoding="utf-8")
    report(copied)
    records = claims(copied)
    spoilt = {"teacher_beats_hard"} | OF_STUDENT
    assert {name for name in records if records[name]["verdict"] == "not run"} == spoilt
    assert all(f"hard_800: {reason}" in records[name]["note"] for name in spoilt)
    assert f"`hard_800`: withdrawn; {reason}" in words(copied)
