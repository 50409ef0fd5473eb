"""Trainings of networks that look at parts: step sizes, and how images vary."""

import math
from typing import Literal

import torch
from torch import Tensor

# Of the whole training; the paper names the batches and not their number, read as 30,000
STAGES = (1 / 3, 2 / 3, 5 / 6)


def rate(
    learning_rate: float,
    schedule: Literal["stages", "cosine"],
    warmup_batches: int,
    batch: int,
    batches: int,
) -> float:
    """Return the step size of a batch: a linear start, then stages or half a cosine.

    Parameters
    ----------
    learning_rate : float
        The largest.
    schedule : {"stages", "cosine"}
        What it falls by.
    warmup_batches : int
        Of the linear start.
    batch, batches : int
        Which, from 0, of how many in all.

    Examples
    --------
    >>> [round(rate(1.0, "stages", 2, batch, 30), 4) for batch in (0, 9, 10, 20, 25)]
    [0.5, 1.0, 0.1, 0.01, 0.001]
    """
    start = min(1.0, (batch + 1) / (warmup_batches or 1))
    if schedule == "cosine":
        return learning_rate * start * (1 + math.cos(math.pi * batch / batches)) / 2
    passed = sum(batch >= stage * batches for stage in STAGES)
    return learning_rate * start * 0.1**passed


def varied(images: Tensor, rows: Tensor, side: int, flips: bool, stream: torch.Generator) -> Tensor:
    """Cut squares at random places out of images, and mirror half of them.

    Parameters
    ----------
    images : Tensor
        Shape (N, 3, S, S).
    rows : Tensor
        int64, shape (B,): which.
    side : int
        Of the squares, at most S.
    flips : bool
        Whether to mirror.
    stream : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor
        Shape (B, 3, side, side).

    Examples
    --------
    >>> image = torch.arange(12).reshape(1, 3, 2, 2)
    >>> stream = torch.Generator().manual_seed(0)
    >>> varied(image, torch.tensor([0, 0]), 2, False, stream).equal(image[[0, 0]])
    True
    """
    free = images.shape[-1] - side + 1
    top, left = torch.randint(free, (2, len(rows)), generator=stream).to(images.device)
    cut = images.unfold(2, side, 1).unfold(3, side, 1)[rows, :, top, left]  # of a view: no copies
    if not flips:
        return cut
    mirrored = torch.rand(len(rows), generator=stream).to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], cut.flip(3), cut)
