# What rules/report.smk asks for: evidence of today's cases, and pages of the evidence that there is.
from pr12.report import evidence, freshness

TEMPLATES = sorted(str(p) for p in (SRC / "pr12/shared/templates").glob("*.j2"))
TEXTS = {Path(p).name: Path(p).read_text(encoding="utf-8") for p in TEMPLATES}
LOCKED = Path(workflow.basedir, "requirements.lock").read_text(encoding="utf-8")
PLACES = {}  # folder of a result -> its paper and case
for _paper in PAPERS:
    for _case, _folder in RESULTS[_paper].items():
        if _folder in PLACES:
            stop(
                f"{_paper}: the cases {PLACES[_folder][1]} and {_case} are one result; keep one"
            )
        PLACES[_folder] = _paper, _case


def untrue(mark):
    """A mark that says "done" of what is so no longer; without it the job runs again.

    (Snakemake does not make a `temp` output that only a target rule asks for.)
    """
    if (
        workflow.is_main_process
    ):  # on a node, the job that writes the mark may be at work
        Path(mark).unlink(missing_ok=True)
    return mark


# Evidence: one job a case, whose mark beside the result is a copy of evidence.json.


def public(paper):
    return f"reports/{RUN}/{paper}"


def evidence_files(folder):
    """What a case's evidence is made from: metrics, and the picture if there is one."""
    paper, case = PLACES[folder]
    files = {"metrics": made(folder, "metrics.json")}
    if case in PICTURES.get(paper, {}):
        files["picture"] = ancient(PICTURES[paper][case])
    return files


def evidence_params(folder):
    paper, case = PLACES[folder]
    return {"run": RUN, "paper": paper, "case": case}


def evidence_paths(folder):
    """Where a case's evidence goes, and its times, which are this machine's."""
    paper, case = PLACES[folder]
    return {
        "chains": chains(paper)[0],
        "out": f"{public(paper)}/evidence/{case}",
        "timings": f"{BUILD}/timings/{paper}/{case}.json",
    }


@cache
def evidence_mark(folder):
    """The mark of a case's evidence; it is taken away if reports/ holds other evidence."""
    paper, case = PLACES[folder]
    mark = Path(folder, "evidence.json")
    taken = [Path(str(file)) for file in evidence_files(folder).values()]
    if evidence.published(mark, Path(public(paper), "evidence", case), taken):
        return ancient(str(mark))
    return untrue(str(mark))


def evidence_made(paper):
    """Results of all of a paper's cases that can run here, and their evidence."""
    folders = RESULTS[paper].values()
    return [made(folder, "metrics.json") for folder in folders] + [
        evidence_mark(folder) for folder in folders
    ]


def to_come(paper):
    """Whether evidence of a paper is made by this run."""
    return any(
        not Path(folder, name).exists()
        for folder in RESULTS[paper].values()
        for name in ("evidence.json", "metrics.json")
    )


# Chains: how today's graph makes each case, for whoever compares evidence with it.


@cache
def chains(paper):
    """The file of a paper's chains (rules/report.smk writes it before any job starts)."""
    found = {case: RESULTS[paper].get(case) for case in P[paper]["cases"]}
    nodes = {}
    for folder in filter(None, found.values()):
        nodes |= {node["folder"]: node for node in result_chain.collect(NODES, folder)}
    before = {node["step"]: settings.before(node["step"]) for node in nodes.values()}
    cases = list(found)  # JSON is written with sorted keys: the order stands apart
    content = {"cases": cases, "nodes": nodes, "results": found, "before": before}
    folder = f"{BUILD}/report/{paper}/chains.{addresses.digest(content)}"
    CURRENT.add(folder)
    return f"{folder}/chains.json", content


# Pages: figures and report of a paper in one job, written again when what they show has changed.


def figures_params(paper):
    """The paper's own block, the run, and the published numbers that its claims name."""
    published = {}
    for claim in ABOUT[paper]["claims"]:
        if "published" in claim and "case" in claim:
            published.setdefault(claim["case"], {})[claim["metric"]] = claim[
                "published"
            ]
    return (P[paper].get("figures") or {}) | {"run": RUN, "published": published}


def report_params(paper):
    fixed = [
        source_digest(f"pr12.{paper}.figures"),
        source_digest("pr12.shared.report"),
        source_digest("pr12.shared.readme"),
        figures_params(paper),
        chains(paper)[0],
        TEXTS,
        LOCKED,
        freshness.digest(Path("papers", paper)),
    ]
    return {"run": RUN, "paper": paper, "fixed": addresses.digest(fixed)}


def pages(paper, scope):
    """Mark of pages that are still to be written; nothing if reports/ holds these pages.

    Their `scope` is "all" after evidence of all cases was made, "there" without making any.
    """
    stamp = Path(BUILD, "report", paper, "stamp.json")
    known = freshness.known(stamp, report_params(paper)["fixed"], Path(public(paper)))
    if known and not (scope == "all" and to_come(paper)):
        return []
    return [untrue(f"{BUILD}/report/{paper}/{scope}.done")]


def index_params():
    texts = {name: text for name, text in TEXTS.items() if name.startswith("index")}
    fixed = addresses.digest(source_digest("pr12.shared.index"), texts, PAPERS)
    return {"run": RUN, "papers": PAPERS, "fixed": fixed}


def index(scope, missing):
    """Mark of the page over all papers, if it is to be written.

    The published page is in neither git nor DVC: that a clone lacks it is no reason to run.
    """
    awaited = [file for paper in PAPERS for file in pages(paper, scope)]
    page = Path("reports", RUN, "index.html")
    if not awaited and not page.exists() and not missing:
        return []
    stamps = [Path(BUILD, "report", paper, "stamp.json") for paper in PAPERS]
    shown = [page, *stamps, Path(BUILD, "timings")]
    stamp = Path(BUILD, "report", "stamp.json")
    if not awaited and freshness.known(stamp, index_params()["fixed"], *shown):
        return []
    return [untrue(f"{BUILD}/report/{scope}.done")]


TARGETS = {paper: [*evidence_made(paper), *pages(paper, "all")] for paper in PAPERS}
