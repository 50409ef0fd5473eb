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


def write(path: Path | str, made: Sequences, source: str) -> None:
    """Write a split for `load`.

    Parameters
    ----------
    path : Path or str
        The safetensors file.
    made : Sequences
        What to write.
    source : str
        ``composed`` or ``svhn``.

    Examples
    --------
    See `load`.
    """
    said = json.dumps({"left_out": made.left_out, "source": source}, sort_keys=True)
    # One text only: safetensors writes several in an order that changes from run to run.
    tensors = {"images": made.images, "labels": made.labels}
    tensor_files.write_tensors(path, tensors, {"sequences": said})


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
        images, labels = tensors["images"], tensors["labels"]
        left_out = int(json.loads(tensor_files.read_metadata(path)["sequences"])["left_out"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} holds no sequences; give a file that stn.sequences wrote"
        ) from None
    count, side = len(labels), images.shape[-1]
    found = (images.dtype, tuple(images.shape), labels.dtype, tuple(labels.shape))
    wanted = (torch.uint8, (count, 3, side, side), torch.int64, (count, composed.LONGEST))
    if found != wanted or not count or labels.min() < 0 or labels.max() > composed.BLANK:
        raise UserError(
            f"{path} must hold images (N, 3, S, S) of uint8 and labels (N, 5) of int64, 0 to 10; "
            "delete it and run again"
        )
    return Sequences(images, labels, left_out)
