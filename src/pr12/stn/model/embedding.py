"""What co-localisation compares crops by: the activations of a classifier of digits (App. A.2).

The paper joins the activations of a CNN that was trained to classify MNIST. Its margin is 1, which
means nothing without a unit of distance, and the paper names none. Here every layer counts from
its activations for an empty crop and is divided by the root mean square length that training digits
have there. Whatever is longer is cut to that length. So e is 0 for an empty crop and about
`length` long for a digit. The cut matters: a crop of one thick stroke drives a net harder than any
digit, and windows that may gain by it shrink to strokes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.core import determinism, uncompiled
from pr12.stn.model import distortions
from pr12.stn.model.first_convolution import FirstConv2d
from pr12.workflow.errors import UserError

MEASURED = 500  # training digits by which the lengths of activations are measured


class DigitClassifier(nn.Module):
    """A small CNN: 5 x 5 convolution, pooling, 5 x 5 convolution, pooling, 64 units, softmax layer.

    Parameters
    ----------
    width : int
        Filters of the first convolution; the second has twice as many.

    Examples
    --------
    >>> net = DigitClassifier(8)
    >>> net(torch.rand(2, 1, 28, 28)).shape, [a.shape[1] for a in net.hidden(torch.rand(2, 1, 28,
    ...     28))]
    (torch.Size([2, 10]), [1152, 256, 64])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = FirstConv2d(1, width, 5)  # windows learn through its input's gradient
        self.second = nn.Conv2d(width, 2 * width, 5)
        self.third = nn.Linear(2 * width * 4 * 4, 64)
        self.last = nn.Linear(64, 10)

    def hidden(self, images: Tensor) -> list[Tensor]:
        """Return the activations of the three hidden layers, each (N, units)."""
        one = functional.relu(functional.max_pool2d(self.first(images), 2))
        two = functional.relu(functional.max_pool2d(self.second(one), 2)).flatten(1)
        return [one.flatten(1), two, functional.relu(self.third(two))]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (N, 1, 28, 28) -> (N, 10)."""
        return self.last(self.hidden(images)[-1])


def _seeded(seed: int, width: int) -> DigitClassifier:
    """Return the classifier with the initial parameters of one seed."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global stream only
        torch.manual_seed(determinism.generator(seed, "init embedding").initial_seed())
        return DigitClassifier(width)


def train_classifier(
    images: Tensor,
    labels: Tensor,
    seed: int,
    width: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    bfloat16: bool,
) -> DigitClassifier:
    """Train the classifier on framed digits as they are, by Adam with a rate that falls to 0.

    Parameters
    ----------
    images, labels : Tensor
        Training digits, (M, 28, 28) and (M,), on the device.
    seed : int
        Of the initial parameters and the batches.
    width : int
        As of `DigitClassifier`.
    steps, batch_size : int
        How many batches of how many digits.
    learning_rate : float
        The first.
    bfloat16 : bool
        Whether products have 8 bits.

    Returns
    -------
    DigitClassifier
        Frozen.

    Raises
    ------
    UserError
        If the loss is not finite.

    Examples
    --------
    >>> digits = torch.rand(4, 28, 28)
    >>> net = train_classifier(digits, torch.arange(4), 0, 8, 1, 2, 0.001, False)
    >>> any(parameter.requires_grad for parameter in net.parameters())
    False
    """
    where = images.device
    net = _seeded(seed, width).to(where, memory_format=torch.channels_last)
    optimiser = uncompiled.Adam(net.parameters(), lr=learning_rate, fused=True)
    stream = determinism.generator(seed, "shuffle embedding", where)
    total = torch.zeros((), device=where)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        rows = torch.randint(len(images), (batch_size,), generator=stream, device=where)
        total += _learn(net, optimiser, images[rows, None], labels[rows], bfloat16)
    if not torch.isfinite(total):
        raise UserError(
            f"the embedding's loss is not finite at seed {seed} (a sum over {steps} batches); "
            "lower embedding_learning_rate and run again"
        )
    return net.requires_grad_(False)


def _learn(
    net: DigitClassifier,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    bfloat16: bool,
) -> Tensor:
    """Learn from a batch; return its loss."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        logits = net(images)
    loss = functional.cross_entropy(logits.float(), labels, reduction="mean")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


class Embedding(NamedTuple):
    """A frozen classifier and the unit in which its activations are measured."""

    net: DigitClassifier
    empty: list[Tensor]  # activations for an empty crop, each (1, units)
    typical: list[Tensor]  # root mean square length of a training digit's, from there
    length: float  # of e for a typical digit
    bfloat16: bool

    def __call__(self, crops: Tensor) -> Tensor:
        """Return e, float32, (N, 1, 28, 28) -> (N, units of all layers)."""
        with torch.autocast(crops.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            layers = self.net.hidden(crops.contiguous(memory_format=torch.channels_last))
        parts = []
        for layer, empty, typical in zip(layers, self.empty, self.typical, strict=True):
            part = (layer.float() - empty) / typical
            # The square is held off 0, where a square root has no gradient
            parts.append(part / part.square().sum(dim=1, keepdim=True).clamp(min=1).sqrt())
        return torch.cat(parts, dim=1) * (self.length / len(parts) ** 0.5)


def measured(net: DigitClassifier, digits: Tensor, length: float, bfloat16: bool) -> Embedding:
    """Return the embedding of a trained classifier, scaled by training digits.

    Parameters
    ----------
    net : DigitClassifier
        Trained.
    digits : Tensor
        Training digits, (M, 28, 28); the first `MEASURED` are used.
    length : float
        Of e for a typical digit; the longest there is.
    bfloat16 : bool
        Whether products have 8 bits.

    Raises
    ------
    UserError
        If some layer answers to no digit.

    Examples
    --------
    >>> digits = torch.rand(4, 28, 28)
    >>> e = measured(DigitClassifier(8).requires_grad_(False), digits, 2.0, False)
    >>> float(e(torch.zeros(1, 1, 28, 28)).abs().max())
    0.0
    """
    side = distortions.SIDE
    with torch.no_grad():
        with torch.autocast(digits.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            empty = [a.float() for a in net.hidden(digits.new_zeros(1, 1, side, side))]
            layers = [a.float() for a in net.hidden(digits[:MEASURED, None])]
        pairs = zip(layers, empty, strict=True)
        typical = [(a - zero).square().sum(dim=1).mean().sqrt() for a, zero in pairs]
    if not all(bool(a > 0) for a in typical):
        raise UserError(
            "a layer of the embedding answers to no training digit; "
            "lower embedding_learning_rate or raise embedding_steps and run again"
        )
    return Embedding(net, empty, typical, length, bfloat16)


def accuracy(net: DigitClassifier, images: Tensor, labels: Tensor) -> float:
    """Return the classifier's share of right answers, in percent.

    Examples
    --------
    >>> net = DigitClassifier(8)
    >>> digits = torch.rand(3, 28, 28)
    >>> accuracy(net, digits, net(digits[:, None]).argmax(dim=1))
    100.0
    """
    with torch.inference_mode():
        classes = [net(part[:, None]).argmax(dim=1) for part in images.split(1000)]
    return 100 * float((torch.cat(classes) == labels).double().mean())
