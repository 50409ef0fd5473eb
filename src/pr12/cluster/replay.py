"""A run on some nodes, replayed: its jobs, what each takes, and what Slurm and Snakemake add."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pr12.cluster.jobs import Step
from pr12.workflow.errors import UserError

HOST, LOOK = -1, -2  # in place of a node: the submitting host, Snakemake's look at the queue


@dataclass(frozen=True)
class Overheads:
    """What is added to the work, in seconds.

    Attributes
    ----------
    start : float
        What a job takes on its node besides its steps.
    per_step : float
        To each step, for starting it and looking for its files.
    first_look, look_step, last_look : float
        Snakemake asks Slurm for finished jobs after `first_look` seconds, and if none has finished,
        `look_step` seconds later than the time before, up to `last_look`.
    """

    start: float
    per_step: float
    first_look: float
    look_step: float
    last_look: float


@dataclass(frozen=True)
class Work:
    """One job of the cluster, or one step on the submitting host, and what it waits for."""

    name: str
    steps: tuple[Step, ...]
    local: bool
    waits_for: frozenset[int]


@dataclass(frozen=True)
class Plan:
    """A replayed run: seconds until its end and of its critical path, core-seconds of work, jobs.

    `added` is the share of all jobs' time that is not their steps'.
    """

    makespan: float
    critical_path: float
    work: float
    jobs: int
    local_steps: int
    added: float


def works(steps: Sequence[Step]) -> list[Work]:
    """Join steps of a group to one job, and say which jobs wait for which."""
    joined: dict[str, list[Step]] = defaultdict(list)
    for number, each in enumerate(steps):
        joined[each.group or f" {number}"].append(each)
    maker = {file: name for name, group in joined.items() for s in group for file in s.outputs}
    names = list(joined)
    place = {name: number for number, name in enumerate(names)}
    return [
        Work(
            name.strip(),
            tuple(joined[name]),
            name.startswith(" "),
            frozenset(
                place[maker[file]]
                for each in joined[name]
                for file in each.inputs
                if file in maker and maker[file] != name
            ),
        )
        for name in names
    ]


def width(work: Work, most: int) -> int:
    """Cores that a job asks for: its widest level of steps, no more than one job may have.

    Snakemake sorts a group's steps into levels that wait for one another and adds up threads.
    """
    maker = {file: each for each in work.steps for file in each.outputs}
    levels: dict[Step, int] = {}

    def level(each: Step) -> int:
        if each not in levels:
            before = [level(maker[file]) for file in each.inputs if file in maker]
            levels[each] = 1 + max(before, default=-1)
        return levels[each]

    threads: dict[int, int] = defaultdict(int)
    for each in work.steps:
        threads[level(each)] += min(each.threads, most)
    return min(most, max(threads.values()))


def inside(work: Work, cores: int, seconds: Mapping[Step, float], per_step: float) -> float:
    """Seconds that a job's steps take on its cores, started as soon as what they read is there."""
    maker = {file: each for each in work.steps for file in each.outputs}
    before = {s: {maker[f] for f in s.inputs if f in maker} for s in work.steps}
    waiting, done, free, now = list(work.steps), set(), cores, 0.0
    running: list[tuple[float, int, Step]] = []
    while waiting or running:
        for each in [s for s in waiting if before[s] <= done]:
            threads = min(each.threads, cores)
            if threads <= free and (not each.gpus or not any(r[2].gpus for r in running)):
                free -= threads
                waiting.remove(each)
                heapq.heappush(running, (now + seconds[each] + per_step, id(each), each))
        now, _, each = heapq.heappop(running)
        free += min(each.threads, cores)
        done.add(each)
    return now


