"""Flat-colour masks as label maps: classes out of colours, and sizes.

A user paints masks with any colours; JPEG edges and smooth brushes give them thousands. A colour is
a class only where it lies flat.
"""

import numpy as np
from scipy import ndimage

from pr12.workflow.errors import UserError

MAXIMUM_CLASSES = 16  # more flat colours than that, and the mask is a photograph
# A mask of so few colours has no fringes of compression: all its colours mean what they say, such
# as the values 0, 1, 2 of a mask that holds label numbers.
FEW_COLOURS = 16
# RGB distances, tuned on flat masks compressed as JPEG at qualities from 30 to 95: within a flat
# area a channel ripples by up to FLAT over 3 x 3 pixels, and colours of one class lie within SAME.
FLAT = 16
SAME = 40.0
NOTICEABLE = 0.001  # share of an image from which on a class counts
# Brightness (times 3; 1 to 5 were tried) and the two colour differences of JPEG (ITU-R BT.601)
BRIGHTNESS_FIRST = np.float32(
    [[0.897, 1.761, 0.342], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
)
# Rings of JPEG's ripples reach across a block of 8 pixels, those of halved colour across two.
NEARBY = 8
ASPECT = 0.05  # aspect ratios of a mask and its image that differ by more are a mistake
# What lies flat in a painted mask is within PURE of a class's colour: 98 % of it or more in 24
# published masks saved as JPEG at qualities 30 and 75, 85 % or less in 14 of 15 photographs (the
# night sky of a telescope, nearly black: 79 to 96 %).
PURE = 10
PAINTED = 0.92


def flat_labels(
    content_pixels: np.ndarray, style_pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes of two flat-colour masks, with one palette for both.

    A class is a colour that lies flat over a noticeable area of either mask. The fringes at its
    borders (compression, smooth edges, thin lines) get the class of the nearest colour among those
    that lie flat nearby, so that the greys between black and white are no class of grey.

    Parameters
    ----------
    content_pixels, style_pixels : ndarray
        The masks, uint8, shape (height, width, 3).

    Returns
    -------
    content_labels, style_labels : ndarray
        Rows of `colours`, uint8, shape (height, width) each.
    colours : ndarray
        The palette, uint8, shape (classes, 3), in the order of their total area.

    Raises
    ------
    UserError
        If there are more than `MAXIMUM_CLASSES` classes.

    Examples
    --------
    >>> black_white = np.repeat(np.uint8([[0, 0, 0, 255, 255]] * 5)[..., None], 3, axis=2)
    >>> content, style, colours = flat_labels(black_white, black_white[:, ::-1])
    >>> colours.tolist(), content[0].tolist(), style[0].tolist()
    ([[0, 0, 0], [255, 255, 255]], [0, 0, 0, 1, 1], [1, 1, 0, 0, 0])
    """
    masks = [content_pixels, style_pixels]
    flat = [_flat(pixels) for pixels in masks]
    classes = [_classes(pixels, where) for pixels, where in zip(masks, flat, strict=True)]
    colours = _joined(*classes[0], *classes[1])
    if len(colours) > MAXIMUM_CLASSES:
        raise UserError(
            f"the masks have {len(colours)} flat colours, more than {MAXIMUM_CLASSES}; paint each "
            "class in one colour, and check that no mask is a photograph"
        )
    content, style = (
        _assigned(pixels, where, colours) for pixels, where in zip(masks, flat, strict=True)
    )
    return content, style, colours


def check_painted(pixels: np.ndarray) -> None:
    """Refuse a photograph that is given as a mask: its flat places vary more than paint does.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (height, width, 3). Up to `FEW_COLOURS` colours always are a mask.

    Raises
    ------
    UserError
        If it is no mask; the message says what was seen.

    Examples
    --------
    >>> from pr12.photostyle.data.package_photographs import named
    >>> check_painted(named("coffee"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: this is a photograph and no mask: it has 94478 colours and \
40 % of what lies flat has one of 12 colours; paint each class in one flat colour
    """
    if _is_exact(pixels):
        return
    flat = _flat(pixels)
    classes, _ = _classes(pixels, flat)
    distances = [np.linalg.norm(pixels[flat] - colour.astype(float), axis=1) for colour in classes]
    share = np.mean(np.min(distances, axis=0) <= PURE)
    if share < PAINTED:
        raise UserError(
            f"this is a photograph and no mask: it has {len(_counted(pixels)[0])} colours and "
            f"{100 * share:.0f} % of what lies flat has one of {len(classes)} colours; paint each "
            "class in one flat colour"
        )


def _counted(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct colours and their numbers of pixels."""
    red, green, blue = np.moveaxis(pixels.reshape(-1, 3).astype(np.uint32), 1, 0)
    codes, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)  # 20x faster
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1), counts


def _is_exact(pixels: np.ndarray) -> bool:
    return len(_counted(pixels)[0]) <= FEW_COLOURS


def _flat(pixels: np.ndarray) -> np.ndarray:
    """Tell the pixels whose 3 x 3 neighbours have their colour; all, if there are none."""
    highest = ndimage.maximum_filter(pixels, (3, 3, 1), mode="nearest")
    lowest = ndimage.minimum_filter(pixels, (3, 3, 1), mode="nearest")
    flat = (highest - lowest).max(axis=2) <= (0 if _is_exact(pixels) else FLAT)
    return flat if flat.any() else np.ones_like(flat)


def _classes(pixels: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the colours of one mask's classes and their shares."""
    radius = 0.0 if _is_exact(pixels) else SAME
    colours, left = _counted(pixels[flat])
    classes, shares = [], []
    while left.any():
        middle = colours[left.argmax()]  # the most frequent colour is the painted one
        near = np.linalg.norm(colours - middle.astype(float), axis=1) <= radius
        share = left[near].sum() / flat.size
        left[near] = 0
        if share >= NOTICEABLE:
            classes.append(middle)
            shares.append(share)
    if not classes:
        raise UserError(
            "a mask has no flat colour; paint each class in one colour, and check that no mask is "
            "a photograph"
        )
    return np.array(classes), np.array(shares)


def _joined(
    content: np.ndarray, content_shares: np.ndarray, style: np.ndarray, style_shares: np.ndarray
) -> np.ndarray:
    """Return one palette: colours of the two masks that are near each other are one class."""
    distances = np.linalg.norm(content[:, None] - style[None].astype(float), axis=2)
    shares = content_shares.copy()
    alone = np.ones(len(style), bool)
    free = np.ones(len(content), bool)
    for place in np.argsort(distances, axis=None, kind="stable"):  # the nearest pair first
        row, column = np.unravel_index(place, distances.shape)
        if distances[row, column] <= SAME and free[row] and alone[column]:
            free[row] = alone[column] = False
            shares[row] += style_shares[column]
    colours = np.concatenate([content, style[alone]])
    shares = np.concatenate([shares, style_shares[alone]])
    return colours[np.argsort(-shares, kind="stable")].astype(np.uint8)


def _assigned(pixels: np.ndarray, flat: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return each pixel its class: by colour where it is flat, else by colour and neighbourhood."""
    differences = [pixels - colour.astype(np.float32) for colour in colours]
    # At a border between blue and black, JPEG's halved colour says little and brightness much
    distances = [np.linalg.norm(one @ BRIGHTNESS_FIRST.T, axis=2) for one in differences]
    closest = np.argmin(distances, axis=0)
    core = np.zeros(flat.shape, bool)
    best = np.full(flat.shape, np.inf, np.float32)
    labels = np.zeros(flat.shape, np.uint8)
    for label, distance in enumerate(distances):
        members = (closest == label) & (np.linalg.norm(differences[label], axis=2) <= SAME)
        # Where it lies flat and back to the border, or in a rippled patch of 3 x 3 pixels
        members &= _grown(members & flat, 3) | _grown(_shrunk(members, 3), 3)
        core |= members
        nearby = _grown(members, 2 * NEARBY + 1)
        distance = np.where(members, -1, np.where(nearby, distance, np.inf))
        labels[distance < best] = label
        best = np.minimum(best, distance)
    if core.any() and np.isinf(best).any():  # far from all classes: the nearest place decides
        rows, columns = ndimage.distance_transform_edt(
            ~core, return_distances=False, return_indices=True
        )
        labels = np.where(np.isinf(best), labels[rows, columns], labels)
    return labels


def _grown(mask: np.ndarray, side: int) -> np.ndarray:
    return ndimage.maximum_filter(mask, side, mode="nearest")


def _shrunk(mask: np.ndarray, side: int) -> np.ndarray:
    return ndimage.minimum_filter(mask, side, mode="nearest")


def resized(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fit a mask's labels to its image, which may be a few pixels larger or smaller.

    Parameters
    ----------
    labels : ndarray
        The labels, shape (any, any).
    height, width : int
        Size of the image, in pixels.

    Returns
    -------
    ndarray
        The label that is nearest to each pixel, shape (height, width).

    Raises
    ------
    UserError
        If the mask is not of the image's shape: aspect ratios differ by more than 5 %.

    Examples
    --------
    >>> resized(np.uint8([[0, 1]]), 2, 4).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    >>> resized(np.uint8([[0, 1]]), 2, 2)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: the mask has 2 x 1 pixels and its image 2 x 2, another shape; \
give the mask that was painted on this image
    """
    own_height, own_width = labels.shape
    if not alike(labels.shape, (height, width)):
        raise UserError(
            f"the mask has {own_width} x {own_height} pixels and its image {width} x {height}, "
            "another shape; give the mask that was painted on this image"
        )
    return nearest(labels, height, width)


def alike(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Tell whether two sizes, (height, width), have about the same shape.

    Examples
    --------
    >>> alike((20, 30), (41, 60)), alike((20, 30), (30, 20))
    (True, False)
    """
    ratio = (first[1] * second[0]) / (first[0] * second[1])
    return max(ratio, 1 / ratio) <= 1 + ASPECT


def nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample labels to any size, each pixel from the place of its centre.

    Parameters
    ----------
    labels : ndarray
        Shape (any, any).
    height, width : int
        The size wanted.

    Examples
    --------
    >>> nearest(np.uint8([[0, 1, 2, 3]]), 1, 2).tolist(), nearest(np.uint8([[0, 1]]), 1, 4).tolist()
    ([[1, 3]], [[0, 0, 1, 1]])
    """
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    return labels[np.ix_(rows, columns)]
