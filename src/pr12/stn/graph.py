"""PR-011: digits, sequences of digits, parts of birds -> nets with and without transformers."""

from pr12.data import graph as data_graph
from pr12.data.graph import verified
from pr12.workflow import settings
from pr12.workflow.graph import File, Group, Job, Paper, Raw

stn = Paper("stn")
NET = {"model": "model.safetensors", "history": "history.json"}
PICTURED = {"metrics": "metrics.json", "picture": "{case}_picture.json"}
SPLITS = {split: f"{split}.safetensors" for split in ("train", "validation", "test")}
# Tasks with data and nets of their own, and the real source of their data.
TASKS = {"sequences": "svhn", "parts": "cub"}
GOOGLENET = "googlenet-1378be20.pth"  # trained on ImageNet; nets of birds start from it

NETS = Group("stn_nets", "cases")


def digits(*names: str) -> dict[str, File]:
    """Return splits of the digits."""
    return data_graph.split(stn.section["dataset"], *names)


def task(case: str) -> str | None:
    """Return the task of a case, None for the distorted digits."""
    step = settings.case_step(stn.section, case)
    return step.removeprefix("train_") if step.startswith("train_") else None


def source(case: str) -> str | None:
    """Return the raw data set that a case reads, None if its data are generated."""
    name = task(case)
    chosen = stn.params(name, case)["source"] if name else None
    return chosen if chosen in TASKS.values() else None


@stn.can_run
def can_run(case: str) -> bool:
    """Tell whether the run has what a case reads.

    Real house numbers and birds are asked for in the full run only; generated ones serve every run.
    """
    return stn.run == "full" or not source(case)


# Distorted digits.


@stn.step(
    makes=NET,
    minutes=(20, 600),
    gpu=True,
    group=NETS,
    # The plain nets convolve the largest images: they take longest and start first.
    priority=lambda job: 100 if job.case in ("cnn", "deformable") else 0,
)
def train(job: Job) -> dict[str, File]:
    """Read digits."""
    return digits("train")


@stn.step(makes=PICTURED, overrides_of=("train",), minutes=(10, 60), gpu=True, group=NETS)
def evaluate(job: Job) -> dict[str, File]:
    """Read a case's nets."""
    nets = {name: train(job.case)[name] for name in ("model", "history")}
    return nets | digits("test")


# On the CPU in every run: its milliseconds are compared with each other.
@stn.step(
    makes={"metrics": "metrics.json"},
    environment="CUDA_VISIBLE_DEVICES=",
    memory=3000,
    group=Group("stn_cost"),
)
def cost(job: Job) -> dict[str, File]:
    """Read nothing."""
    return {}


# Tasks: cases with the same data share them, whose place is their source and size.


def task_data(case: str, *names: str) -> dict[str, File]:
    """Return splits of the data of a case's task."""
    step = stn.steps[task(case)]
    params = stn.params(step.name, case)
    job = step(f"{params['source']}_{params['size']}", params_of=case)
    return {name: job[name] for name in names}


def task_source(job: Job) -> dict[str, File | Raw]:
    """Return what the data of a task are made from: digits, raw files, or nothing."""
    name = job.params["source"]
    if name == "composed":
        splits = digits(*SPLITS)
        return {f"digits_{split}": file for split, file in splits.items()}
    return verified(name) if name in TASKS.values() else {}


@stn.step(
    makes=SPLITS,
    overrides_of=("train_sequences",),
    local=None,
    memory=(2000, 16000),
    minutes=(10, 60),
    priority=50,  # three trainings wait for it
)
def sequences(job: Job) -> dict[str, File | Raw]:
    """Read composed digits or house numbers."""
    return task_source(job)


@stn.step(makes=NET, memory=(2000, 16000), minutes=(20, 600), gpu=True, group=NETS)
def train_sequences(job: Job) -> dict[str, File]:
    """Read sequences."""
    return task_data(job.case, "train")


@stn.step(
    makes=PICTURED,
    overrides_of=("train_sequences",),
    memory=(2000, 16000),
    minutes=(10, 60),
    gpu=True,
    group=NETS,
)
def evaluate_sequences(job: Job) -> dict[str, File]:
    """Read a case's nets."""
    nets = {"model": train_sequences(job.case)["model"]}
    return nets | task_data(job.case, "validation", "test")


@stn.step(
    makes=SPLITS,
    overrides_of=("train_parts",),
    local=None,
    memory=(2000, 16000),
    minutes=(10, 60),
    priority=50,  # three trainings wait for it
)
def parts(job: Job) -> dict[str, File | Raw]:
    """Read generated birds or photographed ones."""
    return task_source(job)


@stn.step(makes=NET, memory=(2000, 16000), minutes=(20, 600), gpu=True, group=NETS)
def train_parts(job: Job) -> dict[str, File | Raw]:
    """Read images, and for real birds the weights to start from."""
    nets = verified("googlenet", GOOGLENET, name="weights") if source(job.case) == "cub" else {}
    return nets | task_data(job.case, "train")


@stn.step(
    makes=PICTURED,
    overrides_of=("train_parts",),
    memory=(2000, 16000),
    minutes=(10, 60),
    gpu=True,
    group=NETS,
)
def evaluate_parts(job: Job) -> dict[str, File]:
    """Read a case's nets."""
    nets = {"model": train_parts(job.case)["model"]}
    return nets | task_data(job.case, "validation", "test")


@stn.step(makes=PICTURED, minutes=(10, 120), gpu=True, group=NETS)
def colocalise(job: Job) -> dict[str, File]:
    """Read digits."""
    return digits("train", "test")


@stn.result
def result(case: str, step: str) -> Job:
    """Return the job whose metrics are those of a case."""
    return stn.steps[step.replace("train", "evaluate", 1)](case)


@stn.constraint
def check() -> None:
    """Refuse more examples than there are, and windows larger than images."""
    dataset = stn.section["dataset"]
    counts = {name: data_graph.size(dataset, name) for name in SPLITS}
    for case in stn.cases_of("train"):
        stn.at_most("train", "batch_size", counts["train"], f"data.{dataset}.train", case)
        for key in ("examples", "moved_examples"):
            stn.at_most("evaluate", key, counts["test"], f"data.{dataset}.test", case)
    for name in TASKS:
        for case in stn.cases_of(f"train_{name}"):
            data = stn.params(name, case)
            if data["train"] is not None:
                stn.at_most(f"train_{name}", "batch_size", data["train"], f"stn.{name}.train", case)
            if name == "parts":
                size = f"an image, stn.parts.size {data['size']},"
                stn.at_most("train_parts", "input_size", data["size"], size, case)
