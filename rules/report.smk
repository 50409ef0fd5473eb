# Every paper's figures and report, published to reports/, and the page over all papers.
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
    for claim in P[paper].get("claims") or []:
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
    section = P[paper]
    shown = {key: section.get(key) or [] for key in ("claims", "tables", "deviations")}
    shown |= {key: section[key] for key in ("title", "citation")}
    return shown | {"run": RUN, "paper": paper, "cases": list(RESULTS[paper])}


@cache
def report(paper, cases):
    upstream = [figures(paper, cases), *(RESULTS[paper][case] for case in cases)]
    params = report_params(paper) | {"templates": TEXTS, "lock": LOCKED}
    folder = address("pr12.shared.report", f"{paper}/report", params, *upstream)
    REPORTED[folder] = cases
    return folder


def published(paper, cases):
    """Mark of a publication that is still to be made; nothing if reports/ holds this report."""
    made, public = Path(report(paper, cases)), Path("reports", RUN, paper)
    same = filecmp.cmpfiles(made, public, PUBLIC, shallow=False)[0]
    pictures = [made / "figures", public / "figures"]
    names = [
        {p.name for p in folder.glob("*")} if folder.exists() else None
        for folder in pictures
    ]
    if len(same) == len(PUBLIC) and names[0] == names[1]:
        if len(filecmp.cmpfiles(*pictures, names[0], shallow=False)[0]) == len(
            names[0]
        ):
            return []
    return [f"{BUILD}/{paper}/publish.{made.suffix[1:]}/done"]


def reported(paper, cases):
    return [ancient(report(paper, cases) + "/metrics.json"), *published(paper, cases)]


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
    made = index(cases) + "/index.html"
    public = Path("reports", RUN, "index.html")
    if Path(made).exists():
        same = public.exists() and filecmp.cmp(made, public, shallow=False)
        if same or not (public.exists() or missing):
            return [ancient(made)]
    return [ancient(made), f"{Path(made).parent}/done"]


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


for paper in PAPERS:

    rule:
        name:
            paper
        input:
            TARGETS[paper],

    rule:
        name:
            f"{paper}_figures"
        input:
            metrics=lambda w, paper=paper: [
                ancient(f"{RESULTS[paper][case]}/metrics.json")
                for case in of("figures", paper, w.digest)
            ],
            pictures=lambda w, paper=paper: [
                ancient(file)
                for case, file in PICTURES[paper].items()
                if case in of("figures", paper, w.digest)
            ],
        output:
            f"{BUILD}/{paper}/figures.{{digest}}/figures.json",
        log:
            f"{BUILD}/{paper}/figures.{{digest}}/figures.log",
        benchmark:
            f"{BUILD}/{paper}/figures.{{digest}}/benchmark.txt"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=5,
        params:
            step=f"pr12.{paper}.figures",
            json=as_json(figures_params(paper)),
            inputs=lambda w, input, paper=paper: " ".join(
                f"{case}={file}"
                for case, file in zip(of("figures", paper, w.digest), input.metrics)
            ),
            pictures=lambda w, input: " ".join(
                f"{Path(f).stem}={f}" for f in input.pictures
            ),
            out=lambda w, output: Path(output[0]).parent,
        shell:
            "python -m {params.step} --params {params.json:q} {params.inputs} {params.pictures}"
            " out={params.out} > {log} 2>&1"

    rule:
        name:
            f"{paper}_report"
        input:
            figures=lambda w, paper=paper: ancient(
                figures(paper, of("report", paper, w.digest)) + "/figures.json"
            ),
            metrics=lambda w, paper=paper: [
                ancient(f"{RESULTS[paper][case]}/metrics.json")
                for case in of("report", paper, w.digest)
            ],
        output:
            [
                f"{BUILD}/{paper}/report.{{digest}}/{name}"
                for name in (*PUBLIC, "report.json", "timings.json")
            ],
        log:
            f"{BUILD}/{paper}/report.{{digest}}/report.log",
        benchmark:
            f"{BUILD}/{paper}/report.{{digest}}/benchmark.txt"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=5,
        params:
            json=as_json(report_params(paper)),
            inputs=lambda w, input, paper=paper: " ".join(
                f"{case}={file}"
                for case, file in zip(of("report", paper, w.digest), input.metrics)
            ),
            figures=lambda w, input: Path(input.figures).parent,
            out=lambda w, output: Path(output[0]).parent,
        shell:
            "python -m pr12.shared.report --params {params.json:q} {params.inputs}"
            " figures={params.figures} lock=requirements.lock out={params.out} > {log} 2>&1"

    # A report that was made before is published again when params go back to it.
    rule:
        name:
            f"{paper}_publish"
        input:
            [ancient(f"{BUILD}/{paper}/report.{{digest}}/{name}") for name in PUBLIC],
        output:
            temp(touch(f"{BUILD}/{paper}/publish.{{digest}}/done")),
        log:
            f"{BUILD}/{paper}/publish.{{digest}}.log",
        params:
            made=lambda w, input: Path(input[0]).parent,
            public=f"reports/{RUN}/{paper}",
        shell:
            "rm -rf {params.public} && mkdir -p {params.public}"
            " && cp -r {input} {params.made}/figures {params.public}/ 2> {log}"
            " && python -m pr12.shared.readme reports=reports readme=README.md 2>> {log}"


rule index:
    input:
        lambda w: [
            ancient(f"{report(paper, cases)}/report.json")
            for paper, cases in REPORTED[f"{BUILD}/index/page.{w.digest}"].items()
        ],
    output:
        BUILD + "/index/page.{digest}/index.html",
    log:
        BUILD + "/index/page.{digest}/index.log",
    params:
        json=as_json({"run": RUN, "papers": PAPERS}),
        inputs=lambda w, input: paths(
            {paper: Path(file).parent for paper, file in zip(PAPERS, input)}
        ),
    shell:
        "python -m pr12.shared.index --params {params.json:q} {params.inputs} out={output}"
        " > {log} 2>&1"


rule index_publish:
    input:
        ancient(BUILD + "/index/page.{digest}/index.html"),
    output:
        temp(touch(BUILD + "/index/page.{digest}/done")),
    log:
        BUILD + "/index/page.{digest}/publish.log",
    params:
        public=f"reports/{RUN}/index.html",
    shell:
        "cp {input} {params.public} 2> {log}"


# Reports of what there is: cases without a result are `not run`. Nothing is trained.
rule report:
    input:
        REBUILT,
        indexed(PRESENT, missing=True) if all(PRESENT.values()) else [],


rule prune:
    log:
        BUILD + "/prune.log",
    params:
        json=as_json({"keep": sorted(CURRENT)}),
        folder=BUILD,
    shell:
        "python -m pr12.shared.prune --params {params.json:q} folder={params.folder} > {log} 2>&1"
