"""Seconds per epoch of one net on R: fed our way, and as PyTorch's tutorial feeds it.

The tutorial on spatial transformers reads a picture at a time through a `DataLoader` with workers,
turns it into a tensor by transforms (here with the rotation of R), and lowers the negative
log-likelihood of log-softmax outputs by SGD. Ours draws a batch at once from digits in memory. Net,
loss, optimiser and batch are the same; `images ready` is the same again with images that need no
feeding, and so the floor.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from pr12.core import determinism
from pr12.core.vision import import_torchvision
from pr12.stn.model import digit_networks, digit_training, distortions
from stacked import seconds


class Pictures(Dataset):
    """Pictures as torchvision's MNIST gives them, each by way of PIL and turned when asked for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = (images * 255).byte(), labels.tolist()
        vision = import_torchvision()
        self.transform = vision.transforms.Compose(
            [
                vision.transforms.RandomRotation(
                    90, interpolation=vision.transforms.InterpolationMode.BILINEAR
                ),
                vision.transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Give one picture, turned, and its label."""
        picture = Image.fromarray(self.images[index].numpy())
        return self.transform(picture), self.labels[index]


def epoch(
    net: digit_networks.Network,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    bfloat16: bool,
) -> None:
    """Let a net learn from all batches."""
    for inputs, targets in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits, _ = net(inputs.contiguous(memory_format=torch.channels_last))
        loss = functional.nll_loss(
            functional.log_softmax(logits.float(), dim=1), targets, reduction="mean"
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def side_by_side(
    network: str,
    ways: dict[str, Callable[[], Iterable[tuple[Tensor, Tensor]]]],
    warm: list[tuple[Tensor, Tensor]],
    repeats: int,
) -> dict[str, float]:
    """Give the seconds of an epoch by way of feeding, medians of repeats, all ways in turn."""
    torch.manual_seed(0)
    net = digit_networks.build(network, "affine", 1, "max", "R", 400_000)
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.0)
    bfloat16 = network != "fcn"  # as the full run has it
    epoch(net, optimiser, warm, bfloat16)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, batches in ways.items():
            # Workers start within the epoch, as they do in the tutorial
            times[name].append(seconds(lambda b=batches: epoch(net, optimiser, b(), bfloat16)))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print a row per net; all ways of feeding in turn, medians of repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64, help="the tutorial's is 64")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nets", nargs="+", default=["fcn", "cnn"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    stream = determinism.generator(0, "benchmark")
    images = torch.rand(options.examples, 28, 28, generator=stream)
    labels = torch.arange(options.examples) % 10
    pictures = Pictures(images, labels)
    loaders = {
        f"tutorial, {workers} workers": DataLoader(
            pictures, batch_size=options.batch, shuffle=True, num_workers=workers
        )
        for workers in options.workers
    }

    def ours() -> Iterable[tuple[Tensor, Tensor]]:
        order = digit_training.orders(options.examples, options.examples, stream)
        for rows in order.split(options.batch):
            yield distortions.batch("R", images, labels, rows, stream)

    ready = list(ours())
    print(f"{options.examples} images, batches of {options.batch}, medians of {options.repeats}")
    print("net  bfloat16  feeding              s/epoch  images/s  times ours")
    for network in options.nets:
        ways = {"ours": ours, "images ready": lambda: ready}
        ways |= {name: loader.__iter__ for name, loader in loaders.items()}
        middle = side_by_side(network, ways, ready[:2], options.repeats)
        for name, taken in middle.items():
            print(
                f"{network}  {network != 'fcn'!s:8s}  {name:19s}  {taken:7.2f}"
                f"  {options.examples / taken:8,.0f}  {taken / middle['ours']:10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
