"""Make the file of photographs: pairs of content and style with masks, textures, and single ones.

`packages` are photographs that come with scikit-image and scikit-learn, with automatic masks;
`deep_photo_style` are four pairs that the authors of Deep Photo Style Transfer published
(github.com/luanfujun/deep-photo-styletransfer), with their masks and results. Textures and single
photographs are those of the packages in both.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import safetensors.numpy
import sklearn.datasets
from PIL import Image
from skimage import data

from pr12.photostyle import automatic_masks, masks
from pr12.shared import files, step
from pr12.shared.errors import UserError
from pr12.shared.step import AtLeast, Between

# Content and style. Two have a sky and something that stands before it, at day and at night; the
# third a round thing before a dark ground.
PACKAGE_PAIRS = (("china", "rocket"), ("rocket", "china"), ("flower", "retina"))
PUBLISHED_PAIRS = ("pair3", "pair14", "pair15", "pair16")
TEXTURES = ("brick", "grass", "gravel")
SINGLE = ("astronaut", "chelsea", "coffee", "china", "rocket", "flower")
# A texture is cut out so that a pixel of ours is 4 x 4 of its own. The bricks' period along a row
# is 38 pixels of its own (by autocorrelation) and they are about 100 long: 96 of our pixels hold
# 10 x 4 bricks, with mortar wider than a pixel. Without the cut the mortar would be thinner than a
# pixel; without the reduction, 96 pixels would hold one whole brick's length.
TEXTURE_REDUCTION = 4


@dataclass(frozen=True)
class Params:
    """Params of the photographs: which pairs, and the sizes of all images in pixels."""

    source: Literal["packages", "deep_photo_style"]
    size: Annotated[int, AtLeast(16)]  # longest side of contents and styles; never enlarged
    published_size: Annotated[int, AtLeast(16)]  # the same, of the authors' pairs
    texture_size: Annotated[int, AtLeast(16)]
    inversion_size: Annotated[int, AtLeast(16)]
    classes: Annotated[int, Between(1, 8)]  # of automatic masks, at most


def package_photograph(name: str) -> np.ndarray:
    """Give a photograph or texture of scikit-image or scikit-learn.

    Parameters
    ----------
    name : str
        Its name there; ``china`` and ``flower`` are scikit-learn's.

    Returns
    -------
    ndarray
        uint8, shape (height, width, 3); grey ones have three equal channels.

    Examples
    --------
    >>> package_photograph("china").shape, package_photograph("brick").shape
    ((427, 640, 3), (512, 512, 3))
    """
    if name in ("china", "flower"):
        return sklearn.datasets.load_sample_image(f"{name}.jpg")
    pixels = getattr(data, name)()
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def shrunk(pixels: np.ndarray, size: int) -> np.ndarray:
    """Shrink an image to a longest side, without aliasing; a smaller one stays as it is.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (height, width, 3).
    size : int
        The longest side wanted, in pixels.

    Examples
    --------
    >>> shrunk(np.zeros((40, 60, 3), np.uint8), 30).shape
    (20, 30, 3)
    >>> shrunk(np.zeros((40, 60, 3), np.uint8), 90).shape
    (40, 60, 3)
    """
    height, width = pixels.shape[:2]
    scale = min(1, size / max(height, width))
    target = [max(1, round(scale * width)), max(1, round(scale * height))]
    return np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.LANCZOS))


def centre_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut the square out of the middle of an image.

    Parameters
    ----------
    pixels : ndarray
        Shape (height, width, 3).
    side : int
        At most the shorter of both, in pixels.

    Examples
    --------
    >>> centre_square(np.arange(24).reshape(2, 4, 3), 2)[..., 0].tolist()
    [[3, 6], [15, 18]]
    """
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def texture(pixels: np.ndarray, size: int) -> np.ndarray:
    """Cut a square texture that keeps several periods, and shrink it.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (height, width, 3).
    size : int
        Side of the result, in pixels; above a quarter of the image, all of it is used.

    Raises
    ------
    UserError
        If the image is smaller.

    Examples
    --------
    >>> texture(package_photograph("gravel"), 96).shape
    (96, 96, 3)
    """
    side = min(pixels.shape[:2])
    if size > side:
        raise UserError(f"texture_size is {size}; the textures have only {side} pixels")
    return shrunk(centre_square(pixels, min(side, TEXTURE_REDUCTION * size)), size)


