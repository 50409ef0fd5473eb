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
    group:
        STN_NETS("stn_train")
    threads: 1
    resources:
        **requests("stn_train", mem_mb=2000, runtime=600 if RUN == "full" else 20),
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
    group:
        STN_NETS("stn_evaluate")
    threads: 1
    resources:
        **requests("stn_evaluate", mem_mb=2000, runtime=60 if RUN == "full" else 10),
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
    group:
        one_job("stn_cost")
    threads: 1
    resources:
        **requests("stn_cost", mem_mb=3000, runtime=10),
    params:
        json=lambda w: as_json(stn_params("cost", w.case)),
    shell:
        # On the CPU in every run: its milliseconds are compared with each other
        "CUDA_VISIBLE_DEVICES= python -m pr12.stn.cost --params {params.json:q} metrics={output.metrics}"
        " > {log} 2>&1"


rule stn_sequences:
    input:
        unpack(lambda w: stn_data_inputs("sequences", w.digest)),
    output:
        train=f"{BUILD}/stn/{{case}}/sequences.{{digest}}/train.safetensors",
        validation=f"{BUILD}/stn/{{case}}/sequences.{{digest}}/validation.safetensors",
        test=f"{BUILD}/stn/{{case}}/sequences.{{digest}}/test.safetensors",
    log:
        f"{BUILD}/stn/{{case}}/sequences.{{digest}}/sequences.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/sequences.{{digest}}/benchmark.txt"
    # Three trainings wait for it.
    priority: 50
    localrule: quick("stn_sequences")
    threads: 1
    resources:
        **requests(
            "stn_sequences",
            mem_mb=16000 if RUN == "full" else 2000,
            runtime=60 if RUN == "full" else 10,
        ),
    params:
        json=lambda w: as_json(
            stn_params("sequences", STN_READERS["sequences", w.digest])
        ),
        inputs=lambda w, input: paths(dict(input.items())),
        folder=lambda w, input: (
            f"folder=data/raw/{stn_source(STN_READERS['sequences', w.digest])}"
            if "verified" in input.keys()
            else ""
        ),
    shell:
        "python -m pr12.stn.sequences --params {params.json:q} {params.inputs} {params.folder}"
        " train={output.train} validation={output.validation} test={output.test} > {log} 2>&1"


rule stn_train_sequences:
    input:
        train=lambda w: made(stn_data("sequences", w.case), "train.safetensors"),
    output:
        model=f"{BUILD}/stn/{{case}}/train_sequences.{{digest}}/model.safetensors",
        history=f"{BUILD}/stn/{{case}}/train_sequences.{{digest}}/history.json",
    log:
        f"{BUILD}/stn/{{case}}/train_sequences.{{digest}}/train_sequences.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/train_sequences.{{digest}}/benchmark.txt"
    group:
        STN_NETS("stn_train_sequences")
    threads: 1
    resources:
        **requests(
            "stn_train_sequences",
            mem_mb=16000 if RUN == "full" else 2000,
            runtime=600 if RUN == "full" else 20,
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("train_sequences", w.case)),
    shell:
        "python -m pr12.stn.train_sequences --params {params.json:q} train={input.train}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule stn_evaluate_sequences:
    input:
        model=lambda w: made(stn_trained(w.case), "model.safetensors"),
        validation=lambda w: made(
            stn_data("sequences", w.case), "validation.safetensors"
        ),
        test=lambda w: made(stn_data("sequences", w.case), "test.safetensors"),
    output:
        metrics=f"{BUILD}/stn/{{case}}/evaluate_sequences.{{digest}}/metrics.json",
        picture=f"{BUILD}/stn/{{case}}/evaluate_sequences.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/stn/{{case}}/evaluate_sequences.{{digest}}/evaluate_sequences.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/evaluate_sequences.{{digest}}/benchmark.txt"
    group:
        STN_NETS("stn_evaluate_sequences")
    threads: 1
    resources:
        **requests(
            "stn_evaluate_sequences",
            mem_mb=16000 if RUN == "full" else 2000,
            runtime=60 if RUN == "full" else 10,
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("evaluate_sequences", w.case)),
    shell:
        "python -m pr12.stn.evaluate_sequences --params {params.json:q} model={input.model}"
        " validation={input.validation} test={input.test} metrics={output.metrics}"
        " picture={output.picture} > {log} 2>&1"


