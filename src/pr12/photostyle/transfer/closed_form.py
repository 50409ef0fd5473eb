"""Colours carried in closed form, class by class: seconds, and no network.

The linear map between two Gaussians that moves colours least (Monge-Kantorovich; Pitié and Kokaram
2007), in CIE Lab. With the style's class as target it gives each class of the content the mean and
the covariance of the style's. Where classes meet, maps are mixed by masks that follow the content's
edges.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy.linalg
from PIL import Image
from scipy import ndimage

from pr12.photostyle.data.common_classes import UNUSED
from pr12.photostyle.model import local_affine

GAIN = 4.0  # by which no direction of colour is stretched more: what was noise would be seen
STRIP = 16  # rows that are worked on at once: what a processor keeps near, and little memory
EDGES = {"radius": 8, "epsilon": 1e-4}  # of the masks
BORDER = 0.02  # of the longest side: so far from a border of the masks colours have a say
COLOUR_NOISE = 4.0  # variance of Lab that every class has
LEAST = 1e-4  # variance of Lab below which a direction of the content has no colours of its own
# IEC 61966-2-1 with the white of D65 (2 degrees), as scikit-image has them
WHITE = np.array([0.95047, 1.0, 1.08883], np.float32)
TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
).astype(np.float32)
FROM_XYZ = np.linalg.inv(TO_XYZ.astype(np.float64)).astype(np.float32)
BEND, SLOPE = 0.008856, 7.787


class Map(NamedTuple):
    """An affine map of Lab colours: ``colour @ matrix.T + shift``."""

    matrix: np.ndarray  # (3, 3)
    shift: np.ndarray  # (3,)


def to_lab(image: np.ndarray) -> np.ndarray:
    """Return the Lab colours of sRGB ones, as scikit-image's ``rgb2lab`` in float32.

    Parameters
    ----------
    image : ndarray
        From 0 to 1, shape (..., 3).

    Examples
    --------
    >>> float(to_lab(np.ones((1, 3)))[0, 0].round(1))
    100.0
    """
    values = np.asarray(image, np.float32)
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    ratios = (linear @ TO_XYZ.T) / WHITE
    bent = np.where(ratios > BEND, np.cbrt(ratios), SLOPE * ratios + np.float32(16 / 116))
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(lab: np.ndarray) -> np.ndarray:
    """Return the sRGB colours of Lab ones, cut off at 0 and 1; the inverse of `to_lab`.

    Parameters
    ----------
    lab : ndarray
        Shape (..., 3).

    Examples
    --------
    >>> colour = np.array([[0.2, 0.5, 0.9]])
    >>> bool(np.allclose(from_lab(to_lab(colour)), colour, atol=1e-4))
    True
    """
    lightness, a, b = np.moveaxis(np.asarray(lab, np.float32), -1, 0)
    y = (lightness + 16) / 116
    bent = np.stack([y + a / 500, y, np.maximum(y - b / 200, 0)], axis=-1)
    cubed = bent**3
    ratios = np.where(cubed > BEND, cubed, (bent - np.float32(16 / 116)) / SLOPE)
    linear = np.clip((ratios * WHITE) @ FROM_XYZ.T, 0, 1)
    high = 1.055 * np.power(linear, np.float32(1 / 2.4)) - 0.055
    return np.clip(np.where(linear > 0.0031308, high, 12.92 * linear), 0, 1)


def transport(source: np.ndarray, target: np.ndarray) -> Map:
    """Return the map between the Gaussians of two samples that moves them least.

    Parameters
    ----------
    source, target : ndarray
        Colours, shapes (N, 3) and (M, 3).

    Examples
    --------
    >>> colours = np.random.default_rng(0).normal(0, [9, 4, 2], (5000, 3))
    >>> result = transport(colours, 2 * colours + 5)
    >>> bool(np.allclose(result.matrix, 2 * np.eye(3), atol=1e-3)), result.shift.round(2).tolist()
    (True, [5.0, 5.0, 5.0])
    """
    means = [np.mean(each, axis=0, dtype=np.float64) for each in (source, target)]
    a, b = (
        np.atleast_2d(np.cov(each, rowvar=False, bias=True)) + LEAST * np.eye(3)
        for each in (np.asarray(source, np.float64), np.asarray(target, np.float64))
    )
    root = scipy.linalg.sqrtm(a).real
    inverse = np.linalg.inv(root)
    matrix = inverse @ scipy.linalg.sqrtm(root @ b @ root).real @ inverse
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    matrix = (vectors * np.clip(values, 0, GAIN)) @ vectors.T
    return Map(matrix, means[1] - matrix @ means[0])


def maps(
    content: np.ndarray, style: np.ndarray, content_labels: np.ndarray, style_labels: np.ndarray
) -> dict[int, Map]:
    """Return the map of each class that both images have.

    Parameters
    ----------
    content, style : ndarray
        From 0 to 1, shapes (h, w, 3) and (H, W, 3).
    content_labels, style_labels : ndarray
        uint8, the class of each pixel; `UNUSED` is none.
    """
    colours = to_lab(content), to_lab(style)
    shared = np.intersect1d(content_labels, style_labels)
    return {
        int(label): transport(
            colours[0][content_labels == label], colours[1][style_labels == label]
        )
        for label in shared
        if label != UNUSED
    }


def weights(content: np.ndarray, labels: np.ndarray, classes: list[int]) -> np.ndarray:
    """Return how much of each class every pixel is: masks that follow the content's edges.

    Parameters
    ----------
    content : ndarray
        From 0 to 1, shape (h, w, 3).
    labels : ndarray
        Shape (h, w).
    classes : list of int
        K of them.

    Returns
    -------
    ndarray
        float32, shape (K, h, w), adding up to 1 but where pixels are of no class.

    Examples
    --------
    >>> content = np.repeat(np.array([0.0, 0.0, 1.0, 1.0]), 3).reshape(1, 4, 3)
    >>> soft = weights(content, np.array([[0, 0, 1, 1]]), [0, 1])
    >>> bool(soft[1, 0, 1] < 0.1 < 0.9 < soft[1, 0, 2])
    True
    """
    sharp = np.stack([labels == label for label in classes]).astype(np.float32)
    likely = _likely(to_lab(content), sharp)
    soft = np.zeros_like(sharp)
    window = EDGES | {"radius": min(EDGES["radius"], max(content.shape[:2]))}
    for first in range(0, len(classes), 3):  # as the channels of an image
        group = np.zeros((*labels.shape, 3), np.float32)
        some = likely[first : first + 3]
        group[..., : len(some)] = np.moveaxis(some, 0, 2)
        refined = local_affine.smoothed(content, group, **window)
        soft[first : first + 3] = np.moveaxis(refined, 2, 0)[: len(some)]
    total = soft.sum(axis=0)
    soft = np.where(total > 0.05, soft / np.maximum(total, 1e-6), sharp)
    return (soft * np.isin(labels, classes)).astype(np.float32)


def _likely(lab: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Return the probability of each class by a pixel's place and colour.

    Masks, automatic ones above all, are some pixels off: near a border a pixel with the colours of
    the sky belongs to the sky.
    """
    near = BORDER * max(lab.shape[:2])
    prior = np.stack([ndimage.gaussian_filter(mask, near, mode="nearest") for mask in sharp])
    prior[prior < 1e-3] = 0.0
    logs = np.empty_like(prior)
    for index, mask in enumerate(sharp):
        colours = lab[mask > 0].astype(np.float64)
        covariance = np.cov(colours, rowvar=False, bias=True) + COLOUR_NOISE * np.eye(3)
        away = lab - colours.mean(axis=0)
        distance = np.einsum("...i,ij,...j->...", away, np.linalg.inv(covariance), away)
        logs[index] = -0.5 * (distance + np.linalg.slogdet(covariance)[1])
    joint = prior * np.exp(logs - np.max(logs, axis=0, initial=-np.inf, where=prior > 0))
    return joint / np.maximum(joint.sum(axis=0), 1e-12)


