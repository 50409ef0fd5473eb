"""Faces of 28 x 20 pixels: read from Frey Face's file, or cut out of a photograph."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.io
import torch
from skimage import color, data, filters, transform
from torch import Tensor

from pr12.core import determinism
from pr12.data import fetched

FREY_FILE = "frey_rawface.mat"
COUNT, HEIGHT, WIDTH = 1965, 28, 20
# What pixels are divided by. A density depends on it: by 255 instead of the 256 of the author's
# library, every bound of Frey Face would be lower by 560 log(256 / 255) = 2.2 nats.
MAXIMUM = {"frey": 256, "moving": 255}
FACE = (225.0, 130.0)  # column and row of the middle of the photograph's face
REDUCTION = 4  # pixels of the photograph along the side of one of ours


def read_frey(path: Path, checksums: Mapping[str, str]) -> Tensor:
    """Read the frames of Frey Face and check that they are those that were fetched.

    Parameters
    ----------
    path : Path
        A MATLAB file with the variable ``ff``, a column of 560 pixels per frame.
    checksums : mapping of str to str
        As `fetched.record` returned them: of this file "pixels-sha256:...", the digest of decoded
        pixels, since the same pixels are published in several containers.

    Returns
    -------
    Tensor
        uint8, shape (1965, 28, 20), in the order of the film.

    Raises
    ------
    UserError
        If the file is missing, is not such a MATLAB file or has other pixels.

    Examples
    --------
    >>> read_frey(Path("/nowhere/frey_rawface.mat"), {})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: verified.json says nothing of frey_rawface.mat; delete \
verified.json and run again, and it is fetched anew
    """
    fetched.check(path, checksums)
    pixels = scipy.io.loadmat(path, variable_names=["ff"])["ff"]
    return torch.from_numpy(pixels.T.reshape(COUNT, HEIGHT, WIDTH).copy())


def photograph() -> np.ndarray:
    """Return scikit-image's photograph of an astronaut, blurred against aliasing.

    Returns
    -------
    ndarray
        Grey, 0 to 1, shape (512, 512).

    Examples
    --------
    >>> photograph().shape
    (512, 512)
    """
    # The blur that `skimage.transform.resize` takes against aliasing
    sigma = (REDUCTION - 1) / 2
    grey = color.rgb2gray(data.astronaut())
    return filters.gaussian(grey, sigma=sigma, mode="nearest", truncate=4.0, preserve_range=True)


def moved_face(
    picture: np.ndarray, shift: float, scale: float, turn: float, brightness: float
) -> np.ndarray:
    """Cut the face out of the photograph, moved.

    Parameters
    ----------
    picture : ndarray
        As `photograph` gives it.
    shift : float
        To the right, in pixels of the result.
    scale : float
        Above 1: larger.
    turn : float
        Clockwise, in radians.
    brightness : float
        What values are multiplied by; 0 to 1.

    Returns
    -------
    ndarray
        uint8, shape (28, 20).

    Examples
    --------
    >>> moved_face(photograph(), 0.0, 1.0, 0.0, 1.0).shape
    (28, 20)
    """
    # From a pixel of the result (column, row) to its place in the photograph
    place = (
        transform.SimilarityTransform(translation=(-(WIDTH - 1) / 2 - shift, -(HEIGHT - 1) / 2))
        + transform.SimilarityTransform(scale=REDUCTION / scale, rotation=-turn)
        + transform.SimilarityTransform(translation=FACE)
    )
    face = transform.warp(
        picture, place, output_shape=(HEIGHT, WIDTH), order=1, mode="edge", clip=True,
        preserve_range=True,
    )  # fmt: skip
    return np.rint(255 * brightness * face).astype(np.uint8)


def moving_faces(count: int, seed: int) -> Tensor:
    """Draw pictures of one face that shifts, grows, turns and darkens.

    Four factors are drawn independently and uniformly for each picture: a horizontal shift by up
    to 2 pixels, a scale from 0.85 to 1.15, a turn by up to 0.2 rad (11 degrees), a brightness from
    0.6 to 1 times the photograph's. The first pictures do not depend on how many are drawn.

    Parameters
    ----------
    count : int
        Number of pictures.
    seed : int
        Seed of the factors.

    Returns
    -------
    Tensor
        uint8, shape (count, 28, 20).

    Examples
    --------
    >>> moving_faces(2, 0).shape
    torch.Size([2, 28, 20])
    """
    stream = determinism.generator(seed, "moving faces")
    factors = torch.rand(count, 4, generator=stream, dtype=torch.float64)
    picture = photograph()
    moved = [
        moved_face(picture, 4 * a - 2, 0.85 + 0.3 * b, 0.4 * c - 0.2, 0.6 + 0.4 * d)
        for a, b, c, d in factors.tolist()
    ]
    return torch.from_numpy(np.stack(moved))