def square_photograph(pixels: np.ndarray, size: int) -> np.ndarray:
    """Cut the largest square out of the middle and shrink it.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (height, width, 3).
    size : int
        Side of the result, in pixels.

    Raises
    ------
    UserError
        If the image is smaller.

    Examples
    --------
    >>> square_photograph(package_photograph("coffee"), 64).shape
    (64, 64, 3)
    """
    side = min(pixels.shape[:2])
    if size > side:
        raise UserError(f"inversion_size is {size}; a photograph has only {side} pixels")
    return shrunk(centre_square(pixels, side), size)


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
    pr12.shared.errors.UserError: cannot read /nowhere/content.png: No such file or directory
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
        `masks.UNUSED` stands for no class.
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
    images = [shrunk(content, size), shrunk(style, size)]
    before = [
        masks.nearest(masks.resized(labels, *whole.shape[:2]), *image.shape[:2])
        for labels, whole, image in zip(
            (content_labels, style_labels), (content, style), images, strict=True
        )
    ]
    *after, warnings = masks.merged(*before, colours)
    palette = masks.kept_colours(before[1], after[1], colours)
    shares = [[float(np.mean(labels == k)) for k in range(len(palette))] for labels in after]
    names = ("content", "style", "content_mask", "style_mask")
    return dict(zip(names, (*images, *after), strict=True)), {
        "palette": [masks.name_of(colour) for colour in palette],
        "content_shares": shares[0],
        "style_shares": shares[1],
        "warnings": warnings,
    }


def package_pairs(size: int, classes: int) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Give the pairs of the packages' photographs, with automatic masks.

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
        content, style = map(package_photograph, names)
        labels = automatic_masks.automatic(content, style, classes)
        own, info["_".join(names)] = pair_tensors(
            content, style, *labels, automatic_masks.COLOURS, size
        )
        tensors |= {f"{'_'.join(names)}/{key}": value for key, value in own.items()}
    return tensors, info


def published_pairs(folder: Path, size: int) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Give the published pairs, with their masks and results.

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
        read = {
            name: read_png(place / f"{name}.png")
            for name in ("content", "style", "content_mask", "style_mask", "published_result")
        }
        try:
            labels = masks.flat_labels(read["content_mask"], read["style_mask"])
            own, info[pair] = pair_tensors(read["content"], read["style"], *labels, size)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        if read["published_result"].shape != read["content"].shape:
            raise UserError(f"{place}/published_result.png is not of its content's size")
        own["published"] = shrunk(read["published_result"], size)
        tensors |= {f"{pair}/{key}": value for key, value in own.items()}
    return tensors, info


def main(job: step.Job) -> None:
    """Make the file."""
    params, paths = job.params, job.paths
    if params.source == "packages":
        tensors, info = package_pairs(params.size, params.classes)
    elif "verified" in paths and "folder" in paths:
        files.read_json(paths["verified"])  # the fetch has checked every image
        tensors, info = published_pairs(paths["folder"], params.published_size)
    else:
        raise UserError("deep_photo_style is read from files: add verified=PATH and folder=PATH")
    for name in TEXTURES:
        tensors[f"texture/{name}"] = texture(package_photograph(name), params.texture_size)
    for name in SINGLE:
        tensors[f"photograph/{name}"] = square_photograph(
            package_photograph(name), params.inversion_size
        )
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"info": json.dumps(info, sort_keys=True)},
    )
    with files.atomic(paths["photographs"]) as temporary:
        temporary.write_bytes(content)
    for pair, own in info.items():
        for warning in own["warnings"]:
            print(f"{pair}: {warning}", file=sys.stderr)
    print(f"{len(info)} pairs, {len(tensors)} tensors", file=sys.stderr)


if __name__ == "__main__":
    with step.start(Params, optional=["verified", "folder"], writes=["photographs"]) as job:
        main(job)
