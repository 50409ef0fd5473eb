"""How good a style transfer is, measured without a ground truth: photorealism, edges and colours.

Photorealism is what Luan et al. 2017 (Deep Photo Style Transfer, Sec. 3) ask for: the result is,
in every small window, an affine function of the content's colours. The matting energy and the
residual of the best such function say how far it is from that. Edges are compared with the
content's, colours with the style's. Images are float, 0 to 1, shape (H, W, 3).
"""

import numpy as np
import scipy.linalg
import scipy.ndimage
import scipy.sparse
from skimage import color, exposure, filters, metrics

from pr12.workflow.errors import UserError

# Added to the variances of a window's colours, as the matting Laplacian does (Luan et al. take
# 1e-7): below the variance of the rounding to 8 bits, (1 / 255)^2 / 12 = 1.3e-6.
RIDGE = 1e-7
WINDOW = 7  # of the structural similarity, in pixels
# An edge map is divided by its own root mean square, but by no less than this: the rounding errors
# of a flat image are no edges. A quarter of a grey value of 255.
FAINTEST = 1e-3
# What the structural similarity takes for the range of values, in root mean squares: in four colour
# photographs of scikit-image, 99.6 % of the edges or more are below it.
EDGE_RANGE = 6.0


def matting_energy(result: np.ndarray, laplacian: scipy.sparse.sparray) -> float:
    """Return the photorealism term of Luan et al. 2017 (Sec. 3, Eq. 2) per pixel.

    The sum over the channels of v' L v, divided by the number of pixels: 0 for a result that is a
    locally affine function of the content whose matting Laplacian is L.

    Parameters
    ----------
    result : ndarray
        float, 0 to 1, shape (H, W, 3).
    laplacian : sparse array or matrix
        Of the content, shape (H W, H W), pixels row by row, as `matting.laplacian` gives it.

    Returns
    -------
    float
        In squared intensities. Rounding can bring an energy of 0 to some -1e-16.

    Raises
    ------
    UserError
        If the image is not one, or the Laplacian has another number of pixels.

    Examples
    --------
    >>> two = scipy.sparse.csr_array([[1.0, -1.0], [-1.0, 1.0]])  # (v1 - v2)^2
    >>> matting_energy(np.array([[[0.0, 0.0, 0.5], [1.0, 0.5, 0.5]]]), two)  # (1 + 1/4 + 0) / 2
    0.625
    """
    result = _image(result, "the result")
    count = result.shape[0] * result.shape[1]
    if laplacian.shape != (count, count):
        raise UserError(
            f"the result has {_size(result)}, the matting Laplacian is {laplacian.shape[0]} x "
            f"{laplacian.shape[1]}, not {count} x {count}; make both from one size"
        )
    values = result.reshape(count, 3)
    return float((values * (laplacian @ values)).sum() / count)


def affine_residual(result: np.ndarray, content: np.ndarray, radius: int) -> float:
    """Return the mean squared residual of the best local affine fit of the result to the content.

    In each window of (2 r + 1)^2 pixels inside the image, result = A content + b by least squares
    (A 3 x 3, with a ridge of `RIDGE`); the squares are averaged over the window's pixels, over the
    channels and over the windows. The matting Laplacian adds the same squares up (Levin et al.
    2008): with radius 1, times 27 and the windows per pixel, this is the matting energy
    but for the ridge. A larger radius says more, for it also sees what bends slowly.

    Parameters
    ----------
    result, content : ndarray
        float, 0 to 1, shape (H, W, 3).
    radius : int
        r, in pixels, at least 1.

    Returns
    -------
    float
        In squared intensities.

    Raises
    ------
    UserError
        If the images differ in size or are smaller than a window.

    Examples
    --------
    >>> content = np.random.default_rng(0).random((8, 9, 3))
    >>> affine_residual(0.5 * content[:, :, ::-1] + 0.2, content, 1) < 1e-12
    True
    >>> round(affine_residual(content**2, content, 1), 4)
    0.0029
    """
    result, content = _pair(result, content)
    side = 2 * radius + 1
    if radius < 1 or min(content.shape[:2]) < side:
        raise UserError(
            f"the content has {_size(content)}; an affine fit with radius {radius} needs a radius "
            f"of 1 or more and {side} x {side} pixels"
        )

    def mean(values: np.ndarray) -> np.ndarray:
        # Running sums along both axes; windows that leave the image are cut off
        means = scipy.ndimage.uniform_filter(values, (side, side), mode="constant")
        return means[radius:-radius, radius:-radius]

    # Values about 0 leave less to cancel in E[xy] - E[x] E[y]
    channels = [
        image[:, :, c] - image[:, :, c].mean() for image in (content, result) for c in range(3)
    ]
    means = [mean(channel) for channel in channels]
    joint = np.empty((*means[0].shape, 6, 6))  # covariances of (content, result) by window
    for i in range(6):
        for j in range(i, 6):
            joint[:, :, i, j] = mean(channels[i] * channels[j]) - means[i] * means[j]
            joint[:, :, j, i] = joint[:, :, i, j]
    return float(np.maximum(_residuals(joint), 0).mean() / 3)


