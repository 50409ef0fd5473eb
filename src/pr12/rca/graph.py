"""PR-008: scans -> segmenters -> segmentations -> real and reverse scores -> judgements; tables."""

from collections.abc import Mapping
from typing import Any

from pr12.data.graph import verified
from pr12.workflow.errors import UserError
from pr12.workflow.graph import File, Group, Job, Paper, Raw

rca = Paper("rca")
PICTURED = {"metrics": "metrics.json", "picture": "{case}_picture.json"}
SCORES = {"scores": "scores.safetensors"}
MODEL = {"model": "model.safetensors"}
# Who is moved to whom: split names of the fixed and of the moving scans.
REGISTERED = {
    "multi_atlas": (["calibration", "test"], ["train"]),  # segments, weakly and well
    "atlas": (["reference"], ["calibration", "test"]),  # the paper's direction
    "atlas_to_test": (["test"], ["reference"]),  # Robinson et al.
}
# Whose registrations, and what is made of them
DIRECTIONS = {
    "atlas": ("atlas", "to_reference"),
    "atlas_to_test": ("atlas_to_test", "to_test"),
    "consensus": ("atlas_to_test", "consensus"),
}
BASELINES = ("known_segmenter", "agreement")

CHAIN = Group("rca_segmentation", "chain")


@rca.step(makes=PICTURED, memory=1000, minutes=(10, 60), group=Group("rca_tables", "cases"))
def tabular(job: Job) -> dict[str, File]:
    """Read tables inside scikit-learn."""
    return {}


# Scans: generated, or the Decathlon's.


@rca.step(
    place="scans",
    makes={s: f"{s}.safetensors" for s in ("train", "reference", "calibration", "test")},
    local=None,
    priority=100,
)
def scans(job: Job) -> dict[str, Raw]:
    """Read the raw scans, if the run's are not generated."""
    return verified(job.params["source"])


def split(*names: str) -> dict[str, File]:
    """Return splits of the scans."""
    return {name: scans()[name] for name in names}


# Registrations, segmenters and their segmentations.


def efforts(job: Job) -> Mapping[str, Any]:
    """Return the params of one set of registrations; only weak segmenters want weak efforts."""
    fixed, moving = REGISTERED[job.case]
    params = {**rca.params("register"), "fixed": fixed, "moving": moving}
    if job.case == "multi_atlas":
        return params | {"scans": max(rca.params("segment")["atlases"])}
    strongest = ("affine_iterations", "deformable_iterations")
    return params | {key: params[key][-1:] for key in strongest}


@rca.step(
    makes={"correspondences": "correspondences.safetensors"},
    params=efforts,
    threads=8,
    memory=4000,
    minutes=(10, 240),
    group=CHAIN,
    priority=50,
)
def register(job: Job) -> dict[str, File]:
    """Read fixed and moving scans."""
    fixed, moving = REGISTERED[job.case]
    return split(*fixed, *moving)


def correspondences(name: str) -> dict[str, File]:
    """Return one set of registrations."""
    return {"correspondences": register(name)["correspondences"]}


@rca.step(
    place="unet",
    makes=MODEL | {"history": "history.json"},
    minutes=(10, 60),
    gpu=True,
    group=CHAIN,
    priority=90,
)
def train(job: Job) -> dict[str, File]:
    """Read training scans."""
    return split("train")


@rca.step(place="forest", makes=MODEL, minutes=(10, 30), group=CHAIN, priority=90)
def train_forest(job: Job) -> dict[str, File]:
    """Read training scans."""
    return split("train")


@rca.step(
    place="segmenters",
    makes={"segmentations": "segmentations.safetensors"},
    memory=4000,
    minutes=(10, 60),
    gpu=True,
    group=CHAIN,
    priority=80,
)
def segment(job: Job) -> dict[str, File]:
    """Read three kinds of segmenters."""
    segmenters = {"forest": train_forest()["model"], "unet": train()["model"]}
    return split("train", "calibration", "test") | segmenters | correspondences("multi_atlas")


