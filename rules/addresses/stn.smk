# Addresses that rules/stn.smk uses.
S = P["stn"]


@cache
def stn_params(step, case=None):
    return settings.step_params("stn", S, step, case)


@cache
def stn_trained(case):
    """Folder of the nets of one row."""
    params = stn_params("train", case)
    return address(
        "pr12.stn.train", f"stn/{case}/train", params, arrays(S["dataset"])
    )


@cache
def stn_result(case):
    """Folder that holds a case's metrics.json."""
    step = settings.case_step(S, case)
    if step == "train":
        upstream = [stn_trained(case), arrays(S["dataset"])]
        params = stn_params("evaluate", case)
        return address("pr12.stn.evaluate", f"stn/{case}/evaluate", params, *upstream)
    params = stn_params(step, case)
    return address(f"pr12.stn.{step}", f"stn/{case}/{step}", params)


RESULTS["stn"] = {case: stn_result(case) for case in S["cases"]}
PICTURES["stn"] = {
    case: f"{RESULTS['stn'][case]}/{case}_picture.json"
    for case in S["cases"]
    if settings.case_step(S, case) != "cost"
}
