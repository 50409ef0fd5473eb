# PR-010: variational autoencoders, their baselines, likelihoods, latent spaces.
include: "addresses/vae.smk"


rule vae_faces:
    input:
        verified=vae_faces_raw(),
    output:
        train=f"{BUILD}/vae/faces/faces.{{digest}}/train.safetensors",
        validation=f"{BUILD}/vae/faces/faces.{{digest}}/validation.safetensors",
        test=f"{BUILD}/vae/faces/faces.{{digest}}/test.safetensors",
    log:
        f"{BUILD}/vae/faces/faces.{{digest}}/faces.log",
    benchmark:
        f"{BUILD}/vae/faces/faces.{{digest}}/benchmark.txt"
    localrule: quick("vae_faces")
    threads: 1
    resources:
        **requests("vae_faces", mem_mb=1000, runtime=10),
    params:
        json=as_json(vae_params("faces")),
        raw=lambda w, input: (
            f"verified={input.verified} folder=data/raw/frey_face"
            if input.verified
            else ""
        ),
    shell:
        "python -m pr12.vae.faces --params {params.json:q} {params.raw}"
        " train={output.train} validation={output.validation} test={output.test} > {log} 2>&1"


rule vae_train:
    input:
        train=lambda w: vae_split(w.case, "train"),
    output:
        model=f"{BUILD}/vae/{{case}}/train.{{digest}}/model.safetensors",
        history=f"{BUILD}/vae/{{case}}/train.{{digest}}/history.json",
    log:
        f"{BUILD}/vae/{{case}}/train.{{digest}}/train.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/train.{{digest}}/benchmark.txt"
    # Other steps wait for these; the others of their kind do not.
    priority: lambda w: 100 if w.case in VAE_AWAITED else 0
    group:
        VAE_NETS("vae_train")
    threads: 1
    resources:
        **requests("vae_train", mem_mb=2000, runtime=600 if RUN == "full" else 20),
        gpu=GPU,
    params:
        json=lambda w: as_json(vae_params("train", w.case)),
    shell:
        "python -m pr12.vae.train --params {params.json:q} train={input.train}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule vae_mcem:
    input:
        train=lambda w: vae_split(w.case, "train"),
    output:
        model=f"{BUILD}/vae/{{case}}/mcem.{{digest}}/model.safetensors",
        history=f"{BUILD}/vae/{{case}}/mcem.{{digest}}/history.json",
    log:
        f"{BUILD}/vae/{{case}}/mcem.{{digest}}/mcem.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/mcem.{{digest}}/benchmark.txt"
    group:
        VAE_NETS("vae_mcem")
    threads: 1
    resources:
        **requests("vae_mcem", mem_mb=2000, runtime=600 if RUN == "full" else 20),
        gpu=GPU,
    params:
        json=lambda w: as_json(vae_params("mcem", w.case)),
    shell:
        "python -m pr12.vae.mcem --params {params.json:q} train={input.train}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule vae_evaluate:
    input:
        model=lambda w: made(vae_trained(w.case), "model.safetensors"),
        train=lambda w: vae_split(w.case, "train"),
        test=lambda w: vae_split(w.case, "test"),
    output:
        metrics=f"{BUILD}/vae/{{case}}/evaluate.{{digest}}/metrics.json",
    log:
        f"{BUILD}/vae/{{case}}/evaluate.{{digest}}/evaluate.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/evaluate.{{digest}}/benchmark.txt"
    group:
        VAE_NETS("vae_evaluate")
    threads: 1
    resources:
        **requests("vae_evaluate", mem_mb=2000, runtime=20),
    params:
        json=lambda w: as_json(vae_params("evaluate", w.case)),
    shell:
        "python -m pr12.vae.evaluate --params {params.json:q} model={input.model} train={input.train} test={input.test}"
        " metrics={output.metrics} > {log} 2>&1"


