# Addresses that rules/rca.smk uses.
R = P["rca"]
# Who is moved to whom: split names of the fixed and of the moving scans.
REGISTERED = {
    "multi_atlas": (["calibration", "test"], ["train"]),  # segments, weakly and well
    "atlas": (["reference"], ["calibration", "test"]),  # the paper's direction
    "atlas_to_test": (["test"], ["reference"]),  # Robinson et al.
}
DIRECTIONS = {"atlas": "to_reference", "atlas_to_test": "to_test"}


@cache
def rca_params(step, case=None):
    return settings.step_params("rca", R, step, case)


# Scans: generated, or the Decathlon's.


def rca_raw():
    """The record of the raw scans, if the run's scans are not generated."""
    source = rca_params("scans")["source"]
    return raw(source) if checksums(source) else []


@cache
def rca_scans():
    params = rca_params("scans")
    upstream = checksums(params["source"])
    return address("pr12.rca.scans", "rca/scans/scans", params, upstream)


def rca_split(name):
    return made(rca_scans(), f"{name}.safetensors")


# Registrations, segmenters and their segmentations.


@cache
def rca_register_params(name):
    """Params of one set of registrations; only weak segmenters want weak efforts."""
    fixed, moving = REGISTERED[name]
    params = rca_params("register") | {"fixed": fixed, "moving": moving}
    if name == "multi_atlas":
        return params | {"scans": max(rca_params("segment")["atlases"])}
    strongest = ("affine_iterations", "deformable_iterations")
    return params | {key: params[key][-1:] for key in strongest}


@cache
def rca_registered(name):
    params = rca_register_params(name)
    return address("pr12.rca.register", f"rca/{name}/register", params, rca_scans())


@cache
def rca_trained(step):
    place = {"train": "unet", "train_forest": "forest"}[step]
    params = rca_params(step)
    return address(f"pr12.rca.{step}", f"rca/{place}/{step}", params, rca_scans())


@cache
def rca_segmented():
    upstream = [rca_scans(), rca_trained("train"), rca_trained("train_forest")]
    upstream += [rca_registered("multi_atlas")]
    params = rca_params("segment")
    return address("pr12.rca.segment", "rca/segmenters/segment", params, *upstream)


@cache
def rca_quality():
    upstream = [rca_scans(), rca_segmented()]
    return address("pr12.rca.quality", "rca/segmenters/quality", {}, *upstream)


# Reverse classifiers, and what judges their scores.


@cache
def rca_reversed(name):
    """Folder of a reverse classifier's scores on the references."""
    upstream = [rca_scans(), rca_segmented()]
    if name in DIRECTIONS:
        step, params = "reverse_atlas", {"direction": DIRECTIONS[name]}
        upstream += [rca_registered(name)]
    else:
        step = f"reverse_{name}"
        params = rca_params(step)
    return address(f"pr12.rca.{step}", f"rca/{name}/{step}", params, *upstream)


def rca_scores(case):
    """What a case's judgement reads: real scores, and those of its reverse classifier."""
    name = rca_params(settings.case_step(R, case), case)["reverse"]
    return {
        "real": made(rca_quality(), "scores.safetensors"),
        "scores": made(rca_reversed(name), "scores.safetensors"),
    }


@cache
def rca_result(case):
    """Folder that holds a case's metrics.json."""
    step = settings.case_step(R, case)
    if step == "quality":
        return rca_quality()
    params = rca_params(step, case)
    place = f"rca/{case}/{step}"
    if step == "tabular":
        return address("pr12.rca.tabular", place, params)
    upstream = [rca_quality(), rca_reversed(params["reverse"])]
    return address(f"pr12.rca.{step}", place, params, *upstream)


# Jobs of a cluster: short cases share one.
RCA_TABLES = together("rca_tables", "rca_tabular")
RCA_CHAIN = chained(
    "rca_segmentation",
    "rca_register",
    "rca_train",
    "rca_train_forest",
    "rca_segment",
    "rca_quality",
    "rca_reverse_atlas",
    "rca_reverse_forest",
    "rca_reverse_cnn",
    "rca_evaluate",
    "rca_calibrate",
)


RESULTS["rca"] = {case: rca_result(case) for case in R["cases"]}
PICTURES["rca"] = {
    case: f"{RESULTS['rca'][case]}/{case}_picture.json" for case in R["cases"]
}
