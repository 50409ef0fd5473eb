"""How often nets are right on test digits: distorted at random, and by known movements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.data import splits
from pr12.stn.model import digit_networks, distortions


def predicted(net: digit_networks.Network, inputs: Tensor, batch: int, bfloat16: bool) -> Tensor:
    """Return the class of every input, a batch at a time.

    Parameters
    ----------
    net : Network
        The net.
    inputs : Tensor
        Shape (N, C, S, S).
    batch : int
        Inputs at a time, which bounds the memory.
    bfloat16 : bool
        Whether products have 8 bits.

    Returns
    -------
    Tensor
        int64, shape (N,).

    Examples
    --------
    >>> net = digit_networks.build("fcn", "none", 1, "max", "U", 9000)
    >>> predicted(net, torch.rand(3, 1, 28, 28), batch=2, bfloat16=False).shape
    torch.Size([3])
    """
    where = inputs.device.type
    with (
        torch.inference_mode(),
        torch.autocast(where, dtype=torch.bfloat16, enabled=bfloat16),
    ):
        parts = inputs.contiguous(memory_format=torch.channels_last).split(batch)
        return torch.cat([net(part)[0].argmax(dim=1) for part in parts])


def distorted(distortion: str, digits: splits.Split, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Return the distorted test digits of one seed, a thousand at a time, the same for every row.

    Parameters
    ----------
    distortion : str
        A name in `distortions.DISTORTIONS`.
    digits : Split
        Test digits, 28 x 28.
    seed : int
        Of the distortions.

    Yields
    ------
    inputs : Tensor
        Shape (N, C, S, S).
    targets : Tensor
        int64, shape (N,).

    Examples
    --------
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> [inputs.shape for inputs, _ in distorted("TC", digits, 0)]
    [torch.Size([3, 1, 60, 60])]
    """
    stream = determinism.generator(seed, f"test {distortion}", digits.images.device)
    for rows in torch.arange(len(digits.images), device=digits.images.device).split(1000):
        yield distortions.batch(distortion, *digits, rows, stream)


def error(
    net: digit_networks.Network,
    distortion: str,
    digits: splits.Split,
    seed: int,
    batch: int,
    bfloat16: bool,
) -> float:
    """Return the share of distorted test digits that a net gets wrong, in percent.

    Parameters
    ----------
    net : Network
        The net.
    distortion : str
        What it was trained on.
    digits : Split
        Test digits, 28 x 28.
    seed : int
        Of the test set.
    batch, bfloat16
        As of `predicted`.

    Examples
    --------
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.full((3,), 12))  # no such class
    >>> net = digit_networks.build("fcn", "none", 1, "max", "U", 9000)
    >>> error(net, "U", digits, 0, batch=2, bfloat16=False)
    100.0
    """
    wrong = sum(
        int((predicted(net, inputs, batch, bfloat16) != targets).sum())
        for inputs, targets in distorted(distortion, digits, seed)
    )
    return 100 * wrong / len(digits.images)


def movements(
    rotations: Sequence[float], scales: Sequence[float], shifts: Sequence[float]
) -> Iterator[tuple[str, float, float, float, float]]:
    """Return every known movement: its axis and amount, then angle, scale and shift.

    Parameters
    ----------
    rotations, scales, shifts : sequence of float
        In degrees, times the size, in pixels.

    Examples
    --------
    >>> list(movements(rotations=(30.0,), scales=(0.5,), shifts=(2.0,)))[1]
    ('scale', 0.5, 0.0, 0.5, 0.0)
    """
    for angle in rotations:
        yield "rotation", angle, angle, 1.0, 0.0
    for scale in scales:
        yield "scale", scale, 0.0, scale, 0.0
    for shift in shifts:
        yield "shift", shift, 0.0, 1.0, shift


def moved_accuracy(
    net: digit_networks.Network,
    canvas: int,
    digits: splits.Split,
    amounts: Iterable[tuple[str, float, float, float, float]],
    batch: int,
    bfloat16: bool,
) -> dict[str, float]:
    """Return a net's accuracy by rotation, scale and shift, one of them at a time.

    A quarter of the digits each is shifted right, down, left and up, as far as their box has room.

    Parameters
    ----------
    net : Network
        The net.
    canvas : int
        Side of the images that it reads.
    digits : Split
        Test digits.
    amounts : iterable of tuple
        As `movements` gives them.
    batch, bfloat16
        As of `predicted`.

    Returns
    -------
    dict of str to float
        Such as ``rotation/30`` -> percent.

    Examples
    --------
    >>> amounts = movements((30.0,), (0.5,), (2.0,))
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> net = digit_networks.build("fcn", "none", 1, "max", "U", 9000)
    >>> list(moved_accuracy(net, 28, digits, amounts, 250, False))
    ['rotation/30', 'scale/0.5', 'shift/2']
    """
    count = len(digits.images)
    where = digits.images.device
    quarters = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]], device=where)
    directions = quarters[torch.arange(count, device=where) % 4]
    accuracies = {}
    for axis, amount, angle, scale, shift in amounts:
        if shift > (canvas - distortions.BOX) / 2:  # a digit that is cut off is another question
            continue
        angles, scales = (torch.full((count,), value, device=where) for value in (angle, scale))
        images = distortions.moved(digits.images, angles, scales, shift * directions, canvas)
        right = predicted(net, images[:, None], batch, bfloat16) == digits.labels
        accuracies[f"{axis}/{amount:g}"] = 100 * float(right.double().mean())
    return accuracies


def lost(metrics: Mapping[str, float], distortion: str) -> dict[str, float]:
    """Return what a net loses of its accuracy on unmoved digits, if that is among the movements.

    Parameters
    ----------
    metrics : mapping of str to float
        Its metrics.
    distortion : str
        What it was trained on.

    Examples
    --------
    >>> lost({"shift/accuracy_U_0_percent": 96.0, "shift/accuracy_U_2_percent": 95.0}, "U")
    {'shift/lost_U_2_points': 1.0}
    """
    losses = {}
    for axis, still in (("rotation", "0"), ("scale", "1"), ("shift", "0")):
        start = f"{axis}/accuracy_{distortion}_"
        moved = {key: value for key, value in metrics.items() if key.startswith(start)}
        unmoved = moved.pop(f"{start}{still}_percent", None)
        for key, value in moved.items() if unmoved is not None else ():
            amount = key.removeprefix(start).removesuffix("_percent")
            losses[f"{axis}/lost_{distortion}_{amount}_points"] = unmoved - value
    return losses
