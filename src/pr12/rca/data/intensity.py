"""Intensities of one image brought to 0..1, each image by its own percentiles.

The same tissue has other values on another scanner (in the hippocampus set of the Medical
Segmentation Decathlon intensities differ by four orders of magnitude between subjects), so nothing
is shared between images.
"""

import numpy as np

from pr12.workflow.errors import UserError

PERCENTILES = (1.0, 99.0)


def refuse_not_finite(image: np.ndarray, where: str = "the image") -> None:
    """Refuse voxels that are NaN or infinite.

    Parameters
    ----------
    image : ndarray
        Real numbers, any shape.
    where : str
        What messages call the image: its file name.

    Raises
    ------
    UserError
        With their number.

    Examples
    --------
    >>> refuse_not_finite(np.array([0.0, np.nan, np.inf]), "a.nii.gz")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: a.nii.gz has NaN or infinity in 2 of 3 voxels; repair it
    """
    count = image.size - np.count_nonzero(np.isfinite(image))
    if count:
        raise UserError(f"{where} has NaN or infinity in {count} of {image.size} voxels; repair it")


def refuse_unusable(image: np.ndarray, where: str = "the image") -> None:
    """Refuse an image with voxels that are no numbers, and one without contrast.

    Parameters
    ----------
    image : ndarray
        Real numbers, any shape.
    where : str
        What messages call the image: its file name.

    Raises
    ------
    UserError
        If it has no voxels, if voxels are NaN or infinite, or if all are equal.

    Examples
    --------
    >>> refuse_unusable(np.full((2, 2), 7.0), "a.png")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: a.png has the value 7 in all voxels; give an image with contrast
    """
    if image.size == 0:
        raise UserError(f"{where} has no voxels; write the image anew")
    refuse_not_finite(image, where)
    if image.min() == image.max():
        raise UserError(
            f"{where} has the value {image.flat[0]:g} in all voxels; give an image with contrast"
        )


def normalised(image: np.ndarray, where: str = "the image") -> np.ndarray:
    """Map the 1st percentile of an image to 0, the 99th to 1, and clip what lies beyond.

    Parameters
    ----------
    image : ndarray
        Real numbers, any shape and unit.
    where : str
        What messages call the image: its file name.

    Returns
    -------
    ndarray
        float32, 0 to 1, of the same shape.

    Raises
    ------
    UserError
        If voxels are NaN or infinite, or if the two percentiles are equal (a constant image, or one
        that is background but for 2 % of its voxels).

    Examples
    --------
    >>> normalised(np.arange(101)).round(3)[[0, 1, 50, 99, 100]].tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    values = np.asarray(image)
    refuse_unusable(values, where)
    # In double precision: differences of large whole numbers are lost in single precision
    values = values.astype(np.float64)
    low, high = np.percentile(values, PERCENTILES, method="linear")
    if low == high:
        raise UserError(
            f"{where} has the value {low:g} in nearly all voxels and too little contrast to be "
            "registered; cut it to the part that shows something"
        )
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
