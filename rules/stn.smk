# PR-011: spatial transformers against nets without, on distorted digits and further tasks.
include: "addresses/stn.smk"


rule stn_train:
    input:
        train=made(arrays(S["dataset"]), "train.safetensors"),
    output:
        model=f"{BUILD}/stn/{{case}}/train.{{digest}}/model.safetensors",
        history=f"{BUILD}/stn/{{case}}/train.{{digest}}/history.json",
    log:
        f"{BUILD}/stn/{{case}}/train.{{digest}}/train.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/train.{{digest}}/benchmark.txt"
    # The plain nets convolve the largest images: they take longest and start first.
    priority: lambda w: 100 if w.case in ("cnn", "deformable") else 0
    threads: 1
    resources:
        mem_mb=2000,
        runtime=600 if RUN == "full" else 20,
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("train", w.case)),
    shell:
        "python -m pr12.stn.train --params {params.json:q} train={input.train}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule stn_evaluate:
    input:
        model=lambda w: made(stn_trained(w.case), "model.safetensors"),
        history=lambda w: made(stn_trained(w.case), "history.json"),
        test=made(arrays(S["dataset"]), "test.safetensors"),
    output:
        metrics=f"{BUILD}/stn/{{case}}/evaluate.{{digest}}/metrics.json",
        picture=f"{BUILD}/stn/{{case}}/evaluate.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/stn/{{case}}/evaluate.{{digest}}/evaluate.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/evaluate.{{digest}}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60 if RUN == "full" else 10,
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("evaluate", w.case)),
    shell:
        "python -m pr12.stn.evaluate --params {params.json:q} model={input.model} history={input.history}"
        " test={input.test} metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule stn_cost:
    output:
        metrics=f"{BUILD}/stn/{{case}}/cost.{{digest}}/metrics.json",
    log:
        f"{BUILD}/stn/{{case}}/cost.{{digest}}/cost.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/cost.{{digest}}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=10,
    params:
        json=lambda w: as_json(stn_params("cost", w.case)),
    shell:
        "python -m pr12.stn.cost --params {params.json:q} metrics={output.metrics} > {log} 2>&1"
