"""How alike two textures are, by statistics that no optimisation here uses, and their periods.

Textures are float images, 0 to 1, grey (H, W) or in colours (H, W, 3), of which the luminance is
taken. Result and source may differ in size: what is compared are statistics over all positions.
"""

import numpy as np
import scipy.fft
import scipy.signal
from skimage import color, feature, filters, morphology

from pr12.workflow.errors import UserError

SMALLEST = 32  # pixels along a texture's side, twice the longest wave of the Gabor bank
RADII = (1, 2, 4)  # of the local binary patterns, in pixels
NEIGHBOURS = 8
PATTERNS = NEIGHBOURS * (NEIGHBOURS - 1) + 3  # the uniform ones, and one code for all others
FREQUENCIES = (1 / 16, 1 / 8, 1 / 4)  # waves per pixel: an octave apart, as wide as the filters
ORIENTATIONS = 4
# Of peaks at least this high beside the highest, the shortest lag is the period: its multiples are
# as high, and higher where the period is not a whole number of pixels.
NEARLY = 0.9
VALLEY = 0.75  # of a peak's height: what every way to it from lag 0 must go down to
TILT = 1e-3  # by which a long lag is lowered, to have one peak where stripes have a ridge of them
FLAT = 1e-9  # less than this from darkest to lightest is rounding


def texture_distance(result: np.ndarray, source: np.ndarray) -> float:
    """Return how far a texture is from its source.

    The mean of two parts. (1) Histograms of uniform local binary patterns (Ojala et al. 2002), not
    made invariant to rotation, at the radii 1, 2 and 4: the root of half the chi-squared sum of
    (p - q)^2 / (p + q), averaged over the radii, between 0 and 1. (2) Mean and standard deviation
    of the magnitudes of 12 Gabor filters (Manjunath & Ma 1996): the length of the difference of
    both textures' 24 numbers over the length of the source's. But for rounding, neither part sees
    brightness.

    Parameters
    ----------
    result, source : ndarray
        float, 0 to 1, shape (H, W) or (H, W, 3), at least 32 x 32 pixels; sizes may differ.

    Returns
    -------
    float
        0 for equal statistics; a part of the source is not at 0, so compare with that.

    Raises
    ------
    UserError
        If one is not an image, is too small, or the source is flat.

    Examples
    --------
    >>> source = np.random.default_rng(0).random((64, 64))
    >>> texture_distance(source, source)
    0.0
    >>> smooth = filters.gaussian(source, sigma=2)
    >>> texture_distance(source[:, ::-1], source) < 0.1 < 0.5 < texture_distance(smooth, source)
    True
    """
    pair = [_grey(result, "the result"), _grey(source, "the source")]
    for image, name in zip(pair, ("the result", "the source"), strict=True):
        if min(image.shape) < SMALLEST:
            raise UserError(
                f"{name} has {image.shape[1]} x {image.shape[0]} pixels; a texture is measured "
                f"from {SMALLEST} x {SMALLEST} on"
            )
    if np.ptp(pair[1]) < FLAT:
        raise UserError("the source is flat and has no texture; take another")
    patterns = [pattern_histograms(image) for image in pair]
    # A pattern that neither has adds 0
    chi_squared = (patterns[0] - patterns[1]) ** 2 / np.maximum(patterns[0] + patterns[1], 1e-300)
    waves = [gabor_statistics(image) for image in pair]
    apart = np.linalg.norm(waves[0] - waves[1]) / np.linalg.norm(waves[1])
    # The root, for a distance is wanted beside a distance
    return float((np.sqrt(chi_squared.sum() / 2 / len(RADII)) + apart) / 2)


def pattern_histograms(grey: np.ndarray) -> np.ndarray:
    """Return how often each uniform local binary pattern occurs, by radius.

    Parameters
    ----------
    grey : ndarray
        float, 0 to 1, shape (H, W). It is rounded to 8 bits, for patterns say whether a neighbour
        is at least as light: a source is 8-bit and has ties that an optimised image has not.

    Returns
    -------
    ndarray
        float64, shape (3, 59); rows sum to 1.

    Examples
    --------
    >>> histograms = pattern_histograms(np.zeros((16, 16)))  # all neighbours as light: one pattern
    >>> histograms.shape, histograms.max(axis=1).tolist()
    ((3, 59), [1.0, 1.0, 1.0])
    """
    rounded = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    histograms = np.empty((len(RADII), PATTERNS))
    for row, radius in enumerate(RADII):
        codes = feature.local_binary_pattern(rounded, NEIGHBOURS, radius, method="nri_uniform")
        # Outside the image scikit-image reads 0, which is no texture
        codes = codes[radius:-radius, radius:-radius].astype(np.int64)
        histograms[row] = np.bincount(codes.ravel(), minlength=PATTERNS) / codes.size
    return histograms


