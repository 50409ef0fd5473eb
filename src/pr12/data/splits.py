"""The arrays of one split: images and labels, read by every training and evaluation."""

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
        If the file is missing or is not a split.

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
        raise UserError(f"{path} holds no images with labels and a maximum; it is not a split")
    return Split(tensors["images"].float() / float(maximum), tensors["labels"])
