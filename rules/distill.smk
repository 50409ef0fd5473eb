# PR-009: teachers, soft labels, students, model compression, and what they cost.
D = P["distill"]
# Whose cost is measured: the width of the student and its case.
COST_STUDENTS = {800: "soft_800_T20", 300: "soft_300_T8", 30: "soft_30_T2_5"}


@cache
def distill_params(step, case=None):
    return settings.step_params("distill", D, step, case)


def distill_split(name):
    return ancient(f"{arrays(D['dataset'])}/{name}.safetensors")


@cache
def distill_soft_labels():
    upstream = [distill_train("teacher"), arrays(D["dataset"])]
    return address(
        "pr12.distill.soft_labels", "distill/teacher/soft_labels", {}, *upstream
    )


def distill_learns_from_teacher(case):
    params = distill_params("train", case)
    return params["soft_weight"] > 0 or params["logit_weight"] > 0


@cache
def distill_train(case):
    upstream = [arrays(D["dataset"])]
    if distill_learns_from_teacher(case):
        upstream.append(distill_soft_labels())
    params = distill_params("train", case)
    return address("pr12.distill.train", f"distill/{case}/train", params, *upstream)


def distill_train_files(w):
    files = {name: distill_split(name) for name in ("train", "validation")}
    if distill_learns_from_teacher(w.case):
        files["soft_labels"] = ancient(
            distill_soft_labels() + "/soft_labels.safetensors"
        )
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
        soft_labels=BUILD
        + "/distill/teacher/soft_labels.{digest}/soft_labels.safetensors",
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


@cache
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


# The three steps that only look at what the nets and soft labels are.


def distill_looked_at(case):
    """Files that such a step reads, and the addresses that they come from."""
    step = settings.case_step(D, case)
    train, test = distill_split("train"), distill_split("test")
    labels = ancient(distill_soft_labels() + "/soft_labels.safetensors")
    if step == "temperature":
        return {"train": train, "soft_labels": labels}, [distill_soft_labels()]
    if step == "gradient_limit":
        nets = {"model": "hard_800"}
    else:
        nets = {"teacher": "teacher"} | {
            f"student_{width}": case for width, case in COST_STUDENTS.items()
        }
    files = {
        name: ancient(distill_train(net) + "/model.safetensors")
        for name, net in nets.items()
    }
    upstream = [distill_train(net) for net in nets.values()]
    if step == "gradient_limit":
        return files | {"train": train, "soft_labels": labels}, [
            *upstream,
            distill_soft_labels(),
        ]
    return files | {"test": test}, [*upstream, arrays(D["dataset"])]


@cache
def distill_look(case):
    step = settings.case_step(D, case)
    upstream = distill_looked_at(case)[1]
    params = distill_params(step, case)
    return address(f"pr12.distill.{step}", f"distill/{case}/{step}", params, *upstream)


rule distill_temperature:
    input:
        unpack(lambda w: distill_looked_at(w.case)[0]),
    output:
        metrics=BUILD + "/distill/{case}/temperature.{digest}/metrics.json",
        picture=BUILD + "/distill/{case}/temperature.{digest}/picture.json",
    log:
        BUILD + "/distill/{case}/temperature.{digest}/temperature.log",
    benchmark:
        BUILD + "/distill/{case}/temperature.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
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
        metrics=BUILD + "/distill/{case}/gradient_limit.{digest}/metrics.json",
    log:
        BUILD + "/distill/{case}/gradient_limit.{digest}/gradient_limit.log",
    benchmark:
        BUILD + "/distill/{case}/gradient_limit.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
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
        metrics=BUILD + "/distill/{case}/cost.{digest}/metrics.json",
    log:
        BUILD + "/distill/{case}/cost.{digest}/cost.log",
    benchmark:
        BUILD + "/distill/{case}/cost.{digest}/benchmark.txt"
    # All cores: whatever else ran would be in the measured times.
    threads: workflow.cores or 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        json=lambda w: as_json(distill_params("cost", w.case)),
        inputs=lambda w, input: paths(input),
    shell:
        "python -m pr12.distill.cost --params {params.json:q} {params.inputs}"
        " metrics={output.metrics} > {log} 2>&1"


