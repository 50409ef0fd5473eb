"""The jobs of a whole run on a cluster: those of the papers' graphs, evidence and pages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pr12.cluster import measured
from pr12.cluster.requests import Requests
from pr12.workflow.graph import Job
from pr12.workflow.papers import Graphs


@dataclass(frozen=True)
class Step:
    """One job of the workflow; without a group it runs on the submitting host."""

    rule: str
    group: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    job: measured.Job
    threads: int = 1
    memory_mb: int = 0
    minutes: int = 0
    gpus: int = 0
    priority: int = 0


def of_run(graphs: Graphs, requests: Requests) -> list[Step]:
    """Return all jobs of a run from nothing, as rules/*.smk have them.

    Parameters
    ----------
    graphs : Graphs
        Bound to the run.
    requests : Requests
        What its jobs ask for.
    """
    steps = [_step(job, requests) for job in graphs.jobs.values()]
    for paper, results in graphs.results.items():
        marks = list(_evidence(paper, results))
        page = f"{paper}.done"
        inputs = tuple(step.outputs[0] for step in marks)
        pages = Step(f"{paper}_pages", None, inputs, (page,), measured.Job(paper, "", "pages"))
        steps += [*marks, pages]
    pages = tuple(f"{paper}.done" for paper in graphs.results)
    return [*steps, Step("index", None, pages, ("index.done",), measured.Job("", "", "index"))]


def _step(job: Job, requests: Requests) -> Step:
    local = requests.local(job.step)
    return Step(
        job.step.rule,
        None if local else requests.group(job),
        tuple(file.path for file in job.waits_for),
        tuple(f"{job.folder}/{file}" for file in job.outputs.values()),
        measured.Job(job.step.paper.name, job.case, job.step.name),
        requests.threads(job),
        requests.memory_mb(job),
        requests.minutes(job),
        requests.gpus(job),
        job.ask("priority"),
    )


def _evidence(paper: str, results: Mapping[str, Job]) -> Iterator[Step]:
    for case, job in results.items():
        metrics = job["metrics"].path
        mark = f"{job.folder}/evidence.json"
        yield Step("evidence", None, (metrics,), (mark,), measured.Job(paper, case, "evidence"))
