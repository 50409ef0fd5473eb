# PR-007: deep photo style transfer, and inversion, texture and neural style before it.
include: "addresses/photostyle.smk"


rule photostyle_photographs:
    input:
        verified=lambda w: raw(w.case),
    output:
        photographs=f"{BUILD}/photostyle/{{case}}/photographs.{{digest}}/photographs.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/photographs.{{digest}}/photographs.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/photographs.{{digest}}/benchmark.txt"
    priority: 100
    localrule: quick("photostyle_photographs")
    threads: 1
    resources:
        **requests("photostyle_photographs", mem_mb=1500, runtime=10),
    params:
        json=lambda w: as_json(photostyle_params("photographs") | {"source": w.case}),
        raw=lambda w, input: (
            f"verified={input.verified} folder=data/raw/{w.case}"
            if input.verified
            else ""
        ),
    shell:
        "python -m pr12.photostyle.photographs --params {params.json:q} {params.raw}"
        " photographs={output.photographs} > {log} 2>&1"


rule photostyle_weights:
    input:
        verified=raw("vgg19"),
    output:
        weights=f"{BUILD}/photostyle/{{case}}/weights.{{digest}}/weights.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/weights.{{digest}}/weights.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/weights.{{digest}}/benchmark.txt"
    localrule: quick("photostyle_weights")
    threads: 1
    resources:
        **requests("photostyle_weights", mem_mb=2500, runtime=10),
    params:
        json=as_json(photostyle_params("weights")),
    shell:
        "python -m pr12.photostyle.weights --params {params.json:q}"
        " verified={input.verified} raw=data/raw/vgg19/vgg19-dcbb9e9d.pth"
        " weights={output.weights} > {log} 2>&1"


# Two such jobs beside each other take many times as long as one after the other (memory).
rule photostyle_invert:
    input:
        unpack(lambda w: photostyle_inputs(w.case)),
    output:
        metrics=f"{BUILD}/photostyle/{{case}}/invert.{{digest}}/metrics.json",
        picture=f"{BUILD}/photostyle/{{case}}/invert.{{digest}}/{{case}}_picture.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/invert.{{digest}}/invert.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/invert.{{digest}}/benchmark.txt"
    priority: 20
    group:
        PHOTOSTYLE_IMAGES("photostyle_invert")
    threads: 1 if RUN == "smoke" else 2
    resources:
        **requests(
            "photostyle_invert", mem_mb=1500, runtime=300 if RUN == "full" else 10
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(photostyle_params("invert", w.case)),
        inputs=lambda w: photostyle_files(w.case),
    shell:
        "python -m pr12.photostyle.invert --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule photostyle_synthesise:
    input:
        unpack(lambda w: photostyle_inputs(w.case)),
    output:
        metrics=f"{BUILD}/photostyle/{{case}}/synthesise.{{digest}}/metrics.json",
        picture=f"{BUILD}/photostyle/{{case}}/synthesise.{{digest}}/{{case}}_picture.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/synthesise.{{digest}}/synthesise.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/synthesise.{{digest}}/benchmark.txt"
    priority: 20
    group:
        PHOTOSTYLE_IMAGES("photostyle_synthesise")
    threads: 1 if RUN == "smoke" else 2
    resources:
        **requests(
            "photostyle_synthesise", mem_mb=1500, runtime=300 if RUN == "full" else 10
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(photostyle_params("synthesise", w.case)),
        inputs=lambda w: photostyle_files(w.case),
    shell:
        "python -m pr12.photostyle.synthesise --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule photostyle_stylise:
    input:
        unpack(lambda w: photostyle_inputs(w.case)),
    output:
        metrics=f"{BUILD}/photostyle/{{case}}/stylise.{{digest}}/metrics.json",
        picture=f"{BUILD}/photostyle/{{case}}/stylise.{{digest}}/{{case}}_picture.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/stylise.{{digest}}/stylise.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/stylise.{{digest}}/benchmark.txt"
    priority: 20
    group:
        PHOTOSTYLE_IMAGES("photostyle_stylise")
    threads: 1 if RUN == "smoke" else 2
    resources:
        **requests(
            "photostyle_stylise", mem_mb=1500, runtime=300 if RUN == "full" else 10
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(photostyle_params("stylise", w.case)),
        inputs=lambda w: photostyle_files(w.case),
    shell:
        "python -m pr12.photostyle.stylise --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule photostyle_photo:
    input:
        unpack(lambda w: photostyle_inputs(w.case)),
    output:
        results=f"{BUILD}/photostyle/{{case}}/photo.{{digest}}/results.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/photo.{{digest}}/photo.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/photo.{{digest}}/benchmark.txt"
    priority: 50
    group:
        PHOTOSTYLE_IMAGES("photostyle_photo")
    threads: 1 if RUN == "smoke" else 2
    resources:
        **requests(
            "photostyle_photo", mem_mb=4000, runtime=300 if RUN == "full" else 10
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(photostyle_params("photo", w.case)),
        inputs=lambda w: photostyle_files(w.case),
    shell:
        "python -m pr12.photostyle.photo --params {params.json:q} {params.inputs}"
        " results={output.results} > {log} 2>&1"


rule photostyle_quality:
    input:
        photographs=lambda w: photostyle_seen(w.case),
        results=lambda w: made(photostyle_made(w.case), "results.safetensors"),
    output:
        metrics=f"{BUILD}/photostyle/{{case}}/quality.{{digest}}/metrics.json",
        picture=f"{BUILD}/photostyle/{{case}}/quality.{{digest}}/{{case}}_picture.safetensors",
    log:
        f"{BUILD}/photostyle/{{case}}/quality.{{digest}}/quality.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/quality.{{digest}}/benchmark.txt"
    group:
        PHOTOSTYLE_IMAGES("photostyle_quality")
    threads: 1
    resources:
        **requests("photostyle_quality", mem_mb=3000, runtime=20),
    params:
        json=as_json(photostyle_params("quality")),
    shell:
        "python -m pr12.photostyle.quality --params {params.json:q} photographs={input.photographs}"
        " results={input.results} metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule photostyle_cross_term:
    input:
        unpack(lambda w: photostyle_inputs(w.case)),
    output:
        metrics=f"{BUILD}/photostyle/{{case}}/cross_term.{{digest}}/metrics.json",
    log:
        f"{BUILD}/photostyle/{{case}}/cross_term.{{digest}}/cross_term.log",
    benchmark:
        f"{BUILD}/photostyle/{{case}}/cross_term.{{digest}}/benchmark.txt"
    group:
        PHOTOSTYLE_IMAGES("photostyle_cross_term")
    threads: 1
    resources:
        **requests(
            "photostyle_cross_term", mem_mb=1500, runtime=30 if RUN == "full" else 10
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(photostyle_params("cross_term", w.case)),
        inputs=lambda w: photostyle_files(w.case),
    shell:
        "python -m pr12.photostyle.cross_term --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} > {log} 2>&1"
