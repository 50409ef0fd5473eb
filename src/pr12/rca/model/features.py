"""What a forest sees of a voxel: its intensity, its surroundings and its place.

Atlas Forests (Zikic et al., "Encoding atlases by randomized classification forests", Medical Image
Analysis 18, 2014) use intensity and context features and the place in the atlas; box features of
random offsets there, smoothed intensities at fixed offsets here.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

SCALES = (1.0, 2.0, 4.0)  # standard deviations of smoothing, voxels
OFFSET = 5  # voxels to each side, along each axis, at which the smoothed image is looked at
CONTEXT_SCALE = 2.0


def voxel_features(image: np.ndarray) -> np.ndarray:
    """Return the features of every voxel.

    Parameters
    ----------
    image : ndarray
        float32, 0 to 1, (z, y, x) or (y, x).

    Returns
    -------
    ndarray
        float32, shape (voxels, features): intensity, its smoothed values, gradient magnitude,
        smoothed values to both sides along each axis, and the place from -1 to 1 along each axis.

    Examples
    --------
    >>> voxel_features(np.zeros((6, 5), np.float32)).shape
    (30, 11)
    """
    smoothed = {scale: gaussian_filter(image, sigma=scale, mode="nearest") for scale in SCALES}
    columns = [image, *smoothed.values()]
    columns.append(gaussian_gradient_magnitude(image, sigma=1.0, mode="nearest"))
    for axis in range(image.ndim):
        for offset in (-OFFSET, OFFSET):
            columns.append(shifted(smoothed[CONTEXT_SCALE], offset, axis))
    for axis, size in enumerate(image.shape):
        line = np.linspace(-1.0, 1.0, size, dtype=np.float32)
        shape = [-1 if other == axis else 1 for other in range(image.ndim)]
        columns.append(np.broadcast_to(line.reshape(shape), image.shape))
    return np.stack([part.astype(np.float32, copy=False).ravel() for part in columns], axis=1)


def shifted(image: np.ndarray, offset: int, axis: int) -> np.ndarray:
    """Return at each voxel the value `offset` voxels further along an axis; the border repeats.

    Parameters
    ----------
    image : ndarray
        Any values.
    offset : int
        Voxels.
    axis : int
        Of the array.

    Examples
    --------
    >>> shifted(np.array([1, 2, 3]), 1, 0).tolist(), shifted(np.array([1, 2, 3]), -5, 0).tolist()
    ([2, 3, 3], [1, 1, 1])
    """
    places = np.clip(np.arange(image.shape[axis]) + offset, 0, image.shape[axis] - 1)
    return np.take(image, places, axis=axis)
