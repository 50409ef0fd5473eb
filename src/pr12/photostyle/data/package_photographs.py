"""Photographs and textures that come with scikit-image and scikit-learn, cut and shrunk."""

import numpy as np
import sklearn.datasets
from PIL import Image
from skimage import data

from pr12.workflow.errors import UserError

# A texture is cut out so that a pixel of ours is 4 x 4 of its own. The bricks' period along a row
# is 38 pixels of its own (by autocorrelation) and they are about 100 long: 96 of our pixels hold
# 10 x 4 bricks, with mortar wider than a pixel. Without the cut the mortar would be thinner than a
# pixel; without the reduction, 96 pixels would hold one whole brick's length.
TEXTURE_REDUCTION = 4


def named(name: str) -> np.ndarray:
    """Return a photograph or texture of scikit-image or scikit-learn.

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
    >>> named("china").shape, named("brick").shape
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
    >>> texture(named("gravel"), 96).shape
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
    >>> square_photograph(named("coffee"), 64).shape
    (64, 64, 3)
    """
    side = min(pixels.shape[:2])
    if size > side:
        raise UserError(f"inversion_size is {size}; a photograph has only {side} pixels")
    return shrunk(centre_square(pixels, side), size)
