# Evidence of every case, and pages of what evidence there is: docs/architecture.md.
# Who compares evidence with today's graph reads how it makes each case; nothing else is written
# while rules are read.
if workflow.is_main_process and not DRY:
    with one_sentence():
        for paper in PAPERS:
            files.write_json(*TARGETS.chains(paper))


rule evidence:
    input:
        unpack(evidence_files),
    output:
        mark=f"{BUILD}/{{place}}.{{digest}}/evidence.json",
    log:
        f"{BUILD}/{{place}}.{{digest}}/evidence.log",
    wildcard_constraints:
        digest="[0-9a-f]{10}",
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        json=lambda w: as_json(TARGETS.evidence_params(f"{BUILD}/{w.place}.{w.digest}")),
        inputs=lambda w, input: paths(input),
        others=lambda w: paths(TARGETS.evidence_paths(f"{BUILD}/{w.place}.{w.digest}")),
    shell:
        "python -m pr12.report.evidence --params {params.json:q} {params.inputs} {params.others}"
        " mark={output.mark} > {log} 2>&1"


for paper in PAPERS:

    rule:
        name:
            paper
        input:
            [*evidence_made(paper), *pages(paper, "all")],

    # What DVC's two stages of a paper ask for.
    rule:
        name:
            f"{paper}_results"
        input:
            evidence_made(paper),

    rule:
        name:
            f"{paper}_report"
        input:
            pages(paper, "there"),

    rule:
        name:
            f"{paper}_pages"
        input:
            lambda w, paper=paper: evidence_made(paper) if w.scope == "all" else [],
        output:
            touch(f"{BUILD}/report/{paper}/{{scope}}.done"),
        log:
            f"{BUILD}/report/{paper}/{{scope}}.log",
        wildcard_constraints:
            scope="all|there",
        localrule: True
        threads: 1
        resources:
            mem_mb=1000,
            runtime=5,
        params:
            step=f"pr12.{paper}.figures",
            drawn=as_json(TARGETS.figures_params(paper)),
            json=as_json(TARGETS.report_params(paper)),
            public=TARGETS.public(paper),
            out=lambda w, output: os.path.dirname(output[0]),
            read=f"evidence={TARGETS.public(paper)}/evidence chains={TARGETS.chains(paper)[0]} texts=papers/{paper}",
        shell:
            "mkdir -p {params.public}/evidence {params.public}/figures"
            " && python -m {params.step} --params {params.drawn:q} {params.read}"
            " committed={params.public}/figures out={params.out}/figures > {log} 2>&1"
            " && python -m pr12.shared.report --params {params.json:q} {params.read}"
            " figures={params.out}/figures lock=requirements.lock out={params.out}"
            " public={params.public} >> {log} 2>&1"
            " && python -m pr12.shared.readme reports=reports readme=README.md >> {log} 2>&1"


rule index:
    input:
        lambda w: [file for paper in PAPERS for file in pages(paper, w.scope)],
    output:
        touch(f"{BUILD}/report/{{scope}}.done"),
    log:
        f"{BUILD}/report/{{scope}}.log",
    wildcard_constraints:
        scope="all|there",
    localrule: True
    params:
        json=as_json(TARGETS.index_params),
        inputs=paths({paper: f"{BUILD}/report/{paper}" for paper in PAPERS}),
        timings=f"{BUILD}/timings",
        page=f"reports/{RUN}/index.html",
        stamp=f"{BUILD}/report/stamp.json",
    shell:
        "mkdir -p {params.timings} && python -m pr12.shared.index --params {params.json:q}"
        " {params.inputs} timings={params.timings} texts=papers out={params.page} stamp={params.stamp}"
        " > {log} 2>&1"


# Pages of the evidence that there is. Nothing is trained.
rule report:
    input:
        [file for paper in PAPERS for file in pages(paper, "there")],
        index("there", missing=True),


rule prune:
    log:
        f"{BUILD}/prune.log",
    localrule: True
    params:
        json=as_json({"keep": TARGETS.current}),
        folder=BUILD,
    shell:
        "python -m pr12.shared.prune --params {params.json:q} folder={params.folder} > {log} 2>&1"
