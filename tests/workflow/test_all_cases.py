import json
import re

from checkout import REPOSITORY, job_table
from pr12.report import golden
from pr12.workflow import files, settings, yaml_files

ARCHIVES = ("svhn", "cub")
PUBLISHED = ("pair3", "pair14", "pair15", "pair16")


def read_in_the_full_run_only(case):
    # Real house numbers, birds, photographs of the authors, trained weights
    published = case.get("pair") in PUBLISHED
    return case.get("source") in ARCHIVES or published or case.get("trained", False)


def test_all_cases_of_all_papers_run_at_smoke_scale_and_every_claim_finds_its_metrics(
    everything,
):
    params = yaml_files.load(REPOSITORY / "params.yaml")
    ran = job_table(everything.root.with_suffix(".log").read_text(encoding="utf-8"))
    assert ran["distill_train"] > 30
    assert everything.jobs() == {}
    for paper in params["papers"]:
        section = settings.resolve(params | {"run": "smoke"})[paper]
        folder = everything / f"reports/smoke/{paper}"
        metrics, records = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("metrics", "claims")
        )
        wanted = {c for c, ours in section["cases"].items() if not read_in_the_full_run_only(ours)}
        assert set(metrics) == wanted
        judged = {
            claim["id"]
            for claim in settings.paper(REPOSITORY / "papers" / paper)["claims"]
            # Claims about time have verdicts in index.html only
            if "smoke" in claim.get("runs", ["smoke"]) and not claim.get("timing")
        }
        assert len(judged) > 10
        assert {r["id"]: r["note"] for r in records if r["verdict"] == "not run"}.keys() == {
            record["id"] for record in records
        } - judged
        page = (folder / "README.md").read_text(encoding="utf-8")
        message = [line for line in page.splitlines() if line.startswith("Cases without result")]
        assert set(re.findall(r"`(\w+)`", " ".join(message))) == set(section["cases"]) - wanted
        figures = {path.stem for path in (folder / "figures").glob("*.svg")}
        assert len(figures) > 5
        assert figures == {path.stem for path in (folder / "figures").glob("*.png")}


def test_a_smoke_run_gives_the_golden_values(everything):
    written = files.read_json(REPOSITORY / "tests/golden/smoke.json")
    now = golden.collect(everything / "build/smoke") | {"capability": golden.capability()}
    lines = golden.differences(written, now)
    assert lines == [], "numbers moved; if that is meant: make golden, and say why in CHANGELOG.md"
