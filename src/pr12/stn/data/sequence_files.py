"""Splits of house numbers in files."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pr12.core import tensor_files
from pr12.stn.data import composed
from pr12.workflow.errors import UserError


class Sequences(NamedTuple):
    """Pictures, uint8 (N, 3, S, S), and their digits, int64 (N, 5), 10 after the last."""

    images: Tensor
    labels: Tensor
    left_out: int  # sequences of the split that were too long


def write(path: Path | str, split: Sequences, source: str) -> None:
    """Write a split for `load`.

    Parameters
    ----------
    path : Path or str
        The safetensors file.
    split : Sequences
        What to write.
    source : str
        ``composed`` or ``svhn``.

    Examples
    --------
    See `load`.
    """
    description = json.dumps({"left_out": split.left_out, "source": source}, sort_keys=True)
    # One text only: safetensors writes several in an order that changes from run to run.
    tensors = {"images": split.images, "labels": split.labels}
    tensor_files.write_tensors(path, tensors, {"sequences": description})


def load(path: Path | str) -> Sequences:
    """Read a split, as `write` wrote it.

    Parameters
    ----------
    path : Path or str
        The safetensors file.

    Raises
    ------
    UserError
        If it is missing or is no split of sequences.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.safetensors"
    >>> images, labels = torch.zeros(1, 3, 32, 32).byte(), torch.full((1, 5), 10)
    >>> write(path, Sequences(images, labels, 2), "composed")
    >>> load(path).labels.tolist(), load(path).left_out
    ([[10, 10, 10, 10, 10]], 2)
    """
    tensors = tensor_files.read_tensors(path)
    try:
        description = json.loads(tensor_files.read_metadata(path)["sequences"])
        split = Sequences(tensors["images"], tensors["labels"], int(description["left_out"]))
        right = _is_split(split)
    except (IndexError, KeyError, RecursionError, RuntimeError, TypeError, ValueError):
        right = False
    if not right:
        raise UserError(f"{path} holds no split of stn.sequences; give a file that it wrote")
    return split


def _is_split(split: Sequences) -> bool:
    """Tell whether shapes, types and digits are those of a split; anything may be raised."""
    count, channels, height, width = split.images.shape
    return (
        (channels, height, split.images.dtype) == (3, width, torch.uint8)
        and count > 0
        and height > 0
        and (split.labels.shape, split.labels.dtype) == ((count, composed.LONGEST), torch.int64)
        and 0 <= int(split.labels.min()) <= int(split.labels.max()) <= composed.BLANK
    )