def replay(
    works: Sequence[Work],
    seconds: Mapping[Step, float],
    nodes: int,
    cores: int,
    overheads: Overheads,
) -> Plan:
    """Replay a run: a queue served in order on `nodes`, ends noticed at Snakemake's next look.

    Parameters
    ----------
    works : sequence of Work
        The jobs.
    seconds : mapping of Step to float
        What each step takes.
    nodes, cores : int
        The cluster: its nodes, and cores of each, which is also the most that one job asks for.
    overheads : Overheads
        What is added to the work.

    Raises
    ------
    UserError
        If jobs wait for one another.
    """
    widths = {number: width(work, cores) for number, work in enumerate(works)}
    lasts = {
        number: inside(work, widths[number], seconds, 0.0 if work.local else overheads.per_step)
        + (0.0 if work.local else overheads.start)
        for number, work in enumerate(works)
    }
    work = sum(seconds[s] * min(s.threads, cores) for w in works if not w.local for s in w.steps)
    return Plan(
        makespan(works, widths, lasts, [cores] * nodes, overheads),
        critical_path(works, seconds),
        work,
        sum(not w.local for w in works),
        sum(w.local for w in works),
        overheads_share(works, lasts, seconds, widths),
    )


def makespan(
    works: Sequence[Work],
    widths: Mapping[int, int],
    lasts: Mapping[int, float],
    cores: Sequence[int],
    overheads: Overheads,
) -> float:
    """Seconds until all jobs have ended and Snakemake has noticed it; `cores` are by node.

    Raises
    ------
    UserError
        If jobs wait for one another.
    """
    free = list(cores)
    noticed: set[int] = set()
    started: set[int] = set()
    ended: list[int] = []  # on the cluster, not yet noticed
    events: list[tuple[float, int, int]] = []  # time, node or HOST or LOOK, job
    now, interval, looking = 0.0, overheads.first_look, False
    local_free = free[0]
    while len(noticed) < len(works):
        for number, work in enumerate(works):
            if number in started or not work.waits_for <= noticed:
                continue
            if work.local:
                if local_free:
                    local_free -= 1
                    started.add(number)
                    heapq.heappush(events, (now + lasts[number], HOST, number))
                continue
            node = max(range(len(free)), key=free.__getitem__)
            if free[node] >= widths[number]:
                free[node] -= widths[number]
                started.add(number)
                heapq.heappush(events, (now + lasts[number], node, number))
            if not looking:
                heapq.heappush(events, (now + interval, LOOK, -1))
                looking = True
        if not events:
            raise UserError("these jobs wait for one another; snakemake --dry-run says which")
        now, node, number = heapq.heappop(events)
        if node == HOST:
            local_free += 1
            noticed.add(number)
        elif node >= 0:
            free[node] += widths[number]
            ended.append(number)
        else:
            interval = overheads.first_look if ended else interval + overheads.look_step
            interval = min(interval, overheads.last_look)
            noticed.update(ended)
            ended.clear()
            looking = any(n >= 0 for _, n, _ in events)
            if looking:
                heapq.heappush(events, (now + interval, LOOK, -1))
    return now


def overheads_share(
    works: Sequence[Work],
    lasts: Mapping[int, float],
    seconds: Mapping[Step, float],
    widths: Mapping[int, int],
) -> float:
    """Share of the time of all jobs, on a cluster with no waiting, that is not their steps'."""
    elapsed = work = 0.0
    for number, each in enumerate(works):
        if not each.local:
            elapsed += lasts[number]
            work += inside(each, widths[number], seconds, 0.0)
    return elapsed / work - 1 if work else 0.0


def critical_path(works: Iterable[Work], seconds: Mapping[Step, float]) -> float:
    """Seconds of the longest chain of steps that wait for one another: no cluster is faster."""
    steps = [each for work in works for each in work.steps]
    maker = {file: each for each in steps for file in each.outputs}
    ends: dict[Step, float] = {}

    def end(each: Step) -> float:
        if each not in ends:
            before = [end(maker[file]) for file in each.inputs if file in maker]
            ends[each] = seconds[each] + max(before, default=0.0)
        return ends[each]

    return max(end(each) for each in steps)
