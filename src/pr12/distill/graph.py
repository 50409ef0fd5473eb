"""PR-009: teachers -> soft labels -> students; a library of models -> mimic nets; their cost."""

from typing import Any

from pr12.data import graph as data_graph
from pr12.data.graph import raw
from pr12.workflow import settings
from pr12.workflow.errors import UserError
from pr12.workflow.graph import File, Group, Job, Paper, Raw

distill = Paper("distill")
NET = {"model": "model.safetensors", "history": "history.json"}
JUDGED = {"metrics": "metrics.json"}

STUDENTS = Group("distill_students", "cases", {"teacher": "distill_teacher"})
TEACHER = Group("distill_teacher_looks")
LOOKS = Group("distill_looks", "cases")
COMPRESSION = Group("distill_compression", "cases")


def digits(*names: str) -> dict[str, File]:
    """Return splits of the digits."""
    return data_graph.split(distill.section["dataset"], *names)


def soft_targets() -> dict[str, File]:
    """Return the teacher's soft labels."""
    return {"soft_labels": soft_labels()["soft_labels"]}


@distill.step(
    makes=NET,
    minutes=120,
    gpu=True,
    group=STUDENTS,
    # Half of all else waits for the teachers.
    priority=lambda job: 100 if job.case == "teacher" else 0,
)
def train(job: Job) -> dict[str, File]:
    """Read digits, and soft labels if the net learns from the teacher."""
    taught = job.params["soft_weight"] > 0 or job.params["logit_weight"] > 0
    return digits("train", "validation") | (soft_targets() if taught else {})


@distill.step(
    place="teacher", makes={"soft_labels": "soft_labels.safetensors"}, group=TEACHER, priority=100
)
def soft_labels(job: Job) -> dict[str, File]:
    """Read the teachers and what they label."""
    return {"model": train("teacher")["model"]} | digits("train")


@distill.step(place="teacher", makes=JUDGED, group=TEACHER)
def ensemble(job: Job) -> dict[str, File]:
    """Read the teachers, which are judged together."""
    return {"model": train("teacher")["model"]} | digits("validation", "test")


@distill.step(makes=JUDGED, overrides_of=("train",), group=STUDENTS)
def evaluate(job: Job) -> dict[str, File]:
    """Read a student."""
    return {"model": train(job.case)["model"]} | digits("validation", "test")


# The three steps that only look at what the nets and soft labels are.


@distill.step(makes=JUDGED | {"picture": "picture.json"}, group=LOOKS)
def temperature(job: Job) -> dict[str, File]:
    """Read the soft labels."""
    return digits("train") | soft_targets()


@distill.step(makes=JUDGED, group=LOOKS)
def gradient_limit(job: Job) -> dict[str, File]:
    """Read a student of hard labels, and the soft ones."""
    return {"model": train("hard_800")["model"]} | digits("train") | soft_targets()


def systems(_: Job) -> dict[str, Any]:
    """Return the shapes of nets, on which alone their cost depends: no net is read."""

    def system(case: str, members: int = 1) -> dict[str, Any]:
        params = train(case).params
        shape = {key: params[key] for key in ("hidden", "width_scale", "bottleneck")}
        return {"members": members} | shape

    ensemble = system("teacher", len(train("teacher").params["seeds"]))
    single = {name: system(case) for name, case in ({"teacher": "teacher"} | students()).items()}
    return {"systems": {"ensemble": ensemble} | single}


# All cores: whatever else ran would be in the measured times.
@distill.step(makes=JUDGED, adds=systems, threads="all", minutes=20, group=Group("distill_cost"))
def cost(job: Job) -> dict[str, File]:
    """Read what is answered."""
    return digits("test")


def students() -> dict[str, str]:
    """Return system -> case of the students whose cost is measured."""
    cases, place = distill.section["cases"], "distill.figures.student_cases"
    trained = [case for case in cases if settings.case_step(distill.section, case) == "train"]
    for system, case in distill.section["figures"]["student_cases"].items():
        if system in ("teacher", "test"):
            raise UserError(f"{place}.{system} names what is measured anyway; choose another name")
        if case not in trained:
            raise UserError(f"{place}.{system} is {case!r}; allowed: {', '.join(trained)}")
    return distill.section["figures"]["student_cases"]


# Model compression (Bucila et al.): its own data, its own teacher.


@distill.step(
    makes={"transfer": "transfer.safetensors", "test": "test.safetensors"} | JUDGED,
    memory=(2000, 8000),
    minutes=(20, 600),
    group=Group("distill_library"),
    priority=100,
)
def library(job: Job) -> dict[str, Raw]:
    """Read the raw tables that the problems need."""
    tables = {problem.partition("_")[0] for problem in job.params["problems"]}
    return {name: raw(name) for name in sorted(tables) if data_graph.checksums(name)}


@distill.step(
    makes=NET,
    memory=(2000, 8000),
    minutes=(20, 600),
    gpu=True,
    group=COMPRESSION,
    priority=50,  # the longest chain after the teachers'
)
def compress(job: Job) -> dict[str, File]:
    """Read what the library of models says of generated examples."""
    return {"transfer": library("library")["transfer"]}


@distill.step(makes=JUDGED, overrides_of=("compress",), memory=4000, group=COMPRESSION)
def evaluate_compression(job: Job) -> dict[str, File]:
    """Read a mimic net."""
    return {"model": compress(job.case)["model"], "test": library("library")["test"]}


@distill.constraint
def check() -> None:
    """Refuse what the library of models does not label, and shifts by a whole image."""
    for case in distill.cases_of("compress"):
        params, library = distill.params("compress", case), distill.params("library", "library")
        first, *_, last = library["sizes"]
        if not first <= params["sizes"][0] <= params["sizes"][-1] <= last:
            place = distill.place("compress", "sizes", case)
            allowed = f"it must lie between {first} and {last}, the first and the last of library"
            raise UserError(f"{place} is {list(params['sizes'])}; {allowed}")
        if params["generator"] not in library["generators"]:
            place = distill.place("compress", "generator", case)
            allowed = f"it must be one of library's generators, {', '.join(library['generators'])}"
            raise UserError(f"{place} is {params['generator']!r}; {allowed}")
    data = data_graph.data_sets.section[distill.section["dataset"]]
    side = {"digits": 8, "mnist": 28}[data["dataset"]] + 2 * data["margin"]
    for case in distill.cases_of("train"):
        distill.at_most("train", "jitter", side - 1, f"a shifted image of {side} pixels", case)


@distill.result
def result(case: str, step: str) -> Job:
    """Return the job whose metrics are those of a case."""
    if step == "train":
        return ensemble() if case == "teacher" else evaluate(case)
    return evaluate_compression(case) if step == "compress" else distill.steps[step](case)
