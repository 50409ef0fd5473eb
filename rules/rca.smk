# PR-008: reverse classification accuracy, of tables and of segmentations.
include: "addresses/rca.smk"


rule rca_tabular:
    output:
        metrics=f"{BUILD}/rca/{{case}}/tabular.{{digest}}/metrics.json",
        picture=f"{BUILD}/rca/{{case}}/tabular.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/rca/{{case}}/tabular.{{digest}}/tabular.log",
    benchmark:
        f"{BUILD}/rca/{{case}}/tabular.{{digest}}/benchmark.txt"
    group:
        RCA_TABLES("rca_tabular")
    threads: 1
    resources:
        **requests("rca_tabular", mem_mb=1000, runtime=60 if RUN == "full" else 10),
    params:
        json=lambda w: as_json(rca_params("tabular", w.case)),
    shell:
        "python -m pr12.rca.tabular --params {params.json:q}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule rca_scans:
    input:
        verified=rca_raw(),
    output:
        **{
            split: f"{BUILD}/rca/scans/scans.{{digest}}/{split}.safetensors"
            for split in ("train", "reference", "calibration", "test")
        },
    log:
        f"{BUILD}/rca/scans/scans.{{digest}}/scans.log",
    benchmark:
        f"{BUILD}/rca/scans/scans.{{digest}}/benchmark.txt"
    priority: 100
    localrule: quick("rca_scans")
    threads: 1
    resources:
        **requests("rca_scans", mem_mb=2000, runtime=10),
    params:
        json=as_json(rca_params("scans")),
        raw=lambda w, input: (
            f"verified={input.verified} folder=data/raw/hippocampus"
            if input.verified
            else ""
        ),
        outputs=lambda w, output: paths(output),
    shell:
        "python -m pr12.rca.scans --params {params.json:q} {params.raw} {params.outputs}"
        " > {log} 2>&1"


rule rca_register:
    input:
        lambda w: [rca_split(name) for names in REGISTERED[w.case] for name in names],
    output:
        f"{BUILD}/rca/{{case}}/register.{{digest}}/correspondences.safetensors",
    log:
        f"{BUILD}/rca/{{case}}/register.{{digest}}/register.log",
    benchmark:
        f"{BUILD}/rca/{{case}}/register.{{digest}}/benchmark.txt"
    priority: 50
    group:
        RCA_CHAIN("rca_register")
    threads: 8
    resources:
        **requests("rca_register", mem_mb=4000, runtime=240 if RUN == "full" else 10),
    params:
        json=lambda w: as_json(rca_register_params(w.case)),
        inputs=lambda w, input: paths({Path(file).stem: file for file in input}),
    shell:
        "python -m pr12.rca.register --params {params.json:q} {params.inputs}"
        " correspondences={output} > {log} 2>&1"


rule rca_train:
    input:
        train=rca_split("train"),
    output:
        model=f"{BUILD}/rca/unet/train.{{digest}}/model.safetensors",
        history=f"{BUILD}/rca/unet/train.{{digest}}/history.json",
    log:
        f"{BUILD}/rca/unet/train.{{digest}}/train.log",
    benchmark:
        f"{BUILD}/rca/unet/train.{{digest}}/benchmark.txt"
    priority: 90
    group:
        RCA_CHAIN("rca_train")
    threads: 1
    resources:
        **requests("rca_train", mem_mb=2000, runtime=60 if RUN == "full" else 10),
        gpu=GPU,
    params:
        json=as_json(rca_params("train")),
    shell:
        "python -m pr12.rca.train --params {params.json:q} train={input.train}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule rca_train_forest:
    input:
        train=rca_split("train"),
    output:
        model=f"{BUILD}/rca/forest/train_forest.{{digest}}/model.safetensors",
    log:
        f"{BUILD}/rca/forest/train_forest.{{digest}}/train_forest.log",
    benchmark:
        f"{BUILD}/rca/forest/train_forest.{{digest}}/benchmark.txt"
    priority: 90
    group:
        RCA_CHAIN("rca_train_forest")
    threads: 1
    resources:
        **requests("rca_train_forest", mem_mb=2000, runtime=30 if RUN == "full" else 10),
    params:
        json=as_json(rca_params("train_forest")),
    shell:
        "python -m pr12.rca.train_forest --params {params.json:q} train={input.train}"
        " model={output.model} > {log} 2>&1"


rule rca_segment:
    input:
        train=rca_split("train"),
        calibration=rca_split("calibration"),
        test=rca_split("test"),
        forest=made(rca_trained("train_forest"), "model.safetensors"),
        unet=made(rca_trained("train"), "model.safetensors"),
        correspondences=made(
            rca_registered("multi_atlas"), "correspondences.safetensors"
        ),
    output:
        segmentations=f"{BUILD}/rca/segmenters/segment.{{digest}}/segmentations.safetensors",
    log:
        f"{BUILD}/rca/segmenters/segment.{{digest}}/segment.log",
    benchmark:
        f"{BUILD}/rca/segmenters/segment.{{digest}}/benchmark.txt"
    priority: 80
    group:
        RCA_CHAIN("rca_segment")
    threads: 1
    resources:
        **requests("rca_segment", mem_mb=4000, runtime=60 if RUN == "full" else 10),
        gpu=GPU,
    params:
        json=as_json(rca_params("segment")),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.rca.segment --params {params.json:q} {params.inputs}"
        " segmentations={output.segmentations} > {log} 2>&1"


