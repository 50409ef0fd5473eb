"""The arrays of one split: images and labels, read by every training and evaluation."""

import math
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pr12.core import tensor_files
from pr12.workflow.errors import UserError


class Split(NamedTuple):
    """Images with intensities from 0 to 1, float32 (N, H, W), and labels, int64 (N,)."""

    images: Tensor
    labels: Tensor


def load_split(path: Path | str) -> Split:
    """Read one split, as `pr12.data.arrays` wrote it.

    Parameters
    ----------
    path : Path or str
        A safetensors file with ``images`` (uint8), ``labels`` and the metadata ``maximum``.

    Raises
    ------
    UserError
        If the file is missing or is not a split: no images of (N, H, W) with a label each.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "train.safetensors"
    >>> images = torch.tensor([[[0, 16]]], dtype=torch.uint8)
    >>> tensors = {"images": images, "labels": torch.tensor([3])}
    >>> tensor_files.write_tensors(path, tensors, {"maximum": "16"})
    >>> load_split(path)
    Split(images=tensor([[[0., 1.]]]), labels=tensor([3]))
    """
    tensors = tensor_files.read_tensors(path)
    maximum = tensor_files.read_metadata(path).get("maximum")
    if maximum is None or not {"images", "labels"} <= tensors.keys():
        raise UserError(
            f"{path} holds no images with labels and a maximum; it is not a split; make it anew"
        )
    images, labels = tensors["images"], tensors["labels"]
    if images.ndim != 3 or 0 in images.shape[1:] or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path} has images of the shape {tuple(images.shape)} and labels of the shape "
            f"{tuple(labels.shape)}; they must be (N, height, width) and (N,): it is not a split; "
            "make it anew"
        )
    return Split(images.float() / _positive(maximum, path), labels)


def _positive(maximum: str, path: Path | str) -> float:
    """Return what pixels are divided by."""
    try:
        number = float(maximum)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(
            f"{path} has the maximum {maximum!r}, by which pixels are divided; it must be a number "
            "above 0: it is not a split; make it anew"
        )
    return number
