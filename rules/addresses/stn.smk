# Addresses that rules/stn.smk uses.
S = P["stn"]
# Tasks with data and nets of their own: what makes the data, and real sources, by data set.
TASKS = {"sequences": "svhn", "parts": "cub"}


@cache
def stn_params(step, case=None):
    return settings.step_params("stn", S, step, case)


def stn_task(case):
    """The task of a case, None for the distorted digits."""
    return (
        settings.case_step(S, case).removeprefix("train_")
        if stn_is_task(case)
        else None
    )


def stn_is_task(case):
    return settings.case_step(S, case).startswith("train_")


# Real house numbers and birds are asked for in the full run only; generated ones serve every run.
def stn_source(case):
    """The raw data set that a case reads, None if its data are generated."""
    task = stn_task(case)
    source = stn_params(task, case)["source"] if task else None
    return source if source in TASKS.values() else None


def stn_can_run(case):
    """Whether the run has what a case reads."""
    return RUN == "full" or not stn_source(case)


STN_CASES = [c for c in S["cases"] if stn_can_run(c)]


@cache
def stn_data(task, case):
    """Folder of the splits that a case of a task reads."""
    params = stn_params(task, case)
    upstream = [arrays(S["dataset"])] if params["source"] == "composed" else []
    if stn_source(case):
        upstream = [checksums(params["source"])]
    place = f"stn/{params['source']}_{params['size']}/{task}"
    return address(f"pr12.stn.{task}", place, params, *upstream)


def stn_data_inputs(task, digest):
    """Digits or verified raw files, by the names that the step gives them."""
    case = STN_READERS[task, digest]
    source = stn_params(task, case)["source"]
    if source == "composed":
        digits = arrays(S["dataset"])
        return {
            f"digits_{name}": made(digits, f"{name}.safetensors")
            for name in ("train", "validation", "test")
        }
    return {"verified": raw(source)} if stn_source(case) else {}


STN_READERS = {}  # (task, digest of its data) -> a case that reads them
for _case in STN_CASES:
    if stn_is_task(_case):
        _digest = Path(stn_data(stn_task(_case), _case)).suffix[1:]
        STN_READERS[stn_task(_case), _digest] = _case


def stn_weights(case):
    """The raw data set that a case's nets start from, if they do: birds need a GoogLeNet."""
    return "googlenet" if stn_source(case) == "cub" else None


@cache
def stn_trained(case):
    """Folder of the nets of a case."""
    step = settings.case_step(S, case)
    data = stn_data(stn_task(case), case) if stn_is_task(case) else arrays(S["dataset"])
    upstream = [data, *([checksums(stn_weights(case))] if stn_weights(case) else [])]
    params = stn_params(step, case)
    return address(f"pr12.stn.{step}", f"stn/{case}/{step}", params, *upstream)


@cache
def stn_result(case):
    """Folder that holds a case's metrics.json."""
    step = settings.case_step(S, case)
    if step == "train" or stn_is_task(case):
        task = stn_task(case)
        judge = f"evaluate_{task}" if task else "evaluate"
        data = stn_data(task, case) if task else arrays(S["dataset"])
        upstream = [stn_trained(case), data]
        params = stn_params(judge, case)
        return address(f"pr12.stn.{judge}", f"stn/{case}/{judge}", params, *upstream)
    params = stn_params(step, case)
    upstream = [arrays(S["dataset"])] if step == "colocalise" else []
    return address(f"pr12.stn.{step}", f"stn/{case}/{step}", params, *upstream)


# Jobs of a cluster: short cases share one, nets with what judges them.
STN_NETS = together(
    "stn_nets",
    "stn_train",
    "stn_evaluate",
    "stn_train_sequences",
    "stn_evaluate_sequences",
    "stn_train_parts",
    "stn_evaluate_parts",
    "stn_colocalise",
)


RESULTS["stn"] = {case: stn_result(case) for case in STN_CASES}
PICTURES["stn"] = {
    case: f"{RESULTS['stn'][case]}/{case}_picture.json"
    for case in STN_CASES
    if settings.case_step(S, case) != "cost"
}
