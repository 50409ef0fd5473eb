"""A training step of a net behind a transformer against the plain net's own forward and backward.

The step draws a batch of R, predicts, goes back and moves the parameters. The plain net has the
same number of parameters, batch, number format and memory layout, and is given its images. All are
timed in turn within one run, by the processor's clock; what is told are medians. `first` is the
fast gradient of a first convolution (`pr12.stn.model.first_convolution`); without it the layer is
`torch.nn.Conv2d`.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.core import determinism
from pr12.stn.model import digit_networks, distortions
from pr12.stn.model.first_convolution import FirstConv2d

ASKED = 1.3  # step of ST-CNN on R, with its data, to the plain net's forward and backward


def seconds(call: Callable[[], object]) -> float:
    """Time one call by the clock of this process, which stands while others run."""
    start = time.process_time()
    call()
    return time.process_time() - start


def net_of(network: str, transform: str, parameters: int, first: bool, last: bool) -> nn.Module:
    """Build a net of R, with or without our first convolution and channels last."""
    torch.manual_seed(0)
    net = digit_networks.build(network, transform, 1, "max", "R", parameters)
    for number, layer in enumerate(net.classifier):
        if isinstance(layer, FirstConv2d) and not first:
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size)
            plain.load_state_dict(layer.state_dict())
            net.classifier[number] = plain
    return net.to(memory_format=torch.channels_last) if last else net


def forward_and_backward(
    net: nn.Module, bfloat16: bool, draw: Callable[[], tuple[Tensor, Tensor]]
) -> None:
    """Leave gradients of a batch in the parameters."""
    inputs, targets = draw()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        logits, _ = net(inputs.contiguous(memory_format=torch.channels_last))
    net.zero_grad(set_to_none=True)
    functional.cross_entropy(logits.float(), targets, reduction="mean").backward()


def main() -> None:
    """Print a row per way of computing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--parameters", type=int, default=400_000)
    parser.add_argument("--transform", default="affine")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--compile", action="store_true", help="also torch.compile, which takes minutes"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    stream = determinism.generator(0, "benchmark")
    digits = torch.rand(1000, distortions.SIDE, distortions.SIDE, generator=stream)
    labels = torch.arange(1000) % 10

    def draw() -> tuple[Tensor, Tensor]:
        rows = torch.randint(1000, (options.batch,), generator=stream)
        return distortions.batch("R", digits, labels, rows, stream)

    fixed = draw()
    calls: dict[tuple[str, ...], Callable[[], None]] = {("data",): draw}

    def add(key: tuple[str, ...], net: nn.Module, bfloat16: bool, step: bool) -> None:
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)

        def call() -> None:
            forward_and_backward(net, bfloat16, draw if step else lambda: fixed)
            if step:
                optimiser.step()

        calls[key] = call

    both = (False, True)
    ways = [("fcn", bfloat16, False, "-", "") for bfloat16 in both]
    ways += [("cnn", *flags, "") for flags in itertools.product(both, both, both)]
    if options.compile:
        ways += [("fcn", False, False, "-", "compiled"), ("cnn", True, True, True, "compiled")]
    for network, bfloat16, last, first, compiled in ways:
        key = tuple(map(str, (network, bfloat16, last, first, compiled)))
        net = net_of(network, options.transform, options.parameters, first is not False, last)
        plain = net_of(network, "none", options.parameters, first is not False, last)
        if compiled:
            net, plain = torch.compile(net), torch.compile(plain)
        add(("step", *key), net, bfloat16, step=True)
        add(("plain", *key), plain, bfloat16, step=False)
    failed = {}
    for key, call in list(calls.items()):
        try:
            call()  # warm
            call()
        except Exception as error:  # torch.compile needs a C++ compiler, among other things
            failed[key] = str(error).strip().partition("\n")[0]
            del calls[key]
    times: dict[tuple[str, ...], list[float]] = {key: [] for key in calls}
    for _ in range(options.repeats):
        for key, call in calls.items():
            times[key].append(1000 * seconds(call))
    middle = {key: statistics.median(values) for key, values in times.items()}
    print(f"R, {options.transform}, batches of {options.batch}, {options.parameters} parameters")
    print(f"one thread, medians of {options.repeats}; drawing a batch: {middle['data',]:.2f} ms")
    print("net  bfloat16  channels_last  first  compiled  step ms  plain ms  ratio  asked")
    for network, bfloat16, last, first, compiled in ways:
        key = tuple(map(str, (network, bfloat16, last, first, compiled)))
        told = f"{network}  {key[1]:8s}  {key[2]:13s}  {key[3]:5s}  {bool(compiled)!s:8s}"
        if ("step", *key) in failed or ("plain", *key) in failed:
            print(f"{told}  failed: {failed.get(('step', *key)) or failed['plain', *key]}")
            continue
        step, plain = middle["step", *key], middle["plain", *key]
        print(f"{told}  {step:7.2f}  {plain:8.2f}  {step / plain:5.2f}  {ASKED}")


if __name__ == "__main__":
    main()
