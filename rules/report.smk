# Every paper's figures and report, published to reports/, and the page over all papers.
include: "addresses/report.smk"


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
        localrule: True
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
            figures=lambda w, paper=paper: made(
                figures(paper, of("report", paper, w.digest)), "figures.json"
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
        localrule: True
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
            touch(f"{BUILD}/{paper}/publish.{{digest}}/done"),
        log:
            f"{BUILD}/{paper}/publish.{{digest}}/publish.log",
        localrule: True
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
        f"{BUILD}/index/page.{{digest}}/index.html",
    log:
        f"{BUILD}/index/page.{{digest}}/index.log",
    localrule: True
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
        ancient(f"{BUILD}/index/page.{{digest}}/index.html"),
    output:
        touch(f"{BUILD}/index/page.{{digest}}/done"),
    log:
        f"{BUILD}/index/page.{{digest}}/publish.log",
    localrule: True
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
        f"{BUILD}/prune.log",
    localrule: True
    params:
        json=as_json({"keep": sorted(CURRENT)}),
        folder=BUILD,
    shell:
        "python -m pr12.shared.prune --params {params.json:q} folder={params.folder} > {log} 2>&1"