rule vae_evaluate_likelihood:
    input:
        model=lambda w: made(vae_trained(w.case), "model.safetensors"),
        train=lambda w: vae_split(w.case, "train"),
        test=lambda w: vae_split(w.case, "test"),
    output:
        metrics=f"{BUILD}/vae/{{case}}/evaluate_likelihood.{{digest}}/metrics.json",
    log:
        f"{BUILD}/vae/{{case}}/evaluate_likelihood.{{digest}}/evaluate_likelihood.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/evaluate_likelihood.{{digest}}/benchmark.txt"
    group:
        VAE_NETS("vae_evaluate_likelihood")
    threads: 1
    resources:
        **requests(
            "vae_evaluate_likelihood",
            mem_mb=4000,
            runtime=120 if RUN == "full" else 20,
        ),
        gpu=GPU,
    params:
        json=lambda w: as_json(vae_params("evaluate_likelihood", w.case)),
    shell:
        "python -m pr12.vae.evaluate_likelihood --params {params.json:q} model={input.model} train={input.train} test={input.test}"
        " metrics={output.metrics} > {log} 2>&1"


rule vae_evaluate_linear:
    input:
        model=lambda w: made(vae_trained(w.case), "model.safetensors"),
        train=lambda w: vae_split(w.case, "train"),
        test=lambda w: vae_split(w.case, "test"),
    output:
        metrics=f"{BUILD}/vae/{{case}}/evaluate_linear.{{digest}}/metrics.json",
    log:
        f"{BUILD}/vae/{{case}}/evaluate_linear.{{digest}}/evaluate_linear.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/evaluate_linear.{{digest}}/benchmark.txt"
    group:
        VAE_NETS("vae_evaluate_linear")
    threads: 1
    resources:
        **requests("vae_evaluate_linear", mem_mb=4000, runtime=20),
    params:
        json=lambda w: as_json(vae_params("evaluate_linear", w.case)),
    shell:
        "python -m pr12.vae.evaluate_linear --params {params.json:q} model={input.model} train={input.train} test={input.test}"
        " metrics={output.metrics} > {log} 2>&1"


rule vae_classifier:
    input:
        train=made(arrays(V["dataset"]), "train.safetensors"),
        validation=made(arrays(V["dataset"]), "validation.safetensors"),
    output:
        model=f"{BUILD}/vae/classifier/classifier.{{digest}}/model.safetensors",
        history=f"{BUILD}/vae/classifier/classifier.{{digest}}/history.json",
    log:
        f"{BUILD}/vae/classifier/classifier.{{digest}}/classifier.log",
    benchmark:
        f"{BUILD}/vae/classifier/classifier.{{digest}}/benchmark.txt"
    priority: 100
    group:
        one_job("vae_looks")
    threads: 1
    resources:
        **requests("vae_classifier", mem_mb=2000, runtime=20),
    params:
        json=as_json(vae_params("classifier")),
    shell:
        "python -m pr12.vae.classifier --params {params.json:q} train={input.train} validation={input.validation}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule vae_gradient_variance:
    input:
        **vae_looked_at("gradient_variance"),
    output:
        metrics=f"{BUILD}/vae/{{case}}/gradient_variance.{{digest}}/metrics.json",
    log:
        f"{BUILD}/vae/{{case}}/gradient_variance.{{digest}}/gradient_variance.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/gradient_variance.{{digest}}/benchmark.txt"
    group:
        one_job("vae_looks")
    threads: 1
    resources:
        **requests("vae_gradient_variance", mem_mb=2000, runtime=20),
    params:
        json=lambda w: as_json(vae_params("gradient_variance", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.vae.gradient_variance --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} > {log} 2>&1"


rule vae_generation:
    input:
        **vae_looked_at("generation"),
    output:
        metrics=f"{BUILD}/vae/{{case}}/generation.{{digest}}/metrics.json",
        picture=f"{BUILD}/vae/{{case}}/generation.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/vae/{{case}}/generation.{{digest}}/generation.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/generation.{{digest}}/benchmark.txt"
    group:
        one_job("vae_looks")
    threads: 1
    resources:
        **requests("vae_generation", mem_mb=2000, runtime=20),
    params:
        json=lambda w: as_json(vae_params("generation", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.vae.generation --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule vae_latent_space:
    input:
        **vae_looked_at("latent_space"),
    output:
        metrics=f"{BUILD}/vae/{{case}}/latent_space.{{digest}}/metrics.json",
        picture=f"{BUILD}/vae/{{case}}/latent_space.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/vae/{{case}}/latent_space.{{digest}}/latent_space.log",
    benchmark:
        f"{BUILD}/vae/{{case}}/latent_space.{{digest}}/benchmark.txt"
    group:
        one_job("vae_looks")
    threads: 1
    resources:
        **requests("vae_latent_space", mem_mb=2000, runtime=20),
    params:
        json=lambda w: as_json(vae_params("latent_space", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.vae.latent_space --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"
