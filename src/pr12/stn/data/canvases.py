"""Canvases with one digit each, for learning where it is."""

from typing import NamedTuple

import torch
from torch import Tensor

from pr12.data import splits
from pr12.stn.model import colocalisation, distortions
from pr12.workflow.errors import UserError


class Canvases(NamedTuple):
    """Canvases, (N, 1, 84, 84), and the digits' top and left, (N, 2), for judging alone."""

    images: Tensor
    corners: Tensor


def of_class(
    split: splits.Split,
    digit: int,
    least: int,
    most: int,
    patches: int,
    stream: torch.Generator,
) -> Canvases:
    """Draw the canvases of one class, of its first images.

    Parameters
    ----------
    split : Split
        Digits, 28 x 28; clutter is cut from all of them.
    digit : int
        The class.
    least, most : int
        Images of the class that there must be, and that are taken.
    patches : int
        Of clutter on a canvas.
    stream : torch.Generator
        Of the places and the clutter.

    Raises
    ------
    UserError
        If there are fewer images of the class.

    Examples
    --------
    >>> few = splits.Split(torch.rand(4, 28, 28), torch.tensor([3, 3, 1, 3]))
    >>> of_class(few, 3, 3, 3, 0, torch.Generator()).images.shape
    torch.Size([3, 1, 84, 84])
    """
    digits = split.images[split.labels == digit]
    if len(digits) < least:
        raise UserError(
            f"there are {len(digits)} images of the digit {digit}, {least} are needed; "
            "lower images, or leave the digit out"
        )
    placed, corners = distortions.placed(digits[:most], colocalisation.CANVAS, stream)
    images = distortions.cluttered(placed, split.images, patches, stream)[:, None]
    return Canvases(images, corners)
