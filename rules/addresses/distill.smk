# Addresses that rules/distill.smk uses.
D = P["distill"]
# Whose cost is measured, and whose errors stand beside it: system -> case.
COST_STUDENTS = D["figures"]["student_cases"]


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
        files["soft_labels"] = made(distill_soft_labels(), "soft_labels.safetensors")
    return files


@cache
def distill_evaluate(case):
    step = "ensemble" if case == "teacher" else "evaluate"
    params = {} if case == "teacher" else distill_params("evaluate", case)
    upstream = [distill_train(case), arrays(D["dataset"])]
    return address(f"pr12.distill.{step}", f"distill/{case}/{step}", params, *upstream)


# The three steps that only look at what the nets and soft labels are.


def distill_looked_at(case):
    """Files that such a step reads, and the addresses that they come from."""
    step = settings.case_step(D, case)
    train, test = distill_split("train"), distill_split("test")
    labels = made(distill_soft_labels(), "soft_labels.safetensors")
    if step == "temperature":
        return {"train": train, "soft_labels": labels}, [distill_soft_labels()]
    if step == "gradient_limit":
        nets = {"model": "hard_800"}
    else:
        nets = {"teacher": "teacher"} | COST_STUDENTS
    files = {
        name: made(distill_train(net), "model.safetensors")
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


# Jobs of a cluster: short cases share one, nets with what judges them.
DISTILL_STUDENTS = together("distill_students", "distill_train", "distill_evaluate")
DISTILL_COMPRESSION = together(
    "distill_compression", "distill_compress", "distill_evaluate_compression"
)
DISTILL_LOOKS = together(
    "distill_looks", "distill_temperature", "distill_gradient_limit"
)


def DISTILL_NETS(rule):
    student = DISTILL_STUDENTS(rule)
    return lambda w: shared("distill_teacher") if w.case == "teacher" else student(w)


RESULTS["distill"] = {case: distill_result(case) for case in D["cases"]}
PICTURES["distill"] = {
    case: f"{RESULTS['distill'][case]}/picture.json"
    for case in D["cases"]
    if settings.case_step(D, case) == "temperature"
}
