"""What a stack of replicas sees in an epoch: its transfer set, order, jitter and dropout.

Every function draws from one generator per replica, so that a replica sees the same alone and in
a stack. S is the number of replicas, B of examples in a batch, N of examples in all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pr12.core import replicas
from pr12.workflow.errors import UserError


def transfer_indices(
    labels: Tensor, classes: Sequence[int], fraction: float, generators: list[torch.Generator]
) -> Tensor:
    """Choose each replica's transfer set: some classes, and of these a random fraction.

    Parameters
    ----------
    labels : Tensor
        int64, shape (N,).
    classes : sequence of int
        Classes that the transfer set may hold.
    fraction : float
        Share of their examples, above 0 and up to 1.
    generators : list of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        int64, shape (S, n).

    Raises
    ------
    UserError
        If there is no example of a class, or nothing is left to learn from.

    Examples
    --------
    >>> labels = torch.tensor([7, 3, 8, 3])
    >>> transfer_indices(labels, [7, 8], 1.0, [torch.Generator()]).sort().values
    tensor([[0, 2]])
    """
    absent = sorted(set(classes) - set(labels.unique().tolist()))
    if absent:
        raise UserError(
            f"transfer_classes names {', '.join(map(str, absent))}, of which train has no "
            "example; leave it out"
        )
    chosen = torch.isin(labels, torch.tensor(classes, device=labels.device))
    candidates = chosen.nonzero().squeeze(1)
    n = round(fraction * len(candidates))
    if n == 0:
        raise UserError(
            f"transfer_classes {list(classes)} and transfer_fraction {fraction:g} leave nothing of "
            f"{len(candidates)} examples to learn from; widen one of them"
        )
    return candidates[replicas.permutations(generators, len(candidates))[:, :n]]


def epoch_order(indices: Tensor, length: int, generators: list[torch.Generator]) -> Tensor:
    """Draw each replica's order of examples for one epoch.

    An epoch has as many examples as the whole training set, however small the transfer set is:
    else a case with 3 % of the data would differ from the others also in its number of updates.

    Parameters
    ----------
    indices : Tensor
        Each replica's transfer set, int64, shape (S, n).
    length : int
        Examples in the whole training set.
    generators : list of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        int64, shape (S, length).

    Examples
    --------
    >>> epoch_order(torch.tensor([[5, 9]]), 6, [torch.Generator()]).sort().values
    tensor([[5, 5, 5, 9, 9, 9]])
    """
    n = indices.shape[1]
    passes = [replicas.permutations(generators, n) for _ in range(-(-length // n))]
    return indices.gather(1, torch.cat(passes, dim=1)[:, :length])


def jittered(
    padded: Tensor, rows: Tensor, jitter: int, generators: list[torch.Generator]
) -> Tensor:
    """Take images shifted by up to `jitter` pixels in both directions, each by its own shift.

    Parameters
    ----------
    padded : Tensor
        All images with a black margin of `jitter` pixels, shape (N, H + 2j, W + 2j).
    rows : Tensor
        Which images, int64, shape (S, B).
    jitter : int
        j, pixels; with 0 the images are taken as they are.
    generators : list of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        Flat images, shape (S, B, H * W).

    Examples
    --------
    >>> image = torch.arange(4.0).reshape(1, 2, 2)
    >>> jittered(image, torch.tensor([[0]]), 0, [torch.Generator()])
    tensor([[[0., 1., 2., 3.]]])
    """
    height, width = (side - 2 * jitter for side in padded.shape[1:])
    if not jitter:
        return padded.flatten(1)[rows]
    draws = [
        torch.randint(2 * jitter + 1, (rows.shape[1], 2), generator=g, device=g.device)
        for g in generators
    ]
    top, left = torch.stack(draws).unbind(dim=-1)  # (S, B) each
    stride = padded.shape[2]
    window = torch.arange(height, device=rows.device)[:, None] * stride + torch.arange(
        width, device=rows.device
    )
    start = rows * padded.shape[1] * stride + top * stride + left
    return padded.flatten()[start[..., None] + window.flatten()]


def dropout_masks(
    widths: Sequence[int], rates: Sequence[float], batch: int, generators: list[torch.Generator]
) -> tuple[Tensor, ...] | None:
    """Draw the dropout masks of the input and of every hidden layer, scaled by 1 / keep rate.

    A random byte decides for each unit, so that rates are multiples of 1/256 (0.2 becomes
    51/256): six times faster than a random float, which was a fourth of a training step.

    Parameters
    ----------
    widths : sequence of int
        Units of the input and of every hidden layer.
    rates : sequence of float
        For each, the share of units that is dropped, below 1.
    batch : int
        B, examples.
    generators : list of torch.Generator
        One per replica.

    Returns
    -------
    tuple of Tensor or None
        One mask (S, B, units) per layer; None if nothing is dropped anywhere.

    Examples
    --------
    >>> (mask,) = dropout_masks([1000], [0.5], 1, [torch.Generator()])
    >>> sorted(set(mask.flatten().tolist()))
    [0.0, 2.0]
    """
    if not any(rates):
        return None
    masks = []
    for width, rate in zip(widths, rates, strict=True):
        threshold = round(256 * rate)
        count = batch * width
        draws = [
            torch.empty(-(-count // 8), dtype=torch.int64, device=g.device)
            .random_(-(2**63), None, generator=g)
            .view(torch.uint8)[:count]
            for g in generators
        ]
        bytes_ = torch.stack(draws).reshape(len(generators), batch, width)
        masks.append((bytes_ >= threshold).float() * (256 / (256 - threshold)))
    return tuple(masks)


def limit_norms(weight: Tensor, max_norm: float) -> None:
    """Shrink, in place, the incoming weights of every unit to Euclidean norm `max_norm`.

    Parameters
    ----------
    weight : Tensor
        Shape (S, in, out).
    max_norm : float
        The bound.

    Examples
    --------
    >>> weight = torch.tensor([[[3.0, 0.3], [4.0, 0.4]]])
    >>> limit_norms(weight, 1.0)
    >>> weight
    tensor([[[0.6000, 0.3000],
             [0.8000, 0.4000]]])
    """
    with torch.no_grad():
        # the product, not square() or vector_norm, which are five times slower on the CPU
        norms = (weight * weight).sum(dim=1, keepdim=True).sqrt()
        weight.mul_((max_norm / norms.clamp(min=1e-12)).clamp(max=1))
