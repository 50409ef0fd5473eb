"""What a job asks of a cluster, from what it took before, and which short jobs go together."""

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from pr12.cluster import measured
from pr12.cluster.measured import Measured
from pr12.workflow.graph import Group, Job, Step

# A slower node, a fuller one, and what the next data set adds: a job that asks for too little is
# killed at its end, one that asks for too much only waits longer.
MEMORY_MARGIN = 1.3
MEMORY_FLOOR_MB = 300  # Snakemake itself runs beside the step, in the same job
TIME_MARGIN = 3
TIME_FLOOR_MINUTES = 4
# Starting a job takes some seconds (benchmarks/measured/slurm.json): one must be worth many times
# that, on each core that it may ask for.
WORTH_A_JOB = 200.0  # seconds on a core
QUICK = 60.0  # seconds that may be spent on the submitting host itself


def has_gpu() -> bool:
    """Tell whether trainings ask for a GPU: where there is one, or PR12_GPU=1 says so of nodes."""
    return bool(int(os.environ.get("PR12_GPU", bool(shutil.which("nvidia-smi")))))


@dataclass(frozen=True)
class Requests:
    """What the jobs of a run ask for, and which share a job of the cluster.

    `cores` is the most that one job may ask for; of trainings on a GPU a job runs one at a time.
    """

    table: Mapping[measured.Job, Measured]
    cores: int
    gpu: bool
    _names: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], str]] = field(
        default_factory=dict, repr=False
    )

    @property
    def worth(self) -> float:
        """Seconds that a job must be worth to be submitted alone."""
        return WORTH_A_JOB * (1 if self.gpu else self.cores)

    def took(self, job: Job) -> Measured | None:
        """Return what a job took when it was last measured; nothing of what is always done here."""
        if job.step.local:
            return None
        return self.table.get(measured.Job(job.step.paper.name, job.case, job.step.name))

    def memory_mb(self, job: Job, attempt: int = 1) -> int:
        """Return the memory that a job asks for, in MiB."""
        if job.step.local:
            return job.ask("memory")
        return memory_mb(self.took(job), job.ask("memory"), attempt)

    def minutes(self, job: Job, attempt: int = 1) -> int:
        """Return the wall time that a job asks for, in minutes."""
        if job.step.local:
            return job.ask("minutes")
        return minutes(self.took(job), job.ask("minutes"), attempt)

    def threads(self, job: Job) -> int:
        """Return the threads of a job; "all" are those of the whole machine."""
        threads = job.ask("threads")
        return self.cores if threads == "all" else threads

    def gpus(self, job: Job) -> int:
        """Return how many GPUs a job asks for: none where there is none."""
        return int(self.gpu and job.ask("gpu"))

    def local(self, step: Step) -> bool:
        """Tell whether a step runs on the submitting host: where it was measured to be quick."""
        if step.local is not None:
            return step.local
        seconds = self._of((step.paper.name, step.name)).values()
        return bool(seconds) and max(seconds) < QUICK

    def group(self, job: Job) -> str | None:
        """Return the name of the group of a job; jobs of a group share a job of the cluster."""
        group: Group | None = job.ask("group")
        if group is None or job.case in group.apart:
            return group.apart[job.case] if group else None
        if group.kind == "one":
            return group.name
        place = (job.step.paper.name, job.step.name)
        members = [s for s in job.step.paper.steps.values() if s.asks.get("group") == group]
        if group.kind == "cases":
            default = f"{job.case}_{job.step.name}"
            names = self._shared(tuple((s.paper.name, s.name) for s in members))
            return f"{group.name}_{names.get((job.case, job.step.name), default)}"
        sums = [sum(self._of((s.paper.name, s.name)).values()) for s in members]
        if all(sums) and sum(sums) < 2 * self.worth:  # short, and all measured
            return group.name
        few = 0 < sum(self._of(place).values()) < self.worth
        return job.step.rule if few else f"{job.step.rule}_{'' if job.step.place else job.case}"

    def _of(self, *places: tuple[str, str]) -> dict[tuple[str, str], float]:
        """Return (case, step) -> measured seconds of some steps, each a pair of paper and step."""
        return {
            (job.case, job.step): measure.seconds
            for job, measure in self.table.items()
            if (job.paper, job.step) in places
        }

    def _shared(self, places: tuple[tuple[str, str], ...]) -> dict[tuple[str, str], str]:
        if places not in self._names:
            self._names[places] = shared(self._of(*places), self.worth)
        return self._names[places]