rule stn_parts:
    input:
        unpack(lambda w: stn_data_inputs("parts", w.digest)),
    output:
        train=f"{BUILD}/stn/{{case}}/parts.{{digest}}/train.safetensors",
        validation=f"{BUILD}/stn/{{case}}/parts.{{digest}}/validation.safetensors",
        test=f"{BUILD}/stn/{{case}}/parts.{{digest}}/test.safetensors",
    log:
        f"{BUILD}/stn/{{case}}/parts.{{digest}}/parts.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/parts.{{digest}}/benchmark.txt"
    # Three trainings wait for it.
    priority: 50
    localrule: quick("stn_parts")
    threads: 1
    resources:
        **requests(
            "stn_parts",
            mem_mb=16000 if RUN == "full" else 2000,
            runtime=60 if RUN == "full" else 10,
        ),
    params:
        json=lambda w: as_json(stn_params("parts", STN_READERS["parts", w.digest])),
        inputs=lambda w, input: paths(dict(input.items())),
        folder=lambda w, input: (
            f"folder=data/raw/{stn_source(STN_READERS['parts', w.digest])}"
            if "verified" in input.keys()
            else ""
        ),
    shell:
        "python -m pr12.stn.parts --params {params.json:q} {params.inputs} {params.folder}"
        " train={output.train} validation={output.validation} test={output.test} > {log} 2>&1"


rule stn_train_parts:
    input:
        unpack(
            lambda w: {"verified": raw("googlenet")} if stn_weights(w.case) else {}
        ),
        train=lambda w: made(stn_data("parts", w.case), "train.safetensors"),
    output:
        model=f"{BUILD}/stn/{{case}}/train_parts.{{digest}}/model.safetensors",
        history=f"{BUILD}/stn/{{case}}/train_parts.{{digest}}/history.json",
    log:
        f"{BUILD}/stn/{{case}}/train_parts.{{digest}}/train_parts.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/train_parts.{{digest}}/benchmark.txt"
    group:
        STN_NETS("stn_train_parts")
    threads: 1
    resources:
        **requests(
            "stn_train_parts",
            mem_mb=16000 if RUN == "full" else 2000,
            runtime=600 if RUN == "full" else 20,
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("train_parts", w.case)),
        inputs=lambda w, input: paths(dict(input.items())),
        weights=lambda w: (
            "weights=data/raw/googlenet/googlenet-1378be20.pth"
            if stn_weights(w.case)
            else ""
        ),
    shell:
        "python -m pr12.stn.train_parts --params {params.json:q} {params.inputs} {params.weights}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule stn_evaluate_parts:
    input:
        model=lambda w: made(stn_trained(w.case), "model.safetensors"),
        validation=lambda w: made(stn_data("parts", w.case), "validation.safetensors"),
        test=lambda w: made(stn_data("parts", w.case), "test.safetensors"),
    output:
        metrics=f"{BUILD}/stn/{{case}}/evaluate_parts.{{digest}}/metrics.json",
        picture=f"{BUILD}/stn/{{case}}/evaluate_parts.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/stn/{{case}}/evaluate_parts.{{digest}}/evaluate_parts.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/evaluate_parts.{{digest}}/benchmark.txt"
    group:
        STN_NETS("stn_evaluate_parts")
    threads: 1
    resources:
        **requests(
            "stn_evaluate_parts",
            mem_mb=16000 if RUN == "full" else 2000,
            runtime=60 if RUN == "full" else 10,
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("evaluate_parts", w.case)),
    shell:
        "python -m pr12.stn.evaluate_parts --params {params.json:q} model={input.model}"
        " validation={input.validation} test={input.test} metrics={output.metrics}"
        " picture={output.picture} > {log} 2>&1"


rule stn_colocalise:
    input:
        train=made(arrays(S["dataset"]), "train.safetensors"),
        test=made(arrays(S["dataset"]), "test.safetensors"),
    output:
        metrics=f"{BUILD}/stn/{{case}}/colocalise.{{digest}}/metrics.json",
        picture=f"{BUILD}/stn/{{case}}/colocalise.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/stn/{{case}}/colocalise.{{digest}}/colocalise.log",
    benchmark:
        f"{BUILD}/stn/{{case}}/colocalise.{{digest}}/benchmark.txt"
    group:
        STN_NETS("stn_colocalise")
    threads: 1
    resources:
        **requests("stn_colocalise", mem_mb=2000, runtime=120 if RUN == "full" else 10),
        gpu=GPU,
    params:
        json=lambda w: as_json(stn_params("colocalise", w.case)),
    shell:
        "python -m pr12.stn.colocalise --params {params.json:q} train={input.train} test={input.test}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"
