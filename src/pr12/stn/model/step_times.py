"""How long calls take, timed in turn, and the training steps that are timed."""

import statistics
import time
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from pr12.stn.model import digit_networks, sequence_networks


def medians(calls: dict[str, Callable[[], object]], warmup: int, repeats: int) -> dict[str, float]:
    """Time calls in turn, so that a slow minute of the machine slows all of them.

    Parameters
    ----------
    calls : dict of str to callable
        What is timed.
    warmup, repeats : int
        How often each is called before it is timed, and timed.

    Returns
    -------
    dict of str to float
        Milliseconds, the median of the repeats.

    Examples
    --------
    >>> list(medians({"nothing": lambda: None}, 1, 3))
    ['nothing']
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(warmup + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repeat >= warmup:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def mnist_step(
    net: digit_networks.Network, inputs: Tensor, targets: Tensor
) -> Callable[[], object]:
    """Return forward and backward of a net of Table 1.

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
    >>> import torch
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
    """Return forward and backward of a net that reads house numbers.

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
    >>> import torch
    >>> net = sequence_networks.Network(sequence_networks.Architecture("cnn", 16, 0.1, 1, 0.0))
    >>> sequence_step(net, torch.rand(2, 3, 16, 16), torch.zeros(2, 5, dtype=torch.int64))()
    >>> all(parameter.grad is not None for parameter in net.parameters())
    True
    """

    def call() -> None:
        logits = net(inputs)[0].flatten(0, 1)
        functional.cross_entropy(logits, targets.flatten(), reduction="sum").backward()

    return call


def ratio(times: dict[str, float], key: str, base: str) -> float:
    """Return how many times longer a step takes than that of `base`.

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
