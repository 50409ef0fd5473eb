"""PR-007: photographs and a network -> inversion, texture, style -> photos and their quality."""

from pr12.data.graph import raw, verified
from pr12.workflow import settings
from pr12.workflow.errors import UserError
from pr12.workflow.graph import File, Group, Job, Paper, Raw

photostyle = Paper("photostyle")
PICTURED = {"metrics": "metrics.json", "picture": "{case}_picture.safetensors"}
# The authors' pairs, their published results beside them; all others come from installed packages.
PUBLISHED_PAIRS = ("pair3", "pair14", "pair15", "pair16")
PAIRS = ("china_rocket", "rocket_china", "flower_retina", *PUBLISHED_PAIRS)
SINGLE = ("astronaut", "chelsea", "coffee", "china", "rocket", "flower")
VGG19 = "vgg19-dcbb9e9d.pth"
SQUEEZENET = "squeezenet1_0_deep_compression.safetensors"

IMAGES = Group("photostyle_images", "cases")
# Two such jobs beside each other take many times as long as one after the other (memory).
OPTIMISES = {
    # Pictures of 64 pixels gain nothing from a second thread, and their bits would depend on it
    "threads": lambda job: 2 if photostyle.run == "full" else 1,
    "minutes": (10, 300),
    "gpu": True,
    "group": IMAGES,
}


@photostyle.can_run
def can_run(case: str) -> bool:
    """Tell whether a case runs: trained networks and the authors' pairs are for the full run."""
    params = photostyle.case_params(case)
    known = params["trained"] or params.get("pair") in PUBLISHED_PAIRS
    return photostyle.run == "full" or not known


@photostyle.step(
    makes={"photographs": "photographs.safetensors"},
    params=lambda job: {**photostyle.params("photographs"), "source": job.case},
    local=None,
    memory=1500,
    priority=100,
)
def photographs(job: Job) -> dict[str, Raw]:
    """Read the authors' pairs, or nothing where the photographs lie inside packages."""
    return verified(job.case)


@photostyle.step(place="vgg19", makes={"weights": "weights.safetensors"}, local=None, memory=2500)
def weights(job: Job) -> dict[str, Raw]:
    """Read VGG-19 as torchvision publishes it."""
    return verified("vgg19", VGG19, name="raw")


def seen(case: str) -> dict[str, File]:
    """Return the photographs of a case's source."""
    published = photostyle.case_params(case).get("pair") in PUBLISHED_PAIRS
    return {
        "photographs": photographs("deep_photo_style" if published else "packages")["photographs"]
    }


def seen_by(job: Job) -> dict[str, File | Raw]:
    """Return a case's photographs, and the weights of its network if that is trained."""
    params = photostyle.case_params(job.case)
    if not params["trained"]:
        return seen(job.case)
    if params["architecture"] == "vgg19":
        return seen(job.case) | {"weights": weights()["weights"]}
    return seen(job.case) | {"weights": raw("weights", SQUEEZENET)}


@photostyle.step(makes=PICTURED, memory=1500, priority=20, **OPTIMISES)
def invert(job: Job) -> dict[str, File | Raw]:
    """Read photographs and a network."""
    return seen_by(job)


@photostyle.step(makes=PICTURED, memory=1500, priority=20, **OPTIMISES)
def synthesise(job: Job) -> dict[str, File | Raw]:
    """Read photographs and a network."""
    return seen_by(job)


@photostyle.step(makes=PICTURED, memory=1500, priority=20, **OPTIMISES)
def stylise(job: Job) -> dict[str, File | Raw]:
    """Read photographs and a network."""
    return seen_by(job)


@photostyle.step(makes={"results": "results.safetensors"}, memory=4000, priority=50, **OPTIMISES)
def photo(job: Job) -> dict[str, File | Raw]:
    """Read photographs and a network."""
    return seen_by(job)


@photostyle.step(
    makes=PICTURED,
    params=lambda job: photostyle.params("quality"),
    memory=3000,
    minutes=20,
    group=IMAGES,
)
def quality(job: Job) -> dict[str, File]:
    """Read stylised photographs."""
    return seen(job.case) | {"results": photo(job.case)["results"]}


@photostyle.step(
    makes={"metrics": "metrics.json"}, memory=1500, minutes=(10, 30), gpu=True, group=IMAGES
)
def cross_term(job: Job) -> dict[str, File | Raw]:
    """Read photographs and a network."""
    return seen_by(job)


@photostyle.constraint
def check() -> None:
    """Refuse photographs and weights that there are not, and lags beyond half a texture."""
    for case in photostyle.section["cases"]:
        step, params = settings.case_step(photostyle.section, case), photostyle.case_params(case)
        names = [("photographs", name, SINGLE) for name in params.get("photographs", ())]
        names += [("pair", params["pair"], PAIRS)] if "pair" in params else []
        for key, name, known in names:
            if name not in known:
                place = photostyle.place(step, key, case)
                raise UserError(f"{place} names {name!r}; allowed: {', '.join(known)}")
        if params["trained"] and params["architecture"] not in ("vgg19", "squeezenet1_0"):
            place = photostyle.place(step, "architecture", case)
            allowed = "where trained is true it must be vgg19 or squeezenet1_0"
            raise UserError(f"{place} is {params['architecture']!r}; {allowed}")
    size = photostyle.params("photographs")["texture_size"]
    for case in photostyle.cases_of("synthesise"):
        half = f"half of photographs.texture_size, {size},"
        photostyle.at_most("synthesise", "longest_lag", (size - 1) // 2, half, case)


@photostyle.result
def result(case: str, step: str) -> Job:
    """Return the job whose metrics are those of a case: of a photo, what judges it."""
    return quality(case) if step == "photo" else photostyle.steps[step](case)
