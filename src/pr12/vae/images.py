"""The images that a step learns from or judges a net on: checked before anything is computed."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pr12.shared import determinism, splits
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
    >>> from pr12.shared import tensor_files
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test.safetensors"
    >>> tensors = {"images": torch.full((2, 1, 3), 9).byte(), "labels": torch.zeros(2)}
    >>> tensor_files.write_tensors(path, tensors, {"maximum": "9"})
    >>> load(path).shape
    torch.Size([2, 3])
    >>> tensor_files.write_tensors(path, tensors, {"maximum": "3"})
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
    return x.to(determinism.device())


def learnt(
    images: Tensor,
    train_examples: int | None,
    batch_size: int,
    likelihood: Literal["bernoulli", "gaussian", "linear"],
) -> Tensor:
    """Return the first images as rows of pixels, if a case can learn from them.

    Parameters
    ----------
    images : Tensor
        Shape (N, H, W).
    train_examples : int or None
        How many are learnt from, N'; None for all.
    batch_size : int
        No more than are learnt from.
    likelihood : {"bernoulli", "gaussian", "linear"}
        The decoder's; only the linear one takes pixels outside [0, 1].

    Returns
    -------
    Tensor
        Shape (N', H * W).

    Raises
    ------
    UserError
        If a pixel is not a number, or outside [0, 1] where it must be a probability, or there are
        fewer images than the case asks for or than a batch has.

    Examples
    --------
    >>> learnt(torch.zeros(3, 4, 5), train_examples=2, batch_size=1, likelihood="bernoulli").shape
    torch.Size([2, 20])
    """
    x = images.flatten(1)
    if not torch.isfinite(x).all():
        where = int((~torch.isfinite(x)).any(dim=1).nonzero()[0])
        raise UserError(f"image {where} of train has pixels that are no numbers; make it anew")
    low, high = float(x.min()), float(x.max())
    if likelihood != "linear" and (low < 0 or high > 1):
        raise UserError(
            f"the images of train have values from {low:g} to {high:g}; "
            f"a {likelihood} decoder needs them in [0, 1]"
        )
    if train_examples is not None and train_examples > len(x):
        raise UserError(f"train has {len(x)} images; train_examples asks {train_examples}")
    x = x[:train_examples]
    if len(x) < batch_size:
        raise UserError(f"train has {len(x)} images; batch_size is {batch_size}")
    return x


def binarised(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw binary images with the pixels as probabilities, anew at every use (Burda et al. 2015).

    Parameters
    ----------
    x : Tensor
        Shape (S, B, D), in [0, 1].
    generators : list of torch.Generator
        One per replica.

    Examples
    --------
    >>> binarised(torch.tensor([[[0.0, 1.0]]]), [determinism.generator(0, "binarise")])
    tensor([[[0., 1.]]])
    """
    uniform = [torch.rand(x.shape[1:], generator=g, device=g.device) for g in generators]
    return (torch.stack(uniform) < x).to(x.dtype)
