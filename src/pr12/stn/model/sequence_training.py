"""Trainings of networks that read house numbers: step sizes and the loss."""

from torch import Tensor
from torch.nn import functional

from pr12.stn.data.composed import LONGEST


def rate(
    learning_rate: float, warmup_batches: int, decay_epochs: int, epoch: int, batch: int
) -> float:
    """Return the step size of a batch: a linear start, then a tenth every `decay_epochs`.

    Parameters
    ----------
    learning_rate : float
        The largest.
    warmup_batches : int
        Of the linear start.
    decay_epochs : int
        Of each step size.
    epoch, batch : int
        From 0, both of the whole training.

    Examples
    --------
    >>> [rate(1.0, 4, 2, epoch, 2 * epoch) for epoch in range(4)]
    [0.25, 0.75, 0.1, 0.1]
    """
    start = min(1.0, (batch + 1) / (warmup_batches or 1))
    return learning_rate * start * 0.1 ** (epoch // decay_epochs)


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the five cross-entropies, the mean over images, in nats.

    Parameters
    ----------
    logits : Tensor
        Shape (N, 5, 11).
    labels : Tensor
        int64, shape (N, 5).

    Examples
    --------
    >>> import torch
    >>> round(float(loss(torch.zeros(2, 5, 11), torch.zeros(2, 5).long())), 3)  # 5 log 11
    11.989
    """
    each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="mean")
    return LONGEST * each
