"""The digits and the soft labels that steps read: checked before anything is computed."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from pr12.core import tensor_files
from pr12.data import splits
from pr12.workflow.errors import UserError

CLASSES = 10


def load(path: Path | str) -> splits.Split:
    """Return a split of digits.

    Parameters
    ----------
    path : Path or str
        As `pr12.data.arrays` wrote it.

    Raises
    ------
    UserError
        If the file is no split, has no images, a pixel is not in [0, 1] or a label is no digit.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.safetensors"
    >>> tensors = {"images": torch.ones(2, 1, 3).byte(), "labels": torch.tensor([3, 12])}
    >>> tensor_files.write_tensors(path, tensors, {"maximum": "1"})
    >>> load(path)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...train.safetensors has labels from 3 to 12; they must be \
digits from 0 to 9: make it anew
    """
    try:
        images, labels = split = splits.load_split(path)
    except ValueError:  # of the text that should be the largest pixel
        raise UserError(f"the metadata of {path} have no number as maximum; make it anew") from None
    if images.dim() != 3 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path} has images of shape {tuple(images.shape)} and labels of shape "
            f"{tuple(labels.shape)}; a split has (N, H, W) and (N,): make it anew"
        )
    if images.numel() == 0:
        raise UserError(f"{path} has no images (their shape is {tuple(images.shape)}); ask more")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # a pixel that is no number is neither
        raise UserError(f"{path} has pixels from {low:g} to {high:g}; they must lie in [0, 1]")
    if labels.dtype != torch.int64:
        raise UserError(f"{path} has labels of type {labels.dtype}; they must be int64")
    first, last = int(labels.min()), int(labels.max())
    if first < 0 or last >= CLASSES:
        raise UserError(
            f"{path} has labels from {first} to {last}; they must be digits from 0 to "
            f"{CLASSES - 1}: make it anew"
        )
    return split


def load_alike(train: Path | str, validation: Path | str) -> tuple[splits.Split, splits.Split]:
    """Return two splits whose images have one size; raise `UserError` if they do not."""
    first, second = load(train), load(validation)
    if first.images.shape[1:] != second.images.shape[1:]:
        sizes = (" x ".join(map(str, split.images.shape[1:])) for split in (first, second))
        raise UserError(
            f"the images of {train} and {validation} are {' and '.join(sizes)} pixels; "
            "give two splits of one data set"
        )
    return first, second


def soft_labels(path: Path | str, labels: Tensor, classes: int | None = None) -> Tensor:
    """Return the logits of an ensemble's members on a training split, in its order.

    Parameters
    ----------
    path : Path or str
        As `pr12.distill.soft_labels` wrote it.
    labels : Tensor
        The split's, int64, shape (N,).
    classes : int, optional
        C of the net that learns from them.

    Returns
    -------
    Tensor
        float32, shape (M, N, C).

    Raises
    ------
    UserError
        If the file holds something else, or logits of another number of examples or classes.
    """
    logits = tensor_files.read_tensors(path).get("member_logits")
    if logits is None or logits.dim() != 3 or not logits.is_floating_point() or not logits.numel():
        raise UserError(
            f"{path} holds no member_logits (M, N, C); give what distill.soft_labels wrote"
        )
    if logits.shape[1] != len(labels):
        raise UserError(
            f"{path} has {logits.shape[1]} examples and train has {len(labels)}; "
            "soft labels must be made from the same split"
        )
    least = int(labels.max()) + 1
    if logits.shape[2] != (classes or logits.shape[2]) or logits.shape[2] < least:
        raise UserError(
            f"{path} has logits of {logits.shape[2]} classes and the digits have "
            f"{classes or least}; soft labels must be made from the same data set"
        )
    if not torch.isfinite(logits).all():
        raise UserError(f"{path} has logits that are no finite numbers; train the teacher anew")
    _warn_of_chance(path, logits.mean(dim=0).argmax(dim=-1), labels)
    return logits


def _warn_of_chance(path: Path | str, answers: Tensor, labels: Tensor) -> None:
    """Warn if the answers are right no more often than answers in any other order would be."""
    right = int((answers == labels).sum())
    counts = [torch.bincount(values, minlength=CLASSES).double() for values in (answers, labels)]
    chance = float(counts[0] @ counts[1]) / len(labels)
    if right <= chance + 2 * chance**0.5:
        print(
            f"warning: the ensemble of {path} is right on {right} of {len(labels)} examples, which "
            f"chance explains ({chance:.0f}); make it from this split, by a trained teacher",
            file=sys.stderr,
        )