def memory_mb(measured: Measured | None, bound: int, attempt: int = 1) -> int:
    """Memory that a job asks for, in MiB: measured with a margin, else the rule's bound.

    Parameters
    ----------
    measured : Measured or None
        What the job took before.
    bound : int
        What the rule says for jobs that were never measured, MiB.
    attempt : int
        1 at first; a job that was killed asks for that many times as much.

    Examples
    --------
    >>> memory_mb(Measured(seconds=100.0, cpu_seconds=90.0, memory_mb=800.0), 2000)
    1400
    >>> memory_mb(None, 2000, attempt=2)
    4000
    """
    if measured is None or not measured.memory_mb:
        return attempt * bound
    return attempt * 100 * math.ceil((MEMORY_MARGIN * measured.memory_mb + MEMORY_FLOOR_MB) / 100)


def minutes(measured: Measured | None, bound: int, attempt: int = 1) -> int:
    """Wall time that a job asks for, in minutes: measured with a margin, else the rule's bound.

    Examples
    --------
    >>> minutes(Measured(seconds=100.0, cpu_seconds=90.0, memory_mb=800.0), 120)
    9
    >>> minutes(None, 120)
    120
    """
    if measured is None:
        return attempt * bound
    return attempt * (TIME_FLOOR_MINUTES + math.ceil(TIME_MARGIN * measured.seconds / 60))


def packed(seconds: Mapping[str, float], target: float) -> dict[str, int]:
    """Deal short jobs into bins of at least `target` seconds each, longest first.

    Parameters
    ----------
    seconds : mapping of str to float
        Wall seconds of jobs that do not wait for one another.
    target : float
        Seconds that a job must be worth to be submitted alone.

    Returns
    -------
    dict of str to int
        Bin of each short job; jobs of `target` seconds or more are in none, and so is a job that
        would have its bin to itself.

    Examples
    --------
    >>> packed({"a": 300.0, "b": 40.0, "c": 30.0, "d": 20.0, "e": 110.0}, 100.0)
    {'b': 0, 'c': 0, 'd': 0}
    """
    short = sorted(
        (job for job in seconds if seconds[job] < target), key=lambda j: (-seconds[j], j)
    )
    bins = max(1, int(sum(seconds[job] for job in short) // target))
    loads, dealt = [0.0] * bins, {}
    for job in short:
        place = loads.index(min(loads))
        loads[place] += seconds[job]
        dealt[job] = place
    alone = {place for place in range(bins) if list(dealt.values()).count(place) == 1}
    return {job: place for job, place in dealt.items() if place not in alone}


def shared(seconds: Mapping[tuple[str, str], float], target: float) -> dict[tuple[str, str], str]:
    """Name the job of each step of a chain of steps, such as a training and what judges it.

    A job that is tried again starts all of its steps again, so a long step has a job of its own.

    Parameters
    ----------
    seconds : mapping of (case, step) to float
        Wall seconds; a case's steps wait for one another, cases do not.
    target : float
        Seconds that a job must be worth to be submitted alone.

    Returns
    -------
    dict of (case, step) to str
        Short cases share jobs, all of their steps in one; what is short after a long step shares
        jobs with others of that kind, since it waits longer.

    Examples
    --------
    >>> seconds = {("z2", "train"): 40.0, ("z2", "evaluate"): 9.0, ("z3", "train"): 60.0}
    >>> shared(seconds | {("z9", "train"): 400.0, ("z9", "evaluate"): 9.0}, 100.0)
    ... # doctest: +NORMALIZE_WHITESPACE
    {('z2', 'train'): '0', ('z2', 'evaluate'): '0', ('z3', 'train'): '0',
     ('z9', 'train'): 'z9_train', ('z9', 'evaluate'): 'after_z9'}
    """
    long = {key for key in seconds if seconds[key] >= target}
    late = {case for case, _ in long}
    names = {(case, step): f"{case}_{step}" for case, step in seconds}
    for prefix, kind in (("", False), ("after_", True)):
        sums: dict[str, float] = {}
        for (case, step), each in seconds.items():
            if (case in late) == kind and (case, step) not in long:
                sums[case] = sums.get(case, 0.0) + each
        dealt = packed(sums, target)
        for case, step in seconds:
            if case in sums and (case, step) not in long:
                names[case, step] = f"{prefix}{dealt.get(case, case)}"
    return names
