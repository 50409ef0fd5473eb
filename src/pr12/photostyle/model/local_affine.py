"""Colour changes as affine maps that vary slowly over the image: smoothing and upsampling.

Luan et al. (2017, Sec. 3, "local affine") smooth their result in the code by fitting an affine map
of the content's colours in windows of 31 x 31 pixels, weighted like a bilateral filter. Here the
map is that of the guided filter with a colour guide (He et al. 2013), which weights all pixels of a
window alike and stops at the content's edges by its regularisation. Coefficients of a small image
can be applied to a large one (He & Sun 2015, Chen et al. 2016), whose details they keep.
"""

import numpy as np
from scipy import ndimage

STRIP = 64  # rows that are computed at once: coefficients are four times as large as the image


def coefficients(
    content: np.ndarray, result: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
    """Return the affine map of colours from one image to another, around each pixel.

    Parameters
    ----------
    content, result : ndarray
        From 0 to 1, shape (H, W, 3) each.
    radius : int
        Of the windows, in pixels; at borders a window ends with the image.
    epsilon : float
        Above 0. Colours that vary in a window by less than its root are taken to be alike.

    Returns
    -------
    ndarray
        float64, shape (H, W, 3, 4): for each colour of the result the weights of the content's red,
        green and blue, and a constant; the mean over the windows that hold the pixel (He et al.
        2013, eqs. 14 to 16).

    Examples
    --------
    >>> content = np.random.default_rng(0).random((8, 9, 3))
    >>> maps = coefficients(content, 0.5 * content + 0.2, radius=2, epsilon=1e-9)
    >>> maps[4, 4, 0, [0, 3]].round(3).tolist()
    [0.5, 0.2]
    """
    guide, wanted = (np.asarray(image, np.float64) for image in (content, result))
    side = 2 * radius + 1
    inside = _summed(np.ones(guide.shape[:2]), side)

    def mean(values: np.ndarray) -> np.ndarray:
        return _summed(values, side) / inside.reshape(inside.shape + (1,) * (values.ndim - 2))

    middle, middle_wanted = mean(guide), mean(wanted)
    # Deviations from the windows' means, as differences of moments: these are sums of doubles
    variance = mean(guide[..., :, None] * guide[..., None, :])
    variance -= middle[..., :, None] * middle[..., None, :]
    variance += epsilon * np.eye(3)
    covariance = mean(guide[..., :, None] * wanted[..., None, :])
    covariance -= middle[..., :, None] * middle_wanted[..., None, :]
    slopes = np.linalg.solve(variance, covariance).swapaxes(-1, -2)  # (H, W, to, from)
    constants = middle_wanted - (slopes @ middle[..., None])[..., 0]
    return mean(np.concatenate([slopes, constants[..., None]], axis=-1))


def _summed(values: np.ndarray, side: int) -> np.ndarray:
    """Average over a square, with zeros around the image."""
    size = (side, side) + (1,) * (values.ndim - 2)
    return ndimage.uniform_filter(values, size, mode="constant", cval=0.0)


def applied(coefficients: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Change the colours of an image.

    Parameters
    ----------
    coefficients : ndarray
        As `coefficients` gives them, shape (H, W, 3, 4).
    content : ndarray
        From 0 to 1, shape (H, W, 3).

    Returns
    -------
    ndarray
        From 0 to 1, shape (H, W, 3), with the number type of the coefficients.

    Examples
    --------
    >>> darker = np.tile(np.concatenate([0.5 * np.eye(3), np.zeros((3, 1))], axis=1), (1, 2, 1, 1))
    >>> applied(darker, np.array([[[1.0, 0.5, 0.0], [0.2, 0.2, 0.2]]])).tolist()
    [[[0.5, 0.25, 0.0], [0.1, 0.1, 0.1]]]
    """
    changed = np.einsum("hwij,hwj->hwi", coefficients[..., :3], content)
    return np.clip(changed + coefficients[..., 3], 0, 1)


def smoothed(content: np.ndarray, result: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Return the image nearest to a result that is locally an affine map of the content's colours.

    Parameters
    ----------
    content, result, radius, epsilon
        As for `coefficients`.

    Returns
    -------
    ndarray
        From 0 to 1, shape (H, W, 3).

    Examples
    --------
    >>> content = np.random.default_rng(0).random((8, 9, 3))
    >>> bool(abs(smoothed(content, content**2, 1, 1e-4) - content**2).max() < 0.2)
    True
    """
    return applied(coefficients(content, result, radius, epsilon), content)


def upsampled(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample coefficients to another size, linearly between the centres of pixels.

    Parameters
    ----------
    coefficients : ndarray
        Shape (h, w, 3, 4).
    height, width : int
        The size wanted.

    Returns
    -------
    ndarray
        Shape (height, width, 3, 4); beyond the outermost centres, as there.

    Examples
    --------
    >>> two = np.zeros((1, 2, 3, 4))
    >>> two[:, 1] = 1
    >>> upsampled(two, 1, 4)[0, :, 0, 0].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    return _columns(_rows(coefficients, height, slice(None)), width)


def carried(coefficients: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Apply coefficients of a small image to a large one, of which they keep all details.

    Parameters
    ----------
    coefficients : ndarray
        Shape (h, w, 3, 4).
    content : ndarray
        From 0 to 1, shape (H, W, 3).

    Returns
    -------
    ndarray
        float32, from 0 to 1, shape (H, W, 3): as `applied` with `upsampled`, in less memory.

    Examples
    --------
    >>> content = np.random.default_rng(0).random((8, 10, 3))
    >>> small = coefficients(content[::2, ::2], 0.5 * content[::2, ::2], 2, 1e-9)
    >>> bool(abs(carried(small, content) - 0.5 * content).max() < 1e-3)
    True
    """
    height, width = content.shape[:2]
    small = coefficients.astype(np.float32)
    changed = np.empty(content.shape, np.float32)
    for first in range(0, height, STRIP):
        rows = slice(first, min(first + STRIP, height))
        changed[rows] = applied(_columns(_rows(small, height, rows), width), content[rows])
    return changed


def _rows(values: np.ndarray, height: int, wanted: slice) -> np.ndarray:
    """Return some rows of an image that is resampled to a height."""
    lower, upper, share = _between(values.shape[0], height, values.dtype)
    share = share[wanted].reshape(-1, *(1,) * (values.ndim - 1))
    return values[lower[wanted]] * (1 - share) + values[upper[wanted]] * share


def _columns(values: np.ndarray, width: int) -> np.ndarray:
    return _rows(values.swapaxes(0, 1), width, slice(None)).swapaxes(0, 1)


def _between(size: int, wanted: int, number: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new place the two old ones beside it and the share of the second."""
    places = ((np.arange(wanted) + 0.5) * size / wanted - 0.5).clip(0, size - 1)
    lower = np.floor(places).astype(int)
    return lower, np.minimum(lower + 1, size - 1), (places - lower).astype(number)
