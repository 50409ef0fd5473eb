"""Automatic masks: superpixels grouped by colour, roughness and height, matched between two images.

A default for photographs without masks, weaker than masks by hand: it knows no objects. A blue car
and the sky can become one class, and a class can mean another thing in the other image.
"""

import numpy as np
from PIL import Image
from scipy import ndimage, optimize
from skimage import color, segmentation
from sklearn.cluster import KMeans

# Colours in which masks are shown; the first stands for the class that is highest in the content
COLOURS = np.uint8(
    [
        [31, 119, 180],
        [255, 127, 14],
        [44, 160, 44],
        [214, 39, 40],
        [148, 103, 189],
        [140, 86, 75],
        [227, 119, 194],
        [127, 127, 127],
    ]
)
SMALLEST_SIDE = 8  # pixels; a smaller image is one class, as is one of one colour
WORKING_SIZE = 256  # longest side in pixels on which boundaries are found
SUPERPIXELS = 600  # at most, and of 8 x 8 pixels at least
COMPACTNESS = 10.0  # SLIC's balance of colour and place, in units of Lab
# Differences that weigh the same, tuned by eye on the photographs of scikit-image and scikit-learn:
# in L, a, b, log roughness, and share of the height
GROUPING = np.array([25.0, 15.0, 15.0, 0.5, 0.6])
# Between two images the time of day changes lightness most; what is smooth and high stays so
MATCHING = np.array([50.0, 30.0, 30.0, 0.3, 0.2])
SMALLEST_PATCH = 0.01  # share of the image below which a patch joins its surroundings
MARGIN = 4  # pixels at either side of a boundary in which the random walker finds it anew
BETA = 400  # the walker's: higher, and it respects weaker edges
SMOOTHING = 0.006  # standard deviation of the boundaries' smoothing, in longest sides


