"""What a job asks of a cluster, from what it took before, and which short jobs go together."""

import math
from collections.abc import Mapping

from pr12.cluster.measured import Measured

# A slower node, a fuller one, and what the next data set adds: a job that asks for too little is
# killed at its end, one that asks for too much only waits longer.
MEMORY_MARGIN = 1.3
MEMORY_FLOOR_MB = 300  # Snakemake itself runs beside the step, in the same job
TIME_MARGIN = 3
TIME_FLOOR_MINUTES = 4


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
