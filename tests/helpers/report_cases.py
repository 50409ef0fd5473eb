"""A small paper for tests of its pages: texts, evidence, figures, today's graph; rows in memory."""

import json
from pathlib import Path

import yaml

import evidence_cases
from pr12.report import evidence, freshness
from pr12.report import paper as report
from pr12.report.chain import Standing
from pr12.report.evidence import Evidence
from pr12.report.rows import Row
from pr12.workflow import files, step

EVIL = '<script>alert("x")</script>&'
WITHDRAWN = Standing("withdrawn", "test scans were in training")
OTHER = Standing("other params", "train.epochs was 3, now 4")
EARLIER = Standing("earlier source", "made by an earlier source of train (abcdef0123)")
CURRENT = Standing("current", None)

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
TEXTS = {
    "title": "Distilling",
    "citation": "Hinton, Vinyals, Dean 2015",
    "links": [],
    "claims": CLAIMS,
    "tables": [TABLE],
    "deviations": ["Adam_W: none is named"],
    "withdrawn": [],
}
FIGURE = {
    "file": "curve",
    "title": "Curve",
    "caption": "Errors fall.",
    "alt": "A falling line.",
    "cases": ["soft"],
    "pictures": [],
}
CASES = ["soft", "hard", "later"]
ERRORS = {"soft": [73, 74, 75], "hard": [100, 101, 102]}
SECONDS = 987.654
OUT = Path("build/report/distill")


def row(case, metrics, standing=CURRENT, ratios=None, **provenance):
    """Return a case's row, of which no file is there."""
    made_by = {"command": f"python -m pr12.any out={case}", "inputs": {}} | provenance
    return Row(
        Evidence(case, Path(case), metrics, ratios or {}, made_by, chain(case), {}), standing
    )


def result(case, errors, seconds=SECONDS, root=""):
    """Return what the last step of a case wrote on a machine."""
    model = f"{root}build/{case}.safetensors"
    return {
        "metrics": {"test/errors": errors},
        "timings": {"test/speedup_ratio": [9.5, 9.6, 9.55]},
        "provenance": {
            "command": f'python -m pr12.distill.evaluate --params \'{{"a": "b=/c"}}\''
            f" model={model} test=/elsewhere/test.safetensors",
            "inputs": {"model": {"path": model, "sha256": "ab" * 32}},
            "packages": {"torch": "2.13.0+cpu", "numpy": "2.0.0", "scipy": None},
            "device": "cpu",
            "threads": 1,
            "machine": "little-machine",
            "seconds": seconds,
            "cpu_seconds": seconds,
            "peak_memory_bytes": 5566778899,
        },
    }


def chain(case, source="abcdef0123", epochs=3):
    """Return the two steps of a case; a change of the first gives other folders."""
    digest = "0123456789" if (source, epochs) == ("abcdef0123", 3) else "fedcba9876"
    first = evidence_cases.node(f"distill/{case}/train", digest, source, {"epochs": epochs})
    last = evidence_cases.node(f"distill/{case}/evaluate", digest, reads=[first["folder"]])
    return [first, last]


def write_evidence(run="embedded", seconds=SECONDS, paper="distill"):
    """Write evidence of two of the three cases into the working folder."""
    for case, errors in ERRORS.items():
        made = result(case, errors, seconds, root=f"{Path.cwd()}/")
        ratios = evidence.ratios(made["timings"]) if run in evidence.TIMED_RUNS else {}
        content = evidence.content_of(case, made, chain(case), ratios, Path.cwd())
        evidence.write(Path("reports", run, paper, "evidence", case), content, {})


def write_graph(out=OUT, **changed):
    """Write today's graph; ``soft={"source": ...}`` changes the first step of a case."""
    chains = {case: chain(case, **changed.get(case, {})) for case in CASES}
    today = {
        "cases": [*CASES],
        "nodes": {node["folder"]: node for steps in chains.values() for node in steps},
        "results": {case: steps[-1]["folder"] for case, steps in chains.items()},
        "before": {},
    }
    files.write_json(out / "chains.json", today)
    return today


def write_texts(folder=Path("papers/distill"), **changed):
    """Write the folder of the paper's texts."""
    texts = TEXTS | changed
    folder.mkdir(parents=True, exist_ok=True)
    about = {key: texts[key] for key in ("title", "citation", "links")}
    listed = {key: texts[key] for key in ("claims", "tables", "withdrawn")}
    for name, value in {"paper": about, **listed}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    (folder / "deviations.md").write_text("".join(f"- {d}\n" for d in texts["deviations"]))


def write_figures(entries, out=OUT):
    """Write pictures and the list of them, as the figures step does."""
    for entry in entries:
        for suffix in (".svg", ".png"):
            (out / "figures").mkdir(parents=True, exist_ok=True)
            (out / "figures" / f"{entry['file']}{suffix}").write_bytes(b"<svg/>")
    files.write_json(out / "figures/figures.json", entries)


def write_paper(run="embedded"):
    """Write all that a report of the paper reads."""
    write_evidence(run)
    write_graph()
    write_texts()
    write_figures([FIGURE])
    Path("lock").write_text("numpy==2.0.1 \\\n  --hash=x\ntorch==2.13.0\nscipy==1.0\n")


def paths(run="embedded", out=OUT):
    """Return the paths of the report step."""
    return {
        "evidence": Path("reports", run, "distill/evidence"),
        "chains": OUT / "chains.json",
        "texts": Path("papers/distill"),
        "figures": out / "figures",
        "lock": Path("lock"),
        "out": out,
        "public": Path("reports", run, "distill"),
    }


def read_by_figures(given):
    """Note, as the figures step does, what evidence they were drawn from."""
    if given["figures"].is_dir():
        read = freshness.drawn_from("distill", given["evidence"], given["texts"])
        files.write_json(given["figures"] / "read.json", read)


def write_report(run="embedded", **more):
    """Write the report and give what is published of it, evidence aside: name -> content."""
    given = {name: path for name, path in (paths(run) | more).items() if path}
    params = report.Params(run, "distill", "0123456789")
    read_by_figures(given)
    report.main(step.Job(params, given, (), "pr12.report.paper", "python"))
    return published(given["public"])


def published(folder):
    """Return what lies in a folder, evidence aside: name -> bytes."""
    actual = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in actual
        if "evidence" not in path.relative_to(folder).parts
    }


def read(path):
    """Read a JSON file."""
    return json.loads(Path(path).read_text())
