"""What answering costs: parameters, bytes on disk and milliseconds, of ensemble and students.

Also how the latency of an ensemble grows when its members run in parallel, one per core, and
there are more members than cores.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import safetensors.torch
import torch
from torch import Tensor

from pr12.distill import model
from pr12.shared import files, run, splits, step
from pr12.shared.step import AtLeast

STUDENTS = ("student_800", "student_300", "student_30", "student_shallow", "student_bottleneck")
BATCHES = (1, 1000)
BLOCKS = 5  # medians of this many blocks of repeats give an interval


@dataclass(frozen=True)
class Params:
    """Params of the measurement."""

    warmup: Annotated[int, AtLeast(1)]
    repeats: Annotated[int, AtLeast(5)]  # one per block


def members(stacked: dict[str, Tensor]) -> list[model.MLP]:
    """Unstack parameters (S, ...) into S nets.

    Examples
    --------
    >>> net = model.MLP(4, (3,), 2, 0, torch.Generator())
    >>> len(members({name: torch.stack([v, v]) for name, v in net.state_dict().items()}))
    2
    """
    nets = []
    for index in range(len(next(iter(stacked.values())))):
        net = model.restore(stacked)
        net.load_state_dict({name: value[index] for name, value in stacked.items()})
        nets.append(net.eval())
    return nets


def answer(nets: Sequence[model.MLP], images: Tensor) -> Tensor:
    """Give the mean of the nets' class probabilities, shape (N, C)."""
    return torch.stack([model.soften(net(images), 1.0) for net in nets]).mean(dim=0)


def bytes_on_disk(nets: Sequence[model.MLP]) -> int:
    """Count the bytes of the nets as safetensors.

    Examples
    --------
    >>> net = model.MLP(4, (3,), 2, 0, torch.Generator())
    >>> bytes_on_disk([net, net]) > 2 * 4 * model.parameter_count(net)
    True
    """
    return sum(len(safetensors.torch.save(dict(net.state_dict()))) for net in nets)


def medians(call: Callable[[], object], params: Params) -> list[float]:
    """Time a call after a warm-up: the median in milliseconds of each block of repeats.

    Examples
    --------
    >>> len(medians(lambda: None, Params(warmup=1, repeats=10)))
    5
    """
    for _ in range(params.warmup):
        call()
    times = []
    for _ in range(params.repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    size = params.repeats // BLOCKS
    return [statistics.median(times[i * size : (i + 1) * size]) for i in range(BLOCKS)]


def sizes(systems: dict[str, list[model.MLP]]) -> dict[str, list[float]]:
    """Give parameters and bytes of every system, and how many times smaller each student is."""
    found: dict[str, list[float]] = {}
    for name, nets in systems.items():
        found[f"{name}/parameters"] = [sum(map(model.parameter_count, nets))]
        found[f"{name}/bytes"] = [bytes_on_disk(nets)]
    for name in STUDENTS:
        ratio = found["ensemble/parameters"][0] / found[f"{name}/parameters"][0]
        found[f"{name}/times_smaller"] = [ratio]
    return found


def latencies(
    systems: dict[str, list[model.MLP]], images: Tensor, params: Params
) -> dict[str, list[float]]:
    """Time every system on one image and on 1,000, with one thread and with all.

    Parameters
    ----------
    systems : dict of str to list of MLP
        The nets whose answers each system averages.
    images : Tensor
        Flat, shape (N, D); repeated if there are too few.
    params : Params
        Warm-up and repeats.

    Returns
    -------
    dict of str to list of float
        ``<system>/milliseconds_batch<B>_threads<one|all>`` per image, and how many times faster
        than the ensemble each student is.
    """
    images = images.repeat(-(-max(BATCHES) // len(images)), 1)
    found = {}
    for threads, count in (("one", 1), ("all", os.cpu_count() or 1)):
        torch.set_num_threads(count)
        for batch in BATCHES:
            for name, nets in systems.items():
                part = images[:batch]
                times = medians(lambda nets=nets, part=part: answer(nets, part), params)
                key = f"{name}/milliseconds_batch{batch}_threads{threads}"
                found[key] = [value / batch for value in times]
    for name in STUDENTS:
        for batch in BATCHES:
            key = f"milliseconds_batch{batch}_threadsone"
            pairs = zip(found[f"ensemble/{key}"], found[f"{name}/{key}"], strict=True)
            found[f"{name}/times_faster_batch{batch}"] = [a / b for a, b in pairs]
    return found


def parallel_latencies(
    nets: Sequence[model.MLP], images: Tensor, params: Params
) -> dict[str, list[float]]:
    """Time ensembles of 1 to twice as many members as cores, the members side by side.

    Returns
    -------
    dict of str to list of float
        ``ensemble/milliseconds_parallel_m<members>`` for 1,000 images, and the same for as many
        members as cores (``_cores``) and twice as many (``_twice_cores``).
    """
    cores = os.cpu_count() or 1
    images = images.repeat(-(-max(BATCHES) // len(images)), 1)[: max(BATCHES)]
    torch.set_num_threads(1)  # one thread a member: the members are what runs in parallel
    found = {}
    with ThreadPoolExecutor(max_workers=cores) as pool:
        for count in range(1, 2 * cores + 1):
            chosen = [nets[i % len(nets)] for i in range(count)]

            def call(chosen: list[model.MLP] = chosen) -> list[Tensor]:
                return list(pool.map(_inferred, chosen, [images] * len(chosen)))

            found[f"ensemble/milliseconds_parallel_m{count}"] = medians(call, params)
    found["ensemble/milliseconds_parallel_cores"] = found[
        f"ensemble/milliseconds_parallel_m{cores}"
    ]
    found["ensemble/milliseconds_parallel_twice_cores"] = found[
        f"ensemble/milliseconds_parallel_m{2 * cores}"
    ]
    return found


def _inferred(net: model.MLP, images: Tensor) -> Tensor:
    with torch.inference_mode():  # a mode belongs to a thread
        return net(images)


def main(job: step.Job) -> None:
    """Measure all systems; times go apart from what is the same on every machine."""
    teachers = members(run.read_tensors(job.paths["teacher"]))
    systems = {"ensemble": teachers, "teacher": teachers[:1]}
    for name in STUDENTS:
        systems[name] = members(run.read_tensors(job.paths[name]))[:1]
    images = splits.load_split(job.paths["test"]).images.flatten(1)
    with torch.inference_mode():
        job.times.update(latencies(systems, images, job.params))
        job.times.update(parallel_latencies(teachers, images, job.params))
    result = {"metrics": sizes(systems), "provenance": job.provenance()}
    files.write_json(job.paths["metrics"], result)


if __name__ == "__main__":
    with step.start(Params, reads=["teacher", *STUDENTS, "test"], writes=["metrics"]) as job:
        main(job)
