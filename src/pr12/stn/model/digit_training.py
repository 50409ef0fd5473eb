"""Trainings on digits: their order, the step sizes, a check of the outcome."""

from typing import Any, Literal

import torch
from torch import Tensor

from pr12.workflow.errors import UserError


def learning_rate(first: float, schedule: Literal["thirds", "linear"], done: float) -> float:
    """Give the step size after a share of the training.

    Parameters
    ----------
    first : float
        The first step size.
    schedule : {"thirds", "linear"}
        A tenth at each third (App. A.4), or falling linearly to 0.
    done : float
        From 0 to 1.

    Examples
    --------
    >>> [round(learning_rate(1.0, "thirds", done), 4) for done in (0, 0.33, 0.34, 0.7)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if schedule == "linear":
        return first * (1 - done)
    return first * 0.1 ** int(3 * done)


def orders(examples: int, wanted: int, stream: torch.Generator) -> Tensor:
    """Give the digits in the order in which a net sees them, every one once per epoch.

    Parameters
    ----------
    examples, wanted : int
        Digits that there are, and images that the net learns from.
    stream : torch.Generator
        Of the shuffles.

    Returns
    -------
    Tensor
        int64, shape (wanted,).

    Examples
    --------
    >>> sorted(orders(2, 4, torch.Generator()).tolist())
    [0, 0, 1, 1]
    """
    epochs = -(-wanted // examples)
    where = stream.device
    shuffled = [torch.randperm(examples, generator=stream, device=where) for _ in range(epochs)]
    return torch.cat(shuffled)[:wanted]


def check(loss: float, finite: bool, where: str, history: list[dict[str, Any]]) -> None:
    """Stop a training that is lost.

    Raises
    ------
    UserError
        With the place and the cause: the transformers' parameters, or the loss.

    Examples
    --------
    >>> check(float("nan"), False, "R, seed 0, epoch 1.00", [{"train/loss_nats": 2.5}])
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: the transformers' parameters theta are not finite at R, \
seed 0, epoch 1.00 (loss before: 2.5); lower learning_rate and run again
    """
    last = history[-1]["train/loss_nats"] if history else "none"
    cause = None
    if not finite:
        cause = "the transformers' parameters theta are"
    elif loss != loss or loss in (float("inf"), float("-inf")):
        cause = "the loss is"
    if cause:
        raise UserError(
            f"{cause} not finite at {where} (loss before: {last}); "
            "lower learning_rate and run again"
        )
