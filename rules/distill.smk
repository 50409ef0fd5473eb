# PR-009: teachers, soft labels, students, model compression, and what they cost.
include: "addresses/distill.smk"


rule distill_train:
    input:
        unpack(distill_train_files),
    output:
        model=f"{BUILD}/distill/{{case}}/train.{{digest}}/model.safetensors",
        history=f"{BUILD}/distill/{{case}}/train.{{digest}}/history.json",
    log:
        f"{BUILD}/distill/{{case}}/train.{{digest}}/train.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/train.{{digest}}/benchmark.txt"
    # Half of all else waits for the teachers.
    priority: lambda w: 100 if w.case == "teacher" else 0
    group:
        DISTILL_NETS("distill_train")
    threads: 1
    resources:
        **requests("distill_train", mem_mb=2000, runtime=120),
        gpu=GPU,
    params:
        json=lambda w: as_json(distill_params("train", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.distill.train --params {params.json:q} {params.inputs}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule distill_soft_labels:
    input:
        model=lambda w: made(distill_train("teacher"), "model.safetensors"),
        train=distill_split("train"),
    output:
        soft_labels=f"{BUILD}/distill/teacher/soft_labels.{{digest}}/soft_labels.safetensors",
    log:
        f"{BUILD}/distill/teacher/soft_labels.{{digest}}/soft_labels.log",
    benchmark:
        f"{BUILD}/distill/teacher/soft_labels.{{digest}}/benchmark.txt"
    priority: 100
    group:
        one_job("distill_teacher_looks")
    threads: 1
    resources:
        **requests("distill_soft_labels", mem_mb=2000, runtime=10),
    shell:
        "python -m pr12.distill.soft_labels model={input.model} train={input.train}"
        " soft_labels={output.soft_labels} > {log} 2>&1"


rule distill_ensemble:
    input:
        model=made(distill_train("teacher"), "model.safetensors"),
        validation=distill_split("validation"),
        test=distill_split("test"),
    output:
        metrics=f"{BUILD}/distill/teacher/ensemble.{{digest}}/metrics.json",
    log:
        f"{BUILD}/distill/teacher/ensemble.{{digest}}/ensemble.log",
    benchmark:
        f"{BUILD}/distill/teacher/ensemble.{{digest}}/benchmark.txt"
    group:
        one_job("distill_teacher_looks")
    threads: 1
    resources:
        **requests("distill_ensemble", mem_mb=2000, runtime=10),
    shell:
        "python -m pr12.distill.ensemble model={input.model} validation={input.validation}"
        " test={input.test} metrics={output.metrics} > {log} 2>&1"


rule distill_evaluate:
    input:
        model=lambda w: made(distill_train(w.case), "model.safetensors"),
        validation=distill_split("validation"),
        test=distill_split("test"),
    output:
        metrics=f"{BUILD}/distill/{{case}}/evaluate.{{digest}}/metrics.json",
    log:
        f"{BUILD}/distill/{{case}}/evaluate.{{digest}}/evaluate.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/evaluate.{{digest}}/benchmark.txt"
    group:
        DISTILL_NETS("distill_evaluate")
    threads: 1
    resources:
        **requests("distill_evaluate", mem_mb=2000, runtime=10),
    params:
        json=lambda w: as_json(distill_params("evaluate", w.case)),
    shell:
        "python -m pr12.distill.evaluate --params {params.json:q} model={input.model}"
        " validation={input.validation} test={input.test} metrics={output.metrics} > {log} 2>&1"


rule distill_temperature:
    input:
        unpack(lambda w: distill_looked_at(w.case)[0]),
    output:
        metrics=f"{BUILD}/distill/{{case}}/temperature.{{digest}}/metrics.json",
        picture=f"{BUILD}/distill/{{case}}/temperature.{{digest}}/picture.json",
    log:
        f"{BUILD}/distill/{{case}}/temperature.{{digest}}/temperature.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/temperature.{{digest}}/benchmark.txt"
    group:
        DISTILL_LOOKS("distill_temperature")
    threads: 1
    resources:
        **requests("distill_temperature", mem_mb=2000, runtime=10),
    params:
        json=lambda w: as_json(distill_params("temperature", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.distill.temperature --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule distill_gradient_limit:
    input:
        unpack(lambda w: distill_looked_at(w.case)[0]),
    output:
        metrics=f"{BUILD}/distill/{{case}}/gradient_limit.{{digest}}/metrics.json",
    log:
        f"{BUILD}/distill/{{case}}/gradient_limit.{{digest}}/gradient_limit.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/gradient_limit.{{digest}}/benchmark.txt"
    group:
        DISTILL_LOOKS("distill_gradient_limit")
    threads: 1
    resources:
        **requests("distill_gradient_limit", mem_mb=2000, runtime=10),
    params:
        json=lambda w: as_json(distill_params("gradient_limit", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.distill.gradient_limit --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} > {log} 2>&1"


rule distill_cost:
    input:
        unpack(lambda w: distill_looked_at(w.case)[0]),
    output:
        metrics=f"{BUILD}/distill/{{case}}/cost.{{digest}}/metrics.json",
    log:
        f"{BUILD}/distill/{{case}}/cost.{{digest}}/cost.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/cost.{{digest}}/benchmark.txt"
    group:
        one_job("distill_cost")
    # All cores: whatever else ran would be in the measured times.
    threads: workflow.cores or 1
    resources:
        **requests("distill_cost", mem_mb=2000, runtime=20),
    params:
        json=lambda w: as_json(distill_params("cost", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.distill.cost --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} > {log} 2>&1"


rule distill_library:
    input:
        **distill_raw_tables(),
    output:
        transfer=f"{BUILD}/distill/library/library.{{digest}}/transfer.safetensors",
        test=f"{BUILD}/distill/library/library.{{digest}}/test.safetensors",
        metrics=f"{BUILD}/distill/library/library.{{digest}}/metrics.json",
    log:
        f"{BUILD}/distill/library/library.{{digest}}/library.log",
    benchmark:
        f"{BUILD}/distill/library/library.{{digest}}/benchmark.txt"
    priority: 100
    group:
        one_job("distill_library")
    threads: 1
    resources:
        **requests(
            "distill_library",
            mem_mb=8000 if RUN == "full" else 2000,
            runtime=600 if RUN == "full" else 20,
        ),
    params:
        json=as_json(distill_params("library", "library")),
        inputs=lambda w, input: paths(
            {name: f"data/raw/{name}" for name in input.keys()}
        ),
    shell:
        "python -m pr12.distill.library --params {params.json:q} {params.inputs}"
        " transfer={output.transfer} test={output.test} metrics={output.metrics} > {log} 2>&1"


rule distill_compress:
    input:
        transfer=made(distill_library(), "transfer.safetensors"),
    output:
        model=f"{BUILD}/distill/{{case}}/compress.{{digest}}/model.safetensors",
        history=f"{BUILD}/distill/{{case}}/compress.{{digest}}/history.json",
    log:
        f"{BUILD}/distill/{{case}}/compress.{{digest}}/compress.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/compress.{{digest}}/benchmark.txt"
    # The longest chain after the teachers'.
    priority: 50
    group:
        DISTILL_COMPRESSION("distill_compress")
    threads: 1
    resources:
        **requests(
            "distill_compress",
            mem_mb=8000 if RUN == "full" else 2000,
            runtime=600 if RUN == "full" else 20,
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(distill_params("compress", w.case)),
    shell:
        "python -m pr12.distill.compress --params {params.json:q} transfer={input.transfer}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule distill_evaluate_compression:
    input:
        model=lambda w: made(distill_compress(w.case), "model.safetensors"),
        test=made(distill_library(), "test.safetensors"),
    output:
        metrics=f"{BUILD}/distill/{{case}}/evaluate_compression.{{digest}}/metrics.json",
    log:
        f"{BUILD}/distill/{{case}}/evaluate_compression.{{digest}}/evaluate_compression.log",
    benchmark:
        f"{BUILD}/distill/{{case}}/evaluate_compression.{{digest}}/benchmark.txt"
    group:
        DISTILL_COMPRESSION("distill_evaluate_compression")
    threads: 1
    resources:
        **requests("distill_evaluate_compression", mem_mb=4000, runtime=10),
    shell:
        "python -m pr12.distill.evaluate_compression model={input.model} test={input.test}"
        " metrics={output.metrics} > {log} 2>&1"
