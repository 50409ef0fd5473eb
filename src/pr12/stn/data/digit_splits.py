"""Single digits as this paper's steps take them: checked, framed as MNIST's, the first ones."""

from collections import Counter
from typing import Any

import torch

from pr12.core import determinism
from pr12.data import splits
from pr12.stn.model import distortions
from pr12.workflow.errors import UserError


def first(split: splits.Split, count: int | None) -> splits.Split:
    """Return the first digits.

    Parameters
    ----------
    split : Split
        Test digits.
    count : int or None
        How many; None takes all.

    Raises
    ------
    UserError
        If there are fewer.

    Examples
    --------
    >>> len(first(splits.Split(torch.zeros(3, 28, 28), torch.arange(3)), 2).labels)
    2
    """
    if count is not None and count > len(split.labels):
        raise UserError(f"test has {len(split.labels)} digits; {count} are asked; ask fewer")
    return splits.Split(*(tensor[:count] for tensor in split))


def check(split: splits.Split, name: str, batch_size: int = 1) -> None:
    """Refuse a split that holds no digits.

    Parameters
    ----------
    split : Split
        As it was read.
    name : str
        Of the split, for the message.
    batch_size : int
        Digits that there must be.

    Raises
    ------
    UserError
        If the shapes or the type of labels are not those of a split, it is empty or smaller than a
        batch, a pixel is no number or outside [0, 1], or a label is no digit.

    Examples
    --------
    >>> check(splits.Split(torch.zeros(0, 28, 28), torch.arange(0)), "test")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: test has no images; give a split with one or more
    """
    images, labels = split
    if images.ndim != 3 or labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise UserError(
            f"{name} has images of the shape {tuple(images.shape)} and labels of the shape "
            f"{tuple(labels.shape)} and the type {labels.dtype}; give digits (N, H, W) with labels "
            "(N,) of int64"
        )
    if not images.numel():
        raise UserError(f"{name} has no images; give a split with one or more")
    if not bool(((images >= 0) & (images <= 1)).all()):  # NaN is neither
        raise UserError(f"{name} has pixels outside 0 to 1 or that are no numbers; make it anew")
    if len(images) < batch_size:
        raise UserError(
            f"{name} has {len(images)} images and batch_size is {batch_size}; lower batch_size"
        )
    if not bool(((labels >= 0) & (labels <= 9)).all()):
        raise UserError(f"{name} has labels that are no digits from 0 to 9; make it anew")


def checked(split: splits.Split, name: str, batch_size: int = 1) -> splits.Split:
    """Return the digits framed as MNIST's and on the device that computes, if they are such.

    Parameters
    ----------
    split : Split
        Digits, 28 x 28 or smaller squares.
    name, batch_size : str, int
        As of `check`.

    Raises
    ------
    UserError
        As `check` does, or if the images are no such squares.

    Examples
    --------
    >>> checked(splits.Split(torch.rand(4, 8, 8), torch.arange(4)), "test").images.shape
    torch.Size([4, 28, 28])
    """
    check(split, name, batch_size)
    where = determinism.device()
    return splits.Split(distortions.framed(split.images).to(where), split.labels.to(where))


def check_distinct(params: Any, *keys: str) -> None:
    """Refuse lists that name something twice: it would count as two independent values.

    Parameters
    ----------
    params : Any
        A step's.
    keys : str
        Of its lists.

    Raises
    ------
    UserError
        With the list and what it names twice.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> check_distinct(SimpleNamespace(seeds=(0, 1, 0)), "seeds")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: seeds is [0, 1, 0]; it names 0 twice: name each once
    """
    for key in keys:
        values = getattr(params, key)
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise UserError(f"{key} is {list(values)}; it names {value} twice: name each once")
