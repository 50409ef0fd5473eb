"""Graded covariate shifts: the same examples and labels, with features that move away.

Each shift has a strength that starts at 0, where nothing changes, and a seed that fixes what is
drawn (the noise, the planes, the order in which features are lost). Of two strengths with one
seed the larger one is the same change carried further, so that a series of strengths is graded.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Seed = int | Sequence[int]
KINDS = ("noise", "rotation", "missing")


def grades(count: int) -> list[float]:
    """Return equally spaced strengths in (0, 1], the last of which is 1.

    Parameters
    ----------
    count : int
        How many.

    Examples
    --------
    >>> grades(4)
    [0.25, 0.5, 0.75, 1.0]
    """
    return [grade / count for grade in range(1, count + 1)]


def noise(x: Array, scale: float, seed: Seed) -> Array:
    """Add Gaussian noise to every feature.

    Parameters
    ----------
    x : ndarray
        Shape (N, D).
    scale : float
        Standard deviation of the noise, in the unit of the features.
    seed : int or sequence of int
        Seed of the noise.

    Returns
    -------
    ndarray
        Shape (N, D).

    Raises
    ------
    ValueError
        If the scale is negative.

    Examples
    --------
    >>> twice = noise(np.zeros((3, 2)), 2.0, seed=0)
    >>> np.allclose(twice, 2 * noise(np.zeros((3, 2)), 1.0, seed=0))
    True
    """
    if not scale >= 0:  # as said, so that NaN is refused too
        raise ValueError(f"the scale of the noise is {scale}; it must be at least 0")
    return x + scale * _stream(seed, 0).standard_normal(x.shape)


def planes(dimensions: int, seed: Seed) -> Array:
    """Draw an orthonormal basis; its columns, taken in pairs, span the planes of a rotation.

    Parameters
    ----------
    dimensions : int
        D.
    seed : int or sequence of int
        Seed of the basis, which is uniform up to the signs of its columns.

    Returns
    -------
    ndarray
        Shape (D, D), orthogonal.

    Examples
    --------
    >>> basis = planes(3, seed=0)
    >>> np.allclose(basis.T @ basis, np.eye(3))
    True
    """
    drawn = _stream(seed, 1).standard_normal((dimensions, dimensions))
    return np.linalg.qr(drawn).Q


def feature_rotation(x: Array, degrees: float, seed: Seed) -> Array:
    """Rotate the feature space about the origin, by one angle in D // 2 random planes.

    The planes are orthogonal to each other; if D is odd, one direction stays. Features should be
    standardised first: the origin is then their mean, and their units do not matter.

    Parameters
    ----------
    x : ndarray
        Shape (N, D).
    degrees : float
        The angle in every plane.
    seed : int or sequence of int
        Seed of the planes.

    Returns
    -------
    ndarray
        Shape (N, D); lengths and distances of the rows are those of `x`.

    Examples
    --------
    >>> x = np.array([[3.0, 4.0]])
    >>> half = feature_rotation(x, 180, seed=0)
    >>> half.round(6).tolist()
    [[-3.0, -4.0]]
    """
    basis = planes(x.shape[1], seed)
    angle, even = np.deg2rad(degrees), x.shape[1] // 2 * 2
    coordinates = x @ basis
    first, second = coordinates[:, 0:even:2].copy(), coordinates[:, 1:even:2].copy()
    coordinates[:, 0:even:2] = np.cos(angle) * first - np.sin(angle) * second
    coordinates[:, 1:even:2] = np.sin(angle) * first + np.cos(angle) * second
    return coordinates @ basis.T


def image_rotation(x: Array, degrees: float, size: tuple[int, int]) -> Array:
    """Rotate images about their middle, all by one angle.

    Parameters
    ----------
    x : ndarray
        Rows of pixels, shape (N, height * width).
    degrees : float
        The angle, counter-clockwise as the image is shown (first row on top).
    size : tuple of int
        Height and width.

    Returns
    -------
    ndarray
        Shape (N, height * width); linear interpolation, 0 where there was no image.

    Examples
    --------
    >>> image_rotation(np.array([[1.0, 2.0, 3.0, 4.0]]), 90, (2, 2)).tolist()
    [[2.0, 4.0, 1.0, 3.0]]
    """
    images = x.reshape(len(x), *size)
    # axes=(2, 1) turns columns towards rows: clockwise for SciPy, whose first axis points down
    turned = ndimage.rotate(
        images, degrees, axes=(2, 1), reshape=False, order=1, mode="constant", cval=0.0,
        prefilter=False,
    )  # fmt: skip
    return turned.reshape(x.shape)


def missing(x: Array, share: float, fill: Array, seed: Seed) -> Array:
    """Lose a share of the features: for every example, the same features get a fixed value.

    Parameters
    ----------
    x : ndarray
        Shape (N, D).
    share : float
        Share of the features, 0 to 1; their number is rounded.
    fill : ndarray
        What stands in their place, such as the means of the labelled data, shape (D,).
    seed : int or sequence of int
        Seed of the order in which features are lost.

    Returns
    -------
    ndarray
        Shape (N, D).

    Raises
    ------
    ValueError
        If the share is not from 0 to 1.

    Examples
    --------
    >>> lost = missing(np.ones((2, 4)), 0.5, fill=np.zeros(4), seed=0)
    >>> lost.sum(axis=1).tolist()
    [2.0, 2.0]
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of missing features is {share}; it must be from 0 to 1")
    order = _stream(seed, 2).permutation(x.shape[1])
    lost = order[: round(share * x.shape[1])]
    changed = x.copy()
    changed[:, lost] = fill[lost]
    return changed


def _stream(seed: Seed, purpose: int) -> np.random.Generator:
    """Return the random numbers of one seed and one purpose."""
    return np.random.default_rng([*np.atleast_1d(seed), purpose])