def gabor_statistics(grey: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation of the magnitudes of a bank of Gabor filters.

    Parameters
    ----------
    grey : ndarray
        float, shape (H, W). It is mirrored beyond its border.

    Returns
    -------
    ndarray
        float64, shape (24,): both of each of 3 frequencies x 4 orientations.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi / 8 * np.arange(64)) * np.ones((64, 1))  # along x
    >>> int(gabor_statistics(wave)[::2].argmax())  # the second frequency, the first orientation
    4
    """
    grey = grey - grey.mean()  # the filters let a little of the mean pass
    statistics = []
    for frequency in FREQUENCIES:
        for k in range(ORIENTATIONS):
            kernel = filters.gabor_kernel(
                frequency, theta=k * np.pi / ORIENTATIONS, bandwidth=1, n_stds=3, offset=0
            )
            pads = [(side // 2, side // 2) for side in kernel.shape]
            padded = np.pad(grey, pads, mode="symmetric")
            magnitudes = np.abs(scipy.signal.oaconvolve(padded, kernel, mode="valid"))
            statistics += [magnitudes.mean(), magnitudes.std()]
    return np.array(statistics)


def autocorrelation(image: np.ndarray) -> np.ndarray:
    """Return the correlation of an image with itself moved, for moves up to half its size.

    The mean is taken off, and the sum over the pixels that overlap is divided by their number, so
    that a repetition is as high at a long lag as at a short one and in a small image as in a large
    one; without, heights would fall with the overlap. That leaves few pixels for long lags, hence
    the half: at least a quarter of the pixels are in every value. Nothing is taken for periodic.

    Parameters
    ----------
    image : ndarray
        float, shape (H, W) or (H, W, 3), at least 2 x 2 pixels.

    Returns
    -------
    ndarray
        float64, shape (2 (H // 2) + 1, 2 (W // 2) + 1): 1 at lag 0, which is in the middle.

    Raises
    ------
    UserError
        If it is not an image, is too small or flat.

    Examples
    --------
    >>> stripes = np.tile([0.0, 1.0], (4, 4))
    >>> autocorrelation(stripes)[2, 4:].round(6).tolist()  # lags of 0 to 4 along x
    [1.0, -1.0, 1.0, -1.0, 1.0]
    """
    grey = _grey(image, "the texture")
    if min(grey.shape) < 2 or np.ptp(grey) < FLAT:
        raise UserError(
            f"the texture has {grey.shape[1]} x {grey.shape[0]} pixels, from {grey.min():g} to "
            f"{grey.max():g}; an autocorrelation needs 2 x 2 pixels that differ"
        )
    halves = [side // 2 for side in grey.shape]
    # Zeros, so that what leaves on one side does not come in on the other
    padded = [
        scipy.fft.next_fast_len(side + half, real=True)
        for side, half in zip(grey.shape, halves, strict=True)
    ]
    spectrum = scipy.fft.rfft2(grey - grey.mean(), s=padded)
    sums = scipy.fft.irfft2(np.abs(spectrum) ** 2, s=padded)
    lags = [np.arange(-half, half + 1) for half in halves]
    overlaps = [side - np.abs(lag) for side, lag in zip(grey.shape, lags, strict=True)]
    means = sums[np.ix_(*lags)] / np.outer(*overlaps)  # a negative index is a negative lag
    return means / means[halves[0], halves[1]]


def period(image: np.ndarray, shortest: int, longest: int) -> tuple[tuple[int, int], float]:
    """Return the lag at which a texture repeats best, and the autocorrelation there.

    The highest peak of the autocorrelation whose distance from lag 0 is within the bounds; of
    several nearly as high (`NEARLY`), the nearest. Every way to it from lag 0 leads through a
    valley (`VALLEY`): a bump on the shoulder of lag 0, or on the ridge that stripes have along
    themselves, is no period.

    Parameters
    ----------
    image : ndarray
        float, shape (H, W) or (H, W, 3).
    shortest, longest : int
        Bounds of sqrt(dy^2 + dx^2), in pixels: 2 or more, and less than half the shorter side.

    Returns
    -------
    lag : tuple of int
        (dy, dx) in pixels, dy >= 0, one of the pair of opposite lags; (0, 0) if there is no peak
        above 0.
    height : float
        At most about 1; 0 if there is no peak.

    Raises
    ------
    UserError
        If the bounds do not fit the image, or it has no autocorrelation.

    Examples
    --------
    >>> stripes = np.sin(2 * np.pi / 10 * np.arange(100)) * np.ones((60, 1))
    >>> lag, height = period(stripes, 3, 25)
    >>> lag, round(height, 2)
    ((0, 10), 1.0)
    """
    _check_bounds(image, shortest, longest)
    return _highest_peak(autocorrelation(image), shortest, longest)


def periodicity_error(result: np.ndarray, source: np.ndarray, shortest: int, longest: int) -> float:
    """Return how much of the source's repetition the result has lost.

    The height of the source's peak (`period`) less the result's autocorrelation at the same lag,
    the highest within one pixel of it; 0 if that is higher, or if the source has no peak.

    Parameters
    ----------
    result, source : ndarray
        float, shape (H, W) or (H, W, 3); sizes may differ.
    shortest, longest : int
        Bounds of the source's period, in pixels.

    Returns
    -------
    float
        In units of correlation: 0 (as periodic) to about the source's height (not periodic) and at
        most about 2 (the opposite at that lag).

    Raises
    ------
    UserError
        As `period`, for both images.

    Examples
    --------
    >>> stripes = np.sin(2 * np.pi / 10 * np.arange(100)) * np.ones((60, 1))
    >>> noise = np.random.default_rng(0).random((60, 100))
    >>> periodicity_error(stripes, stripes, 3, 25)
    0.0
    >>> round(periodicity_error(noise, stripes, 3, 25), 1)
    1.0
    """
    (dy, dx), height = period(source, shortest, longest)
    _check_bounds(result, shortest, longest)
    correlation = autocorrelation(result)
    if height == 0:
        return 0.0
    y, x = correlation.shape[0] // 2 + dy, correlation.shape[1] // 2 + dx
    return max(0.0, height - float(correlation[y - 1 : y + 2, x - 1 : x + 2].max()))


def _check_bounds(image: np.ndarray, shortest: int, longest: int) -> None:
    if image.ndim < 2 or not 2 <= shortest <= longest < min(image.shape[:2]) / 2:
        raise UserError(
            f"periods of {shortest} to {longest} pixels are asked of a texture of the shape "
            f"{image.shape}; they must be 2 or more and less than half its shorter side"
        )


def _highest_peak(
    correlation: np.ndarray, shortest: int, longest: int
) -> tuple[tuple[int, int], float]:
    middle = np.array(correlation.shape) // 2
    y, x = np.ogrid[: correlation.shape[0], : correlation.shape[1]]
    lengths = np.hypot(y - middle[0], x - middle[1])
    peaks = feature.peak_local_max(
        correlation - TILT * lengths / longest, min_distance=1, threshold_abs=0.0, exclude_border=1
    )
    # The height of the lowest place on the best way from lag 0 to each lag
    start = np.where(lengths == 0, correlation, correlation.min())
    saddles = morphology.reconstruction(
        start, correlation, method="dilation", footprint=np.ones((3, 3))
    )
    lags, places = peaks - middle, tuple(peaks.T)
    distances, heights = lengths[places], correlation[places]
    allowed = (distances >= shortest) & (distances <= longest) & (heights > 0)
    allowed &= saddles[places] <= VALLEY * heights
    # Of a lag and its opposite, the one downwards or to the right
    allowed &= (lags[:, 0] > 0) | ((lags[:, 0] == 0) & (lags[:, 1] > 0))
    if not allowed.any():
        return (0, 0), 0.0
    lags, distances, heights = lags[allowed], distances[allowed], heights[allowed]
    high = np.flatnonzero(heights >= NEARLY * heights.max())
    best = high[distances[high].argmin()]
    return (int(lags[best, 0]), int(lags[best, 1])), float(heights[best])


def _grey(image: np.ndarray, name: str) -> np.ndarray:
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise UserError(
            f"{name} has the shape {image.shape}; it must be (height, width) or (height, width, 3)"
        )
    if not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"{name} is of {image.dtype}; it must be float, 0 to 1")
    if not np.isfinite(image).all():
        raise UserError(f"{name} has pixels that are NaN or infinite; make it anew")
    image = image.astype(np.float64, copy=False)
    return image if image.ndim == 2 else color.rgb2gray(image, channel_axis=-1)