rule rca_quality:
    input:
        calibration=rca_split("calibration"),
        test=rca_split("test"),
        segmentations=made(rca_segmented(), "segmentations.safetensors"),
    output:
        scores=f"{BUILD}/rca/segmenters/quality.{{digest}}/scores.safetensors",
        metrics=f"{BUILD}/rca/segmenters/quality.{{digest}}/metrics.json",
        picture=f"{BUILD}/rca/segmenters/quality.{{digest}}/segmenters_picture.json",
    log:
        f"{BUILD}/rca/segmenters/quality.{{digest}}/quality.log",
    benchmark:
        f"{BUILD}/rca/segmenters/quality.{{digest}}/benchmark.txt"
    group:
        RCA_CHAIN("rca_quality")
    threads: 2
    resources:
        **requests("rca_quality", mem_mb=2000, runtime=20),
    params:
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.rca.quality --params '{{}}' {params.inputs} scores={output.scores}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule rca_reverse_atlas:
    input:
        correspondences=lambda w: made(
            rca_registered(w.case), "correspondences.safetensors"
        ),
        segmentations=made(rca_segmented(), "segmentations.safetensors"),
        reference=rca_split("reference"),
    output:
        scores=f"{BUILD}/rca/{{case}}/reverse_atlas.{{digest}}/scores.safetensors",
    log:
        f"{BUILD}/rca/{{case}}/reverse_atlas.{{digest}}/reverse_atlas.log",
    benchmark:
        f"{BUILD}/rca/{{case}}/reverse_atlas.{{digest}}/benchmark.txt"
    group:
        RCA_CHAIN("rca_reverse_atlas")
    threads: 8
    resources:
        **requests(
            "rca_reverse_atlas", mem_mb=4000, runtime=60 if RUN == "full" else 10
        ),
    params:
        json=lambda w: as_json({"direction": DIRECTIONS[w.case]}),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.rca.reverse_atlas --params {params.json:q} {params.inputs}"
        " scores={output.scores} > {log} 2>&1"


rule rca_reverse_forest:
    input:
        test=rca_split("test"),
        segmentations=made(rca_segmented(), "segmentations.safetensors"),
        reference=rca_split("reference"),
    output:
        scores=f"{BUILD}/rca/forest/reverse_forest.{{digest}}/scores.safetensors",
    log:
        f"{BUILD}/rca/forest/reverse_forest.{{digest}}/reverse_forest.log",
    benchmark:
        f"{BUILD}/rca/forest/reverse_forest.{{digest}}/benchmark.txt"
    group:
        RCA_CHAIN("rca_reverse_forest")
    threads: 8
    resources:
        **requests(
            "rca_reverse_forest", mem_mb=4000, runtime=240 if RUN == "full" else 10
        ),
    params:
        json=as_json(rca_params("reverse_forest")),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.rca.reverse_forest --params {params.json:q} {params.inputs}"
        " scores={output.scores} > {log} 2>&1"


rule rca_reverse_cnn:
    input:
        test=rca_split("test"),
        segmentations=made(rca_segmented(), "segmentations.safetensors"),
        reference=rca_split("reference"),
    output:
        scores=f"{BUILD}/rca/cnn/reverse_cnn.{{digest}}/scores.safetensors",
    log:
        f"{BUILD}/rca/cnn/reverse_cnn.{{digest}}/reverse_cnn.log",
    benchmark:
        f"{BUILD}/rca/cnn/reverse_cnn.{{digest}}/benchmark.txt"
    group:
        RCA_CHAIN("rca_reverse_cnn")
    threads: 8
    resources:
        **requests("rca_reverse_cnn", mem_mb=4000, runtime=240 if RUN == "full" else 10),
        gpu=GPU,
    params:
        json=as_json(rca_params("reverse_cnn")),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.rca.reverse_cnn --params {params.json:q} {params.inputs}"
        " scores={output.scores} > {log} 2>&1"


rule rca_evaluate:
    input:
        unpack(lambda w: rca_scores(w.case)),
    output:
        metrics=f"{BUILD}/rca/{{case}}/evaluate.{{digest}}/metrics.json",
        picture=f"{BUILD}/rca/{{case}}/evaluate.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/rca/{{case}}/evaluate.{{digest}}/evaluate.log",
    benchmark:
        f"{BUILD}/rca/{{case}}/evaluate.{{digest}}/benchmark.txt"
    group:
        RCA_CHAIN("rca_evaluate")
    threads: 1
    resources:
        **requests("rca_evaluate", mem_mb=1000, runtime=10),
    params:
        json=lambda w: as_json(rca_params("evaluate", w.case)),
    shell:
        "python -m pr12.rca.evaluate --params {params.json:q} real={input.real} scores={input.scores}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"


rule rca_calibrate:
    input:
        unpack(lambda w: rca_scores(w.case)),
    output:
        metrics=f"{BUILD}/rca/{{case}}/calibrate.{{digest}}/metrics.json",
        picture=f"{BUILD}/rca/{{case}}/calibrate.{{digest}}/{{case}}_picture.json",
    log:
        f"{BUILD}/rca/{{case}}/calibrate.{{digest}}/calibrate.log",
    benchmark:
        f"{BUILD}/rca/{{case}}/calibrate.{{digest}}/benchmark.txt"
    group:
        RCA_CHAIN("rca_calibrate")
    threads: 1
    resources:
        **requests("rca_calibrate", mem_mb=1000, runtime=10),
    params:
        json=lambda w: as_json(rca_params("calibrate", w.case)),
    shell:
        "python -m pr12.rca.calibrate --params {params.json:q} real={input.real} scores={input.scores}"
        " metrics={output.metrics} picture={output.picture} > {log} 2>&1"
