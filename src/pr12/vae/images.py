"""The images that a step judges a net on: read, and checked before anything is computed."""

from pathlib import Path

import torch
from torch import Tensor

from pr12.shared import run, splits
from pr12.shared.errors import UserError


def load(path: Path | str, bounded: bool = True) -> Tensor:
    """Read a split's images as rows of pixels, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `pr12.shared.splits.load_split` reads it.
    bounded : bool
        Whether the pixels must lie in [0, 1], as all decoders but the linear one need them.

    Returns
    -------
    Tensor
        Shape (N, D).

    Raises
    ------
    UserError
        If there are fewer than two images, or a pixel is no number or out of bounds.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test.safetensors"
    >>> tensors = {"images": torch.full((2, 1, 3), 9).byte(), "labels": torch.zeros(2)}
    >>> run.write_tensors(path, tensors, {"maximum": "9"})
    >>> load(path).shape
    torch.Size([2, 3])
    >>> run.write_tensors(path, tensors, {"maximum": "3"})
    >>> load(path)
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: ...test.safetensors has pixels from 3 to 3; they must lie in \
[0, 1]
    """
    images = splits.load_split(path).images
    if len(images) < 2:
        raise UserError(f"{path} has {len(images)} images; at least two are needed")
    x = images.flatten(1)
    if not torch.isfinite(x).all():
        wrong = int((~torch.isfinite(x)).any(dim=1).nonzero()[0])
        raise UserError(f"image {wrong} of {path} has pixels that are no numbers; make it anew")
    low, high = float(x.min()), float(x.max())
    if bounded and (low < 0 or high > 1):
        raise UserError(f"{path} has pixels from {low:g} to {high:g}; they must lie in [0, 1]")
    return x.to(run.device())
