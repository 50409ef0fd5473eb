"""Classes that content and style have in common.

Deep Photo Style Transfer (Luan et al. 2017, Sec. 3.2) restricts the labels of the content to those
of the style; `merged` does so and tells each merge.
"""

import numpy as np

from pr12.photostyle.data.masks import NOTICEABLE

UNUSED = 255  # the label of style pixels that no class of the content asks for


def merged(
    content_labels: np.ndarray, style_labels: np.ndarray, colours: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Restrict the classes to those that both images have, and tell what was done.

    A class of the content that the style lacks (or has on less than 0.1 % of its pixels) joins the
    content's class with which it has the longest border, or else the largest. Pixels of the style
    whose class the content lacks become `UNUSED`. Without a common class, all is one class.

    Parameters
    ----------
    content_labels, style_labels : ndarray
        Rows of `colours`, shape (height, width) each.
    colours : ndarray
        The palette, uint8, shape (classes, 3).

    Returns
    -------
    content_labels, style_labels : ndarray
        uint8; the classes are 0 to K - 1 and each is in both images.
    warnings : list of str
        A sentence for each class that was merged or left out.

    Examples
    --------
    >>> content, style = np.uint8([[0, 0, 2, 1, 1]]), np.uint8([[0, 0, 3, 2, 2]])
    >>> colours = np.uint8([[0, 0, 0], [255, 0, 0], [255, 255, 255], [0, 255, 0]])
    >>> content, style, warnings = merged(content, style, colours)
    >>> content.tolist(), style.tolist()
    ([[0, 0, 1, 1, 1]], [[0, 0, 255, 1, 1]])
    >>> for warning in warnings:
    ...     print(warning)
    the style has no #ff0000: the content's (40.0 % of it) joins #ffffff
    the content has no #00ff00: the style's (20.0 % of it) is not used
    """
    count = len(colours)
    in_content = np.bincount(content_labels.ravel(), minlength=count) / content_labels.size
    in_style = np.bincount(style_labels.ravel(), minlength=count)[:count] / style_labels.size
    names = [name_of(colour) for colour in colours]
    common = (in_content > 0) & (in_style >= NOTICEABLE)
    if not common.any():
        warning = "the masks of content and style have no colour in common: all is one class"
        return np.zeros_like(content_labels), np.zeros_like(style_labels), [warning]
    target = _targets(content_labels, in_content, common)
    warnings = []
    for label in np.flatnonzero((in_content > 0) & ~common):
        share = in_style[label]
        lack = f"has only {100 * share:.2g} % of" if share else "has no"
        warnings.append(
            f"the style {lack} {names[label]}: the content's ({100 * in_content[label]:.1f} % of "
            f"it) joins {names[target[label]]}"
        )
    for label in np.flatnonzero((in_style > 0) & ~common & (in_content == 0)):
        warnings.append(
            f"the content has no {names[label]}: the style's ({100 * in_style[label]:.1f} % of it) "
            "is not used"
        )
    numbers = np.full(256, UNUSED, np.uint8)
    numbers[np.flatnonzero(common)] = np.arange(common.sum())
    return numbers[target[content_labels]], numbers[style_labels], warnings


def _targets(labels: np.ndarray, shares: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Return the class that each class of the content becomes: one with which it has a border."""
    count = len(common)
    target = np.arange(count)
    borders = _borders(labels, count)
    largest = int(np.argmax(np.where(common, shares, -1)))
    missing = set(np.flatnonzero((shares > 0) & ~common).tolist())
    while missing:
        # The longest border first, so that a class inside a missing one follows it
        groups = np.stack([borders[:, target == label].sum(axis=1) for label in range(count)], 1)
        groups[:, ~common] = 0
        label = max(sorted(missing), key=lambda row: groups[row].max())
        target[label] = int(groups[label].argmax()) if groups[label].any() else largest
        missing.remove(label)
    return target


def _borders(labels: np.ndarray, count: int) -> np.ndarray:
    """Count the pairs of neighbouring pixels of each two classes."""
    pairs = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
    codes = np.concatenate(
        [one.ravel().astype(int) * count + other.ravel() for one, other in pairs]
    )
    table = np.bincount(codes, minlength=count**2).reshape(count, count)
    table = table + table.T
    np.fill_diagonal(table, 0)
    return table


def name_of(colour: np.ndarray) -> str:
    """Return a colour as HTML writes it.

    Parameters
    ----------
    colour : ndarray
        Red, green and blue, uint8.

    Examples
    --------
    >>> name_of(np.uint8([255, 0, 16]))
    '#ff0010'
    """
    return "#" + bytes(np.asarray(colour, np.uint8)).hex()


def common_colours(before: np.ndarray, after: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the colours of the classes that `merged` left.

    Parameters
    ----------
    before, after : ndarray
        The style's labels before and after `merged`.
    colours : ndarray
        The palette before, uint8, shape (classes, 3).

    Returns
    -------
    ndarray
        The palette after, uint8, shape (K, 3).

    Examples
    --------
    >>> colours = np.uint8([[0, 0, 0], [255, 0, 0], [255, 255, 255], [0, 255, 0]])
    >>> common_colours(np.uint8([[0, 0, 3, 2]]), np.uint8([[0, 0, 255, 1]]), colours).tolist()
    [[0, 0, 0], [255, 255, 255]]
    """
    count = after[after != UNUSED].max() + 1
    return np.array(
        [colours[np.bincount(before[after == label]).argmax()] for label in range(count)]
    )
