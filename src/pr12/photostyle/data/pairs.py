"""Pairs of content and style with masks: package photographs, or those that authors published."""

from pathlib import Path

import numpy as np
from PIL import Image

from pr12.photostyle.data import automatic_masks, common_classes, masks, package_photographs
from pr12.workflow.errors import UserError

# Content and style. Two have a sky and something that stands before it, at day and at night; the
# third a round thing before a dark ground.
PACKAGE_PAIRS = (("china", "rocket"), ("rocket", "china"), ("flower", "retina"))
PUBLISHED_PAIRS = ("pair3", "pair14", "pair15", "pair16")
IMAGES = ("content", "style", "content_mask", "style_mask", "published_result")
FILES = tuple(f"{pair}/{name}.png" for pair in PUBLISHED_PAIRS for name in IMAGES)


def read_png(path: Path) -> np.ndarray:
    """Read an image file of the published pairs.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray
        uint8, shape (height, width, 3).

    Raises
    ------
    UserError
        If it is missing or is not a whole image.

    Examples
    --------
    >>> read_png(Path("/nowhere/content.png"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/content.png: No such file or directory
    """
    try:
        with open(path, "rb") as stream, Image.open(stream) as image:
            return np.array(image.convert("RGB"))
    except (Image.UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        pass
    except OSError as error:
        if error.strerror:  # of the file system; those of a truncated file have none
            raise UserError(f"cannot read {path}: {error.strerror}") from error
    raise UserError(f"{path} is not a whole image; fetch it anew")


def pair_tensors(
    content: np.ndarray,
    style: np.ndarray,
    content_labels: np.ndarray,
    style_labels: np.ndarray,
    colours: np.ndarray,
    size: int,
) -> tuple[dict[str, np.ndarray], dict[str, list]]:
    """Bring one pair to its size and restrict its classes to those that both images have there.

    Parameters
    ----------
    content, style : ndarray
        uint8, shape (height, width, 3) each.
    content_labels, style_labels : ndarray
        Rows of `colours`, each of about its image's size.
    colours : ndarray
        uint8, shape (classes, 3).
    size : int
        Longest side, in pixels.

    Returns
    -------
    tensors : dict of str to ndarray
        ``content``, ``style``, ``content_mask`` and ``style_mask``, all uint8; in the last,
        `common_classes.UNUSED` stands for no class.
    info : dict of str to list
        ``palette`` (#rrggbb), ``content_shares`` and ``style_shares`` of each class, ``warnings``.

    Raises
    ------
    UserError
        If a mask has another shape than its image.

    Examples
    --------
    >>> grey, labels = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)
    >>> tensors, info = pair_tensors(grey, grey, labels, labels, np.uint8([[255, 0, 0]]), 15)
    >>> tensors["content_mask"].shape, info["palette"], info["style_shares"]
    ((10, 15), ['#ff0000'], [1.0])
    """
    images = [package_photographs.shrunk(content, size), package_photographs.shrunk(style, size)]
    before = [
        masks.nearest(masks.resized(labels, *whole.shape[:2]), *image.shape[:2])
        for labels, whole, image in zip(
            (content_labels, style_labels), (content, style), images, strict=True
        )
    ]
    *after, warnings = common_classes.merged(*before, colours)
    palette = common_classes.common_colours(before[1], after[1], colours)
    shares = [[float(np.mean(labels == k)) for k in range(len(palette))] for labels in after]
    names = ("content", "style", "content_mask", "style_mask")
    return dict(zip(names, (*images, *after), strict=True)), {
        "palette": [common_classes.name_of(colour) for colour in palette],
        "content_shares": shares[0],
        "style_shares": shares[1],
        "warnings": warnings,
    }


def package_pairs(size: int, classes: int) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Return the pairs of the packages' photographs, with automatic masks.

    Parameters
    ----------
    size : int
        Longest side, in pixels.
    classes : int
        At most so many classes.

    Returns
    -------
    tensors : dict of str to ndarray
        ``<pair>/content`` and so on, as `pair_tensors` gives them.
    info : dict of str to dict
        By pair.

    Examples
    --------
    >>> tensors, info = package_pairs(48, 2)
    >>> sorted(info), tensors["china_rocket/content"].shape
    (['china_rocket', 'flower_retina', 'rocket_china'], (32, 48, 3))
    """
    tensors, info = {}, {}
    for names in PACKAGE_PAIRS:
        content, style = map(package_photographs.named, names)
        labels = automatic_masks.automatic(content, style, classes)
        arrays, info["_".join(names)] = pair_tensors(
            content, style, *labels, automatic_masks.COLOURS, size
        )
        tensors |= {f"{'_'.join(names)}/{key}": value for key, value in arrays.items()}
    return tensors, info


def published_pairs(folder: Path, size: int) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Return the published pairs, with their masks and results.

    Parameters
    ----------
    folder : Path
        With a folder for each pair.
    size : int
        Longest side, in pixels.

    Returns
    -------
    tensors : dict of str to ndarray
        As `package_pairs`, and ``<pair>/published``, as large as the content.
    info : dict of str to dict
        By pair.

    Raises
    ------
    UserError
        If a file is missing or broken, or a mask or result does not fit its image.
    """
    tensors, info = {}, {}
    for pair in PUBLISHED_PAIRS:
        place = folder / pair
        read = {name: read_png(place / f"{name}.png") for name in IMAGES}
        try:
            labels = masks.flat_labels(read["content_mask"], read["style_mask"])
            arrays, info[pair] = pair_tensors(read["content"], read["style"], *labels, size)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        if read["published_result"].shape != read["content"].shape:
            raise UserError(f"{place}/published_result.png is not of its content's size")
        arrays["published"] = package_photographs.shrunk(read["published_result"], size)
        tensors |= {f"{pair}/{key}": value for key, value in arrays.items()}
    return tensors, info
