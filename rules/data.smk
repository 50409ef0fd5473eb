# Raw files, checked, and the arrays that papers read: one file per split.
include: "addresses/data.smk"


rule data:
    input:
        [
            made(arrays(P[paper]["dataset"]), "train.safetensors")
            for paper in PAPERS
            if "dataset" in P[paper]
        ],


rule data_fetch:
    output:
        verified=f"{BUILD}/data/{{case}}/fetch.{{digest}}/verified.json",
    log:
        f"{BUILD}/data/{{case}}/fetch.{{digest}}/fetch.log",
    benchmark:
        f"{BUILD}/data/{{case}}/fetch.{{digest}}/benchmark.txt"
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=60,
    params:
        json=lambda w: as_json({"name": w.case}),
        folder=lambda w: f"data/raw/{w.case}",
    shell:
        "python -m pr12.shared.fetch --params {params.json:q} sources=data/sources.csv"
        " folder={params.folder} verified={output.verified} > {log} 2>&1"


rule data_arrays:
    input:
        verified=lambda w: raw(P["data"][w.case]["dataset"]),
    output:
        train=f"{BUILD}/data/{{case}}/data.{{digest}}/train.safetensors",
        validation=f"{BUILD}/data/{{case}}/data.{{digest}}/validation.safetensors",
        test=f"{BUILD}/data/{{case}}/data.{{digest}}/test.safetensors",
    log:
        f"{BUILD}/data/{{case}}/data.{{digest}}/data.log",
    benchmark:
        f"{BUILD}/data/{{case}}/data.{{digest}}/benchmark.txt"
    localrule: True
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        json=lambda w: as_json(P["data"][w.case]),
        raw=lambda w, input: (
            f"verified={input.verified} folder=data/raw/{P['data'][w.case]['dataset']}"
            if input.verified
            else ""
        ),
    shell:
        "python -m pr12.shared.data --params {params.json:q} {params.raw} train={output.train}"
        " validation={output.validation} test={output.test} > {log} 2>&1"