def segmentations() -> dict[str, File]:
    """Return what all segmenters give."""
    return {"segmentations": segment()["segmentations"]}


@rca.step(place="segmenters", makes=SCORES | PICTURED, threads=2, minutes=20, group=CHAIN)
def quality(job: Job) -> dict[str, File]:
    """Read segmentations and the truth."""
    return split("calibration", "test") | segmentations()


# Reverse classifiers, and what judges their scores.


@rca.step(
    makes=SCORES,
    params=lambda job: {"direction": DIRECTIONS[job.case][1]},
    threads=8,
    memory=4000,
    minutes=(10, 60),
    group=CHAIN,
)
def reverse_atlas(job: Job) -> dict[str, File]:
    """Read segmentations that registrations carry to references."""
    return correspondences(DIRECTIONS[job.case][0]) | segmentations() | split("reference")


@rca.step(place="forest", makes=SCORES, threads=8, memory=4000, minutes=(10, 240), group=CHAIN)
def reverse_forest(job: Job) -> dict[str, File]:
    """Read segmentations that forests learn from."""
    return split("test") | segmentations() | split("reference")


@rca.step(
    place="cnn", makes=SCORES, threads=8, memory=4000, minutes=(10, 240), gpu=True, group=CHAIN
)
def reverse_cnn(job: Job) -> dict[str, File]:
    """Read segmentations that networks learn from."""
    return split("test") | segmentations() | split("reference")


@rca.step(makes=SCORES, params=lambda job: {"kind": job.case}, memory=1000, group=CHAIN)
def baseline(job: Job) -> dict[str, File]:
    """Read real scores of calibration scans, or all segmentations of test scans."""
    if job.case == "agreement":
        return split("test") | segmentations()
    return {"real": quality()["scores"]}


@rca.step(place="regressor", makes=SCORES, minutes=(10, 60), gpu=True, group=CHAIN)
def regress(job: Job) -> dict[str, File]:
    """Read references, on whose damaged labels a net learns, and what it judges."""
    return split("reference", "test") | segmentations()


def scores(job: Job) -> dict[str, File]:
    """Return what a judgement reads: real scores, and those of the case's reverse classifier."""
    name = job.params["reverse"]
    if name in DIRECTIONS or name in BASELINES:
        reverse = (reverse_atlas if name in DIRECTIONS else baseline)(name)
    else:
        reverse = regress() if name == "regressor" else rca.steps[f"reverse_{name}"]()
    return {"real": quality()["scores"], "scores": reverse["scores"]}


@rca.step(makes=PICTURED, memory=1000, group=CHAIN)
def evaluate(job: Job) -> dict[str, File]:
    """Read scores."""
    return scores(job)


@rca.step(makes=PICTURED, memory=1000, group=CHAIN)
def calibrate(job: Job) -> dict[str, File]:
    """Read scores."""
    return scores(job)


@rca.constraint
def check() -> None:
    """Refuse more atlases, references and subjects than there are."""
    sizes, atlases = rca.params("scans"), rca.params("segment")["atlases"]
    count = len(rca.params("register")["affine_iterations"])
    if len(atlases) > count or max(atlases) > sizes["train"]:
        raise UserError(
            f"rca.segment.atlases is {list(atlases)}; it must be at most {count} numbers, the "
            f"efforts of rca.register, up to {sizes['train']}, as many as rca.scans.train has"
        )
    for step in ("reverse_forest", "reverse_cnn"):
        rca.at_most(step, "subjects", sizes["test"], "rca.scans.test")
    for case in rca.cases_of("evaluate"):
        judged = f"reverse_{rca.params('evaluate', case)['reverse']}"
        asked = (
            rca.params(judged).get("subjects")
            if judged in ("reverse_forest", "reverse_cnn")
            else None
        )
        rca.at_most("evaluate", "subjects", asked or sizes["test"], f"rca.{judged}", case)
        rca.at_most("evaluate", "references", sizes["reference"], "rca.scans.reference", case)
