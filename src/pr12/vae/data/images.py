"""The images that a step learns from or judges a net on: checked before anything is computed."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.data import splits
from pr12.data.splits import Split
from pr12.vae.params import Mcem, Train
from pr12.workflow.errors import UserError

CLASSES = 10  # of digits; faces have one
NEEDS = "for a {} decoder they must"


def read(path: Path | str) -> Split:
    """Return a split, whatever its pixels are.

    Parameters
    ----------
    path : Path or str
        As `pr12.data.splits.load_split` reads it.

    Raises
    ------
    UserError
        If the file is no split, has no images, or its labels are not as many.

    Examples
    --------
    >>> from pr12.core import tensor_files
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.safetensors"
    >>> tensors = {"images": torch.zeros(0, 8, 8).byte(), "labels": torch.zeros(0)}
    >>> tensor_files.write_tensors(path, tensors, {"maximum": "9"})
    >>> read(path)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...train.safetensors has no images (their shape is (0, 8, 8)); \
make it anew with more
    """
    try:
        split = splits.load_split(path)
    except ValueError:  # of the text that should be the largest pixel
        raise UserError(f"the metadata of {path} have no number as maximum; make it anew") from None
    images, labels = split
    if images.dim() != 3 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path} has images of shape {tuple(images.shape)} and labels of shape "
            f"{tuple(labels.shape)}; a split has (N, H, W) and (N,): make it anew"
        )
    if images.numel() == 0:
        shape = tuple(images.shape)
        raise UserError(f"{path} has no images (their shape is {shape}); make it anew with more")
    return split


def load(path: Path | str, bounded: bool = True) -> Tensor:
    """Read a split's images as rows of pixels, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `read` reads it.
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
    >>> from pr12.core import tensor_files
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
    pr12.workflow.errors.UserError: ...test.safetensors has pixels from 3 to 3; they must lie in \
[0, 1]
    """
    images = read(path).images
    if len(images) < 2:
        raise UserError(f"{path} has {len(images)} images; at least two are needed")
    check_pixels(images, path, "they must" if bounded else None)
    return images.flatten(1).to(determinism.device())


def load_alike(train: Path | str, test: Path | str, bounded: bool = True) -> tuple[Tensor, Tensor]:
    """Read two splits as `load` does; raise `UserError` if they differ in their pixels' number."""
    x, y = load(train, bounded), load(test, bounded)
    if x.shape[1] != y.shape[1]:
        raise UserError(
            f"the images of {train} have {x.shape[1]} pixels and those of {test} {y.shape[1]}; "
            "give two splits of one data set"
        )
    return x, y


def load_labelled(path: Path | str) -> Split:
    """Read a split whose labels are used too, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `read` reads it.

    Raises
    ------
    UserError
        If a pixel is not in [0, 1], or a label is no whole number from 0 to 9.
    """
    split = read(path)
    check_pixels(split.images, path, "they must")
    if split.labels.dtype != torch.int64:
        raise UserError(f"{path} has labels of type {split.labels.dtype}; they must be int64")
    first, last = int(split.labels.min()), int(split.labels.max())
    if first < 0 or last >= CLASSES:
        raise UserError(
            f"{path} has labels from {first} to {last}; they must be digits from 0 to "
            f"{CLASSES - 1}: make it anew"
        )
    return Split(*(part.to(determinism.device()) for part in split))


def check_pixels(images: Tensor, name: Path | str, bounded: str | None) -> None:
    """Check that pixels are numbers, and in [0, 1] where they must be.

    Parameters
    ----------
    images : Tensor
        Shape (N, ...), at least one.
    name : Path or str
        Of the split, for the message.
    bounded : str or None
        Who needs them in [0, 1], such as "they must"; None if nobody does.

    Raises
    ------
    UserError
        For the first image that is not so.

    Examples
    --------
    >>> check_pixels(torch.tensor([[0.5, 2.0]]), "train", None)
    """
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise UserError(f"image {first} of {name} has pixels that are no numbers; make it anew")
    low, high = float(images.min()), float(images.max())
    if bounded and (low < 0 or high > 1):
        raise UserError(f"{name} has pixels from {low:g} to {high:g}; {bounded} lie in [0, 1]")


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
    check_pixels(images, "train", None if likelihood == "linear" else NEEDS.format(likelihood))
    x = images.flatten(1)
    if train_examples is not None and train_examples > len(x):
        raise UserError(f"train has {len(x)} images; train_examples asks {train_examples}")
    x = x[:train_examples]
    if len(x) < batch_size:
        raise UserError(f"train has {len(x)} images; batch_size is {batch_size}")
    return x


def load_learnt(path: Path | str, params: Train | Mcem) -> Tensor:
    """Return the images of a file that a case learns from, on the device: see `learnt`."""
    x = learnt(read(path).images, params.train_examples, params.batch_size, params.likelihood)
    return x.to(determinism.device())


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
