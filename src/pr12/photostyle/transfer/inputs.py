"""What a transfer starts from: photographs, at full and at working size, and their classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pr12.photostyle.data import automatic_masks, common_classes, masks
from pr12.photostyle.transfer import images
from pr12.photostyle.transfer.images import Photograph
from pr12.workflow.errors import UserError


class Inputs(NamedTuple):
    """The photographs as they are optimised, and the content as it is given back."""

    whole: Photograph  # the content, at full size
    content: np.ndarray  # float32 from 0 to 1, shape (h, w, 3)
    style: np.ndarray
    content_labels: np.ndarray  # uint8, shape (h, w); 0 to K - 1
    style_labels: np.ndarray  # also `common_classes.UNUSED`
    warnings: list[str]


def read(paths: Mapping[str, Path], size: int) -> Inputs:
    """Read the photographs and masks of a transfer, or make the masks.

    Parameters
    ----------
    paths : mapping of str to Path
        ``content``, ``style`` and perhaps ``content_mask`` and ``style_mask``.
    size : int
        Longest side in pixels at which images are optimised; larger ones are made smaller.

    Raises
    ------
    UserError
        If a file is no image, only one mask is given, or a mask does not fit its image.
    """
    given = [name for name in ("content_mask", "style_mask") if name in paths]
    if len(given) == 1:
        missing = {"content_mask": "style_mask", "style_mask": "content_mask"}[given[0]]
        raise UserError(f"{given[0]} is given without {missing}; give both, or none for automatic")
    whole = {name: images.read_photograph(paths[name]) for name in ("content", "style")}
    small = {name: shrunk(own.pixels, size) for name, own in whole.items()}
    if given:
        *labels, warnings = _painted(paths, whole, small)
    else:
        labels = automatic_masks.automatic(
            *(np.rint(255 * small[name]).astype(np.uint8) for name in ("content", "style"))
        )
        warnings = [
            "no masks are given, so they are made from colour, roughness and height; masks by hand "
            "(content_mask=, style_mask=) are better"
        ]
    return Inputs(whole["content"], small["content"], small["style"], *labels, warnings)


def _painted(
    paths: Mapping[str, Path], whole: Mapping[str, Photograph], small: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read masks by hand, at working size and with the classes that both have."""
    painted = {name: images.read_mask(paths[f"{name}_mask"]) for name in whole}
    for name, pixels in painted.items():
        try:  # at the sizes that the user knows
            masks.resized(pixels[..., 0], *whole[name].pixels.shape[:2])
        except UserError as error:
            raise UserError(f"{paths[f'{name}_mask']}: {error}") from None
    # Masks of large photographs need no more detail than twice what is optimised
    limited = []
    for name, pixels in painted.items():
        height, width = (2 * side for side in small[name].shape[:2])
        too_large = pixels.shape[0] > height or pixels.shape[1] > width
        limited.append(masks.nearest(pixels, height, width) if too_large else pixels)
    *labels, colours = masks.flat_labels(*limited)
    sized = [
        masks.nearest(own, *small[name].shape[:2])
        for own, name in zip(labels, painted, strict=True)
    ]
    content, style, warnings = common_classes.merged(*sized, colours)
    if content.max() == 0:
        warnings = [*warnings, "there is one class only: the style is that of the whole image"]
    return content, style, warnings


def shrunk(pixels: np.ndarray, size: int) -> np.ndarray:
    """Make an image smaller until its longest side has a size; smaller ones stay as they are.

    Parameters
    ----------
    pixels : ndarray
        float32 from 0 to 1, shape (H, W, 3).
    size : int
        In pixels.

    Examples
    --------
    >>> shrunk(np.full((300, 600, 3), 0.5, np.float32), 100).shape
    (50, 100, 3)
    >>> shrunk(np.full((30, 60, 3), 0.5, np.float32), 100).shape
    (30, 60, 3)
    """
    height, width = pixels.shape[:2]
    share = size / max(height, width)
    if share >= 1:
        return pixels
    new = max(1, round(width * share)), max(1, round(height * share))
    planes = [
        np.asarray(Image.fromarray(plane).resize(new, Image.Resampling.LANCZOS))
        for plane in np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    ]
    return np.clip(np.stack(planes, axis=2), 0, 1)
