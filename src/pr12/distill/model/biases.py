"""The output bias of classes that a transfer set lacked (Hinton et al. 2015, Sec. 3)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pr12.workflow.errors import UserError

SHIFTS = torch.arange(-200, 201) / 10  # the paper's shifts, 3.5 and -7.6, have one decimal


def check(bias_classes: Sequence[int], labels: Mapping[str, Tensor]) -> None:
    """Check that a split has examples of every class whose bias is corrected.

    Parameters
    ----------
    bias_classes : sequence of int
        Each once.
    labels : mapping of str to Tensor
        Name of a split -> its labels.

    Raises
    ------
    UserError
        If not.

    Examples
    --------
    >>> check([3], {"test": torch.tensor([0, 1])})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: --params.bias_classes names 3, of which test has no example; \
leave it out
    """
    for name, values in labels.items():
        for c in bias_classes:
            if not (values == c).any():
                raise UserError(
                    f"--params.bias_classes names {c}, of which {name} has no example; leave it out"
                )


def count_errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the wrong answers of every replica.

    Parameters
    ----------
    logits : Tensor
        Shape (..., N, C).
    labels : Tensor
        int64, shape (N,).

    Returns
    -------
    Tensor
        int64, shape (...).

    Examples
    --------
    >>> count_errors(torch.eye(3), torch.tensor([0, 1, 1]))
    tensor(1)
    """
    return (logits.argmax(dim=-1) != labels).sum(dim=-1)


def shifted(logits: Tensor, classes: Sequence[int], shift: Tensor | float) -> Tensor:
    """Raise the bias of some classes by `shift`.

    Parameters
    ----------
    logits : Tensor
        Shape (N, C).
    classes : sequence of int
        Whose bias changes.
    shift : Tensor or float
        By how much, in units of the logits.

    Examples
    --------
    >>> shifted(torch.zeros(1, 3), [2], 3.5)
    tensor([[0.0000, 0.0000, 3.5000]])
    """
    raised = torch.zeros(logits.shape[-1])
    raised[list(classes)] = 1.0
    return logits + shift * raised


def best_shift(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """Find the shift of some classes' bias that makes fewest errors; the smallest of equals.

    Parameters
    ----------
    logits : Tensor
        One replica's, shape (N, C).
    labels : Tensor
        int64, shape (N,).
    classes : sequence of int
        Whose bias changes.

    Examples
    --------
    >>> logits = torch.tensor([[2.05, 0.0], [2.05, 0.0]])
    >>> round(best_shift(logits, torch.tensor([1, 1]), [1]), 1)
    2.1
    """
    counts = torch.stack([count_errors(shifted(logits, classes, s), labels) for s in SHIFTS])
    smallest_first = SHIFTS.abs().argsort(stable=True)
    return SHIFTS[smallest_first[counts[smallest_first].argmin()]].item()