def _residuals(joint: np.ndarray) -> np.ndarray:
    """Return what the best affine fit leaves of each window's covariances, (..., 6, 6)."""
    inner, cross, outer = joint[..., :3, :3], joint[..., :3, 3:], joint[..., 3:, 3:]
    fit = np.linalg.solve(inner + RIDGE * np.eye(3), cross)  # A transposed
    explained = 2 * (fit * cross).sum((-2, -1)) - (fit * (inner @ fit)).sum((-2, -1))
    return np.trace(outer, axis1=-2, axis2=-1) - explained


def edge_similarity(result: np.ndarray, content: np.ndarray) -> float:
    """Return the structural similarity (Wang et al. 2004) of two images' maps of edges.

    Edges are magnitudes of Sobel's gradient of the luminance. Each map is divided by its own root
    mean square, so that more or less contrast of the whole image, which a style may well ask for,
    does not count; edges that come, go, or change against the others do. An image and its negative
    have the same edges.

    Parameters
    ----------
    result, content : ndarray
        float, 0 to 1, shape (H, W, 3), at least 7 x 7 pixels.

    Returns
    -------
    float
        At most 1, that of an image with itself; near 0 for unrelated edges.

    Raises
    ------
    UserError
        If the images differ in size or are smaller than 7 x 7.

    Examples
    --------
    >>> content = np.random.default_rng(0).random((16, 16, 3))
    >>> round(edge_similarity(0.5 * content + 0.1, content), 6)
    1.0
    >>> edge_similarity(content[::-1], content) < 0.5
    True
    """
    result, content = _pair(result, content)
    if min(content.shape[:2]) < WINDOW:
        raise UserError(
            f"the content has {_size(content)}; edges are compared in windows of "
            f"{WINDOW} x {WINDOW}: take a larger image"
        )
    return float(
        metrics.structural_similarity(
            _edges(result),
            _edges(content),
            win_size=WINDOW,
            gradient=False,
            data_range=EDGE_RANGE,
            channel_axis=None,
            gaussian_weights=False,
            full=False,
            use_sample_covariance=True,
            K1=0.01,
            K2=0.03,
        )
    )


def _edges(image: np.ndarray) -> np.ndarray:
    luminance = color.rgb2gray(image, channel_axis=-1)
    edges = filters.sobel(luminance, mask=None, axis=None, mode="reflect")
    return edges / max(np.sqrt(np.mean(edges**2)), FAINTEST)


def colour_distance(
    result: np.ndarray, style: np.ndarray, result_labels: np.ndarray, style_labels: np.ndarray
) -> float:
    """Return how far the result's colours are from the style's, class by class.

    By class, the Fréchet (2-Wasserstein) distance, not squared, of the Gaussians fitted to the
    CIELAB colours of both (mean, covariance over N); averaged over the classes, each weighted by
    its area in the result. A class that only one of the two has is left out.

    Parameters
    ----------
    result, style : ndarray
        float, 0 to 1, shapes (H, W, 3) and (h, w, 3).
    result_labels, style_labels : ndarray
        uint8, the class of each pixel, shapes (H, W) and (h, w).

    Returns
    -------
    float
        In units of CIELAB, where 2.3 are just noticeable (Mahy et al. 1994).

    Raises
    ------
    UserError
        If labels and image differ in size or the two have no class in common.

    Examples
    --------
    >>> labels = np.zeros((4, 4), np.uint8)
    >>> black, white = np.zeros((4, 4, 3)), np.ones((4, 4, 3))
    >>> round(colour_distance(white, black, labels, labels), 3)  # of lightness
    100.0
    """
    result, style = _image(result, "the result"), _image(style, "the style")
    _labels_fit(result, result_labels, "the result")
    _labels_fit(style, style_labels, "the style")
    shared, areas = np.unique(result_labels, return_counts=True)
    common = np.isin(shared, style_labels)
    if not common.any():
        raise UserError(
            f"the result's classes {shared.tolist()} and the style's "
            f"{np.unique(style_labels).tolist()} have none in common; merge labels first"
        )
    colours = [
        color.rgb2lab(image, illuminant="D65", observer="2", channel_axis=-1)
        for image in (result, style)
    ]
    distances = [
        gaussian_distance(colours[0][result_labels == label], colours[1][style_labels == label])
        for label in shared[common]
    ]
    return float(np.average(distances, weights=areas[common]))


