"""Count and time what transformers and deformable convolutions add to a CNN.

Counts are the same on every machine; times are kept apart and told as ratios of medians over steps
that were timed in turn. A multiply-add is one multiplication with an addition; sampling one value
between pixels costs four for each channel, and four more for the weights, which channels share.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.shared import files, run, step
from pr12.shared.step import Above, AtLeast
from pr12.stn import deformable, distortions, networks, sequence_networks, transformer

SEQUENCE_NETWORKS = ("cnn", "single", "multi")


@dataclass(frozen=True)
class Params:
    """Params of the measurement."""

    parameters: Annotated[int, AtLeast(1)]  # of the nets of Table 1
    batch_size: Annotated[int, AtLeast(1)]
    sequence_size: Annotated[int, AtLeast(16)]  # pixels
    sequence_width: Annotated[float, Above(0)]  # the paper's is 1
    sequence_batch: Annotated[int, AtLeast(1)]
    warmup: Annotated[int, AtLeast(1)]
    repeats: Annotated[int, AtLeast(3)]


def transformer_counts(net: networks.Network, side: int) -> dict[str, int]:
    """Count what one affine transformer predicts and what its sampling costs, per image.

    Parameters
    ----------
    net : Network
        With one transformer.
    side : int
        Of its input and output.

    Returns
    -------
    dict of str to int
        ``predicted`` parameters, and multiply-adds of ``sampling`` and of ``prediction``.

    Examples
    --------
    >>> net = networks.build("cnn", "affine", 1, "max", "R", 400_000)
    >>> transformer_counts(net, 28)["predicted"]
    6
    """
    one = net.transformers.transformers[0]
    pixels = side * side
    return {
        "predicted": one.theta.out_features,
        # two rows of theta times (x, y, 1), then four weights and four pixels of one channel
        "sampling_multiply_adds": pixels * (4 + 4 + 4 * net.channels),
        "prediction_multiply_adds": multiply_adds(one.localisation, net.channels, side)
        + one.theta.in_features * one.theta.out_features,
    }


def deformable_counts(layer: deformable.DeformableConv2d, side: int) -> dict[str, int]:
    """Count the same for a deformable convolution, per image.

    Parameters
    ----------
    layer : DeformableConv2d
        Without stride and padding.
    side : int
        Of its input.

    Returns
    -------
    dict of str to int
        As `transformer_counts`.

    Examples
    --------
    >>> deformable_counts(deformable.DeformableConv2d(1, 1, 5), 10)["predicted"]
    1800
    """
    channels, kernel = layer.convolution.in_channels, layer.convolution.kernel_size[0]
    positions = (side - kernel + 1) ** 2
    taps = positions * kernel * kernel
    return {
        "predicted": 2 * taps,
        "sampling_multiply_adds": taps * (4 + 4 * channels),
        "prediction_multiply_adds": positions * 9 * channels * 2 * kernel * kernel,
    }


def multiply_adds(net: nn.Module, channels: int, side: int) -> int:
    """Count the multiply-adds of a net's convolutions and layers for one image.

    What a deformable convolution spends on sampling is not among them.

    Parameters
    ----------
    net : nn.Module
        The net.
    channels, side : int
        Of the image.

    Examples
    --------
    >>> multiply_adds(nn.Conv2d(1, 2, 3), 1, 5)
    162
    """
    total = 0

    def add(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, deformable.DeformableConv2d):  # it does not call its convolution
            total += output[0].numel() * module.convolution.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    hooks = [module.register_forward_hook(add) for module in net.modules()]
    with torch.inference_mode():
        net(torch.zeros(1, channels, side, side))
    for hook in hooks:
        hook.remove()
    return total


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


def mnist_step(net: networks.Network, inputs: Tensor, targets: Tensor) -> Callable[[], object]:
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
    >>> net = networks.build("fcn", "none", 1, "max", "R", 60_000)
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
    stream = run.generator(0, "cost")
    count, side = params.batch_size, distortions.DISTORTIONS["R"].side
    nets = table_nets(params)
    inputs = torch.rand(count, 1, side, side, generator=stream)
    targets = torch.randint(10, (count,), generator=stream)
    layer, inner = deformable_layer(nets["deformable"]), (side - 8) // 2
    theta = nets["st_cnn"].transformers.transformers[0].theta.bias.detach().expand(count, -1)
    features = torch.rand(count, layer.convolution.in_channels, inner, inner, generator=stream)
    kernel = layer.convolution.kernel_size[0]
    positions = inner - kernel + 1
    offsets = torch.randn(count, 2 * kernel * kernel, positions, positions, generator=stream)
    with torch.inference_mode():
        times = medians(
            {
                "transformer/milliseconds_sampling": lambda: transformer.sample(
                    inputs, transformer.affine_grid(theta, (side, side))
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


def table_nets(params: Params) -> dict[str, networks.Network]:
    """Build CNN, ST-CNN and deformable CNN of one size.

    Parameters
    ----------
    params : Params
        The step's, for ``parameters``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> list(table_nets(SimpleNamespace(parameters=60_000)))
    ['cnn', 'st_cnn', 'deformable']
    """
    shapes = {
        "cnn": ("cnn", "none"),
        "st_cnn": ("cnn", "affine"),
        "deformable": ("deformable", "none"),
    }
    return {
        name: networks.build(network, transform, 1, "max", "R", params.parameters).to(
            memory_format=torch.channels_last
        )
        for name, (network, transform) in shapes.items()
    }


def deformable_layer(net: networks.Network) -> deformable.DeformableConv2d:
    """Give the first deformable convolution of a net.

    Parameters
    ----------
    net : Network
        The net.

    Examples
    --------
    >>> net = networks.build("deformable", "none", 1, "max", "R", 60_000)
    >>> deformable_layer(net).convolution.kernel_size
    (5, 5)
    """
    return next(m for m in net.modules() if isinstance(m, deformable.DeformableConv2d))


def main(job: step.Job) -> None:
    """Count and time; times go apart from what is the same on every machine."""
    params = job.params
    torch.manual_seed(0)
    torch.set_num_threads(1)
    nets = table_nets(params)
    side = distortions.DISTORTIONS["R"].side
    counts = {"transformer": transformer_counts(nets["st_cnn"], side)}
    counts["deformable"] = deformable_counts(deformable_layer(nets["deformable"]), (side - 8) // 2)
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