# Model compression (Bucila et al.): its own data, its own teacher.


def distill_raw_tables():
    """Name -> record of the raw tables that the run's problems need."""
    wanted = {
        p.partition("_")[0] for p in distill_params("library", "library")["problems"]
    }
    return {name: raw(name) for name in sorted(wanted) if checksums(name)}


@cache
def distill_library():
    params = distill_params("library", "library")
    tables = {name: checksums(name) for name in distill_raw_tables()}
    return address("pr12.distill.library", "distill/library/library", params, tables)


@cache
def distill_compress(case):
    params = distill_params("compress", case)
    place = f"distill/{case}/compress"
    return address("pr12.distill.compress", place, params, distill_library())


def distill_evaluate_compression(case):
    place = f"distill/{case}/evaluate_compression"
    upstream = [distill_compress(case), distill_library()]
    return address("pr12.distill.evaluate_compression", place, {}, *upstream)


rule distill_library:
    input:
        **distill_raw_tables(),
    output:
        transfer=BUILD + "/distill/library/library.{digest}/transfer.safetensors",
        test=BUILD + "/distill/library/library.{digest}/test.safetensors",
        metrics=BUILD + "/distill/library/library.{digest}/metrics.json",
    log:
        BUILD + "/distill/library/library.{digest}/library.log",
    benchmark:
        BUILD + "/distill/library/library.{digest}/benchmark.txt"
    priority: 100
    threads: 1
    resources:
        mem_mb=8000 if RUN == "full" else 2000,
        runtime=600 if RUN == "full" else 20,
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
        transfer=ancient(distill_library() + "/transfer.safetensors"),
    output:
        model=BUILD + "/distill/{case}/compress.{digest}/model.safetensors",
        history=BUILD + "/distill/{case}/compress.{digest}/history.json",
    log:
        BUILD + "/distill/{case}/compress.{digest}/compress.log",
    benchmark:
        BUILD + "/distill/{case}/compress.{digest}/benchmark.txt"
    # The longest chain after the teachers'.
    priority: 50
    threads: 1
    resources:
        mem_mb=8000 if RUN == "full" else 2000,
        runtime=600 if RUN == "full" else 20,
        gpu=GPU,
    params:
        json=lambda w: as_json(distill_params("compress", w.case)),
    shell:
        "python -m pr12.distill.compress --params {params.json:q} transfer={input.transfer}"
        " model={output.model} history={output.history} > {log} 2>&1"


rule distill_evaluate_compression:
    input:
        model=lambda w: ancient(distill_compress(w.case) + "/model.safetensors"),
        test=ancient(distill_library() + "/test.safetensors"),
    output:
        metrics=BUILD + "/distill/{case}/evaluate_compression.{digest}/metrics.json",
    log:
        BUILD + "/distill/{case}/evaluate_compression.{digest}/evaluate_compression.log",
    benchmark:
        BUILD + "/distill/{case}/evaluate_compression.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    shell:
        "python -m pr12.distill.evaluate_compression model={input.model} test={input.test}"
        " metrics={output.metrics} > {log} 2>&1"


# The report: every case's metrics, figures, one folder.


def distill_result(case):
    """Folder that holds a case's metrics.json."""
    step = settings.case_step(D, case)
    if step == "train":
        return distill_evaluate(case)
    if step == "library":
        return distill_library()
    if step == "compress":
        return distill_evaluate_compression(case)
    return distill_look(case)


RESULTS["distill"] = {case: distill_result(case) for case in D["cases"]}
PICTURES["distill"] = {
    case: RESULTS["distill"][case] + "/picture.json"
    for case in D["cases"]
    if settings.case_step(D, case) == "temperature"
}