def automatic(
    content: np.ndarray, style: np.ndarray, classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Make masks of two photographs, with classes that correspond by colour and height.

    Each image alone: SLIC superpixels (Achanta et al. 2012) are grouped by k-means of their mean
    Lab colour, roughness (log of the local standard deviation of L) and height; boundaries are
    smoothed and small patches join their surroundings. Then the classes of the two images are
    matched by an assignment of least cost on mean colour, roughness and height.

    Parameters
    ----------
    content, style : ndarray
        The photographs, uint8, shape (height, width, 3) each.
    classes : int
        At most so many classes; fewer where an image has fewer.

    Returns
    -------
    content_labels, style_labels : ndarray
        uint8, shape (height, width) each: 0 to K - 1, all of them in both; 0 is the highest in the
        content. The same input gives the same labels.

    Examples
    --------
    >>> day = np.zeros((40, 60, 3), np.uint8)
    >>> day[:20] = 120, 180, 255
    >>> night = day // 2
    >>> content, style = automatic(day, night, 2)
    >>> np.unique(content[:18]).tolist(), np.unique(style[22:]).tolist()
    ([0], [1])
    """
    count = classes
    while True:
        segmented = [_segmented(image, count) for image in (content, style)]
        counts = [len(means) for _, means in segmented]
        if counts[0] == counts[1]:
            break
        count = min(counts)
    (content_labels, content_means), (style_labels, style_means) = segmented
    order = np.argsort(content_means[:, -1], kind="stable")
    differences = (content_means[order, None] - style_means[None]) / MATCHING
    _, partners = optimize.linear_sum_assignment((differences**2).sum(axis=2))
    return (
        np.argsort(order).astype(np.uint8)[content_labels],
        np.argsort(partners).astype(np.uint8)[style_labels],
    )


def _segmented(image: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image's labels, all of them in use, and the mean features of each class."""
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST_SIDE or (image == image[0, 0]).all():
        return np.zeros((height, width), np.intp), np.zeros((1, len(GROUPING)))
    scale = min(1, WORKING_SIZE / max(height, width))
    size = [max(1, round(scale * width)), max(1, round(scale * height))]
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    lab = color.rgb2lab(small)
    superpixels, features = _superpixels(small, lab)
    sizes = np.bincount(superpixels.ravel())
    count = min(classes, len(np.unique(features, axis=0)))
    groups = KMeans(
        count, init="k-means++", n_init=10, algorithm="lloyd", random_state=0
    ).fit_predict(features / GROUPING, sample_weight=sizes)
    labels = _without_patches(groups[superpixels])
    labels = _without_patches(_walked(lab, labels))
    full = _enlarged(labels, height, width)
    used, full = np.unique(full, return_inverse=True)
    # A class of the enlarged labels has pixels among the small ones, for smoothing invents none
    pixels = features[superpixels]
    means = np.array([pixels[labels == label].mean(axis=0) for label in used])
    return full.reshape(height, width), means


def _superpixels(small: np.ndarray, lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return SLIC's superpixels and the features of each: mean Lab, log roughness, height."""
    count = max(1, min(SUPERPIXELS, lab[..., 0].size // 64))
    superpixels = segmentation.slic(
        small, n_segments=count, compactness=COMPACTNESS, max_num_iter=10, sigma=0,
        convert2lab=True, enforce_connectivity=True, start_label=0, channel_axis=-1,
    )  # fmt: skip
    numbers = np.arange(superpixels.max() + 1)
    detail = np.abs(lab[..., 0] - ndimage.gaussian_filter(lab[..., 0], 2, mode="nearest"))
    # The median: a superpixel of sky stays smooth where a roof begins beside it
    roughness = np.log1p(ndimage.median(detail, superpixels, numbers))
    rows = np.broadcast_to(np.arange(len(small))[:, None] / len(small), superpixels.shape)
    means = [ndimage.mean(one, superpixels, numbers) for one in (*np.moveaxis(lab, 2, 0), rows)]
    return superpixels, np.stack([*means[:3], roughness, means[3]], axis=1)


def _without_patches(labels: np.ndarray) -> np.ndarray:
    """Return small patches the label of the nearest pixel outside of them."""
    small = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        patches, _ = ndimage.label(labels == label)
        sizes = np.bincount(patches.ravel())
        small |= (patches > 0) & (sizes[patches] < SMALLEST_PATCH * labels.size)
    if small.all():
        return np.zeros_like(labels)
    rows, columns = ndimage.distance_transform_edt(
        small, return_distances=False, return_indices=True
    )
    return labels[rows, columns]


def _walked(lab: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find the boundaries anew in a strip around them, by the random walker (Grady 2006)."""
    used = np.unique(labels)
    seeds = np.zeros(labels.shape, int)
    for number, label in enumerate(used, start=1):
        members = labels == label
        inner = ndimage.minimum_filter(members, 2 * MARGIN + 1, mode="nearest")
        seeds[inner if inner.any() else members] = number
    if len(used) == 1 or seeds.all():
        return labels
    # Chances may leave 0 to 1 by the solver's tolerance; only the largest is used
    walked = segmentation.random_walker(
        lab / 100, seeds, beta=BETA, mode="cg_j", tol=1e-4, prob_tol=1.0, copy=True,
        return_full_prob=False, channel_axis=-1,
    )  # fmt: skip
    return used[walked - 1]


def _enlarged(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Smooth the boundaries and bring the labels to full size."""
    best = np.full((height, width), -np.inf, np.float32)
    full = np.zeros((height, width), labels.dtype)
    for label in np.unique(labels):
        soft = ndimage.gaussian_filter(
            (labels == label).astype(np.float32), SMOOTHING * max(labels.shape), mode="nearest"
        )
        resized = Image.fromarray(soft).resize((width, height), Image.Resampling.BILINEAR)
        chance = np.asarray(resized)
        full[chance > best] = label
        best = np.maximum(best, chance)
    return full
