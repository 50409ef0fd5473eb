"""What several label maps of one scan agree on."""

import numpy as np


def majority(votes: np.ndarray, structures: int) -> np.ndarray:
    """Label each voxel as most label maps do; the smaller label wins a tie.

    Parameters
    ----------
    votes : ndarray
        uint8, shape (maps, *image).
    structures : int
        S.

    Returns
    -------
    ndarray
        uint8, the shape of the image.

    Examples
    --------
    >>> majority(np.array([[0, 2], [1, 2], [1, 1]], np.uint8), 2).tolist()
    [1, 2]
    """
    counts = np.stack([(votes == label).sum(axis=0) for label in range(structures + 1)])
    return counts.argmax(axis=0).astype(np.uint8)
