"""Splits of a fine-grained task in files."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pr12.core import tensor_files
from pr12.workflow.errors import UserError


class Examples(NamedTuple):
    """Images, uint8 (N, 3, S, S), classes, int64 (N,), and where parts are, if that is known."""

    images: Tensor
    labels: Tensor
    places: Tensor  # (N, parts, 2), x and y from -1 to 1; no parts for birds
    classes: int


def write(path: Path | str, split: Examples) -> None:
    """Write a split for `load`.

    Parameters
    ----------
    path : Path or str
        The safetensors file.
    split : Examples
        What to write.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test.safetensors"
    >>> image, none = torch.zeros(1, 3, 4, 4).byte(), torch.zeros(1, 0, 2)
    >>> write(path, Examples(image, torch.tensor([1]), none, 2))
    >>> load(path).classes
    2
    """
    tensors = {"images": split.images, "labels": split.labels, "places": split.places}
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(path, tensors, {"parts": json.dumps({"classes": split.classes})})


def load(path: Path | str) -> Examples:
    """Read a split.

    Parameters
    ----------
    path : Path or str
        As `write` wrote it.

    Raises
    ------
    UserError
        If the file is missing or no such split, or a class is none of its classes.

    Examples
    --------
    >>> load("/nowhere/train.safetensors")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/train.safetensors: no such file
    """
    tensors = tensor_files.read_tensors(path)
    try:
        classes = json.loads(tensor_files.read_metadata(path)["parts"])["classes"]
        split = Examples(tensors["images"], tensors["labels"], tensors["places"], classes)
        right = _is_split(split)
    except (IndexError, KeyError, RecursionError, RuntimeError, TypeError, ValueError):
        right = False
    if not right:
        raise UserError(f"{path} holds no split of stn.parts; give a file that it wrote")
    return split


def _is_split(split: Examples) -> bool:
    """Tell whether shapes, types and classes are those of a split; anything may be raised."""
    count, channels, height, width = split.images.shape
    return (
        (channels, height, split.images.dtype) == (3, width, torch.uint8)
        and count > 0
        and height > 0
        and (split.labels.shape, split.labels.dtype) == ((count,), torch.int64)
        and split.places.shape == (count, split.places.shape[1], 2)
        and split.places.is_floating_point()
        and isinstance(split.classes, int)
        and 0 <= int(split.labels.min()) <= int(split.labels.max()) < split.classes
    )
