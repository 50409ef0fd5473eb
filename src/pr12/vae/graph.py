"""PR-010: images -> variational autoencoders and their baselines -> bounds, spaces, likelihoods."""

from pr12.data import graph as data_graph
from pr12.data.graph import verified
from pr12.workflow import settings
from pr12.workflow.errors import UserError
from pr12.workflow.graph import File, Group, Job, Paper, Raw

vae = Paper("vae")
NET = {"model": "model.safetensors", "history": "history.json"}
JUDGED = {"metrics": "metrics.json"}
PICTURED = JUDGED | {"picture": "{case}_picture.json"}
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
    "latent_space": {f"z{z}": f"aevb_z{z}" for z in (2, 5, 10, 20)} | {"faces_z2": "faces_z2"},
}
AWAITED = {case for cases in LOOKED_AT.values() for case in cases.values()}

NETS = Group("vae_nets", "cases")
LOOKS = Group("vae_looks")


def digits(*names: str) -> dict[str, File]:
    """Return splits of the digits."""
    return data_graph.split(vae.section["dataset"], *names)


def images(case: str, *names: str) -> dict[str, File]:
    """Return splits of the images that a case's nets learn from."""
    if vae.case_params(case)["images"] == "digits":
        return digits(*names)
    return {name: faces()[name] for name in names}


def trained(case: str) -> dict[str, File]:
    """Return the nets of a case, whichever step trains them."""
    step = vae.steps["mcem" if vae.section["cases"][case].get("step") == "mcem" else "train"]
    return {"model": step(case)["model"]}


def looked_at(job: Job) -> dict[str, File]:
    """Return the nets that a step looks at."""
    return {name: trained(case)["model"] for name, case in LOOKED_AT[job.step.name].items()}


@vae.step(
    place="faces",
    makes={split: f"{split}.safetensors" for split in ("train", "validation", "test")},
    local=None,
    memory=1000,
)
def faces(job: Job) -> dict[str, Raw]:
    """Read Frey Face, if the run's faces are those."""
    return verified("frey_face") if job.params["source"] == "frey" else {}


@vae.step(
    makes=NET,
    minutes=(20, 600),
    gpu=True,
    group=NETS,
    # Other steps wait for these; the others of their kind do not.
    priority=lambda job: 100 if job.case in AWAITED else 0,
)
def train(job: Job) -> dict[str, File]:
    """Read training images."""
    return images(job.case, "train")


@vae.step(makes=NET, minutes=(20, 600), gpu=True, group=NETS)
def mcem(job: Job) -> dict[str, File]:
    """Read training images."""
    return images(job.case, "train")


@vae.step(makes=JUDGED, overrides_of=TRAINED, minutes=20, group=NETS)
def evaluate(job: Job) -> dict[str, File]:
    """Read a case's nets."""
    return trained(job.case) | images(job.case, "train", "test")


@vae.step(makes=JUDGED, overrides_of=TRAINED, memory=4000, minutes=(20, 120), gpu=True, group=NETS)
def evaluate_likelihood(job: Job) -> dict[str, File]:
    """Read a case's nets."""
    return trained(job.case) | images(job.case, "train", "test")


@vae.step(makes=JUDGED, overrides_of=TRAINED, memory=4000, minutes=20, group=NETS)
def evaluate_linear(job: Job) -> dict[str, File]:
    """Read a case's nets."""
    return trained(job.case) | images(job.case, "train", "test")


@vae.step(place="classifier", makes=NET, minutes=20, group=LOOKS, priority=100)
def classifier(job: Job) -> dict[str, File]:
    """Read digits."""
    return digits("train", "validation")


@vae.step(makes=JUDGED, minutes=20, group=LOOKS)
def gradient_variance(job: Job) -> dict[str, File]:
    """Read nets of some latent dimensions."""
    return looked_at(job) | digits("train")


@vae.step(makes=PICTURED, minutes=20, group=LOOKS)
def generation(job: Job) -> dict[str, File]:
    """Read variational autoencoders and plain ones, and a classifier of digits."""
    return looked_at(job) | digits("train", "test") | {"classifier": classifier()["model"]}


@vae.step(makes=PICTURED, minutes=20, group=LOOKS)
def latent_space(job: Job) -> dict[str, File]:
    """Read nets of digits and of faces."""
    tests = {"digits_test": digits("test")["test"], "faces_test": faces()["test"]}
    return looked_at(job) | tests


@vae.constraint
def check() -> None:
    """Refuse more examples than there are, and what a case's nets cannot be asked."""
    dataset = vae.section["dataset"]
    count, of_digits = data_graph.size(dataset, "train"), f"data.{dataset}.train"
    for case in vae.cases_of(*TRAINED):
        step, params = settings.case_step(vae.section, case), vae.case_params(case)
        faces_count = vae.params("faces")["train"]
        known = (count, of_digits) if params["images"] == "digits" else (faces_count, "vae.faces")
        for key in ("train_examples", "batch_size"):
            vae.at_most(step, key, *known, case)
        estimators = vae.params("evaluate_likelihood", case)["estimators"]
        if (step == "mcem" and "importance" in estimators) or (
            params.get("objective") == "autoencoder" and estimators
        ):
            place = vae.place("evaluate_likelihood", "estimators", case)
            allowed = "without importance" if step == "mcem" else "[], for it has no likelihood"
            raise UserError(f"{place} is {list(estimators)}; of {case} it must be {allowed}")
    vae.at_most("classifier", "batch_size", count, of_digits)
    for case in vae.cases_of("gradient_variance"):
        vae.at_most("gradient_variance", "examples", count, of_digits, case)
        moment = vae.params("gradient_variance", case)["moment"]
        for net in LOOKED_AT["gradient_variance"].values():
            moments = len(vae.case_params(net)["snapshots"])
            if not -moments <= moment < moments:
                place = vae.place("gradient_variance", "moment", case)
                allowed = f"from {-moments} to {moments - 1}, one of the snapshots of {net}"
                raise UserError(f"{place} is {moment}; it must be a number {allowed}")


@vae.result
def result(case: str, step: str) -> Job:
    """Return the job whose metrics are those of a case: what judges its nets."""
    if step not in TRAINED:
        return vae.steps[step](case)
    if vae.params("evaluate_likelihood", case)["estimators"]:
        return evaluate_likelihood(case)
    linear = vae.section["cases"][case].get("likelihood") == "linear"
    return evaluate_linear(case) if linear else evaluate(case)
