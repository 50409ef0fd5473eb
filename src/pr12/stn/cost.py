"""Count and time what transformers and deformable convolutions add to a CNN.

Counts are the same on every machine; times are kept apart and told as ratios of medians over steps
that were timed in turn.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import determinism
from pr12.stn.model import (
    deformable,
    digit_networks,
    distortions,
    grids,
    operation_counts,
    sequence_networks,
    transformer,
)
from pr12.stn.params import Cost as Params
from pr12.workflow import files, step

SEQUENCE_NETWORKS = ("cnn", "single", "multi")


def medians(calls: dict[str, Callable[[], object]], params: Params) -> dict[str, float]:
    """Time calls in turn, so that a slow minute of the machine slows all of them.

    Parameters
    ----------
    calls : dict of str to callable
        What is timed.
    params : Params
        Warm-up and repeats.

    Returns
    -------
    dict of str to float
        Milliseconds, the median of the repeats.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> list(medians({"nothing": lambda: None}, SimpleNamespace(warmup=1, repeats=3)))
    ['nothing']
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(params.warmup + params.repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repeat >= params.warmup:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def mnist_step(
    net: digit_networks.Network, inputs: Tensor, targets: Tensor
) -> Callable[[], object]:
    """Give forward and backward of a net of Table 1.

    Parameters
    ----------
    net : Network
        The net.
    inputs : Tensor
        Shape (N, C, S, S).
    targets : Tensor
        int64, shape (N,).

    Examples
    --------
    >>> net = digit_networks.build("fcn", "none", 1, "max", "R", 60_000)
    >>> mnist_step(net, torch.rand(2, 1, 28, 28), torch.tensor([0, 9]))()
    >>> net.classifier[1].weight.grad.shape[1]
    784
    """

    def call() -> None:
        functional.cross_entropy(net(inputs)[0], targets, reduction="mean").backward()

    return call


def sequence_step(
    net: sequence_networks.Network, inputs: Tensor, targets: Tensor
) -> Callable[[], object]:
    """Give forward and backward of a net that reads house numbers.

    Parameters
    ----------
    net : sequence_networks.Network
        The net.
    inputs : Tensor
        Shape (N, 3, S, S).
    targets : Tensor
        int64, shape (N, 5).

    Examples
    --------
    >>> net = sequence_networks.Network(sequence_networks.Architecture("cnn", 16, 0.1, 1, 0.0))
    >>> sequence_step(net, torch.rand(2, 3, 16, 16), torch.zeros(2, 5, dtype=torch.int64))()
    >>> all(parameter.grad is not None for parameter in net.parameters())
    True
    """

    def call() -> None:
        logits = net(inputs)[0].flatten(0, 1)
        functional.cross_entropy(logits, targets.flatten(), reduction="sum").backward()

    return call


def measured(params: Params) -> dict[str, float]:
    """Time sampling alone, and training steps with and without what samples.

    Parameters
    ----------
    params : Params
        The step's.

    Returns
    -------
    dict of str to float
        Milliseconds, and ratios to the step of the plain net.
    """
    stream = determinism.generator(0, "cost")
    count, side = params.batch_size, distortions.DISTORTIONS["R"].side
    nets = operation_counts.table_nets(params.parameters)
    inputs = torch.rand(count, 1, side, side, generator=stream)
    targets = torch.randint(10, (count,), generator=stream)
    layer, inner = operation_counts.deformable_layer(nets["deformable"]), (side - 8) // 2
    theta = nets["st_cnn"].transformers.transformers[0].theta.bias.detach().expand(count, -1)
    features = torch.rand(count, layer.convolution.in_channels, inner, inner, generator=stream)
    kernel = layer.convolution.kernel_size[0]
    positions = inner - kernel + 1
    offsets = torch.randn(count, 2 * kernel * kernel, positions, positions, generator=stream)
    with torch.inference_mode():
        times = medians(
            {
                "transformer/milliseconds_sampling": lambda: transformer.sample(
                    inputs, grids.affine_grid(theta, (side, side))
                ),
                "deformable/milliseconds_sampling": lambda: deformable.deform_conv2d(
                    features, offsets, layer.convolution.weight, layer.convolution.bias
                ),
            },
            params,
        )
    steps = {f"{name}/milliseconds_step": mnist_step(net, inputs, targets)
             for name, net in nets.items()}  # fmt: skip
    times |= medians(steps, params)
    size = params.sequence_size
    inputs = torch.rand(params.sequence_batch, 3, size, size, generator=stream)
    targets = torch.randint(11, (params.sequence_batch, 5), generator=stream)
    steps = {}
    for name in SEQUENCE_NETWORKS:
        shape = sequence_networks.Architecture(name, size, params.sequence_width, 2, 0.5)
        net = sequence_networks.Network(shape).to(memory_format=torch.channels_last)
        steps[f"sequences_{name}/milliseconds_step"] = sequence_step(net, inputs, targets)
    times |= medians(steps, params)
    for name in ("st_cnn", "deformable"):
        times[f"{name}/ratio_step"] = ratio(times, f"{name}/milliseconds_step", "cnn")
    for name in ("single", "multi"):
        key = f"sequences_{name}/milliseconds_step"
        times[f"sequences_{name}/ratio_step"] = ratio(times, key, "sequences_cnn")
    return times


def ratio(times: dict[str, float], key: str, base: str) -> float:
    """Give how many times longer a step takes than that of `base`.

    Parameters
    ----------
    times : dict of str to float
        Milliseconds.
    key, base : str
        What took long, and the plain net's name.

    Examples
    --------
    >>> ratio({"a/milliseconds_step": 3.0, "b/milliseconds_step": 2.0}, "a/milliseconds_step", "b")
    1.5
    """
    return times[key] / times[f"{base}/milliseconds_step"]


def main(job: step.Job) -> None:
    """Count and time; times go apart from what is the same on every machine."""
    params = job.params
    torch.manual_seed(0)
    torch.set_num_threads(1)
    nets = operation_counts.table_nets(params.parameters)
    side = distortions.DISTORTIONS["R"].side
    counts = {"transformer": operation_counts.transformer_counts(nets["st_cnn"], side)}
    counts["deformable"] = operation_counts.deformable_counts(
        operation_counts.deformable_layer(nets["deformable"]), (side - 8) // 2
    )
    metrics = {
        f"{name}/{key}": [value] for name, found in counts.items() for key, value in found.items()
    }
    for key in ("predicted", "sampling_multiply_adds", "prediction_multiply_adds"):
        metrics[f"deformable/times_{key}"] = [
            counts["deformable"][key] / counts["transformer"][key]
        ]
    job.times.update({key: [value] for key, value in measured(params).items()})
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, writes=["metrics"]) as job:
        main(job)
