"""Evidence takes today's addresses only where a smoke run of today's code proves it."""

from pathlib import Path

import pytest

import evidence_cases
from pr12.report import chain, evidence, rows, stamp
from pr12.shared import files, golden, step
from pr12.shared.errors import UserError

SOURCE = "0d0d0d0d0d"  # of the code before the change
TABLE = "reports/vae/stamps.csv"


def nodes(digest, source):
    first = evidence_cases.node("vae/z2/train", digest, source, {"epochs": 3})
    last = evidence_cases.node("vae/z2/evaluate", digest, source, reads=[first["folder"]])
    return [first, last]


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Work in a folder with evidence of an earlier source, and a smoke run of today's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(golden, "capability", lambda: {"vectors": "AVX2"})
    now = {module: f"now {module}" for module in ("pr12.vae.train", "pr12.vae.evaluate")}
    monkeypatch.setattr(stamp.address, "source_digest", now.get)
    evidence_cases.write_case(
        Path("reports/vae/evidence"), "z2", {"test/error": [0.5]}, nodes("0123456789", SOURCE)
    )
    today = evidence_cases.today(nodes("fedcba9876", "1a1a1a1a1a"), {})
    today |= {"cases": ["z2"], "results": {"z2": "build/test/vae/z2/evaluate.fedcba9876"}}
    files.write_json("chains.json", today)
    smoke = {}
    for module, source in now.items():
        folder = f"build/smoke/vae/z2/{module.rpartition('.')[2]}.aaaaaaaaaa"
        smoke[folder] = {"folder": folder, "step": module, "source": source}
        metrics = {"metrics": {"test/error": [0.25]}, "provenance": {}}
        files.write_json(Path(folder, "metrics.json"), metrics)
    graph = Path("build/smoke/report/vae/chains.aaaaaaaaaa/chains.json")
    files.write_json(graph, {"nodes": smoke})
    noted = golden.collect(Path("build/smoke"))
    noted |= {"capability": {"vectors": "AVX2"}}
    noted |= {"sources": {"vae/train": SOURCE, "vae/evaluate": SOURCE}}
    files.write_json("golden.json", noted)
    texts = Path("papers/vae")
    texts.mkdir(parents=True)
    (texts / "paper.yaml").write_text("title: T\ncitation: C\nlinks: []\n")
    for name in ("claims", "tables", "withdrawn"):
        (texts / f"{name}.yaml").write_text("[]\n")
    (texts / "deviations.md").write_text("")
    names = {"report": "reports/vae", "chains": "chains.json", "texts": "papers/vae"}
    names |= {"golden": "golden.json", "build": "build/smoke"}
    return {name: Path(path) for name, path in names.items()}


def run(paths):
    stamp.main(step.Job(stamp.Params(), paths, (), "pr12.report.stamp", "python"))


def standing(paths):
    today = chain.read(paths["chains"])
    return rows.read(paths["report"] / "evidence", today, {})["z2"].standing.state


def test_proven_evidence_is_current_and_says_still_what_made_it(paths):
    before = evidence.read(Path("reports/vae/evidence/z2"))
    assert standing(paths) == "earlier source"
    run(paths)
    assert standing(paths) == "current"
    after = evidence.read(Path("reports/vae/evidence/z2"))
    assert (after.metrics, after.provenance) == (before.metrics, before.provenance)
    lines = Path(TABLE).read_text().splitlines()
    assert lines[0] == "case,step,old,new"
    old, new = (f"build/test/vae/z2/train.{digest}" for digest in ("0123456789", "fedcba9876"))
    assert lines[1] == f"z2,train,{old},{new}"
    table = Path(TABLE).read_bytes()
    run(paths)
    assert Path(TABLE).read_bytes() == table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capability": {"vectors": "AVX512"}}, "bytes can be compared on the same only"),
        ({"sources": {"vae/train": SOURCE}}, "nothing is proven of it"),
        ({"sources": {"vae/train": "0", "vae/evaluate": SOURCE}}, "nothing is proven of it"),
        ({"metrics": {"vae/z2/train": {"test/error": [0.5]}}}, "the change moves results"),
    ],
)
def test_what_is_not_proven_is_not_stamped(paths, change, message):
    files.write_json("golden.json", files.read_json("golden.json") | change)
    before = Path("reports/vae/evidence/z2/evidence.json").read_bytes()
    with pytest.raises(UserError, match=message):
        run(paths)
    assert Path("reports/vae/evidence/z2/evidence.json").read_bytes() == before
    assert not Path(TABLE).exists()


def test_a_smoke_run_of_another_code_proves_nothing(paths, monkeypatch):
    monkeypatch.setattr(stamp.address, "source_digest", lambda module: "edited since")
    with pytest.raises(UserError, match="by another source than today's"):
        run(paths)
