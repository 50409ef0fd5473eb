# PR-009: teachers, soft labels, students, model compression, and what they cost.
D = P["distill"]
STUDENTS = [c for c in D["cases"] if settings.case_step(D, c) == "train" and c != "teacher"]
CURVES = [c for c in D["cases"] if settings.case_step(D, c) == "compress"]


def distill_params(step, case=None):
    return settings.step_params("distill", D, step, case)


def distill_split(name):
    return ancient(f"{arrays(D['dataset'])}/{name}.safetensors")


def distill_soft_labels():
    upstream = [distill_train("teacher"), arrays(D["dataset"])]
    return address("pr12.distill.soft_labels", "distill/teacher/soft_labels", {}, *upstream)


def distill_learns_from_teacher(case):
    params = distill_params("train", case)
    return params["soft_weight"] > 0 or params["logit_weight"] > 0


def distill_train(case):
    upstream = [arrays(D["dataset"])]
    if distill_learns_from_teacher(case):
        upstream.append(distill_soft_labels())
    params = distill_params("train", case)
    return address("pr12.distill.train", f"distill/{case}/train", params, *upstream)


def distill_train_files(w):
    files = {name: distill_split(name) for name in ("train", "validation")}
    if distill_learns_from_teacher(w.case):
        files["soft_labels"] = ancient(distill_soft_labels() + "/soft_labels.safetensors")
    return files


rule distill_train:
    input:
        unpack(distill_train_files),
    output:
        model=BUILD + "/distill/{case}/train.{digest}/model.safetensors",
        history=BUILD + "/distill/{case}/train.{digest}/history.json",
    log:
        BUILD + "/distill/{case}/train.{digest}/train.log",
    benchmark:
        BUILD + "/distill/{case}/train.{digest}/benchmark.txt"
    # Half of all else waits for the teachers.
    priority: lambda w: 100 if w.case == "teacher" else 0
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=GPU,
    params:
        json=lambda w: as_json(distill_params("train", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.distill.train --params {params.json:q} {params.inputs}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule distill_soft_labels:
    input:
        model=lambda w: ancient(distill_train("teacher") + "/model.safetensors"),
        train=distill_split("train"),
    output:
        soft_labels=BUILD + "/distill/teacher/soft_labels.{digest}/soft_labels.safetensors",
    log:
        BUILD + "/distill/teacher/soft_labels.{digest}/soft_labels.log",
    benchmark:
        BUILD + "/distill/teacher/soft_labels.{digest}/benchmark.txt"
    priority: 100
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "python -m pr12.distill.soft_labels model={input.model} train={input.train}"
        " soft_labels={output.soft_labels} > {log} 2>&1"


def distill_evaluate(case):
    step = "ensemble" if case == "teacher" else "evaluate"
    params = {} if case == "teacher" else distill_params("evaluate", case)
    upstream = [distill_train(case), arrays(D["dataset"])]
    return address(f"pr12.distill.{step}", f"distill/{case}/{step}", params, *upstream)


rule distill_ensemble:
    input:
        model=ancient(distill_train("teacher") + "/model.safetensors"),
        validation=distill_split("validation"),
        test=distill_split("test"),
    output:
        metrics=BUILD + "/distill/teacher/ensemble.{digest}/metrics.json",
    log:
        BUILD + "/distill/teacher/ensemble.{digest}/ensemble.log",
    benchmark:
        BUILD + "/distill/teacher/ensemble.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "python -m pr12.distill.ensemble model={input.model} validation={input.validation}"
        " test={input.test} metrics={output.metrics} > {log} 2>&1"


rule distill_evaluate:
    input:
        model=lambda w: ancient(distill_train(w.case) + "/model.safetensors"),
        validation=distill_split("validation"),
        test=distill_split("test"),
    output:
        metrics=BUILD + "/distill/{case}/evaluate.{digest}/metrics.json",
    log:
        BUILD + "/distill/{case}/evaluate.{digest}/evaluate.log",
    benchmark:
        BUILD + "/distill/{case}/evaluate.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        json=lambda w: as_json(distill_params("evaluate", w.case)),
    shell:
        "python -m pr12.distill.evaluate --params {params.json:q} model={input.model}"
        " validation={input.validation} test={input.test} metrics={output.metrics} > {log} 2>&1"


rule distill_nets:
    input:
        [ancient(distill_evaluate(case) + "/metrics.json") for case in ["teacher", *STUDENTS]],
