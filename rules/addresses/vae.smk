# Addresses that rules/vae.smk uses.
V = P["vae"]
TRAINED = ("train", "mcem")  # steps whose nets an evaluation judges
# Whose nets the steps that only look at nets read, by the names that they give them.
LOOKED_AT = {
    "gradient_variance": {f"z{z}": f"aevb_z{z}" for z in (3, 5, 10, 20, 200)},
    "generation": {
        "vae": "aevb_z10",
        "autoencoder": "autoencoder_z10",
        "vae_2d": "aevb_z2",
        "autoencoder_2d": "autoencoder_z2",
    },
    "latent_space": {f"z{z}": f"aevb_z{z}" for z in (2, 5, 10, 20)}
    | {"faces_z2": "faces_z2"},
}

VAE_AWAITED = {case for cases in LOOKED_AT.values() for case in cases.values()}


@cache
def vae_params(step, case=None):
    return settings.step_params("vae", V, step, case)


# Data: digits come from shared code, faces are this paper's own.


def vae_faces_raw():
    """The record of Frey Face, if the run's faces are those."""
    return raw("frey_face") if vae_params("faces")["source"] == "frey" else []


@cache
def vae_faces():
    params = vae_params("faces")
    upstream = checksums("frey_face") if params["source"] == "frey" else {}
    return address("pr12.vae.faces", "vae/faces/faces", params, upstream)


def vae_images(case):
    """Folder of the splits that a case's nets learn from."""
    step = settings.case_step(V, case)
    digits = vae_params(step, case)["images"] == "digits"
    return arrays(V["dataset"]) if digits else vae_faces()


def vae_split(case, name):
    return made(vae_images(case), f"{name}.safetensors")


# Nets, and what judges them.


@cache
def vae_trained(case):
    """Folder of a case's nets."""
    step = settings.case_step(V, case)
    params = vae_params(step, case)
    return address(f"pr12.vae.{step}", f"vae/{case}/{step}", params, vae_images(case))


def vae_judge(case):
    """The step that judges a case's nets."""
    if vae_params("evaluate_likelihood", case)["estimators"]:
        return "evaluate_likelihood"
    linear = V["cases"][case].get("likelihood") == "linear"
    return "evaluate_linear" if linear else "evaluate"


@cache
def vae_classifier():
    upstream = arrays(V["dataset"])
    params = vae_params("classifier")
    return address("pr12.vae.classifier", "vae/classifier/classifier", params, upstream)


def vae_looked_at(step):
    """Files that such a step reads."""
    digits = arrays(V["dataset"])
    files = {
        name: made(vae_trained(case), "model.safetensors")
        for name, case in LOOKED_AT[step].items()
    }
    if step == "gradient_variance":
        return files | {"train": made(digits, "train.safetensors")}
    if step == "latent_space":
        return files | {
            "digits_test": made(digits, "test.safetensors"),
            "faces_test": made(vae_faces(), "test.safetensors"),
        }
    splits = {name: made(digits, f"{name}.safetensors") for name in ("train", "test")}
    return files | splits | {"classifier": made(vae_classifier(), "model.safetensors")}


@cache
def vae_result(case):
    """Folder that holds a case's metrics.json."""
    step = settings.case_step(V, case)
    if step in TRAINED:
        judge = vae_judge(case)
        upstream = [vae_trained(case), vae_images(case)]
        place = f"vae/{case}/{judge}"
        return address(f"pr12.vae.{judge}", place, vae_params(judge, case), *upstream)
    upstream = [vae_trained(other) for other in LOOKED_AT[step].values()]
    upstream += [arrays(V["dataset"])]
    if step == "generation":
        upstream += [vae_classifier()]
    if step == "latent_space":
        upstream += [vae_faces()]
    params = vae_params(step, case)
    return address(f"pr12.vae.{step}", f"vae/{case}/{step}", params, *upstream)


# Jobs of a cluster: short cases share one, nets with what judges them.
VAE_NETS = together(
    "vae_nets",
    "vae_train",
    "vae_mcem",
    "vae_evaluate",
    "vae_evaluate_likelihood",
    "vae_evaluate_linear",
)


RESULTS["vae"] = {case: vae_result(case) for case in V["cases"]}
PICTURES["vae"] = {
    case: f"{RESULTS['vae'][case]}/{case}_picture.json"
    for case in V["cases"]
    if settings.case_step(V, case) in ("generation", "latent_space")
}
