"""How long a run will take on some nodes: its jobs, replayed with what each took before.

``make plan RUN=full NODES=8`` calls it with params.yaml, from which papers' graphs give jobs with
their groups, threads and files, a table of measured seconds, and what Slurm and Snakemake add to
each job, as measured by ``benchmarks/slurm_scaling.py``.
"""

import dataclasses
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from pydantic.dataclasses import dataclass

from pr12.cluster import jobs, measured, requests
from pr12.cluster.jobs import Step
from pr12.cluster.replay import Overheads, replay, works
from pr12.workflow import files, settings, step, yaml_files
from pr12.workflow.errors import UserError
from pr12.workflow.papers import Graphs
from pr12.workflow.params import STRICT

# What only copies and draws is not measured: seconds of a job, on the submitting host
UNMEASURED = {"evidence": 1.0, "pages": 10.0, "index": 2.0}


@dataclass(frozen=True, config=STRICT)
class Params:
    """A run, nodes of a cluster, and cores of each: also the most that one job asks for."""

    run: str
    nodes: Annotated[int, Interval(ge=1, le=10_000)]
    cores: Annotated[int, Interval(ge=1, le=10_000)]


def seconds_of(
    steps: Sequence[Step], table: Mapping[measured.Job, measured.Measured]
) -> tuple[dict[Step, float], list[Step]]:
    """Return each step's seconds, and the steps that were never measured.

    A step that was never measured counts as the median of its rule's others, or, without such, as
    what its rule was once given as such a job's time.
    """
    known: dict[str, list[float]] = defaultdict(list)
    for each in steps:
        if each.job in table:
            known[each.rule].append(table[each.job].seconds)
    seconds, unknown = {}, []
    for each in steps:
        if each.job in table:
            seconds[each] = table[each.job].seconds
            continue
        unknown.append(each)
        others = known.get(each.rule)
        guess = 60.0 * each.minutes / requests.TIME_MARGIN
        seconds[each] = statistics.median(others) if others else guess
    seconds |= {e: UNMEASURED[e.job.step] for e in unknown if e.job.step in UNMEASURED}
    return seconds, [each for each in unknown if each.job.step not in UNMEASURED]


def clock(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds.

    Examples
    --------
    >>> clock(3725.4)
    '1:02:05'
    """
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02}:{int(seconds) % 60:02}"


def overheads_of(path: Path) -> Overheads:
    """Read what ``benchmarks/slurm_scaling.py`` wrote; another file is refused."""
    values = files.read_json(path)
    fields = [field.name for field in dataclasses.fields(Overheads)]
    numbers = isinstance(values, dict) and all(type(v) in (int, float) for v in values.values())
    if not numbers or set(values) != set(fields):
        raise UserError(f"{path} must have numbers for {', '.join(fields)} and nothing else")
    return Overheads(**values)


def main(job: step.Job) -> None:
    """Print the replayed run, and what it does not know."""
    nodes, cores = job.params.nodes, job.params.cores
    table = measured.read(job.paths["measured"]) if "measured" in job.paths else {}
    overheads = overheads_of(job.paths["overheads"])
    config = {**yaml_files.load_mapping(job.paths["params"]), "run": job.params.run}
    graphs = Graphs(settings.resolve(config), config["papers"])
    steps = jobs.of_run(graphs, requests.Requests(table, cores, requests.has_gpu()))
    seconds, unknown = seconds_of(steps, table)
    plan = replay(works(steps), seconds, nodes, cores, overheads)
    available = nodes * cores * plan.makespan
    print(f"jobs: {plan.jobs} on the cluster, {plan.local_steps} steps on the submitting host")
    print(f"makespan: {clock(plan.makespan)} ({plan.makespan:.0f} s)")
    print(f"critical path: {clock(plan.critical_path)} ({plan.critical_path:.0f} s)")
    print(f"cores busy: {100 * plan.work / available:.0f} %")
    print(f"added to the work of jobs by Slurm and Snakemake: {100 * plan.added:.0f} %")
    if unknown:
        rules = sorted({each.rule for each in unknown})
        print(
            f"{len(unknown)} of {len(steps)} steps were never measured and count as the median of "
            f"their rule or as a third of what they ask for: {', '.join(rules)}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    with step.start(Params, reads=["params", "overheads"], optional=["measured"]) as job:
        main(job)
