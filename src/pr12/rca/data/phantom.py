"""Generated slices that look like the upper abdomen: for machines that cannot download scans.

What they imitate: a body with fat around it, liver, spleen and both kidneys (labelled), stomach,
spine, aorta and vena cava (not labelled, so that segmenters can be misled); anatomical variation,
by each organ's own place, size and turn and by a smooth deformation of the whole slice; the bias
field of a coil, noise, the blur of a finite slice, and a contrast that changes between subjects.
What they do not imitate: the third dimension, disease, motion and other artefacts, true textures
and partial volumes, and the correlations between organs of real anatomy. A method that works here
may fail on scans; the full run judges on real ones.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

STRUCTURES = ("liver", "spleen", "kidneys")
LIVER, SPLEEN, KIDNEYS = 1, 2, 3
# Ellipses in the order of drawing: name, label, centre (y, x), semi-axes (y, x), turn (rad), tissue
# grey. The slice reaches from -1 to 1; y points down, x to the image's right (the patient's left).
ORGANS = (
    ("body", 0, (0.0, 0.0), (0.72, 0.88), 0.0, 0.80),  # fat
    ("inside", 0, (0.0, 0.0), (0.63, 0.79), 0.0, 0.35),  # muscle and gut
    ("stomach", 0, (-0.22, 0.28), (0.20, 0.26), 0.5, 0.55),
    ("liver", LIVER, (-0.12, -0.38), (0.42, 0.40), 0.35, 0.60),
    ("left lobe", LIVER, (-0.30, -0.05), (0.16, 0.34), -0.15, 0.60),
    ("spleen", SPLEEN, (0.10, 0.60), (0.28, 0.13), 0.35, 0.50),
    ("right kidney", KIDNEYS, (0.36, -0.34), (0.15, 0.11), 0.5, 0.68),
    ("left kidney", KIDNEYS, (0.34, 0.34), (0.16, 0.11), -0.5, 0.68),
    ("spine", 0, (0.42, 0.0), (0.15, 0.13), 0.0, 0.22),
    ("aorta", 0, (0.20, 0.07), (0.06, 0.06), 0.0, 0.90),
    ("vena cava", 0, (0.18, -0.10), (0.05, 0.07), 0.0, 0.75),
)
BORDER = 0.02  # half the width of the soft border between tissues, as a share of the semi-axis


def slice_of(seed: tuple[int, ...], size: int, variation: float) -> tuple[np.ndarray, np.ndarray]:
    """Generate the slice of one subject.

    Parameters
    ----------
    seed : tuple of int
        Of the subject; equal seeds are equal slices.
    size : int
        Pixels along each side, at least 16.
    variation : float
        1 for the usual anatomical variation, 0 for subjects that differ in contrast alone.

    Returns
    -------
    image : ndarray
        float32, shape (size, size), 0 to 1.
    labels : ndarray
        uint8, the same shape: 0 background, then `STRUCTURES`.

    Examples
    --------
    >>> image, labels = slice_of((0, 1), 64, 1.0)
    >>> image.shape, np.unique(labels).tolist()
    ((64, 64), [0, 1, 2, 3])
    """
    stream = np.random.default_rng(seed)
    y, x = deformed_grid(stream, size, variation)
    tissue = np.full((size, size), 0.03)  # air
    labels = np.zeros((size, size), np.uint8)
    # Contrast changes with the sequence: by tissue, so that the parts of one organ stay alike
    greys = sorted({organ[-1] for organ in ORGANS})
    changed = dict(zip(greys, greys + stream.normal(0.0, 0.05, len(greys)), strict=True))
    gamma = stream.uniform(0.75, 1.35)
    for _, label, centre, axes, turn, grey in ORGANS:
        centre = np.array(centre) + variation * stream.normal(0.0, 0.025, 2)
        axes = np.array(axes) * np.exp(variation * stream.normal(0.0, 0.07, 2))
        turn = turn + variation * stream.normal(0.0, 0.12)
        inside = ellipse(y, x, centre, axes, turn)
        soft = np.clip((1 + BORDER - inside) / (2 * BORDER), 0.0, 1.0)
        tissue = tissue * (1 - soft) + soft * np.clip(changed[grey], 0.05, 1.0)
        labels[inside < 1] = label
    texture = gaussian_filter(stream.normal(0.0, 1.0, (size, size)), sigma=1.5, mode="nearest")
    image = np.clip(tissue, 0.0, 1.0) ** gamma * (1 + 0.10 * texture)
    image = gaussian_filter(image * bias_field(stream, size), sigma=0.6, mode="nearest")
    image = np.abs(image + stream.normal(0.0, 0.03, (size, size)))  # magnitudes, as of MR
    low, high = np.percentile(image, [1, 99])
    return np.clip((image - low) / (high - low), 0.0, 1.0).astype(np.float32), labels


def deformed_grid(
    stream: np.random.Generator, size: int, variation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's place in the undeformed slice: shift, scale, turn, then smooth waves.

    Parameters
    ----------
    stream : Generator
        Of the subject.
    size : int
        Pixels along each side.
    variation : float
        Factor of all displacements.

    Returns
    -------
    y, x : ndarray
        float64, shape (size, size), about -1 to 1.

    Examples
    --------
    >>> y, x = deformed_grid(np.random.default_rng(0), 5, 0.0)
    >>> y[:, 0].tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    line = np.linspace(-1.0, 1.0, size)
    y, x = np.meshgrid(line, line, indexing="ij")
    turn = variation * stream.normal(0.0, 0.06)
    scale = np.exp(variation * stream.normal(0.0, 0.05))
    shift = variation * stream.normal(0.0, 0.04, 2)
    y, x = (
        scale * (np.cos(turn) * y - np.sin(turn) * x) + shift[0],
        scale * (np.sin(turn) * y + np.cos(turn) * x) + shift[1],
    )
    coarse = variation * stream.normal(0.0, 0.04, (2, 6, 6))
    place = np.stack([(y + 1) / 2 * 5, (x + 1) / 2 * 5])
    waves = [map_coordinates(part, place, order=3, mode="nearest") for part in coarse]
    return y + waves[0], x + waves[1]


def ellipse(
    y: np.ndarray, x: np.ndarray, centre: np.ndarray, axes: np.ndarray, turn: float
) -> np.ndarray:
    """Return the level of an ellipse: below 1 inside, 1 on its border.

    Parameters
    ----------
    y, x : ndarray
        Places.
    centre, axes : ndarray
        Middle and semi-axes (y, x).
    turn : float
        Radians, from y towards x.

    Examples
    --------
    >>> ellipse(np.array([2.0]), np.array([0.0]), np.zeros(2), np.array([2.0, 1.0]), 0.0).tolist()
    [1.0]
    """
    down, right = y - centre[0], x - centre[1]
    along = np.cos(turn) * down + np.sin(turn) * right
    across = -np.sin(turn) * down + np.cos(turn) * right
    return np.hypot(along / axes[0], across / axes[1])


def bias_field(stream: np.random.Generator, size: int) -> np.ndarray:
    """Return the smooth factor by which a receiving coil sees some places brighter than others.

    Parameters
    ----------
    stream : Generator
        Of the subject.
    size : int
        Pixels along each side.

    Returns
    -------
    ndarray
        Positive, shape (size, size).

    Examples
    --------
    >>> field = bias_field(np.random.default_rng(0), 32)
    >>> bool(field.min() > 0), field.shape
    (True, (32, 32))
    """
    line = np.linspace(-1.0, 1.0, size)
    y, x = np.meshgrid(line, line, indexing="ij")
    terms = np.stack([y, x, y * x, y**2, x**2])
    return np.exp(np.tensordot(stream.normal(0.0, 0.12, len(terms)), terms, axes=1))
