"""Evidence takes today's addresses only where two smoke runs prove it."""

from pathlib import Path

import pytest

import evidence_cases
from pr12.report import chain, evidence, rows, stamp
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

SOURCE = "0d0d0d0d0d"  # of the code before the change
TABLE = "reports/vae/stamps.csv"
STEPS = ("train", "evaluate")


def nodes(digest, source):
    first = evidence_cases.node("vae/z2/train", digest, source, {"epochs": 3})
    last = evidence_cases.node("vae/z2/evaluate", digest, source, reads=[first["folder"]])
    return [first, last]


def smoke(build, digest, source):
    """Write a smoke run of two steps."""
    graph = {}
    for name in STEPS:
        folder = f"build/smoke/vae/z2/{name}.{digest}"
        graph[folder] = {"folder": folder, "step": f"pr12.vae.{name}", "source": source(name)}
        here = build / "vae/z2" / f"{name}.{digest}"
        content = {"metrics": {"test/error": [0.25]}, "provenance": {"source": digest}}
        files.write_json(here / "metrics.json", content)
        files.write_json(here / "history.json", {"loss": [1.0], "seconds": float(len(digest))})
        (here / "model.safetensors").write_bytes(b"weights")
        files.write_json(here / "files.json", {"model.safetensors": "digest"})
    files.write_json(build / "report/vae/chains.aaaaaaaaaa/chains.json", {"nodes": graph})


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Work in a folder with evidence of an earlier source, and smoke runs of it and of today's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stamp.address, "source_digest", lambda module: f"now {module}")
    evidence_cases.write_case(
        Path("reports/vae/evidence"), "z2", {"test/error": [0.5]}, nodes("0123456789", SOURCE)
    )
    today = evidence_cases.today(nodes("fedcba9876", "1a1a1a1a1a"), {})
    today |= {"cases": ["z2"], "results": {"z2": "build/test/vae/z2/evaluate.fedcba9876"}}
    files.write_json("chains.json", today)
    smoke(Path("before/smoke"), "bbbbbbbbbb", lambda name: SOURCE)
    smoke(Path("build/smoke"), "aaaaaaaaaa", lambda name: f"now pr12.vae.{name}")
    texts = Path("papers/vae")
    texts.mkdir(parents=True)
    (texts / "paper.yaml").write_text("title: T\ncitation: C\nlinks: []\n")
    for name in ("claims", "tables", "withdrawn"):
        (texts / f"{name}.yaml").write_text("[]\n")
    (texts / "deviations.md").write_text("")
    names = {"report": "reports/vae", "chains": "chains.json", "texts": "papers/vae"}
    names |= {"before": "before/smoke", "build": "build/smoke"}
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


def metrics(path):
    files.write_json(path / "metrics.json", {"metrics": {"test/error": [0.5]}})


def history(path):
    files.write_json(path / "history.json", {"loss": [1.5], "seconds": 1.0})


def weights(path):
    (path / "model.safetensors").write_bytes(b"others")


def lacking(path):
    (path / "model.safetensors").unlink()


def gone(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


@pytest.mark.parametrize("change", [metrics, history, weights, lacking, gone])
@pytest.mark.parametrize("name", STEPS)
def test_what_is_not_proven_is_not_stamped(paths, change, name, capsys):
    change(Path(f"build/smoke/vae/z2/{name}.aaaaaaaaaa"))
    before = Path("reports/vae/evidence/z2/evidence.json").read_bytes()
    run(paths)
    assert f"z2 stays of an earlier source: nothing is proven of vae/{name}" in (
        capsys.readouterr().err
    )
    assert Path("reports/vae/evidence/z2/evidence.json").read_bytes() == before
    assert not Path(TABLE).exists()


def test_evidence_of_a_third_source_is_not_stamped(paths, capsys):
    smoke(Path("before/smoke"), "bbbbbbbbbb", lambda name: "2b2b2b2b2b")
    run(paths)
    assert "nothing is proven of vae/train (0d0d0d0d0d)" in capsys.readouterr().err
    assert standing(paths) == "earlier source"


def test_a_smoke_run_of_another_code_proves_nothing(paths, monkeypatch):
    monkeypatch.setattr(stamp.address, "source_digest", lambda module: "edited since")
    with pytest.raises(UserError, match="by another source than today's"):
        run(paths)
