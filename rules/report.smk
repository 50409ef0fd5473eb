# Evidence of every case, and pages of what evidence there is: docs/architecture.md.
# Who compares evidence with today's graph reads how it makes each case; nothing else is written
# while rules are read.
with one_sentence():
    for paper in PAPERS:
        path, content = TARGETS.chains(paper)
        if workflow.is_main_process and not DRY:
            files.write_json(path, content)


rule evidence:
    input:
        unpack(evidence_files),
    output:
        mark=f"{BUILD}/{{place}}.{{digest}}/evidence.json",
    log:
        f"{BUILD}/{{place}}.{{digest}}/evidence.log",
    localrule: True
    resources:
        mem_mb=500,
        runtime=5,
    params:
        command=lambda w: TARGETS.evidence_command(f"{BUILD}/{w.place}.{w.digest}"),
    shell:
        "{params.command} > {log} 2>&1"


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
            evidence_made(paper),  # and what DVC locks besides, which only finished steps have read
            [ancient(file) for file in TARGETS.files(paper)],

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
            shown=report(
                directory(f"{BUILD}/report/{paper}/{{scope}}.shown"),
                patterns=["{name}.html", "{name}.svg"],
                caption="../docs/shown.rst",
                category=ABOUT[paper]["title"],
                subcategory=lambda w: "Claims" if w.name == "claims" else "Figures",
                labels={"shows": "{name}"},
            ),
        log:
            f"{BUILD}/report/{paper}/{{scope}}.log",
        localrule: True
        resources:
            mem_mb=1000,
            runtime=5,
        params:
            public=TARGETS.public(paper),
            commands=TARGETS.page_commands(paper),
            out=lambda w, output: str(Path(output.shown).parent),
            captions=lambda w, paper=paper: TARGETS.shown(paper),
        shell:
            "mkdir -p {params.public}/evidence {params.public}/figures"
            " && {params.commands[0]} > {log} 2>&1 && {params.commands[1]} >> {log} 2>&1"
            " && {params.commands[2]} >> {log} 2>&1 && mkdir -p {output.shown}"
            " && cp {params.out}/claims.html $(find {params.out}/figures -name '*.svg') {output.shown}"


rule index:
    input:
        lambda w: [file for paper in PAPERS for file in pages(paper, w.scope)],
    output:
        touch(f"{BUILD}/report/{{scope}}.done"),
    log:
        f"{BUILD}/report/{{scope}}.log",
    localrule: True
    params:
        timings=f"{BUILD}/timings",
        command=TARGETS.index_command,
    shell:
        "mkdir -p {params.timings} && {params.command} > {log} 2>&1"


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
        command=TARGETS.prune_command,
    shell:
        "{params.command} > {log} 2>&1"
