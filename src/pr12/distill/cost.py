"""What answering costs: parameters, bytes on disk and milliseconds, of ensemble and students.

Also how the latency of an ensemble grows when its members run in parallel, one per core, and
there are more members than cores.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pr12.data.splits import Split
from pr12.distill.data import digits
from pr12.distill.model import losses, mlp
from pr12.distill.params import Cost as Params
from pr12.workflow import files, step

BATCHES = (1, 1000)
BLOCKS = 5  # medians of this many blocks of repeats give an interval


def nets(system: Mapping[str, Any], test: Split) -> list[mlp.MLP]:
    """Return the nets of a system with fresh weights: trained ones take as long and as much.

    Examples
    --------
    >>> test = Split(torch.zeros(5, 1, 4, 4), torch.tensor([0, 1, 2, 2, 1]))
    >>> system = {"members": 2, "hidden": [60], "width_scale": 0.05, "bottleneck": 0}
    >>> [mlp.parameter_count(net) for net in nets(system, test)]
    [63, 63]
    """
    pixels, classes = test.images[0].numel(), 1 + int(test.labels.max())
    hidden = mlp.scaled_widths(system["hidden"], system["width_scale"])
    bottleneck = (
        system["bottleneck"] and mlp.scaled_widths([system["bottleneck"]], system["width_scale"])[0]
    )
    generator = torch.Generator().manual_seed(0)
    return [
        mlp.MLP(pixels, hidden, classes, bottleneck, generator).eval()
        for _ in range(system["members"])
    ]


def answer(nets: Sequence[mlp.MLP], images: Tensor) -> Tensor:
    """Return the mean of the nets' class probabilities, shape (N, C)."""
    return torch.stack([losses.soften(net(images), 1.0) for net in nets]).mean(dim=0)


def bytes_on_disk(nets: Sequence[mlp.MLP]) -> int:
    """Count the bytes of the nets as safetensors.

    Examples
    --------
    >>> net = mlp.MLP(4, (3,), 2, 0, torch.Generator())
    >>> bytes_on_disk([net, net]) > 2 * 4 * mlp.parameter_count(net)
    True
    """
    return sum(len(safetensors.torch.save(dict(net.state_dict()))) for net in nets)


def medians(call: Callable[[], object], params: Params) -> list[float]:
    """Time a call after a warm-up: the median in milliseconds of each block of repeats.

    Examples
    --------
    >>> len(medians(lambda: None, Params(warmup=1, repeats=10, systems={})))
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


def students(systems: Iterable[str]) -> list[str]:
    """Return the names of the systems that are compared with the ensemble.

    Examples
    --------
    >>> students(["ensemble", "teacher", "student_30"])
    ['student_30']
    """
    return [name for name in systems if name not in ("ensemble", "teacher")]


def sizes(systems: dict[str, list[mlp.MLP]]) -> dict[str, list[float]]:
    """Return parameters and bytes of every system, and how many times smaller each student is."""
    values: dict[str, list[float]] = {}
    for name, nets in systems.items():
        values[f"{name}/parameters"] = [sum(map(mlp.parameter_count, nets))]
        values[f"{name}/bytes"] = [bytes_on_disk(nets)]
    for name in students(systems):
        ratio = values["ensemble/parameters"][0] / values[f"{name}/parameters"][0]
        values[f"{name}/times_smaller"] = [ratio]
    return values


def latencies(
    systems: dict[str, list[mlp.MLP]], images: Tensor, params: Params
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
    values = {}
    for threads, count in (("one", 1), ("all", os.cpu_count() or 1)):
        torch.set_num_threads(count)
        for batch in BATCHES:
            for name, nets in systems.items():
                part = images[:batch]
                times = medians(lambda nets=nets, part=part: answer(nets, part), params)
                key = f"{name}/milliseconds_batch{batch}_threads{threads}"
                values[key] = [value / batch for value in times]
    for name in students(systems):
        for batch in BATCHES:
            key = f"milliseconds_batch{batch}_threadsone"
            pairs = zip(values[f"ensemble/{key}"], values[f"{name}/{key}"], strict=True)
            values[f"{name}/times_faster_batch{batch}"] = [a / b for a, b in pairs]
    return values


def parallel_latencies(
    nets: Sequence[mlp.MLP], images: Tensor, params: Params
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
    values = {}
    with ThreadPoolExecutor(max_workers=cores) as pool:
        for count in range(1, 2 * cores + 1):
            chosen = [nets[i % len(nets)] for i in range(count)]

            def call(chosen: list[mlp.MLP] = chosen) -> list[Tensor]:
                return list(pool.map(_inferred, chosen, [images] * len(chosen)))

            values[f"ensemble/milliseconds_parallel_m{count}"] = medians(call, params)
    values["ensemble/milliseconds_parallel_cores"] = values[
        f"ensemble/milliseconds_parallel_m{cores}"
    ]
    values["ensemble/milliseconds_parallel_twice_cores"] = values[
        f"ensemble/milliseconds_parallel_m{2 * cores}"
    ]
    return values


def _inferred(net: mlp.MLP, images: Tensor) -> Tensor:
    with torch.inference_mode():  # a mode belongs to a thread
        return net(images)


def main(job: step.Job) -> None:
    """Measure all systems; times are kept apart from what is the same on every machine."""
    test = digits.load(job.paths["test"])
    systems = {name: nets(system, test) for name, system in job.params.systems.items()}
    images = test.images.flatten(1)
    with torch.inference_mode():
        job.times.update(latencies(systems, images, job.params))
        job.times.update(parallel_latencies(systems["ensemble"], images, job.params))
    result = {"metrics": sizes(systems), "provenance": job.provenance()}
    files.write_json(job.paths["metrics"], result)


if __name__ == "__main__":
    with step.start(Params, reads=["test"], writes=["metrics"]) as job:
        main(job)
