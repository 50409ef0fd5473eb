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

IMAGES = ("content", "style")


class Inputs(NamedTuple):
    """The photographs as they are optimised, and the content as it is given back."""

    whole: Photograph  # the content, at full size
    content: np.ndarray  # float32 from 0 to 1, shape (h, w, 3)
    style: np.ndarray
    content_labels: np.ndarray  # uint8, shape (h, w); 0 to K - 1, or `common_classes.UNUSED`
    style_labels: np.ndarray
    warnings: list[str]
    classes: str  # colour and shares of each, for people
    sizes: dict[str, tuple[int, int]]  # of the files of content and style, (height, width)


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
        If a file is no image or wholly transparent, only one mask is given, a mask does not fit its
        image, or a mask is a photograph.
    """
    given = [name for name in ("content_mask", "style_mask") if name in paths]
    if len(given) == 1:
        missing = {"content_mask": "style_mask", "style_mask": "content_mask"}[given[0]]
        raise UserError(f"{given[0]} is given without {missing}; give both, or none for automatic")
    whole = {name: images.read_photograph(paths[name]) for name in IMAGES}
    whole = {name: images.without_hidden(image, paths[name]) for name, image in whole.items()}
    small = {name: shrunk(image.pixels, size) for name, image in whole.items()}
    seen = {name: _seen(whole[name], small[name], paths[name]) for name in IMAGES}
    warnings = [text for name in IMAGES for text in _warnings(paths[name], whole[name])]
    if given:
        content, style, colours = _painted(paths, whole, small)
    else:
        eight = (np.rint(255 * small[name]).astype(np.uint8) for name in IMAGES)
        content, style = automatic_masks.automatic(*eight)
        colours = automatic_masks.COLOURS
        warnings.append(
            "no masks are given, so they are made from colour, roughness and height; masks by hand "
            "(content_mask=, style_mask=) are better"
        )
    style = np.where(seen["style"], style, common_classes.UNUSED).astype(np.uint8)
    if given or not seen["style"].all():
        before = style
        content, style, changes = common_classes.merged(content, style, colours)
        style = np.where(seen["style"], style, common_classes.UNUSED).astype(np.uint8)
        colours = common_classes.common_colours(before, style, colours)
        warnings += changes
        if content.max() == 0:
            warnings.append("there is one class only: the style is that of the whole image")
    content = np.where(seen["content"], content, common_classes.UNUSED).astype(np.uint8)
    sizes = {name: image.pixels.shape[:2] for name, image in whole.items()}
    shares = _shares(content, style, colours)
    return Inputs(
        whole["content"], small["content"], small["style"], content, style, warnings, shares, sizes
    )


def _seen(whole: Photograph, small: np.ndarray, path: Path) -> np.ndarray:
    """Tell the pixels at working size that are not transparent."""
    if whole.alpha is None:
        return np.ones(small.shape[:2], bool)
    seen = masks.nearest(whole.alpha > 0, *small.shape[:2])
    if not seen.any():
        raise UserError(
            f"{path} is transparent almost everywhere; give an image of which more can be seen"
        )
    return seen


def _warnings(path: Path, photograph: Photograph) -> list[str]:
    """Return what of a file is not used."""
    texts = []
    if photograph.images > 1:
        texts.append(f"{path} holds {photograph.images} images; the first is used")
    if photograph.alpha is not None and not photograph.alpha.all():
        share = 100 * np.mean(photograph.alpha == 0)
        texts.append(
            f"{share:.1f} % of {path} is transparent; the colours hidden there are not used"
        )
    return texts


def _shares(content: np.ndarray, style: np.ndarray, colours: np.ndarray) -> str:
    """Return each class with its shares of the two images, so that people see masks exchanged."""
    labels = np.setdiff1d(np.unique(content), [common_classes.UNUSED])
    return "; ".join(
        f"{common_classes.name_of(colours[label])} is {100 * np.mean(content == label):.1f} % of "
        f"the content and {100 * np.mean(style == label):.1f} % of the style"
        for label in labels
    )


def _painted(
    paths: Mapping[str, Path], whole: Mapping[str, Photograph], small: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read masks by hand: the labels of both at working size, and their colours."""
    painted = {name: images.read_mask(paths[f"{name}_mask"]) for name in whole}
    _check_shapes(paths, whole, painted)
    # Masks of large photographs need no more detail than twice what is optimised
    limited = {}
    for name, pixels in painted.items():
        height, width = (2 * side for side in small[name].shape[:2])
        too_large = pixels.shape[0] > height or pixels.shape[1] > width
        limited[name] = masks.nearest(pixels, height, width) if too_large else pixels
        try:
            masks.check_painted(limited[name])
        except UserError as error:
            raise UserError(f"{paths[f'{name}_mask']}: {error}") from None
    *labels, colours = masks.flat_labels(*limited.values())
    content, style = (
        masks.nearest(mask, *small[name].shape[:2])
        for mask, name in zip(labels, painted, strict=True)
    )
    return content, style, colours


def _check_shapes(
    paths: Mapping[str, Path], whole: Mapping[str, Photograph], painted: Mapping[str, np.ndarray]
) -> None:
    """Refuse masks of another shape than their image, and see whether they are exchanged."""
    shapes = {name: image.pixels.shape[:2] for name, image in whole.items()}
    for name, pixels in painted.items():
        try:  # at the sizes that the user knows
            masks.resized(pixels[..., 0], *shapes[name])
        except UserError as error:
            others = zip(painted.values(), reversed(shapes.values()), strict=True)
            exchanged = all(masks.alike(mask.shape[:2], shape) for mask, shape in others)
            remedy = "; each mask fits the other image: exchange them" if exchanged else ""
            raise UserError(f"{paths[f'{name}_mask']}: {error}{remedy}") from None


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
