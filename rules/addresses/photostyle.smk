# Addresses that rules/photostyle.smk uses.
F = P["photostyle"]
# The authors' pairs, their published results beside them; all others come from installed packages.
PUBLISHED_PAIRS = ("pair3", "pair14", "pair15", "pair16")


@cache
def photostyle_params(step, case=None):
    return settings.step_params("photostyle", F, step, case)


def photostyle_can_run(case):
    """VGG-19's weights (575 MB) and the authors' pairs are asked for in the full run only."""
    params = photostyle_params(settings.case_step(F, case), case)
    known = params["trained"] or params.get("pair") in PUBLISHED_PAIRS
    return RUN == "full" or not known


PHOTOSTYLE_CASES = [c for c in F["cases"] if photostyle_can_run(c)]


def photostyle_source(case):
    """Which photographs a case reads."""
    params = photostyle_params(settings.case_step(F, case), case)
    return "deep_photo_style" if params.get("pair") in PUBLISHED_PAIRS else "packages"


@cache
def photostyle_photographs(source):
    """Folder of the photographs of a source."""
    params = photostyle_params("photographs") | {"source": source}
    place = f"photostyle/{source}/photographs"
    return address("pr12.photostyle.photographs", place, params, checksums(source))


def photostyle_seen(case):
    return made(
        photostyle_photographs(photostyle_source(case)), "photographs.safetensors"
    )


@cache
def photostyle_vgg19():
    """Folder of VGG-19's weights, as safetensors."""
    params = photostyle_params("weights")
    place = "photostyle/vgg19/weights"
    return address("pr12.photostyle.weights", place, params, checksums("vgg19"))


def photostyle_weights(case):
    """The weights of a case's network, if it is trained: how a step reads them, and the address."""
    params = photostyle_params(settings.case_step(F, case), case)
    if not params["trained"]:
        return {}, []
    if params["architecture"] == "vgg19":
        file = made(photostyle_vgg19(), "weights.safetensors")
        return {"weights": file}, [photostyle_vgg19()]
    file = "data/raw/weights/squeezenet1_0_deep_compression.safetensors"
    return {"weights": file, "verified": raw("weights")}, [checksums("weights")]


def photostyle_inputs(case):
    return {"photographs": photostyle_seen(case)} | {
        name: file
        for name, file in photostyle_weights(case)[0].items()
        if not file.startswith("data/raw")
    }


def photostyle_files(case):
    """What a case reads, as its command line takes it."""
    read = {"photographs": str(photostyle_seen(case))}
    read |= {
        k: str(v) for k, v in photostyle_weights(case)[0].items() if k == "weights"
    }
    return paths(read)


@cache
def photostyle_made(case):
    """Folder of what a case's own step makes."""
    step = settings.case_step(F, case)
    upstream = [
        photostyle_photographs(photostyle_source(case)),
        *photostyle_weights(case)[1],
    ]
    place = f"photostyle/{case}/{step}"
    return address(
        f"pr12.photostyle.{step}", place, photostyle_params(step, case), *upstream
    )


@cache
def photostyle_result(case):
    """Folder that holds a case's metrics.json."""
    if settings.case_step(F, case) != "photo":
        return photostyle_made(case)
    upstream = [
        photostyle_made(case),
        photostyle_photographs(photostyle_source(case)),
    ]
    place = f"photostyle/{case}/quality"
    return address(
        "pr12.photostyle.quality", place, photostyle_params("quality"), *upstream
    )


# Jobs of a cluster: short cases share one.
PHOTOSTYLE_IMAGES = together(
    "photostyle_images",
    "photostyle_invert",
    "photostyle_synthesise",
    "photostyle_stylise",
    "photostyle_photo",
    "photostyle_quality",
    "photostyle_cross_term",
)


RESULTS["photostyle"] = {case: photostyle_result(case) for case in PHOTOSTYLE_CASES}
PICTURES["photostyle"] = {
    case: f"{RESULTS['photostyle'][case]}/{case}_picture.safetensors"
    for case in PHOTOSTYLE_CASES
    if settings.case_step(F, case) != "cross_term"
}