def applied(
    image: np.ndarray, by_class: dict[int, Map], shares: np.ndarray, threads: int = 1
) -> np.ndarray:
    """Apply the maps to a photograph of any size.

    Parameters
    ----------
    image : ndarray
        From 0 to 1, shape (H, W, 3).
    by_class : dict of int to Map
        K of them.
    shares : ndarray
        As `weights` gives them, shape (K, h, w), in the same order.
    threads : int
        That work on strips of it.

    Returns
    -------
    ndarray
        float32 from 0 to 1, shape (H, W, 3); pixels of no class keep their colours.

    Examples
    --------
    >>> darker = {0: Map(np.diag([0.5, 1.0, 1.0]), np.zeros(3))}
    >>> result = applied(np.ones((1, 1, 3)), darker, np.ones((1, 1, 1), np.float32))
    >>> bool(np.allclose(result, 0.466, atol=1e-3))
    True
    """
    result = np.empty(image.shape, np.float32)
    height, width = image.shape[:2]
    enlarged = _enlarged(shares, height, width)

    def strip(first: int) -> None:
        rows = slice(first, min(first + STRIP, height))
        given = image[rows]
        lab = to_lab(given)
        share = enlarged[:, rows].astype(np.float32) / 255
        changed = np.zeros_like(lab)
        for (matrix, shift), part in zip(by_class.values(), share, strict=True):
            inside = part > 0
            colours = lab[inside] @ matrix.T.astype(np.float32) + shift.astype(np.float32)
            changed[inside] += part[inside][:, None] * colours
        total = share.sum(axis=0)[..., None]
        mixed = from_lab(changed / np.maximum(total, 1e-6))
        result[rows] = np.where(total > 0, total * mixed + (1 - total) * given, given)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(strip, range(0, height, STRIP)))
    return result


def _enlarged(shares: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return masks at the size of a photograph, in bytes: it may have many pixels and classes."""
    eight = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    size = (width, height)
    return np.stack(
        [np.asarray(Image.fromarray(s).resize(size, Image.Resampling.BILINEAR)) for s in eight]
    )


def transported(
    content: np.ndarray, style: np.ndarray, content_labels: np.ndarray, style_labels: np.ndarray
) -> np.ndarray:
    """Return the content with the style's colours, at one size.

    Parameters
    ----------
    content, style, content_labels, style_labels : ndarray
        As for `maps`.

    Examples
    --------
    >>> grey = np.linspace(0.4, 0.6, 12).reshape(2, 2, 3)
    >>> one = np.zeros((2, 2), np.uint8)
    >>> bool(transported(grey, grey / 2, one, one).mean() < 0.3)
    True
    """
    by_class = maps(content, style, content_labels, style_labels)
    return applied(content, by_class, weights(content, content_labels, list(by_class)))
