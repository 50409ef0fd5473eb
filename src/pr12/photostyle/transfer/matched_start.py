"""Where a transfer starts: the content, with the style's mean and spread of colours by class."""

import numpy as np

from pr12.photostyle.data.common_classes import UNUSED


def matched(
    content: np.ndarray, style: np.ndarray, content_labels: np.ndarray, style_labels: np.ndarray
) -> np.ndarray:
    """Return the content with each class's mean and standard deviation set to the style's.

    From the content itself the optimiser does not get far where colours are flat and the style's
    are far away: a bright sky that shall be black keeps a pale cloud. A deviation is never
    increased, for that would raise the content's noise.

    Parameters
    ----------
    content, style : ndarray
        From 0 to 1, shapes (h, w, 3) and (H, W, 3).
    content_labels, style_labels : ndarray
        uint8, the class of each pixel; pixels of no class (`UNUSED`) neither count nor change.

    Returns
    -------
    ndarray
        float32 from 0 to 1, shape (h, w, 3).

    Examples
    --------
    >>> grey = np.linspace(0.4, 0.6, 12).reshape(2, 2, 3)
    >>> one = np.zeros((2, 2), np.uint8)
    >>> np.allclose(matched(grey, grey / 2, one, one), grey / 2)
    True
    """
    start = content.astype(np.float64)
    for label in np.setdiff1d(np.unique(content_labels), [UNUSED]):
        before, wanted = content[content_labels == label], style[style_labels == label]
        if not len(wanted):
            continue
        before, wanted = before.astype(np.float64), wanted.astype(np.float64)
        spread = np.maximum(before.std(axis=0), 1e-6)
        share = np.minimum(wanted.std(axis=0) / spread, 1)
        shift = wanted.mean(axis=0) - share * before.mean(axis=0)
        start[content_labels == label] = share * before + shift
    return np.clip(start, 0, 1).astype(np.float32)