def gaussian_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Fréchet (2-Wasserstein) distance of the Gaussians fitted to two samples.

    The root of ``|mean_a - mean_b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2))`` (Dowson & Landau
    1982). The trace is the least squared distance of factors F F' = A and G G' = B over rotations
    of G (Bhatia et al. 2019), and so computed: equal samples are 0 apart, not some 1e-6.

    Parameters
    ----------
    first, second : ndarray
        Shapes (N, F) and (M, F), at least one row each; covariances are divided by N and M.

    Examples
    --------
    >>> a = np.array([[-1.0], [1.0]])
    >>> round(gaussian_distance(a, 3 * a + 5) ** 2, 6)  # 5^2 + (3 - 1)^2 x the variance 1
    29.0
    """
    shift = first.mean(axis=0) - second.mean(axis=0)
    factors = []
    for sample in (first, second):
        covariance = np.atleast_2d(np.cov(sample, rowvar=False, bias=True))
        values, vectors = np.linalg.eigh(covariance)
        factors.append(vectors * np.sqrt(np.maximum(values, 0)))
    rotation, _ = scipy.linalg.orthogonal_procrustes(factors[1], factors[0], check_finite=True)
    return float(
        np.hypot(np.linalg.norm(shift), np.linalg.norm(factors[1] @ rotation - factors[0]))
    )


def histogram_matched(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Return the content each of whose channels has the style's histogram: global colour transfer.

    Parameters
    ----------
    content, style : ndarray
        float, 0 to 1, shapes (H, W, 3) and (h, w, 3).

    Returns
    -------
    ndarray
        float64, shape (H, W, 3).

    Raises
    ------
    UserError
        If one is not an image.

    Examples
    --------
    >>> content = np.array([[[0.0] * 3, [0.5] * 3]])
    >>> histogram_matched(content, 0.2 + content)[0, :, 0].tolist()
    [0.2, 0.7]
    """
    content, style = _image(content, "the content"), _image(style, "the style")
    return exposure.match_histograms(content, style, channel_axis=-1)


def histogram_matched_by_class(
    content: np.ndarray, style: np.ndarray, content_labels: np.ndarray, style_labels: np.ndarray
) -> np.ndarray:
    """Return the content each of whose classes has, by channel, the histogram of the style's class.

    Parameters
    ----------
    content, style : ndarray
        float, 0 to 1, shapes (H, W, 3) and (h, w, 3).
    content_labels, style_labels : ndarray
        uint8, shapes (H, W) and (h, w).

    Returns
    -------
    ndarray
        float64, shape (H, W, 3). A class that the style lacks has the whole style's histogram.

    Raises
    ------
    UserError
        If labels and image differ in size.

    Examples
    --------
    >>> content, style = np.full((1, 2, 3), 0.5), np.array([[[0.1] * 3, [0.9] * 3]])
    >>> labels = np.array([[0, 1]], np.uint8)
    >>> histogram_matched_by_class(content, style, labels, 1 - labels)[0, :, 0].tolist()
    [0.9, 0.1]
    """
    content, style = _image(content, "the content"), _image(style, "the style")
    _labels_fit(content, content_labels, "the content")
    _labels_fit(style, style_labels, "the style")
    matched = np.empty_like(content)
    for label in np.unique(content_labels):
        inside, wanted = content_labels == label, style_labels == label
        pixels = style[wanted] if wanted.any() else style.reshape(-1, 3)
        matched[inside] = exposure.match_histograms(content[inside], pixels, channel_axis=-1)
    return matched


def _image(image: np.ndarray, name: str) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(f"{name} has the shape {image.shape}; it must be (height, width, 3)")
    if not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"{name} is of {image.dtype}; it must be float, 0 to 1")
    if not np.isfinite(image).all():
        raise UserError(f"{name} has pixels that are NaN or infinite; make it anew")
    return image.astype(np.float64, copy=False)


def _pair(result: np.ndarray, content: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    result, content = _image(result, "the result"), _image(content, "the content")
    if result.shape != content.shape:
        raise UserError(
            f"the result has {_size(result)}, the content {_size(content)}; bring both to one size"
        )
    return result, content


def _labels_fit(image: np.ndarray, labels: np.ndarray, name: str) -> None:
    if labels.shape != image.shape[:2]:
        raise UserError(
            f"{name} has {_size(image)}, its labels have the shape {labels.shape} (height, width); "
            "make the labels from an image of the same size"
        )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]} pixels"
