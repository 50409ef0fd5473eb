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


def write(path: Path | str, made: Examples) -> None:
    """Write a split for `load`.

    Parameters
    ----------
    path : Path or str
        The safetensors file.
    made : Examples
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
    tensors = {"images": made.images, "labels": made.labels, "places": made.places}
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(path, tensors, {"parts": json.dumps({"classes": made.classes})})


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
        made = Examples(tensors["images"], tensors["labels"], tensors["places"], classes)
        count, channels, height, width = made.images.shape
        right = (
            (channels, height, made.images.dtype) == (3, width, torch.uint8)
            and made.labels.shape == (count,)
            and made.places.shape == (count, made.places.shape[1], 2)
            and count > 0
            and 0 <= int(made.labels.min()) <= int(made.labels.max()) < classes
        )
    except (IndexError, KeyError, TypeError, ValueError):
        right = False
    if not right:
        raise UserError(f"{path} holds no split that stn.parts wrote; make it anew")
    return made
