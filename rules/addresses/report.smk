# Addresses that rules/report.smk uses.
import filecmp

PUBLIC = ["README.md", "metrics.json", "provenance.json", "claims.json"]
TEMPLATES = sorted(str(p) for p in (SRC / "pr12/shared/templates").glob("*.j2"))
TEXTS = {Path(p).name: Path(p).read_text(encoding="utf-8") for p in TEMPLATES}
LOCKED = Path(workflow.basedir, "requirements.lock").read_text(encoding="utf-8")
REPORTED = {}  # folder of figures or report -> the cases that it shows


def present(paper):
    """Cases that have a result now."""
    return [
        case
        for case, folder in RESULTS[paper].items()
        if Path(folder, "metrics.json").exists()
    ]


def figures_params(paper):
    """The paper's own block, the run, and the published numbers that its claims name."""
    published = {}
    for claim in ABOUT[paper]["claims"]:
        if "published" in claim and "case" in claim:
            published.setdefault(claim["case"], {})[claim["metric"]] = claim[
                "published"
            ]
    return (P[paper].get("figures") or {}) | {"run": RUN, "published": published}


@cache
def figures(paper, cases):
    upstream = [RESULTS[paper][case] for case in cases]
    params = figures_params(paper)
    folder = address(f"pr12.{paper}.figures", f"{paper}/figures", params, *upstream)
    REPORTED[folder] = cases
    return folder


def report_params(paper):
    keys = ("title", "citation", "claims", "tables", "deviations")
    shown = {key: ABOUT[paper][key] for key in keys}
    return shown | {"run": RUN, "paper": paper, "cases": list(P[paper]["cases"])}


@cache
def report(paper, cases):
    upstream = [figures(paper, cases), *(RESULTS[paper][case] for case in cases)]
    params = report_params(paper) | {"templates": TEXTS, "lock": LOCKED}
    folder = address("pr12.shared.report", f"{paper}/report", params, *upstream)
    REPORTED[folder] = cases
    return folder


def untrue(mark):
    """A mark that says "published" of what is so no longer; without it the job runs again.

    (Snakemake does not make a `temp` output that only a target rule asks for.)
    """
    Path(mark).unlink(missing_ok=True)
    return [mark]


def published(paper, cases):
    """Mark of a publication that is still to be made; nothing if reports/ holds this report."""
    folder, public = Path(report(paper, cases)), Path("reports", RUN, paper)
    if same(folder, public, PUBLIC):
        pictures = {p.name for p in (folder / "figures").glob("*")}
        if pictures == {p.name for p in (public / "figures").glob("*")}:
            if same(folder / "figures", public / "figures", pictures):
                return []
    return untrue(f"{BUILD}/{paper}/publish.{folder.suffix[1:]}/done")


def same(folder, other, names):
    """Whether two folders hold files of these names with the same bytes."""
    return len(filecmp.cmpfiles(folder, other, names, shallow=False)[0]) == len(names)


def reported(paper, cases):
    return [made(report(paper, cases), "metrics.json"), *published(paper, cases)]


def index(cases):
    folders = [report(paper, cases[paper]) for paper in PAPERS]
    params = {"run": RUN, "papers": PAPERS}
    folder = address(
        "pr12.shared.index", "index/page", params | {"templates": TEXTS}, *folders
    )
    REPORTED[folder] = cases
    return folder


def indexed(cases, missing):
    """The page, and the mark of its publication if reports/ holds another or (`missing`) none.

    The published page is in neither git nor DVC: that a clone lacks it is no reason to run.
    """
    page = Path(index(cases), "index.html")
    public = Path("reports", RUN, "index.html")
    if page.exists():
        if same(page.parent, public.parent, ["index.html"]) or not (
            public.exists() or missing
        ):
            return [ancient(str(page))]
    return [ancient(str(page)), *untrue(f"{page.parent}/done")]


def of(kind, paper, digest):
    """Cases that the figures or report of this digest show."""
    return REPORTED[f"{BUILD}/{paper}/{kind}.{digest}"]


ALL_CASES = {paper: tuple(RESULTS[paper]) for paper in PAPERS}
PRESENT = {paper: tuple(present(paper)) for paper in PAPERS}
TARGETS = {paper: reported(paper, ALL_CASES[paper]) for paper in PAPERS}
REBUILT = [
    file
    for paper in PAPERS
    if PRESENT[paper]
    for file in reported(paper, PRESENT[paper])
]
